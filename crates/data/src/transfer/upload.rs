//! From a file into a slot.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use alloy_primitives::B256;
use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use tokio_stream::wrappers::ReceiverStream;

use super::client::{Shared, network, refused};
use super::{Progress, TransferError, Transferred, Transfers};
use crate::PresignedUrl;

/// How much is read from disk at once.
const CHUNK_BYTES: usize = 1 << 20;
/// How many chunks may wait for the network.
const QUEUE: usize = 4;

impl Transfers {
    /// Sends the file `path` to `url` and says what was sent (D-41).
    ///
    /// Each try sends the whole file under the same name, so that repeating it is harmless. The
    /// digest is taken of exactly the bytes that were sent.
    ///
    /// # Errors
    /// [`TransferError`]; [`TransferError::Changed`] if the file did not hold still.
    pub async fn upload(
        &self,
        path: &Path,
        url: &PresignedUrl,
        progress: &dyn Progress,
    ) -> Result<Transferred, TransferError> {
        self.patiently(|| self.send_file(path, url, progress)).await
    }

    /// Sends a small object from memory, as log tails and manifests are.
    ///
    /// # Errors
    /// [`TransferError`].
    pub async fn upload_bytes(
        &self,
        content: Bytes,
        url: &PresignedUrl,
    ) -> Result<Transferred, TransferError> {
        self.patiently(|| async {
            let request = self.client(url).put(url.expose()).body(content.clone());
            let answer = request.send().await.map_err(|source| network(url, source))?;
            if !answer.status().is_success() {
                return Err(refused(url, answer).await);
            }
            Ok(Transferred {
                size_bytes: content.len() as u64,
                blake3: B256::from(*blake3::hash(&content).as_bytes()),
            })
        })
        .await
    }

    async fn send_file(
        &self,
        path: &Path,
        url: &PresignedUrl,
        progress: &dyn Progress,
    ) -> Result<Transferred, TransferError> {
        let failed = |source| TransferError::File { action: "read", path: path.to_owned(), source };
        let file = File::open(path).map_err(failed)?;
        let meta = file.metadata().map_err(failed)?;
        if !meta.is_file() {
            return Err(failed(std::io::Error::other("not a regular file")));
        }
        let size_bytes = meta.len();
        let outcome = Shared::new(Mutex::new(None));
        let (sender, receiver) = tokio::sync::mpsc::channel(QUEUE);
        let (sent_sender, mut sent) = tokio::sync::watch::channel(0_u64);
        let reader = {
            let outcome = Shared::clone(&outcome);
            tokio::task::spawn_blocking(move || {
                let result = read_all(file, size_bytes, &sender, &sent_sender);
                if let Ok(mut slot) = outcome.lock() {
                    *slot = Some(result);
                }
            })
        };
        let request = self
            .client(url)
            .put(url.expose())
            .header(CONTENT_LENGTH, size_bytes)
            .body(reqwest::Body::wrap_stream(ReceiverStream::new(receiver)));
        let sending = request.send();
        tokio::pin!(sending);
        let answer = loop {
            tokio::select! {
                answer = &mut sending => break answer,
                Ok(()) = sent.changed() => progress.advanced(*sent.borrow(), Some(size_bytes)),
            }
        };
        // The request is over, so the reader has ended or ends at its next chunk.
        drop(reader.await);
        let read = outcome.lock().ok().and_then(|mut slot| slot.take());
        conclude(path, url, size_bytes, answer, read).await.inspect(|done| {
            progress.advanced(done.size_bytes, Some(size_bytes));
        })
    }
}

type ReadOutcome = std::io::Result<Option<Transferred>>;

/// Joins what the reader and the server said.
async fn conclude(
    path: &Path,
    url: &PresignedUrl,
    size_bytes: u64,
    answer: Result<reqwest::Response, reqwest::Error>,
    read: Option<ReadOutcome>,
) -> Result<Transferred, TransferError> {
    let path_buf = || PathBuf::from(path);
    if let Some(Err(source)) = read {
        return match source.kind() {
            std::io::ErrorKind::UnexpectedEof => Err(TransferError::Changed(path_buf())),
            _ => Err(TransferError::File { action: "read", path: path_buf(), source }),
        };
    }
    let answer = answer.map_err(|source| network(url, source))?;
    if !answer.status().is_success() {
        return Err(refused(url, answer).await);
    }
    match read {
        Some(Ok(Some(done))) if done.size_bytes == size_bytes => Ok(done),
        _ => Err(TransferError::Changed(path_buf())),
    }
}

/// Reads exactly `size_bytes` and hashes them; `None` if the request ended first.
fn read_all(
    file: File,
    size_bytes: u64,
    sender: &tokio::sync::mpsc::Sender<std::io::Result<Bytes>>,
    sent: &tokio::sync::watch::Sender<u64>,
) -> ReadOutcome {
    let mut hasher = blake3::Hasher::new();
    let mut left = size_bytes;
    let mut file = file;
    while left > 0 {
        let want = usize::try_from(left).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
        let mut chunk = Vec::with_capacity(want);
        let read = (&mut file).take(want as u64).read_to_end(&mut chunk);
        let read = read.and_then(|read| {
            if read == want { Ok(()) } else { Err(std::io::ErrorKind::UnexpectedEof.into()) }
        });
        if let Err(error) = read {
            // Breaks the request off, so that a shortened body is never taken for the whole.
            drop(sender.blocking_send(Err(std::io::Error::new(error.kind(), "file ended early"))));
            return Err(error);
        }
        hasher.update(&chunk);
        left -= want as u64;
        if sender.blocking_send(Ok(Bytes::from(chunk))).is_err() {
            return Ok(None);
        }
        sent.send_replace(size_bytes - left);
    }
    if file.read(&mut [0_u8; 1])? != 0 {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Some(Transferred { size_bytes, blake3: B256::from(*hasher.finalize().as_bytes()) }))
}
