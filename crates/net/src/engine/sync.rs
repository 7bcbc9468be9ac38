//! Headers first, parts of blocks by need.

use std::collections::BTreeMap;

use alloy_primitives::U256;
use bytes::Bytes;

use super::{Engine, Link, Reason};
use crate::chain::{Broken, Chain, HeaderFault, ImportFault, block_id};
use crate::score::Offence;
use crate::window::CAPACITY;
use crate::wire::{BlockId, MAX_HEADERS, MAX_LOCATOR, Message, Part};

/// Parts that are on their way at once: from one peer, and from all.
const IN_FLIGHT_EACH: usize = 8;
const IN_FLIGHT: usize = 24;
/// How long a peer may leave a question open without answering any other, milliseconds.
const ANSWER_MS: u64 = 20_000;
/// How long a peer rests whose next block has to wait, milliseconds.
const REST_MS: u64 = 2_000;
/// Answers without a header that is new, one after another: no branch that we know is longer.
const STALE_ANSWERS: u32 = 64;

/// The peer that is asked for headers.
#[derive(Debug)]
pub(super) struct Leader {
    pub(super) link: Link,
    /// The last header that it sent.
    cursor: Option<BlockId>,
    /// The weight that it claimed when it was asked last.
    claimed: U256,
    asked: bool,
    stale: u32,
    /// It has no more.
    ended: bool,
    /// Something of it has to wait, so that what is missing is no lie.
    excused: bool,
}

/// What became of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    Known,
    New,
    Orphan,
    Early,
    /// No room: it is asked for again.
    Full,
    /// The peer is gone.
    Refused,
}

impl<C: Chain> Engine<C> {
    /// Asks for whatever is missing.
    pub(super) fn drive(&mut self, now_ms: u64) -> Result<(), Broken> {
        if self.path.is_some() {
            self.advance_path(now_ms);
            return Ok(());
        }
        while self.advance_leader(now_ms)? {}
        self.ask_for_parts(now_ms);
        Ok(())
    }

    /// One step of the header sync; true if there may be another at once.
    fn advance_leader(&mut self, now_ms: u64) -> Result<bool, Broken> {
        let Some(leader) = &self.leader else { return self.choose_leader(now_ms) };
        if leader.asked {
            return Ok(false);
        }
        if !leader.ended {
            if self.window.len() + MAX_HEADERS <= CAPACITY {
                self.ask_for_headers(now_ms)?;
            }
            return Ok(false);
        }
        let (link, claimed, excused) = (leader.link, leader.claimed, leader.excused);
        // Its last blocks may have been announced by others before.
        let waits = leader.cursor.is_some_and(|cursor| self.window.contains(cursor));
        if waits || self.window.has_of(link) {
            return Ok(false);
        }
        self.leader = None;
        if self.tip.weight < claimed && !excused {
            self.distrust(now_ms, link, Offence::Lied);
        } else if let Some(peer) = self.peers.get_mut(&link).filter(|_| excused) {
            peer.rest_until_ms = now_ms + REST_MS;
        }
        Ok(true)
    }

    /// Whoever claims most, if that is more than we have and not on its way already.
    fn choose_leader(&mut self, now_ms: u64) -> Result<bool, Broken> {
        let best = self
            .greeted()
            .filter(|(_, peer)| peer.tip.weight > self.tip.weight)
            .filter(|(_, peer)| peer.rest_until_ms <= now_ms)
            .filter(|(_, peer)| !self.window.contains(peer.tip.id))
            .max_by_key(|(link, peer)| (peer.tip.weight, core::cmp::Reverse(*link)));
        let Some((link, _)) = best else { return Ok(false) };
        self.leader = Some(Leader {
            link,
            cursor: None,
            claimed: U256::ZERO,
            asked: false,
            stale: 0,
            ended: false,
            excused: false,
        });
        self.ask_for_headers(now_ms)?;
        Ok(false)
    }

