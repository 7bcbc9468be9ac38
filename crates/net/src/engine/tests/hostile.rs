//! Peers that lie, flood, withhold and equivocate, one message at a time.

use std::sync::Arc;

use alloy_primitives::{B256, U256, keccak256};
use bytes::Bytes;

use super::fake::{
    BAD_BLOCK, BAD_HEADER, CERTIFIED, CHAIN_ID, Fake, HORIZON, body, certificate, header,
};
use super::world::id_of;
use crate::Book;
use crate::chain::{Chain, block_id};
use crate::contact::Contact;
use crate::engine::{Engine, Input, Link, Output, Reason, Settings};
use crate::score::Offence;
use crate::wire::{BlockId, Hello, Message, PROTOCOL, Part, Tip, WireError};

/// One machine, with the test for its peers.
struct Victim {
    chain: Arc<Fake>,
    engine: Engine<Fake>,
    now_ms: u64,
}

fn nothing() -> Tip {
    Tip { id: B256::ZERO, height: 0, weight: U256::ZERO }
}

impl Victim {
    fn new() -> Self {
        let chain = Arc::new(Fake::new());
        let engine =
            Engine::new(Arc::clone(&chain), Settings::new(id_of(0)), Book::default()).unwrap();
        Self { chain, engine, now_ms: 1_000_000 }
    }

    fn put(&mut self, input: Input) -> Vec<Output> {
        self.engine.handle(self.now_ms, input).unwrap()
    }

    fn say(&mut self, peer: usize, message: Message) -> Vec<Output> {
        self.put(Input::Message(link(peer), message))
    }

    fn connect(&mut self, peer: usize) -> Vec<Output> {
        let (link, peer) = (link(peer), id_of(peer));
        let address = Some(([127, 0, 0, 1], 9).into());
        self.put(Input::Connected { link, peer, called: false, address })
    }

    /// A peer that greeted and claims this.
    fn greet(&mut self, peer: usize, tip: Tip) -> Vec<Output> {
        self.connect(peer);
        let hello = self.hello(tip);
        self.say(peer, Message::Hello(hello))
    }

    fn hello(&self, tip: Tip) -> Hello {
        let genesis = self.chain.genesis();
        Hello { protocol: PROTOCOL, chain_id: CHAIN_ID, genesis, tip, addresses: Vec::new() }
    }

    fn announce(&mut self, peer: usize, header: &Bytes, weight: u64) -> Vec<Output> {
        let tip = Tip { id: block_id(header), height: 1, weight: U256::from(weight) };
        self.say(peer, Message::Announce { tip, header: header.clone() })
    }

    fn is_banned(&self, peer: usize) -> bool {
        self.engine.book().is_banned(self.now_ms, id_of(peer))
    }

    fn child(&self, salt: u64, flags: u8) -> Bytes {
        let tip = self.chain.tip();
        header(tip.id, tip.height + 1, 1, salt, flags)
    }
}

fn link(peer: usize) -> Link {
    Link(u64::try_from(peer).unwrap())
}

fn banned_for(outputs: &[Output], peer: usize, offence: Offence) -> bool {
    outputs.contains(&Output::Close(link(peer), Reason::Banned(Some(offence))))
}

fn asks_for(outputs: &[Output], peer: usize, part: Part) -> bool {
    outputs.iter().any(|output| {
        matches!(output, Output::Send(to, Message::GetParts(parts))
            if *to == link(peer) && parts.contains(&part))
    })
}

#[test]
fn n1_a_peer_greets_first_once_and_for_this_network() {
    let mut victim = Victim::new();
    victim.connect(1);
    let out = victim.say(1, Message::GetContacts);
    assert!(banned_for(&out, 1, Offence::OutOfTurn), "{out:?}");

    victim.greet(2, nothing());
    let hello = victim.hello(nothing());
    let out = victim.say(2, Message::Hello(hello));
    assert!(banned_for(&out, 2, Offence::OutOfTurn));

    let good = victim.hello(nothing());
    for (peer, hello, reason) in [
        (3, Hello { protocol: 2, ..good.clone() }, Reason::OtherProtocol),
        (4, Hello { chain_id: 8, ..good.clone() }, Reason::OtherNetwork),
        (5, Hello { genesis: B256::repeat_byte(9), ..good }, Reason::OtherNetwork),
    ] {
        victim.connect(peer);
        let out = victim.say(peer, Message::Hello(hello));
        assert!(out.contains(&Output::Close(link(peer), reason)), "{out:?}");
        assert!(!victim.is_banned(peer), "another network is no misdeed");
    }
    victim.connect(6);
    victim.now_ms += 10_001;
    let out = victim.put(Input::Tick);
    assert!(out.contains(&Output::Close(link(6), Reason::Silent)));
}

