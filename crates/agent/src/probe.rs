//! How fast this machine is, right now.

use async_trait::async_trait;
use pouw_bench::{Reference, run_cpu_probe, score};

/// Measures the machine.
#[async_trait]
pub trait Probe: Send + Sync + 'static {
    /// A short processor probe (at most 0.3 s); more is faster.
    async fn cpu(&self) -> u32;
}

/// Measures all processors of the machine at once.
#[derive(Clone, Copy, Debug, Default)]
pub struct CpuProbe;

#[async_trait]
impl Probe for CpuProbe {
    async fn cpu(&self) -> u32 {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = u32::try_from(threads).unwrap_or(1);
        let run = tokio::task::spawn_blocking(move || run_cpu_probe(threads).work_per_s());
        // A probe that breaks off measured nothing.
        run.await.map_or(0, |rate| score(rate, Reference::GENERAL_THREAD))
    }
}
