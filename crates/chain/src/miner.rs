//! Mining on threads of its own: lane 0 and random work of lane 1 within a share of one processor, and
//! the slots of lane 2, which cost next to nothing.

mod choice;
mod credit;

use std::num::NonZero;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use alloy_primitives::{Address, B256, U256};
use pouw_consensus::{IdleWork, Lane, LinesError, Shape, ShapeError, Solver, UnservedParameters};

pub use self::choice::{Effort, Mine, MinerReport};
pub use self::credit::LaneKey;
use crate::block::Block;
use crate::chain::Chain;
use crate::error::ImportError;
use crate::template::Template;

/// How long a template is worked on before its time and transactions are renewed.
const RENEW: Duration = Duration::from_millis(500);

/// Sizes of a random product, rows of A, inner size, columns of B: 2^28 multiplications, some
/// milliseconds, so that a small share of a processor is kept to.
const PRODUCT: [u32; 3] = [256, 1_024, 1_024];

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
    /// On which lanes.
    pub mine: Mine,
}

impl MinerOptions {
    /// What a devnet's miner may use: 5 % of a core, one block a second, lane 0.
    #[must_use]
    pub const fn gentle(payout: Address) -> Self {
        Self { payout, duty_percent: 5, min_spacing_ms: 1_000, mine: Mine::Hash }
    }
}

/// A running miner; it stops when this is dropped.
#[derive(Debug)]
pub struct Miner {
    stop: Arc<Stop>,
    report: Arc<Mutex<MinerReport>>,
    yields: MinerYield,
    threads: Vec<JoinHandle<()>>,
    chain: Chain,
    options: MinerOptions,
}

/// Makes a miner leave lane 1 to whoever mines it on this machine by work that is paid for.
#[derive(Clone, Debug, Default)]
pub struct MinerYield(Arc<AtomicU64>);

impl MinerYield {
    /// Until this time, Unix milliseconds: a miner of both lanes then works on lane 0 alone. One that is
    /// told to mine lane 1 alone goes on, or nobody might make blocks.
    pub fn until(&self, time_ms: u64) {
        self.0.fetch_max(time_ms, Ordering::Relaxed);
    }

    fn holds(&self, now_ms: u64) -> bool {
        now_ms < self.0.load(Ordering::Relaxed)
    }
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
    /// The size of random products, which is a constant of this program.
    #[error("lane 1 can't be mined here")]
    Product(#[from] ShapeError),
    /// The same.
    #[error("lane 1 can't be mined here")]
    Lines(#[from] LinesError),
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
        let report = Arc::new(Mutex::new(MinerReport::default()));
        // Where this miner starts differs from run to run, so that two of them share no work.
        let now_ms = chain.now_ms();
        let idle = match options.mine {
            Mine::Hash | Mine::Credit => None,
            Mine::Matmul | Mine::Both | Mine::All | Mine::Auto => {
                Some(idle_work(options.payout, now_ms)?)
            }
        };
        let yields = MinerYield::default();
        let mut miner = Self { stop, report, yields, threads: Vec::new(), chain, options };
        if options.mine == Mine::Credit {
            return Ok(miner);
        }
        let work = Work {
            chain: miner.chain.clone(),
            options,
            solver,
            idle,
            stop: Arc::clone(&miner.stop),
            report: Arc::clone(&miner.report),
            yields: miner.yields.clone(),
            nonce: U256::from(now_ms) << 64,
        };
        let thread = std::thread::Builder::new().name("miner".to_owned());
        miner.threads.push(thread.spawn(move || work.run())?);
        Ok(miner)
    }

    /// Draws the slots of lane 2 for these machines from now on, where the miner is to; whether it
    /// does.
    ///
    /// # Errors
    /// [`MinerError`].
    pub fn draw(&mut self, keys: Vec<LaneKey>) -> Result<bool, MinerError> {
        let draws = matches!(self.options.mine, Mine::Credit | Mine::All | Mine::Auto);
        if !draws || keys.is_empty() {
            return Ok(false);
        }
        let draw = credit::Draw {
            chain: self.chain.clone(),
            keys,
            min_spacing_ms: self.options.min_spacing_ms,
            stop: Arc::clone(&self.stop),
            report: Arc::clone(&self.report),
        };
        self.threads.push(draw.start()?);
        Ok(true)
    }

    /// What it has done since it started.
    #[must_use]
    pub fn report(&self) -> MinerReport {
        self.reporter().read()
    }

    /// Reads [`Miner::report`] without holding the miner.
    #[must_use]
    pub fn reporter(&self) -> MinerReporter {
        MinerReporter(Arc::clone(&self.report))
    }

    /// By which it is told to leave lane 1 to others.
    #[must_use]
    pub fn yields(&self) -> MinerYield {
        self.yields.clone()
    }

    /// Stops mining and waits until it has.
    pub fn stop(mut self) {
        self.halt();
    }

    fn halt(&mut self) {
        *self.stop.asked.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.stop.bell.notify_all();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the miner panicked");
            }
        }
    }
}

