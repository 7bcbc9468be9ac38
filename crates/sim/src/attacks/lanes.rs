//! Lanes that stop, miners who hop, blocks that are withheld.

use pouw_consensus::{Lane, Shares};

use super::{Options, Progress};
use crate::chain::{Chain, REST, Rates, T};
use crate::dice::Dice;
use crate::mining::{Stamps, grow, next_block};
use crate::race::shares;
use crate::report::{Plot, Report, Table, mean};

/// What is left of [`REST`].
fn part(by: Rates) -> Rates {
    [0, 1, 2].map(|lane| REST[lane] * by[lane])
}

/// Seconds a block of the next `blocks`, or of those until a time.
fn pace_of(chain: &mut Chain, rates: Rates, from: f64, blocks: u64, dice: &mut Dice) -> (f64, f64) {
    let mut now = from;
    for _ in 0..blocks {
        let Some((at, lane)) = next_block(chain, rates, now, dice) else { break };
        chain.push(lane, at);
        now = at;
    }
    ((now - from) / blocks as f64, now)
}

/// What one death of lanes did.
struct Death {
    first_60: f64,
    hours_3_4: f64,
    on_return: f64,
}

fn die(split: Shares, left: Rates, options: &Options, run: u32) -> Death {
    let mut dice = Dice::new(options.seed, u64::from(run));
    let mut chain = Chain::at_rest(split, REST, options.rule);
    let death = 24.0 * 3_600.0;
    grow(&mut chain, REST, Stamps::Honest, (0.0, death), &mut dice);
    let (first_60, now) = pace_of(&mut chain, part(left), death, 60, &mut dice);
    let third = (death + 2.0 * 3_600.0).max(now);
    grow(&mut chain, part(left), Stamps::Honest, (now, third), &mut dice);
    let fourth = third + 2.0 * 3_600.0;
    let blocks = grow(&mut chain, part(left), Stamps::Honest, (third, fourth), &mut dice);
    let back = death + 24.0 * 3_600.0;
    grow(&mut chain, part(left), Stamps::Honest, (fourth, back), &mut dice);
    let on_return = grow(&mut chain, REST, Stamps::Honest, (back, back + 600.0), &mut dice);
    Death { first_60, hours_3_4: 7_200.0 / blocks as f64, on_return: on_return as f64 }
}

/// Lanes die and come back a day later.
pub(super) fn death(options: &Options, progress: Progress<'_>) -> Report {
    let cases = [
        ("lane 1 of 40 % dies", shares(0.4, 0.3), [1.0, 0.0, 1.0]),
        ("lane 1 of 95 % dies", shares(0.95, 0.0), [1.0, 0.0, 0.0]),
        ("lane 0 of 95 % dies", shares(0.05, 0.0), [0.0, 1.0, 0.0]),
        ("lanes 1 and 2 of 65 + 30 % die", shares(0.65, 0.3), [1.0, 0.0, 0.0]),
    ];
    let mut table =
        Table::new(&["", "s/block, first 60", "s/block, hours 3-4", "blocks in 10 min on return"]);
    let mut plot = Plot::new("Blocks after lane 1 of 95 % dies", "hours", "seconds a block");
    let (mut slowest, mut settled, mut burst): (f64, f64, f64) = (0.0, 0.0, 0.0);
    for (at, (name, split, left)) in cases.into_iter().enumerate() {
        let runs: Vec<Death> =
            (0..options.seeds).map(|run| die(split, left, options, run)).collect();
        let of = |get: fn(&Death) -> f64| mean(&runs.iter().map(get).collect::<Vec<_>>());
        let row = [of(|d| d.first_60), of(|d| d.hours_3_4), of(|d| d.on_return)];
        slowest = slowest.max(row[0]);
        settled = settled.max((row[1] - T).abs());
        burst = burst.max(row[2]);
        table.row(name, &row);
        progress(at + 1, cases.len());
    }
    let mut dice = Dice::new(options.seed, 99);
    let mut chain = Chain::at_rest(shares(0.95, 0.0), REST, options.rule);
    let mut now = 0.0;
    grow(&mut chain, REST, Stamps::Honest, (now, 86_400.0), &mut dice);
    now = 86_400.0;
    let points = (0..24).map(|_| {
        let begun = now;
        let (pace, end) = pace_of(&mut chain, part([1.0, 0.0, 0.0]), now, 10, &mut dice);
        now = end;
        ((begun - 86_400.0) / 3_600.0, pace)
    });
    plot.line("mean of 10 blocks", points.collect());
    let mut report = Report::new(table, plot);
    report.at_most("first 60 blocks, s/block", slowest, 90.0);
    report.at_most("hours 3-4, off 60 s by", settled, 3.0);
    report.at_most("blocks in 10 min on return", burst, 15.0);
    report
}

/// Blocks that a miner of 5 % wins in 20,000, steady or hopping.
fn hop(hops: bool, size: f64, options: &Options, run: u32) -> f64 {
    let mut dice = Dice::new(options.seed, u64::from(run));
    let split = shares(0.4, 0.2);
    let mut chain =
        Chain::at_rest(split, part([1.0 + size / 2.0, 1.0 + size / 2.0, 1.0]), options.rule);
    let (mut now, mut won) = (0.0, 0.0);
    for _ in 0..20_000 {
        let ease = |lane: Lane| REST[lane.index()] / chain.difficulty(lane);
        let hash = match hops {
            false => 0.5,
            true if ease(Lane::Hash) >= ease(Lane::Matmul) => 1.0,
            true => 0.0,
        };
        let own = [size * hash, size * (1.0 - hash), 0.0];
        let all = part([1.0 + own[0], 1.0 + own[1], 1.0]);
        let Some((at, lane)) = next_block(&chain, all, now, &mut dice) else { break };
        now = at;
        chain.push(lane, at);
        let mine = own[lane.index()] / (1.0 + own[lane.index()]);
        won += f64::from(u8::from(mine > 0.0 && dice.happens(mine)));
    }
    won / now
}

