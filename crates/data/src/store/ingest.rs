//! From a request's body to a synced blob, digested on the way.

use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use md5::{Digest, Md5};
use s3s::checksum::ChecksumHasher;
use s3s::dto::{Checksum, StreamingBlob};
use s3s::{S3Error, S3Result, s3_error};
use tokio::sync::mpsc;

use super::Inner;
use super::blob::BlobId;
use super::error::{failed, no_room};
use super::record::Piece;

/// How much is gathered before it is handed to disk and digests together.
const BATCH_BYTES: u64 = 1 << 20;
/// How many batches may wait for the slowest of them.
const QUEUE: usize = 8;
/// How much is written before the disk is told to begin with it.
const FLUSH_BYTES: u64 = 32 << 20;
/// The largest object of one put or part, as S3 has it.
const MAX_PUT_BYTES: u64 = 5 << 30;
/// The longest silence of a client in the middle of a body.
const SILENCE: Duration = Duration::from_secs(60);

/// How much of a refused body is still read, and for how long.
const DRAIN_BYTES: u64 = 64 << 20;
const DRAIN_TIME: Duration = Duration::from_secs(10);

/// What a body came to.
pub(super) struct Ingested {
    pub(super) pending: Pending,
    pub(super) piece: Piece,
    /// If it was wanted.
    pub(super) md5: Option<[u8; 16]>,
    pub(super) blake3: blake3::Hash,
    pub(super) checksum: Checksum,
}

impl Ingested {
    /// The entity tag (D-3).
    pub(super) fn tag(&self) -> String {
        match self.md5 {
            Some(md5) => hex::encode(md5),
            // S3 gives such tags, with a count of parts, where they are no MD5: no client compares one.
            None => format!("{}-1", hex::encode(&self.blake3.as_bytes()[..16])),
        }
    }
}

/// What is computed on the way, beside BLAKE3.
pub(super) struct Wanted {
    /// Of all digests the slowest, and serial: it alone bounds a put to some 600 MB/s.
    pub(super) md5: bool,
    pub(super) checksum: ChecksumHasher,
}

/// A blob that goes again unless it is kept.
pub(super) struct Pending {
    store: Arc<Inner>,
    id: Option<BlobId>,
}

impl Pending {
    pub(super) fn new(store: &Arc<Inner>, id: BlobId) -> Self {
        Self { store: Arc::clone(store), id: Some(id) }
    }

    /// A record names the blob now.
    pub(super) fn keep(mut self) {
        self.id = None;
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.store.blobs.remove(id);
        }
    }
}

type Batch = Arc<Vec<Bytes>>;

struct Digests {
    md5: Option<[u8; 16]>,
    blake3: blake3::Hash,
    checksum: Checksum,
}

/// Writes `body` to a new blob: synced, and its name too, when this returns.
pub(super) async fn ingest(
    store: &Arc<Inner>,
    body: Option<StreamingBlob>,
    length: Option<i64>,
    wanted: Wanted,
) -> S3Result<Ingested> {
    let length = length.map(u64::try_from).transpose().map_err(|_| s3_error!(InvalidArgument))?;
    let mut source = Source { body, received: 0, length };
    let outcome = take(store, &mut source, wanted).await;
    if outcome.is_err()
        && let Some(body) = &mut source.body
    {
        read_on(body).await;
    }
    outcome
}

async fn take(store: &Arc<Inner>, source: &mut Source, wanted: Wanted) -> S3Result<Ingested> {
    let expected = source.length.unwrap_or(0);
    if expected > MAX_PUT_BYTES {
        return Err(s3_error!(EntityTooLarge));
    }
    let _turn = store.writes.acquire().await.map_err(S3Error::internal_error)?;
    let room = store.blobs.room().map_err(failed)?;
    if room < expected.max(1) {
        return Err(no_room());
    }
    let first = source.batch().await?;
    let id = BlobId::random();
    let file = store.blobs.create(id).map_err(failed)?;
    let pending = Pending::new(store, id);
    let digests = if source.body.is_none() {
        blocking(move || at_once(file, &first, wanted)).await?
    } else {
        beside(file, first, source, wanted).await?
    };
    source.check()?;
    let naming = Arc::clone(store);
    blocking(move || naming.blobs.sync_name(id)).await?;
    Ok(Ingested {
        pending,
        piece: Piece { blob: id, size: source.received },
        md5: digests.md5,
        blake3: digests.blake3,
        checksum: digests.checksum,
    })
}

struct Source {
    body: Option<StreamingBlob>,
    received: u64,
    length: Option<u64>,
}

impl Source {
    /// Gathers the next batch; `body` is `None` once it has ended.
    async fn batch(&mut self) -> S3Result<Vec<Bytes>> {
        let mut batch = Vec::new();
        let mut size = 0_u64;
        while size < BATCH_BYTES
            && let Some(body) = &mut self.body
        {
            let next = tokio::time::timeout(SILENCE, body.next()).await;
            match next.map_err(|_| s3_error!(RequestTimeout))? {
                Some(Ok(chunk)) => {
                    size += chunk.len() as u64;
                    batch.push(chunk);
                }
                Some(Err(error)) => return Err(broken(error)),
                None => self.body = None,
            }
        }
        self.received += size;
        if self.received > self.length.unwrap_or(MAX_PUT_BYTES) {
            return Err(s3_error!(EntityTooLarge));
        }
        Ok(batch)
    }

    fn check(&self) -> S3Result<()> {
        match self.length {
            Some(length) if length != self.received => Err(s3_error!(IncompleteBody)),
            _ => Ok(()),
        }
    }
}

