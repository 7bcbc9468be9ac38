//! The doors, knocked on over real sockets.
#![expect(clippy::unwrap_used, reason = "these are tests: a panic is the report")]

mod client;
mod envelopes;
mod guests;
mod http;
mod methods;
mod node;
mod signers;
mod sockets;
