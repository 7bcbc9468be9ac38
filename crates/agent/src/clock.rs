//! Time, as the agent takes it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::time::Instant;

/// Where the agent takes its time from; tests put their own in.
pub trait Clock: Send + Sync + 'static {
    /// Unix milliseconds.
    fn unix_ms(&self) -> u64;
    /// Milliseconds that never go back and do not count what the machine slept.
    fn monotonic_ms(&self) -> u64;

    /// Unix seconds.
    fn unix_s(&self) -> u64 {
        self.unix_ms() / 1_000
    }
}

/// The machine's clocks.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock(Instant);

impl SystemClock {
    /// Counts from now.
    #[must_use]
    pub fn new() -> Self {
        Self(Instant::now())
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn unix_ms(&self) -> u64 {
        millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
    }

    fn monotonic_ms(&self) -> u64 {
        millis(self.0.elapsed())
    }
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
