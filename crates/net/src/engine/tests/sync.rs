//! Honest nodes: they find each other, agree, and catch up.

use super::fake::{CERTIFIED, EARLY};
use super::world::{World, id_of};
use crate::chain::Chain;
use crate::engine::Input;
use crate::trust::Trust;
use crate::wire::Tip;

const MINUTE: u64 = 60_000;

#[test]
fn branches_mined_apart_become_one_chain() {
    // A line: each knows its left neighbour only.
    let mut world = World::new(5, |node| node.checked_sub(1).into_iter().collect());
    for node in 0..5 {
        for block in 0..10 + u64::try_from(node).unwrap() {
            world.chain(node).mine(1, 1_000 * u64::try_from(node).unwrap() + block, 0);
        }
    }
    assert!(world.run_until(MINUTE, World::agree));
    assert_eq!(world.chain(0).tip().height, 14, "the heaviest");
    world.assert_peace();
}

#[test]
fn nodes_that_were_cut_off_come_back() {
    let mut world = World::new(4, |node| (0..node).collect());
    assert!(world.run_until(MINUTE, |world| (0..4).all(|node| world.greeted(node) == 3)));
    for (a, b) in [(0, 2), (0, 3), (1, 2), (1, 3)] {
        world.cut(a, b);
    }
    for block in 0..30 {
        world.mine(0, 1, block, 0);
        world.mine(3, 2, 100 + block, 0);
        world.run_until(1_000, |_| false);
    }
    assert_eq!(world.chain(0).tip(), world.chain(1).tip());
    assert_eq!(world.chain(2).tip(), world.chain(3).tip());
    assert!(!world.agree());
    for (a, b) in [(0, 2), (0, 3), (1, 2), (1, 3)] {
        world.mend(a, b);
    }
    assert!(world.run_until(2 * MINUTE, World::agree));
    assert_eq!(world.chain(0).tip().height, 30);
    world.assert_peace();
}

#[test]
fn n5_a_new_node_catches_up_headers_first_within_its_window() {
    let mut world = World::new(4, |node| if node == 3 { vec![0, 1, 2] } else { vec![] });
    for node in 0..3 {
        for block in 0..2_000 {
            world.chain(node).mine(1, block, if block % 7 == 0 { CERTIFIED } else { 0 });
        }
    }
    assert!(world.run_until(20 * MINUTE, World::agree));
    assert_eq!(world.chain(3).tip().height, 2_000);
    world.assert_peace();
}

#[test]
fn a_new_block_reaches_everybody_without_a_header_sync() {
    let mut world = World::new(3, |node| (0..node).collect());
    world.run_until(2_000, |_| false);
    world.mine(0, 1, 1, 0);
    assert!(world.run_until(1_000, World::agree), "announce, ask, part, and once more");
    world.assert_peace();
}

#[test]
fn n6_two_calls_at_once_leave_one_connection() {
    let mut world = World::new(2, |node| vec![1 - node]);
    // Both first ticks call before either hears of the other's call.
    assert!(world.run_until(MINUTE, |world| world.greeted(0) == 1 && world.greeted(1) == 1));
    world.run_until(MINUTE, |_| false);
    assert_eq!((world.greeted(0), world.greeted(1)), (1, 1));
    assert_eq!(world.nodes[0].1.peers.len() + world.nodes[1].1.peers.len(), 2);
}

#[test]
fn peers_are_heard_of_through_peers() {
    let mut world = World::new(4, |node| if node == 0 { vec![] } else { vec![0] });
    assert!(world.run_until(5 * MINUTE, |world| (0..4).all(|node| world.greeted(node) == 3)));
    for node in 0..4 {
        assert!(world.nodes[node].1.book().len() >= 3, "node {node}");
    }
}

#[test]
fn n8_a_transaction_reaches_everybody_and_newcomers() {
    let mut world = World::new(4, |node| node.checked_sub(1).into_iter().collect());
    let early = world.chain(0).add_waiting(b"before anybody came");
    assert!(world.run_until(MINUTE, |world| world.chain(1).transaction(early).is_some()));
    let late = world.chain(0).add_waiting(b"later");
    world.post(0, 0, Input::Waiting(late));
    // The assembly tells the machine of whatever its mempool took.
    for node in 1..4 {
        let reached = |world: &World| {
            [early, late].iter().all(|hash| world.chain(node).transaction(*hash).is_some())
        };
        assert!(world.run_until(MINUTE, reached), "node {node}");
        world.post(0, node, Input::Waiting(early));
        world.post(0, node, Input::Waiting(late));
    }
    world.assert_peace();
}

