// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

// What the two parties sign (EIP-712). Money is in atto-FLUX, time in Unix seconds, sizes in bytes or GiB.

/// Prices of one rental; all are for the whole rental, not for one unit.
struct Rates {
    uint128 activeSecond;
    uint128 storageGibSecond;
    uint128 trafficByte;
}

/// What a rental can use at most.
struct Caps {
    uint64 activeS;
    uint64 storageGib;
    uint64 trafficB;
    uint64 preparationS;
    uint64 uploadS;
}

/// A price for a promised length: `lengthS` = 0 means no term.
struct Term {
    uint64 lengthS;
    uint128 activeSecond;
}

/// One factor of the active price; 1,000,000 ppm leaves it unchanged.
struct Factor {
    string name;
    uint32 ppm;
}

/// An offer priced for one specification (R-2). Its EIP-712 digest is the rental id.
/// `model`: 0 on demand, 1 pay as you go, 2 spot. `earns`: 0 credit, 1 vesting.
struct Quote {
    uint64 nonce;
    address client;
    address machine;
    uint32 units;
    bytes32 specHash;
    bytes32 imageDigest;
    uint64 issuedAt;
    uint64 expires;
    uint64 startBy;
    uint64 endBy;
    uint8 model;
    uint8 earns;
    Rates rates;
    Caps caps;
    Term term;
    uint32 refundWindowS;
    uint128 bond;
    bytes32 continues;
    Factor[] factors;
}

/// Cumulative usage of a rental (R-5), valid with the signatures of machine and signer.
/// `seq` counts from 1; the first receipt accepts the gate.
struct Receipt {
    bytes32 rental;
    uint64 seq;
    uint64 at;
    uint64 activeS;
    uint128 storageGibS;
    uint64 trafficB;
    uint64 doneS;
    uint128 workMacs;
    bytes32 manifestRoot;
    bool isFinal;
}

/// The signer's order to end a rental (R-10): `reason` is client_stop; `keepS` as in R-13.
struct Stop {
    bytes32 rental;
    uint64 at;
    uint64 keepS;
}

/// New end and caps of an open rental (R-8), signed by the machine; `seq` counts extensions from 1.
struct Extension {
    bytes32 rental;
    uint64 seq;
    uint64 endBy;
    Caps caps;
    uint64 expires;
}

/// A machine key's consent to be registered by an operator.
struct Registration {
    address machine;
    address operator;
}

/// Register of machines: who operates them, who is paid, what is at stake.
interface IHosts {
    struct Machine {
        address operator;
        address payout;
        address miner;
        bytes32 laneKey;
        uint32 units;
        uint32 openUnits;
        uint128 bond;
        uint128 lockedBond;
        bytes32 offerHash;
        uint64 registeredAt;
        bool retired;
    }

    event Registered(address indexed machine, address indexed operator, uint32 units, uint128 bond);
    event Changed(address indexed machine);
    event BondChanged(address indexed machine, uint128 bond);
    event Retired(address indexed machine);

    /// Registers a machine; the value sent is its bond. `signature` is the machine key's over Registration.
    function register(address machine, uint32 units, address payout, address miner, bytes32 offerHash, bytes calldata signature) external payable;
    function setUnits(address machine, uint32 units) external;
    function setOperator(address machine, address operator) external;
    function setPayout(address machine, address payout) external;
    function setMiner(address machine, address miner) external;
    function setLaneKey(address machine, bytes32 laneKey) external;
    function setOffer(address machine, bytes32 offerHash) external;
    function addBond(address machine) external payable;
    function withdrawBond(address machine, uint128 amount) external;
    /// No new rentals from now on; open ones go on. The free bond can be withdrawn.
    function retire(address machine) external;

    function machineOf(address machine) external view returns (Machine memory);
    function machinesOf(address operator) external view returns (address[] memory);
}

/// Rentals and their escrow: docs/SPECIFICATION.md, rules R-1 to R-16.
interface IRentals {
    enum Phase { None, Open, Closing, Closed }

    enum Reason {
        None, ClientStop, Completed, Limit, OutOfFunds, EndBy, ClientSilent, Preempted,
        Repriced, GateFailed, NotStarted, HostStop, HostFault
    }

    enum Notice { None, Preempt, Reprice }

    /// When things happened: Unix seconds and block heights, 0 = not yet.
    struct Times {
        uint64 openedAt;
        uint64 openedBlock;
        uint64 readyAt;
        uint64 endBy;
        uint64 closeAt;
        uint64 closeBlock;
        uint64 closingEndsAt;
        uint64 closingEndsBlock;
        uint64 noticeAt;
    }

