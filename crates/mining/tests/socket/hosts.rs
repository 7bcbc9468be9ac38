//! A host in a thread of its own.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pouw_matmul::{Anchor, Core, Difficulty};
use pouw_mining::server::{Win, serve};
use pouw_mining::{Tally, Work};
use tokio::net::UnixListener;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};

pub(crate) const DEADLINE: Duration = Duration::from_secs(120);

/// Waits for a condition, and fails when it does not come.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < DEADLINE, "{what}: not within {DEADLINE:?}");
        std::thread::yield_now();
    }
}

/// Work on a parent; the parent's ancestors count down.
pub(crate) fn work(id: u64, parent: u8, macs: u128) -> Work {
    let ancestors = (0..16).map(|back| Anchor([parent.wrapping_sub(back); 32])).collect();
    Work { id, core: Core([7; 32]), difficulty: Difficulty::new(macs).unwrap(), ancestors }
}

pub(crate) struct Host {
    _folder: tempfile::TempDir,
    pub(crate) path: PathBuf,
    runtime: Option<Runtime>,
    work: watch::Sender<Option<Arc<Work>>>,
    wins: mpsc::Receiver<Win>,
    pub(crate) tally: Tally,
}

impl Host {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mining");
        let tally = Tally::default();
        let (runtime, work, wins) = run(&path, tally.clone());
        Self { _folder: folder, path, runtime: Some(runtime), work, wins, tally }
    }

    pub(crate) fn say(&self, work: Option<Work>) {
        self.work.send_replace(work.map(Arc::new));
    }

    pub(crate) fn win(&mut self) -> Win {
        self.wins.blocking_recv().unwrap()
    }

    pub(crate) fn stop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    pub(crate) fn restart(&mut self) {
        std::fs::remove_file(&self.path).unwrap();
        let (runtime, work, wins) = run(&self.path, self.tally.clone());
        (self.runtime, self.work, self.wins) = (Some(runtime), work, wins);
    }
}

fn run(
    path: &std::path::Path,
    tally: Tally,
) -> (Runtime, watch::Sender<Option<Arc<Work>>>, mpsc::Receiver<Win>) {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(1).enable_all().build().unwrap();
    let (work, receiver) = watch::channel(None);
    let (sender, wins) = mpsc::channel(4);
    let guard = runtime.enter();
    let listener = UnixListener::bind(path).unwrap();
    drop(guard);
    runtime.spawn(serve(listener, receiver, sender, tally));
    (runtime, work, wins)
}