#[test]
fn n10_a_banned_peer_is_not_let_in_again() {
    let mut victim = Victim::new();
    victim.greet(1, nothing());
    let out = victim.put(Input::Undecodable(link(1), WireError::Kind(99)));
    assert!(banned_for(&out, 1, Offence::Malformed));
    let out = victim.connect(1);
    assert_eq!(out, [Output::Close(link(1), Reason::Banned(None))]);
    victim.now_ms += crate::score::BAN_MS;
    assert!(matches!(victim.connect(1)[..], [Output::Send(..)]));
}

#[test]
fn n4_an_answer_that_nobody_asked_for_is_a_ban() {
    let id = B256::repeat_byte(1);
    let contact = Contact { peer: id_of(9), addresses: vec![([127, 0, 0, 1], 9).into()] };
    for message in [
        Message::Headers(Vec::new()),
        Message::Part(Part::Body(id), Bytes::new()),
        Message::Missing(Part::Body(id)),
        Message::Transactions(vec![Bytes::from_static(b"tx")]),
        Message::Contacts(vec![contact]),
    ] {
        let mut victim = Victim::new();
        victim.greet(1, nothing());
        let out = victim.say(1, message.clone());
        assert!(banned_for(&out, 1, Offence::Unasked), "{message:?}: {out:?}");
    }
}

#[test]
fn n7_a_weight_that_no_chain_has_costs_half_and_then_the_ban() {
    let mut victim = Victim::new();
    let lie = Tip { id: B256::repeat_byte(9), height: 1_000_000, weight: U256::MAX };
    let out = victim.greet(1, lie);
    assert!(out.iter().any(|o| matches!(o, Output::Send(_, Message::GetHeaders(_)))), "{out:?}");
    let out = victim.say(1, Message::Headers(Vec::new()));
    assert!(out.is_empty(), "{out:?}");
    assert_eq!(victim.engine.peers(victim.now_ms)[0].points, 50);
    let header = header(B256::repeat_byte(8), 1_000_001, 1, 0, 0);
    let out = victim.announce(1, &header, 1_000);
    assert!(out.iter().any(|o| matches!(o, Output::Send(_, Message::GetHeaders(_)))), "{out:?}");
    let out = victim.say(1, Message::Headers(Vec::new()));
    assert!(banned_for(&out, 1, Offence::Lied), "{out:?}");
}

#[test]
fn n7_headers_that_lead_nowhere_are_no_answer() {
    let mut victim = Victim::new();
    let claim = Tip { id: B256::repeat_byte(9), height: 10, weight: U256::from(10) };
    victim.greet(1, claim);
    victim.say(1, Message::Headers(vec![header(B256::repeat_byte(8), 9, 1, 0, 0)]));
    assert_eq!(victim.engine.peers(victim.now_ms)[0].points, Offence::Unconnected.points());
    // The same known headers again and again.
    let mut victim = Victim::new();
    let known = victim.chain.mine(1, 1, 0);
    let known = victim.chain.header_of(known);
    victim.greet(1, claim);
    let mut points = 0;
    for _ in 0..70 {
        victim.say(1, Message::Headers(vec![known.clone()]));
        points = victim.engine.peers(victim.now_ms).first().map_or(100, |peer| peer.points);
        if points > 0 {
            break;
        }
    }
    assert!(points >= 50);
}

#[test]
fn n5_nothing_is_kept_of_10_000_orphans() {
    let mut victim = Victim::new();
    victim.greet(1, nothing());
    let mut ended = false;
    for salt in 0..10_000 {
        let header = header(B256::repeat_byte(7), 50, 1, salt, 0);
        // No more weight than we have: not even a question follows.
        let out = victim.announce(1, &header, 0);
        assert_eq!(victim.engine.window.len(), 0);
        ended |= banned_for(&out, 1, Offence::Flooded);
    }
    assert!(ended && victim.is_banned(1), "nobody needs to say so much");
}

