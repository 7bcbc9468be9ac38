//! The matmul proof of useful work, "MX8": an exact int8 product `C = A·B` whose multiplications
//! are lottery tickets, and the certificate that shows one of them.
//!
//! A job commits to A and B, adds noise that depends on both commitments and on the block to be
//! mined, multiplies the noisy matrices tile by tile, hashes what each tile went through, and takes
//! the noise out again. What comes out is `A·B` to the bit, on every machine alike. The rules are
//! M-1 … M-8 of `docs/spec/matmul.md`.
//!
//! This room is not a miner: it knows no block, no network and no price. It is handed a core hash,
//! anchors and a difficulty, and hands back a product, tickets and certificates.
//!
//! # Entry points
//! [`Lines`] for one operand, [`verify()`] for a certificate, [`reference`](mod@reference) for the
//! slow truth that every back end is tested against.
//!
//! # Invariants
//! - Nothing that comes from outside reaches a panic or an allocation before its bounds are checked.
#![cfg_attr(
    not(test),
    deny(clippy::float_arithmetic, clippy::iter_over_hash_type, clippy::indexing_slicing)
)]

mod certificate;
mod commit;
mod difficulty;
mod hash;
mod lines;
mod noise;
pub mod reference;
mod replay;
mod shape;
mod ticket;
mod verify;

pub use certificate::{Certificate, Claim, DecodeError, MAX_CERTIFICATE_BYTES, Opening, VERSION};
pub use commit::{Salts, Tree};
pub use difficulty::{Difficulty, DifficultyError, Target};
pub use hash::{Anchor, Core, Digest, LeftKey, RightKey};
pub use lines::{Lines, LinesError, MAX_ENTRY};
pub use noise::{Permutation, Permutations, Strip};
pub use shape::{GROUP, MAX_DEPTH, MAX_INNER, MAX_LINES, SEGMENT, STRIPE, Shape, ShapeError, Side};
pub use ticket::Ticket;
pub use verify::{Rejection, Work, verify};
