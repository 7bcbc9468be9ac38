//! What a node does with what its peers say: a machine that is told what happened and when, and
//! answers with what to do. It holds no socket and no clock.
//!
//! A peer greets, then tells of its best block. Whoever claims more weight than we have is asked
//! for headers, one peer at a time; each header is checked before any part of its block is asked
//! for, and parts are fetched from several peers, a few blocks ahead of the import. Nothing is kept
//! of blocks without a parent. What a peer may cost is bounded by [`crate::wire`] for one message,
//! by buckets for many, and by the window for everything that waits.

mod gossip;
mod path;
mod peer;
mod sync;
#[cfg(test)]
mod tests;

use core::net::{IpAddr, SocketAddr};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use alloy_primitives::B256;
use serde::Serialize;

use self::path::Path;
use self::peer::Peer;
use self::sync::Leader;
use crate::book::Book;
use crate::chain::{Broken, Chain};
use crate::contact::{Contact, MAX_ADDRESSES, PeerId, may_tell};
use crate::origin::{Admission, Origin, Origins};
use crate::recent::Recent;
use crate::score::Offence;
use crate::trust::Trust;
use crate::window::Window;
use crate::wire::{BlockId, Hello, Message, PROTOCOL, Part, Tip, WireError};

/// How long a peer may take to greet, milliseconds.
const GREETING_MS: u64 = 10_000;
/// Two connections to one peer this close together were made by both sides at once, milliseconds.
const CROSSING_MS: u64 = 5_000;
/// How many callers from one IP address are let in; loopback has no such bound.
const CALLERS_OF_ONE_ADDRESS: usize = 8;
/// How many from one neighbourhood of addresses.
const CALLERS_OF_ONE_NEIGHBOURHOOD: usize = 16;
/// How many over relays, where no address is seen: half of the room.
const CALLERS_OVER_RELAYS: usize = 32;
/// How many blocks that were found invalid are remembered.
const REJECTED: usize = 1_024;

/// One connection, never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Link(pub u64);

/// Why a connection is closed; its number goes over the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The node ends.
    Stopping,
    /// Another network or genesis.
    OtherNetwork,
    /// Another version of the protocol.
    OtherProtocol,
    /// Its chain left ours farther back than states are kept.
    OtherBranch,
    /// As many peers as there may be.
    Full,
    /// Another connection to this peer is used.
    Twice,
    /// No greeting in time.
    Silent,
    /// It doesn't read what it is sent.
    Slow,
    /// It no longer has the certificates that we need, as we come too late without a trusted block.
    CertificatesGone,
    /// Its last offence, or an earlier one, got it banned.
    Banned(Option<Offence>),
}

impl Reason {
    /// Its number.
    #[must_use]
    pub const fn code(self) -> u32 {
        match self {
            Self::Stopping => 0,
            Self::OtherNetwork => 1,
            Self::OtherProtocol => 2,
            Self::OtherBranch => 3,
            Self::Full => 4,
            Self::Twice => 5,
            Self::Silent => 6,
            Self::Slow => 7,
            Self::Banned(_) => 8,
            Self::CertificatesGone => 9,
        }
    }
}

/// What happened.
#[derive(Debug)]
pub enum Input {
    /// A connection stands, the peer's key proved.
    Connected {
        /// Its name from now on.
        link: Link,
        /// Whose key.
        peer: PeerId,
        /// Whether we called.
        called: bool,
        /// From where it is seen, unless over a relay.
        address: Option<SocketAddr>,
    },
    /// A call did not get through.
    CallFailed(PeerId),
    /// A connection is gone.
    Closed(Link),
    /// A peer does not read what it is sent.
    Slow(Link),
    /// A message.
    Message(Link, Message),
    /// Bytes that were none.
    Undecodable(Link, WireError),
    /// The chain's head moved.
    HeadMoved,
    /// A transaction waits in the mempool.
    Waiting(B256),
    /// A quarter of a second passed, or more.
    Tick,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send a message.
    Send(Link, Message),
    /// Read a block's part from the chain and send it, or that it is missing.
    Serve(Link, Part),
    /// Close a connection.
    Close(Link, Reason),
    /// Call a peer.
    Call(Contact),
}

/// What a node chooses.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The node's own key.
    pub me: PeerId,
    /// Where others may reach it, as far as it knows.
    pub addresses: Vec<SocketAddr>,
    /// How many peers to call, beside those that the operator named.
    pub outbound: usize,
    /// How many may call.
    pub inbound: usize,
    /// A block that the operator trusts: up to it no certificates are needed.
    pub trust: Option<Trust>,
}

impl Settings {
    /// The usual.
    #[must_use]
    pub const fn new(me: PeerId) -> Self {
        Self { me, addresses: Vec::new(), outbound: 8, inbound: 64, trust: None }
    }
}

