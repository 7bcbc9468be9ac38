//! Two lanes in one chain: C-5, C-6, C-18 … C-22 as a node meets them.

use std::sync::atomic::Ordering;

use alloy_primitives::B256;
use pouw_consensus::{Claim, Core, DecodeError, HeaderError, Lane, MatmulClaimError, Shares};
use pouw_types::Network;

use super::fixture::{Node, easy_lanes, miner, multiply, seal, small_products};
use crate::{Block, ImportError, Imported};

/// A chain of some blocks, the last of lane 1; it and its node.
fn with_product() -> (Node, Block) {
    let node = Node::on(easy_lanes(|_| {}));
    node.mine(2_000);
    let mut work = small_products(1);
    let block = node.multiply(&mut work, 2_000);
    (node, block)
}

/// A node one block behind [`with_product`]'s.
fn behind(node: &Node) -> Node {
    let other = Node::on(node.chain.network());
    for height in 1..node.chain.head().height() {
        other.take(&node.chain.block_at(height).unwrap().unwrap().block).unwrap();
    }
    other.now.store(node.chain.now_ms(), Ordering::SeqCst);
    other
}

fn refused(change: impl FnOnce(&mut Block)) -> HeaderError {
    let (node, mut block) = with_product();
    let other = behind(&node);
    let good = block.clone();
    change(&mut block);
    let error = match other.chain.import_block(block) {
        Err(ImportError::Header(error)) => error,
        other => panic!("{other:?}"),
    };
    assert_eq!(other.chain.head().height(), 1);
    // What is wrong with a certificate says nothing about the block.
    assert_eq!(other.chain.import_block(good).unwrap(), Imported::Extended);
    error
}

#[test]
fn two_lanes_make_one_chain_that_another_node_follows() {
    let ours = Node::on(easy_lanes(|_| {}));
    let theirs = Node::on(ours.chain.network());
    let mut work = small_products(1);
    let mut dice = 7u64;
    let mut won = [0u32; 2];
    for height in 1..=300u64 {
        let before = ours.chain.head();
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        // Two in five, as its share says.
        let product = (dice >> 33) % 5 < 2;
        let block = if product { ours.multiply(&mut work, 2_000) } else { ours.mine(2_000) };
        won[usize::from(product)] += 1;
        assert_eq!(block.certificate.is_some(), product);
        let bytes = block.encode();
        assert_eq!(Block::decode(&bytes).unwrap(), block);
        theirs.now.fetch_add(2_000, Ordering::SeqCst);
        assert_eq!(theirs.chain.import(&bytes).unwrap(), Imported::Extended, "height {height}");
        let after = ours.chain.head();
        let weight = after.standing.total_weight - before.standing.total_weight;
        assert_eq!(weight, before.standing.weight(block.header.core.lane), "both lanes weigh");
        assert!(!weight.is_zero());
        assert_eq!(after.standing.shares, before.standing.shares, "nothing was burned");
    }
    assert_eq!(*ours.chain.head(), *theirs.chain.head());
    assert!(won[0] > 150 && won[1] > 80, "{won:?}");
    // Lane 1 mints a tenth at once; what is younger than the maturity cannot be spent yet.
    let mature = |lane: Lane| {
        let blocks = (1..=290).map(|height| ours.chain.block_at(height).unwrap().unwrap());
        blocks.filter(|known| known.block.header.core.lane == lane).count() as u128
    };
    let subsidy = Network::devnet().subsidy.atto();
    let expected = mature(Lane::Hash) * subsidy + mature(Lane::Matmul) * (subsidy / 10);
    assert_eq!(ours.balance(miner()), expected);
}