#[test]
fn n9_a_flood_of_questions_or_hashes_is_a_ban() {
    let ask = |number: u64| Message::GetHeaders(vec![keccak256(number.to_le_bytes())]);
    let tell = |number: u64| Message::Waiting(vec![keccak256(number.to_le_bytes()); 512]);
    for message in [ask as fn(u64) -> Message, tell, |_| Message::GetContacts] {
        let mut victim = Victim::new();
        victim.greet(1, nothing());
        let banned = (0..20_000).any(|number| {
            let out = victim.say(1, message(number));
            assert!(victim.engine.fetching.len() <= 4_096);
            banned_for(&out, 1, Offence::Flooded)
        });
        assert!(banned, "{:?}", message(0));
    }
}

#[test]
fn n10_what_breaks_a_rule_bans_whoever_sent_it() {
    let mut victim = Victim::new();
    victim.greet(1, nothing());
    let out = victim.announce(1, &victim.child(1, BAD_HEADER), 5);
    assert!(banned_for(&out, 1, Offence::InvalidHeader));

    victim.greet(2, nothing());
    let bad = victim.child(2, BAD_BLOCK);
    let id = block_id(&bad);
    let out = victim.announce(2, &bad, 5);
    assert!(asks_for(&out, 2, Part::Body(id)));
    // A child of it waits for it; both go.
    victim.announce(2, &header(id, 2, 1, 0, 0), 6);
    assert_eq!(victim.engine.window.len(), 2);
    let out = victim.say(2, Message::Part(Part::Body(id), body(id)));
    assert!(banned_for(&out, 2, Offence::InvalidBlock));
    assert_eq!(victim.engine.window.len(), 0);
    // Whoever comes with it again needs no second look.
    victim.greet(3, nothing());
    let out = victim.announce(3, &bad, 5);
    assert!(banned_for(&out, 3, Offence::InvalidHeader));

    victim.greet(4, nothing());
    let raw = Bytes::from_static(b"! no transaction");
    let out = victim.say(4, Message::Waiting(vec![keccak256(&raw)]));
    assert!(matches!(&out[..], [Output::Send(_, Message::GetTransactions(_))]));
    let out = victim.say(4, Message::Transactions(vec![raw]));
    assert!(banned_for(&out, 4, Offence::InvalidTransaction));

    victim.greet(5, nothing());
    let raw = Bytes::from_static(b"? not now");
    victim.say(5, Message::Waiting(vec![keccak256(&raw)]));
    victim.say(5, Message::Transactions(vec![raw]));
    assert!(!victim.is_banned(5), "what has no place here and now is no misdeed");

    victim.greet(6, nothing());
    let (real, other) = (victim.child(6, 0), victim.child(7, 0));
    let tip = Tip { id: block_id(&other), height: 1, weight: U256::from(9) };
    let out = victim.say(6, Message::Announce { tip, header: real });
    assert!(banned_for(&out, 6, Offence::InvalidHeader), "the id is the header's");
}

#[test]
fn n10_a_foreign_body_bans_its_sender_and_the_block_comes_from_another() {
    let mut victim = Victim::new();
    victim.greet(1, nothing());
    let block = victim.child(1, CERTIFIED);
    let id = block_id(&block);
    victim.announce(1, &block, 1);
    victim.greet(2, Tip { id, height: 1, weight: U256::from(1) });
    victim.say(1, Message::Part(Part::Certificate(id), certificate(id)));
    let out = victim.say(1, Message::Part(Part::Body(id), Bytes::from_static(b"another's")));
    assert!(banned_for(&out, 1, Offence::ForeignPart));
    assert!(asks_for(&out, 2, Part::Body(id)), "{out:?}");
    victim.say(2, Message::Part(Part::Body(id), body(id)));
    assert_eq!(victim.chain.tip().id, id, "the certificate was good");
    assert!(!victim.is_banned(2));

    let block = victim.child(2, CERTIFIED);
    let id = block_id(&block);
    let out = victim.announce(2, &block, 2);
    assert!(asks_for(&out, 2, Part::Certificate(id)), "fetched by need");
    victim.say(2, Message::Part(Part::Body(id), body(id)));
    assert_ne!(victim.chain.tip().id, id, "no block of lane 1 without its certificate");
    let out = victim.say(2, Message::Part(Part::Certificate(id), Bytes::from_static(b"no")));
    assert!(banned_for(&out, 2, Offence::ForeignPart));
}

