//! What all rentals of an agent share.

use std::sync::{Arc, Mutex, PoisonError};

use pouw_types::{Isolation, Network, Resources};

use crate::clock::Clock;
use crate::contract::Contract;
use crate::engine::{Engine, EngineInfo};
use crate::imagebench::Stand;
use crate::journal::Journal;
use crate::lane_one::LaneOne;
use crate::machine::Machine;
use crate::mover::Mover;
use crate::plan::Rules;
use crate::probe::Probe;
use crate::selftest::SelfTest;
use crate::signer::Signer;

/// What all rentals of an agent share.
pub(crate) struct Context {
    /// The network.
    pub network: &'static Network,
    /// What holds for all rentals.
    pub rules: Rules,
    /// The machine's key.
    pub machine: Machine,
    /// What the engine can do.
    pub engine_info: EngineInfo,
    /// The engine.
    pub engine: Arc<dyn Engine>,
    /// The chain.
    pub contract: Arc<dyn Contract>,
    /// Work for tasks that mine.
    pub lane_one: Arc<dyn LaneOne>,
    /// The signers.
    pub signer: Arc<dyn Signer>,
    /// The clocks.
    pub clock: Arc<dyn Clock>,
    /// The way of bytes.
    pub mover: Arc<dyn Mover>,
    /// The machine's speed.
    pub probe: Arc<dyn Probe>,
    /// What one unit has.
    pub unit: Resources,
    /// How tasks are kept apart here by default.
    pub isolation: Isolation,
    /// What the self-test said.
    pub self_test: Mutex<SelfTest>,
    /// The memory.
    pub journal: Journal,
}

impl Context {
    /// What the self-test said, as of now.
    pub(crate) fn self_test(&self) -> SelfTest {
        self.self_test.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What of it the offer lists, and gates ask for.
    pub(crate) fn listing(&self) -> SelfTest {
        self.self_test().scaled(self.rules.tuning.listed_percent)
    }

    /// Where images' own benchmarks run.
    pub(crate) fn stand(&self) -> Stand<'_> {
        Stand {
            engine: self.engine.as_ref(),
            info: &self.engine_info,
            unit: &self.unit,
            isolation: self.isolation,
        }
    }
}

impl core::fmt::Debug for Context {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Context").field("machine", &self.machine.id()).finish_non_exhaustive()
    }
}
