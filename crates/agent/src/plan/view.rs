//! What a plan is made from: the rules that hold, and what was seen last.

use alloy_primitives::Address;
use pouw_types::contracts::IRentals::{Phase, Rental};
use pouw_types::{Amount, RentalRules};

use crate::config::Tuning;
use crate::contract::Head;
use crate::engine::Exit;
use crate::meter::Totals;

/// What holds for all rentals of an agent.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// The network's windows and shares.
    pub rental: RentalRules,
    /// The host's own delays.
    pub tuning: Tuning,
    /// Whose transactions the agent sends.
    pub operator: Address,
    /// Deposits above this wait for [`DEEP_RUN_DEPTH`](super::DEEP_RUN_DEPTH) blocks.
    pub deep_above: Amount,
}

/// A container as the agent last saw it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Container {
    /// Nobody has looked, or the engine does not answer.
    #[default]
    Unknown,
    /// There is none.
    Absent,
    /// Made, never started.
    Created,
    /// Running.
    Running,
    /// Frozen.
    Paused,
    /// Ended.
    Exited(Exit),
}

/// The chain as the agent last saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainView {
    /// The top.
    pub head: Head,
    /// The rental at the top; phase `None` when its opening is not in the best chain.
    pub rental: Rental,
}

impl ChainView {
    /// Blocks since the opening, 1 for its own; 0 when it is not in the best chain.
    #[must_use]
    pub const fn depth(&self) -> u64 {
        if matches!(self.rental.phase, Phase::None) {
            0
        } else {
            (self.head.height + 1).saturating_sub(self.rental.times.openedBlock)
        }
    }
}

/// The firewall around a task's network, as the agent last saw it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Guard {
    /// Nobody has looked yet.
    #[default]
    Unseen,
    /// As it was loaded.
    Up,
    /// Gone or changed, or it can't be seen.
    Down,
}

/// What is observed of the world.
#[derive(Clone, Debug)]
pub struct Observed {
    /// Unix seconds.
    pub now_s: u64,
    /// The chain; `None` until it was seen once.
    pub chain: Option<ChainView>,
    /// The task's container.
    pub container: Container,
    /// The firewall around its network, where it has one.
    pub guard: Guard,
    /// The meter's reading.
    pub totals: Totals,
    /// whether the rental that continues this one has taken over what is kept.
    pub is_taken: bool,
    /// Whether the journal could be written when it was last tried.
    pub writable: bool,
}
