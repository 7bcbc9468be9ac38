//! Share and capacity moved in phase.

use pouw_consensus::Shares;
use pouw_consensus::share::Steps;
use pouw_types::Network;

use super::{Options, Progress};
use crate::chain::{Chain, REST, T};
use crate::dice::Dice;
use crate::mining::next_block;
use crate::race::shares;
use crate::report::{Plot, Report, Table, mean};

const EPOCH: u64 = 1_440;

/// What a branch's owner does with share and capacity.
#[derive(Clone, Copy)]
struct Pump {
    /// Epochs of rising, then of falling `s_1`; 0 leaves it alone.
    cycle: u64,
    /// How much of the capacity follows: 0 none, 1 all of it to the lane that the phase names.
    swing: f64,
    /// Whether capacity goes to the lane whose share rises, or to the other.
    with: bool,
}

/// Weight of a branch after each of so many days.
fn branch(pump: Pump, days: &[f64], options: &Options, run: u32) -> Vec<f64> {
    let mut dice = Dice::new(options.seed, u64::from(run));
    let steps = Steps::of(Network::mainnet());
    let mut chain = Chain::at_rest(shares(0.4, 0.0), REST, options.rule);
    let mut now = 0.0;
    let mut weights = Vec::new();
    for day in days {
        while now < day * EPOCH as f64 * T {
            let epoch = chain.height() / EPOCH;
            // Falling is three times as fast, so a cycle has three parts up and one down.
            let rises = pump.cycle > 0 && epoch % (pump.cycle * 4) < pump.cycle * 3;
            let to_matmul = rises == pump.with;
            let (swing, moves) = (pump.swing, pump.cycle > 0);
            let rates = match (moves, to_matmul) {
                (false, _) => [REST[0], REST[1], 0.0],
                (true, true) => [REST[0] * (1.0 - swing), REST[1] * (1.0 + swing), 0.0],
                (true, false) => [REST[0] * (1.0 + swing), REST[1] * (1.0 - swing), 0.0],
            };
            let Some((at, lane)) = next_block(&chain, rates, now, &mut dice) else { break };
            now = at;
            let ends = (chain.height() + 2).is_multiple_of(EPOCH) && moves;
            let before = chain.standing.shares;
            let next = match (ends, rises) {
                (false, _) => before,
                (true, true) => Shares { matmul: before.matmul + steps.rise, ..before },
                (true, false) => {
                    Shares { matmul: before.matmul.saturating_sub(steps.fall), ..before }
                }
            };
            chain.push_moving(lane, at, next);
        }
        weights.push(chain.weight());
    }
    weights
}

/// The best of the phases, within H and after ten days.
pub(super) fn run(options: &Options, progress: Progress<'_>) -> Report {
    let days = [1.0, 2.0, 4.0, 6.0, 8.0, 10.0];
    let still = Pump { cycle: 0, swing: 0.0, with: true };
    let cases = [
        ("share alone", Pump { cycle: 1, ..still }),
        ("with it, half", Pump { cycle: 1, swing: 0.5, with: true }),
        ("against it, half", Pump { cycle: 1, swing: 0.5, with: false }),
        ("with it, 95 %", Pump { cycle: 1, swing: 0.95, with: true }),
        ("against it, 95 %", Pump { cycle: 1, swing: 0.95, with: false }),
        ("with it, 95 %, slow", Pump { cycle: 3, swing: 0.95, with: true }),
    ];
    let of = |pump| -> Vec<f64> {
        let runs: Vec<Vec<f64>> =
            (0..options.seeds).map(|run| branch(pump, &days, options, run)).collect();
        (0..days.len())
            .map(|at| mean(&runs.iter().map(|run| run[at]).collect::<Vec<_>>()))
            .collect()
    };
    let base = of(still);
    let mut heading = vec!["weight / that of the same capacity at rest".to_owned()];
    heading.extend(days.map(|day| format!("{day} d")));
    let mut table = Table { heading, rows: Vec::new() };
    let mut plot =
        Plot::new("Share and capacity in phase", "days since the fork", "weight / at rest");
    let (mut drift, mut inside): (f64, f64) = (0.0, 0.0);
    for (at, (name, pump)) in cases.into_iter().enumerate() {
        let row: Vec<f64> =
            of(pump).iter().zip(&base).map(|(with, without)| with / without).collect();
        if at == 0 {
            drift = row[1] - 1.0;
        }
        inside = inside.max(row[1]);
        table.row(name, &row);
        plot.line(name, days.into_iter().zip(row).collect());
        progress(at + 1, cases.len());
    }
    let mut report = Report::new(table, plot);
    report.at_most("share moves alone gain within H (2 d)", drift, 0.01);
    report.at_most("share and capacity in phase reach within H", inside, 1.1);
    report
}
