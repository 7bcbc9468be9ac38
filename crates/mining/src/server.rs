//! The host's side: says work to the tasks of a machine and verifies what they hand in.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::timeout;

use crate::Tally;
use crate::message::{Answer, FromHost, FromTask, MAX_TASK_FRAME, ProtocolError, Work, length_of};

/// Connections at a time; one more is closed at once (W-1).
pub const MAX_CONNECTIONS: usize = 16;
/// Refused certificates after which a connection ends (W-8).
pub const MAX_REFUSED: u32 = 3;
/// Work is said again this often, so that a task knows that its host lives (W-6).
pub const REPEAT: Duration = Duration::from_secs(30);
/// A frame that was begun ends within this time; an answer is read within it.
const PATIENCE: Duration = Duration::from_secs(30);
/// Works of one parent that still count: a template with more transactions voids nothing.
const MAX_RECENT: usize = 8;
/// Answers that wait to be sent to one task.
const MAX_ANSWERS: usize = 16;
/// Reports of a connection beyond two a second: a frozen task's may come in a row.
const FIRST_REPORTS: u64 = 8;

/// A verified certificate.
#[derive(Clone, Debug)]
pub struct Win {
    /// What it wins.
    pub work: Arc<Work>,
    /// Its encoding.
    pub certificate: Vec<u8>,
}

/// Works that can be won, and whether they were.
#[derive(Debug, Default)]
struct Book {
    /// Of one parent, the newest first.
    recent: VecDeque<(Arc<Work>, bool)>,
}

/// Serves a socket until the work's sender or the wins' receiver is gone.
///
/// Work is what its sender last sent; `None` means that there is nothing to mine. Each work's first
/// certificate goes to `wins`, and what tasks mined into `tally`.
///
/// # Errors
/// The listener's, except those of single connections.
pub async fn serve(
    listener: UnixListener,
    mut work: watch::Receiver<Option<Arc<Work>>>,
    wins: mpsc::Sender<Win>,
    tally: Tally,
) -> std::io::Result<()> {
    let book = Arc::new(Mutex::new(Book::default()));
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut tasks = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            changed = work.changed() => {
                // Conversations have their own receivers; here only the end counts.
                if changed.is_err() {
                    return Ok(());
                }
            }
            () = wins.closed() => return Ok(()),
            accepted = listener.accept() => {
                let (stream, _) = accepted?;
                // Dropped where the machine's tasks have enough.
                if let Ok(place) = Arc::clone(&places).try_acquire_owned() {
                    let (work, wins, book) = (work.clone(), wins.clone(), Arc::clone(&book));
                    let tally = tally.clone();
                    tasks.spawn(async move {
                        let _place = place;
                        let _connected = tally.connected();
                        if let Err(error) = converse(stream, work, wins, book, &tally).await {
                            tracing::debug!("a task's mining connection ended: {error}");
                        }
                    });
                }
            }
            Some(_) = tasks.join_next(), if !tasks.is_empty() => {}
        }
    }
}

