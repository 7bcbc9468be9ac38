//! Who finds the next block, and what time its maker writes into it.

use pouw_consensus::Lane;

use crate::chain::{Chain, Rates};
use crate::dice::Dice;
use crate::race::FORK;

/// How a branch's makers write timestamps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Stamps {
    /// The time it is.
    #[default]
    Honest,
    /// As early as the rule allows.
    Frozen,
    /// All time that has passed in one block of each hundred, the others as early as possible.
    Hoarded,
    /// Half as fast as time runs, since the fork.
    Slow,
    /// As late as nodes accept: T ahead of the clock.
    Ahead,
}

impl Stamps {
    /// Every way.
    pub(crate) const ALL: [Self; 5] =
        [Self::Honest, Self::Frozen, Self::Hoarded, Self::Slow, Self::Ahead];

    /// What tables call it.
    #[must_use]
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Honest => "honest",
            Self::Frozen => "frozen",
            Self::Hoarded => "hoarded",
            Self::Slow => "half speed",
            Self::Ahead => "T ahead",
        }
    }

    /// The time that a block found at `now` bears.
    #[must_use]
    pub(crate) fn write(self, chain: &Chain, now: f64) -> f64 {
        match self {
            Self::Honest => now,
            Self::Frozen => 0.0,
            Self::Hoarded if chain.height() % 100 == 99 => now,
            Self::Hoarded => 0.0,
            Self::Slow => f64::midpoint(FORK, now),
            Self::Ahead => now + crate::chain::T,
        }
    }
}

/// When, after `now`, the next block of these rates is found, and in which lane; none if nobody can.
///
/// Lanes 0 and 1 are memoryless. Lane 2 draws once for each whole second after the parent's.
#[must_use]
pub(crate) fn next_block(
    chain: &Chain,
    rates: Rates,
    now: f64,
    dice: &mut Dice,
) -> Option<(f64, Lane)> {
    let shares = chain.standing.shares.by_lane();
    let mut found: Option<(f64, Lane)> = None;
    for lane in Lane::ALL {
        let rate = rates[lane.index()];
        if rate <= 0.0 || shares[lane.index()] == 0 {
            continue;
        }
        let difficulty = chain.difficulty(lane);
        let at = match lane {
            Lane::Hash | Lane::Matmul => now + dice.exponential(difficulty / rate),
            Lane::Credit => {
                let slot = now.max(chain.time()).floor();
                slot + dice.trials((rate / difficulty).min(1.0))
            }
        };
        if found.is_none_or(|(earliest, _)| at < earliest) {
            found = Some((at, lane));
        }
    }
    found
}

/// Grows a branch from `now` until a time; gives back how many blocks it made.
pub(crate) fn grow(
    chain: &mut Chain,
    rates: Rates,
    stamps: Stamps,
    (mut now, until): (f64, f64),
    dice: &mut Dice,
) -> u64 {
    let mut blocks = 0;
    while let Some((at, lane)) = next_block(chain, rates, now, dice) {
        if at > until {
            break;
        }
        now = at;
        let time = match lane {
            // A slot is a time: it can't be written otherwise.
            Lane::Credit => at,
            Lane::Hash | Lane::Matmul => stamps.write(chain, at),
        };
        chain.push(lane, time);
        blocks += 1;
    }
    blocks
}
