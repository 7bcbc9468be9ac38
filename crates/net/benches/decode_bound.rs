//! The figure `decode-bound`: what one message of a hostile peer costs before it is banned, in
//! memory and in time. Each input is as long as its kind allows and wrong as late as possible.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a bench's report")]

use std::hint::black_box;
use std::mem::size_of;
use std::time::{Duration, Instant};

use alloy_primitives::{Address, B256, U256, keccak256};
use bytes::Bytes;
use pouw_chain::{Block, Chain, ImportError, Options};
use pouw_consensus::{BodyError, Claim, Header, Puzzle, Solver};
use pouw_ledger::decode_transaction;
use pouw_net::chain::block_id;
use pouw_net::wire::{
    Frame, MAX_CONTACTS, MAX_HASHES, MAX_HEADER_BYTES, MAX_HEADERS, MAX_TRANSACTIONS_BYTES,
    Message, Part,
};
use pouw_net::{Contact, MAX_ADDRESSES, PeerId};
use pouw_types::Network;

/// Promised: 8 MiB and 5 ms.
const GOAL_MIB: f64 = 8.0;
const GOAL_MS: f64 = 5.0;
const ROUNDS: usize = 33;
/// As many as the gas of a block allows with as many bytes together as a body may have.
const TRANSACTIONS: usize = 2_190;
const TRANSACTION_BYTES: usize = 4 * 1024 * 1024 / TRANSACTIONS;

/// A frame, and what is done with its message until the sender is banned.
struct Case {
    name: &'static str,
    bytes: Bytes,
    /// Bytes beside the payload: what the lists take.
    beside: usize,
    judge: Box<dyn Fn(Message)>,
}

impl Case {
    fn new(
        name: &'static str,
        message: &Message,
        beside: usize,
        judge: impl Fn(Message) + 'static,
    ) -> Self {
        Self { name, bytes: message.encode().into(), beside, judge: Box::new(judge) }
    }

    fn run(&self) -> Duration {
        let began = Instant::now();
        let frame = Frame::read(*self.bytes.first_chunk().expect("a frame")).expect("a frame");
        let message = Message::decode(frame.kind, self.bytes.slice(Frame::BYTES..));
        (self.judge)(message.expect("a message"));
        began.elapsed()
    }

    fn median_ms(&self) -> f64 {
        let mut times: Vec<Duration> = (0..ROUNDS).map(|_| self.run()).collect();
        times.sort();
        times[ROUNDS / 2].as_secs_f64() * 1_000.0
    }

    fn mib(&self) -> f64 {
        f64::from(u32::try_from(self.bytes.len() + self.beside).expect("a small number"))
            / 1_048_576.0
    }
}

/// A header with a solution that verifies, for another core: the longest way to a refusal.
fn headers() -> Case {
    let network = Network::devnet();
    let chain = Chain::in_memory(Options::new(network)).expect("a chain");
    let solver = Solver::new(network.lane_zero.n, network.lane_zero.k).expect("a solver");
    let block = chain.template(Address::ZERO).expect("a template").seal(&solver, u64::MAX);
    let header = block.expect("a block").header;
    let message = Message::Headers(vec![header.encode().into(); MAX_HEADERS]);
    Case::new("headers", &message, MAX_HEADERS * size_of::<Bytes>(), move |message| {
        let Message::Headers(headers) = message else { return };
        let id = block_id(&headers[0]);
        let header = Header::decode(&headers[0]).expect("a header");
        let Claim::Hash(claim) = &header.claim else { return };
        let puzzle = Puzzle::new(network.chain_id, network.lane_zero, header.core.hash());
        // The whole claim is checked, then the same work for a core that it is not of.
        assert!(puzzle.check(claim, 1).is_ok());
        assert!(
            Puzzle::new(network.chain_id, network.lane_zero, id).check_solution(claim).is_err()
        );
    })
}

