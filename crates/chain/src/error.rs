//! What can go wrong, by operation.

use alloy_primitives::B256;
use pouw_consensus::{BlockId, BodyError, CreditClaimError, HeaderError, ShareError, Shares};
use pouw_ledger::{StateError, TxError};

/// The store failed. A failed write is fatal: the process has to end, and a restart recovers the
/// last committed block.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database or the disk below it.
    #[error("the chain's database failed: free some disk space or check the disk, then restart")]
    Database(#[source] Box<redb::Error>),
    /// The state tree.
    #[error("the state tree failed: {0}")]
    Tree(String),
    /// A stored record can't be one.
    #[error("the chain's database holds no valid {what} for {key}: restore the data folder")]
    Corrupt {
        /// Which kind.
        what: &'static str,
        /// Of which block, height or key.
        key: String,
    },
    /// An earlier write failed.
    #[error("an earlier write failed, and the node has to be restarted: {0}")]
    Failed(String),
}

impl<E: Into<redb::Error>> From<E> for StoreError {
    fn from(error: E) -> Self {
        Self::Database(Box::new(error.into()))
    }
}

impl From<StoreError> for StateError {
    fn from(error: StoreError) -> Self {
        Self::Store(Box::new(error))
    }
}

/// A data folder can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The store failed.
    #[error("the chain's database can't be opened")]
    Store(#[from] StoreError),
    /// The folder can't be made.
    #[error("the data folder {0} can't be made")]
    Folder(String, #[source] std::io::Error),
    /// It belongs to another network or an earlier format.
    #[error(
        "the data folder is of genesis {found}, this network's is {expected}: choose another folder or reset it"
    )]
    OtherGenesis {
        /// This network's.
        expected: BlockId,
        /// The folder's.
        found: BlockId,
    },
    /// Another layout of the store.
    #[error(
        "the data folder has layout {found}, this program writes layout {expected}: \
         start with a new folder (`pouw devnet reset` clears a devnet's)"
    )]
    Layout {
        /// This program's.
        expected: u64,
        /// The folder's.
        found: u64,
    },
    /// The genesis state can't be made.
    #[error("the genesis state can't be made")]
    Genesis(#[from] StateError),
}

/// A block was not taken.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// C-1.
    #[error("the bytes are no block")]
    Decode(#[from] pouw_consensus::DecodeError),
    /// Its parent has to come first.
    #[error("the parent {0} of the block is not known yet")]
    UnknownParent(BlockId),
    /// C-2 to C-8.
    #[error("the header is not valid")]
    Header(#[from] HeaderError),
    /// C-18: of an epoch's first block on a side branch.
    #[error("the header's shares cannot follow its parent's")]
    Move(#[from] ShareError),
    /// C-19.
    #[error("the header's shares {found:?} are not {expected:?}, what the epochs before burned")]
    Shares {
        /// By the parent's state.
        expected: Shares,
        /// In the header.
        found: Shares,
    },
    /// C-23 to C-26: of a block that could be judged only once its branch was followed.
    #[error("the claim of lane 2 does not hold in the state of its branch")]
    Credit(#[source] CreditClaimError),
    /// C-25.
    #[error(
        "a block of lane 2 is judged by the state of height {height}, which is no longer kept; the \
         oldest is {oldest}"
    )]
    PrunedState {
        /// H blocks before it.
        height: u64,
        /// The oldest kept.
        oldest: u64,
    },
    /// C-9 to C-15.
    #[error("the body is not what the header says")]
    Body(#[from] BodyError),
    /// A transaction that is none of this chain.
    #[error("transaction {index} is not valid")]
    Transaction {
        /// Its place.
        index: usize,
        /// Why.
        #[source]
        error: pouw_ledger::DecodeError,
    },
    /// A transaction that can't stand where it does.
    #[error("transaction {index} can't be executed there")]
    Execution {
        /// Its place.
        index: usize,
        /// Why.
        #[source]
        error: TxError,
    },
    /// It builds on a block whose body broke a rule.
    #[error("the block builds on {0}, whose body is not valid")]
    InvalidAncestor(BlockId),
    /// Its body broke a rule before.
    #[error("block {0} was found invalid before")]
    KnownInvalid(BlockId),
    /// C-17.
    #[error(
        "the branch leaves the chain at height {fork}, below {oldest}, the oldest that a reorg reaches \
         with the states that are kept: one that deep needs an operator"
    )]
    ReorgTooDeep {
        /// Where the branch leaves.
        fork: u64,
        /// The oldest height that a branch may leave at.
        oldest: u64,
    },
    /// Fatal: the state can't be read.
    #[error("the state failed")]
    State(#[from] StateError),
    /// Fatal.
    #[error("the store failed")]
    Store(#[from] StoreError),
}

impl ImportError {
    /// Whether the same block may be taken later.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::UnknownParent(_) => true,
            Self::Header(error) => error.is_transient(),
            _ => false,
        }
    }

    /// Whether the process has to end.
    #[must_use]
    pub const fn is_fatal(&self) -> bool {
        matches!(self, Self::Store(_) | Self::State(_))
    }
}

