//! From blobs to a response's body.

use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;

use bytes::Bytes;
use s3s::dto::StreamingBlob;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::Pinned;
use super::record::Piece;

/// How much is read from disk at once.
const CHUNK_BYTES: u64 = 1 << 20;
/// How many chunks may wait for the client.
const QUEUE: usize = 3;

/// Streams `range` of the content that `pieces` are, which `pinned` keeps in place.
pub(super) fn stream(pinned: Pinned, pieces: Vec<Piece>, range: Range<u64>) -> StreamingBlob {
    let (sender, receiver) = mpsc::channel(QUEUE);
    if range.is_empty() {
        return StreamingBlob::wrap(ReceiverStream::new(receiver));
    }
    tokio::task::spawn_blocking(move || {
        if let Err(error) = send(&pinned, &pieces, range, &sender) {
            tracing::error!(%error, "reading a blob failed");
            drop(sender.blocking_send(Err(error)));
        }
    });
    StreamingBlob::wrap::<_, io::Error>(ReceiverStream::new(receiver))
}

fn send(
    pinned: &Pinned,
    pieces: &[Piece],
    range: Range<u64>,
    sender: &mpsc::Sender<io::Result<Bytes>>,
) -> io::Result<()> {
    let mut begins = 0_u64;
    for piece in pieces {
        let ends = begins + piece.size;
        let (from, to) = (range.start.max(begins), range.end.min(ends));
        if from < to {
            let mut file = pinned.store.blobs.read(piece.blob)?;
            file.seek(SeekFrom::Start(from - begins))?;
            let mut left = to - from;
            while left > 0 {
                let want = left.min(CHUNK_BYTES);
                let mut chunk = Vec::with_capacity(usize::try_from(want).unwrap_or(0));
                (&mut file).take(want).read_to_end(&mut chunk)?;
                if chunk.len() as u64 != want {
                    return Err(io::Error::new(
                        io::ErrorKind::UnexpectedEof,
                        "a blob is cut short",
                    ));
                }
                left -= want;
                if sender.blocking_send(Ok(Bytes::from(chunk))).is_err() {
                    return Ok(()); // The client is gone.
                }
            }
        }
        begins = ends;
    }
    Ok(())
}
