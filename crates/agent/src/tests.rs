//! Whole rentals against an engine, a chain and a signer in memory, in virtual time.

mod crash;
mod door;
mod faults;
mod gates;
mod inputs;
mod life;
pub(crate) mod time;
mod world;