#[test]
fn a_lane_that_falls_silent_gets_easier_and_is_found_again() {
    let node = Node::on(easy_lanes(|_| {}));
    // On time from the first block on: what it starts with is not its lowest difficulty.
    node.now.store(node.chain.network().genesis_ms, Ordering::SeqCst);
    let mut work = small_products(1);
    let at_first = node.multiply(&mut work, 2_000).header.core.height;
    let before = node.chain.head().standing.difficulty.of(Lane::Matmul);
    for _ in 0..60 {
        node.mine(2_000);
    }
    let standing = node.chain.head().standing.clone();
    assert!(standing.difficulty.lanes[1].quiet, "eight of its spacings have passed");
    assert!(standing.difficulty.of(Lane::Matmul) < before);
    let found = node.multiply(&mut work, 2_000);
    assert!(found.header.core.height > at_first + 60);
    assert!(!node.chain.head().standing.difficulty.lanes[1].quiet);
}

#[test]
fn the_heavier_branch_wins_whichever_lanes_made_it() {
    let ours = Node::on(easy_lanes(|_| {}));
    let theirs = Node::on(ours.chain.network());
    let common = ours.mine(2_000);
    theirs.take(&common).unwrap();
    theirs.now.store(ours.chain.now_ms(), Ordering::SeqCst);
    let (mut one, mut two) = (small_products(1), small_products(2));

    let hash = ours.mine(2_000);
    let product = theirs.multiply(&mut two, 2_000);
    assert_eq!(ours.take(&product).unwrap(), Imported::Side);
    let second = theirs.multiply(&mut two, 2_000);
    assert_eq!(ours.take(&second).unwrap(), Imported::Reorged { dropped: 1 });
    assert_eq!(*ours.chain.head(), *theirs.chain.head());

    // And back, over a branch that has both lanes.
    let back = Node::on(ours.chain.network());
    back.take(&common).unwrap();
    back.take(&hash).unwrap();
    back.now.store(ours.chain.now_ms(), Ordering::SeqCst);
    let branch = [back.mine(2_000), back.multiply(&mut one, 2_000), back.mine(2_000)];
    let taken: Vec<_> = branch.iter().map(|block| ours.take(block).unwrap()).collect();
    assert!(taken.contains(&Imported::Reorged { dropped: 2 }), "{taken:?}");
    assert_eq!(*ours.chain.head(), *back.chain.head());
    assert_eq!(ours.chain.rows().unwrap(), back.chain.rows().unwrap(), "no trace is left");
    // Certificates of both branches are at hand.
    for block in [&product, &second, &branch[1]] {
        assert_eq!(ours.chain.block(block.id()).unwrap().unwrap().block, *block);
    }
}

#[test]
fn c6_a_wrong_lane_tag_is_refused_by_name() {
    let error = refused(|block| block.header.core.lane = Lane::Hash);
    let mismatch = HeaderError::LaneMismatch { core: Lane::Hash, claim: Lane::Matmul };
    assert_eq!(error, mismatch);
    let error = refused(|block| block.header.core.lane = Lane::Credit);
    assert_eq!(error, HeaderError::LaneWithoutShare(Lane::Credit));
    // Where lane 1 has no share, no product wins.
    let closed = Node::on(easy_lanes(|network| network.lanes.matmul_floor = 0));
    let template = closed.chain.template_of(Lane::Matmul, miner()).unwrap();
    assert!(template.try_product(&mut small_products(1)).is_err());
}

#[test]
fn c22_a_block_without_its_certificate_or_with_a_broken_one_is_refused() {
    let error = refused(|block| block.certificate = None);
    assert_eq!(error, HeaderError::EvidenceMissing(Lane::Matmul));
    for place in [0, 1, 60, 120, 2_000, 20_000] {
        let error = refused(|block| {
            if let Some(byte) = block.certificate.as_mut().and_then(|all| all.get_mut(place)) {
                *byte ^= 0x41;
            }
        });
        assert!(
            matches!(
                error,
                HeaderError::MatmulClaim(
                    MatmulClaimError::Certificate(_) | MatmulClaimError::OtherTicket
                )
            ),
            "byte {place}: {error:?}"
        );
    }
}

