//! The benchmark suite: probes that measure, and scores that judge.
//!
//! Measuring ([`run_cpu_probe`], [`self_test`](fn@self_test)) reads clocks and files and takes a bounded time; judging
//! ([`score`], [`listed`], [`judge`]) is functions over what was measured. A score is in thousandths
//! of the reference of its class: 1000 is the reference.
//!
//! # The gate
//! A machine lists the lower quartile of seven runs; before a task it must reach 90 % of that in
//! the best of at most three. One noisy run is no verdict: load from outside makes runs slower,
//! never faster.
//!
//! Not here: when a gate runs, what follows from it, benchmarks inside images (their result is read
//! by [`ImageBench`]).
#![forbid(unsafe_code)]
#![deny(clippy::as_conversions, clippy::float_arithmetic, clippy::indexing_slicing)]

mod cpu;
mod gate;
mod image;
mod quota;
mod self_test;

pub use cpu::{CPU_PROBE_MS, Measurement, ThreadRun, run_cpu_probe};
pub use gate::{
    GATE_RUNS, LISTED_RUNS, Reference, Verdict, judge, listed, needed, rate_per_s, score,
};
pub use image::{Allowance, ImageBench, ImageBenchError};
pub use quota::Quota;
pub use self_test::{Component, SelfTest, SelfTestError, Unit, self_test};