/// A peer, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PeerView {
    /// Who.
    pub peer: PeerId,
    /// From where it is seen; none over a relay.
    pub address: Option<SocketAddr>,
    /// Whether we called.
    pub called: bool,
    /// Whether it greeted.
    pub greeted: bool,
    /// Height of the best block that it told of.
    pub height: u64,
    /// That block.
    pub head: BlockId,
    /// Points for misdeeds; at 100 it is banned.
    pub points: u32,
    /// Since when, Unix milliseconds.
    pub since_ms: u64,
}

/// The machine.
#[derive(Debug)]
pub struct Engine<C: Chain> {
    chain: Arc<C>,
    settings: Settings,
    book: Book,
    origins: Origins,
    peers: BTreeMap<Link, Peer>,
    calling: BTreeSet<PeerId>,
    tip: Tip,
    /// The way to a trusted block, until it is known.
    path: Option<Path>,
    leader: Option<Leader>,
    window: Window<C::Standing>,
    /// Parts that were asked for, and of whom.
    asked: BTreeMap<Part, Link>,
    rejected: Recent<BlockId>,
    /// Transactions that were asked for: of whom, when.
    fetching: BTreeMap<B256, (Link, u64)>,
    /// Transactions to tell of at the next tick.
    to_tell: Vec<B256>,
    out: Vec<Output>,
}

impl<C: Chain> Engine<C> {
    /// A machine over a chain, that knows the peers of a book.
    ///
    /// # Errors
    /// [`Broken`] where the chain failed.
    pub fn new(chain: Arc<C>, settings: Settings, book: Book) -> Result<Self, Broken> {
        let tip = chain.tip();
        let path = match settings.trust {
            // Once the block is here, so is all that is below it.
            Some(trust) if chain.header(trust.id)?.is_none() => Some(Path::new(trust)),
            _ => None,
        };
        Ok(Self {
            chain,
            settings,
            book,
            origins: Origins::default(),
            peers: BTreeMap::new(),
            calling: BTreeSet::new(),
            tip,
            path,
            leader: None,
            window: Window::new(),
            asked: BTreeMap::new(),
            rejected: Recent::new(REJECTED),
            fetching: BTreeMap::new(),
            to_tell: Vec::new(),
            out: Vec::new(),
        })
    }

    /// The address book.
    #[must_use]
    pub const fn book(&self) -> &Book {
        &self.book
    }

    /// Addresses with which no handshake is made.
    #[must_use]
    pub fn banned_origins(&self, now_ms: u64) -> BTreeSet<Origin> {
        self.origins.banned(now_ms)
    }

    /// The peers, for people.
    #[must_use]
    pub fn peers(&self, now_ms: u64) -> Vec<PeerView> {
        self.peers.values().map(|peer| peer.view(now_ms)).collect()
    }

    /// Takes what happened; what is to be done.
    ///
    /// # Errors
    /// [`Broken`] where the chain failed.
    pub fn handle(&mut self, now_ms: u64, input: Input) -> Result<Vec<Output>, Broken> {
        match input {
            Input::Connected { link, peer, called, address } => {
                self.connected(now_ms, link, peer, called, address);
            }
            Input::CallFailed(peer) => {
                self.calling.remove(&peer);
                self.book.failed(now_ms, peer);
            }
            Input::Closed(link) => self.forget(now_ms, link),
            Input::Slow(link) => self.close(now_ms, link, Reason::Slow),
            Input::Undecodable(link, error) => {
                tracing::debug!(link = link.0, %error, "undecodable");
                let offence = match error {
                    WireError::Unasked(_) => Offence::Unasked,
                    _ => Offence::Malformed,
                };
                self.blame(now_ms, link, offence);
            }
            Input::Message(link, message) => self.hear(now_ms, link, message)?,
            Input::HeadMoved => {}
            Input::Waiting(hash) => self.remember_to_tell(hash),
            Input::Tick => self.tick(now_ms),
        }
        self.drive(now_ms)?;
        self.announce_head(now_ms)?;
        Ok(core::mem::take(&mut self.out))
    }

    fn send(&mut self, link: Link, message: Message) {
        self.out.push(Output::Send(link, message));
    }

    /// Peers that greeted.
    fn greeted(&self) -> impl Iterator<Item = (Link, &Peer)> {
        self.peers.iter().filter(|(_, peer)| peer.greeted).map(|(link, peer)| (*link, peer))
    }

