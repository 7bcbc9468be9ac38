//! Several machines and the wires between them, in virtual time: same calls, same trace.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;

use super::fake::Fake;
use crate::chain::Chain;
use crate::engine::{Engine, Input, Link, Output, Settings};
use crate::window;
use crate::wire::{Frame, Message, Part, Tip};
use crate::{Book, Contact, PeerId, Trust};

/// How long a message takes, milliseconds.
const WIRE_MS: u64 = 20;
const TICK_MS: u64 = 250;
/// How long it takes to find out that a wire is cut, milliseconds.
const CUT_MS: u64 = 10_000;

pub(super) fn id_of(node: usize) -> PeerId {
    PeerId::new([u8::try_from(node).unwrap() + 1; 32])
}

fn address_of(node: usize) -> core::net::SocketAddr {
    ([127, 0, 0, 1], 1_000 + u16::try_from(node).unwrap()).into()
}

pub(super) struct World {
    pub(super) now_ms: u64,
    pub(super) nodes: Vec<(Arc<Fake>, Engine<Fake>)>,
    /// Both ends of a connection: of which node, and the other end.
    ends: BTreeMap<Link, (usize, Link)>,
    queue: BTreeMap<(u64, u64), (usize, Input)>,
    cut: BTreeSet<(usize, usize)>,
    /// Nodes that read but do not answer.
    pub(super) mute: BTreeSet<usize>,
    next: u64,
    told: BTreeMap<usize, Tip>,
}

impl World {
    /// Nodes that know each of those before them as `known` says.
    pub(super) fn new(count: usize, known: impl Fn(usize) -> Vec<usize>) -> Self {
        let nodes = (0..count).map(|node| {
            let chain = Arc::new(Fake::new());
            let mut book = Book::default();
            for other in known(node) {
                book.name(Contact { peer: id_of(other), addresses: vec![address_of(other)] });
            }
            let settings =
                Settings { addresses: vec![address_of(node)], ..Settings::new(id_of(node)) };
            let engine = Engine::new(Arc::clone(&chain), settings, book).unwrap();
            (chain, engine)
        });
        let mut world = Self {
            now_ms: 1_000,
            nodes: nodes.collect(),
            ends: BTreeMap::new(),
            queue: BTreeMap::new(),
            cut: BTreeSet::new(),
            mute: BTreeSet::new(),
            next: 0,
            told: BTreeMap::new(),
        };
        for node in 0..count {
            world.post(u64::try_from(node).unwrap(), node, Input::Tick);
        }
        world
    }

    /// Starts a node anew that knows these others and trusts a block.
    pub(super) fn trust(&mut self, node: usize, known: &[usize], trust: Trust) {
        let mut book = Book::default();
        for other in known {
            book.name(Contact { peer: id_of(*other), addresses: vec![address_of(*other)] });
        }
        let settings = Settings {
            addresses: vec![address_of(node)],
            trust: Some(trust),
            ..Settings::new(id_of(node))
        };
        let chain = Arc::clone(&self.nodes[node].0);
        self.nodes[node].1 = Engine::new(chain, settings, book).unwrap();
    }