#[test]
fn a_block_that_its_announcer_lacks_comes_from_another() {
    let mut victim = Victim::new();
    victim.greet(1, nothing());
    let block = victim.child(1, 0);
    let id = block_id(&block);
    victim.greet(2, Tip { id, height: 1, weight: U256::from(1) });
    let out = victim.announce(1, &block, 1);
    assert!(asks_for(&out, 1, Part::Body(id)));
    let out = victim.say(1, Message::Missing(Part::Body(id)));
    assert!(asks_for(&out, 2, Part::Body(id)), "{out:?}");
    assert_eq!(victim.engine.peers(victim.now_ms)[0].points, Offence::Withheld.points());
    // If nobody has it, it is forgotten.
    victim.say(2, Message::Missing(Part::Body(id)));
    assert_eq!(victim.engine.window.len(), 0);
}

#[test]
fn two_blocks_of_one_miner_at_one_height_are_both_taken() {
    let mut victim = Victim::new();
    victim.greet(1, nothing());
    victim.greet(2, nothing());
    let (one, two) = (victim.child(1, 0), victim.child(2, 0));
    for (peer, block) in [(1, &one), (2, &two)] {
        let id = block_id(block);
        victim.announce(peer, block, 1);
        victim.say(peer, Message::Part(Part::Body(id), body(id)));
    }
    assert_eq!(victim.chain.tip().id, block_id(&one), "the first seen stays");
    let next = header(block_id(&two), 2, 1, 0, 0);
    victim.announce(2, &next, 2);
    victim.say(2, Message::Part(Part::Body(block_id(&next)), body(block_id(&next))));
    assert_eq!(victim.chain.tip().id, block_id(&next), "until the other is heavier");
    assert!(victim.engine.peers(victim.now_ms).iter().all(|peer| peer.points == 0));
}

#[test]
fn n14_blocks_that_weigh_nothing_are_fetched_only_on_the_head_or_below_something_heavier() {
    let mut victim = Victim::new();
    victim.greet(1, nothing());
    victim.chain.mine(1, 0, 0);
    let tip = victim.chain.tip();
    let light = |salt| header(tip.id, tip.height + 1, 0, salt, 0);
    let first = light(0);
    let out = victim.announce(1, &first, 1);
    let id = block_id(&first);
    assert!(asks_for(&out, 1, Part::Body(id)), "{out:?}");
    victim.say(1, Message::Part(Part::Body(id), body(id)));
    assert_eq!(victim.chain.tip().id, id);
    // Any number of others in its place: its maker pays a signature for each.
    for salt in 1..6 {
        let out = victim.announce(1, &light(salt), 1);
        assert!(!asks_for(&out, 1, Part::Body(block_id(&light(salt)))), "{out:?}");
    }
    assert_eq!(victim.engine.window.len(), 0);
    // One that something heavier follows is found by its headers.
    let next = header(block_id(&light(3)), tip.height + 2, 1, 0, 0);
    let out = victim.announce(1, &next, 2);
    let asks = |output: &Output| matches!(output, Output::Send(_, Message::GetHeaders(_)));
    assert!(out.iter().any(asks), "{out:?}");
}

#[test]
fn n11_a_branch_from_too_far_back_ends_the_talk_without_a_ban() {
    let mut victim = Victim::new();
    let genesis: BlockId = victim.chain.genesis();
    for block in 0..=HORIZON {
        victim.chain.mine(1, block, 0);
    }
    victim.greet(1, nothing());
    let out = victim.announce(1, &header(genesis, 1, 1, 99, 0), 10_000);
    assert!(out.contains(&Output::Close(link(1), Reason::OtherBranch)), "{out:?}");
    assert!(!victim.is_banned(1));
}

#[test]
fn n12_no_more_callers_than_there_is_room_for() {
    let mut victim = Victim::new();
    for peer in 1..=64 {
        victim.greet(peer, nothing());
    }
    let out = victim.connect(65);
    assert_eq!(out, [Output::Close(link(65), Reason::Full)]);
    victim.put(Input::Closed(link(3)));
    assert!(matches!(victim.connect(66)[..], [Output::Send(..)]));
}

#[test]
fn n12_one_address_does_not_take_all_the_room() {
    let mut victim = Victim::new();
    let mut call = |peer: usize, ip: [u8; 4]| {
        let (link, peer, address) = (link(peer), id_of(peer), Some((ip, 9).into()));
        victim.put(Input::Connected { link, peer, called: false, address })
    };
    for peer in 1..=8 {
        assert!(matches!(call(peer, [1, 1, 1, 1])[..], [Output::Send(..)]));
    }
    assert_eq!(call(9, [1, 1, 1, 1]), [Output::Close(link(9), Reason::Full)]);
    assert!(matches!(call(10, [1, 1, 1, 2])[..], [Output::Send(..)]));
}

