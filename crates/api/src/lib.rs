//! Every outside door of a node, on one port: JSON-RPC for Ethereum wallets over HTTP and
//! WebSocket, and the HTTP API `/v1` with status, chain, offers and the signer.
//!
//! It knows no chain and no ledger: a node hands in a [`Backend`], a [`Board`] and a
//! [`SignerDoor`], and [`serve`] answers for them. It holds no key and refuses methods that would
//! need one. What differs from Ethereum is said in `docs/spec/api.md`.
//!
//! # Entry points
//! [`serve`] with [`Doors`] and a [`Config`], or [`answer`] for one request without a socket; [`Backend`] for who assembles a node; [`signer`]
//! for the orders that clients sign.
//!
//! # Invariants
//! No input reaches a panic. Each body, batch, answer, connection, subscription and filter has a
//! bound in [`Config`]. A web page reaches a node only from an origin that was listed.
#![forbid(unsafe_code)]

pub mod backend;
mod board;
mod config;
mod guard;
pub mod lanes;
mod rpc;
pub mod server;
pub mod signer;
mod socket;
mod v1;

pub use backend::Backend;
pub use board::{Board, BoardError};
pub use config::{Config, GuestError, parse_host, parse_origin};
pub use rpc::METHODS as RPC_METHODS;
pub use server::{Doors, answer, serve};
pub use signer::{NoSigner, SignerDoor};
pub use v1::document as openapi;