#[test]
fn c21_one_work_serves_one_block() {
    let stolen = |error: &HeaderError| {
        matches!(
            error,
            HeaderError::MatmulClaim(
                MatmulClaimError::Target { .. }
                    | MatmulClaimError::OtherTicket
                    | MatmulClaimError::Certificate(_)
            )
        )
    };
    // For another miner, another time, another body.
    let changes: [fn(&mut Core); 3] = [
        |core| core.miner = alloy_primitives::Address::ZERO,
        |core| core.time_ms -= 1,
        |core| core.state_root = B256::ZERO,
    ];
    for change in changes {
        let error = refused(|block| change(&mut block.header.core));
        assert!(stolen(&error), "{error:?}");
    }
}

#[test]
fn c20_c21_a_stale_anchor_is_refused_by_name() {
    // Older than the chain is.
    let error = refused(|block| {
        if let Claim::Matmul(claim) = &mut block.header.claim {
            claim.opened.depth = 9;
        }
    });
    assert_eq!(error, HeaderError::MatmulClaim(MatmulClaimError::Anchor(9)));
    // Older than the window: no such header can be written down.
    let (_, block) = with_product();
    let mut bytes = block.encode();
    bytes[2 + Core::BYTES] = 17;
    assert_eq!(Block::decode(&bytes), Err(DecodeError::Canonical("anchor depth")));
    // Work that was begun on a block that left the chain.
    let ours = Node::on(easy_lanes(|_| {}));
    let theirs = Node::on(ours.chain.network());
    let mut work = small_products(1);
    ours.mine(2_000);
    theirs.now.fetch_add(2_000, Ordering::SeqCst);
    theirs.mine(2_000);
    let template = ours.chain.template_of(Lane::Matmul, miner()).unwrap();
    let mut block = multiply(&template, &mut work);
    let on_theirs = theirs.chain.template_of(Lane::Matmul, miner()).unwrap();
    block.header.core = on_theirs.core;
    assert!(matches!(theirs.take(&block), Err(ImportError::Header(HeaderError::MatmulClaim(_)))));
    // An anchor serves sixteen blocks.
    for _ in 0..15 {
        ours.mine(2_000);
    }
    let template = ours.chain.template_of(Lane::Matmul, miner()).unwrap();
    let block = multiply(&template, &mut work);
    let Claim::Matmul(claim) = &block.header.claim else { panic!("lane 1") };
    assert_eq!(claim.opened.depth, 16);
    assert_eq!(ours.take(&block).unwrap(), Imported::Extended);
}

#[test]
fn certificates_go_with_the_states_that_a_reorg_could_reach() {
    let node = Node::on(easy_lanes(|network| {
        network.kept_states = 40;
        network.horizon_blocks = 30;
    }));
    let mut work = small_products(1);
    let first = node.multiply(&mut work, 2_000);
    for _ in 0..9 {
        node.mine(2_000);
    }
    let kept = |block: &Block| node.chain.block(block.id()).unwrap().unwrap().block;
    assert_eq!(kept(&first), first);
    let last = node.multiply(&mut work, 2_000);
    node.mine(2_000);
    let pruned = kept(&first);
    assert_eq!(pruned.certificate, None);
    assert_eq!(Block { certificate: first.certificate.clone(), ..pruned.clone() }, first);
    assert_eq!(Block::decode(&pruned.encode()).unwrap(), pruned);
    assert_eq!(kept(&last), last);
}

