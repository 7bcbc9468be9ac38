//! Lane 2: slots, beacons, withheld blocks.

use alloy_primitives::B256;
use pouw_consensus::beacon::{Beacons, PERIOD};
use pouw_consensus::{Lane, wins};

use super::{Options, Progress};
use crate::chain::{Chain, REST, T};
use crate::dice::Dice;
use crate::mining::{Stamps, grow, next_block};
use crate::race::shares;
use crate::report::{Plot, Report, Table, mean};

/// Seconds of a period.
const SLOTS: u64 = PERIOD * 60;

/// How many slots of a period a key wins, by lane 2's own threshold.
fn slots_won(credit: u128, difficulty: u128, dice: &mut Dice) -> f64 {
    let won = (0..SLOTS).filter(|_| {
        let mut output = [0; 64];
        for word in output.chunks_mut(8) {
            word.copy_from_slice(&dice.word().to_le_bytes());
        }
        wins(&output, credit, difficulty)
    });
    won.count() as f64
}

/// `D_2` at which all credits of 2^60 win a share of the blocks.
fn difficulty(share: f64) -> u128 {
    ((1_u128 << 60) as f64 * 60.0 / share) as u128
}

/// Wins of a host that splits its credit, or sees many beacons.
pub(super) fn grinding(options: &Options, progress: Progress<'_>) -> Report {
    let runs = options.seeds * 8;
    let mut dice = Dice::new(options.seed, 7);
    let credit = (1_u128 << 60) / 10;
    let mut average = |keys: u128, tries: u32| {
        let period = |dice: &mut Dice| {
            (0..keys).map(|_| slots_won(credit / keys, difficulty(0.3), dice)).sum::<f64>()
        };
        let all: Vec<f64> =
            (0..runs).map(|_| (0..tries).map(|_| period(&mut dice)).fold(0.0, f64::max)).collect();
        mean(&all)
    };
    let mut table = Table::new(&["10 % of the credits, s_2 = 0.3", "slots won a period"]);
    let mut plot =
        Plot::new("Slots of a period by beacons seen", "beacons to choose from", "slots");
    let honest = average(1, 1);
    table.row("one key", &[honest]);
    let split = average(8, 1);
    table.row("the same credit on 8 keys", &[split]);
    progress(1, 3);
    let mut points = vec![(1.0, honest)];
    for tries in [2, 4, 8] {
        let won = average(1, tries);
        table.row(format!("if it could choose among {tries} beacons"), &[won]);
        points.push((f64::from(tries), won));
    }
    plot.line("slots won", points);
    progress(2, 3);
    let [fair, little, early] = future_slots(options);
    table.row("half of the credits, of 1,000 blocks: slots as they come", &[fair]);
    table.row("the same, slots up to 2 s ahead", &[little]);
    table.row("the same, slots up to T ahead", &[early]);
    progress(3, 3);
    let mut report = Report::new(table, plot);
    report.at_most("splitting credit gains", (split / honest - 1.0).abs(), 0.1);
    report.at_most("claiming slots 2 s ahead gains", little / fair - 1.0, 0.05);
    report.at_most("claiming slots T ahead gains", early / fair - 1.0, 0.05);
    report
}

/// What a host of half of the credits wins in 1,000 blocks when it alone claims slots as soon as
/// nodes accept them.
fn future_slots(options: &Options) -> [f64; 3] {
    let run = |ahead: f64, run: u32| {
        let mut dice = [0, 1].map(|part| Dice::new(options.seed, u64::from(run) * 2 + part));
        let mut chain = Chain::at_rest(shares(0.3, 0.3), REST, options.rule);
        let (mut now, mut won, mut slot) = (0.0, 0.0, 0.0);
        for _ in 0..1_000 {
            // Its next winning slot is fixed: what was seen to lose is not drawn again.
            let chance = REST[2] / 2.0 / chain.difficulty(Lane::Credit);
            while slot <= chain.time().floor() {
                slot += dice[1].trials(chance.min(1.0));
            }
            let others = [REST[0], REST[1], REST[2] / 2.0];
            let Some((at, lane)) = next_block(&chain, others, now, &mut dice[0]) else { break };
            let shown = f64::max(slot - ahead, now);
            if shown < at {
                now = shown;
                won += 1.0;
                chain.push(Lane::Credit, slot);
            } else {
                now = at;
                chain.push(lane, at);
            }
        }
        won
    };
    let average = |ahead| {
        let all: Vec<f64> = (0..options.seeds * 4).map(|seed| run(ahead, seed)).collect();
        mean(&all)
    };
    [0.0, 2.0, T].map(average)
}