/// A hopper's gain.
pub(super) fn hopping(options: &Options, progress: Progress<'_>) -> Report {
    let mut table =
        Table::new(&["hopper's size in one lane", "steady, blocks/day", "hopping", "gain"]);
    let mut plot =
        Plot::new("What hopping between lanes 0 and 1 gains", "size in a lane, %", "gain");
    let sizes = [0.05, 0.2, 0.5, 1.0];
    let mut points = Vec::new();
    for (at, size) in sizes.into_iter().enumerate() {
        let day = |hops| {
            let runs: Vec<f64> =
                (0..options.seeds).map(|run| hop(hops, size, options, run)).collect();
            mean(&runs) * 86_400.0
        };
        let (steady, hopping) = (day(false), day(true));
        table.row(format!("{}", size * 100.0), &[steady, hopping, hopping / steady - 1.0]);
        points.push((size * 100.0, hopping / steady - 1.0));
        progress(at + 1, sizes.len());
    }
    let small = points.first().map_or(0.0, |point| point.1);
    plot.line("gain over a steady miner", points);
    let mut report = Report::new(table, plot);
    report.at_most("a hopper of 5 % gains", small, 0.15);
    report
}

/// The part of all 4,000 blocks that a withholder of `power` ends up with, who would have `fair`.
fn withhold(power: Rates, fair: f64, options: &Options, run: u32) -> f64 {
    let mut dice = [0, 1].map(|part| Dice::new(options.seed, u64::from(run) * 2 + part));
    let honest_rates = part(power.map(|p| 1.0 - p));
    let mut public = Chain::at_rest(shares(0.4, 0.2), REST, options.rule);
    let mut secret = public.clone();
    let (mut now, mut secret_own, mut secret_len) = (0.0, 0_u64, 0_u64);
    let (mut own, mut all) = (0_u64, 0_u64);
    let mut since_fork: u64 = 0;
    while all < 4_000 {
        let theirs = next_block(&public, honest_rates, now, &mut dice[0]);
        let mine = next_block(&secret, part(power), now, &mut dice[1]);
        let (Some((theirs_at, theirs_lane)), Some((at, lane))) = (theirs, mine) else { break };
        if at < theirs_at {
            now = at;
            secret.push(lane, at);
            (secret_own, secret_len) = (secret_own + 1, secret_len + 1);
            continue;
        }
        now = theirs_at;
        let before = public.weight();
        public.push(theirs_lane, theirs_at);
        since_fork += 1;
        let lead = secret.weight() - public.weight();
        if secret_own == 0 || lead < 0.0 {
            // Behind: the honest branch is taken.
            all += since_fork;
            (secret, secret_own, secret_len, since_fork) = (public.clone(), 0, 0, 0);
        } else if lead < (public.weight() - before) * (1.0 - 1e-9) && lead.abs() > 1e-9 {
            // Barely ahead: publish, and orphan theirs.
            own += secret_own;
            all += secret_len;
            (public, secret_own, secret_len, since_fork) = (secret.clone(), 0, 0, 0);
        } else if lead.abs() <= 1e-9 && public.weight() > before {
            // As heavy: publish at once. Half of the others heard of it first; who finds the next
            // block decides.
            if dice[1].happens(fair + (1.0 - fair) / 2.0) {
                own += secret_own;
                all += secret_len;
                public = secret.clone();
            } else {
                all += since_fork;
                secret = public.clone();
            }
            (secret_own, secret_len, since_fork) = (0, 0, 0);
        }
    }
    own as f64 / all.max(1) as f64
}

/// The part of each lane that a party of a size has.
type Kind = fn(f64) -> Rates;

/// What withholding gains, by size.
pub(super) fn selfish(options: &Options, progress: Progress<'_>) -> Report {
    let split = shares(0.4, 0.2).by_lane().map(|units| f64::from(units) / 65_536.0);
    let kinds: [(&str, Kind); 3] = [
        ("all lanes", |p| [p; 3]),
        ("lanes 0 and 1", |p| [p, p, 0.0]),
        ("lane 1 alone", |p| [0.0, p, 0.0]),
    ];
    let sizes = [0.1, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45];
    let mut table =
        Table::new(&["part of its lanes", "all lanes", "lanes 0 and 1", "lane 1 alone"]);
    let mut plot = Plot::new(
        "Withholding blocks: part of all blocks over the honest part",
        "part of the lanes' capacity, %",
        "blocks won / honest",
    );
    let mut lines = vec![Vec::new(); kinds.len()];
    for (at, size) in sizes.into_iter().enumerate() {
        let row: Vec<f64> = kinds
            .iter()
            .zip(&mut lines)
            .map(|((_, kind), line)| {
                let power = kind(size);
                let fair: f64 = power.iter().zip(split).map(|(p, s)| p * s).sum();
                let runs: Vec<f64> =
                    (0..options.seeds).map(|run| withhold(power, fair, options, run)).collect();
                let gain = mean(&runs) / fair;
                line.push((size * 100.0, gain));
                gain
            })
            .collect();
        table.row(format!("{:.0} %", size * 100.0), &row);
        progress(at + 1, sizes.len());
    }
    let fifth = lines.iter().map(|line| line[1].1).fold(0.0, f64::max);
    for ((name, _), line) in kinds.into_iter().zip(lines) {
        plot.line(name, line);
    }
    let mut report = Report::new(table, plot);
    report.at_most("with a fifth of its lanes nobody gains more than", fifth, 1.02);
    report
}
