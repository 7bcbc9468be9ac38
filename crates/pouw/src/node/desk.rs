//! Work of lane 1 for the tasks of registered machines: templates whose block pays the machine's miner.
//!
//! Anybody may ask for any machine's work: it is the same for all who ask, and whoever wins it wins it for
//! that machine. Machines put a bond at stake to be registered, so there are not many.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use alloy_primitives::{Address, B256};
use pouw_api::backend::BackendError;
use pouw_api::lanes::{LaneOneError, LaneOneWork};
use pouw_chain::{Chain, ImportError, MinerYield, Template};
use pouw_consensus::Lane;

/// How long a template is given out before its time and transactions are renewed.
const RENEW: Duration = Duration::from_secs(2);
/// Templates of one machine that can be won: what a mining socket keeps (W-5).
const OF_ONE: usize = 8;
/// Templates of all machines.
const CAPACITY: usize = 512;
/// How long a miner beside the tasks leaves lane 1 to them after they last asked, milliseconds.
const YIELD_MS: u64 = 15_000;

/// What was given out on the newest head.
#[derive(Debug, Default)]
pub(super) struct Desk {
    state: Mutex<State>,
    yields: OnceLock<MinerYield>,
}

#[derive(Debug, Default)]
struct State {
    /// The newest last.
    given: VecDeque<Given>,
    number: u64,
}

#[derive(Debug)]
struct Given {
    number: u64,
    machine: Address,
    miner: Address,
    at: Instant,
    template: Template,
}

impl Given {
    fn work(&self) -> LaneOneWork {
        LaneOneWork {
            number: self.number,
            core: self.template.core.hash(),
            difficulty: self.template.difficulty,
            ancestors: self.template.ancestors.clone(),
            miner: self.miner,
        }
    }
}

impl State {
    /// Forgets what can't be won any more.
    fn follow(&mut self, chain: &Chain) {
        let head = chain.head().id;
        self.given.retain(|one| one.template.parent() == head);
    }

    fn newest(&self, machine: Address, miner: Address) -> Option<&Given> {
        let mut ours = self.given.iter().rev().filter(|one| one.machine == machine);
        ours.next().filter(|one| one.miner == miner && one.at.elapsed() < RENEW)
    }

    fn add(&mut self, given: Given) {
        let ours = self.given.iter().filter(|one| one.machine == given.machine).count();
        if ours >= OF_ONE
            && let Some(oldest) = self.given.iter().position(|one| one.machine == given.machine)
        {
            self.given.remove(oldest);
        }
        self.given.push_back(given);
    }
}

impl Desk {
    /// A miner on the same machine leaves lane 1 to tasks while they ask for work.
    pub(super) fn before(&self, miner: MinerYield) {
        // A node starts one miner.
        let _second = self.yields.set(miner);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The block that tasks of a machine may win for its miner; reads and executes, so not on the
    /// executor's threads.
    pub(super) fn work(
        &self,
        chain: &Chain,
        machine: Address,
        miner: Address,
    ) -> Result<Option<LaneOneWork>, LaneOneError> {
        if chain.head().standing.shares.matmul == 0 {
            return Ok(None);
        }
        if let Some(yields) = self.yields.get() {
            yields.until(chain.now_ms().saturating_add(YIELD_MS));
        }
        // One at a time: whoever waits finds what the other made.
        let mut state = self.state();
        state.follow(chain);
        if let Some(given) = state.newest(machine, miner) {
            return Ok(Some(given.work()));
        }
        if state.given.len() >= CAPACITY {
            let enough = "it gives work to as many machines as it can: ask another node";
            return Err(BackendError::Unavailable(enough.to_owned()).into());
        }
        let template = chain.template_of(Lane::Matmul, miner).map_err(|error| failed(&error))?;
        // Higher than any number of a run before, and exact in every reader of JSON.
        state.number = state.number.saturating_add(1).max(chain.now_ms().saturating_mul(1_000));
        let given = Given { number: state.number, machine, miner, at: Instant::now(), template };
        let work = given.work();
        state.add(given);
        Ok(Some(work))
    }

    /// Makes the block that a certificate wins; none where its work is over.
    pub(super) fn win(
        &self,
        chain: &Chain,
        number: u64,
        certificate: Vec<u8>,
    ) -> Result<Option<B256>, LaneOneError> {
        let template = {
            let mut state = self.state();
            state.follow(chain);
            let given = state.given.iter().find(|one| one.number == number);
            given.map(|one| one.template.clone())
        };
        let Some(template) = template else { return Ok(None) };
        let wrong = |reason: String| LaneOneError::Certificate { number, reason };
        let block = template.win(certificate).map_err(|error| {
            let source = std::error::Error::source(&error).map(ToString::to_string);
            wrong(source.map_or_else(|| error.to_string(), |why| format!("{error}: {why}")))
        })?;
        let id = block.id();
        match chain.import_block(block) {
            Ok(_) => Ok(Some(id)),
            Err(error) if error.is_fatal() => Err(failed(&error)),
            // The head moved in between.
            Err(error) if chain.head().id != template.parent() => {
                tracing::debug!(%error, "a certificate came too late");
                Ok(None)
            }
            Err(error) => Err(wrong(error.to_string())),
        }
    }
}

fn failed(error: &ImportError) -> LaneOneError {
    BackendError::Unavailable(error.to_string()).into()
}
