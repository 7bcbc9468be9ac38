//! What an attacker adds up in memory who does not multiply everything anew.
//!
//! A transcript needs the accumulators after every stripe. Whoever has a part of them from elsewhere, from an
//! earlier block or from a neighbouring row, must bring it in and add it for every stripe.

use std::hint::black_box;

use pouw_matmul::{Engine, Factor, STRIPE};

use crate::measure::{entries, one_thread, timed};
use crate::{K, M, N};

const STRIPES: usize = K as usize / STRIPE;
const ROW: usize = N as usize;
const VALUES: usize = M as usize * ROW;

/// A·B' of operands that were multiplied before, stripe by stripe.
pub(crate) struct Known(Vec<i32>);

impl Known {
    pub(crate) fn new() -> Self {
        let stripe = entries("known", VALUES).into_iter().map(|value| i32::from(value) << 12);
        Self(stripe.cycle().take(VALUES * STRIPES).collect())
    }

    /// Seconds of adding it to the noise's part, whose accumulators stand in one block.
    pub(crate) fn add(&self) -> f64 {
        let mut sums = vec![0_i32; VALUES];
        let add = || {
            let mut seen = 0;
            for stripe in self.0.chunks_exact(VALUES) {
                for (sum, known) in sums.iter_mut().zip(stripe) {
                    *sum = sum.wrapping_add(*known);
                    seen ^= *sum;
                }
            }
            black_box(seen);
        };
        timed(add).0
    }
}

/// Differences between a row of noise and the most similar one before it, for A = 0: their products are small
/// numbers' and are added to that row's.
pub(crate) struct Differencing {
    engine: Engine,
    /// Of each row, which row it leans on, and the difference; of the first, itself.
    base: Vec<usize>,
    rows: Vec<i8>,
    factor: Factor,
}

impl Differencing {
    /// Finding similar rows is left out of what is measured, in the attacker's favour; so is that every stripe
    /// has other noise in B.
    pub(crate) fn new() -> Self {
        let engine = one_thread();
        let noise = entries("noise", M as usize * STRIPE);
        let row = |at: usize| &noise[at * STRIPE..(at + 1) * STRIPE];
        let (mut base, mut rows) = (vec![0], row(0).to_vec());
        for at in 1..M as usize {
            let equal =
                |other: &usize| row(at).iter().zip(row(*other)).filter(|(a, b)| a == b).count();
            let nearest = (0..at).max_by_key(equal).unwrap();
            base.push(nearest);
            rows.extend(row(at).iter().zip(row(nearest)).map(|(a, b)| a - b));
        }
        let factor = Factor::from_columns(STRIPE, ROW, &entries("B", STRIPE * ROW), &engine);
        Self { engine, base, rows, factor: factor.unwrap() }
    }

    /// Scalar multiplications that a machine would save which multiplied by nothing but what is not zero.
    pub(crate) fn zeros(&self) -> f64 {
        let zeros = self.rows.iter().filter(|entry| **entry == 0).count();
        zeros as f64 / self.rows.len() as f64
    }

    /// Seconds of all stripes of the job.
    pub(crate) fn run(&self) -> f64 {
        let mut sums = vec![0_i32; VALUES];
        let mut products = vec![0_i32; VALUES];
        let work = || {
            let mut seen = 0;
            for _ in 0..STRIPES {
                self.factor.multiply_into(&self.rows, &mut products, &self.engine).unwrap();
                for (at, base) in self.base.iter().enumerate() {
                    let (before, row) = products.split_at_mut(at * ROW);
                    let row = &mut row[..ROW];
                    if at > 0 {
                        let base = &before[base * ROW..(base + 1) * ROW];
                        row.iter_mut().zip(base).for_each(|(value, base)| *value += base);
                    }
                    for (sum, value) in sums[at * ROW..].iter_mut().zip(row) {
                        *sum = sum.wrapping_add(*value);
                        seen ^= *sum;
                    }
                }
            }
            black_box(seen);
        };
        timed(work).0
    }
}
