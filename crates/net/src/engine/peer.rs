//! What is known of one connected peer.

use core::net::SocketAddr;

use alloy_primitives::{B256, U256};

use super::PeerView;
use crate::contact::PeerId;
use crate::recent::Recent;
use crate::score::{Bucket, Score};
use crate::wire::{BlockId, Message, Part, Tip};

/// How many hashes are remembered that a peer knows.
const KNOWN: usize = 4_096;
/// How many questions are remembered, so that a late answer is no misdeed.
const QUESTIONS: usize = 1_024;

#[derive(Debug)]
pub(super) struct Peer {
    pub(super) id: PeerId,
    pub(super) address: Option<SocketAddr>,
    pub(super) called: bool,
    pub(super) greeted: bool,
    pub(super) since_ms: u64,
    pub(super) score: Score,
    /// The best block that it told of.
    pub(super) tip: Tip,
    /// The best block that it was told of.
    pub(super) told: BlockId,
    /// Not asked for headers before this time.
    pub(super) rest_until_ms: u64,
    /// When it last did what it was asked for, or was asked first.
    pub(super) progress_ms: u64,
    /// Transactions that it knows.
    pub(super) known: Recent<B256>,
    /// Headers that it was asked for and has not sent.
    pub(super) header_questions: u32,
    pub(super) asked_contacts: bool,
    pub(super) asked_parts: Recent<Part>,
    pub(super) asked_transactions: Recent<B256>,
    announcements: Bucket,
    own_announcements: Bucket,
    hashes: Bucket,
    requests: Bucket,
}

impl Peer {
    pub(super) fn new(now_ms: u64, id: PeerId, called: bool, address: Option<SocketAddr>) -> Self {
        Self {
            id,
            address,
            called,
            greeted: false,
            since_ms: now_ms,
            score: Score::default(),
            tip: Tip { id: BlockId::ZERO, height: 0, weight: U256::ZERO },
            told: BlockId::ZERO,
            rest_until_ms: 0,
            progress_ms: now_ms,
            known: Recent::new(KNOWN),
            header_questions: 0,
            asked_contacts: false,
            asked_parts: Recent::new(QUESTIONS),
            asked_transactions: Recent::new(KNOWN),
            announcements: Bucket::new(256, 16),
            own_announcements: Bucket::new(64, 8),
            hashes: Bucket::new(16_384, 2_048),
            requests: Bucket::new(16_384, 4_096),
        }
    }

    /// Takes what a message costs out of the buckets (N-9); false if there is not enough.
    pub(super) fn may(&mut self, now_ms: u64, message: &Message) -> bool {
        match message {
            Message::Announce { .. } => self.announcements.take(now_ms, 1),
            Message::Waiting(hashes) => self.hashes.take(now_ms, hashes.len().max(1)),
            // What a question makes us read and send, in parts of a block.
            Message::GetHeaders(_) => self.requests.take(now_ms, 16),
            Message::GetParts(parts) => self.requests.take(now_ms, parts.len().max(1)),
            Message::GetTransactions(hashes) => self.requests.take(now_ms, hashes.len().max(1)),
            Message::GetContacts => self.requests.take(now_ms, 1_024),
            // Once, or an answer, which nobody can send without being asked.
            Message::Hello(_)
            | Message::Headers(_)
            | Message::Part(..)
            | Message::Missing(_)
            | Message::Transactions(_)
            | Message::Contacts(_) => true,
        }
    }

    /// Whether it may be told of a block: less often than it would take for a flood.
    pub(super) fn may_tell(&mut self, now_ms: u64) -> bool {
        self.own_announcements.take(now_ms, 1)
    }

    pub(super) fn view(&self, now_ms: u64) -> PeerView {
        PeerView {
            peer: self.id,
            address: self.address,
            called: self.called,
            greeted: self.greeted,
            height: self.tip.height,
            head: self.tip.id,
            points: self.score.at(now_ms),
            since_ms: self.since_ms,
        }
    }
}
