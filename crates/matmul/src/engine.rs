//! What a job runs on: a back end, perhaps a device, and a number of threads.

use std::num::NonZero;
use std::sync::Mutex;

#[cfg(feature = "cuda")]
use crate::kernel::cuda::{Cuda, installed};
use crate::kernel::{Backend, Kernel};

/// A back end and a number of threads. Threads live as long as one call.
#[derive(Clone)]
pub struct Engine {
    processor: Backend,
    pub(crate) kernel: Kernel,
    threads: NonZero<usize>,
    #[cfg(feature = "cuda")]
    device: Option<Cuda>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Engine({:?}, {} threads)", self.backend(), self.threads)
    }
}

impl Engine {
    /// The machine's best back end: its first CUDA device, where the program is built for one, else its processor's best.
    #[must_use]
    pub fn new(threads: NonZero<usize>) -> Self {
        Self::with(Backend::Cuda, threads).unwrap_or_else(|| Self::processor(threads))
    }

    /// The processor's best back end.
    #[must_use]
    pub fn processor(threads: NonZero<usize>) -> Self {
        let best = Backend::best();
        let kernel = best.kernel();
        let processor = if kernel.is_some() { best } else { Backend::Portable };
        Self::of(processor, kernel.unwrap_or(Backend::PORTABLE), threads)
    }

    /// A given back end; `None` where the machine does not have it.
    #[must_use]
    pub fn with(backend: Backend, threads: NonZero<usize>) -> Option<Self> {
        #[cfg(feature = "cuda")]
        if backend == Backend::Cuda {
            return installed().ok().map(|device| Self::on(device.clone(), threads));
        }
        backend.kernel().map(|kernel| Self::of(backend, kernel, threads))
    }

    /// A device, and the processor's best back end for what the device does not do.
    #[cfg(feature = "cuda")]
    #[must_use]
    pub fn on(device: Cuda, threads: NonZero<usize>) -> Self {
        Self { device: Some(device), ..Self::processor(threads) }
    }

    const fn of(processor: Backend, kernel: Kernel, threads: NonZero<usize>) -> Self {
        Self {
            processor,
            kernel,
            threads,
            #[cfg(feature = "cuda")]
            device: None,
        }
    }

    /// What it computes with. A device that failed leaves its work to the processor.
    #[must_use]
    pub fn backend(&self) -> Backend {
        #[cfg(feature = "cuda")]
        if self.device().is_some_and(|device| device.fault().is_none()) {
            return Backend::Cuda;
        }
        self.processor
    }

    /// The device that it computes on, or did until it failed.
    #[cfg(feature = "cuda")]
    #[must_use]
    pub const fn device(&self) -> Option<&Cuda> {
        self.device.as_ref()
    }

    /// What the processor computes with.
    pub(crate) const fn processor_backend(&self) -> Backend {
        self.processor
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
        self.each_with(items, || (), |(), item| work(item));
    }

    /// As `each`, with something that each thread makes once and keeps from item to item.
    pub(crate) fn each_with<T: Send, K>(
        &self,
        items: impl Iterator<Item = T> + Send,
        start: impl Fn() -> K + Sync,
        work: impl Fn(&mut K, T) + Sync,
    ) {
        if self.threads.get() == 1 {
            let mut kept = start();
            return items.for_each(|item| work(&mut kept, item));
        }
        let queue = Mutex::new(items);
        let next = || queue.lock().ok().and_then(|mut items| items.next());
        std::thread::scope(|scope| {
            for _ in 0..self.threads.get() {
                scope.spawn(|| {
                    let mut kept = start();
                    while let Some(item) = next() {
                        work(&mut kept, item);
                    }
                });
            }
        });
    }
}
