//! Figures of the chain: `block-import` and `node-memory`. Each prints one line of JSON.
//!
//! The process keeps to one processor, so that ours and the peer's run on the same core.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark that fails ends, and its figures go to standard output"
)]

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use alloy_consensus::{SignableTransaction, TxEip1559, TxEnvelope};
use alloy_eips::eip2718::{Decodable2718, Encodable2718};
use alloy_primitives::{Address, Signature, TxKind, U256, keccak256};
use alloy_signer::SignerSync;
use alloy_signer_local::{MnemonicBuilder, PrivateKeySigner, coins_bip39::English};
use pouw_chain::{Chain, Clock, MempoolLimits, Options};
use pouw_consensus::Solver;
use pouw_types::Network;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use secp256k1::ecdsa::{RecoverableSignature, RecoveryId};
use secp256k1::{Message, Secp256k1};

const TRANSFERS: usize = 10_000;
const ROUNDS: usize = 7;
const FEE: u128 = 1_000_000_000_000;

fn main() {
    let asked: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let wanted = |name: &str| asked.is_empty() || asked.iter().any(|one| one == name);
    keep_to_one_processor();
    // The memory first: what the other leaves behind would count.
    if wanted("node-memory") {
        node_memory();
    }
    if wanted("block-import") {
        block_import();
    }
}

fn keep_to_one_processor() {
    let allowed = sched_getaffinity(None).unwrap();
    let last = (0..CpuSet::MAX_CPU).rfind(|cpu| allowed.is_set(*cpu)).unwrap();
    let mut one = CpuSet::new();
    one.set(last);
    sched_setaffinity(None, &one).unwrap();
}

fn print_figure(name: &str, ours: f64, peer: f64, unit: &str, goal: &str, holds: bool) {
    let line = serde_json::json!({
        "name": name,
        "ours": ours,
        "peer": peer,
        "unit": unit,
        "ratio": ours / peer,
        "goal": goal,
        "holds": holds,
    });
    println!("{line}");
}

/// A chain whose clock follows its blocks.
struct Node {
    chain: Chain,
    now: Arc<AtomicU64>,
    solver: Solver,
}

impl Node {
    fn open(folder: &Path) -> Self {
        let now = Arc::new(AtomicU64::new(Network::devnet().genesis_ms));
        let clock = Arc::clone(&now);
        let clock = Clock::new(move || clock.load(Ordering::SeqCst));
        let mempool = MempoolLimits { count: 20_000, per_sender: 2_000, ..Default::default() };
        let options = Options { clock, mempool, ..Options::new(Network::devnet()) };
        let chain = Chain::open(folder, options).unwrap();
        let lane = chain.network().lane_zero;
        Self { chain, now, solver: Solver::new(lane.n, lane.k).unwrap() }
    }

    /// Mines what waits; the blocks as bytes.
    fn mine_all(&self) -> Vec<Vec<u8>> {
        let mut blocks = Vec::new();
        while self.chain.pending_count() > 0 {
            blocks.push(self.mine());
        }
        blocks
    }

    fn mine(&self) -> Vec<u8> {
        self.now.store(self.chain.head().time_ms() + 120_000, Ordering::SeqCst);
        let template = self.chain.template(Address::repeat_byte(7)).unwrap();
        let block = template.seal(&self.solver, u64::MAX).unwrap();
        let bytes = block.encode();
        self.chain.import_block(block).unwrap();
        bytes
    }

    fn import(&self, blocks: &[Vec<u8>]) {
        for block in blocks {
            self.now.fetch_add(120_000, Ordering::SeqCst);
            self.chain.import(block).unwrap();
        }
    }
}

fn funded(index: u32) -> PrivateKeySigner {
    MnemonicBuilder::<English>::default()
        .phrase("test test test test test test test test test test test junk")
        .index(index)
        .and_then(|builder| builder.build())
        .unwrap()
}

fn transfer(from: &PrivateKeySigner, nonce: u64, to: Address, value: U256) -> Vec<u8> {
    let tx = TxEip1559 {
        chain_id: Network::devnet().chain_id,
        nonce,
        gas_limit: 21_000,
        max_fee_per_gas: FEE,
        max_priority_fee_per_gas: 1,
        to: TxKind::Call(to),
        value,
        ..TxEip1559::default()
    };
    let signature: Signature = from.sign_hash_sync(&tx.signature_hash()).unwrap();
    TxEnvelope::from(tx.into_signed(signature)).encoded_2718()
}

