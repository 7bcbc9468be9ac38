//! One branch, grown by the rules of `pouw-consensus`.

use std::collections::VecDeque;

use alloy_primitives::{Address, B256, U256};
use pouw_consensus::fixed::{ONE, log2};
use pouw_consensus::{Core, Difficulty, Lane, LaneState, Pace, Shares, Standing, weight};
use pouw_types::Network;

use crate::rule::Rule;

/// T of the main network, seconds.
pub(crate) const T: f64 = 60.0;
/// A round number of milliseconds after which every simulated chain begins.
const START_MS: u64 = 1_800_000_000_000;

/// What each lane's miners do in a second: tickets, multiplications, credit a slot.
pub(crate) type Rates = [f64; 3];

/// Rates at which a chain is at rest; any would do, these keep difficulties far from their bounds.
pub(crate) const REST: Rates = [1e9, 1e17, 1e22];

/// A branch.
#[derive(Clone, Debug)]
pub(crate) struct Chain {
    /// What the rules remember after its last block.
    pub(crate) standing: Standing,
    pace: Pace,
    rule: Rule,
    /// Times of the last blocks, for [`Rule::WindowFloor`].
    recent: VecDeque<u64>,
    /// Time credit, for [`Rule::TimeCredit`].
    bank: f64,
    /// Σw as the rule counts it, in units of the first block's weight.
    counted: f64,
}

impl Chain {
    /// A chain at rest: each lane has its share at one block in T.
    #[must_use]
    pub(crate) fn at_rest(shares: Shares, rates: Rates, rule: Rule) -> Self {
        let network = Network::mainnet();
        let pace = Pace::of(network);
        let mut lanes = [LaneState::default(); 3];
        for ((lane, rate), share) in lanes.iter_mut().zip(rates).zip(shares.by_lane()) {
            if share > 0 {
                let difficulty = rate * T * 65_536.0 / f64::from(share);
                lane.difficulty = difficulty as u128;
                lane.level = log2(lane.difficulty);
            }
        }
        let difficulty = Difficulty { clock: 0, mean_clock: 0, lanes };
        let standing = Standing {
            shares,
            difficulty,
            time_ms: START_MS,
            ..Standing::genesis(network, B256::ZERO)
        };
        let recent = VecDeque::from([START_MS]);
        Self { standing, pace, rule, recent, bank: rule.bank(), counted: 0.0 }
    }

    /// Seconds since the start, by the last block's timestamp.
    #[must_use]
    pub(crate) fn time(&self) -> f64 {
        self.standing.time_ms.saturating_sub(START_MS) as f64 / 1_000.0
    }

    /// D of a lane.
    #[must_use]
    pub(crate) fn difficulty(&self, lane: Lane) -> f64 {
        self.standing.difficulty.of(lane) as f64
    }

    /// Σw in units of the first block's weight.
    #[must_use]
    pub(crate) fn weight(&self) -> f64 {
        if self.rule == Rule::TimeCredit {
            self.counted
        } else {
            to_f64(self.standing.total_weight) / to_f64(U256::from(1) << 64)
        }
    }

    /// How many blocks.
    #[must_use]
    pub(crate) const fn height(&self) -> u64 {
        self.standing.height
    }

    /// The earliest timestamp the rule allows, seconds since the start.
    #[must_use]
    pub(crate) fn earliest(&self) -> f64 {
        let parent = self.standing.time_ms + 1;
        let earliest = match self.rule {
            Rule::MinSpacing => self.standing.time_ms + self.pace.block_ms / 4,
            Rule::WindowFloor => self.recent.front().map_or(parent, |oldest| {
                (oldest + self.pace.block_ms * self.recent.len() as u64 / 4).max(parent)
            }),
            _ => parent,
        };
        (earliest - START_MS) as f64 / 1_000.0
    }

    /// Adds a block at this time (seconds since the start; never before [`Chain::earliest`]).
    pub(crate) fn push(&mut self, lane: Lane, time: f64) {
        self.push_moving(lane, time, self.standing.shares);
    }

    /// [`Chain::push`] where the next block has other shares.
    pub(crate) fn push_moving(&mut self, lane: Lane, time: f64, next: Shares) {
        let time = time.max(self.earliest());
        let time_ms = START_MS + (time * 1_000.0).round() as u64;
        let spacing_ms = time_ms - self.standing.time_ms;
        let weight = to_f64(self.standing.weight(lane)) / to_f64(U256::from(1) << 64);
        if self.rule == Rule::Current {
            let core = self.core(lane, time_ms);
            self.standing = self.standing.after_core_moving(&self.pace, &core, next);
        } else {
            let before = &self.standing.difficulty;
            let after = before.after_silence(&self.pace, lane, spacing_ms, ONE, next);
            self.standing.total_weight += self.standing.weight(lane);
            self.standing.weight_log2 += weight::step(next, before, &after);
            self.standing.difficulty = after;
            self.standing.height += 1;
            self.standing.time_ms = time_ms;
            self.standing.shares = next;
        }
        if self.rule == Rule::TimeCredit {
            self.bank =
                (self.bank + spacing_ms as f64 / self.pace.block_ms as f64).min(self.rule.bank());
            let paid = self.bank.min(0.25);
            self.bank -= paid;
            self.counted += weight * paid * 4.0;
        }
        self.recent.push_back(time_ms);
        if self.recent.len() > 11 {
            self.recent.pop_front();
        }
    }

    fn core(&self, lane: Lane, time_ms: u64) -> Core {
        Core {
            parent: self.standing.id,
            height: self.standing.height + 1,
            time_ms,
            tx_root: B256::ZERO,
            receipts_root: B256::ZERO,
            state_root: B256::ZERO,
            shares: self.standing.shares,
            lane,
            miner: Address::ZERO,
            gas_used: 0,
            base_fee: 0,
        }
    }
}

/// A 256-bit number, to 53 bits.
#[must_use]
pub(crate) fn to_f64(value: U256) -> f64 {
    f64::from(value)
}
