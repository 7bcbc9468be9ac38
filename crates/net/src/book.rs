//! The address book: peers that were heard of, where, how it went, and who is banned until when.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::contact::{Contact, MAX_ADDRESSES, PeerId};
use crate::score::BAN_MS;

/// How many peers are kept.
const CAPACITY: usize = 1_000;
/// How long to wait after the first failed call, milliseconds; doubled with each further one.
const FIRST_WAIT_MS: u64 = 1_000;
/// The longest wait before calling again, milliseconds.
const LAST_WAIT_MS: u64 = 3_600_000;
/// The same for peers that were named by the operator.
const LAST_WAIT_NAMED_MS: u64 = 10_000;

/// What is known of one peer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    addresses: Vec<core::net::SocketAddr>,
    /// When it was talked to last, Unix milliseconds; 0 for never.
    #[serde(default)]
    met_ms: u64,
    #[serde(default)]
    failures: u32,
    #[serde(default)]
    call_after_ms: u64,
    #[serde(default)]
    banned_until_ms: u64,
    /// Named by the operator: always called, never forgotten.
    #[serde(skip)]
    named: bool,
}

/// Peers that were heard of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Book {
    entries: BTreeMap<PeerId, Entry>,
}

impl Book {
    /// Adds a peer that the operator named.
    pub fn name(&mut self, contact: Contact) {
        let entry = self.entries.entry(contact.peer).or_default();
        entry.named = true;
        entry.addresses = contact.addresses;
        entry.call_after_ms = 0;
    }

    /// Adds what somebody said; what one knows by experience stays. True if that was news.
    pub fn hear(&mut self, contact: Contact) -> bool {
        let known = self.entries.contains_key(&contact.peer);
        if contact.addresses.is_empty() || (!known && !self.make_room()) {
            return false;
        }
        let entry = self.entries.entry(contact.peer).or_default();
        if entry.named || (entry.met_ms > 0 && entry.failures == 0) {
            return false;
        }
        let before = entry.addresses.len();
        for address in contact.addresses {
            if entry.addresses.len() < MAX_ADDRESSES && !entry.addresses.contains(&address) {
                entry.addresses.push(address);
            }
        }
        before != entry.addresses.len()
    }

    /// Forgets the peer that is least likely to answer, if there are too many.
    fn make_room(&mut self) -> bool {
        if self.entries.len() < CAPACITY {
            return true;
        }
        let worst = self
            .entries
            .iter()
            .filter(|(_, entry)| !entry.named && entry.banned_until_ms == 0 && entry.failures > 0)
            .max_by_key(|(_, entry)| (entry.failures, core::cmp::Reverse(entry.met_ms)))
            .map(|(peer, _)| *peer);
        // A banned key is worth least: its owner has as many as it likes.
        let banned = || {
            let banned = self.entries.iter().filter(|(_, entry)| entry.banned_until_ms > 0);
            banned.min_by_key(|(_, entry)| entry.banned_until_ms).map(|(peer, _)| *peer)
        };
        worst.or_else(banned).is_some_and(|peer| self.entries.remove(&peer).is_some())
    }

    /// A peer was talked to, and is reached at these addresses if it said so.
    pub fn met(&mut self, now_ms: u64, contact: Contact) {
        if !self.entries.contains_key(&contact.peer) && !self.make_room() {
            return;
        }
        let entry = self.entries.entry(contact.peer).or_default();
        entry.met_ms = now_ms;
        entry.failures = 0;
        entry.call_after_ms = now_ms.saturating_add(FIRST_WAIT_MS);
        if !contact.addresses.is_empty() && !entry.named {
            entry.addresses = contact.addresses;
        }
    }

    /// A peer could not be reached, or would not talk.
    pub fn failed(&mut self, now_ms: u64, peer: PeerId) {
        let Some(entry) = self.entries.get_mut(&peer) else { return };
        entry.failures = entry.failures.saturating_add(1);
        let longest = if entry.named { LAST_WAIT_NAMED_MS } else { LAST_WAIT_MS };
        let wait = FIRST_WAIT_MS.saturating_mul(1 << entry.failures.saturating_sub(1).min(12));
        entry.call_after_ms = now_ms.saturating_add(wait.min(longest));
    }

    /// Bans a peer for an hour.
    pub fn ban(&mut self, now_ms: u64, peer: PeerId) {
        if !self.entries.contains_key(&peer) && !self.make_room() {
            return;
        }
        self.entries.entry(peer).or_default().banned_until_ms = now_ms.saturating_add(BAN_MS);
    }

    /// Whether a peer is banned.
    #[must_use]
    pub fn is_banned(&self, now_ms: u64, peer: PeerId) -> bool {
        self.entries.get(&peer).is_some_and(|entry| entry.banned_until_ms > now_ms)
    }

    /// Whether the operator named it.
    #[must_use]
    pub fn is_named(&self, peer: PeerId) -> bool {
        self.entries.get(&peer).is_some_and(|entry| entry.named)
    }