/// What the chain suffers when credits are withheld, and what the withholder loses.
pub(super) fn withholding(options: &Options, progress: Progress<'_>) -> Report {
    let mut table = Table::new(&[
        "part of credits withheld",
        "s/block, first 60",
        "s/block, a day",
        "blocks lost a day",
    ]);
    let mut plot =
        Plot::new("Credits withheld at s_2 = 0.3", "part withheld, %", "seconds a block");
    let parts = [0.0, 0.25, 0.5, 0.9, 1.0];
    let (mut first_line, mut day_line) = (Vec::new(), Vec::new());
    for (at, part) in parts.into_iter().enumerate() {
        let runs: Vec<[f64; 3]> = (0..options.seeds)
            .map(|run| {
                let mut dice = Dice::new(options.seed, u64::from(run));
                let mut chain = Chain::at_rest(shares(0.4, 0.3), REST, options.rule);
                grow(&mut chain, REST, Stamps::Honest, (0.0, 86_400.0), &mut dice);
                let rates = [REST[0], REST[1], REST[2] * (1.0 - part)];
                let (mut now, mut credit, mut count, mut first) = (86_400.0, 0.0, 0.0, 0.0);
                while let Some((at, lane)) = next_block(&chain, rates, now, &mut dice) {
                    if at > 2.0 * 86_400.0 {
                        break;
                    }
                    now = at;
                    count += 1.0;
                    credit += f64::from(u8::from(lane == Lane::Credit));
                    if count <= 60.0 {
                        first = (now - 86_400.0) / count;
                    }
                    chain.push(lane, at);
                }
                [first, 86_400.0 / count, (432.0 - credit).max(0.0)]
            })
            .collect();
        let row =
            [0, 1, 2].map(|place| mean(&runs.iter().map(|run| run[place]).collect::<Vec<_>>()));
        table.row(format!("{:.0} %", part * 100.0), &row);
        first_line.push((part * 100.0, row[0]));
        day_line.push((part * 100.0, row[1]));
        progress(at + 1, parts.len());
    }
    let worst = first_line.iter().map(|point| point.1).fold(0.0, f64::max);
    plot.line("first 60 blocks", first_line);
    plot.line("a day", day_line);
    let mut report = Report::new(table, plot);
    report.at_most("s/block in the first 60", worst, 90.0);
    report
}

/// The gain of withholding the block that makes a beacon.
pub(super) fn beacon(options: &Options, progress: Progress<'_>) -> Report {
    let mut table = Table::new(&[
        "part of lanes 0 and 1, and of credits",
        "slots a period, honest",
        "biased",
        "gained",
        "blocks given up a period",
    ]);
    let mut plot =
        Plot::new("A miner who chooses the beacon", "part of each lane, %", "blocks a period");
    let sizes = [0.05, 0.1, 0.2, 0.4];
    let (mut gains, mut costs, mut worst) = (Vec::new(), Vec::new(), f64::NEG_INFINITY);
    for (at, size) in sizes.into_iter().enumerate() {
        let mut dice = Dice::new(options.seed, 31 + at as u64);
        let credit = ((1_u128 << 60) as f64 * size) as u128;
        let (mut honest, mut biased, mut given) = (Vec::new(), Vec::new(), 0.0);
        for _ in 0..options.seeds * 16 {
            let mut beacons = Beacons::genesis(B256::ZERO);
            for height in 1..PERIOD - 1 {
                beacons = beacons.after(height, Lane::Hash, B256::with_last_byte(height as u8));
            }
            // Its own last block gives one beacon; withholding it, somebody else's gives another.
            let mut slots = |id: u8| {
                let made =
                    beacons.clone().after(PERIOD - 1, Lane::Hash, B256::with_last_byte(id)).next;
                let word = made.0.first_chunk::<8>().copied().unwrap_or_default();
                let mut dice = Dice::new(u64::from_le_bytes(word), dice.word());
                slots_won(credit, difficulty(0.3), &mut dice)
            };
            let (own, other) = (slots(200), slots(201));
            honest.push(own);
            // It decides only where the last block is its own; a withheld block costs its subsidy.
            let decides = dice.happens(size);
            if decides && other > own + 1.0 {
                given += 1.0;
                biased.push(other);
            } else {
                biased.push(own);
            }
        }
        let gained = mean(&biased) - mean(&honest);
        let cost = given / f64::from(options.seeds * 16);
        table.row(format!("{:.0} %", size * 100.0), &[mean(&honest), mean(&biased), gained, cost]);
        worst = worst.max((gained - cost) / mean(&honest));
        gains.push((size * 100.0, gained));
        costs.push((size * 100.0, cost));
        progress(at + 1, sizes.len());
    }
    plot.line("lane-2 blocks gained", gains);
    plot.line("lane-0/1 blocks given up", costs);
    let mut report = Report::new(table, plot);
    report.at_most("net gain over its honest slots", worst, 0.1);
    report
}