    fn ask_for_headers(&mut self, now_ms: u64) -> Result<(), Broken> {
        let Some(leader) = &mut self.leader else { return Ok(()) };
        let Some(peer) = self.peers.get_mut(&leader.link) else { return Ok(()) };
        let mut locator: Vec<BlockId> = leader.cursor.into_iter().collect();
        locator.extend(self.chain.locator()?);
        locator.truncate(MAX_LOCATOR);
        leader.asked = true;
        leader.claimed = peer.tip.weight;
        if peer.header_questions == 0 {
            peer.progress_ms = now_ms;
        }
        peer.header_questions = peer.header_questions.saturating_add(1);
        let link = leader.link;
        self.send(link, Message::GetHeaders(locator));
        Ok(())
    }

    pub(super) fn serve_headers(&mut self, link: Link, locator: &[BlockId]) -> Result<(), Broken> {
        let headers = self.chain.headers_after(locator, MAX_HEADERS)?;
        self.send(link, Message::Headers(headers));
        Ok(())
    }

    pub(super) fn take_headers(
        &mut self,
        now_ms: u64,
        link: Link,
        headers: Vec<Bytes>,
    ) -> Result<(), Broken> {
        let Some(peer) = self.peers.get_mut(&link) else { return Ok(()) };
        let Some(left) = peer.header_questions.checked_sub(1) else {
            self.blame(now_ms, link, Offence::Unasked);
            return Ok(());
        };
        peer.header_questions = left;
        peer.progress_ms = now_ms;
        if self.path.as_ref().is_some_and(|path| path.asked == Some(link)) {
            return self.take_path(now_ms, link, &headers);
        }
        // A late answer to a question that somebody else was asked meanwhile.
        let Some(leader) = self.leader.as_mut().filter(|leader| leader.link == link) else {
            return Ok(());
        };
        leader.asked = false;
        leader.ended = headers.is_empty();
        if let Some(cursor) = leader.cursor
            && !self.window.contains(cursor)
            && self.chain.header(cursor)?.is_none()
        {
            // What they follow was given up meanwhile; that is not the peer's fault.
            peer.rest_until_ms = now_ms + REST_MS;
            self.leader = None;
            return Ok(());
        }
        let mut news = false;
        for header in headers {
            let id = block_id(&header);
            let taken = self.take_header(now_ms, link, header)?;
            let Some(leader) = self.leader.as_mut().filter(|leader| leader.link == link) else {
                return Ok(());
            };
            match taken {
                Taken::Known => leader.cursor = Some(id),
                Taken::New => {
                    leader.cursor = Some(id);
                    news = true;
                }
                Taken::Orphan => {
                    self.distrust(now_ms, link, Offence::Unconnected);
                    return Ok(());
                }
                Taken::Early => {
                    leader.ended = true;
                    leader.excused = true;
                    return Ok(());
                }
                Taken::Full | Taken::Refused => return Ok(()),
            }
        }
        if let Some(leader) = &mut self.leader {
            leader.stale = if news { 0 } else { leader.stale + 1 };
            if leader.stale > STALE_ANSWERS {
                self.distrust(now_ms, link, Offence::Unconnected);
            }
        }
        Ok(())
    }

    /// Believes nothing of what a peer claimed until it tells of another block.
    fn distrust(&mut self, now_ms: u64, link: Link, offence: Offence) {
        self.leader = None;
        let weight = self.tip.weight;
        if let Some(peer) = self.peers.get_mut(&link) {
            peer.tip.weight = weight;
        }
        self.blame(now_ms, link, offence);
    }

