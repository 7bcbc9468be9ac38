//! What happened in a rental, for those who watch: a bounded ring, resumable by id.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;

use crate::door::{Event, EventKind, Progress};

/// Most events that are kept.
const MAX_EVENTS: usize = 2_000;
/// Least time between two progress events of the same thing, milliseconds.
const PROGRESS_MS: u64 = 200;

/// The events of one rental.
#[derive(Debug)]
pub(crate) struct EventLog {
    ring: Mutex<VecDeque<Event>>,
    last: watch::Sender<u64>,
}

impl Default for EventLog {
    fn default() -> Self {
        Self { ring: Mutex::default(), last: watch::Sender::new(0) }
    }
}

impl EventLog {
    /// Adds an event; progress that came too fast is dropped unless it is the last of its thing.
    pub(crate) fn push(&self, at_ms: u64, kind: EventKind) {
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        if is_too_fast(&ring, at_ms, &kind) {
            return;
        }
        // From the clock, so that ids go on growing when the agent is started again.
        let id = at_ms.max(self.last.borrow().saturating_add(1));
        ring.push_back(Event { id, at_ms, kind });
        if ring.len() > MAX_EVENTS {
            ring.pop_front();
        }
        drop(ring);
        self.last.send_replace(id);
    }

    /// At most `most` events after `id`, oldest first.
    #[must_use]
    pub(crate) fn after(&self, id: u64, most: usize) -> Vec<Event> {
        let ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        ring.iter().filter(|event| event.id > id).take(most).cloned().collect()
    }

    /// Follows the id of the last event.
    #[must_use]
    pub(crate) fn follow(&self) -> watch::Receiver<u64> {
        self.last.subscribe()
    }
}

fn is_too_fast(ring: &VecDeque<Event>, at_ms: u64, kind: &EventKind) -> bool {
    let EventKind::Progress { what, name, done, total } = kind else { return false };
    let whole = *total > 0 && done >= total;
    let same = |event: &&Event| matches!(&event.kind, EventKind::Progress { what: w, name: n, .. } if w == what && n == name);
    let recent = ring.iter().rev().take(20).find(same);
    *what != Progress::Parts
        && !whole
        && recent.is_some_and(|event| at_ms < event.at_ms.saturating_add(PROGRESS_MS))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remark(text: &str) -> EventKind {
        EventKind::Remark { text: text.to_owned() }
    }

    #[test]
    fn events_are_resumable_by_id_and_bounded() {
        let log = EventLog::default();
        for n in 0..(MAX_EVENTS as u64 + 10) {
            log.push(n, remark("x"));
        }
        let all = log.after(0, usize::MAX);
        assert_eq!(all.len(), MAX_EVENTS);
        assert_eq!(all[0].id, 11, "the oldest are gone");
        assert_eq!(log.after(2_009, 10).len(), 1);
        assert_eq!(*log.follow().borrow(), 2_010);
        let restarted = EventLog::default();
        restarted.push(MAX_EVENTS as u64 + 100, remark("y"));
        assert_eq!(restarted.after(2_010, 10).len(), 1, "who resumes after a restart sees it");
    }

    #[test]
    fn progress_is_thinned_but_never_its_end() {
        let log = EventLog::default();
        for done in 0..=100 {
            let name = "layer".to_owned();
            log.push(done, EventKind::Progress { what: Progress::Image, name, done, total: 100 });
        }
        let seen = log.after(0, 1_000);
        assert_eq!(seen.len(), 2, "{seen:?}");
    }
}
