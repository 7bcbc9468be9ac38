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
//! [`Lines`] for one operand, [`Committed`] for one committed to, [`Right`] for B prepared for its
//! anchor window, [`Right::mine`] for a job, [`Right::certificate`] for a winner, [`verify()`] for a certificate, [`reference`](mod@reference) for the
//! slow truth that every back end is tested against, [`Factor`] for plain products.
//!
//! # Invariants
//! - All back ends are bit-identical; which one runs is chosen once ([`Backend::best`]).
//! - Nothing that comes from outside reaches a panic or an allocation before its bounds are checked.
//! - `unsafe` is in the files of `kernel/` alone, each block with its reason.
#![cfg_attr(
    not(test),
    deny(clippy::float_arithmetic, clippy::iter_over_hash_type, clippy::indexing_slicing)
)]

mod block;
mod certificate;
mod commit;
mod difficulty;
mod engine;
mod hash;
mod job;
mod kernel;
mod lines;
mod noise;
mod operand;
mod panel;
mod plain;
pub mod reference;
mod replay;
mod right;
mod shape;
mod ticket;
mod verify;

pub use certificate::{Certificate, Claim, DecodeError, MAX_CERTIFICATE_BYTES, Opening, VERSION};
pub use commit::{Salts, Tree};
pub use difficulty::{Difficulty, DifficultyError, Target};
pub use engine::Engine;
pub use hash::{Anchor, Core, Digest, LeftKey, RightKey};
pub use job::Job;
pub use kernel::Backend;
#[cfg(feature = "cuda")]
pub use kernel::cuda::{Cuda, CudaError};
pub use lines::{Lines, LinesError, MAX_ENTRY};
pub use noise::{Permutation, Permutations, Strip};
pub use operand::Committed;
pub use plain::{Factor, FactorError};
pub use right::Right;
pub use shape::{GROUP, MAX_DEPTH, MAX_INNER, MAX_LINES, SEGMENT, STRIPE, Shape, ShapeError, Side};
pub use ticket::Ticket;
pub use verify::{Rejection, Work, verify};
