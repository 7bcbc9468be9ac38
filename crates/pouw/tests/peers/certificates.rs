//! Blocks of lane 1 over real connections: header, body, and the certificate by need; and peers
//! that keep the certificate back or send another.

use std::num::NonZero;
use std::sync::Arc;

use alloy_primitives::B256;
use bytes::Bytes;
use pouw::node::{Node, PeerChain};
use pouw_chain::{Block, Chain, HeaderAhead, Options};
use pouw_consensus::{IdleWork, Lane, Shape};
use pouw_net::chain::{Block as Parts, CheckedHeader, HeaderFault, ImportFault, SubmitFault};
use pouw_net::wire::{BlockId, Part, Tip};
use pouw_net::{Book, Broken, Chain as Peer, Contact, Net, NetOptions, Trust};
use pouw_types::{Network, UsefulLanes};

use super::{SPACING_MS, any_port, mine, open, open_trusting, payout, wait_until};

/// A devnet whose lane 1 is so easy that small products win, and which keeps this many states.
fn easy(kept_states: u64) -> &'static Network {
    let devnet = Network::devnet();
    let lanes = UsefulLanes { matmul_floor: 32_768, matmul_level: 20, ..devnet.lanes };
    Box::leak(Box::new(Network { lanes, kept_states, ..devnet.clone() }))
}

fn work() -> IdleWork {
    IdleWork::new(Shape::new(16, 1_024, 16).unwrap(), [7; 32], NonZero::<usize>::MIN).unwrap()
}

/// Wins a block of lane 1 on the head, with a time of the past, and does not import it.
fn multiply(chain: &Chain, work: &mut IdleWork) -> Block {
    let head = chain.head();
    let time_ms = head.time_ms() + SPACING_MS;
    let template = chain.template_on_of(Lane::Matmul, head.height(), payout(9), time_ms, &[]);
    let template = template.unwrap();
    (0..100_000).find_map(|_| template.try_product(work).unwrap()).unwrap()
}

/// What a peer makes of the certificates that it is asked for.
type Bend = fn(Option<Bytes>) -> Option<Bytes>;

/// A peer with an honest chain that bends certificates.
struct Crooked {
    honest: PeerChain,
    bend: Bend,
}

impl Peer for Crooked {
    type Standing = HeaderAhead;

    fn chain_id(&self) -> u64 {
        self.honest.chain_id()
    }
    fn genesis(&self) -> BlockId {
        self.honest.genesis()
    }
    fn tip(&self) -> Tip {
        self.honest.tip()
    }
    fn locator(&self) -> Result<Vec<BlockId>, Broken> {
        self.honest.locator()
    }
    fn headers_after(&self, locator: &[BlockId], limit: usize) -> Result<Vec<Bytes>, Broken> {
        self.honest.headers_after(locator, limit)
    }
    fn header(&self, id: BlockId) -> Result<Option<Bytes>, Broken> {
        Peer::header(&self.honest, id)
    }
    fn part(&self, part: Part) -> Result<Option<Bytes>, Broken> {
        let bytes = self.honest.part(part)?;
        Ok(if matches!(part, Part::Certificate(_)) { (self.bend)(bytes) } else { bytes })
    }
    fn parent(&self, header: &[u8]) -> Option<BlockId> {
        self.honest.parent(header)
    }
    fn check_header(
        &self,
        header: &[u8],
        above: Option<&HeaderAhead>,
    ) -> Result<CheckedHeader<HeaderAhead>, HeaderFault> {
        self.honest.check_header(header, above)
    }
    fn certificates_kept(&self) -> u64 {
        self.honest.certificates_kept()
    }
    fn vouch(&self, path: &[BlockId]) -> Result<(), Broken> {
        self.honest.vouch(path)
    }
    fn import(&self, block: &Parts) -> Result<(), ImportFault> {
        self.honest.import(block)
    }
    fn waiting(&self, limit: usize) -> Vec<B256> {
        self.honest.waiting(limit)
    }
    fn transaction(&self, hash: B256) -> Option<Bytes> {
        Peer::transaction(&self.honest, hash)
    }
    fn submit(&self, raw: &[u8]) -> Result<(), SubmitFault> {
        Peer::submit(&self.honest, raw)
    }
}

/// A crooked peer over a chain, which calls these.
async fn crooked(chain: &Chain, bend: Bend, named: Vec<Contact>) -> Net {
    let honest = PeerChain::new(chain.clone());
    let options = NetOptions {
        key: pouw_net::new_key(),
        listen: any_port(),
        relays: Vec::new(),
        named,
        outbound: 0,
        book: None,
        trust: None,
    };
    Net::start(Arc::new(Crooked { honest, bend }), options).await.unwrap()
}

