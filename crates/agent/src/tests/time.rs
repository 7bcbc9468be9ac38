//! Virtual time of a test's thread.
//!
//! A driver task lets every other task of the (single-threaded) runtime run until nothing more
//! happens, then moves the time to the next timer. With real sockets in a test the time follows the
//! wall clock instead.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::ops::Add;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// Turns of all other tasks before the time moves on.
const QUIET_TURNS: u32 = 40;

thread_local! {
    static NOW_MS: Cell<u64> = const { Cell::new(1_000) };
    static NEXT: Cell<u64> = const { Cell::new(0) };
    static TIMERS: RefCell<BTreeMap<(u64, u64), Waker>> = const { RefCell::new(BTreeMap::new()) };
}

/// A moment of virtual time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Instant(u64);

impl Instant {
    pub(crate) fn now() -> Self {
        Self(NOW_MS.get())
    }

    pub(crate) fn elapsed(&self) -> Duration {
        Self::now().saturating_duration_since(*self)
    }

    pub(crate) fn saturating_duration_since(&self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;
    fn add(self, duration: Duration) -> Self {
        Self(self.0 + crate::clock::millis(duration))
    }
}

/// Ready once the time has come.
#[derive(Debug)]
pub(crate) struct Sleep {
    at: u64,
    id: u64,
}

pub(crate) fn sleep(duration: Duration) -> Sleep {
    let id = NEXT.get();
    NEXT.set(id + 1);
    Sleep { at: NOW_MS.get() + crate::clock::millis(duration).max(1), id }
}

impl Future for Sleep {
    type Output = ();
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if NOW_MS.get() >= self.at {
            return Poll::Ready(());
        }
        TIMERS.with_borrow_mut(|timers| {
            timers.insert((self.at, self.id), context.waker().clone());
        });
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        TIMERS.with_borrow_mut(|timers| timers.remove(&(self.at, self.id)));
    }
}

/// The time was up first.
#[derive(Debug)]
pub(crate) struct Elapsed;

pub(crate) async fn timeout<F: Future>(limit: Duration, future: F) -> Result<F::Output, Elapsed> {
    tokio::select! {
        biased;
        done = future => Ok(done),
        () = sleep(limit) => Err(Elapsed),
    }
}

fn wake_due(now: u64) {
    NOW_MS.set(now);
    let due: Vec<Waker> = TIMERS.with_borrow_mut(|timers| {
        let later = timers.split_off(&(now + 1, 0));
        std::mem::replace(timers, later).into_values().collect()
    });
    due.into_iter().for_each(Waker::wake);
}

/// Drives the time of this thread for as long as it is polled.
pub(super) async fn drive(real: bool) {
    let (start, wall) = (NOW_MS.get(), std::time::Instant::now());
    loop {
        if real {
            tokio::time::sleep(Duration::from_millis(5)).await;
            wake_due(start + crate::clock::millis(wall.elapsed()));
            continue;
        }
        for _ in 0..QUIET_TURNS {
            tokio::task::yield_now().await;
        }
        let next = TIMERS.with_borrow(|timers| timers.keys().next().map(|(at, _)| *at));
        if let Some(next) = next {
            wake_due(next.max(NOW_MS.get()));
        }
    }
}
