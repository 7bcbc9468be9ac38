//! The task's side of the conversation. Nothing here waits: each call does what can be done at once.

use std::io::{ErrorKind, Read};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::net::{
    AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, send, socket_with,
};

use crate::message::{Answer, FromHost, FromTask, MAX_HOST_FRAME, Work, length_of};

/// The most bytes that one call reads: a host that talks without end keeps nobody busy.
const READ_BYTES: usize = 8 * 1024;
/// The most bytes that wait to be sent: four certificates. What comes on top is dropped.
const WAITING_BYTES: usize = 4 * (crate::MAX_TASK_FRAME + 4);
/// Work that was not said again for this long is over (W-6).
const WORK_LIFE: Duration = Duration::from_secs(90);
/// Between two reports of what mined (W-9).
const REPORT: Duration = Duration::from_secs(1);
/// Before a second try to connect; doubled with each failure, up to a minute.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(60);

/// How a task's certificates fared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Handed in.
    pub handed_in: u64,
    /// Of these, what the host took.
    pub taken: u64,
    /// What came too late.
    pub stale: u64,
    /// What the host refused.
    pub refused: u64,
    /// Not handed in, as the host does not read.
    pub dropped: u64,
    /// Connections that ended, or that the host broke the rules on.
    pub lost: u64,
}

/// What mined on one connection, and what of it the host was told.
#[derive(Clone, Copy, Debug, Default)]
struct Reports {
    macs: u64,
    told: u64,
    told_at: Option<Instant>,
}

/// A conversation with a host that may be gone, slow, or lying.
#[derive(Debug)]
pub struct Client {
    path: PathBuf,
    stream: Option<UnixStream>,
    incoming: Vec<u8>,
    outgoing: Vec<u8>,
    work: Option<(Arc<Work>, Instant)>,
    counts: Counts,
    mined: Reports,
    retry_at: Option<Instant>,
    retry_after: Duration,
}

impl Client {
    /// A client of the socket at a path. Nobody need listen there yet.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            stream: None,
            incoming: Vec::new(),
            outgoing: Vec::new(),
            work: None,
            counts: Counts::default(),
            mined: Reports::default(),
            retry_at: None,
            retry_after: FIRST_RETRY,
        }
    }

    /// How certificates fared so far.
    #[must_use]
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// Whether a host is connected.
    #[must_use]
    pub const fn is_connected(&self) -> bool {
        self.stream.is_some()
    }

    /// Connects if it is time to, sends what waits, reads what is there, and gives the newest work.
    pub fn poll(&mut self, now: Instant) -> Option<Arc<Work>> {
        if self.stream.is_none() && self.retry_at.is_none_or(|at| now >= at) {
            self.connect(now);
        }
        if self.stream.is_some() && !(self.send() && self.receive(now)) {
            self.lose(now);
        }
        self.report(now);
        let work = self.work.as_ref();
        work.filter(|(_, said)| now.saturating_duration_since(*said) < WORK_LIFE)
            .map(|(work, _)| Arc::clone(work))
    }

    /// Hands in a certificate for the work with this number, as soon as the host reads.
    pub fn hand_in(&mut self, id: u64, certificate: Vec<u8>, now: Instant) {
        let frame = FromTask::Win(id, certificate).encode();
        if self.stream.is_none() || self.outgoing.len() + frame.len() > WAITING_BYTES {
            self.counts.dropped += 1;
            return;
        }
        self.outgoing.extend(frame);
        self.counts.handed_in += 1;
        if !self.send() {
            self.lose(now);
        }
    }

    /// Notes multiplications that mined, and tells the host how many these are together: at most once a
    /// second, and only where nothing else waits to be sent.
    pub fn mined(&mut self, macs: u64, now: Instant) {
        if self.stream.is_none() {
            return;
        }
        self.mined.macs = self.mined.macs.saturating_add(macs);
        self.report(now);
    }

    fn report(&mut self, now: Instant) {
        let Reports { macs, told, told_at } = self.mined;
        let due = told_at.is_none_or(|at| now.saturating_duration_since(at) >= REPORT);
        if macs == told || !due || !self.outgoing.is_empty() {
            return;
        }
        self.mined = Reports { macs, told: macs, told_at: Some(now) };
        self.outgoing.extend(FromTask::Mined(macs).encode());
        if !self.send() {
            self.lose(now);
        }
    }

    fn connect(&mut self, now: Instant) {
        match open(&self.path) {
            Ok(stream) => self.stream = Some(stream),
            Err(_) => self.wait(now),
        }
    }

    /// Ends the connection; what was to be said on it is void with its work.
    fn lose(&mut self, now: Instant) {
        self.stream = None;
        self.incoming.clear();
        self.outgoing.clear();
        self.work = None;
        self.mined = Reports::default();
        self.counts.lost += 1;
        self.wait(now);
    }

    fn wait(&mut self, now: Instant) {
        self.retry_at = now.checked_add(self.retry_after);
        self.retry_after = (self.retry_after * 2).min(LAST_RETRY);
    }

    /// Sends what can be sent at once; `false` if the connection is gone.
    fn send(&mut self) -> bool {
        let Some(stream) = &self.stream else { return false };
        while !self.outgoing.is_empty() {
            match send(stream, &self.outgoing, SendFlags::NOSIGNAL) {
                Ok(0) => return false,
                Ok(sent) => drop(self.outgoing.drain(..sent)),
                Err(rustix::io::Errno::AGAIN) => return true,
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return false,
            }
        }
        true
    }

    /// Reads what is there, up to a bound; `false` if the connection is gone or the host breaks the rules.
    fn receive(&mut self, now: Instant) -> bool {
        let mut left = READ_BYTES;
        let mut chunk = [0; 1024];
        while left > 0 {
            let Some(stream) = &mut self.stream else { return false };
            match stream.read(&mut chunk) {
                Ok(0) => return false,
                Ok(count) => {
                    left = left.saturating_sub(count);
                    self.incoming.extend(chunk.iter().take(count));
                    if !self.take_frames(now) {
                        return false;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        true
    }

    /// Takes whole frames off what came in; what is left is shorter than a frame may be.
    fn take_frames(&mut self, now: Instant) -> bool {
        while let Some((head, rest)) = self.incoming.split_first_chunk() {
            let Ok(length) = length_of(*head, MAX_HOST_FRAME) else { return false };
            let Some(frame) = rest.get(..length) else { return true };
            let Ok(message) = FromHost::decode(frame) else { return false };
            self.incoming.drain(..4 + length);
            self.hear(message, now);
        }
        true
    }

    fn hear(&mut self, message: FromHost, now: Instant) {
        // Who says something sensible is worth a quick return.
        self.retry_after = FIRST_RETRY;
        match message {
            FromHost::Work(new) => match &mut self.work {
                Some((work, said)) if **work == new => *said = now,
                _ => self.work = Some((Arc::new(new), now)),
            },
            FromHost::Idle => self.work = None,
            FromHost::Answer(_, Answer::Taken) => self.counts.taken += 1,
            FromHost::Answer(_, Answer::Stale) => self.counts.stale += 1,
            FromHost::Answer(_, Answer::Refused) => self.counts.refused += 1,
        }
    }
}

/// Connects without waiting, even where the host's queue is full.
fn open(path: &Path) -> rustix::io::Result<UnixStream> {
    let address = SocketAddrUnix::new(path)?;
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    connect(&socket, &address)?;
    Ok(UnixStream::from(socket))
}