fn senders() -> Vec<PrivateKeySigner> {
    (0..TRANSFERS)
        .map(|number| PrivateKeySigner::from_bytes(&keccak256(number.to_be_bytes())).unwrap())
        .collect()
}

/// Funds the senders; the blocks that did.
fn fund(node: &Node, senders: &[PrivateKeySigner]) -> Vec<Vec<u8>> {
    let givers: Vec<_> = (0..10).map(funded).collect();
    let one = U256::from(1_000_000_000_000_000_000u64);
    for (number, sender) in senders.iter().enumerate() {
        let nonce = u64::try_from(number / givers.len()).unwrap();
        let raw = transfer(&givers[number % givers.len()], nonce, sender.address(), one);
        node.chain.submit(&raw).unwrap();
    }
    node.mine_all()
}

/// 10,000 transfers of distinct senders and recipients, from bytes to a durable commit.
fn block_import() {
    let senders = senders();
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let maker = Node::open(&folder.path().join("maker"));
    let funding = fund(&maker, &senders);
    let mut raw = Vec::with_capacity(TRANSFERS);
    for (number, sender) in senders.iter().enumerate() {
        let to = Address::from_slice(&keccak256((TRANSFERS + number).to_be_bytes())[12..]);
        raw.push(transfer(sender, 0, to, U256::from(1)));
        maker.chain.submit(raw.last().unwrap()).unwrap();
    }
    let blocks = maker.mine_all();
    let signatures = signatures(&raw);
    let mut rounds: Vec<(f64, f64)> = (0..ROUNDS)
        .map(|round| {
            let node = Node::open(&folder.path().join(round.to_string()));
            node.import(&funding);
            let (ours, peer) = alternate(&node, &blocks, &signatures);
            assert_eq!(node.chain.head(), maker.chain.head());
            (rate(ours), rate(peer))
        })
        .collect();
    // The median of the ratios: both sides of one were taken in the same second.
    rounds.sort_by(|a, b| (a.0 / a.1).total_cmp(&(b.0 / b.1)));
    let (ours, peer) = rounds[rounds.len() / 2];
    print_figure("block-import", ours, peer, "transfers/s", "ratio >= 0.5", ours / peer >= 0.5);
}

/// Block by block, so that whatever else the processor does meets both: the time of all imports,
/// and of recovering as many signatures.
fn alternate(
    node: &Node,
    blocks: &[Vec<u8>],
    signatures: &[(RecoverableSignature, Message)],
) -> (Duration, Duration) {
    let (mut ours, mut peer) = (Duration::ZERO, Duration::ZERO);
    for (block, share) in blocks.iter().zip(signatures.chunks(TRANSFERS.div_ceil(blocks.len()))) {
        let started = Instant::now();
        node.import(std::slice::from_ref(block));
        ours += started.elapsed();
        let started = Instant::now();
        recover_all(share);
        peer += started.elapsed();
    }
    (ours, peer)
}

fn signatures(raw: &[Vec<u8>]) -> Vec<(RecoverableSignature, Message)> {
    raw.iter()
        .map(|raw| {
            let tx = TxEnvelope::decode_2718_exact(raw).unwrap();
            let signature = tx.signature();
            let parity = RecoveryId::try_from(i32::from(signature.v())).unwrap();
            let bytes = &signature.as_bytes()[..64];
            let signature = RecoverableSignature::from_compact(bytes, parity).unwrap();
            (signature, Message::from_digest(tx.signature_hash().0))
        })
        .collect()
}

fn recover_all(signatures: &[(RecoverableSignature, Message)]) {
    let secp = Secp256k1::verification_only();
    for (signature, message) in signatures {
        black_box(secp.recover_ecdsa(message, signature).unwrap());
    }
}

#[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "a figure for people")]
fn rate(elapsed: Duration) -> f64 {
    TRANSFERS as f64 / elapsed.as_secs_f64()
}

/// Resident memory after 1,000 blocks and 10,000 accounts.
fn node_memory() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let node = Node::open(folder.path());
    fund(&node, &senders());
    while node.chain.head().height() < 1_000 {
        node.mine();
    }
    let ours = resident_mb();
    let goal = 200.0;
    print_figure("node-memory", ours, goal, "MB", "at most 200 MB", ours <= goal);
}

#[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "a figure for people")]
fn resident_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib as f64 * 1_024.0 / 1_000_000.0
}