#[test]
fn a_block_ahead_of_the_clock_is_no_lie() {
    let mut world = World::new(2, |node| if node == 1 { vec![0] } else { vec![] });
    world.chain(0).set_now(60_000);
    world.chain(0).mine(1, 1, EARLY);
    world.run_until(30_000, |_| false);
    assert!(!world.agree());
    world.assert_peace();
    assert!(world.run_until(2 * MINUTE, World::agree), "once its time has come");
    world.assert_peace();
}

#[test]
fn n7_a_peer_that_does_not_answer_is_not_waited_for() {
    let mut world = World::new(3, |node| if node == 2 { vec![0, 1] } else { vec![] });
    for block in 0..1_500 {
        world.chain(0).mine(1, block, 0);
        world.chain(1).mine(1, block, 0);
    }
    // It has more, so it is asked first.
    world.chain(0).mine(5, 1, 0);
    world.mute.insert(0);
    assert!(world.run_until(2 * MINUTE, |world| world.chain(2).tip().height >= 1_500));
    assert_eq!(world.nodes[2].1.book().banned(world.now_ms), 0, "once is no ban");
    assert!(world.run_until(30 * MINUTE, |world| {
        world.nodes[2].1.book().is_banned(world.now_ms, id_of(0))
    }));
}

#[test]
fn a_peer_that_falls_silent_in_the_middle_is_not_waited_for() {
    let mut world = World::new(3, |node| if node == 2 { vec![0, 1] } else { vec![] });
    for node in 0..2 {
        for block in 0..1_800 {
            world.chain(node).mine(1, block, 0);
        }
    }
    assert!(world.run_until(10 * MINUTE, |world| world.chain(2).tip().height > 700));
    world.mute.insert(0);
    assert!(world.run_until(10 * MINUTE, |world| world.chain(2).tip().height == 1_800));
}

/// Two nodes with 400 blocks, a third of them with certificates, of which the last 50 are kept;
/// a third node that knows both and has nothing.
fn pruned() -> (World, Tip) {
    let world = World::new(3, |node| if node == 2 { vec![0, 1] } else { vec![] });
    for node in 0..2 {
        for block in 0..400 {
            world.chain(node).mine(1, block, if block % 3 == 0 { CERTIFIED } else { 0 });
        }
    }
    for node in 0..3 {
        world.chain(node).keep(50);
    }
    let tip = world.chain(0).tip();
    (world, tip)
}

#[test]
fn n16_whoever_comes_after_certificates_were_forgotten_is_told_so_and_bans_nobody() {
    let (mut world, _) = pruned();
    world.run_until(2 * MINUTE, |_| false);
    assert_eq!(world.chain(2).tip().height, 0, "the first block needs a certificate");
    world.assert_peace();
}

#[test]
fn n16_with_a_trusted_block_a_new_node_joins_without_the_old_certificates() {
    let (mut world, tip) = pruned();
    let at = Trust { id: world.chain(0).id_at(380), height: 380 };
    world.trust(2, &[0, 1], at);
    assert!(world.run_until(20 * MINUTE, World::agree));
    assert_eq!(world.chain(2).tip(), tip);
    world.assert_peace();
    // Killed in the middle and started again, it needs the way again, and nothing twice.
    let (mut world, tip) = pruned();
    world.trust(2, &[0, 1], at);
    assert!(world.run_until(20 * MINUTE, |world| world.chain(2).tip().height > 150));
    world.trust(2, &[0, 1], at);
    assert!(world.run_until(20 * MINUTE, World::agree));
    assert_eq!(world.chain(2).tip(), tip);
}

#[test]
fn n16_a_heavier_chain_without_the_trusted_block_is_not_taken() {
    let mut world = World::new(3, |node| if node == 2 { vec![0, 1] } else { vec![] });
    // Node 0 has another chain: heavier, higher, without the trusted block.
    for block in 0..450 {
        world.chain(0).mine(9, 10_000 + block, 0);
    }
    for block in 0..400 {
        world.chain(1).mine(1, block, if block % 3 == 0 { CERTIFIED } else { 0 });
    }
    world.chain(1).keep(50);
    let tip = world.chain(1).tip();
    let at = Trust { id: world.chain(1).id_at(380), height: 380 };
    world.trust(2, &[0, 1], at);
    assert!(world.run_until(60 * MINUTE, |world| world.chain(2).tip() == tip));
    assert!(world.points(2) > 0, "whoever lied about the way");
    world.run_until(5 * MINUTE, |_| false);
    assert_eq!(world.chain(2).tip(), tip);
}
