//! What a node remembers: blocks, state, the fork tree, waiting transactions; and how it makes
//! blocks.
//!
//! The rules are `consensus`'s and the state transition is `ledger`'s; this room stores, orders and
//! decides when to ask them. It opens no socket and starts no thread but the miner's.
//!
//! # Entry points
//! [`Chain::open`]; [`Chain::import`] for blocks, [`Chain::submit`] for transactions,
//! [`Chain::template`] and [`Miner`] for new blocks, [`Chain::subscribe`] for what happens, and the
//! reads: [`Chain::head`], [`Chain::block_at`], [`Chain::transaction`], [`Chain::logs`],
//! [`Chain::state_at`].
//!
//! # Invariants
//! - A block, its state and its indices are one database transaction, two-phase and durable; a
//!   process killed at any moment finds the last committed block when it starts again.
//! - The head's state root is the stored state's root.
//! - A failed write is fatal: nothing is written after it, [`Chain::failure`] says why.
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::as_conversions, clippy::float_arithmetic, clippy::iter_over_hash_type)
)]

mod ahead;
mod block;
mod chain;
mod credit;
mod earnings;
mod epochs;
mod error;
mod event;
mod import;
mod logs;
mod mempool;
mod miner;
mod read;
mod store;
mod survey;
mod template;
mod useful;

pub use ahead::HeaderAhead;
pub use block::{Block, MAX_BLOCK_BYTES};
pub use chain::{Chain, Clock, Options};
pub use credit::Lot;
pub use earnings::EpochRewards;
pub use error::{ImportError, OpenError, ReadError, StoreError, SubmitError};
pub use event::{Event, Head};
pub use import::{Imported, minted_at_once};
pub use logs::{LogEntry, LogFilter};
pub use mempool::MempoolLimits;
pub use miner::{
    Effort, LaneKey, Mine, Miner, MinerError, MinerOptions, MinerReport, MinerReporter, MinerYield,
};
pub use read::{KnownBlock, Located};
pub use store::{StateAt, StateProof};
pub use survey::{Cause, EpochShares, HeaderView, LaneSurvey, Survey};
pub use template::Template;
pub use useful::MachineSurvey;

#[cfg(test)]
mod tests;
