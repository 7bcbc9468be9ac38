//! From a slot into a file.

use std::fs::{File, OpenOptions};
use std::io::{Seek, Write};
use std::path::{Path, PathBuf};

use alloy_primitives::B256;
use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_RANGE, ETAG, IF_RANGE, LAST_MODIFIED, RANGE};

use super::client::{network, refused};
use super::{Progress, TransferError, Transferred, Transfers};
use crate::{InputSlot, PresignedUrl};

/// How many bytes are gathered before they are written and hashed together.
const BATCH_BYTES: usize = 1 << 20;
/// How many batches may wait for the disk.
const QUEUE: usize = 8;

impl Transfers {
    /// Fetches `slot` into `dest`, at most `max_bytes` of it (D-40).
    ///
    /// The bytes go to a file beside `dest` whose name ends in `.partial` and move to `dest` once
    /// their size and, where the slot says it, their digest are right and they are on disk. A
    /// broken connection goes on where it broke, as long as the object is still the same one.
    ///
    /// # Errors
    /// [`TransferError`]; the partial file is then gone, and what was at `dest` untouched.
    pub async fn download(
        &self,
        slot: &InputSlot,
        dest: &Path,
        max_bytes: u64,
        progress: &dyn Progress,
    ) -> Result<Transferred, TransferError> {
        if let Some(found) = slot.size_bytes.filter(|&size| size > max_bytes) {
            return Err(TransferError::TooLarge { url: slot.url.clone(), found, max: max_bytes });
        }
        let mut name = dest.file_name().unwrap_or_default().to_owned();
        name.push(".partial");
        let partial = dest.with_file_name(name);
        let sink = Sink::start(&partial)?;
        let state = tokio::sync::Mutex::new(Attempt { sink, tag: None, total: None });
        let limit = slot.size_bytes.unwrap_or(max_bytes);
        let fetched = self
            .patiently(|| async {
                let mut state = state.lock().await;
                self.attempt(slot, limit, &mut state, progress).await
            })
            .await;
        let outcome = match fetched {
            Ok(()) => state.into_inner().sink.finish().await,
            Err(error) => Err(error),
        };
        let finished = outcome.and_then(|done| check(slot, done).map(|()| done));
        let moved = match finished {
            Ok(done) => publish(&partial, dest).map(|()| done),
            Err(error) => Err(error),
        };
        if moved.is_err() {
            drop(std::fs::remove_file(&partial));
        }
        moved
    }

    /// One request: from where the sink stands to the end.
    async fn attempt(
        &self,
        slot: &InputSlot,
        limit: u64,
        state: &mut Attempt,
        progress: &dyn Progress,
    ) -> Result<(), TransferError> {
        let url = &slot.url;
        let mut request = self.client(url).get(url.expose());
        let mut start = state.sink.received;
        if start > 0 && state.total == Some(start) {
            return Ok(());
        }
        match &state.tag {
            Some(tag) if start > 0 => {
                request = request.header(RANGE, format!("bytes={start}-")).header(IF_RANGE, tag);
            }
            _ => {
                state.sink.restart(&slot.url).await?;
                start = 0;
            }
        }
        let mut answer = request.send().await.map_err(|source| network(url, source))?;
        match answer.status() {
            StatusCode::PARTIAL_CONTENT if start > 0 && continues(&answer, start) => {}
            StatusCode::OK => {
                state.sink.restart(&slot.url).await?;
                start = 0;
            }
            _ => return Err(refused(url, answer).await),
        }
        let header = |name| answer.headers().get(name).cloned();
        state.tag = header(ETAG)
            .filter(|tag| !tag.as_bytes().starts_with(b"W/"))
            .or_else(|| header(LAST_MODIFIED));
        state.total = answer.content_length().map(|length| start.saturating_add(length));
        if let Some(found) = state.total.filter(|&total| total > limit) {
            return Err(TransferError::TooLarge { url: url.clone(), found, max: limit });
        }
        while let Some(chunk) = answer.chunk().await.map_err(|source| network(url, source))? {
            let found = state.sink.received.saturating_add(chunk.len() as u64);
            if found > limit {
                return Err(TransferError::TooLarge { url: url.clone(), found, max: limit });
            }
            state.sink.push(chunk).await?;
            progress.advanced(state.sink.received, state.total.or(slot.size_bytes));
        }
        match state.total.filter(|&expected| expected != state.sink.received) {
            Some(expected) => {
                let received = state.sink.received;
                Err(TransferError::Truncated { url: url.clone(), received, expected })
            }
            None => Ok(()),
        }
    }
}

