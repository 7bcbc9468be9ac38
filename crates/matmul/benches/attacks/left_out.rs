//! Work left out: tickets given up half-way, commitments not made, noise not taken out.

use std::hint::black_box;

use pouw_matmul::{Anchor, Core, Difficulty, Factor, GROUP, Rejection, SEGMENT, Side, Work};

use crate::measure::{committed, entries, timed};
use crate::{K, M, Miner, N};

/// A miner who looks at every other ticket after four of its eight stripes and gives it up.
pub(crate) struct Abort {
    /// The half that is worked through.
    miner: Miner,
    /// The other half of B, half of each segment.
    factor: Factor,
    a: Vec<i8>,
}

impl Abort {
    pub(crate) fn new(a: &[i8], b: &[i8]) -> Self {
        let (whole, given_up) = b.split_at(b.len() / 2);
        let half = |lines: &[i8]| -> Vec<i8> {
            lines
                .chunks_exact(SEGMENT)
                .flat_map(|segment| &segment[..SEGMENT / 2])
                .copied()
                .collect()
        };
        let miner = Miner::new(a.to_vec(), whole.to_vec());
        let (k, n) = (K as usize / 2, N as usize / 2);
        let factor = Factor::from_columns(k, n, &half(given_up), &miner.engine).unwrap();
        Self { miner, factor, a: half(a) }
    }

    /// Seconds for as many tickets as an honest job has: twice what half a job takes.
    pub(crate) fn run(&self) -> f64 {
        let given_up =
            || black_box(self.factor.multiply(M as usize, &self.a, &self.miner.engine).unwrap());
        2.0 * (self.miner.job() + timed(given_up).0)
    }
}

/// How much more often tickets win whose accumulators look promising one stripe before the end: of all tickets
/// of some jobs, the half whose last word but one has the fewest ones.
pub(crate) fn foresight(miner: &Miner) -> f64 {
    let difficulty = Difficulty::new(1 << 18).unwrap();
    let a = committed(Side::Left, M, K, miner.a.clone(), &miner.engine);
    let (mut promising, mut others) = (Vec::new(), Vec::new());
    for core in 0..64 {
        let job = miner.right.mine(&a, Core([core; 32]), difficulty, &miner.engine).unwrap();
        for ticket in &job.winners {
            let wins = ticket.value(job.key)[31] < 128;
            let few = ticket.transcript[6].count_ones() < 16;
            if few { &mut promising } else { &mut others }.push(f64::from(u8::from(wins)));
        }
    }
    let mean = |wins: &[f64]| wins.iter().sum::<f64>() / wins.len() as f64;
    mean(&promising) / mean(&others) - 1.0
}

/// Seconds of a job on a commitment that was made before.
pub(crate) fn job_on_kept(miner: &Miner) -> f64 {
    let difficulty = Difficulty::new(1 << 60).unwrap();
    let a = committed(Side::Left, M, K, miner.a.clone(), &miner.engine);
    timed(|| black_box(miner.right.mine(&a, Core([3; 32]), difficulty, &miner.engine).unwrap())).0
}

/// What a certificate is worth whose rows were not committed to: the root is of other rows.
pub(crate) fn uncommitted_is_refused(miner: &Miner) {
    let (core, difficulty) = (Core([3; 32]), Difficulty::new(1 << 20).unwrap());
    let rows = |label: &str| {
        let entries = entries(label, GROUP * K as usize);
        committed(Side::Left, 16, K, entries, &miner.engine)
    };
    let (old, new) = (rows("old"), rows("new"));
    let job = miner.right.mine(&new, core, difficulty, &miner.engine).unwrap();
    let mut certificate = miner.right.certificate(&new, 1, &job.winners[0]).unwrap();
    let ancestors = [Anchor([2; 32])];
    let work = Work { core, ancestors: &ancestors, difficulty };
    assert!(certificate.verify(&work).is_ok());
    certificate.claim.root_a = old.root();
    assert_eq!(certificate.verify(&work), Err(Rejection::Commitment(Side::Left)));
}

/// Seconds of what a miner who never wants the product leaves out: committing to A anew, and taking the noise
/// out, which is a product over 512 inner indices.
pub(crate) fn unwanted(miner: &Miner) -> f64 {
    let engine = &miner.engine;
    let a = miner.a.clone();
    let commit = timed(|| black_box(committed(Side::Left, M, K, a, engine))).0;
    let (m, n) = (M as usize, N as usize);
    let factor = Factor::from_columns(512, n, &entries("V", 512 * n), engine).unwrap();
    let u = entries("U", 512 * m);
    commit + timed(|| black_box(factor.multiply(m, &u, engine).unwrap())).0
}