    /// How many are banned.
    #[must_use]
    pub fn banned(&self, now_ms: u64) -> usize {
        self.entries.values().filter(|entry| entry.banned_until_ms > now_ms).count()
    }

    /// How many are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nobody is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whom to call: those named by the operator, then, up to `room` more, who was met last and
    /// failed least; none of `busy`.
    #[must_use]
    pub fn to_call(&self, now_ms: u64, room: usize, busy: &BTreeSet<PeerId>) -> Vec<Contact> {
        let mut due: Vec<(&PeerId, &Entry)> = self
            .entries
            .iter()
            .filter(|(peer, _)| !busy.contains(peer))
            .filter(|(_, entry)| !entry.addresses.is_empty() && entry.call_after_ms <= now_ms)
            .filter(|(_, entry)| entry.banned_until_ms <= now_ms)
            .collect();
        due.sort_by_key(|(_, entry)| {
            (!entry.named, entry.failures, core::cmp::Reverse(entry.met_ms))
        });
        let named = due.iter().filter(|(_, entry)| entry.named).count();
        due.into_iter()
            .take(named.max(room))
            .map(|(peer, entry)| Contact { peer: *peer, addresses: entry.addresses.clone() })
            .collect()
    }

    /// Whom to tell others of: who was met, the latest first.
    #[must_use]
    pub fn to_tell(&self, now_ms: u64, limit: usize) -> Vec<Contact> {
        let mut met: Vec<(&PeerId, &Entry)> = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.met_ms > 0 && entry.failures == 0)
            .filter(|(_, entry)| entry.banned_until_ms <= now_ms && !entry.addresses.is_empty())
            .collect();
        met.sort_by_key(|(_, entry)| core::cmp::Reverse(entry.met_ms));
        met.into_iter()
            .take(limit)
            .map(|(peer, entry)| Contact { peer: *peer, addresses: entry.addresses.clone() })
            .collect()
    }

    /// The book as a file keeps it.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).unwrap_or_default()
    }

    /// Reads a file's content; of a longer one, no more than the book holds is kept.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn from_json(text: &[u8]) -> Result<Self, serde_json::Error> {
        let mut book: Self = serde_json::from_slice(text)?;
        while book.entries.len() > CAPACITY {
            book.entries.pop_last();
        }
        for entry in book.entries.values_mut() {
            entry.addresses.truncate(MAX_ADDRESSES);
            // The clock may have been set back since.
            entry.call_after_ms = 0;
        }
        Ok(book)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contact(number: u16) -> Contact {
        let mut id = [0; 32];
        id[..2].copy_from_slice(&number.to_be_bytes());
        let address = core::net::SocketAddr::from(([10, 0, 0, 1], number.max(1)));
        Contact { peer: PeerId::new(id), addresses: vec![address] }
    }

    #[test]
    fn whoever_fails_waits_longer_each_time_and_the_named_never_long() {
        let mut book = Book::default();
        book.name(contact(1));
        assert!(book.hear(contact(2)) && !book.hear(contact(2)));
        assert_eq!(book.to_call(0, 8, &BTreeSet::new()), [contact(1), contact(2)]);
        let mut now = 0;
        for _ in 0..20 {
            book.failed(now, contact(1).peer);
            book.failed(now, contact(2).peer);
            now += LAST_WAIT_NAMED_MS;
            assert_eq!(book.to_call(now, 0, &BTreeSet::new()).len(), 1, "the named one");
        }
        assert_eq!(book.to_call(now, 8, &BTreeSet::new()), [contact(1)]);
        assert_eq!(book.to_call(now + LAST_WAIT_MS, 8, &BTreeSet::new()).len(), 2);
        let busy = [contact(1).peer].into();
        assert_eq!(book.to_call(now + LAST_WAIT_MS, 8, &busy), [contact(2)]);
    }

    #[test]
    fn n12_the_book_is_bounded_and_keeps_who_was_met() {
        let mut book = Book::default();
        book.met(5, contact(1));
        for number in 2..3_000 {
            book.hear(contact(number));
        }
        assert_eq!(book.len(), CAPACITY);
        assert_eq!(book.to_tell(10, 64), [contact(1)], "only who was met is told of");
        book.failed(5, contact(7).peer);
        assert!(book.hear(contact(3_000)), "in the place of who failed");
        assert_eq!(book.len(), CAPACITY);
    }

    #[test]
    fn a_ban_outlives_a_restart_and_ends() {
        let mut book = Book::default();
        book.met(5, contact(1));
        book.ban(10, contact(1).peer);
        let book = Book::from_json(&book.to_json()).unwrap();
        assert!(book.is_banned(11, contact(1).peer) && book.banned(11) == 1);
        assert!(book.to_call(11, 8, &BTreeSet::new()).is_empty());
        assert!(book.to_tell(11, 8).is_empty());
        assert!(!book.is_banned(10 + BAN_MS, contact(1).peer));
        assert!(Book::from_json(b"{\"x\":1}").is_err());
    }
}
