//! Which lane a miner works on next, and what it has done so far.

use std::time::Duration;

use alloy_primitives::U256;
use pouw_consensus::{Lane, Standing};
use pouw_types::Network;

use crate::import::minted_at_once;

const NANOS: u64 = 1_000_000_000;

/// On which lanes a miner works. A lane without share is never mined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mine {
    /// Lane 0 alone.
    #[default]
    Hash,
    /// Random products for lane 1 alone.
    Matmul,
    /// Lanes 0 and 1, each for as much time as it has share.
    Both,
    /// The slots of lane 2 alone.
    Credit,
    /// All three: lanes 0 and 1 as [`Mine::Both`], and the slots of lane 2.
    All,
    /// Lane 0 or 1, whichever earns more at once by what this machine was measured to do, and the
    /// slots of lane 2, which cost nothing.
    Auto,
}

/// What went into one lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effort {
    /// Tickets of lane 0, multiplications of lane 1, slots of lane 2.
    pub units: u128,
    /// Processor time, nanoseconds.
    pub busy_ns: u64,
    /// Blocks that were taken into the chain.
    pub blocks: u64,
}

/// What a miner has done since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MinerReport {
    /// Lane 0.
    pub hash: Effort,
    /// Lane 1.
    pub matmul: Effort,
    /// Lane 2.
    pub credit: Effort,
    /// What its blocks of lane 2 minted, atto-FLUX.
    pub credit_minted: u128,
}

impl Effort {
    /// Units a second, rounded down; none before the first try.
    #[must_use]
    pub fn rate(&self) -> Option<u128> {
        let whole = self.units.saturating_mul(NANOS.into());
        whole.checked_div(self.busy_ns.into())
    }

    /// What a second of work earns at once on average, in 2^-32 atto-FLUX.
    fn income(&self, network: &Network, lane: Lane, standing: &Standing) -> Option<U256> {
        let rate = U256::from(self.rate()?);
        let money = U256::from(minted_at_once(network, lane).atto()) << 32;
        let difficulty = U256::from(standing.difficulty.of(lane));
        rate.saturating_mul(money).checked_div(difficulty)
    }
}

impl MinerReport {
    pub(super) fn tried(&mut self, lane: Lane, units: u128, worked: Duration) {
        let effort = self.effort(lane);
        let worked = u64::try_from(worked.as_nanos()).unwrap_or(u64::MAX);
        effort.units = effort.units.saturating_add(units);
        effort.busy_ns = effort.busy_ns.saturating_add(worked);
    }

    pub(super) fn won(&mut self, lane: Lane) {
        let effort = self.effort(lane);
        effort.blocks = effort.blocks.saturating_add(1);
    }

    const fn effort(&mut self, lane: Lane) -> &mut Effort {
        match lane {
            Lane::Hash => &mut self.hash,
            Lane::Matmul => &mut self.matmul,
            Lane::Credit => &mut self.credit,
        }
    }
}

impl Mine {
    /// The lane to work on next, where lane 1 has a share.
    pub(super) fn lane(self, network: &Network, standing: &Standing, report: &MinerReport) -> Lane {
        let matmul = match self {
            Self::Hash | Self::Credit => false,
            Self::Matmul => true,
            Self::Both | Self::All => {
                let [hash, matmul, _] = standing.shares.by_lane().map(u128::from);
                let (on_hash, on_matmul) = (report.hash.busy_ns, report.matmul.busy_ns);
                u128::from(on_matmul).saturating_mul(hash)
                    < u128::from(on_hash).saturating_mul(matmul)
            }
            Self::Auto => {
                let hash = report.hash.income(network, Lane::Hash, standing);
                let matmul = report.matmul.income(network, Lane::Matmul, standing);
                // What was never tried is tried first.
                hash.is_some_and(|hash| matmul.is_none_or(|matmul| matmul > hash))
            }
        };
        if matmul { Lane::Matmul } else { Lane::Hash }
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::B256;

    use super::*;

    fn effort(units: u128, busy_s: u64) -> Effort {
        Effort { units, busy_ns: busy_s * NANOS, blocks: 0 }
    }

    #[test]
    fn time_is_divided_by_shares() {
        let network = Network::devnet();
        let mut standing = Standing::genesis(network, B256::ZERO);
        standing.shares.credit = 0;
        let mut report = MinerReport::default();
        for _ in 0..1_000 {
            let lane = Mine::Both.lane(network, &standing, &report);
            report.tried(lane, 1, Duration::from_secs(1));
        }
        // A fifth of the blocks, a fifth of the time.
        assert_eq!(report.hash.busy_ns / NANOS, 800);
        assert_eq!(report.matmul.busy_ns / NANOS, 200);
    }

    #[test]
    fn profit_counts_what_is_paid_at_once() {
        let network = Network::devnet();
        let mut standing = Standing::genesis(network, B256::ZERO);
        standing.difficulty.lanes[0].difficulty = 1_000;
        standing.difficulty.lanes[1].difficulty = 1_000_000;
        let check = |report: MinerReport, expected| {
            assert_eq!(Mine::Auto.lane(network, &standing, &report), expected, "{report:?}");
        };
        check(MinerReport::default(), Lane::Hash);
        let hash = effort(1_000, 1);
        check(MinerReport { hash, ..MinerReport::default() }, Lane::Matmul);
        // A block a second either way: lane 1 pays a tenth of it at once.
        check(
            MinerReport { hash, matmul: effort(1_000_000, 1), ..MinerReport::default() },
            Lane::Hash,
        );
        check(
            MinerReport { hash, matmul: effort(10_000_000, 1), ..MinerReport::default() },
            Lane::Hash,
        );
        check(
            MinerReport { hash, matmul: effort(10_100_000, 1), ..MinerReport::default() },
            Lane::Matmul,
        );
        assert_eq!(Mine::Hash.lane(network, &standing, &MinerReport::default()), Lane::Hash);
        assert_eq!(Mine::Matmul.lane(network, &standing, &MinerReport::default()), Lane::Matmul);
        assert_eq!(Effort::default().rate(), None);
    }
}