fn points(node: &Node, peer: &Net) -> Option<u32> {
    let peers = node.peers();
    peers.iter().find(|view| view.peer == peer.contact().peer).map(|view| view.points)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mined_product_reaches_another_node_with_its_certificate_and_weighs() {
    let network = easy(1_000);
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let miner = open(network, folders[0].path(), Vec::new(), Some(payout(0))).await;
    let named = miner.contact().cloned().into_iter().collect();
    let nodes = [miner, open(network, folders[1].path(), named, None).await];
    let products = |node: &Node| {
        let won = node.chain.headers_below(u64::MAX, 64, 64, Some(Lane::Matmul)).unwrap();
        won.into_iter().filter(|view| view.header.core.height > 0).collect::<Vec<_>>()
    };
    wait_until("products on the other side", &nodes, |nodes| products(&nodes[1]).len() >= 3).await;
    for view in products(&nodes[1]).iter().take(3) {
        let [ours, theirs] =
            [0, 1].map(|node: usize| nodes[node].chain.block(view.header.id()).unwrap().unwrap());
        assert_eq!(ours.block, theirs.block, "with its certificate");
        assert!(theirs.block.certificate.is_some_and(|bytes| !bytes.is_empty()));
        assert_eq!(ours.standing, theirs.standing, "it weighs the same");
        let (parent, _) = nodes[1].chain.header(view.header.core.parent).unwrap().unwrap();
        let weight = theirs.standing.total_weight - parent.total_weight;
        assert!(!weight.is_zero() && weight == parent.weight(Lane::Matmul));
    }
    for node in nodes {
        node.stop().await;
    }
}

/// A node that is told of a block of lane 1 by a crooked peer, then meets an honest one; whether the
/// crooked one was banned for it, or else had points.
async fn meets(bend: Bend, banned: bool) {
    let network = easy(1_000);
    let folders: [_; 2] = core::array::from_fn(|_| tempfile::tempdir().unwrap());
    let source = Chain::open(&folders[0].path().join("chain"), Options::new(network)).unwrap();
    mine(&source, 3, payout(1));
    source.import_block(multiply(&source, &mut work())).unwrap();
    let head = source.head();
    assert_eq!(head.header.core.lane, Lane::Matmul);

    let victim = open(network, folders[1].path(), Vec::new(), None).await;
    let to_victim: Vec<Contact> = victim.contact().cloned().into_iter().collect();
    let liar = crooked(&source, bend, to_victim.clone()).await;
    let nodes = [victim];
    // All but the last block comes from it.
    wait_until("verdict", &nodes, |nodes| {
        let judged = banned || points(&nodes[0], &liar).is_some_and(|points| points >= 10);
        nodes[0].chain.head().height() == 3 && judged
    })
    .await;
    assert_ne!(nodes[0].chain.head().id, head.id, "no weight without the certificate");

    // The liar stays where it is; the block comes from whoever has it.
    let honest = crooked(&source, |bytes| bytes, to_victim).await;
    wait_until("block", &nodes, |nodes| nodes[0].chain.head().id == head.id).await;
    assert_eq!(nodes[0].chain.head().standing, head.standing, "it weighs the same");
    wait_until("peer", &nodes, |nodes| points(&nodes[0], &honest) == Some(0)).await;
    let [victim] = nodes;
    victim.stop().await;
    liar.stop().await;
    honest.stop().await;
    let book = std::fs::read(folders[1].path().join("peers.json")).unwrap();
    assert_eq!(Book::from_json(&book).unwrap().banned(now_ms()), usize::from(banned));
}

fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withheld_certificate_costs_points_and_comes_from_another() {
    meets(|_| None, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_certificate_is_a_ban_and_the_right_one_comes_from_another() {
    let flip = |bytes: Option<Bytes>| {
        let mut bytes = bytes?.to_vec();
        bytes[2_000] ^= 1;
        Some(bytes.into())
    };
    meets(flip, true).await;
    // An empty one is another, too.
    meets(|_| Some(Bytes::new()), true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_node_joins_a_chain_whose_old_certificates_are_gone_by_a_block_that_it_trusts() {
    let network = easy(130);
    let folders: [_; 3] = core::array::from_fn(|_| tempfile::tempdir().unwrap());
    let chain = Chain::open(&folders[0].path().join("chain"), Options::new(network)).unwrap();
    let mut products = work();
    mine(&chain, 2, payout(1));
    let first = multiply(&chain, &mut products);
    chain.import_block(first.clone()).unwrap();
    for _ in 0..46 {
        mine(&chain, 2, payout(1));
        chain.import_block(multiply(&chain, &mut products)).unwrap();
    }
    assert_eq!(chain.block(first.id()).unwrap().unwrap().block.certificate, None, "pruned");
    let head = chain.head();
    let trust = Trust { id: chain.id_at(135).unwrap().unwrap(), height: 135 };
    drop(chain);
    let old = open(network, folders[0].path(), Vec::new(), None).await;
    let named: Vec<Contact> = old.contact().cloned().into_iter().collect();

    // Without a trusted block it stops where the certificates end, and blames nobody for it.
    let late = open(network, folders[1].path(), named.clone(), None).await;
    let nodes = [old, late];
    wait_until("the first blocks", &nodes, |nodes| nodes[1].chain.head().height() == 2).await;
    let closed = |nodes: &[Node]| nodes[1].peers().is_empty();
    wait_until("end of the talk", &nodes, closed).await;
    let [old, late] = nodes;
    assert_eq!(late.chain.head().height(), 2);
    late.stop().await;
    let book = std::fs::read(folders[1].path().join("peers.json")).unwrap();
    assert_eq!(Book::from_json(&book).unwrap().banned(now_ms()), 0);

    // With one it joins, goes on above it with certificates, and started again it needs no trust.
    let fresh = open_trusting(network, folders[2].path(), named.clone(), None, Some(trust)).await;
    let nodes = [old, fresh];
    wait_until("head", &nodes, |nodes| nodes[1].chain.head().id == head.id).await;
    let [old, fresh] = nodes;
    assert_eq!(fresh.chain.head().standing, head.standing, "it weighs the same");
    let last = fresh.chain.block(head.id).unwrap().unwrap().block;
    assert!(last.certificate.is_some_and(|bytes| !bytes.is_empty()), "above it, by need");
    fresh.stop().await;
    let again = open(network, folders[2].path(), named, None).await;
    let nodes = [old, again];
    wait_until("meeting", &nodes, |nodes| nodes[1].peers().iter().any(|peer| peer.greeted)).await;
    assert_eq!(nodes[1].chain.head().id, head.id);
    for node in nodes {
        node.stop().await;
    }
}
