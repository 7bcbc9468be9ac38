//! What a node must be able to answer: implemented by the assembly over chain and ledger.
//!
//! Plain values with Ethereum's primitive types; turning them into Ethereum's JSON is this
//! crate's work. Tags (`latest`, `safe`, …) are resolved before a [`Backend`] is asked.

use core::net::SocketAddr;
use std::sync::Arc;

use alloy_primitives::{Address, B256, Bytes, Log, U256};
use async_trait::async_trait;
use pouw_types::Network;
use tokio::sync::broadcast;

use crate::lanes::{
    BlockLine, BlockList, LaneOneError, LaneOneWork, LanesView, MachineLanes, MiningView,
    SharesOverTime,
};

/// A block, named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BlockRef {
    /// The best block.
    Latest,
    /// The block of the best chain at this height.
    Height(u64),
    /// A block by its id, on the best chain or not.
    Hash(B256),
}

/// The best block, in short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Height; genesis is 0.
    pub height: u64,
    /// Block id.
    pub hash: B256,
    /// Block time, Unix milliseconds.
    pub time_ms: u64,
    /// Base fee of the block after this one, atto-FLUX a gas.
    pub next_base_fee: u64,
}

/// A block's header as far as outsiders ask for it, with the hashes of its transactions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockView {
    /// Height; genesis is 0.
    pub height: u64,
    /// Block id: BLAKE3 of the header, not Ethereum's keccak.
    pub hash: B256,
    /// Id of the block before.
    pub parent: B256,
    /// Root of the state after this block.
    pub state_root: B256,
    /// Commitment to the transactions.
    pub transactions_root: B256,
    /// Commitment to the receipts; zero where the header has none.
    pub receipts_root: B256,
    /// Account that gets subsidy and tips.
    pub miner: Address,
    /// Which lane won the block.
    pub lane: u8,
    /// Difficulty of the lane.
    pub difficulty: U256,
    /// Sum of the weights up to this block.
    pub total_weight: U256,
    /// Unix milliseconds.
    pub time_ms: u64,
    /// Most gas that the block could use.
    pub gas_limit: u64,
    /// Gas that it used.
    pub gas_used: u64,
    /// atto-FLUX a gas.
    pub base_fee: u64,
    /// Encoded size of header and body, bytes.
    pub size_bytes: u64,
    /// Hashes of the transactions, in order.
    pub transactions: Vec<B256>,
}

/// Where a transaction stands in a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Height of the block.
    pub height: u64,
    /// Id of the block.
    pub block: B256,
    /// Index in the block.
    pub index: u64,
    /// Time of the block, Unix milliseconds.
    pub time_ms: u64,
    /// Base fee of the block, atto-FLUX a gas.
    pub base_fee: u64,
}

/// A transaction as it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TxView {
    /// keccak-256 of `raw`.
    pub hash: B256,
    /// The EIP-2718 encoding.
    pub raw: Bytes,
    /// Who signed it.
    pub sender: Address,
    /// Where it is; `None` while it waits in the mempool.
    pub place: Option<Place>,
}

/// What became of a transaction in its block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiptView {
    /// The transaction; its `place` is set.
    pub tx: TxView,
    /// False if the call was refused; gas was paid all the same.
    pub success: bool,
    /// Why it was refused, for people; `None` on success.
    pub revert_reason: Option<String>,
    /// By this transaction.
    pub gas_used: u64,
    /// By this and the transactions before it in the block.
    pub cumulative_gas_used: u64,
    /// What it logged.
    pub logs: Vec<Log>,
    /// Index in the block of the first log.
    pub first_log_index: u64,
}

/// One log, with where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogView {
    /// Contract, topics and data.
    pub log: Log,
    /// Where its transaction is.
    pub place: Place,
    /// The transaction.
    pub tx: B256,
    /// Index in the block.
    pub index: u64,
}

/// Which logs: of the best chain, in order. Empty lists match everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogQuery {
    /// First height.
    pub from: u64,
    /// Last height, included; at most [`Config::log_blocks`](crate::Config) after the first.
    pub to: u64,
    /// Any of these contracts.
    pub addresses: Vec<Address>,
    /// For each position, any of these topics.
    pub topics: [Vec<B256>; 4],
}

