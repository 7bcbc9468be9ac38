//! What the agent needs of the chain.

use alloy_primitives::{Address, B256, Bytes};
use alloy_sol_types::SolCall;
use async_trait::async_trait;
use pouw_types::contracts::{HOSTS, IHosts, IRentals, Quote, RENTALS, Receipt, Stop};
use pouw_types::{Amount, MachineId, RentalId};
use serde::{Deserialize, Serialize};

/// The top of the best chain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Its height.
    pub height: u64,
    /// Its hash; another one at the same height means that the chain was reorganized.
    pub hash: B256,
    /// Its time, Unix seconds.
    pub time_s: u64,
}

/// How a transaction ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inclusion {
    /// The block that holds it.
    pub height: u64,
    /// Whether the call did what it was sent for.
    pub succeeded: bool,
    /// Why not, as the ledger says it; empty on success.
    pub reason: String,
}

/// A receipt that both sides signed: what the ledger accepts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cosigned {
    /// Cumulative usage.
    #[serde(with = "crate::wire")]
    pub receipt: Receipt,
    /// The machine key's signature.
    pub machine_signature: Bytes,
    /// The signer's signature.
    pub signer_signature: Bytes,
}

/// A transaction that a host's operator sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostCall {
    /// Registers the machine; `bond` is sent with it.
    Register {
        /// Which machine.
        machine: MachineId,
        /// How many shares it has.
        units: u32,
        /// Who is paid.
        payout: Address,
        /// Who gets its credits.
        miner: Address,
        /// The offer it starts with.
        offer_hash: B256,
        /// The machine key's consent.
        signature: Bytes,
        /// What is at stake.
        bond: Amount,
    },
    /// Brings a machine's bond back to what its host puts at stake.
    AddBond {
        /// Which machine.
        machine: MachineId,
        /// How much is added.
        amount: Amount,
    },
    /// Announces another offer.
    SetOffer {
        /// Which machine.
        machine: MachineId,
        /// The digest of the offer.
        offer_hash: B256,
    },
    /// Names the key that wins blocks of lane 2 by this machine's credit.
    SetLaneKey {
        /// Which machine.
        machine: MachineId,
        /// Ed25519, the public half.
        lane_key: B256,
    },
    /// the rental is prepared.
    Ready(RentalId),
    /// a newer receipt.
    Settle(Box<Cosigned>),
    /// asks the client to show itself.
    Call(RentalId),
    /// shows that the host is there.
    Answer(RentalId),
    /// ends the rental.
    Close {
        /// Which.
        rental: RentalId,
        /// Why.
        reason: IRentals::Reason,
        ///
        keep_s: u64,
    },
    /// ends the rental on its signer's order.
    Stop {
        /// What the signer ordered.
        order: Stop,
        /// Its signature.
        signature: Bytes,
    },
    /// usage beyond the last receipt.
    Claim {
        /// Which.
        rental: RentalId,
        /// Active seconds in all.
        active_s: u64,
        /// GiB·s in all.
        storage_gib_s: u128,
    },
    /// pays everybody out.
    Finalize(RentalId),
    /// announces an early end.
    GiveNotice {
        /// Which.
        rental: RentalId,
        /// What for.
        notice: IRentals::Notice,
    },
}

impl HostCall {
    /// The contract that is called.
    #[must_use]
    pub const fn to(&self) -> Address {
        match self {
            Self::Register { .. }
            | Self::AddBond { .. }
            | Self::SetOffer { .. }
            | Self::SetLaneKey { .. } => HOSTS,
            Self::Ready(_)
            | Self::Settle(_)
            | Self::Call(_)
            | Self::Answer(_)
            | Self::Close { .. }
            | Self::Stop { .. }
            | Self::Claim { .. }
            | Self::Finalize(_)
            | Self::GiveNotice { .. } => RENTALS,
        }
    }

    /// The value sent with the call.
    #[must_use]
    pub const fn value(&self) -> Amount {
        match self {
            Self::Register { bond, .. } => *bond,
            Self::AddBond { amount, .. } => *amount,
            _ => Amount::ZERO,
        }
    }

