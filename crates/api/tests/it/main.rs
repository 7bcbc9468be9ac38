//! The doors, knocked on over real sockets.

mod client;
mod envelopes;
mod guests;
mod http;
mod methods;
mod node;
mod signers;
mod sockets;
