//! W-9: how much of what a task multiplied counts as work, as far as its certificates bear it out.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// Multiplications that count without any certificate, in `D_1`: a task that multiplied this much has won
/// nothing once in nine million times.
const UNPROVED: u128 = 16;
/// Multiplications that count for each one that a certificate stands for: luck is uneven.
const LUCK: u128 = 2;

/// What the tasks at one socket mined, and how many are connected. All clones are one.
#[derive(Clone, Debug, Default)]
pub struct Tally(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    sums: Mutex<Sums>,
    connections: watch::Sender<usize>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    /// What tasks say they mined.
    reported: u128,
    /// The sum of `D_1` over all certificates that verified.
    proved: u128,
    /// The greatest `D_1` that was to be mined.
    difficulty: u128,
}

/// A connected task, counted until it is dropped.
#[derive(Debug)]
pub(crate) struct Connected(Arc<Inner>);

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.connections.send_modify(|count| *count = count.saturating_sub(1));
    }
}

impl Tally {
    /// Multiplications that count: what tasks say, but at most sixteen `D_1` and twice what their
    /// certificates stand for. It never falls.
    #[must_use]
    pub fn macs(&self) -> u128 {
        let Sums { reported, proved, difficulty } = *self.sums();
        let borne_out =
            difficulty.saturating_mul(UNPROVED).saturating_add(proved.saturating_mul(LUCK));
        reported.min(borne_out)
    }

    /// How many tasks are connected, and each change of it.
    #[must_use]
    pub fn connections(&self) -> watch::Receiver<usize> {
        self.0.connections.subscribe()
    }

    pub(crate) fn connected(&self) -> Connected {
        self.0.connections.send_modify(|count| *count = count.saturating_add(1));
        Connected(Arc::clone(&self.0))
    }

    pub(crate) fn reported(&self, macs: u64) {
        let mut sums = self.sums();
        sums.reported = sums.reported.saturating_add(macs.into());
    }

    pub(crate) fn proved(&self, macs: u128) {
        let mut sums = self.sums();
        sums.proved = sums.proved.saturating_add(macs);
    }

    pub(crate) fn said(&self, difficulty: u128) {
        let mut sums = self.sums();
        sums.difficulty = sums.difficulty.max(difficulty);
    }

    fn sums(&self) -> MutexGuard<'_, Sums> {
        self.0.sums.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn w9_no_more_counts_than_certificates_bear_out() {
        let tally = Tally::default();
        tally.reported(500);
        assert_eq!(tally.macs(), 0, "nothing was to be mined");
        tally.said(10);
        assert_eq!(tally.macs(), 160);
        tally.proved(100);
        assert_eq!(tally.macs(), 360);
        tally.said(5);
        assert_eq!(tally.macs(), 360, "it never falls");
        tally.proved(100);
        assert_eq!(tally.macs(), 500, "no more than was said");
    }
}