    pub(super) fn chain(&self, node: usize) -> &Fake {
        &self.nodes[node].0
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    pub(super) fn post(&mut self, after_ms: u64, node: usize, input: Input) {
        let number = self.number();
        self.queue.insert((self.now_ms + after_ms, number), (node, input));
    }

    fn is_cut(&self, a: usize, b: usize) -> bool {
        self.cut.contains(&(a.min(b), a.max(b)))
    }

    pub(super) fn cut(&mut self, a: usize, b: usize) {
        self.cut.insert((a.min(b), a.max(b)));
        let ends: Vec<_> = self.ends.iter().map(|(link, end)| (*link, *end)).collect();
        for (link, (node, other)) in ends {
            let Some((peer, _)) = self.ends.get(&other).copied() else { continue };
            if (node, peer) == (a, b) || (node, peer) == (b, a) {
                self.post(CUT_MS, node, Input::Closed(link));
            }
        }
    }

    pub(super) fn mend(&mut self, a: usize, b: usize) {
        self.cut.remove(&(a.min(b), a.max(b)));
    }

    fn send(&mut self, from: usize, link: Link, message: &Message) {
        let Some((_, other)) = self.ends.get(&link).copied() else { return };
        let Some((to, _)) = self.ends.get(&other).copied() else { return };
        if self.is_cut(from, to) || self.mute.contains(&from) && answers(message) {
            return;
        }
        // Through the codec, as on a wire.
        let bytes = message.encode();
        let frame = Frame::read(*bytes.first_chunk().unwrap()).unwrap();
        let read = Message::decode(frame.kind, Bytes::from(bytes).split_off(Frame::BYTES));
        let read = read.unwrap();
        self.post(WIRE_MS, to, Input::Message(other, read));
    }

    fn call(&mut self, from: usize, contact: &Contact) {
        let to = (0..self.nodes.len()).find(|node| id_of(*node) == contact.peer).unwrap();
        if self.is_cut(from, to) {
            return self.post(CUT_MS, from, Input::CallFailed(contact.peer));
        }
        let (near, far) = (Link(self.number()), Link(self.number()));
        self.ends.insert(near, (from, far));
        self.ends.insert(far, (to, near));
        let connected = |link, other: usize, called| Input::Connected {
            link,
            peer: id_of(other),
            called,
            address: Some(address_of(other)),
        };
        self.post(WIRE_MS, from, connected(near, to, true));
        self.post(WIRE_MS, to, connected(far, from, false));
    }

    fn perform(&mut self, node: usize, output: Output) {
        match output {
            Output::Send(link, message) => self.send(node, link, &message),
            Output::Serve(link, part) => {
                let message = match self.chain(node).part(part).unwrap() {
                    Some(bytes) => Message::Part(part, bytes),
                    None => Message::Missing(part),
                };
                self.send(node, link, &message);
            }
            Output::Close(link, _) => {
                if let Some((_, other)) = self.ends.remove(&link)
                    && let Some((to, _)) = self.ends.get(&other).copied()
                {
                    self.post(WIRE_MS, to, Input::Closed(other));
                }
            }
            Output::Call(contact) => self.call(node, &contact),
        }
    }

    /// Handles the next thing that happens.
    pub(super) fn step(&mut self) {
        let ((at_ms, _), (node, input)) = self.queue.pop_first().unwrap();
        self.now_ms = at_ms;
        if matches!(input, Input::Tick) {
            self.post(TICK_MS, node, Input::Tick);
        }
        self.nodes[node].0.set_now(at_ms);
        let engine = &mut self.nodes[node].1;
        let outputs = engine.handle(at_ms, input).unwrap();
        assert!(engine.window.len() <= window::CAPACITY, "the window is bounded");
        assert!(engine.window.bytes() <= 64 << 20 && engine.asked.len() <= 24, "so are parts");
        for output in outputs {
            self.perform(node, output);
        }
        let tip = self.chain(node).tip();
        if self.told.insert(node, tip).is_some_and(|before| before != tip) {
            self.post(0, node, Input::HeadMoved);
        }
    }

    /// Runs until something holds, for at most this much virtual time.
    pub(super) fn run_until(&mut self, limit_ms: u64, holds: impl Fn(&Self) -> bool) -> bool {
        let end_ms = self.now_ms + limit_ms;
        while self.now_ms < end_ms {
            if holds(self) {
                return true;
            }
            self.step();
        }
        holds(self)
    }

    pub(super) fn mine(&mut self, node: usize, weight: u64, salt: u64, flags: u8) {
        self.chain(node).mine(weight, salt, flags);
        self.post(0, node, Input::HeadMoved);
    }

    pub(super) fn agree(&self) -> bool {
        let tip = self.chain(0).tip();
        self.nodes.iter().all(|(chain, _)| chain.tip() == tip)
    }

    pub(super) fn greeted(&self, node: usize) -> usize {
        self.nodes[node].1.greeted().count()
    }

    pub(super) fn points(&self, node: usize) -> u32 {
        self.nodes[node].1.peers(self.now_ms).iter().map(|peer| peer.points).sum()
    }

    /// Nobody did anything wrong, and nobody is banned.
    pub(super) fn assert_peace(&self) {
        for node in 0..self.nodes.len() {
            assert_eq!(self.points(node), 0, "node {node}");
            assert_eq!(self.nodes[node].1.book().banned(self.now_ms), 0, "node {node}");
        }
    }
}

fn answers(message: &Message) -> bool {
    matches!(message, Message::Headers(_) | Message::Part(_, _) | Message::Missing(Part::Body(_)))
}
