//! Fees burned on oneself, and what comes back.

use pouw_consensus::Shares;
use pouw_consensus::reward::{Vesting, credit_reward, matmul_reward};
use pouw_consensus::share::{EpochSums, Steps, moved, targets, window};
use pouw_types::Network;

use super::{Options, Progress};
use crate::dice::Dice;
use crate::report::{Plot, Report, Table};

const EPOCH: u64 = 1_440;
/// Subsidy of a block; any would do.
const SUBSIDY: u128 = 1_000_000_000;
/// Subsidies of an epoch.
const S: u128 = SUBSIDY * EPOCH as u128;
/// What a rental with oneself costs beside the burn of 5 %: the foundation's 1 %.
const FOUNDATION: f64 = 0.2;

/// Shares over so many epochs, if this is burned in each.
fn shares_over(epochs: u64, burned: impl Fn(u64) -> EpochSums) -> Vec<Shares> {
    let steps = Steps::of(Network::mainnet());
    let mut shares = vec![Shares::HASH_ONLY];
    for epoch in 1..epochs {
        let seen: Vec<EpochSums> = window(epoch).map(&burned).collect();
        let before = shares.last().copied().unwrap_or(Shares::HASH_ONLY);
        shares.push(moved(before, targets(&seen, S), steps));
    }
    shares
}

/// Profit of a party with a part of lane 1 that burns on itself from epoch 60 to 160, in subsidies
/// of an epoch; and how much faster than the rule its burn moved the share.
pub(super) fn share(_: &Options, progress: Progress<'_>) -> Report {
    let honest = |_| EpochSums { vesting_burn: S / 40, ..EpochSums::default() };
    let base = shares_over(300, honest);
    let mut table = Table::new(&[
        "part of lane 1",
        "burned an epoch / S",
        "cost",
        "gained",
        "profit",
        "s_1 at its height",
    ]);
    let mut plot = Plot::new("Burning to move the share", "days", "s_1");
    plot.line("nobody", line(&base));
    let burns = [0.05, 0.1, 0.15];
    let parts = [0.1, 0.25, 0.3, 0.5, 1.0];
    let (mut small, mut fastest): (f64, f64) = (f64::NEG_INFINITY, 0.0);
    for (at, burn) in burns.into_iter().enumerate() {
        let washed = (burn * S as f64) as u128;
        let pumped = |epoch: u64| {
            let more = if (60..160).contains(&epoch) { washed } else { 0 };
            EpochSums { vesting_burn: S / 40 + more, ..EpochSums::default() }
        };
        let moved = shares_over(300, pumped);
        plot.line(format!("{burn} S an epoch"), line(&moved));
        for pair in moved.windows(2) {
            let step = f64::from(pair[1].matmul) - f64::from(pair[0].matmul);
            fastest = fastest.max(step / 65_536.0);
        }
        let extra: f64 = moved
            .iter()
            .zip(&base)
            .map(|(with, without)| (f64::from(with.matmul) - f64::from(without.matmul)) / 65_536.0)
            .sum();
        let height = moved.iter().map(|shares| shares.matmul).max().unwrap_or_default();
        for part in parts {
            let cost = burn * 100.0 * (1.0 + FOUNDATION);
            let gained = extra * part;
            if part < 0.2 {
                small = small.max(gained - cost);
            }
            let row = [burn, cost, gained, gained - cost, f64::from(height) / 65_536.0];
            table.row(format!("{:.0} %", part * 100.0), &row);
        }
        progress(at + 1, burns.len());
    }
    let mut report = Report::new(table, plot);
    report.at_most("a party of a tenth gains, S", small, 0.0);
    report.at_most("the share rises at most a day", fastest, 0.01);
    report
}

fn line(shares: &[Shares]) -> Vec<(f64, f64)> {
    let part =
        |(epoch, shares): (usize, &Shares)| (epoch as f64, f64::from(shares.matmul) / 65_536.0);
    shares.iter().enumerate().map(part).collect()
}

