//! The rules of the chain under attack, in virtual time.
//!
//! Miners, network and demand are made up here, from a seed; difficulty, shares, weight, fork
//! choice, lane 2's threshold, beacon and vesting are `pouw-consensus`'s own functions. The same
//! seed gives the same numbers on every machine.
//!
//! This room is not a proof: it shows what the strategies that somebody thought of would gain. It
//! uses floating point for chance and for what people read, and no rule of the chain comes from it.
//!
//! # Entry points
//! [`ATTACKS`] and [`attack`] for attacks, [`year::run`] for a year of blocks, [`svg::draw`] for the
//! plots.
#![forbid(unsafe_code)]
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "numbers of a simulation, far from the bounds of their types"
)]

mod attacks;
mod chain;
mod dice;
mod mining;
mod network;
mod race;
pub mod report;
mod rule;
pub mod svg;
pub mod year;

pub use attacks::{ATTACKS, Attack, Options, Progress, attack};
pub use rule::Rule;

#[cfg(test)]
mod tests;
