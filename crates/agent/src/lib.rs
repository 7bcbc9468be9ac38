//! Runs other people's work: the host agent.
//!
//! The agent prices a machine, follows the openings of its rentals on the chain, takes each through
//! the ten steps (save, provision, gate, load, run, end, upload, score, reset, dismount), meters it,
//! gets receipts co-signed, and is paid.
//!
//! # Entry points
//! `Agent::start` with a [`HostConfig`], an engine, the chain ([`Contract`]) and the signers
//! ([`Signer`]); [`LaneOne`] where tasks may mine; [`door`] for what clients say to it. `docs/spec/agent.md` has the numbered rules.
//!
//! # Not here
//! How the chain is reached, how a signer decides and what is to be mined: `pouw` implements the
//! three traits.
//!
//! # Invariants
//! What to do next is a pure function (`plan`) of a rental's journal entry and of what is
//! observed; every effect is an action of it, so that the agent can be killed at any moment, started
//! again, and goes on. What a rental is charged for is measured before it is signed, and never falls.

#![forbid(unsafe_code)]

mod actions;
mod agent;
pub mod clock;
pub mod config;
mod context;
pub mod contract;
pub mod door;
pub mod engine;
mod events;
mod imagebench;
pub mod journal;
pub mod lane_one;
pub mod machine;
pub mod meter;
pub mod mover;
mod offer;
pub mod outcome;
pub mod plan;
pub mod probe;
pub mod quote;
pub mod receipt;
pub mod record;
mod rental;
mod sandbox;
mod selftest;
mod server;
pub mod signer;
pub mod step;
mod tasklog;
mod tester;
#[cfg(test)]
mod tests;
mod time;
mod tunnel;
mod watcher;
mod wire;

pub use agent::{Agent, AgentHandle, Outside, StartError};
pub use config::{ConfigError, HostConfig, Tuning};
pub use contract::{Contract, ContractError, Cosigned, Head, HostCall, Inclusion};
pub use lane_one::{HandedIn, LaneOne, LaneOneError};
pub use selftest::{ImageScore, ImageTest, ImageTestError, SelfTest};
pub use signer::{Signer, SignerError};
pub use step::{End, Step};
