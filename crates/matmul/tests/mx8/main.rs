//! The proof from end to end: every rule by the reference, by its vectors, and by what breaks it.
#![expect(clippy::unwrap_used, reason = "a test that fails panics")]

mod back_ends;
mod job;
mod mutations;
mod vectors;
mod whole_life;
