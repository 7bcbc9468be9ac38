//! The mining socket: a task in a container multiplies matrices anyway; through a Unix socket that its
//! host's agent mounts it learns which block those multiplications may win, and hands in what won.
//!
//! Rules W-1 … W-9 of `docs/spec/mining.md`. This room knows no chain: the agent's side ([`server`]) is
//! handed work and hands back verified certificates.
//!
//! # Entry points
//! [`Weights`] multiplies by a kept matrix, and mines while it does where a [`Miner`] has work;
//! [`Client`] is the bare conversation; [`server::serve`] answers it.
//!
//! # Invariants
//! - A task that serves a model never waits for its host: nothing of [`Client`] blocks, and a host that
//!   is gone, slow or lying costs the task its mining, not its product.
//! - Neither side allocates by a length that it was told before that length is within its bound.
//! - The host verifies every certificate before anybody hears of it, and believes no number of
//!   multiplications that certificates do not bear out.

mod client;
mod message;
mod miner;
#[cfg(feature = "server")]
pub mod server;
#[cfg(feature = "server")]
mod tally;
mod weights;

pub use client::{Client, Counts};
pub use message::{
    Answer, FromHost, FromTask, MAX_HOST_FRAME, MAX_TASK_FRAME, ProtocolError, SOCKET_VARIABLE,
    Work, length_of,
};
pub use miner::{Miner, Share};
pub use pouw_matmul::{Anchor, Core, Difficulty, DifficultyError};
#[cfg(feature = "server")]
pub use tally::Tally;
pub use weights::{Product, Weights, WeightsError};
