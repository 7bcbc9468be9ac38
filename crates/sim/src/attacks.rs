//! Every attack by its name.

use crate::report::Report;
use crate::rule::Rule;

mod credit;
mod lanes;
mod money;
mod pumping;
mod races;
mod traffic;

/// How to run one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Where chance begins.
    pub seed: u64,
    /// How often each cell is repeated.
    pub seeds: u32,
    /// What the chains follow, where the attack doesn't compare rules itself.
    pub rule: Rule,
}

impl Default for Options {
    fn default() -> Self {
        Self { seed: 1, seeds: 16, rule: Rule::Current }
    }
}

/// Told after each cell: how many of how many are done.
pub type Progress<'a> = &'a mut dyn FnMut(usize, usize);

/// An attack on the rules.
#[derive(Clone, Copy, Debug)]
pub struct Attack {
    /// What one types.
    pub name: &'static str,
    /// What the attacker does and what the table shows.
    pub about: &'static str,
    run: fn(&Options, Progress<'_>) -> Report,
}

impl Attack {
    /// Runs it.
    #[must_use]
    pub fn run(&self, options: &Options, progress: Progress<'_>) -> Report {
        (self.run)(options, progress)
    }
}

/// All of them.
pub const ATTACKS: &[Attack] = &[
    Attack {
        name: "rental",
        about: "a secret branch of one lane's capacity, owned or rented: its weight over the honest",
        run: races::rental,
    },
    Attack {
        name: "coalition",
        about: "a secret branch of two or three lanes, with credits and with lanes that left",
        run: races::coalition,
    },
    Attack {
        name: "timestamps",
        about: "a secret branch of hash x3 that lies about time, under the rules and four others",
        run: races::timestamps,
    },
    Attack {
        name: "time-bank",
        about: "weight per unit of work of a branch that saves up time at difficulty's boundaries",
        run: races::time_bank,
    },
    Attack {
        name: "lane-death",
        about: "lanes stop and come back: seconds a block, and the burst on return",
        run: lanes::death,
    },
    Attack {
        name: "hopping",
        about: "a miner who is always in the lane that pays best at the moment",
        run: lanes::hopping,
    },
    Attack {
        name: "selfish",
        about: "blocks are withheld and published to orphan those of others, over one or all lanes",
        run: lanes::selfish,
    },
    Attack {
        name: "pumping",
        about: "share and capacity are moved in phase, so that the chained weight climbs",
        run: pumping::run,
    },
    Attack {
        name: "share",
        about: "fees are burned on rentals with oneself to move the share of useful work",
        run: money::share,
    },
    Attack {
        name: "self-dealing",
        about: "rentals with oneself, for credit or for vesting: what comes back of what is burned",
        run: money::self_dealing,
    },
    Attack {
        name: "vesting-sale",
        about: "fake matmul miners buy receipts of others to vest their rewards",
        run: money::vesting_sale,
    },
    Attack {
        name: "grinding",
        about: "a credit host tries beacons, splits its credit, or claims slots of the future",
        run: credit::grinding,
    },
    Attack {
        name: "withholding",
        about: "a credit host withholds its blocks, or all credits leave at once",
        run: credit::withholding,
    },
    Attack {
        name: "beacon",
        about: "a lane-0 or lane-1 miner withholds the last block of a period for a better beacon",
        run: credit::beacon,
    },
    Attack {
        name: "spam",
        about: "certificates that cost a check and fail it: how late an honest block is verified",
        run: traffic::spam,
    },
    Attack {
        name: "delay",
        about: "a slow network: stale blocks, spacing and what an attacker gains by them",
        run: traffic::delay,
    },
];

/// The attack of a name.
#[must_use]
pub fn attack(name: &str) -> Option<&'static Attack> {
    ATTACKS.iter().find(|attack| attack.name == name)
}
