//! A year of blocks: a thousand miners on a slow network, demand that grows, shares that follow it.

use pouw_consensus::reward::credit_reward;
use pouw_consensus::share::{EpochSums, Steps, moved, targets, window};
use pouw_consensus::{CreditSums, Lane, Shares};
use pouw_types::Network as Table_;
use serde::Serialize;

use crate::chain::{Chain, REST};
use crate::dice::Dice;
use crate::network::{Network, World};
use crate::report::{Plot, Report, Table, mean};
use crate::rule::Rule;

const EPOCH: u64 = 1_440;
/// Burned of each price.
const BURN: f64 = 0.05;
/// What of the demand chooses credit.
const CREDIT_PART: f64 = 0.35;

/// What to run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Year {
    /// Where chance begins.
    pub seed: u64,
    /// How many miners.
    pub miners: usize,
    /// Mean time until a miner hears of a block, seconds.
    pub delay: f64,
    /// How many days; a day is an epoch.
    pub days: u64,
    /// What the chain follows.
    pub rule: Rule,
}

impl Default for Year {
    fn default() -> Self {
        Self { seed: 1, miners: 1_000, delay: 2.0, days: 365, rule: Rule::Current }
    }
}

/// One epoch, as it settled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Day {
    /// Which.
    pub epoch: u64,
    /// Its shares, parts of one.
    pub shares: [f64; 3],
    /// What each lane won, parts of one.
    pub won: [f64; 3],
    /// Mean seconds a block.
    pub spacing: f64,
    /// What rentals paid, in subsidies of an epoch.
    pub paid: f64,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outcome {
    /// Day by day.
    pub days: Vec<Day>,
    /// Mean seconds a block over all.
    pub spacing: f64,
    /// Blocks that became stale, a part of all.
    pub stale: f64,
    /// The greatest difference between a lane's share and what it won in a day, after the first
    /// month, in which lanes open.
    pub worst_share_error: f64,
    /// The same, of the 99th of a hundred days.
    pub usual_share_error: f64,
    /// How many blocks settled.
    pub blocks: u64,
}

impl Outcome {
    /// Whether spacing is within 1 % and shares within 0.7 % on 99 days of a hundred.
    #[must_use]
    pub fn holds(&self) -> bool {
        (self.spacing / 60.0 - 1.0).abs() <= 0.01 && self.usual_share_error <= 0.007
    }

    /// For people: a row a month.
    #[must_use]
    pub fn report(&self) -> Report {
        let heading = [
            "days",
            "paid/subsidy",
            "s_1",
            "won",
            "s_2",
            "won",
            "s/block",
            "worst day, share error",
        ];
        let mut table = Table::new(&heading);
        for month in self.days.chunks(30) {
            let of = |get: &dyn Fn(&Day) -> f64| mean(&month.iter().map(get).collect::<Vec<_>>());
            let worst = month.iter().map(Day::share_error).fold(0.0, f64::max);
            let row = [
                of(&|d| d.paid),
                of(&|d| d.shares[1]),
                of(&|d| d.won[1]),
                of(&|d| d.shares[2]),
                of(&|d| d.won[2]),
                of(&|d| d.spacing),
                worst,
            ];
            let first = month.first().map_or(0, |day| day.epoch);
            table.row(format!("{first}-{}", first + month.len() as u64 - 1), &row);
        }
        let mut plot = Plot::new("A year of blocks by lane", "days", "part of the blocks");
        for (lane, name) in ["lane 0, hash", "lane 1, matmul", "lane 2, credit"].iter().enumerate()
        {
            plot.line(*name, self.days.iter().map(|d| (d.epoch as f64, d.won[lane])).collect());
        }
        let mut report = Report::new(table, plot);
        report.at_most(
            "mean spacing, off 60 s by a part of",
            (self.spacing / 60.0 - 1.0).abs(),
            0.01,
        );
        report.at_most("share error on 99 days of 100", self.usual_share_error, 0.007);
        report.at_most("share error on the worst day", self.worst_share_error, 0.007);
        report.at_most("stale blocks, a part of all", self.stale, 0.05);
        report
    }
}

impl Day {
    fn share_error(&self) -> f64 {
        self.shares.iter().zip(self.won).map(|(share, won)| (share - won).abs()).fold(0.0, f64::max)
    }
}

/// What the ledger would know: sums by epoch, and the shares that follow.
struct Ledger {
    sums: Vec<EpochSums>,
    credit: CreditSums,
    shares: Vec<Shares>,
    subsidy: u128,
}

impl Ledger {
    fn shares_of(&mut self, epoch: u64) -> Shares {
        while self.shares.len() as u64 <= epoch {
            let next = self.shares.len() as u64;
            let seen: Vec<EpochSums> =
                window(next).filter_map(|epoch| self.sums.get(epoch as usize).copied()).collect();
            let target = targets(&seen, self.subsidy * u128::from(EPOCH));
            let before = self.shares.last().copied().unwrap_or(Shares::HASH_ONLY);
            self.shares.push(moved(before, target, Steps::of(Table_::mainnet())));
        }
        self.shares[epoch as usize]
    }

