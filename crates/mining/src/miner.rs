//! What the products of one process share: the conversation with the host, what mining may cost, and how
//! much of the work mined.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::client::{Client, Counts};
use crate::message::Work;

/// What preparing matrices may take before anything was multiplied.
const GRACE: Duration = Duration::from_secs(2);
/// Preparing may take one part in so many of the time that products took (W-7).
const PART: u32 = 20;

/// Multiplications done, and those of them that were lottery tickets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// Of products that mined.
    pub mined: u128,
    /// Of all products.
    pub all: u128,
}

/// A process's side of the mining socket.
#[derive(Debug)]
pub struct Miner {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    client: Client,
    /// The work that this process has won already; one win is all that it is good for.
    won: Option<u64>,
    preparing: Duration,
    multiplying: Duration,
    share: Share,
}

impl Miner {
    /// A miner that asks the socket at this path; nobody need listen there yet.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        let state = State {
            client: Client::new(path),
            won: None,
            preparing: Duration::ZERO,
            multiplying: Duration::ZERO,
            share: Share::default(),
        };
        Self { state: Mutex::new(state) }
    }

    /// The newest work that can still be won.
    #[must_use]
    pub fn work(&self) -> Option<Arc<Work>> {
        let mut state = self.state();
        let work = state.client.poll(Instant::now())?;
        (state.won != Some(work.id)).then_some(work)
    }

    /// Whether a host is connected.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.state().client.is_connected()
    }

    /// How certificates fared; reads the answers that are there.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut state = self.state();
        state.client.poll(Instant::now());
        state.client.counts()
    }

    /// How many multiplications mined.
    #[must_use]
    pub fn share(&self) -> Share {
        self.state().share
    }

    pub(crate) fn hand_in(&self, id: u64, certificate: Vec<u8>) {
        let mut state = self.state();
        state.won = Some(id);
        state.client.hand_in(id, certificate, Instant::now());
    }

    /// Whether a matrix may be prepared for new work: a host that changes its mind at every call must not
    /// keep a task from serving.
    pub(crate) fn may_prepare(&self) -> bool {
        let state = self.state();
        state.preparing <= GRACE + state.multiplying / PART
    }

    pub(crate) fn prepared(&self, took: Duration) {
        self.state().preparing += took;
    }

    pub(crate) fn multiplied(&self, took: Duration, mined: u128, all: u128) {
        let mut state = self.state();
        state.multiplying += took;
        state.share.mined = state.share.mined.saturating_add(mined);
        state.share.all = state.share.all.saturating_add(all);
        if mined > 0 {
            let macs = u64::try_from(mined).unwrap_or(u64::MAX);
            state.client.mined(macs, Instant::now());
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
