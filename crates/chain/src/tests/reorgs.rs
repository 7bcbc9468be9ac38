use std::sync::atomic::Ordering;

use alloy_primitives::Address;
use pouw_types::Network;
use proptest::prelude::*;

use super::fixture::{GWEI, Node, funded, transfer};
use crate::{Block, Event, ImportError, Imported};

/// A node that followed the same blocks.
fn follower(blocks: &[Block]) -> Node {
    let node = Node::new();
    for block in blocks {
        node.take(block).unwrap();
    }
    node
}

#[test]
fn the_heavier_branch_wins_and_its_loser_returns_to_the_mempool() {
    let ours = Node::new();
    let common = ours.mine_many(2);
    let theirs = follower(&common);
    theirs.now.fetch_add(120_000, Ordering::SeqCst);
    let to = Address::repeat_byte(1);
    let hash = ours.chain.submit(&transfer(&funded(0), 0, to, 10 * GWEI, GWEI)).unwrap();
    let dropped = ours.mine(60_000);
    assert_eq!(ours.balance(to), 1);
    let state_before = ours.chain.head();

    let first = theirs.mine(60_000);
    let second = theirs.mine(60_000);
    let mut events = ours.chain.subscribe();
    assert_eq!(ours.take(&first).unwrap(), Imported::Side);
    assert_eq!(ours.chain.head().id, dropped.id(), "among equals the first stays (C-16)");
    assert_eq!(ours.take(&second).unwrap(), Imported::Reorged { dropped: 1 });
    assert_eq!(*ours.chain.head(), *theirs.chain.head());
    assert_eq!(ours.balance(to), 0);
    assert!(ours.chain.transaction(hash).unwrap().is_none());
    assert!(ours.chain.pending(hash).is_some(), "the transfer waits again");
    match events.try_recv() {
        Ok(Event::Reorg { dropped: out, added, head }) => {
            assert_eq!(*out, [dropped.id()]);
            assert_eq!(*added, [first.id(), second.id()]);
            assert_eq!(head.id, second.id());
        }
        other => panic!("{other:?}"),
    }

    // And back: the branch that lost grows.
    let back = follower(&common);
    back.now.store(ours.now.load(Ordering::SeqCst), Ordering::SeqCst);
    back.take(&dropped).unwrap();
    assert_eq!(*back.chain.head(), *state_before);
    let third = back.mine(60_000);
    let fourth = back.mine(60_000);
    assert_eq!(ours.take(&third).unwrap(), Imported::Side);
    assert_eq!(ours.take(&fourth).unwrap(), Imported::Reorged { dropped: 2 });
    assert_eq!(*ours.chain.head(), *back.chain.head());
    assert_eq!(ours.balance(to), 1);
    assert!(ours.chain.transaction(hash).unwrap().is_some());
    assert_eq!(ours.chain.pending_count(), 0);
}

#[test]
fn a_branch_with_a_bad_body_changes_nothing() {
    let ours = Node::new();
    let common = ours.mine_many(1);
    let theirs = follower(&common);
    theirs.now.fetch_add(60_000, Ordering::SeqCst);
    ours.mine(60_000);
    let head = ours.chain.head();
    let good = theirs.mine(60_000);
    theirs.now.fetch_add(60_000, Ordering::SeqCst);
    let mut template = theirs.chain.template(Address::ZERO).unwrap();
    template.core.state_root = alloy_primitives::B256::ZERO;
    template.renew_puzzle(Network::devnet());
    let bad = super::fixture::seal(&template);
    ours.take(&good).unwrap();
    let error = ours.take(&bad).unwrap_err();
    assert!(matches!(error, ImportError::Body(_)), "{error:?}");
    assert_eq!(*ours.chain.head(), *head);
    assert!(matches!(ours.take(&bad), Err(ImportError::KnownInvalid(_))));
    // The good part of the branch can still win.
    let next = theirs.mine(60_000);
    assert_eq!(ours.take(&next).unwrap(), Imported::Reorged { dropped: 1 });
}

#[test]
fn c17_a_branch_below_the_oldest_state_is_refused_by_name() {
    let network: &'static Network = Box::leak(Box::new(Network {
        kept_states: 3,
        horizon_blocks: 0,
        ..Network::devnet().clone()
    }));
    let ours = Node::on(network);
    let theirs = Node::on(network);
    for block in ours.mine_many(2) {
        theirs.take(&block).unwrap();
    }
    theirs.now.fetch_add(1_000, Ordering::SeqCst);
    let fork = theirs.mine(60_000);
    ours.mine_many(4);
    let error = ours.take(&fork).unwrap_err();
    assert!(matches!(error, ImportError::ReorgTooDeep { fork: 2, oldest: 3 }), "{error:?}");
    assert!(!error.is_transient() && !error.is_fatal());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn the_best_chain_does_not_depend_on_the_order_of_arrival(
        lengths in proptest::collection::vec(1usize..5, 2..4),
        seed in any::<u64>(),
    ) {
        // Branches from one block, each longer than the one before: one of them is the heaviest.
        let root = Node::new();
        let common = root.mine_many(2);
        let mut branches = Vec::new();
        let mut length = 0;
        for (number, more) in (0u64..).zip(&lengths) {
            length += more;
            let node = follower(&common);
            node.now.store(root.chain.now_ms() + number, Ordering::SeqCst);
            let from = funded(u32::try_from(number).unwrap());
            for nonce in 0..3 {
                let to = Address::repeat_byte(u8::try_from(nonce).unwrap() + 1);
                node.chain.submit(&transfer(&from, nonce, to, 10 * GWEI, GWEI)).unwrap();
            }
            branches.push((node.mine_many(length), node.chain.head()));
        }
        let blocks: Vec<Block> = branches.iter().flat_map(|(blocks, _)| blocks.clone()).collect();
        let heads = branches.iter().map(|(_, head)| head.standing.total_weight);
        let best = heads.max().unwrap();

        let node = follower(&common);
        node.now.fetch_add(1_000_000_000, Ordering::SeqCst);
        let mut waiting = blocks;
        let mut dice = seed;
        while !waiting.is_empty() {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let pick = usize::try_from(dice >> 33).unwrap() % waiting.len();
            let block = waiting.remove(pick);
            match node.take(&block) {
                Err(ImportError::UnknownParent(_)) => waiting.push(block),
                result => drop(result.unwrap()),
            }
        }
        let head = node.chain.head();
        prop_assert_eq!(head.standing.total_weight, best);
        let (_, expected) =
            branches.iter().find(|(_, one)| one.standing.total_weight == best).unwrap();
        prop_assert_eq!(head.header.core.state_root, expected.header.core.state_root);
        prop_assert_eq!(head.id, expected.id);
        // What the journal undid left no trace: the same tree by another way.
        let straight = follower(&common);
        straight.now.fetch_add(1_000_000_000, Ordering::SeqCst);
        let longest = &branches.iter().find(|(_, one)| one.id == head.id).unwrap().0;
        for block in longest {
            straight.take(block).unwrap();
        }
        prop_assert_eq!(node.chain.rows().unwrap(), straight.chain.rows().unwrap());
    }
}
