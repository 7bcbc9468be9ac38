//! `structured-saving`: what a miner who chooses his operands, or leaves out work, saves of an honest
//! miner's time. The table of `docs/security/matmul.md`.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark that fails ends, and its figures go to standard output"
)]

#[path = "../shared/measure.rs"]
mod measure;
mod strassen;

use std::hint::black_box;
use std::sync::Arc;

use measure::{committed, entries, median, one_thread, print_figure, timed, wanted};
use pouw_matmul::{Anchor, Core, Difficulty, Engine, Factor, Right, Side};

pub(crate) const M: u32 = 256;
pub(crate) const K: u32 = 4096;
pub(crate) const N: u32 = 960;
const ROUNDS: usize = 101;

/// Entries by line and place.
fn filled(count: u32, value: impl Fn(usize, usize) -> i8) -> Vec<i8> {
    let k = K as usize;
    (0..count as usize * k).map(|at| value(at / k, at % k)).collect()
}

struct Miner {
    right: Right,
    a: Vec<i8>,
    engine: Engine,
}

impl Miner {
    fn new(a: Vec<i8>, b: Vec<i8>) -> Self {
        let engine = one_thread();
        let b = Arc::new(committed(Side::Right, N, K, b, &engine));
        Self { right: Right::new(b, Anchor([2; 32]), &engine), a, engine }
    }

    /// Seconds of a whole job.
    fn job(&self) -> f64 {
        let (a, difficulty) = (self.a.clone(), Difficulty::new(1 << 60).unwrap());
        timed(|| {
            let a = committed(Side::Left, M, K, a, &self.engine);
            black_box(self.right.mine(&a, Core([3; 32]), difficulty, &self.engine).unwrap());
        })
        .0
    }
}

fn main() {
    if !wanted("structured-saving") {
        return;
    }
    let size = |count: u32| count as usize * K as usize;
    let (a, b) = (entries("A", size(M)), entries("B", size(N)));
    let constant = |value| (filled(M, |_, _| value), filled(N, |_, _| value));
    let low_rank =
        |count| filled(count, |line, place| if (line + place) % 2 == 0 { 63 } else { -63 });
    let repeated = filled(M, |_, place| a[place]);
    let inputs = [
        ("zero", constant(0)),
        ("constant", constant(63)),
        ("low-rank", (low_rank(M), low_rank(N))),
        ("repeated-rows", (repeated, b.clone())),
        // A new block for operands that were multiplied before: A·B' is known, and what is left to
        // compute for each stripe is the noise's part, which is the job of A = 0.
        ("both-fixed", (filled(M, |_, _| 0), b.clone())),
        ("b-zero", (a.clone(), filled(N, |_, _| 0))),
    ];
    let honest = Miner::new(a, b);
    let mut worst = f64::MIN;
    for (name, (a, b)) in inputs {
        let attacker = Miner::new(a, b);
        worst = worst.max(report(name, share(&honest, || attacker.job())));
    }
    let strassen = strassen::Strassen::new();
    worst = worst.max(report("strassen", share(&honest, || strassen.run())));
    let left_out = share(&honest, || left_out(&honest)) * 100.0;
    let text = "reported: what no proof can charge for; rewards vest against paid work";
    print_figure("structured-saving-fake-miner", left_out, None, "% of honest time", text, true);
    let goal = "at most 1 % of wall time by any choice of operands";
    print_figure("structured-saving", worst, None, "% of honest time", goal, worst <= 1.0);
}

/// The attacker's part of the honest miner's time: the median over pairs of runs, either first in turn.
fn share(honest: &Miner, attack: impl Fn() -> f64) -> f64 {
    let pair = |round: usize| {
        if round.is_multiple_of(2) {
            let own = honest.job();
            attack() / own
        } else {
            attack() / honest.job()
        }
    };
    median((0..ROUNDS).map(pair).collect())
}

fn report(name: &str, share: f64) -> f64 {
    let saved = (1.0 - share) * 100.0;
    let name = format!("structured-saving-{name}");
    print_figure(&name, saved, None, "% of honest time", "at most 1 %", saved <= 1.0);
    saved
}

/// What a miner who never wants the product leaves out: committing to A anew, and taking the noise out,
/// which is a product over 512 inner indices.
fn left_out(honest: &Miner) -> f64 {
    let engine = &honest.engine;
    let a = honest.a.clone();
    let commit = timed(|| black_box(committed(Side::Left, M, K, a, engine))).0;
    let (m, n) = (M as usize, N as usize);
    let factor = Factor::from_columns(512, n, &entries("V", 512 * n), engine).unwrap();
    let u = entries("U", 512 * m);
    commit + timed(|| black_box(factor.multiply(m, &u, engine).unwrap())).0
}
