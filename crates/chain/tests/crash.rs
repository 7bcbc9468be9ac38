//! A node killed at any moment finds its last committed block when it starts again.
//!
//! The child is this test binary itself, started with [`FOLDER`] in its environment: it mines and
//! imports as fast as it can, and says on standard output what was committed. The parent kills it
//! after a random number of commits, in the middle of the next.
#![expect(clippy::unwrap_used, reason = "the functions beside a test panic for it")]

use std::io::{BufRead, BufReader, Write};
use std::num::NonZero;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use alloy_consensus::{SignableTransaction, TxEip1559, TxEnvelope};
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Address, B256, TxKind, U256};
use alloy_signer::SignerSync;
use alloy_signer_local::{MnemonicBuilder, PrivateKeySigner, coins_bip39::English};
use pouw_chain::{Chain, Clock, Options};
use pouw_consensus::{IdleWork, Lane, Shape, Solver};
use pouw_types::Network;

const FOLDER: &str = "POUW_CRASH_TEST_FOLDER";
const KILLS: u64 = 24;
const DEADLINE: Duration = Duration::from_secs(60);

fn open(folder: &Path) -> (Chain, Arc<AtomicU64>) {
    let now = Arc::new(AtomicU64::new(0));
    let clock = Arc::clone(&now);
    let clock = Clock::new(move || clock.load(Ordering::SeqCst));
    let options = Options { clock, ..Options::new(Network::devnet()) };
    (Chain::open(folder, options).unwrap(), now)
}

fn transfer(from: &PrivateKeySigner, nonce: u64) -> Vec<u8> {
    let mut to = [0; 20];
    to[..8].copy_from_slice(&nonce.to_be_bytes());
    let tx = TxEip1559 {
        chain_id: Network::devnet().chain_id,
        nonce,
        gas_limit: 21_000,
        max_fee_per_gas: 100_000_000_000,
        max_priority_fee_per_gas: 1,
        to: TxKind::Call(Address::from(to)),
        value: U256::from(1),
        ..TxEip1559::default()
    };
    let signature = from.sign_hash_sync(&tx.signature_hash()).unwrap();
    TxEnvelope::from(tx.into_signed(signature)).encoded_2718()
}

/// Mines and imports until killed; each commit is a line `height id`.
fn child(folder: &Path) {
    let (chain, now) = open(folder);
    let lane = chain.network().lane_zero;
    let solver = Solver::new(lane.n, lane.k).unwrap();
    let from = MnemonicBuilder::<English>::default()
        .phrase("test test test test test test test test test test test junk")
        .build()
        .unwrap();
    let shape = Shape::new(16, 1_024, 16).unwrap();
    let mut work = IdleWork::new(shape, [1; 32], NonZero::<usize>::MIN).unwrap();
    // Not `println!`: the test harness would hold it back.
    let mut out = std::io::stderr().lock();
    writeln!(out, "ready").unwrap();
    for _ in 0..100_000 {
        let head = chain.head();
        now.store(head.time_ms() + 60_000, Ordering::SeqCst);
        let nonce = chain.pending_nonce(from.address()).unwrap();
        for nonce in nonce..nonce + 3 {
            chain.submit(&transfer(&from, nonce)).unwrap();
        }
        let payout = Address::repeat_byte(7);
        // Every third block is a product's, once lane 1 is as easy as can be.
        let height = head.height() + 1;
        let block = if height >= 9 && height.is_multiple_of(3) {
            let template = chain.template_of(Lane::Matmul, payout).unwrap();
            let mut tries = (0..100_000).map(|_| template.try_product(&mut work).unwrap());
            tries.find_map(|won| won).unwrap()
        } else {
            chain.template(payout).unwrap().seal(&solver, 1_000_000).unwrap()
        };
        let id = block.id();
        chain.import_block(block).unwrap();
        writeln!(out, "{} {id}", head.height() + 1).unwrap();
    }
}

/// Starts the child, kills it `after` its first commit and that many microseconds; what it said
/// was committed.
fn run_and_kill(folder: &Path, commits: usize, after: Duration) -> Vec<(u64, B256)> {
    let mut process = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_killed_node_loses_no_committed_block", "--nocapture"])
        .env(FOLDER, folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
    let mut committed = Vec::new();
    let mut read = |committed: &mut Vec<(u64, B256)>| match lines.next() {
        Some(Ok(line)) => {
            if let Some((height, id)) = line.split_once(' ')
                && let (Ok(height), Ok(id)) = (height.parse(), id.parse())
            {
                committed.push((height, id));
            }
            true
        }
        _ => false,
    };
    let started = Instant::now();
    while committed.len() < commits {
        assert!(read(&mut committed), "the child ended by itself");
        assert!(started.elapsed() < DEADLINE, "the child commits nothing");
    }
    let until = Instant::now() + after;
    while Instant::now() < until {
        std::hint::spin_loop();
    }
    process.kill().unwrap();
    process.wait().unwrap();
    while read(&mut committed) {}
    committed
}

#[test]
fn a_killed_node_loses_no_committed_block() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        return child(Path::new(&folder));
    }
    let folder = tempfile::tempdir().unwrap();
    let mut dice = 0x9e37_79b9_7f4a_7c15u64;
    let (mut last, mut products) = (0, 0);
    for kill in 0..KILLS {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let commits = 1 + usize::try_from((dice >> 60) % 4).unwrap();
        let after = Duration::from_micros((dice >> 40) % 20_000);
        let committed = run_and_kill(folder.path(), commits, after);

        let (chain, _) = open(folder.path());
        let head = chain.head();
        for (height, id) in &committed {
            assert_eq!(chain.id_at(*height).unwrap(), Some(*id), "kill {kill}, height {height}");
            let block = chain.block_at(*height).unwrap().unwrap().block;
            let product = block.header.core.lane == Lane::Matmul;
            assert_eq!(block.certificate.is_some(), product, "kill {kill}, height {height}");
            products += u32::from(product);
        }
        let (height, _) = *committed.last().unwrap();
        assert!(head.height() >= height && height > last, "kill {kill} goes on");
        last = head.height();
        // The state is the head's, whole: its root proves what is read from it.
        let root = head.header.core.state_root;
        for address in [Address::repeat_byte(7), Network::devnet().genesis[0].address] {
            let proof = chain.prove_account(address, head.height()).unwrap();
            assert!(proof.value.is_some() && proof.holds(root), "kill {kill}");
        }
        let from = chain.account(Network::devnet().genesis[0].address, head.height()).unwrap();
        assert_eq!(from.nonce, 3 * head.height(), "kill {kill}: three transfers a block");
    }
    assert!(products > 0, "blocks of lane 1 were committed too");
}