#[test]
fn c5_c19_shares_that_no_burn_explains_are_refused() {
    let ours = Node::on(easy_lanes(|_| {}));
    let theirs = Node::on(ours.chain.network());
    let length = ours.chain.network().epoch_blocks;
    let common = ours.mine(2_000);
    theirs.take(&common).unwrap();
    theirs.now.store(ours.chain.now_ms() + 1, Ordering::SeqCst);
    // A branch that ours keeps aside, to the end of the epoch.
    let branch: Vec<Block> = (2..length).map(|_| theirs.mine(2_000)).collect();
    for _ in 1..length {
        ours.mine(2_000);
    }
    for block in &branch {
        assert_eq!(ours.take(block).unwrap(), Imported::Side);
    }
    let first_of_epoch = |matmul: u16| {
        let mut template = theirs.chain.template(miner()).unwrap();
        template.core.shares = Shares { matmul, credit: 0 };
        // Other shares make another difficulty, which this is above.
        template.difficulty = 500;
        template.renew_puzzle(theirs.chain.network());
        seal(&template)
    };
    // On the best chain the exact value is known (C-5).
    let wrong = first_of_epoch(26_215);
    assert!(matches!(theirs.take(&wrong), Err(ImportError::Header(HeaderError::Shares { .. }))));
    // Aside only the step is (C-18) …
    let jump = first_of_epoch(50_000);
    assert!(matches!(ours.take(&jump), Err(ImportError::Move(_))));
    assert_eq!(ours.take(&wrong).unwrap(), Imported::Side);
    // … until the branch would be the best: then the exact value counts (C-19).
    let shares = Shares { matmul: 26_215, credit: 0 };
    let (standing, header) = ours.chain.header(wrong.id()).unwrap().unwrap();
    let mut core = Core {
        parent: standing.id,
        height: standing.height + 1,
        time_ms: standing.time_ms + 2_000,
        ..header.core
    };
    assert_eq!(core.shares, shares);
    let head = ours.chain.head();
    let error = loop {
        let mut template = theirs.chain.template(miner()).unwrap();
        template.core = core.clone();
        template.difficulty = 500;
        template.renew_puzzle(theirs.chain.network());
        let block = seal(&template);
        match ours.take(&block) {
            Ok(Imported::Side) => {
                let id = block.id();
                core = Core {
                    parent: id,
                    height: core.height + 1,
                    time_ms: core.time_ms + 2_000,
                    ..core
                };
            }
            Ok(other) => panic!("{other:?}"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, ImportError::Shares { found, .. } if found == shares), "{error:?}");
    assert_eq!(*ours.chain.head(), *head);
    assert!(matches!(ours.take(&wrong), Err(ImportError::KnownInvalid(_)) | Ok(Imported::Known)));
}

#[test]
fn blocks_are_counted_by_lane_and_shares_by_epoch() {
    let node = Node::on(easy_lanes(|_| {}));
    let mut work = small_products(1);
    for height in 1..=50u64 {
        if height.is_multiple_of(3) {
            node.multiply(&mut work, 2_000);
        } else {
            node.mine(2_000);
        }
    }
    let survey = node.chain.survey(30).unwrap();
    assert_eq!((survey.blocks, survey.elapsed_ms), (30, 60_000));
    assert_eq!(survey.lanes.map(|lane| lane.blocks), [20, 10, 0]);
    assert_eq!(survey.lanes.map(|lane| lane.share), [39_322, 26_214, 0]);
    assert!(survey.lanes[1].work >= 10 << 18);
    assert_eq!(node.chain.survey(1_000).unwrap().blocks, 49, "the first has no spacing");

    let products = node.chain.headers_below(40, 4, 100, Some(Lane::Matmul)).unwrap();
    let heights = products.iter().map(|view| view.header.core.height);
    assert_eq!(heights.collect::<Vec<_>>(), [39, 36, 33, 30]);
    assert_eq!(node.chain.headers_below(3, 100, 100, None).unwrap().len(), 2);
    assert_eq!(node.chain.headers_below(50, 100, 7, None).unwrap().len(), 7);

    let shares = node.chain.shares(9).unwrap();
    assert_eq!(shares.iter().map(|one| one.epoch).collect::<Vec<_>>(), [2, 1, 0]);
    for one in &shares {
        assert_eq!(one.shares, Shares { matmul: 26_214, credit: 0 });
        assert_eq!(one.cause.is_some(), one.epoch > 0);
    }
}