    /// The ABI bytes of the call.
    #[must_use]
    pub fn input(&self) -> Bytes {
        match self.clone() {
            Self::Register { machine, units, payout, miner, offer_hash, signature, .. } => {
                IHosts::registerCall {
                    machine: machine.get(),
                    units,
                    payout,
                    miner,
                    offerHash: offer_hash,
                    signature,
                }
                .abi_encode()
            }
            Self::AddBond { machine, .. } => {
                IHosts::addBondCall { machine: machine.get() }.abi_encode()
            }
            Self::SetOffer { machine, offer_hash } => {
                IHosts::setOfferCall { machine: machine.get(), offerHash: offer_hash }.abi_encode()
            }
            Self::SetLaneKey { machine, lane_key } => {
                IHosts::setLaneKeyCall { machine: machine.get(), laneKey: lane_key }.abi_encode()
            }
            Self::Ready(rental) => IRentals::readyCall { rental: rental.get() }.abi_encode(),
            Self::Settle(cosigned) => IRentals::settleCall {
                receipt: cosigned.receipt,
                machineSignature: cosigned.machine_signature,
                signerSignature: cosigned.signer_signature,
            }
            .abi_encode(),
            Self::Call(rental) => IRentals::callCall { rental: rental.get() }.abi_encode(),
            Self::Answer(rental) => IRentals::answerCall { rental: rental.get() }.abi_encode(),
            Self::Close { rental, reason, keep_s } => {
                IRentals::closeCall { rental: rental.get(), reason, keepS: keep_s }.abi_encode()
            }
            Self::Stop { order, signature } => {
                IRentals::stopCall { order, signerSignature: signature }.abi_encode()
            }
            Self::Claim { rental, active_s, storage_gib_s } => IRentals::claimCall {
                rental: rental.get(),
                activeS: active_s,
                storageGibS: storage_gib_s,
            }
            .abi_encode(),
            Self::Finalize(rental) => IRentals::finalizeCall { rental: rental.get() }.abi_encode(),
            Self::GiveNotice { rental, notice } => {
                IRentals::giveNoticeCall { rental: rental.get(), notice }.abi_encode()
            }
        }
        .into()
    }

    /// The call's name in the ABI, for logs.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Register { .. } => "register",
            Self::AddBond { .. } => "addBond",
            Self::SetOffer { .. } => "setOffer",
            Self::SetLaneKey { .. } => "setLaneKey",
            Self::Ready(_) => "ready",
            Self::Settle(_) => "settle",
            Self::Call(_) => "call",
            Self::Answer(_) => "answer",
            Self::Close { .. } => "close",
            Self::Stop { .. } => "stop",
            Self::Claim { .. } => "claim",
            Self::Finalize(_) => "finalize",
            Self::GiveNotice { .. } => "giveNotice",
        }
    }
}

/// The chain did not answer, or refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContractError {
    /// The node can't be reached: the same call may succeed later.
    #[error("the node does not answer: {0}")]
    Unreachable(String),
    /// The call would fail or failed: the same call would fail again in this state.
    #[error("the chain refuses: {0}")]
    Refused(String),
}

impl ContractError {
    /// Whether trying the same again can help.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable(_))
    }
}

/// The chain as a host's agent sees it; `pouw` implements it over JSON-RPC.
///
/// Everything is read at the latest block of the best chain: a rental whose opening is not in it
/// has phase `None`.
#[async_trait]
pub trait Contract: Send + Sync + 'static {
    /// The top of the best chain.
    ///
    /// # Errors
    /// [`ContractError::Unreachable`].
    async fn head(&self) -> Result<Head, ContractError>;

    /// Returns once the head is another than `seen`, or after a few seconds.
    ///
    /// The default asks once a second; an implementation with a subscription may do better.
    ///
    /// # Errors
    /// [`ContractError::Unreachable`].
    async fn next_head(&self, seen: B256) -> Result<Head, ContractError> {
        for _ in 0..3 {
            crate::time::sleep(std::time::Duration::from_secs(1)).await;
            let head = self.head().await?;
            if head.hash != seen {
                return Ok(head);
            }
        }
        self.head().await
    }

    /// Ids of the machine's rentals that are not Closed, oldest first.
    ///
    /// # Errors
    /// [`ContractError::Unreachable`].
    async fn active_of(&self, machine: MachineId) -> Result<Vec<RentalId>, ContractError>;

    /// What the ledger knows of a rental; phase `None` where it knows nothing.
    ///
    /// # Errors
    /// [`ContractError::Unreachable`].
    async fn rental(&self, rental: RentalId) -> Result<IRentals::Rental, ContractError>;

    /// The quote that opened a rental.
    ///
    /// # Errors
    /// [`ContractError`]; `Refused` where there is no such rental.
    async fn quote(&self, rental: RentalId) -> Result<Quote, ContractError>;

    /// What the ledger knows of a machine; a zero operator where it knows nothing.
    ///
    /// # Errors
    /// [`ContractError::Unreachable`].
    async fn machine(&self, machine: MachineId) -> Result<IHosts::Machine, ContractError>;

    /// The operator's address: whose key sends [`Contract::submit`]'s transactions.
    fn operator(&self) -> Address;

    /// Signs and sends a transaction of the operator; returns its hash.
    ///
    /// # Errors
    /// [`ContractError`]; `Refused` where its simulation fails.
    async fn submit(&self, call: HostCall) -> Result<B256, ContractError>;

    /// How a transaction ended; `None` while no block of the best chain holds it.
    ///
    /// # Errors
    /// [`ContractError::Unreachable`].
    async fn inclusion(&self, transaction: B256) -> Result<Option<Inclusion>, ContractError>;
}
