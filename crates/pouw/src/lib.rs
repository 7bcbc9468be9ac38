//! The one binary: command line, configuration, assembly.
//!
//! Everything that decides is in the other crates; here they are put together. A command goes
//! `main` → [`cli`] (as typed) → [`dispatch`] → one file of `commands`, which prints through
//! [`output`] alone. [`node`](crate) and [`devnet`](crate) assemble the long-running roles.
//!
//! # Invariants
//! stdout is data, stderr is for people. Secrets come from files and prompts, never from flags.
//! Each exit code has one meaning ([`exit`]).
#![forbid(unsafe_code)]

pub mod cli;
pub mod client;
mod commands;
pub mod config;
pub mod devnet;
mod dispatch;
pub mod exit;
pub mod host;
pub mod node;
pub mod output;
mod runtime;
pub mod session;
pub mod signer;

pub use dispatch::dispatch;
pub use runtime::start_runtime;