/// Why a conversation ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("the connection failed")]
    Io(#[from] std::io::Error),
    #[error("the task breaks the protocol")]
    Protocol(#[from] ProtocolError),
    #[error("the task stopped in the middle of a frame, or does not read")]
    Slow(#[from] tokio::time::error::Elapsed),
    #[error("{MAX_REFUSED} certificates that prove nothing")]
    Refused,
    #[error("what it says it mined falls, or is said more than twice a second")]
    Reports,
}

async fn converse(
    stream: UnixStream,
    work: watch::Receiver<Option<Arc<Work>>>,
    wins: mpsc::Sender<Win>,
    book: Arc<Mutex<Book>>,
    tally: &Tally,
) -> Result<(), Ended> {
    let (reads, writes) = stream.into_split();
    let (answers, waiting) = mpsc::channel(MAX_ANSWERS);
    tokio::select! {
        ended = listen(reads, answers, wins, work.clone(), &book, tally) => ended,
        ended = talk(writes, work, waiting, &book, tally) => ended,
    }
}

/// Says work when it changes and from time to time, and answers.
async fn talk(
    mut to: OwnedWriteHalf,
    mut work: watch::Receiver<Option<Arc<Work>>>,
    mut answers: mpsc::Receiver<(u64, Answer)>,
    book: &Mutex<Book>,
    tally: &Tally,
) -> Result<(), Ended> {
    let mut repeat = tokio::time::interval(REPEAT);
    loop {
        let message = tokio::select! {
            answer = answers.recv() => {
                let Some((id, answer)) = answer else { return Ok(()) };
                FromHost::Answer(id, answer)
            }
            changed = work.changed() => {
                if changed.is_err() {
                    return Ok(());
                }
                said(newest(book, &mut work, tally))
            }
            _ = repeat.tick() => said(newest(book, &mut work, tally)),
        };
        timeout(PATIENCE, to.write_all(&message.encode())).await??;
    }
}

fn said(work: Option<Arc<Work>>) -> FromHost {
    work.map_or(FromHost::Idle, |work| FromHost::Work(Work::clone(&work)))
}

/// The newest work, noted before anybody hears of it. It is looked up under the book's lock, so that the
/// book never goes back.
fn newest(
    book: &Mutex<Book>,
    work: &mut watch::Receiver<Option<Arc<Work>>>,
    tally: &Tally,
) -> Option<Arc<Work>> {
    let mut book = book.lock().unwrap_or_else(PoisonError::into_inner);
    let work = work.borrow_and_update().clone();
    book.note(work.as_ref());
    if let Some(work) = &work {
        tally.said(work.difficulty.macs());
    }
    work
}

/// What one connection said it mined (W-9).
struct Reports {
    began: Instant,
    count: u64,
    macs: u64,
}

impl Reports {
    /// How much more it is than what was said before; `None` where the rule is broken.
    fn grown(&mut self, macs: u64) -> Option<u64> {
        self.count += 1;
        let allowed = FIRST_REPORTS.saturating_add(self.began.elapsed().as_secs() * 2);
        let grown = macs.checked_sub(self.macs).filter(|_| self.count <= allowed)?;
        self.macs = macs;
        Some(grown)
    }
}

/// Reads certificates and judges them, one at a time.
async fn listen(
    mut from: OwnedReadHalf,
    answers: mpsc::Sender<(u64, Answer)>,
    wins: mpsc::Sender<Win>,
    mut work: watch::Receiver<Option<Arc<Work>>>,
    book: &Mutex<Book>,
    tally: &Tally,
) -> Result<(), Ended> {
    let mut refused = 0;
    let mut reports = Reports { began: Instant::now(), count: 0, macs: 0 };
    let mut frame = Vec::new();
    loop {
        let mut head = [0; 4];
        // A task may be silent as long as it likes, but not within a frame.
        let [first, rest @ ..] = &mut head;
        match from.read(std::slice::from_mut(first)).await? {
            0 => return Ok(()),
            _ => timeout(PATIENCE, from.read_exact(rest)).await??,
        };
        frame.clear();
        frame.resize(length_of(head, MAX_TASK_FRAME)?, 0);
        timeout(PATIENCE, from.read_exact(&mut frame)).await??;
        let (id, certificate) = match FromTask::decode(&frame)? {
            FromTask::Win(id, certificate) => (id, certificate),
            FromTask::Mined(macs) => {
                tally.reported(reports.grown(macs).ok_or(Ended::Reports)?);
                continue;
            }
        };
        newest(book, &mut work, tally);
        let open = book.lock().unwrap_or_else(PoisonError::into_inner).open(id);
        let answer = match open {
            None => Answer::Stale,
            Some(work) if work.check(&certificate).is_err() => {
                refused += 1;
                Answer::Refused
            }
            Some(work) => {
                // Between the look and now another task may have won it.
                if book.lock().unwrap_or_else(PoisonError::into_inner).win(id) {
                    tally.proved(work.difficulty.macs());
                    if wins.send(Win { work, certificate }).await.is_err() {
                        return Ok(());
                    }
                    Answer::Taken
                } else {
                    Answer::Stale
                }
            }
        };
        if answers.send((id, answer)).await.is_err() {
            return Ok(());
        }
        if refused == MAX_REFUSED {
            return Err(Ended::Refused);
        }
    }
}

impl Book {
    fn note(&mut self, work: Option<&Arc<Work>>) {
        let Some(work) = work else { return self.recent.clear() };
        if self.recent.front().is_some_and(|(newest, _)| newest.id == work.id) {
            return;
        }
        let parent = work.ancestors.first();
        self.recent.retain(|(old, _)| old.ancestors.first() == parent && old.id != work.id);
        self.recent.push_front((Arc::clone(work), false));
        self.recent.truncate(MAX_RECENT);
    }

    /// The work with a number, unless it is over or won.
    fn open(&self, id: u64) -> Option<Arc<Work>> {
        let entry = self.recent.iter().find(|(work, won)| work.id == id && !won);
        entry.map(|(work, _)| Arc::clone(work))
    }

    /// Whether this is the first win of a work.
    fn win(&mut self, id: u64) -> bool {
        let entry = self.recent.iter_mut().find(|(work, _)| work.id == id);
        entry.is_some_and(|(_, won)| !std::mem::replace(won, true))
    }
}