    fn connected(
        &mut self,
        now_ms: u64,
        link: Link,
        peer: PeerId,
        called: bool,
        address: Option<SocketAddr>,
    ) {
        if called {
            self.calling.remove(&peer);
        }
        self.peers.insert(link, Peer::new(now_ms, peer, called, address));
        if self.book.is_banned(now_ms, peer) {
            return self.close(now_ms, link, Reason::Banned(None));
        }
        // Whom the operator named is welcome wherever it calls from.
        if !called && !self.book.is_named(peer) && !self.admits(now_ms, link, address) {
            return;
        }
        let other = self.peers.iter().find(|(old, other)| **old != link && other.id == peer);
        if let Some((old, other)) = other {
            // Both called at once: both keep the call of the lower key. Else the newer one counts:
            // its key is proved, and the older one's peer may have been restarted.
            let crossing = other.called != called && now_ms < other.since_ms + CROSSING_MS;
            let of_lower = called == (self.settings.me < peer);
            let loser = if crossing && !of_lower { link } else { *old };
            self.close(now_ms, loser, Reason::Twice);
            if loser == link {
                return;
            }
        }
        if !called && !self.has_room(address) {
            return self.close(now_ms, link, Reason::Full);
        }
        let tip = self.tip;
        if let Some(peer) = self.peers.get_mut(&link) {
            peer.told = tip.id;
        }
        let hello = Hello {
            protocol: PROTOCOL,
            chain_id: self.chain.chain_id(),
            genesis: self.chain.genesis(),
            tip,
            addresses: self.settings.addresses.iter().take(MAX_ADDRESSES).copied().collect(),
        };
        self.send(link, Message::Hello(hello));
    }

    /// Whether a caller's address is listened to (N-15); closed where it isn't.
    fn admits(&mut self, now_ms: u64, link: Link, address: Option<SocketAddr>) -> bool {
        let Some(origin) = address.and_then(|address| Origin::of(address.ip())) else {
            return true;
        };
        let reason = match self.origins.call(now_ms, origin) {
            Admission::Welcome => return true,
            Admission::Banned => Reason::Banned(None),
            Admission::TooOften => Reason::Full,
        };
        self.close(now_ms, link, reason);
        false
    }

    /// Whether there is room for one more caller, itself counted already (N-12).
    fn has_room(&self, address: Option<SocketAddr>) -> bool {
        let inbound = || self.peers.values().filter(|peer| !peer.called);
        if inbound().count() > self.settings.inbound {
            return false;
        }
        let Some(address) = address else {
            let relayed = inbound().filter(|peer| peer.address.is_none());
            return relayed.count() <= CALLERS_OVER_RELAYS;
        };
        let Some(origin) = Origin::of(address.ip()) else { return true };
        let origins = || inbound().filter_map(|peer| Origin::of(peer.address?.ip()));
        let near = origin.neighbourhood();
        origins().filter(|other| *other == origin).count() <= CALLERS_OF_ONE_ADDRESS
            && origins().filter(|other| other.neighbourhood() == near).count()
                <= CALLERS_OF_ONE_NEIGHBOURHOOD
    }

    /// Forgets a connection and what was expected of it.
    fn forget(&mut self, now_ms: u64, link: Link) {
        let Some(peer) = self.peers.remove(&link) else { return };
        if peer.called && !peer.greeted {
            self.book.failed(now_ms, peer.id);
        }
        self.asked.retain(|_, of| *of != link);
        self.fetching.retain(|_, (of, _)| *of != link);
        if self.leader.as_ref().is_some_and(|leader| leader.link == link) {
            self.leader = None;
        }
        if let Some(path) = self.path.as_mut().filter(|path| path.asked == Some(link)) {
            path.asked = None;
        }
        let peers = &self.peers;
        self.window.abandon(|entry| {
            peers.iter().any(|(link, peer)| {
                let has = *link == entry.source || peer.tip.height >= entry.height;
                peer.greeted && has && !entry.without.contains(link)
            })
        });
    }

    fn close(&mut self, now_ms: u64, link: Link, reason: Reason) {
        let Some(peer) = self.peers.get(&link) else { return };
        tracing::debug!(peer = %peer.id, ?reason, "closing");
        match reason {
            Reason::Banned(Some(_)) => self.book.ban(now_ms, peer.id),
            Reason::OtherNetwork
            | Reason::OtherProtocol
            | Reason::OtherBranch
            | Reason::Silent
            | Reason::Slow
            | Reason::CertificatesGone => {
                let id = peer.id;
                self.book.failed(now_ms, id);
            }
            Reason::Stopping | Reason::Full | Reason::Twice | Reason::Banned(None) => {}
        }
        self.out.push(Output::Close(link, reason));
        self.forget(now_ms, link);
    }

