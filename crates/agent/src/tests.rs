//! Whole rentals against an engine, a chain and a signer in memory, in virtual time.

mod checkpoints;
mod crash;
mod door;
mod faults;
mod gates;
mod inputs;
mod keeps;
mod life;
mod mining;
mod network;
mod notices;
mod ports;
pub(crate) mod time;
mod world;
