//! `structured-saving`: what a miner who chooses his operands, or leaves out work, saves of an honest
//! miner's time. The table of `docs/security/matmul.md`.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark that fails ends, and its figures go to standard output"
)]

mod left_out;
#[path = "../shared/measure.rs"]
mod measure;
mod strassen;
mod sums;

use std::hint::black_box;
use std::sync::Arc;

use measure::{committed, entries, median, one_thread, print_figure, timed, wanted};
use pouw_matmul::{Anchor, Core, Difficulty, Engine, Right, Side};

pub(crate) const M: u32 = 256;
pub(crate) const K: u32 = 4096;
pub(crate) const N: u32 = 1440;
/// Miners are set up anew so often: how their memory lies in the caches is worth a percent or two.
const PLACES: usize = 9;
/// Pairs of runs each time.
const ROUNDS: usize = 25;

/// Entries by line and place.
fn filled(count: u32, value: impl Fn(usize, usize) -> i8) -> Vec<i8> {
    let k = K as usize;
    (0..count as usize * k).map(|at| value(at / k, at % k)).collect()
}

/// Whoever mines a product.
pub(crate) struct Miner {
    right: Right,
    a: Vec<i8>,
    engine: Engine,
}

impl Miner {
    pub(crate) fn new(a: Vec<i8>, b: Vec<i8>) -> Self {
        let n = u32::try_from(b.len()).unwrap() / K;
        let engine = one_thread();
        let b = Arc::new(committed(Side::Right, n, K, b, &engine));
        Self { right: Right::new(b, Anchor([2; 32]), &engine), a, engine }
    }

    /// Seconds of a whole job.
    pub(crate) fn job(&self) -> f64 {
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
        ("b-zero", (a.clone(), filled(N, |_, _| 0))),
    ];
    let honest = || Miner::new(a.clone(), b.clone());
    let mut worst = f64::MIN;
    // What two honest miners save of each other is the measure's own error.
    report("honest", share(&honest, honest, Miner::job));
    for (name, (a, b)) in inputs {
        let attacker = || Miner::new(a.clone(), b.clone());
        worst = worst.max(report(name, share(&honest, attacker, Miner::job)));
    }
    // A new block for operands that were multiplied before: A·B' is known and is brought in; what is left to
    // compute for each stripe is the noise's part, which is the job of A = 0.
    let known = sums::Known::new();
    let noise = || Miner::new(filled(M, |_, _| 0), b.clone());
    let both_fixed = share(&honest, noise, |noise| noise.job() + known.add());
    worst = worst.max(report("both-fixed", both_fixed));
    let differencing = sums::Differencing::new();
    worst = worst.max(report("near-noise", share(&honest, || (), |()| differencing.run())));
    let strassen = strassen::Strassen::new();
    worst = worst.max(report("strassen", share(&honest, || (), |()| strassen.run())));
    let abort = || left_out::Abort::new(&a, &b);
    worst = worst.max(report("early-abort", share(&honest, abort, left_out::Abort::run)));
    what_is_reported(&honest, &differencing);
    let goal = "at most 1 % of wall time by any choice of operands";
    print_figure("structured-saving", worst, None, "% of honest time", goal, worst <= 1.0);
}

/// What is measured without a promise.
fn what_is_reported(honest: &impl Fn() -> Miner, differencing: &sums::Differencing) {
    let print = |name: &str, value: f64, unit: &str, what: &str| {
        let name = format!("structured-saving-{name}");
        print_figure(&name, value, None, unit, &format!("reported: {what}"), true);
    };
    let zeros = differencing.zeros() * 100.0;
    let what = "zeros among the differences, which no dense unit skips";
    print("near-noise-zeros", zeros, "% of entries", what);
    let miner = honest();
    let what = "how much oftener a ticket wins that looks promising before its last stripe";
    print("foresight", left_out::foresight(&miner) * 100.0, "%, ±0.3", what);
    left_out::uncommitted_is_refused(&miner);
    let saved = |run: fn(&Miner) -> f64| (1.0 - share(honest, honest, run)) * 100.0;
    let what =
        "A kept for another block; of rows that were not committed to, certificates are refused";
    print("no-commitment", saved(left_out::job_on_kept), "% of honest time", what);
    let part = share(honest, honest, left_out::unwanted) * 100.0;
    let what = "no commitment and the noise left in, which no proof can charge for";
    print("fake-miner", part, "% of honest time", what);
}

/// The attacker's part of the honest miner's time: the median over pairs of runs, either first in turn.
fn share<T>(honest: &impl Fn() -> Miner, attacker: impl Fn() -> T, run: impl Fn(&T) -> f64) -> f64 {
    let mut shares = Vec::new();
    for place in 0..PLACES {
        // Moves what comes after it.
        let spacer = black_box(vec![1_u8; place * 75_000]);
        let (honest, attacker) = (honest(), attacker());
        shares.extend((0..ROUNDS).map(|round| {
            if round.is_multiple_of(2) {
                let own = honest.job();
                run(&attacker) / own
            } else {
                run(&attacker) / honest.job()
            }
        }));
        drop(spacer);
    }
    median(shares)
}

fn report(name: &str, share: f64) -> f64 {
    let saved = (1.0 - share) * 100.0;
    let name = format!("structured-saving-{name}");
    print_figure(&name, saved, None, "% of honest time", "at most 1 %", saved <= 1.0);
    saved
}
