//! A new node catches up 10,000 blocks; killed in the middle, it goes on where it was.

use std::path::Path;
use std::time::{Duration, Instant};

use alloy_primitives::Address;
use pouw_chain::{Chain, Options};
use pouw_consensus::Solver;
use pouw_types::Network;

use super::process::{Node, wait_until};

const BLOCKS: u64 = 10_000;
/// Without a new block for this long, a sync has stalled.
const STALL: Duration = Duration::from_secs(180);
/// Time between the blocks, milliseconds: slow enough that they cost little work.
const SPACING_MS: u64 = 8_000;

/// A chain in a node's folder, with times of the past.
fn grow(folder: &Path) {
    let network = Network::devnet();
    let chain = Chain::open(&folder.join("chain"), Options::new(network)).unwrap();
    let solver = Solver::new(network.lane_zero.n, network.lane_zero.k).unwrap();
    for height in 0..BLOCKS {
        let time_ms = chain.head().time_ms() + SPACING_MS;
        let template = chain.template_on(height, Address::repeat_byte(7), time_ms, &[]).unwrap();
        chain.import_block(template.seal(&solver, u64::MAX).unwrap()).unwrap();
    }
}

/// Waits until a node has passed a height; fails if it stands still.
fn follow(node: &Node, height: u64) -> u64 {
    let (mut last, mut since) = (node.height(), Instant::now());
    while last < height {
        std::thread::park_timeout(Duration::from_millis(200));
        let now = node.height();
        if now > last {
            (last, since) = (now, Instant::now());
        }
        assert!(since.elapsed() < STALL, "the sync stands still at {last}");
    }
    last
}

#[test]
fn a_new_node_syncs_10_000_blocks_and_resumes_after_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (folder.path().join("old"), folder.path().join("new"));
    // The folder is the node's from the start, so that its marks are there.
    let mut first = Node::start(&[], &old, &["--listen", "127.0.0.1:0"]);
    first.kill();
    grow(&old);
    let source = Node::start(&[], &old, &["--listen", "127.0.0.1:0"]);
    let contact = source.contact().to_owned();
    let arguments = ["--listen", "127.0.0.1:0", "--peer", &contact];
    let mut fresh = Node::start(&[], &new, &arguments);
    let before = follow(&fresh, BLOCKS / 3);
    fresh.kill();
    let fresh = Node::start(&[], &new, &arguments);
    assert!(fresh.height() >= before, "nothing that was committed is lost");
    follow(&fresh, BLOCKS);
    wait_until("same block", || {
        let block = fresh.block(BLOCKS);
        block.is_some() && block == source.block(BLOCKS)
    });
}
