//! Mining lane 0 on a thread of its own, within a share of one processor.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use alloy_primitives::{Address, B256, U256};
use pouw_consensus::{Solver, UnservedParameters};

use crate::chain::Chain;
use crate::error::ImportError;
use crate::template::Template;

/// How long a template is worked on before its time and transactions are renewed.
const RENEW: Duration = Duration::from_millis(500);

/// What a miner may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MinerOptions {
    /// Who is paid.
    pub payout: Address,
    /// Share of one processor, percent, 1 to 100.
    pub duty_percent: u32,
    /// The least time between a block and the next that this miner makes, milliseconds. It keeps
    /// a chain that was asleep from flooding.
    pub min_spacing_ms: u64,
}

impl MinerOptions {
    /// What a devnet's miner may use: 5 % of a core, one block a second.
    #[must_use]
    pub const fn gentle(payout: Address) -> Self {
        Self { payout, duty_percent: 5, min_spacing_ms: 1_000 }
    }
}

/// A running miner; it stops when this is dropped.
#[derive(Debug)]
pub struct Miner {
    stop: Arc<Stop>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Stop {
    asked: Mutex<bool>,
    bell: Condvar,
}

impl Stop {
    /// Waits, or less if asked to stop; whether it was.
    fn wait(&self, duration: Duration) -> bool {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let result = self.bell.wait_timeout_while(asked, duration, |asked| !*asked);
        *result.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// A miner can't start.
#[derive(Debug, thiserror::Error)]
pub enum MinerError {
    /// The network's lane 0 is out of this solver's reach.
    #[error("this network's lane 0 can't be mined here")]
    Parameters(#[from] UnservedParameters),
    /// No thread.
    #[error("the miner's thread can't start")]
    Thread(#[from] std::io::Error),
}

impl Miner {
    /// Starts mining.
    ///
    /// # Errors
    /// [`MinerError`].
    pub fn start(chain: Chain, options: MinerOptions) -> Result<Self, MinerError> {
        let lane = chain.network().lane_zero;
        let solver = Solver::new(lane.n, lane.k)?;
        let stop = Arc::new(Stop::default());
        let work = Work { chain, options, solver, stop: Arc::clone(&stop), nonce: U256::ZERO };
        let thread = std::thread::Builder::new().name("miner".to_owned());
        let thread = thread.spawn(move || work.run())?;
        Ok(Self { stop, thread: Some(thread) })
    }

    /// Stops mining and waits until it has.
    pub fn stop(mut self) {
        self.halt();
    }

    fn halt(&mut self) {
        *self.stop.asked.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.stop.bell.notify_all();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the miner's thread panicked");
        }
    }
}

impl Drop for Miner {
    fn drop(&mut self) {
        self.halt();
    }
}

struct Work {
    chain: Chain,
    options: MinerOptions,
    solver: Solver,
    stop: Arc<Stop>,
    nonce: U256,
}

impl Work {
    fn run(mut self) {
        // Where this miner starts differs from run to run, so that two of them share no work.
        self.nonce = U256::from(self.chain.now_ms()) << 64;
        while !self.stop.wait(Duration::ZERO) {
            match self.round() {
                Ok(true) => break,
                Ok(false) => {}
                Err(error) if error.is_fatal() => {
                    tracing::error!(%error, "the miner stops: the chain failed");
                    break;
                }
                // Another block was faster, or the clock was set back.
                Err(error) => {
                    tracing::warn!(%error, "a block of this miner was not taken");
                    if self.stop.wait(RENEW) {
                        break;
                    }
                }
            }
        }
    }

    /// Works on one template; whether to stop.
    fn round(&mut self) -> Result<bool, ImportError> {
        let earliest = self.chain.head().time_ms().saturating_add(self.options.min_spacing_ms);
        let early_ms = earliest.saturating_sub(self.chain.now_ms());
        if early_ms > 0 {
            // At most a second a time: the head may move, and a clock may be set.
            return Ok(self.stop.wait(Duration::from_millis(early_ms.min(1_000))));
        }
        let started = Instant::now();
        let template = self.chain.template(self.options.payout)?;
        // A full block takes long to put together; mining must not stop for all of that.
        if self.rest(started.elapsed().min(RENEW / 20)) {
            return Ok(true);
        }
        self.solve(&template, started)
    }

    fn solve(&mut self, template: &Template, started: Instant) -> Result<bool, ImportError> {
        while started.elapsed() < RENEW && self.chain.head().id == template.parent() {
            let began = Instant::now();
            self.nonce = self.nonce.wrapping_add(U256::from(1));
            let found = template.try_nonce(&self.solver, B256::from(self.nonce));
            let worked = began.elapsed();
            if let Some(block) = found {
                self.chain.import_block(block)?;
                return Ok(self.rest(worked));
            }
            if self.rest(worked) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Rests for as long as the duty asks after this much work; whether to stop.
    fn rest(&self, worked: Duration) -> bool {
        let duty = self.options.duty_percent.clamp(1, 100);
        self.stop.wait(worked * (100 - duty) / duty)
    }
}