/// What comes back of what is spent on rentals with oneself.
pub(super) fn self_dealing(_: &Options, progress: Progress<'_>) -> Report {
    let mut table = Table::new(&["", "spent", "comes back", "of it"]);
    let mut plot = Plot::new(
        "Self-dealing: what comes back of a FLUX spent",
        "own part of all burns, %",
        "returned",
    );
    // For credit: alone, or beside honest hosts; steady state, at the share that the burns make.
    let (mut points, mut best) = (Vec::new(), 0.0_f64);
    for part in [0.01, 0.1, 0.5, 1.0] {
        let burned = (0.05 * S as f64) as u128;
        // Rewards lower the net burn that the share follows: find where they agree.
        let mut rewards = 0_u128;
        let mut shares = Shares::HASH_ONLY;
        for _ in 0..200 {
            let sums = [EpochSums {
                credit_burn: burned,
                credit_rewards: rewards,
                ..EpochSums::default()
            }; 7];
            shares = targets(&sums, S);
            let each = credit_reward(SUBSIDY, burned * 7, shares, EPOCH);
            let blocks = f64::from(shares.credit) / 65_536.0 * EPOCH as f64;
            rewards = (rewards + (each as f64 * blocks) as u128) / 2;
        }
        let spent = burned as f64 * part * (1.0 + FOUNDATION);
        let back = rewards as f64 * part;
        best = best.max(back / spent);
        points.push((part * 100.0, back / spent));
        let _ = shares;
        table.row(
            format!("credit, {:.0} % of all burns", part * 100.0),
            &[spent / S as f64, back / S as f64, back / spent],
        );
    }
    plot.line("credit", points);
    progress(1, 2);
    // For vesting: a block's work is paid to oneself at the floor, half of the market's price. In
    // the market that work costs so many subsidies.
    let mut points = Vec::new();
    for market in [1.0, 5.0, 20.0, 33.3, 100.0] {
        let reward = matmul_reward(SUBSIDY);
        let spent = market * 0.5 * 0.05 * (1.0 + FOUNDATION);
        let back = reward.vesting as f64 / SUBSIDY as f64;
        table.row(
            format!("vesting, a block's work costs {market} subsidies"),
            &[spent, back, back / spent],
        );
        points.push((market, back / spent));
    }
    plot.line("vesting (x: subsidies that a block's work costs)", points);
    progress(2, 2);
    let mut report = Report::new(table, plot);
    report.at_most("credit with oneself returns", best, 0.5);
    report
}

/// How much of lane 1's reward is minted, and to whom, when receipts of others can be bought.
pub(super) fn vesting_sale(options: &Options, progress: Progress<'_>) -> Report {
    let mut table = Table::new(&[
        "paid work / mined work",
        "minted, no sale",
        "minted, sale",
        "of it to work nobody paid for",
    ]);
    let mut plot = Plot::new(
        "Lane 1's reward that is minted, half of the mined work fake",
        "paid work / mined work",
        "part of the reward",
    );
    let (mut without, mut with, mut bound) = (Vec::new(), Vec::new(), f64::NEG_INFINITY);
    let ratios = [0.1, 0.25, 0.5, 1.0, 2.0];
    for (at, ratio) in ratios.into_iter().enumerate() {
        let (alone, _) = vested(ratio, false, options.seed);
        let (sold, paid) = vested(ratio, true, options.seed);
        let fake = (sold - alone).max(0.0);
        // What is minted never exceeds the tenth at once and what paid work covers.
        bound = bound.max(sold - (0.1 + 0.9 * f64::min(1.0, paid)));
        table.row(format!("{ratio}"), &[alone, sold, fake]);
        without.push((ratio, alone));
        with.push((ratio, sold));
        progress(at + 1, ratios.len());
    }
    plot.line("each host its own", without);
    plot.line("receipts for sale", with);
    let mut report = Report::new(table, plot);
    report.at_most("minted beyond what paid work covers", bound, 1e-6);
    report
}

/// The part of the reward that is minted over 60 epochs: 100 hosts mine, 50 of them work for nobody;
/// with a sale all mine for one address, which has everybody's receipts. Also gives back the paid work over the mined.
fn vested(ratio: f64, sale: bool, seed: u64) -> (f64, f64) {
    let mut dice = Dice::new(seed, 77);
    let mut hosts = vec![Vesting::default(); if sale { 1 } else { 100 }];
    let work = 1_u128 << 60;
    let (mut earned, mut minted, mut paid) = (0_u128, 0_u128, 0.0);
    for epoch in 0..60 {
        for host in 0..100_usize {
            let place = if sale { 0 } else { host };
            let reward = matmul_reward(SUBSIDY);
            earned += SUBSIDY;
            minted += reward.at_once;
            hosts[place].won(epoch, reward.vesting, work);
        }
        for host in 0..50_usize {
            let place = if sale { 0 } else { host };
            // Half of the hosts have all of the paid work, unevenly.
            let counted = work as f64 * 2.0 * ratio * 2.0 * dice.unit();
            paid += counted;
            minted += hosts[place].settled(epoch, counted as u128);
        }
    }
    (minted as f64 / earned as f64, paid / (work as f64 * 60.0 * 100.0))
}