/// Something can't be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// No such block on the best chain.
    #[error("no block at height {0}, the head is at {1}")]
    NoHeight(u64, u64),
    /// Its state was pruned.
    #[error("the state of height {height} is no longer kept, the oldest is {oldest}")]
    Pruned {
        /// Asked for.
        height: u64,
        /// The oldest kept.
        oldest: u64,
    },
    /// Too much.
    #[error("more than {0} logs match: ask for fewer blocks, or name an address or topic")]
    TooManyLogs(usize),
    /// The ledger's record.
    #[error("the state failed")]
    State(#[from] StateError),
    /// The store.
    #[error("the store failed")]
    Store(#[from] StoreError),
}

/// A transaction was not taken into the mempool.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// No transaction of this chain.
    #[error("not a transaction of this chain")]
    Decode(#[from] pouw_ledger::DecodeError),
    /// Already waiting.
    #[error("transaction {0} waits already")]
    Known(B256),
    /// Its place is taken.
    #[error("nonce {nonce} was used already, the next is {next}")]
    NonceTooLow {
        /// The transaction's.
        nonce: u64,
        /// The account's.
        next: u64,
    },
    /// Too far ahead.
    #[error("nonce {nonce} is too far ahead of {next}, at most {limit} of a sender wait")]
    NonceTooHigh {
        /// The transaction's.
        nonce: u64,
        /// The account's.
        next: u64,
        /// How many may wait.
        limit: u64,
    },
    /// The account doesn't cover it and what waits before it.
    #[error("the sender has {have}, this transaction and those before it may take {need}")]
    InsufficientFunds {
        /// The account's balance.
        have: pouw_types::Amount,
        /// What is needed.
        need: pouw_types::Amount,
    },
    /// It can never be a part of a block.
    #[error("maximum fee {have} a gas is below {want}, the network's lowest base fee")]
    Underpriced {
        /// The transaction's.
        have: u128,
        /// The network's.
        want: u128,
    },
    /// Its gas doesn't cover its bytes.
    #[error("gas limit {have} is below {want}, what the transaction's bytes cost")]
    GasTooLow {
        /// The transaction's.
        have: u64,
        /// What is needed.
        want: u64,
    },
    /// Its gas fits no block.
    #[error("gas limit {have} is above a block's, {limit}")]
    GasAboveBlock {
        /// The transaction's.
        have: u64,
        /// A block's.
        limit: u64,
    },
    /// Another with this nonce waits and pays about as much.
    #[error(
        "another transaction with this nonce waits: offer at least {want} a gas to replace it, not {have}"
    )]
    ReplacementUnderpriced {
        /// The transaction's.
        have: u128,
        /// A tenth above the other's.
        want: u128,
    },
    /// Full of better ones.
    #[error("the mempool is full of transactions that pay more: offer a higher tip, or try later")]
    Full,
    /// The sender's account can't be read.
    #[error("the state failed")]
    State(#[from] StateError),
    /// The store.
    #[error("the store failed")]
    Store(#[from] StoreError),
}
