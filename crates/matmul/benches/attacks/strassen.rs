//! Strassen's seven products instead of eight, once, inside each stripe.
//!
//! Only noise alone (A = B = 0) leaves room for the sums of two blocks in int8. The transcript needs the
//! accumulators after every stripe, so the seven products must be joined for every stripe: eighteen
//! passes over blocks that a plain kernel never writes. Hashing and noise are left out, in the attacker's
//! favour.

use std::hint::black_box;

use pouw_matmul::{Engine, Factor};

use crate::measure::{entries, one_thread, timed};
use crate::{K, M, N};

/// Half a stripe.
const INNER: usize = 64;
const HALF_M: usize = M as usize / 2;
const HALF_N: usize = N as usize / 2;

pub(crate) struct Strassen {
    engine: Engine,
    /// The seven sums of A's blocks, and of B's, of one stripe; arranging them is left out, too.
    left: Vec<Vec<i8>>,
    right: Vec<Factor>,
}

impl Strassen {
    pub(crate) fn new() -> Self {
        let engine = one_thread();
        let left = (0..7).map(|x| entries(&format!("left {x}"), HALF_M * INNER)).collect();
        let factor = |x| {
            let block = entries(&format!("right {x}"), HALF_N * INNER);
            Factor::from_columns(INNER, HALF_N, &block, &engine).unwrap()
        };
        let right = (0..7).map(factor).collect();
        Self { engine, left, right }
    }

    /// Seconds of all stripes of the job.
    pub(crate) fn run(&self) -> f64 {
        let mut blocks = vec![vec![0_i32; HALF_M * HALF_N]; 4];
        timed(|| {
            for _ in 0..K / 128 {
                self.stripe(&mut blocks);
            }
            black_box(&blocks);
        })
        .0
    }

    fn stripe(&self, blocks: &mut [Vec<i32>]) {
        let products: Vec<Vec<i32>> = self
            .left
            .iter()
            .zip(&self.right)
            .map(|(a, b)| b.multiply(HALF_M, a, &self.engine).unwrap())
            .collect();
        let [m1, m2, m3, m4, m5, m6, m7] = products.try_into().unwrap();
        let mut seen = 0;
        join(&mut blocks[0], [&m1, &m4, &m7], Some(&m5), &mut seen);
        join(&mut blocks[1], [&m3, &m5], None, &mut seen);
        join(&mut blocks[2], [&m2, &m4], None, &mut seen);
        join(&mut blocks[3], [&m1, &m3, &m6], Some(&m2), &mut seen);
        black_box(seen);
    }
}

/// Adds products to accumulators and takes their XOR.
fn join<const P: usize>(
    sums: &mut [i32],
    plus: [&Vec<i32>; P],
    minus: Option<&Vec<i32>>,
    seen: &mut i32,
) {
    for (at, sum) in sums.iter_mut().enumerate() {
        let added = plus.iter().fold(0_i32, |added, product| added.wrapping_add(product[at]));
        *sum = sum.wrapping_add(added).wrapping_sub(minus.map_or(0, |product| product[at]));
        *seen ^= *sum;
    }
}
