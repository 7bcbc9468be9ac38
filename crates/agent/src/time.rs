//! Timers: tokio's, except in tests, where time is virtual and passes as fast as work allows.

#[cfg(test)]
pub(crate) use crate::tests::time::{Instant, sleep, timeout};
#[cfg(not(test))]
pub(crate) use tokio::time::{Instant, sleep, timeout};