impl LogQuery {
    /// Whether contract and topics match; heights are not looked at.
    #[must_use]
    pub fn matches(&self, log: &Log) -> bool {
        let topics = log.topics();
        let listed = self.addresses.is_empty() || self.addresses.contains(&log.address);
        let mut positions = self.topics.iter().enumerate();
        listed
            && positions.all(|(position, wanted)| {
                wanted.is_empty() || topics.get(position).is_some_and(|got| wanted.contains(got))
            })
    }
}

/// An account at some block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AccountView {
    /// Transactions sent.
    pub nonce: u64,
    /// atto-FLUX that it can spend.
    pub balance: u128,
}

/// A call or transaction to try, without a signature.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallRequest {
    /// Who calls; zero if not given.
    pub from: Address,
    /// What is called; `None` would create a contract, which no one can.
    pub to: Option<Address>,
    /// atto-FLUX sent along.
    pub value: U256,
    /// Call data.
    pub data: Bytes,
    /// Gas limit; `None` means as much as a block has.
    pub gas: Option<u64>,
    /// Gas price the caller would pay; `None` means none is asked for.
    pub gas_price: Option<u128>,
}

/// Fees of one block, for estimates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockFees {
    /// Height.
    pub height: u64,
    /// atto-FLUX a gas.
    pub base_fee: u64,
    /// Gas used.
    pub gas_used: u64,
    /// Gas limit.
    pub gas_limit: u64,
    /// For each transaction: tip in atto-FLUX a gas, and gas used.
    pub tips: Vec<(u128, u64)>,
}

/// What a node tells without being asked.
#[derive(Clone, Debug)]
pub enum Event {
    /// A block joined the best chain; after a reorg, each new block in order.
    Adopted {
        /// The block.
        block: Arc<BlockView>,
        /// Its logs.
        logs: Arc<Vec<LogView>>,
    },
    /// A block left the best chain; newest first, before the blocks that replace it.
    Dropped {
        /// The block.
        block: Arc<BlockView>,
        /// Its logs, which no longer hold.
        logs: Arc<Vec<LogView>>,
    },
    /// A transaction entered the mempool.
    Pending(B256),
}

/// A node that this one is connected with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerView {
    /// Its key, in hex.
    pub peer: String,
    /// From where it is seen; none over a relay.
    pub address: Option<SocketAddr>,
    /// Whether we called, or it did.
    pub called: bool,
    /// Height of its best block, as it says.
    pub height: u64,
    /// Its best block, as it says.
    pub head: B256,
    /// Points for misdeeds; at 100 it is banned.
    pub points: u32,
    /// Since when, Unix milliseconds.
    pub since_ms: u64,
}

/// How a node takes part among its peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peering {
    /// How others call this node: `PEER@IP:PORT`.
    pub contact: String,
    /// Who is connected.
    pub peers: Vec<PeerView>,
}

/// A question cannot be answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BackendError {
    /// No block has this height or id.
    #[error("block {0} is not known")]
    NoBlock(String),
    /// The state of a block so old is gone.
    #[error("the state of block {height} is no longer kept: the oldest kept is {oldest}")]
    Pruned {
        /// What was asked for.
        height: u64,
        /// The oldest that is there.
        oldest: u64,
    },
    /// More answers than asked for.
    #[error("more than {0} logs match: ask for fewer blocks, or name an address or topic")]
    TooManyLogs(usize),
    /// The node is in trouble: its own words, without secrets.
    #[error("the node cannot answer: {0}")]
    Unavailable(String),
}

/// A call did not return.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The contract refused.
    #[error("execution reverted: {reason}")]
    Reverted {
        /// For people.
        reason: String,
        /// `Error(string)` or a custom error, ABI encoded; empty if there is none.
        data: Bytes,
    },
    /// The sender's balance does not cover value and gas.
    #[error(
        "insufficient funds for gas * price + value: address {address} have {have} want {want}"
    )]
    InsufficientFunds {
        /// Whose balance.
        address: Address,
        /// What it has, atto-FLUX.
        have: u128,
        /// What it takes, atto-FLUX.
        want: U256,
    },
    /// The gas limit is too low.
    #[error("intrinsic gas too low: have {have}, want {want}")]
    OutOfGas {
        /// The limit given.
        have: u64,
        /// What it takes.
        want: u64,
    },
    /// Nothing like this can be executed.
    #[error("{0}")]
    Unsupported(String),
    /// No such block or state, or trouble.
    #[error(transparent)]
    Backend(#[from] BackendError),
}