    /// Books what an epoch's rentals burned, in atto.
    fn book(&mut self, epoch: u64, burned: f64) {
        let at = epoch as usize;
        self.sums.resize(self.sums.len().max(at + 1), EpochSums::default());
        self.sums[at].vesting_burn = (burned * (1.0 - CREDIT_PART)) as u128;
        self.sums[at].credit_burn = (burned * CREDIT_PART) as u128;
        self.credit = self.credit.burned(epoch, (burned * CREDIT_PART) as u128);
    }
}

/// Paid volume of an epoch in subsidies: from nothing to six in a year, with weeks and noise.
fn demand(epoch: u64, dice: &mut Dice) -> f64 {
    let day = epoch as f64;
    let trend = 6.0 * (day / 365.0).powf(1.5);
    let week = 0.2 * (day * core::f64::consts::TAU / 7.0).sin();
    trend * (1.0 + week) * (0.8 + 0.4 * dice.unit())
}

/// Runs it; `progress` is told after each epoch.
#[must_use]
pub fn run(year: &Year, progress: &mut dyn FnMut(usize, usize)) -> Outcome {
    let mut dice = Dice::new(year.seed, 1);
    let mut demand_dice = Dice::new(year.seed, 2);
    let subsidy = Table_::mainnet().subsidy.atto();
    let mut ledger = Ledger {
        sums: Vec::new(),
        credit: CreditSums::default(),
        shares: vec![Shares::HASH_ONLY],
        subsidy,
    };
    let chain = Chain::at_rest(Shares::HASH_ONLY, REST, year.rule);
    let mut world = World::new(Network::new(year.miners, year.delay), chain, dice.clone());
    let (mut days, mut stale, mut blocks) = (vec![Day::default(); year.days as usize], 0, 0_u64);
    let (mut last, mut rates, mut booked) = (0.0, [REST[0], 2e14, 0.0], None);
    while blocks < year.days * EPOCH {
        let epoch = world.settled().height() / EPOCH;
        if booked != Some(epoch) {
            booked = Some(epoch);
            let paid = demand(epoch, &mut demand_dice);
            ledger.book(epoch, paid * BURN * subsidy as f64 * EPOCH as f64);
            days[epoch.min(year.days - 1) as usize].paid = paid;
            rates[0] *= 1.0 + 0.004 * (dice.unit() - 0.3);
            rates[1] = 2e14 * (1.0 + 3.0 * paid);
            // The credits of the state two epochs back.
            rates[2] = ledger.credit.credit(epoch.saturating_sub(2)) as f64;
            progress(epoch as usize, year.days as usize);
        }
        let mut after = |height: u64, _| ledger.shares_of((height + 1) / EPOCH);
        let (gone, settled) = world.step(rates, &mut after);
        stale += gone;
        for block in settled {
            blocks += 1;
            let epoch = block.height / EPOCH;
            let Some(day) = days.get_mut(epoch as usize) else { continue };
            let shares = ledger.shares_of(epoch);
            day.epoch = epoch;
            day.shares = shares.by_lane().map(|units| f64::from(units) / 65_536.0);
            day.won[block.lane.index()] += 1.0;
            day.spacing += block.time - last;
            last = block.time;
            if block.lane == Lane::Credit {
                let credits = ledger.credit.credit(epoch.saturating_sub(2));
                if let Some(sums) = ledger.sums.get_mut(epoch as usize) {
                    sums.credit_rewards += credit_reward(subsidy, credits, shares, EPOCH);
                }
            }
        }
    }
    summary(days, stale, blocks)
}

fn summary(mut days: Vec<Day>, stale: u64, blocks: u64) -> Outcome {
    let mut time = 0.0;
    for day in &mut days {
        let count: f64 = day.won.iter().sum();
        time += day.spacing;
        day.spacing /= count.max(1.0);
        day.won = day.won.map(|won| won / count.max(1.0));
    }
    // A lane that opens needs days to be found: its level begins at a guess.
    let open = |day: &&Day| day.epoch >= 30;
    let mut errors: Vec<f64> = days.iter().filter(open).map(Day::share_error).collect();
    errors.sort_unstable_by(f64::total_cmp);
    let at = |place: usize| errors.get(place).copied().unwrap_or_default();
    let counted: u64 = blocks.min(days.len() as u64 * EPOCH);
    Outcome {
        days,
        spacing: time / counted as f64,
        stale: stale as f64 / (stale + blocks) as f64,
        worst_share_error: at(errors.len().saturating_sub(1)),
        usual_share_error: at(errors.len() * 99 / 100),
        blocks,
    }
}