    /// Counts a misdeed, and bans whoever has too many.
    fn blame(&mut self, now_ms: u64, link: Link, offence: Offence) {
        let Some(peer) = self.peers.get_mut(&link) else { return };
        let banned = peer.score.add(now_ms, offence);
        tracing::info!(peer = %peer.id, ?offence, banned, "misdeed");
        if let Some(origin) = peer.address.and_then(|address| Origin::of(address.ip())) {
            self.origins.blame(now_ms, origin, offence);
        }
        if banned {
            self.close(now_ms, link, Reason::Banned(Some(offence)));
        }
    }

    fn hear(&mut self, now_ms: u64, link: Link, message: Message) -> Result<(), Broken> {
        // One that was closed a moment ago may still be heard.
        let Some(peer) = self.peers.get_mut(&link) else { return Ok(()) };
        if !peer.may(now_ms, &message) {
            self.blame(now_ms, link, Offence::Flooded);
            return Ok(());
        }
        if peer.greeted == matches!(message, Message::Hello(_)) {
            self.blame(now_ms, link, Offence::OutOfTurn);
            return Ok(());
        }
        match message {
            Message::Hello(hello) => self.greet(now_ms, link, &hello),
            Message::Announce { tip, header } => self.announced(now_ms, link, tip, header)?,
            Message::GetHeaders(locator) => self.serve_headers(link, &locator)?,
            Message::Headers(headers) => self.take_headers(now_ms, link, headers)?,
            Message::GetParts(parts) => {
                self.out.extend(parts.into_iter().map(|part| Output::Serve(link, part)));
            }
            Message::Part(part, bytes) => self.take_part(now_ms, link, part, bytes)?,
            Message::Missing(part) => self.part_missing(now_ms, link, part),
            Message::Waiting(hashes) => self.fetch_transactions(now_ms, link, hashes),
            Message::GetTransactions(hashes) => self.serve_transactions(link, &hashes),
            Message::Transactions(raw) => self.take_transactions(now_ms, link, raw)?,
            Message::GetContacts => self.serve_contacts(now_ms, link),
            Message::Contacts(contacts) => self.take_contacts(now_ms, link, contacts),
        }
        Ok(())
    }

    fn greet(&mut self, now_ms: u64, link: Link, hello: &Hello) {
        if hello.protocol != PROTOCOL {
            return self.close(now_ms, link, Reason::OtherProtocol);
        }
        if hello.chain_id != self.chain.chain_id() || hello.genesis != self.chain.genesis() {
            return self.close(now_ms, link, Reason::OtherNetwork);
        }
        let Some(peer) = self.peers.get_mut(&link) else { return };
        peer.greeted = true;
        peer.tip = hello.tip;
        let (id, called, seen) = (peer.id, peer.called, peer.address);
        peer.asked_contacts = called;
        let told = hello.addresses.iter().copied().filter(|told| self.believes(seen, *told));
        // An endpoint calls from the port that it listens on.
        let mut addresses: Vec<SocketAddr> = seen.into_iter().collect();
        for address in told {
            if !addresses.contains(&address) && addresses.len() < MAX_ADDRESSES {
                addresses.push(address);
            }
        }
        self.book.met(now_ms, Contact { peer: id, addresses });
        if called {
            self.send(link, Message::GetContacts);
        }
        self.tell_waiting(link);
    }

    /// Whether to believe an address that a peer tells, which is seen from `seen`.
    fn believes(&self, seen: Option<SocketAddr>, told: SocketAddr) -> bool {
        let from = seen.map_or(IpAddr::from([1, 1, 1, 1]), |seen| seen.ip());
        may_tell(from, told.ip()) && !self.settings.addresses.contains(&told)
    }

    fn tick(&mut self, now_ms: u64) {
        let silent: Vec<Link> = self
            .peers
            .iter()
            .filter(|(_, peer)| !peer.greeted && peer.since_ms + GREETING_MS < now_ms)
            .map(|(link, _)| *link)
            .collect();
        for link in silent {
            self.close(now_ms, link, Reason::Silent);
        }
        self.check_deadlines(now_ms);
        self.forget_fetching(now_ms);
        self.tell_all_waiting();
        let mut busy: BTreeSet<PeerId> = self.peers.values().map(|peer| peer.id).collect();
        busy.extend(&self.calling);
        busy.insert(self.settings.me);
        let called = self.peers.values().filter(|peer| peer.called).count() + self.calling.len();
        let room = self.settings.outbound.saturating_sub(called);
        for contact in self.book.to_call(now_ms, room, &busy) {
            let all_banned = contact.addresses.iter().all(|address| {
                let origin = Origin::of(address.ip());
                origin.is_some_and(|origin| self.origins.is_banned(now_ms, origin))
            });
            if all_banned && !self.book.is_named(contact.peer) {
                self.book.failed(now_ms, contact.peer);
                continue;
            }
            self.calling.insert(contact.peer);
            self.out.push(Output::Call(contact));
        }
    }
}
