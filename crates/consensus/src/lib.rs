//! The rules of the chain: headers, three lanes, difficulty, weight, fork choice.
//!
//! Pure: time and randomness are arguments, and nothing here reads a file or a clock. What a body
//! does to the state is the ledger's; this room compares the outcome with the header. Lane 0
//! (Equihash) is open on every network, lane 1 (matmul) where it has a share; lane 2 (credit) has its
//! rules here and no share on any network yet.
//!
//! # Entry points
//! [`Header`] and its bytes, [`check_header`] and [`check_body`] for the rules (C-1 … C-30,
//! `docs/spec/chain.md`), [`Standing`] for what a block is checked against, [`Solver`] to mine
//! lane 0, [`IdleWork`] to mine lane 1 without a task, [`replaces`] for fork choice, [`share`], [`reward`] and [`beacon`] for what an epoch or
//! period changes.
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

pub mod beacon;
mod choice;
mod codec;
mod difficulty;
pub mod fixed;
mod header;
mod idle;
mod lane;
mod lane_one;
mod lane_two;
mod lane_zero;
pub mod reward;
mod rules;
pub mod share;
mod solver;
mod standing;
pub mod vrf;
pub mod weight;

pub use choice::{Candidate, replaces};
pub use codec::{DecodeError, Reader};
pub use difficulty::{Difficulty, LaneState, Pace};
pub use header::{BlockId, Core, HEADER_VERSION, Header, MAX_HEADER_BYTES, Shares};
pub use idle::{IdleWork, WonTicket};
pub use lane::{Claim, Lane};
pub use lane_one::{MatmulClaim, MatmulClaimError};
pub use lane_two::{
    CreditClaim, CreditClaimError, CreditRecord, CreditSums, lane_key_of, slot_input, slot_of, wins,
};
pub use lane_zero::{HashClaim, HashClaimError, MAX_SOLUTION_BYTES, Puzzle, target};
pub use pouw_matmul::{LinesError, MAX_CERTIFICATE_BYTES, MAX_DEPTH, Shape, ShapeError};
pub use rules::{
    BodyError, Evidence, HeaderError, MAX_BODY_BYTES, Outcome, check_body, check_body_form,
    check_header, check_header_with, receipts_root, tx_root,
};
pub use share::ShareError;
pub use solver::{Solver, UnservedParameters};
pub use standing::{STATE_KEY, Standing};

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