    /// Checks a header, and keeps it until its block's parts are here.
    pub(super) fn take_header(
        &mut self,
        now_ms: u64,
        link: Link,
        header: Bytes,
    ) -> Result<Taken, Broken> {
        let id = block_id(&header);
        if self.path.is_some() {
            // Which blocks may be taken is not known yet.
            return Ok(Taken::Orphan);
        }
        if self.window.contains(id) || self.chain.header(id)?.is_some() {
            return Ok(Taken::Known);
        }
        let parent = self.chain.parent(&header).filter(|parent| !self.rejected.contains(parent));
        let parent = parent.filter(|_| !self.rejected.contains(&id));
        let Some(parent) = parent else {
            self.blame(now_ms, link, Offence::InvalidHeader);
            return Ok(Taken::Refused);
        };
        if self.window.is_full() {
            return Ok(Taken::Full);
        }
        let above = self.window.get(parent).map(|entry| &entry.standing);
        match self.chain.check_header(&header, above) {
            Ok(checked) => {
                self.window.insert(checked, header, link);
                Ok(Taken::New)
            }
            Err(HeaderFault::Orphan) => Ok(Taken::Orphan),
            Err(HeaderFault::Early) => Ok(Taken::Early),
            Err(HeaderFault::TooDeep) => {
                self.close(now_ms, link, Reason::OtherBranch);
                Ok(Taken::Refused)
            }
            Err(HeaderFault::Invalid(why)) => {
                tracing::debug!(%id, why, "header refused");
                self.blame(now_ms, link, Offence::InvalidHeader);
                Ok(Taken::Refused)
            }
            Err(HeaderFault::Broken(broken)) => Err(broken),
        }
    }

    /// Spreads what is missing over those who have it, the lowest block first.
    fn ask_for_parts(&mut self, now_ms: u64) {
        let mut questions: BTreeMap<Link, Vec<Part>> = BTreeMap::new();
        for (part, entry) in self.window.lacking() {
            if self.asked.len() >= IN_FLIGHT {
                break;
            }
            if self.asked.contains_key(&part) {
                continue;
            }
            let in_flight = |link: &Link| self.asked.values().filter(|of| *of == link).count();
            let chosen = self
                .peers
                .iter()
                .filter(|(link, peer)| {
                    let has = **link == entry.source || peer.tip.height >= entry.height;
                    peer.greeted && has && !entry.without.contains(link)
                })
                .map(|(link, _)| (in_flight(link), *link != entry.source, *link))
                .filter(|(count, ..)| *count < IN_FLIGHT_EACH)
                .min();
            if let Some((count, _, link)) = chosen {
                if count == 0
                    && let Some(peer) = self.peers.get_mut(&link)
                {
                    peer.progress_ms = now_ms;
                }
                self.asked.insert(part, link);
                questions.entry(link).or_default().push(part);
            }
        }
        for (link, parts) in questions {
            if let Some(peer) = self.peers.get_mut(&link) {
                for part in &parts {
                    peer.asked_parts.insert(*part);
                }
            }
            self.send(link, Message::GetParts(parts));
        }
    }

    pub(super) fn take_part(
        &mut self,
        now_ms: u64,
        link: Link,
        part: Part,
        bytes: Bytes,
    ) -> Result<(), Broken> {
        if !self.settle(now_ms, link, part) {
            return Ok(());
        }
        self.window.put(part, link, bytes);
        self.import_from(now_ms, part.block())
    }

    pub(super) fn part_missing(&mut self, now_ms: u64, link: Link, part: Part) {
        if !self.settle(now_ms, link, part) {
            return;
        }
        if self.is_gone(link, part) {
            let height = self.window.get(part.block()).map_or(0, |entry| entry.height);
            tracing::warn!(
                height,
                "a peer no longer has the certificate of this block: join with --trust BLOCKID@HEIGHT \
                 of a recent block that you trust"
            );
            return self.close(now_ms, link, Reason::CertificatesGone);
        }
        let announced = self.window.get(part.block()).is_some_and(|entry| entry.source == link);
        self.window.without(part, link);
        if announced {
            self.blame(now_ms, link, Offence::Withheld);
        }
        let peers = &self.peers;
        self.window.abandon(|entry| {
            peers.iter().any(|(link, peer)| peer.greeted && !entry.without.contains(link))
        });
    }

    /// Whether a peer may have forgotten a part: a certificate older than those that nodes keep.
    fn is_gone(&self, link: Link, part: Part) -> bool {
        let (Part::Certificate(id), Some(peer)) = (part, self.peers.get(&link)) else {
            return false;
        };
        let kept = self.chain.certificates_kept();
        self.window
            .get(id)
            .is_some_and(|entry| entry.height.saturating_add(kept) <= peer.tip.height)
    }

