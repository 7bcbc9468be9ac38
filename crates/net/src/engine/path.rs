//! The way to a trusted block (N-16): the ids from genesis to it, each named by the next header, so
//! that nobody can put another block among them. Nothing else is synced until it is known.

use bytes::Bytes;

use super::{Engine, Link};
use crate::chain::{Broken, Chain, block_id};
use crate::score::Offence;
use crate::trust::Trust;
use crate::wire::{BlockId, Message};

/// How long a peer rests that could not show the way, milliseconds.
const REST_MS: u64 = 60_000;

/// What is known of the way.
#[derive(Debug)]
pub(super) struct Path {
    trust: Trust,
    /// From height 1 on.
    ids: Vec<BlockId>,
    /// Who was asked for the next.
    pub(super) asked: Option<Link>,
}

impl Path {
    pub(super) const fn new(trust: Trust) -> Self {
        Self { trust, ids: Vec::new(), asked: None }
    }
}

/// What an answer says about who sent it.
enum Verdict {
    Onward,
    Arrived,
    Offence(Offence),
}

impl<C: Chain> Engine<C> {
    /// Asks for the next part of the way whoever claims to be as far.
    pub(super) fn advance_path(&mut self, now_ms: u64) {
        let Some(path) = self.path.as_mut().filter(|path| path.asked.is_none()) else { return };
        let knows = self.peers.iter_mut().find(|(_, peer)| {
            peer.greeted && peer.tip.height >= path.trust.height && peer.rest_until_ms <= now_ms
        });
        let Some((link, peer)) = knows else { return };
        let link = *link;
        peer.progress_ms = now_ms;
        peer.header_questions = peer.header_questions.saturating_add(1);
        path.asked = Some(link);
        let mut locator: Vec<BlockId> = path.ids.last().copied().into_iter().collect();
        locator.push(self.chain.genesis());
        self.send(link, Message::GetHeaders(locator));
    }

    /// Takes a part of the way. Of a header only the parent's name counts here.
    pub(super) fn take_path(
        &mut self,
        now_ms: u64,
        link: Link,
        headers: &[Bytes],
    ) -> Result<(), Broken> {
        let genesis = self.chain.genesis();
        let Some(path) = self.path.as_mut() else { return Ok(()) };
        path.asked = None;
        let verdict = follow(path, genesis, headers, |header| self.chain.parent(header));
        match verdict {
            Verdict::Onward => {}
            Verdict::Arrived => {
                if let Some(path) = self.path.take() {
                    tracing::info!(
                        height = path.trust.height,
                        "the way to the trusted block is known"
                    );
                    self.chain.vouch(&path.ids)?;
                }
            }
            Verdict::Offence(offence) => {
                if let Some(path) = self.path.as_mut() {
                    path.ids.clear();
                }
                if let Some(peer) = self.peers.get_mut(&link) {
                    peer.rest_until_ms = now_ms.saturating_add(REST_MS);
                }
                self.blame(now_ms, link, offence);
            }
        }
        Ok(())
    }
}

fn follow(
    path: &mut Path,
    genesis: BlockId,
    headers: &[Bytes],
    parent_of: impl Fn(&[u8]) -> Option<BlockId>,
) -> Verdict {
    if headers.is_empty() {
        // It claimed to be as high.
        return Verdict::Offence(Offence::Lied);
    }
    for header in headers {
        let Some(parent) = parent_of(header) else {
            return Verdict::Offence(Offence::InvalidHeader);
        };
        if parent != path.ids.last().copied().unwrap_or(genesis) {
            // Its chain does not have what another peer told of: from the start again.
            if parent != genesis {
                return Verdict::Offence(Offence::Unconnected);
            }
            path.ids.clear();
        }
        path.ids.push(block_id(header));
        if u64::try_from(path.ids.len()) == Ok(path.trust.height) {
            let arrived = path.ids.last() == Some(&path.trust.id);
            return if arrived { Verdict::Arrived } else { Verdict::Offence(Offence::Lied) };
        }
    }
    Verdict::Onward
}
