//! One connection: frames in, messages out, both within bounds.

use core::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{Bytes, BytesMut};
use iroh::endpoint::{Connection, RecvStream, SendStream};
use tokio::sync::mpsc;

use super::Shell;
use super::worker::Event;
use crate::chain::Chain;
use crate::contact::PeerId;
use crate::engine::{Input, Link, Reason};
use crate::wire::{Frame, Message, Part, WireError};

/// Messages that wait to be sent to one peer.
const QUEUE: usize = 256;
/// Bytes of them; parts of blocks are read only when it is their turn.
const QUEUE_BYTES: usize = 2 * 1024 * 1024;
/// Room that is made at once for a payload that is still to come, bytes.
const CHUNK: usize = 64 * 1024;

/// A connection that stands.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) connection: Connection,
    pub(super) send: SendStream,
    pub(super) receive: RecvStream,
    pub(super) called: bool,
    pub(super) address: Option<SocketAddr>,
}

/// What waits to be sent.
#[derive(Debug)]
pub(super) enum Outgoing {
    Frame(Vec<u8>),
    Part(Part),
}

/// What the two directions share.
#[derive(Debug, Default)]
struct Counts {
    queued_bytes: AtomicUsize,
    /// Answers that may still come.
    awaited: AtomicUsize,
}

/// The machine's end of a connection.
#[derive(Debug)]
pub(super) struct Handle {
    connection: Connection,
    queue: mpsc::Sender<Outgoing>,
    counts: Arc<Counts>,
}

/// The writing half, until it is given a chain to read parts from.
#[derive(Debug)]
pub(super) struct Writer {
    send: SendStream,
    queue: mpsc::Receiver<Outgoing>,
    counts: Arc<Counts>,
}

/// The reading half.
#[derive(Debug)]
pub(super) struct Reader {
    link: Link,
    receive: RecvStream,
    counts: Arc<Counts>,
    events: mpsc::Sender<Event>,
}

impl Made {
    /// Splits it into what the machine gets and what reads.
    pub(super) fn open(self, link: Link, shell: &Shell) -> (Event, Reader) {
        let Self { connection, send, receive, called, address } = self;
        let (queue, waiting) = mpsc::channel(QUEUE);
        let counts = Arc::new(Counts::default());
        let peer = PeerId::new(*connection.remote_id().as_bytes());
        let handle = Handle { connection, queue, counts: Arc::clone(&counts) };
        let writer = Writer { send, queue: waiting, counts: Arc::clone(&counts) };
        let input = Input::Connected { link, peer, called, address };
        let reader = Reader { link, receive, counts, events: shell.events.clone() };
        (Event::Opened { link, handle, writer, input }, reader)
    }
}

impl Handle {
    /// Queues a message; false if the peer reads too slowly.
    pub(super) fn send(&self, message: &Message) -> bool {
        let frame = message.encode();
        let length = frame.len();
        // Before it can be answered.
        self.counts.awaited.fetch_add(message.asks(), Ordering::SeqCst);
        let queued = self.counts.queued_bytes.fetch_add(length, Ordering::SeqCst);
        queued.saturating_add(length) <= QUEUE_BYTES && self.queue(Outgoing::Frame(frame))
    }

    /// Queues a part that is read when it is its turn; false if the peer reads too slowly.
    pub(super) fn serve(&self, part: Part) -> bool {
        self.queue(Outgoing::Part(part))
    }

    fn queue(&self, outgoing: Outgoing) -> bool {
        // A closed queue is a closed connection, which its reader tells.
        !matches!(self.queue.try_send(outgoing), Err(mpsc::error::TrySendError::Full(_)))
    }

    /// Closes the connection.
    pub(super) fn close(&self, reason: Reason) {
        let text = format!("{reason:?}");
        self.connection.close(reason.code().into(), text.as_bytes());
    }
}

impl Writer {
    /// Writes what is queued until the connection ends.
    pub(super) async fn run<C: Chain>(mut self, chain: Arc<C>) {
        while let Some(outgoing) = self.queue.recv().await {
            let written = match outgoing {
                Outgoing::Frame(frame) => {
                    let written = self.send.write_all(&frame).await;
                    self.counts.queued_bytes.fetch_sub(frame.len(), Ordering::SeqCst);
                    written
                }
                Outgoing::Part(part) => {
                    let chain = Arc::clone(&chain);
                    let read = tokio::task::spawn_blocking(move || chain.part(part)).await;
                    let message = match read {
                        Ok(Ok(Some(bytes))) => Message::Part(part, bytes),
                        // A chain that failed tells so at its next import; until then it has nothing.
                        Ok(Ok(None) | Err(_)) | Err(_) => Message::Missing(part),
                    };
                    self.send.write_all(&message.encode()).await
                }
            };
            if written.is_err() {
                return;
            }
        }
    }
}

/// Why nothing more is read.
enum End {
    Closed,
    Wrong(WireError),
}

impl Reader {
    /// Reads until the connection ends or says something that is no message.
    pub(super) async fn run(mut self) {
        loop {
            let event = match self.next().await {
                Ok(message) => Event::Input(Input::Message(self.link, message)),
                Err(End::Closed) => break,
                Err(End::Wrong(error)) => {
                    let event = Event::Input(Input::Undecodable(self.link, error));
                    let _gone = self.events.send(event).await;
                    break;
                }
            };
            if self.events.send(event).await.is_err() {
                return;
            }
        }
        let _gone = self.events.send(Event::Input(Input::Closed(self.link))).await;
    }

    async fn next(&mut self) -> Result<Message, End> {
        let mut head = [0; Frame::BYTES];
        self.receive.read_exact(&mut head).await.map_err(|_| End::Closed)?;
        let frame = Frame::read(head).map_err(End::Wrong)?;
        if frame.kind.is_answer() && !self.take_awaited() {
            return Err(End::Wrong(WireError::Unasked(frame.kind.byte())));
        }
        let payload = self.payload(frame.length).await?;
        Message::decode(frame.kind, payload).map_err(End::Wrong)
    }

    /// Room is made as bytes turn up, not as they are promised.
    async fn payload(&mut self, length: usize) -> Result<Bytes, End> {
        let mut payload = BytesMut::with_capacity(length.min(CHUNK));
        while payload.len() < length {
            let left = length.saturating_sub(payload.len()).min(CHUNK);
            let chunk = self.receive.read_chunk(left).await.map_err(|_| End::Closed)?;
            payload.extend_from_slice(&chunk.ok_or(End::Closed)?);
        }
        Ok(payload.freeze())
    }

    fn take_awaited(&self) -> bool {
        let order = Ordering::SeqCst;
        self.counts.awaited.fetch_update(order, order, |count| count.checked_sub(1)).is_ok()
    }
}