/// Reads what a miner has done.
#[derive(Clone, Debug)]
pub struct MinerReporter(Arc<Mutex<MinerReport>>);

impl MinerReporter {
    /// Since it started.
    #[must_use]
    pub fn read(&self) -> MinerReport {
        *locked(&self.0)
    }
}

fn locked(report: &Mutex<MinerReport>) -> MutexGuard<'_, MinerReport> {
    report.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Random products on one thread.
fn idle_work(payout: Address, now_ms: u64) -> Result<IdleWork, MinerError> {
    let [m, k, n] = PRODUCT;
    let mut seed = blake3::Hasher::new_derive_key("pouw miner seed v1");
    seed.update(payout.as_slice()).update(&now_ms.to_le_bytes());
    seed.update(&std::process::id().to_le_bytes());
    let seed = *seed.finalize().as_bytes();
    Ok(IdleWork::new(Shape::new(m, k, n)?, seed, NonZero::<usize>::MIN)?)
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
    idle: Option<IdleWork>,
    stop: Arc<Stop>,
    report: Arc<Mutex<MinerReport>>,
    yields: MinerYield,
    nonce: U256,
}

impl Work {
    fn run(mut self) {
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
        let lane = self.choose();
        let template = self.chain.template_of(lane, self.options.payout)?;
        // A full block takes long to put together; mining must not stop for all of that.
        if self.rest(started.elapsed().min(RENEW / 20)) {
            return Ok(true);
        }
        self.solve(&template, started)
    }

    fn solve(&mut self, template: &Template, started: Instant) -> Result<bool, ImportError> {
        while started.elapsed() < RENEW && self.chain.head().id == template.parent() {
            let began = Instant::now();
            let (tried, found) = self.attempt(template);
            let worked = began.elapsed();
            locked(&self.report).tried(template.core.lane, tried, worked);
            if let Some(block) = found {
                self.chain.import_block(block)?;
                locked(&self.report).won(template.core.lane);
                return Ok(self.rest(worked));
            }
            if self.rest(worked) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn choose(&self) -> Lane {
        let standing = &self.chain.head().standing;
        if self.idle.is_none() || standing.shares.matmul == 0 {
            return Lane::Hash;
        }
        if self.options.mine != Mine::Matmul && self.yields.holds(self.chain.now_ms()) {
            return Lane::Hash;
        }
        let report = *locked(&self.report);
        self.options.mine.lane(self.chain.network(), standing, &report)
    }

    /// One try on the template's lane: its tickets or multiplications, and a block if it won.
    fn attempt(&mut self, template: &Template) -> (u128, Option<Block>) {
        match (template.core.lane, &mut self.idle) {
            (Lane::Matmul, Some(idle)) => {
                let found = template.try_product(idle);
                let found = found.inspect_err(|error| tracing::warn!(%error, "lane 1 has no work"));
                (idle.macs(), found.unwrap_or_default())
            }
            _ => {
                self.nonce = self.nonce.wrapping_add(U256::from(1));
                let nonce = B256::from(self.nonce);
                let (tickets, found) = template.try_nonce_counted(&self.solver, nonce);
                (u128::try_from(tickets).unwrap_or_default(), found)
            }
        }
    }

    /// Rests for as long as the duty asks after this much work; whether to stop.
    fn rest(&self, worked: Duration) -> bool {
        let duty = self.options.duty_percent.clamp(1, 100);
        self.stop.wait(worked * (100 - duty) / duty)
    }
}