/// Connects a key of its own from an address.
fn call_from(victim: &mut Victim, peer: usize, ip: [u8; 4]) -> Vec<Output> {
    let (link, peer, address) = (link(peer), id_of(peer), Some((ip, 9).into()));
    victim.put(Input::Connected { link, peer, called: false, address })
}

#[test]
fn n12_a_neighbourhood_or_a_relay_does_not_take_all_the_room() {
    let mut victim = Victim::new();
    for peer in 1..=16 {
        let ip = [1, 1, 1, u8::try_from(peer).unwrap()];
        assert!(matches!(call_from(&mut victim, peer, ip)[..], [Output::Send(..)]));
    }
    let out = call_from(&mut victim, 17, [1, 1, 1, 200]);
    assert_eq!(out, [Output::Close(link(17), Reason::Full)]);
    assert!(matches!(call_from(&mut victim, 18, [1, 1, 2, 1])[..], [Output::Send(..)]));
    let mut over_relay = |peer: usize| {
        let (link, peer) = (link(peer), id_of(peer));
        victim.put(Input::Connected { link, peer, called: false, address: None })
    };
    for peer in 20..52 {
        assert!(matches!(over_relay(peer)[..], [Output::Send(..)]));
    }
    assert_eq!(over_relay(52), [Output::Close(link(52), Reason::Full)]);
}

#[test]
fn n15_new_keys_do_not_help_an_address_that_misbehaves() {
    let mut victim = Victim::new();
    for peer in 1..=3 {
        assert!(matches!(call_from(&mut victim, peer, [1, 1, 1, 1])[..], [Output::Send(..)]));
        let out = victim.put(Input::Undecodable(link(peer), WireError::Kind(99)));
        assert!(banned_for(&out, peer, Offence::Malformed));
    }
    let out = call_from(&mut victim, 4, [1, 1, 1, 1]);
    assert_eq!(out, [Output::Close(link(4), Reason::Banned(None))], "a key nobody saw before");
    assert_eq!(victim.engine.banned_origins(victim.now_ms).len(), 1);
    assert!(matches!(call_from(&mut victim, 5, [1, 1, 1, 2])[..], [Output::Send(..)]));
    // Nobody there is called either, but whom the operator named.
    let contact =
        |peer: usize| Contact { peer: id_of(peer), addresses: vec![([1, 1, 1, 1], 9).into()] };
    victim.engine.book.hear(contact(6));
    victim.engine.book.name(contact(7));
    assert_eq!(victim.put(Input::Tick), [Output::Call(contact(7))]);
    assert!(matches!(call_from(&mut victim, 7, [1, 1, 1, 1])[..], [Output::Send(..)]));
    victim.now_ms += crate::score::BAN_MS;
    assert!(matches!(call_from(&mut victim, 8, [1, 1, 1, 1])[..], [Output::Send(..)]));
}

#[test]
fn n15_an_address_that_opens_connections_without_end_is_shut_out() {
    let mut victim = Victim::new();
    let mut refused = 0;
    for peer in 1..=60 {
        let out = call_from(&mut victim, peer, [1, 1, 1, 1]);
        refused += usize::from(out == [Output::Close(link(peer), Reason::Banned(None))]);
        victim.put(Input::Closed(link(peer)));
    }
    assert!(refused > 10, "{refused}");
    assert!(victim.engine.book().is_empty(), "nothing is kept of who said nothing");
}

#[test]
fn n13_addresses_nearer_than_the_teller_are_not_believed() {
    let mut victim = Victim::new();
    let address = Some(([8, 8, 8, 8], 9).into());
    let out = victim.put(Input::Connected { link: link(1), peer: id_of(1), called: true, address });
    assert!(matches!(out[..], [Output::Send(..)]));
    let hello = victim.hello(nothing());
    victim.say(1, Message::Hello(hello));
    let contact =
        |peer: usize, ip: [u8; 4]| Contact { peer: id_of(peer), addresses: vec![(ip, 9).into()] };
    let contacts =
        vec![contact(2, [127, 0, 0, 1]), contact(3, [192, 168, 0, 1]), contact(4, [1, 1, 1, 1])];
    victim.say(1, Message::Contacts(contacts));
    victim.now_ms += 1_000;
    let called = victim.put(Input::Tick);
    assert_eq!(called, [Output::Call(contact(4, [1, 1, 1, 1]))]);
}
