//! Nodes with real endpoints on loopback: they find each other, agree, catch up, pass on.
#![cfg(test)]

#[path = "peers/certificates.rs"]
mod certificates;

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use alloy_consensus::{SignableTransaction, TxEip1559, TxEnvelope};
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Address, TxKind, U256};
use alloy_signer::SignerSync;
use pouw::cli::GuestArgs;
use pouw::node::{Node, NodeOptions, PeerOptions};
use pouw_chain::{Chain, Options};
use pouw_consensus::Solver;
use pouw_net::{Contact, Trust};
use pouw_types::Network;

/// How long anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(180);
/// Time between blocks that a test makes, milliseconds: slow enough that they cost little work.
const SPACING_MS: u64 = 8_000;

fn any_port() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

/// Blocks of lane 0 on the head, of a payout of their own, with times of the past.
fn mine(chain: &Chain, blocks: u64, payout: Address) {
    let lane = chain.network().lane_zero;
    let solver = Solver::new(lane.n, lane.k).unwrap();
    for _ in 0..blocks {
        let head = chain.head();
        let time_ms = head.time_ms() + SPACING_MS;
        let template = chain.template_on(head.height(), payout, time_ms, &[]).unwrap();
        chain.import_block(template.seal(&solver, u64::MAX).unwrap()).unwrap();
    }
}

fn payout(node: u8) -> Address {
    Address::repeat_byte(node + 1)
}

/// A node in a folder, whose chain got some blocks of its own before it met anybody.
async fn start(folder: &Path, blocks: u64, number: u8, named: Vec<Contact>) -> Node {
    let network = Network::devnet();
    let chain = Chain::open(&folder.join("chain"), Options::new(network)).unwrap();
    mine(&chain, blocks, payout(number));
    drop(chain);
    open(network, folder, named, None).await
}

/// A node in a folder, of a network; it mines lane 1 if somebody is to be paid.
async fn open(
    network: &'static Network,
    folder: &Path,
    named: Vec<Contact>,
    mine_to: Option<Address>,
) -> Node {
    open_trusting(network, folder, named, mine_to, None).await
}

async fn open_trusting(
    network: &'static Network,
    folder: &Path,
    named: Vec<Contact>,
    mine_to: Option<Address>,
    trust: Option<Trust>,
) -> Node {
    Node::start(NodeOptions {
        network,
        folder,
        listener: std::net::TcpListener::bind(any_port()).unwrap(),
        mine_to,
        mine: pouw_chain::Mine::Matmul,
        min_spacing_ms: 100,
        shares_machine: false,
        guests: GuestArgs::default(),
        peers: Some(PeerOptions { listen: any_port(), named, relays: Vec::new(), trust }),
    })
    .await
    .unwrap()
}

/// Waits until something holds, asked again whenever some time has passed.
async fn wait_until(what: &str, nodes: &[Node], holds: impl Fn(&[Node]) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    let mut again = tokio::time::interval(Duration::from_millis(50));
    while !holds(nodes) {
        let heads: Vec<_> = nodes.iter().map(|node| node.chain.head().height()).collect();
        assert!(Instant::now() < deadline, "no {what}: heads at {heads:?}");
        again.tick().await;
    }
}

fn agree(nodes: &[Node]) -> bool {
    let head = nodes[0].chain.head().id;
    nodes.iter().all(|node| node.chain.head().id == head)
}

fn transfer(chain: &Chain) -> Vec<u8> {
    let from = pouw::session::devnet_key(0).unwrap();
    let tx = TxEip1559 {
        chain_id: chain.network().chain_id,
        gas_limit: 21_000,
        max_fee_per_gas: 1_000_000_000_000,
        max_priority_fee_per_gas: 1,
        to: TxKind::Call(Address::repeat_byte(9)),
        value: U256::from(1),
        ..TxEip1559::default()
    };
    let signature = from.sign_hash_sync(&tx.signature_hash()).unwrap();
    TxEnvelope::from(tx.into_signed(signature)).encoded_2718()
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_mined_apart_agree_catch_up_and_pass_on() {
    let folders: Vec<_> = (0..4).map(|_| tempfile::tempdir().unwrap()).collect();
    let mut nodes = Vec::new();
    // Three that each mined on their own side, in a row: each knows the one before it.
    for (number, blocks) in [(0u8, 20), (1, 30), (2, 25)] {
        let named = nodes.last().and_then(Node::contact).cloned();
        let folder = folders[usize::from(number)].path();
        nodes.push(start(folder, blocks, number, named.into_iter().collect()).await);
    }
    wait_until("agreement", &nodes, agree).await;
    let head = nodes[0].chain.head();
    assert_eq!((head.height(), head.header.core.miner), (30, payout(1)), "the heaviest");

    // Whoever mines now is heard by all.
    mine(&nodes[2].chain, 3, payout(2));
    wait_until("news", &nodes, |nodes| agree(nodes) && nodes[0].chain.head().height() == 33).await;

    // A new one starts from nothing, and hears of transactions that wait.
    let hash = nodes[0].chain.submit(&transfer(&nodes[0].chain)).unwrap();
    let everywhere = |nodes: &[Node]| nodes.iter().all(|node| node.chain.pending(hash).is_some());
    wait_until("transaction", &nodes, everywhere).await;
    let named = nodes[2].contact().cloned().into_iter().collect();
    nodes.push(start(folders[3].path(), 0, 3, named).await);
    wait_until("newcomer", &nodes, |nodes| agree(nodes) && everywhere(nodes)).await;

    for node in nodes {
        node.stop().await;
    }
    let book = std::fs::read(folders[0].path().join("peers.json")).unwrap();
    assert!(pouw_net::Book::from_json(&book).unwrap().len() >= 2, "who was met is kept");
}