    /// Where the money is; all but `escrow`, `bond` and `successorFund` are cumulative.
    /// deposited + successorUsed = paid + burned + foundation + refunded + escrow.
    /// `successorFund` came from a predecessor's forfeit (R-12) and waits to be used.
    struct Money {
        uint128 deposited;
        uint128 escrow;
        uint128 paid;
        uint128 burned;
        uint128 foundation;
        uint128 refunded;
        uint128 forfeited;
        uint128 bond;
        uint128 successorFund;
        uint128 successorUsed;
    }

    /// The operator's own word on usage beyond the last receipt (R-11).
    struct Claim {
        bool made;
        uint64 activeS;
        uint128 storageGibS;
    }

    /// A call that waits for an answer (R-9); `by` is zero when there is none.
    struct Call {
        address by;
        uint64 at;
        uint64 atBlock;
        uint128 stake;
    }

    /// What the ledger knows of one rental. `call` is the client's, which the host must answer;
    /// `hostCall` the operator's, which the client must answer. `caps` are those in force and
    /// `extensions` counts how often they were raised (R-8).
    struct Rental {
        Phase phase;
        Reason reason;
        Notice notice;
        address client;
        address signer;
        address machine;
        uint32 units;
        uint64 keepS;
        bytes32 predecessor;
        bytes32 successor;
        Times times;
        Money money;
        Receipt best;
        Claim claim;
        Call call;
        Call hostCall;
        Caps caps;
        uint64 extensions;
    }

    event Opened(bytes32 indexed rental, address indexed client, address indexed machine, uint128 deposit);
    event MadeReady(bytes32 indexed rental);
    event Settled(bytes32 indexed rental, uint64 seq, uint128 paid, uint128 burned, uint128 foundation);
    event ToppedUp(bytes32 indexed rental, address from, uint128 amount);
    event Extended(bytes32 indexed rental, uint64 endBy);
    event SignerChanged(bytes32 indexed rental, address signer);
    event Called(bytes32 indexed rental, address by, uint128 stake);
    event Answered(bytes32 indexed rental, address by);
    event Noticed(bytes32 indexed rental, Notice notice);
    event ClosingStarted(bytes32 indexed rental, Reason reason, uint64 keepS);
    event ClaimMade(bytes32 indexed rental, uint64 activeS, uint128 storageGibS);
    event Finalized(bytes32 indexed rental, uint128 paid, uint128 burned, uint128 foundation, uint128 refunded, uint128 forfeited);

    /// R-3. The value sent is the deposit; `signature` is the machine key's over the quote.
    function open(Quote calldata quote, bytes calldata signature, address signer) external payable;
    /// R-4. By the operator, before `startBy`.
    function ready(bytes32 rental) external;
    /// R-7. By anyone.
    function settle(Receipt calldata receipt, bytes calldata machineSignature, bytes calldata signerSignature) external;
    /// R-8. `topUp` by anyone, `extend` by the client.
    function topUp(bytes32 rental) external payable;
    function extend(Extension calldata extension, bytes calldata signature) external;
    /// R-1. By the client.
    function setSigner(bytes32 rental, address signer) external;
    /// R-9. `call` by client (stake = value) or operator; `answer` by the operator; `answerWithReceipt` for the client.
    function call(bytes32 rental) external payable;
    function answer(bytes32 rental) external;
    function answerWithReceipt(Receipt calldata receipt, bytes calldata machineSignature, bytes calldata signerSignature) external;
    /// R-10, R-14. By the operator.
    function giveNotice(bytes32 rental, Notice notice) external;
    /// R-10, R-13. Who may close with which reason is R-10's table.
    function close(bytes32 rental, Reason reason, uint64 keepS) external;
    /// R-10: client_stop by the signer's signature, sent by anyone.
    function stop(Stop calldata order, bytes calldata signerSignature) external;
    /// R-11. By the operator, once.
    function claim(bytes32 rental, uint64 activeS, uint128 storageGibS) external;
    /// R-12. By anyone.
    function finalize(bytes32 rental) external;

    function rentalOf(bytes32 rental) external view returns (Rental memory);
    function quoteOf(bytes32 rental) external view returns (Quote memory);
    /// Ids of the rentals of a machine or a client that are not Closed, oldest first.
    function activeOf(address party) external view returns (bytes32[] memory);
    /// R-15: rentals that ended, and failures counted in halves, of a machine or a client.
    function marksOf(address party) external view returns (uint64 ended, uint64 halfFailures);
    /// Network-wide sums for the supply equation I-1; `immature` subsidies belong to no balance yet.
    function totals() external view returns (uint256 escrows, uint256 bonds, uint256 stakes, uint256 pool, uint256 burned, uint256 subsidies, uint256 genesisSupply, uint256 immature, uint256 balances);
}
