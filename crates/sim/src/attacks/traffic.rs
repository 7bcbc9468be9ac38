//! What travels between nodes: certificates that fail, blocks that come late.

use super::{Options, Progress};
use crate::chain::{Chain, REST, T};
use crate::dice::Dice;
use crate::network::{Network, World};
use crate::race::shares;
use crate::report::{Plot, Report, Table, mean};

/// Bytes of the longest certificate.
const CERTIFICATE: f64 = 34_490.0;

/// The 99th percentile of how long honest certificates wait for one verifier, milliseconds, while
/// `spam` forged ones a second arrive, each from a peer that is banned for it.
fn wait(spam: f64, verify_ms: f64, seed: u64) -> f64 {
    let mut dice = Dice::new(seed, (spam * 1_000.0) as u64 ^ (verify_ms * 1e6) as u64);
    // Some 2,000 honest arrivals among the spam, at one in 25 ms so that the run stays short; they
    // use a part of the verifier that is too small to matter.
    let (mut now, mut free_at) = (0.0_f64, 0.0_f64);
    let (mut next_honest, mut next_spam) = (25.0, dice.exponential(1_000.0 / spam));
    let mut waits = Vec::with_capacity(2_000);
    while waits.len() < 2_000 {
        let honest = next_honest <= next_spam;
        now = f64::max(now, if honest { next_honest } else { next_spam });
        let begins = free_at.max(now);
        free_at = begins + verify_ms;
        if honest {
            waits.push(free_at - now);
            next_honest += dice.exponential(25.0);
        } else {
            next_spam += dice.exponential(1_000.0 / spam);
        }
    }
    waits.sort_unstable_by(f64::total_cmp);
    waits[waits.len() * 99 / 100]
}

/// Forged certificates.
pub(super) fn spam(options: &Options, progress: Progress<'_>) -> Report {
    let costs = [0.12, 0.3, 1.0, 5.0];
    let mut table =
        Table::new(&["forged a second", "Mbit/s", "0.12 ms a check", "0.3 ms", "1 ms", "5 ms"]);
    let mut plot = Plot::new(
        "Honest certificates behind forged ones, one core",
        "forged certificates a second",
        "99th percentile until verified, ms",
    );
    plot.log = true;
    let rates = [10.0, 100.0, 362.0, 1_000.0, 3_000.0];
    let mut lines = vec![Vec::new(); costs.len()];
    let mut promised = 0.0;
    for (at, rate) in rates.into_iter().enumerate() {
        let mut row = vec![rate * CERTIFICATE * 8.0 / 1e6];
        for (cost, line) in costs.iter().zip(&mut lines) {
            let runs: Vec<f64> = (0..options.seeds.min(8))
                .map(|run| wait(rate, *cost, options.seed + u64::from(run)))
                .collect();
            let found = mean(&runs);
            line.push((rate, found));
            row.push(found);
        }
        if at == 2 {
            promised = row[2];
        }
        table.row(format!("{rate:.0}"), &row);
        progress(at + 1, rates.len());
    }
    for (cost, line) in costs.into_iter().zip(lines) {
        plot.line(format!("{cost} ms a check"), line);
    }
    let mut report = Report::new(table, plot);
    report.at_most("100 Mbit/s of forged ones at 0.3 ms, ms until verified", promised, 5.0);
    report
}

/// A slow network.
pub(super) fn delay(options: &Options, progress: Progress<'_>) -> Report {
    let mut table = Table::new(&[
        "mean delay, s",
        "stale, %",
        "s/block",
        "lane 0",
        "lane 1",
        "lane 2",
        "weight a day, of that at 0 s",
    ]);
    let mut plot =
        Plot::new("A slow network, s = (.4, .4, .2)", "mean delay, s", "stale blocks, %");
    let delays = [0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0];
    let (mut points, mut undelayed, mut at_two) = (Vec::new(), 0.0, 0.0);
    for (at, delay) in delays.into_iter().enumerate() {
        let runs: Vec<[f64; 6]> =
            (0..options.seeds.clamp(1, 4)).map(|run| slow(delay, options, run)).collect();
        let row = [0, 1, 2, 3, 4, 5]
            .map(|place| mean(&runs.iter().map(|run| run[place]).collect::<Vec<_>>()));
        if at == 0 {
            undelayed = row[5];
        }
        if at == 3 {
            at_two = row[0];
        }
        let weight = row[5] / undelayed;
        table.row(format!("{delay}"), &[row[0], row[1], row[2], row[3], row[4], weight]);
        points.push((delay, row[0]));
        progress(at + 1, delays.len());
    }
    plot.line("stale", points);
    let mut report = Report::new(table, plot);
    report.at_most("stale blocks at 2 s, %", at_two, 5.0);
    report
}

/// Stale %, s/block, parts by lane, weight a second: 300 miners, 6,000 blocks.
fn slow(delay: f64, options: &Options, run: u32) -> [f64; 6] {
    let chain = Chain::at_rest(shares(0.4, 0.2), REST, options.rule);
    let dice = Dice::new(options.seed, u64::from(run) + 500);
    let mut world = World::new(Network::new(300, delay), chain, dice);
    let (mut stale, mut won, mut blocks, mut end) = (0.0, [0.0; 3], 0.0, T);
    while blocks < 6_000.0 {
        let (gone, settled) = world.step(REST, &mut |_, shares| shares);
        stale += gone as f64;
        for block in settled {
            won[block.lane.index()] += 1.0;
            blocks += 1.0;
            end = block.time;
        }
    }
    let [hash, matmul, credit] = won.map(|count| count / blocks);
    let weight = world.settled().weight() / world.now();
    [stale / (stale + blocks) * 100.0, end / blocks, hash, matmul, credit, weight]
}