/// A transaction was not accepted. Messages begin as geth's do, since clients match on them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// Not the encoding of a transaction.
    #[error("rlp: malformed transaction: {0}")]
    Malformed(String),
    /// A kind of transaction that does not exist here.
    #[error("transaction type not supported: type {0}; types 0, 1 and 2 are accepted")]
    UnsupportedType(u8),
    /// Another chain, or none.
    #[error("invalid sender: invalid chain id for signer: have {have:?} want {want}")]
    WrongChain {
        /// In the transaction; `None` if it is not protected (EIP-155).
        have: Option<u64>,
        /// Of this network.
        want: u64,
    },
    /// The signature has no owner, or has the higher s.
    #[error("invalid sender: the signature is not valid")]
    BadSignature,
    /// The nonce is used already.
    #[error("nonce too low: next nonce {next}, tx nonce {nonce}")]
    NonceTooLow {
        /// In the transaction.
        nonce: u64,
        /// The account's.
        next: u64,
    },
    /// The nonce is too far ahead to be kept.
    #[error("nonce too high: next nonce {next}, tx nonce {nonce}")]
    NonceTooHigh {
        /// In the transaction.
        nonce: u64,
        /// The account's, after what waits.
        next: u64,
    },
    /// The balance does not cover it.
    #[error("insufficient funds for gas * price + value: balance {have}, tx cost {want}")]
    InsufficientFunds {
        /// The balance, atto-FLUX.
        have: u128,
        /// The cost at most, atto-FLUX.
        want: U256,
    },
    /// It waits or is in a block already.
    #[error("already known")]
    AlreadyKnown,
    /// One with the same nonce waits and pays about as much or more.
    #[error(
        "replacement transaction underpriced: pay at least {want} a gas in fee and tip, offered {have}"
    )]
    ReplacementUnderpriced {
        /// Offered, atto-FLUX a gas.
        have: u128,
        /// Least, atto-FLUX a gas.
        want: u128,
    },
    /// Below what the mempool takes.
    #[error("transaction underpriced: gas fee cap {have}, minimum needed {want}")]
    Underpriced {
        /// Offered, atto-FLUX a gas.
        have: u128,
        /// Least, atto-FLUX a gas.
        want: u128,
    },
    /// Tip above the fee cap.
    #[error("max priority fee per gas higher than max fee per gas")]
    TipAboveFeeCap,
    /// Gas limit below what the call costs.
    #[error("intrinsic gas too low: gas {have}, minimum needed {want}")]
    GasTooLow {
        /// Given.
        have: u64,
        /// Needed.
        want: u64,
    },
    /// Gas limit above a block's.
    #[error("exceeds block gas limit: gas {have}, limit {limit}")]
    GasAboveBlock {
        /// Given.
        have: u64,
        /// The block's.
        limit: u64,
    },
    /// Value or cost above 2^128.
    #[error("value above 2^128 - 1 atto-FLUX")]
    ValueTooLarge,
    /// Creates a contract, or another thing that native execution does not have.
    #[error("not supported: {0}")]
    Unsupported(String),
    /// Longer than the mempool takes.
    #[error("oversized data: transaction size {size_bytes}, limit {limit_bytes}")]
    TooLarge {
        /// Of the transaction.
        size_bytes: u64,
        /// At most.
        limit_bytes: u64,
    },
    /// No room, and it pays no more than what waits.
    #[error("txpool is full: offer a higher tip, or send it again later")]
    PoolFull,
    /// The node is in trouble.
    #[error(transparent)]
    Backend(#[from] BackendError),
}