struct Attempt {
    sink: Sink,
    /// What a later request must find unchanged.
    tag: Option<http::HeaderValue>,
    total: Option<u64>,
}

/// Whether a 206 begins exactly where we stand.
fn continues(answer: &reqwest::Response, start: u64) -> bool {
    answer
        .headers()
        .get(CONTENT_RANGE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("bytes ")?.split_once('-')?.0.parse().ok())
        == Some(start)
}

fn check(slot: &InputSlot, done: Transferred) -> Result<(), TransferError> {
    let url = || slot.url.clone();
    if let Some(expected) = slot.size_bytes.filter(|&size| size != done.size_bytes) {
        return Err(TransferError::Size { url: url(), found: done.size_bytes, expected });
    }
    match slot.blake3.filter(|&digest| digest != done.blake3) {
        Some(expected) => Err(TransferError::Digest { url: url(), found: done.blake3, expected }),
        None => Ok(()),
    }
}

/// Moves the finished file to its name, durably.
fn publish(partial: &Path, dest: &Path) -> Result<(), TransferError> {
    let failed = |source| TransferError::File { action: "create", path: dest.to_owned(), source };
    std::fs::rename(partial, dest).map_err(failed)?;
    let folder = dest.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|dir| dir.sync_all()).map_err(failed)
}

enum Order {
    Write(Vec<Bytes>),
    Restart,
}

/// A thread that writes and hashes while the network delivers.
struct Sink {
    orders: Option<tokio::sync::mpsc::Sender<Order>>,
    worker: Option<tokio::task::JoinHandle<std::io::Result<Transferred>>>,
    path: PathBuf,
    batch: Vec<Bytes>,
    batch_bytes: usize,
    received: u64,
}

impl Sink {
    fn start(path: &Path) -> Result<Self, TransferError> {
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(path).map_err(
            |source| TransferError::File { action: "create", path: path.to_owned(), source },
        )?;
        let (orders, inbox) = tokio::sync::mpsc::channel(QUEUE);
        let worker = tokio::task::spawn_blocking(move || write_all(file, inbox));
        Ok(Self {
            orders: Some(orders),
            worker: Some(worker),
            path: path.to_owned(),
            batch: Vec::new(),
            batch_bytes: 0,
            received: 0,
        })
    }

    async fn push(&mut self, chunk: Bytes) -> Result<(), TransferError> {
        self.received = self.received.saturating_add(chunk.len() as u64);
        self.batch_bytes += chunk.len();
        self.batch.push(chunk);
        if self.batch_bytes >= BATCH_BYTES { self.flush().await } else { Ok(()) }
    }

    async fn flush(&mut self) -> Result<(), TransferError> {
        self.batch_bytes = 0;
        let batch = std::mem::take(&mut self.batch);
        self.order(Order::Write(batch)).await
    }

    async fn restart(&mut self, _url: &PresignedUrl) -> Result<(), TransferError> {
        self.batch.clear();
        self.batch_bytes = 0;
        if self.received == 0 {
            return Ok(());
        }
        self.received = 0;
        self.order(Order::Restart).await
    }

    async fn order(&mut self, order: Order) -> Result<(), TransferError> {
        let sent = match &self.orders {
            Some(orders) => orders.send(order).await.is_ok(),
            None => false,
        };
        // The worker hangs up only when the disk failed: its result says how.
        if sent { Ok(()) } else { self.join().await.map(|_| ()) }
    }

    async fn join(&mut self) -> Result<Transferred, TransferError> {
        self.orders = None;
        let ended = match self.worker.take() {
            Some(worker) => worker.await.unwrap_or_else(|e| Err(std::io::Error::other(e))),
            None => Err(std::io::Error::other("the writer has ended")),
        };
        ended.map_err(|source| TransferError::File {
            action: "write",
            path: self.path.clone(),
            source,
        })
    }

    async fn finish(mut self) -> Result<Transferred, TransferError> {
        self.flush().await?;
        self.join().await
    }
}

fn write_all(
    mut file: File,
    mut inbox: tokio::sync::mpsc::Receiver<Order>,
) -> std::io::Result<Transferred> {
    let mut hasher = blake3::Hasher::new();
    while let Some(order) = inbox.blocking_recv() {
        match order {
            Order::Write(batch) => {
                for chunk in &batch {
                    file.write_all(chunk)?;
                    hasher.update(chunk);
                }
            }
            Order::Restart => {
                file.set_len(0)?;
                file.rewind()?;
                hasher.reset();
            }
        }
    }
    file.sync_all()?;
    Ok(Transferred {
        size_bytes: hasher.count(),
        blake3: B256::from(*hasher.finalize().as_bytes()),
    })
}
