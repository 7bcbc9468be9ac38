//! The thread that runs the machine: what happened goes in, what is to be done comes out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::runtime::Handle as Runtime;
use tokio::sync::{mpsc, watch};

use super::link::{Handle, Writer};
use super::{NetError, Shell, now_ms};
use crate::book::Book;
use crate::chain::{Broken, Chain};
use crate::engine::{Engine, Input, Link, Output, PeerView, Reason};

/// How often the address book is written, milliseconds.
const SAVE_MS: u64 = 30_000;

/// What the thread is told.
#[derive(Debug)]
pub(super) enum Event {
    Opened { link: Link, handle: Handle, writer: Writer, input: Input },
    Input(Input),
    Stop,
}

pub(super) struct Worker<C: Chain> {
    engine: Engine<C>,
    chain: Arc<C>,
    shell: Shell,
    runtime: Runtime,
    links: BTreeMap<Link, Handle>,
    told: watch::Sender<Arc<[PeerView]>>,
    path: Option<PathBuf>,
    saved: Book,
    saved_ms: u64,
}

impl<C: Chain> Worker<C> {
    pub(super) fn new(
        engine: Engine<C>,
        chain: Arc<C>,
        shell: Shell,
        runtime: Runtime,
        told: watch::Sender<Arc<[PeerView]>>,
        path: Option<PathBuf>,
    ) -> Self {
        let saved = engine.book().clone();
        Self {
            engine,
            chain,
            shell,
            runtime,
            links: BTreeMap::new(),
            told,
            path,
            saved,
            saved_ms: now_ms(),
        }
    }

    pub(super) fn run(mut self, mut inbox: mpsc::Receiver<Event>) {
        while let Some(event) = inbox.blocking_recv() {
            let input = match event {
                Event::Stop => break,
                Event::Opened { link, handle, writer, input } => {
                    self.links.insert(link, handle);
                    let chain = Arc::clone(&self.chain);
                    self.shell.tasks.spawn_on(writer.run(chain), &self.runtime);
                    input
                }
                Event::Input(input) => input,
            };
            let (ticked, closed) = match &input {
                Input::Tick => (true, None),
                Input::Closed(link) => (false, Some(*link)),
                _ => (false, None),
            };
            if let Err(broken) = self.handle(input) {
                // The chain tells its own subscribers; peers are of no use without it.
                tracing::error!(%broken, "peers end");
                break;
            }
            if let Some(link) = closed {
                self.links.remove(&link);
            }
            if ticked {
                let peers = self.engine.peers(now_ms());
                self.told.send_replace(peers.into());
                let banned = self.engine.banned_origins(now_ms());
                self.shell.banned.send_replace(banned.into());
                self.save(SAVE_MS);
            }
        }
        for handle in self.links.values() {
            handle.close(Reason::Stopping);
        }
        self.save(0);
    }

    /// Lets the machine handle something, and what follows from that.
    fn handle(&mut self, input: Input) -> Result<(), Broken> {
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            for output in self.engine.handle(now_ms(), input)? {
                match output {
                    Output::Send(link, message) => {
                        if self.links.get(&link).is_some_and(|handle| !handle.send(&message)) {
                            inputs.push(Input::Slow(link));
                        }
                    }
                    Output::Serve(link, part) => {
                        if self.links.get(&link).is_some_and(|handle| !handle.serve(part)) {
                            inputs.push(Input::Slow(link));
                        }
                    }
                    Output::Close(link, reason) => {
                        if let Some(handle) = self.links.remove(&link) {
                            handle.close(reason);
                        }
                    }
                    Output::Call(contact) => {
                        let _entered = self.runtime.enter();
                        self.shell.call(contact);
                    }
                }
            }
        }
        Ok(())
    }

    /// Writes the address book if it changed and the last time is long enough ago.
    fn save(&mut self, after_ms: u64) {
        let now_ms = now_ms();
        let Some(path) = &self.path else { return };
        if now_ms.saturating_sub(self.saved_ms) < after_ms || *self.engine.book() == self.saved {
            return;
        }
        match write_book(path, self.engine.book()) {
            Ok(()) => self.saved = self.engine.book().clone(),
            Err(error) => {
                tracing::warn!(%error, path = %path.display(), "the address book is not kept");
            }
        }
        self.saved_ms = now_ms;
    }
}

/// The book of a file; an empty one where there is none yet.
pub(super) fn read_book(path: &Path) -> Result<Book, NetError> {
    let failed = |error| NetError::Book(path.to_owned(), error);
    match std::fs::read(path) {
        Ok(text) => Book::from_json(&text).map_err(|error| failed(error.into())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Book::default()),
        Err(error) => Err(failed(error)),
    }
}

/// Whole or not at all.
fn write_book(path: &Path, book: &Book) -> std::io::Result<()> {
    let new = path.with_extension("new");
    std::fs::write(&new, book.to_json())?;
    std::fs::rename(&new, path)
}