/// What the outside doors need of a node.
///
/// Answers are bounded by the implementer where a bound is named. All methods may be called at
/// once from many tasks; those that read a disk should do it off the async threads.
#[async_trait]
pub trait Backend: Send + Sync + 'static {
    /// The network's parameters.
    fn network(&self) -> &'static Network;

    /// Name and version of the program, such as `pouw/0.1.0`.
    fn client_version(&self) -> String;

    /// The best block.
    async fn head(&self) -> Result<Head, BackendError>;

    /// Transactions that wait.
    async fn pending_count(&self) -> Result<u64, BackendError>;

    /// A block's header and the hashes of its transactions; `None` if it is not known.
    async fn block(&self, block: BlockRef) -> Result<Option<BlockView>, BackendError>;

    /// A block's receipts with their transactions, in order; `None` if it is not known.
    async fn receipts(&self, block: BlockRef) -> Result<Option<Vec<ReceiptView>>, BackendError>;

    /// A transaction of the best chain or the mempool.
    async fn transaction(&self, hash: B256) -> Result<Option<TxView>, BackendError>;

    /// The receipt of a transaction of the best chain.
    async fn receipt(&self, hash: B256) -> Result<Option<ReceiptView>, BackendError>;

    /// An account after a block; an unused address is an empty account.
    ///
    /// # Errors
    /// [`BackendError::NoBlock`] or [`BackendError::Pruned`].
    async fn account(&self, address: Address, at: BlockRef) -> Result<AccountView, BackendError>;

    /// The nonce after what waits in the mempool.
    async fn pending_nonce(&self, address: Address) -> Result<u64, BackendError>;

    /// Whether a system contract answers at this address.
    fn is_contract(&self, address: Address) -> bool;

    /// The logs of the best chain that match.
    ///
    /// # Errors
    /// [`BackendError::TooManyLogs`] if more than `limit` match.
    async fn logs(&self, query: LogQuery, limit: usize) -> Result<Vec<LogView>, BackendError>;

    /// What a call would return after a block; changes nothing.
    ///
    /// # Errors
    /// [`CallError`], with the contract's reason if it refuses.
    async fn call(&self, call: CallRequest, at: BlockRef) -> Result<Bytes, CallError>;

    /// The gas limit that a transaction like this needs.
    ///
    /// # Errors
    /// [`CallError`] if it would fail whatever the limit.
    async fn estimate_gas(&self, call: CallRequest, at: BlockRef) -> Result<u64, CallError>;

    /// Takes a signed transaction into the mempool.
    ///
    /// # Errors
    /// [`SubmitError`].
    async fn submit(&self, raw: Bytes) -> Result<B256, SubmitError>;

    /// The fees of up to `count` blocks that end at `newest`, oldest first.
    async fn fees(&self, newest: u64, count: u64) -> Result<Vec<BlockFees>, BackendError>;

    /// The node's peers; `None` where it takes no part in a network.
    fn peering(&self) -> Option<Peering> {
        None
    }

    /// Blocks of the best chain, newest first.
    async fn block_list(&self, list: BlockList) -> Result<Vec<BlockLine>, BackendError>;

    /// The lanes over the last `window` blocks.
    async fn lanes(&self, window: u64) -> Result<LanesView, BackendError>;
    /// A machine's credit and vesting rewards; `None` where it was never registered.
    async fn machine_lanes(&self, machine: Address) -> Result<Option<MachineLanes>, BackendError>;

    /// The shares of the last epochs and why they moved.
    async fn shares(&self, epochs: u64) -> Result<SharesOverTime, BackendError>;

    /// What this node's miner does; `None` where it has none.
    fn mining(&self) -> Option<MiningView>;

    /// The block of lane 1 that this machine's tasks may win; none while the lane has no share.
    ///
    /// # Errors
    /// [`LaneOneError`].
    async fn lane_one_work(&self, machine: Address) -> Result<Option<LaneOneWork>, LaneOneError>;

    /// Takes a certificate for the work with this number: the block that it won, none where it comes too
    /// late.
    ///
    /// # Errors
    /// [`LaneOneError`].
    async fn lane_one_win(
        &self,
        number: u64,
        certificate: Bytes,
    ) -> Result<Option<B256>, LaneOneError>;

    /// What happens from now on. A receiver that falls behind loses events and is told so.
    fn subscribe(&self) -> broadcast::Receiver<Event>;
}
