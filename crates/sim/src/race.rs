//! A secret branch against the honest one.

use pouw_consensus::Shares;

use crate::chain::{Chain, REST, Rates};
use crate::dice::Dice;
use crate::mining::{Stamps, grow};
use crate::report::mean;
use crate::rule::Rule;

/// When branches fork: two days after rest, so that it is at a typical place. Seconds.
pub(crate) const FORK: f64 = 48.0 * 3_600.0;

/// Who races whom.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Race {
    /// Shares while it lasts.
    pub(crate) shares: Shares,
    /// The secret branch's rate in each lane, as a multiple of the honest.
    pub(crate) attacker: Rates,
    /// What is left on the honest branch, as a part of what was there before the fork.
    pub(crate) honest: Rates,
    /// The secret branch's timestamps.
    pub(crate) stamps: Stamps,
    /// The rule of both branches.
    pub(crate) rule: Rule,
}

impl Race {
    /// All honest miners stay; true timestamps; the rules as they are.
    #[must_use]
    pub(crate) const fn new(shares: Shares, attacker: Rates) -> Self {
        Self { shares, attacker, honest: [1.0; 3], stamps: Stamps::Honest, rule: Rule::Current }
    }

    /// Weight of the secret branch divided by that of the honest, after each of these hours, as a
    /// mean over seeds. From 1 on the secret branch replaces the honest one.
    #[must_use]
    pub(crate) fn ratios(&self, hours: &[f64], seed: u64, seeds: u32) -> Vec<f64> {
        let runs: Vec<Vec<f64>> = (0..seeds).map(|run| self.run(hours, seed, run)).collect();
        (0..hours.len())
            .map(|at| mean(&runs.iter().map(|run| run[at]).collect::<Vec<_>>()))
            .collect()
    }

    fn run(&self, hours: &[f64], seed: u64, run: u32) -> Vec<f64> {
        let stream = u64::from(run) << 8;
        let mut dice = [0, 1, 2].map(|part| Dice::new(seed, stream | part));
        let mut trunk = Chain::at_rest(self.shares, REST, self.rule);
        grow(&mut trunk, REST, Stamps::Honest, (0.0, FORK), &mut dice[0]);
        let base = trunk.weight();
        let (mut honest, mut secret) = (trunk.clone(), trunk);
        let scaled = |by: Rates| [0, 1, 2].map(|lane| REST[lane] * by[lane]);
        let mut from = FORK;
        hours
            .iter()
            .map(|hour| {
                let until = FORK + hour * 3_600.0;
                let honest_rates = scaled(self.honest);
                grow(&mut honest, honest_rates, Stamps::Honest, (from, until), &mut dice[1]);
                grow(&mut secret, scaled(self.attacker), self.stamps, (from, until), &mut dice[2]);
                from = until;
                (secret.weight() - base) / (honest.weight() - base).max(1e-9)
            })
            .collect()
    }
}

/// Shares in parts of the whole.
#[must_use]
pub(crate) fn shares(matmul: f64, credit: f64) -> Shares {
    let units = |part: f64| (part * 65_536.0).round() as u16;
    Shares { matmul: units(matmul), credit: units(credit) }
}
