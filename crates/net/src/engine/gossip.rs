//! News: blocks, transactions, whom others know.

use alloy_primitives::{B256, keccak256};
use bytes::Bytes;

use super::sync::Taken;
use super::{Engine, Link};
use crate::chain::{Broken, Chain, SubmitFault, block_id};
use crate::contact::Contact;
use crate::score::Offence;
use crate::wire::{MAX_CONTACTS, MAX_HASHES, MAX_TRANSACTIONS_BYTES, Message, Tip};

/// Transactions that are on their way at once.
const FETCHING: usize = 4_096;
/// How long a transaction is waited for before another peer is asked, milliseconds.
const FETCH_MS: u64 = 10_000;
/// Transactions that wait to be told of.
const TO_TELL: usize = 8_192;

impl<C: Chain> Engine<C> {
    /// Tells a new head: to whoever has less at once, to all others once nothing is caught up with.
    /// Fewer than a peer takes; what is left out is told later, or overtaken by a newer one.
    pub(super) fn announce_head(&mut self, now_ms: u64) -> Result<(), Broken> {
        self.tip = self.chain.tip();
        let (tip, settled) = (self.tip, self.leader.is_none());
        let mut to = Vec::new();
        for (link, peer) in self.peers.iter_mut().filter(|(_, peer)| peer.greeted) {
            let due = peer.told != tip.id && (settled || peer.tip.weight < tip.weight);
            if due && peer.may_tell(now_ms) {
                peer.told = tip.id;
                to.push(*link);
            }
        }
        if to.is_empty() {
            return Ok(());
        }
        let Some(header) = self.chain.header(tip.id)? else { return Ok(()) };
        for link in to {
            self.send(link, Message::Announce { tip, header: header.clone() });
        }
        Ok(())
    }

    pub(super) fn announced(
        &mut self,
        now_ms: u64,
        link: Link,
        tip: Tip,
        header: Bytes,
    ) -> Result<(), Broken> {
        if block_id(&header) != tip.id {
            self.blame(now_ms, link, Offence::InvalidHeader);
            return Ok(());
        }
        if let Some(peer) = self.peers.get_mut(&link) {
            peer.tip = tip;
        }
        let follows = self.chain.parent(&header) == Some(self.tip.id);
        if !follows && tip.weight <= self.tip.weight && !self.chain.weighs(&header) {
            return Ok(());
        }
        // Without a parent here it is not kept: the header sync finds the way to it. Neither is one
        // that has to wait.
        if self.take_header(now_ms, link, header)? == Taken::Early
            && let Some(peer) = self.peers.get_mut(&link)
        {
            peer.rest_until_ms = now_ms + 1_000;
        }
        Ok(())
    }

    pub(super) fn remember_to_tell(&mut self, hash: B256) {
        if self.to_tell.len() < TO_TELL {
            self.to_tell.push(hash);
        }
    }

    /// Tells everybody of the transactions that came since the last tick.
    pub(super) fn tell_all_waiting(&mut self) {
        let hashes = core::mem::take(&mut self.to_tell);
        let links: Vec<Link> = self.greeted().map(|(link, _)| link).collect();
        for link in links {
            self.tell(link, &hashes);
        }
    }

    /// Tells a new peer of what waits.
    pub(super) fn tell_waiting(&mut self, link: Link) {
        let hashes = self.chain.waiting(TO_TELL);
        self.tell(link, &hashes);
    }

    fn tell(&mut self, link: Link, hashes: &[B256]) {
        let Some(peer) = self.peers.get_mut(&link) else { return };
        let news: Vec<B256> =
            hashes.iter().filter(|hash| peer.known.insert(**hash)).copied().collect();
        for part in news.chunks(MAX_HASHES) {
            self.send(link, Message::Waiting(part.to_vec()));
        }
    }

    pub(super) fn fetch_transactions(&mut self, now_ms: u64, link: Link, hashes: Vec<B256>) {
        let Some(peer) = self.peers.get_mut(&link) else { return };
        let mut wanted = Vec::new();
        for hash in hashes {
            peer.known.insert(hash);
            let new = !self.fetching.contains_key(&hash) && self.fetching.len() < FETCHING;
            if new && self.chain.transaction(hash).is_none() {
                self.fetching.insert(hash, (link, now_ms));
                peer.asked_transactions.insert(hash);
                wanted.push(hash);
            }
        }
        if !wanted.is_empty() {
            self.send(link, Message::GetTransactions(wanted));
        }
    }

    pub(super) fn serve_transactions(&mut self, link: Link, hashes: &[B256]) {
        let mut size = 0;
        let mut raw = Vec::new();
        for tx in hashes.iter().filter_map(|hash| self.chain.transaction(*hash)) {
            size += tx.len();
            if size > MAX_TRANSACTIONS_BYTES {
                break;
            }
            raw.push(tx);
        }
        self.send(link, Message::Transactions(raw));
    }

    pub(super) fn take_transactions(
        &mut self,
        now_ms: u64,
        link: Link,
        raw: Vec<Bytes>,
    ) -> Result<(), Broken> {
        for raw in raw {
            let hash = keccak256(&raw);
            let Some(peer) = self.peers.get(&link) else { return Ok(()) };
            if !peer.asked_transactions.contains(&hash) {
                self.blame(now_ms, link, Offence::Unasked);
                return Ok(());
            }
            // Late ones were asked of somebody else meanwhile.
            if self.fetching.remove(&hash).is_none() {
                continue;
            }
            match self.chain.submit(&raw) {
                Ok(()) => {}
                Err(SubmitFault::Refused(why)) => tracing::debug!(%hash, why, "not taken"),
                Err(SubmitFault::Invalid(_)) => {
                    self.blame(now_ms, link, Offence::InvalidTransaction);
                    return Ok(());
                }
                Err(SubmitFault::Broken(broken)) => return Err(broken),
            }
        }
        Ok(())
    }

    pub(super) fn forget_fetching(&mut self, now_ms: u64) {
        self.fetching.retain(|_, (_, asked_ms)| *asked_ms + FETCH_MS > now_ms);
    }

    pub(super) fn serve_contacts(&mut self, now_ms: u64, link: Link) {
        let mut contacts = self.book.to_tell(now_ms, MAX_CONTACTS);
        let to = self.peers.get(&link).map(|peer| peer.id);
        contacts.retain(|contact| Some(contact.peer) != to);
        self.send(link, Message::Contacts(contacts));
    }

    pub(super) fn take_contacts(&mut self, now_ms: u64, link: Link, contacts: Vec<Contact>) {
        let Some(peer) = self.peers.get_mut(&link) else { return };
        if !core::mem::take(&mut peer.asked_contacts) {
            return self.blame(now_ms, link, Offence::Unasked);
        }
        let seen = peer.address;
        for Contact { peer, mut addresses } in contacts {
            addresses.retain(|address| self.believes(seen, *address));
            if peer != self.settings.me {
                self.book.hear(Contact { peer, addresses });
            }
        }
    }
}
