//! The rules of the chain: headers, three lanes, difficulty, weight, fork choice.
//!
//! Pure: time and randomness are arguments, and nothing here reads a file or a clock. What a body
//! does to the state is the ledger's; this room compares the outcome with the header. Lane 0
//! (Equihash) is open; the claims of lanes 1 and 2 are refused by name.
//!
//! # Entry points
//! [`Header`] and its bytes, [`check_header`] and [`check_body`] for the rules (C-1 … C-16,
//! `docs/spec/chain.md`), [`Standing`] for what a block is checked against, [`Solver`] to mine
//! lane 0, [`replaces`] for fork choice.
//!
//! # Invariants
//! - One block has one encoding; its name is BLAKE3 of its header.
//! - Every number is an integer; logarithms are fixed point with 32 fractional bits and come from
//!   one routine ([`fixed`]).
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::as_conversions, clippy::float_arithmetic, clippy::iter_over_hash_type)
)]

mod choice;
mod codec;
mod difficulty;
pub mod fixed;
mod header;
mod lane;
mod lane_zero;
mod rules;
mod solver;
mod standing;

pub use choice::{Candidate, replaces};
pub use codec::{DecodeError, Reader};
pub use difficulty::{Difficulty, LaneState, Pace};
pub use header::{BlockId, Core, HEADER_VERSION, Header, MAX_HEADER_BYTES, Shares};
pub use lane::{Claim, Lane};
pub use lane_zero::{HashClaim, HashClaimError, MAX_SOLUTION_BYTES, Puzzle, target};
pub use rules::{
    BodyError, HeaderError, MAX_BODY_BYTES, Outcome, check_body, check_body_form, check_header,
    receipts_root, tx_root,
};
pub use solver::{Solver, UnservedParameters};
pub use standing::{STATE_KEY, Standing};

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