/// Reads on for a while after a refusal: a client that is still sending would not see it.
pub(super) async fn read_on<E>(body: &mut (impl Stream<Item = Result<Bytes, E>> + Unpin)) {
    let mut left = DRAIN_BYTES;
    let reading = async {
        while left > 0
            && let Some(Ok(chunk)) = body.next().await
        {
            left = left.saturating_sub(chunk.len() as u64);
        }
    };
    drop(tokio::time::timeout(DRAIN_TIME, reading).await);
}

/// A body that failed: what `s3s` found wrong with it, else that it broke off.
fn broken(error: s3s::StdError) -> S3Error {
    match error.downcast::<S3Error>() {
        Ok(error) => *error,
        Err(error) => S3Error::with_source(s3s::S3ErrorCode::IncompleteBody, error),
    }
}

/// A small body: one thread does everything.
fn at_once(mut file: File, batch: &[Bytes], wanted: Wanted) -> io::Result<Digests> {
    let mut checksum = wanted.checksum;
    let mut md5 = wanted.md5.then(Md5::new);
    let mut blake3 = blake3::Hasher::new();
    for chunk in batch {
        file.write_all(chunk)?;
        if let Some(md5) = &mut md5 {
            md5.update(chunk);
        }
        blake3.update(chunk);
        checksum.update(chunk);
    }
    file.sync_all()?;
    Ok(Digests {
        md5: md5.map(|md5| md5.finalize().into()),
        blake3: blake3.finalize(),
        checksum: checksum.finalize(),
    })
}

/// A large body: disk, MD5 if wanted, and the other digests each on a thread, on the same memory.
async fn beside(
    file: File,
    first: Vec<Bytes>,
    source: &mut Source,
    wanted: Wanted,
) -> S3Result<Digests> {
    let checksum = wanted.checksum;
    let (to_disk, disk_inbox) = mpsc::channel(QUEUE);
    let (to_md5, md5) = wanted
        .md5
        .then(|| mpsc::channel(QUEUE))
        .map(|(to, inbox)| (to, tokio::task::spawn_blocking(move || digest_md5(inbox))))
        .unzip();
    let (to_rest, rest_inbox) = mpsc::channel(QUEUE);
    let disk = tokio::task::spawn_blocking(move || write(&file, disk_inbox));
    let rest = tokio::task::spawn_blocking(move || digest_rest(rest_inbox, checksum));
    let mut batch: Batch = Arc::new(first);
    let fed: S3Result<()> = loop {
        if !batch.is_empty() {
            let mut sent = to_disk.send(Arc::clone(&batch)).await.is_ok();
            if let Some(to_md5) = &to_md5 {
                sent &= to_md5.send(Arc::clone(&batch)).await.is_ok();
            }
            sent &= to_rest.send(batch).await.is_ok();
            if !sent {
                break Ok(()); // The one that hung up says why below.
            }
        }
        if source.body.is_none() {
            break Ok(());
        }
        batch = match source.batch().await {
            Ok(batch) => Arc::new(batch),
            Err(error) => break Err(error),
        };
    };
    drop((to_disk, to_md5, to_rest));
    // All are joined before anything returns, so that no thread outlives its blob.
    let md5 = futures::future::OptionFuture::from(md5);
    let (disk, md5, rest) = tokio::join!(disk, md5, rest);
    fed?;
    disk.map_err(S3Error::internal_error)?.map_err(failed)?;
    let (blake3, checksum) = rest.map_err(S3Error::internal_error)?;
    Ok(Digests { md5: md5.transpose().map_err(S3Error::internal_error)?, blake3, checksum })
}

fn write(file: &File, mut inbox: mpsc::Receiver<Batch>) -> io::Result<()> {
    std::thread::scope(|scope| {
        let (flush, orders) = std::sync::mpsc::sync_channel::<()>(1);
        let flushed = file;
        let mut flusher = None;
        let mut unflushed = 0_u64;
        let mut writer = file;
        let mut orders = Some(orders);
        while let Some(batch) = inbox.blocking_recv() {
            for chunk in batch.iter() {
                writer.write_all(chunk)?;
                unflushed += chunk.len() as u64;
            }
            if unflushed >= FLUSH_BYTES {
                unflushed = 0;
                if let Some(orders) = orders.take() {
                    flusher = Some(
                        scope.spawn(move || orders.iter().try_for_each(|()| flushed.sync_data())),
                    );
                }
                // One that is still busy takes these bytes along with its next turn.
                let _busy = flush.try_send(());
            }
        }
        drop(flush);
        if let Some(flusher) = flusher {
            flusher.join().map_err(|_| io::Error::other("the flushing thread ended"))??;
        }
        file.sync_all()
    })
}

fn digest_md5(mut inbox: mpsc::Receiver<Batch>) -> [u8; 16] {
    let mut md5 = Md5::new();
    while let Some(batch) = inbox.blocking_recv() {
        batch.iter().for_each(|chunk| md5.update(chunk));
    }
    md5.finalize().into()
}

fn digest_rest(
    mut inbox: mpsc::Receiver<Batch>,
    mut checksum: ChecksumHasher,
) -> (blake3::Hash, Checksum) {
    let mut blake3 = blake3::Hasher::new();
    while let Some(batch) = inbox.blocking_recv() {
        for chunk in batch.iter() {
            blake3.update(chunk);
            checksum.update(chunk);
        }
    }
    (blake3.finalize(), checksum.finalize())
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> S3Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(S3Error::internal_error)?.map_err(failed)
}