    /// An answer came; true if it is waited for, false if it is late or was never asked for.
    fn settle(&mut self, now_ms: u64, link: Link, part: Part) -> bool {
        let Some(peer) = self.peers.get_mut(&link) else { return false };
        if !peer.asked_parts.contains(&part) {
            self.blame(now_ms, link, Offence::Unasked);
            return false;
        }
        peer.progress_ms = now_ms;
        let waited = self.asked.get(&part) == Some(&link);
        if waited {
            self.asked.remove(&part);
        }
        waited
    }

    /// Imports a block if all of it is here, and then what waits for it.
    fn import_from(&mut self, now_ms: u64, id: BlockId) -> Result<(), Broken> {
        let mut open = vec![id];
        while let Some(id) = open.pop() {
            let Some(block) = self.window.ready(id) else { continue };
            match self.chain.import(&block) {
                Ok(()) => {
                    open.extend(self.window.children(id));
                    self.window.remove(id);
                }
                Err(ImportFault::Broken(broken)) => return Err(broken),
                Err(fault) => self.refuse(now_ms, id, &fault),
            }
        }
        self.announce_head(now_ms)
    }

    /// A block was not taken: whose fault that is, and what becomes of it.
    fn refuse(&mut self, now_ms: u64, id: BlockId, fault: &ImportFault) {
        tracing::debug!(%id, %fault, "block refused");
        let Some(entry) = self.window.get(id) else { return };
        let source = entry.source;
        let (body_from, certificate_from) = entry.senders();
        match fault {
            ImportFault::ForeignBody | ImportFault::ForeignCertificate => {
                let (part, from) = if *fault == ImportFault::ForeignBody {
                    (Part::Body(id), body_from)
                } else {
                    (Part::Certificate(id), certificate_from)
                };
                self.window.discard(part);
                if let Some(from) = from {
                    self.blame(now_ms, from, Offence::ForeignPart);
                }
            }
            ImportFault::Invalid(_) => {
                for id in self.window.prune(id) {
                    self.rejected.insert(id);
                    self.asked.retain(|part, _| part.block() != id);
                }
                self.blame(now_ms, source, Offence::InvalidBlock);
            }
            ImportFault::Early | ImportFault::Orphan => {
                self.drop_entries(id);
                if let Some(leader) = &mut self.leader {
                    leader.excused = true;
                }
                if let Some(peer) = self.peers.get_mut(&source) {
                    peer.rest_until_ms = now_ms + REST_MS;
                }
            }
            ImportFault::TooDeep => {
                self.drop_entries(id);
                self.close(now_ms, source, Reason::OtherBranch);
            }
            ImportFault::Broken(_) => {}
        }
    }

    fn drop_entries(&mut self, id: BlockId) {
        for id in self.window.prune(id) {
            self.asked.retain(|part, _| part.block() != id);
        }
    }

    /// Takes questions away from peers that leave them open.
    pub(super) fn check_deadlines(&mut self, now_ms: u64) {
        let asked_headers = |link: &Link| {
            self.leader.as_ref().is_some_and(|leader| leader.link == *link && leader.asked)
                || self.path.as_ref().is_some_and(|path| path.asked == Some(*link))
        };
        let late: Vec<Link> = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.progress_ms + ANSWER_MS < now_ms)
            .map(|(link, _)| *link)
            .filter(|link| asked_headers(link) || self.asked.values().any(|of| of == link))
            .collect();
        for link in late {
            self.asked.retain(|part, of| {
                if *of == link {
                    self.window.without(*part, link);
                }
                *of != link
            });
            if self.leader.as_ref().is_some_and(|leader| leader.link == link) {
                self.leader = None;
            }
            if let Some(path) = self.path.as_mut().filter(|path| path.asked == Some(link)) {
                path.asked = None;
            }
            if let Some(peer) = self.peers.get_mut(&link) {
                peer.progress_ms = now_ms;
                peer.rest_until_ms = now_ms + ANSWER_MS;
            }
            self.blame(now_ms, link, Offence::Stalled);
        }
    }
}
