//! What a job runs on: a back end and a number of threads.

use std::num::NonZero;
use std::sync::Mutex;

use crate::kernel::{Backend, Kernel};

/// A back end and a number of threads. Threads live as long as one call.
#[derive(Clone)]
pub struct Engine {
    backend: Backend,
    pub(crate) kernel: Kernel,
    threads: NonZero<usize>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Engine({:?}, {} threads)", self.backend, self.threads)
    }
}

impl Engine {
    /// The machine's best back end.
    #[must_use]
    pub fn new(threads: NonZero<usize>) -> Self {
        let best = Self::with(Backend::best(), threads);
        best.unwrap_or(Self { backend: Backend::Portable, kernel: Backend::PORTABLE, threads })
    }

    /// A given back end; `None` where the machine does not have it.
    #[must_use]
    pub fn with(backend: Backend, threads: NonZero<usize>) -> Option<Self> {
        backend.kernel().map(|kernel| Self { backend, kernel, threads })
    }

    /// What it computes with.
    #[must_use]
    pub const fn backend(&self) -> Backend {
        self.backend
    }

    /// How many threads a call may use.
    #[must_use]
    pub const fn threads(&self) -> usize {
        self.threads.get()
    }

    /// Hands out every item once, to whichever thread is free.
    pub(crate) fn each<T: Send>(
        &self,
        items: impl Iterator<Item = T> + Send,
        work: impl Fn(T) + Sync,
    ) {
        if self.threads.get() == 1 {
            return items.for_each(work);
        }
        let queue = Mutex::new(items);
        let next = || queue.lock().ok().and_then(|mut items| items.next());
        std::thread::scope(|scope| {
            for _ in 0..self.threads.get() {
                scope.spawn(|| {
                    while let Some(item) = next() {
                        work(item);
                    }
                });
            }
        });
    }
}