/// A body that belongs to another header, whose block used this much gas: found out by that, or, where
/// it was full, by its root.
fn body(name: &'static str, gas_used: u64) -> Case {
    let mut bytes = u32::try_from(TRANSACTIONS).expect("a small number").to_le_bytes().to_vec();
    for number in 0..TRANSACTIONS {
        bytes.extend_from_slice(
            &u32::try_from(TRANSACTION_BYTES).expect("a small number").to_le_bytes(),
        );
        let filler = blake3::hash(&number.to_le_bytes());
        bytes.extend(filler.as_bytes().iter().cycle().take(TRANSACTION_BYTES));
    }
    let chain = Chain::in_memory(Options::new(Network::devnet())).expect("a chain");
    let mut header = chain.head().header.clone();
    header.core.gas_used = gas_used;
    // Places of the transactions, and the hashes of their tree: leaves, and the level above.
    let beside = TRANSACTIONS * (size_of::<&[u8]>() + 2 * size_of::<B256>());
    let message = Message::Part(Part::Body(header.id()), bytes.into());
    let full = gas_used > 0;
    Case::new(name, &message, beside, move |message| {
        let Message::Part(_, bytes) = message else { return };
        let error = Block::from_parts(header.clone(), None, &bytes).expect_err("another's");
        let by_root = matches!(error, ImportError::Body(BodyError::Root { .. }));
        assert_eq!(by_root, full, "{error}");
    })
}

/// More tiny transactions than any block has gas for.
fn tiny() -> Case {
    let number = 1_000_000u32;
    let mut bytes = number.to_le_bytes().to_vec();
    bytes.resize(4 + 4_000_000, 0);
    let chain = Chain::in_memory(Options::new(Network::devnet())).expect("a chain");
    let header = chain.head().header.clone();
    let message = Message::Part(Part::Body(header.id()), bytes.into());
    Case::new("body of nothing", &message, 0, move |message| {
        let Message::Part(_, bytes) = message else { return };
        assert!(Block::from_parts(header.clone(), None, &bytes).is_err());
    })
}

/// Transactions as long as they may be together; the first is none.
fn transactions() -> Case {
    let raw = Bytes::from(vec![2; MAX_TRANSACTIONS_BYTES / MAX_HASHES]);
    let message = Message::Transactions(vec![raw; MAX_HASHES]);
    Case::new("transactions", &message, MAX_HASHES * size_of::<Bytes>(), |message| {
        let Message::Transactions(raw) = message else { return };
        black_box(keccak256(&raw[0]));
        assert!(decode_transaction(&raw[0], Network::devnet().chain_id).is_err());
    })
}

fn contacts() -> Case {
    let address = "[2001:db8::1]:7373".parse().expect("an address");
    let contact = Contact { peer: PeerId::new([1; 32]), addresses: vec![address; MAX_ADDRESSES] };
    let message = Message::Contacts(vec![contact; MAX_CONTACTS]);
    let each = size_of::<Contact>() + MAX_ADDRESSES * size_of::<std::net::SocketAddr>();
    Case::new("contacts", &message, MAX_CONTACTS * each, |message| {
        black_box(message);
    })
}

fn announce() -> Case {
    let tip = pouw_net::wire::Tip { id: B256::ZERO, height: 1, weight: U256::MAX };
    let message = Message::Announce { tip, header: Bytes::from(vec![1; MAX_HEADER_BYTES]) };
    Case::new("announce", &message, 0, |message| {
        let Message::Announce { header, .. } = message else { return };
        black_box(block_id(&header));
        assert!(Header::decode(&header).is_err());
    })
}

fn main() {
    let cases = [
        headers(),
        body("body", 0),
        body("body of a full block", Network::devnet().block_gas),
        tiny(),
        transactions(),
        contacts(),
        announce(),
    ];
    let (mut most_mib, mut most_ms) = (0.0f64, 0.0f64);
    for case in &cases {
        let ms = case.median_ms();
        eprintln!("{:<20} {:>8.3} MiB {ms:>8.3} ms", case.name, case.mib());
        most_mib = most_mib.max(case.mib());
        most_ms = most_ms.max(ms);
    }
    println!(
        "{{\"name\": \"decode-bound-mib\", \"ours\": {most_mib:.2}, \"peer\": null, \"unit\": \"MiB\", \
         \"goal\": \"<= {GOAL_MIB} MiB for one message\", \"holds\": {}}}",
        most_mib <= GOAL_MIB
    );
    println!(
        "{{\"name\": \"decode-bound-ms\", \"ours\": {most_ms:.2}, \"peer\": null, \"unit\": \"ms\", \
         \"goal\": \"<= {GOAL_MS} ms before a ban\", \"holds\": {}}}",
        most_ms <= GOAL_MS
    );
}
