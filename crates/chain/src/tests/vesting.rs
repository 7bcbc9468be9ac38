//! C-29 in a chain: nine tenths of lane 1 are minted against work that somebody paid the same host
//! for.

use std::sync::atomic::Ordering;

use alloy_primitives::Address;
use pouw_consensus::Lane;
use pouw_consensus::reward::VESTING_EPOCHS;
use pouw_types::Network;

use super::fixture::{Node, easy_lanes, miner, small_products};
use super::market::{FLUX, Host, RATE, Rental, host};
use crate::Block;
use crate::earnings::counted_of;

const REST: u128 = 36 * FLUX;

/// A host whose blocks are this miner's.
fn our_host() -> Host {
    Host { miner: miner(), ..host(1) }
}

/// A chain with a machine and a rental that chose vesting.
fn rented(change: impl FnOnce(&mut Network)) -> (Node, Rental) {
    let node = Node::on(easy_lanes(change));
    node.register(&our_host());
    let rental = node.rent(&our_host(), 1, 1);
    (node, rental)
}

/// A product that wins, and its difficulty.
fn product(node: &Node) -> u128 {
    let difficulty = node.chain.head().standing.difficulty.of(Lane::Matmul);
    node.multiply(&mut small_products(1), 2_000);
    difficulty
}

/// What a block mints beside lane 0's subsidy.
fn vested_by(node: &Node, block: impl FnOnce() -> Block) -> u128 {
    let subsidies = |node: &Node| u128::try_from(node.supply().subsidies).unwrap();
    let before = subsidies(node);
    assert_eq!(block().header.core.lane, Lane::Hash);
    subsidies(node) - before - 40 * FLUX
}

#[test]
fn c29_the_rest_of_a_product_block_is_minted_against_paid_work() {
    let (node, mut rental) = rented(|_| {});
    let difficulty = product(&node);
    let waiting = || node.chain.vesting(miner()).unwrap();
    assert_eq!(waiting().iter().map(|one| one.reward).sum::<u128>(), REST);
    let half = vested_by(&node, || node.settle(&mut rental, 100, difficulty / 2));
    assert_eq!(half, REST * (difficulty / 2) / difficulty);
    // Work without payment counts nothing: the receipts are as they were.
    assert_eq!(vested_by(&node, || node.mine(2_000)), 0);
    // The rest, and what is above it is not kept for what is won later.
    let rest = vested_by(&node, || node.settle(&mut rental, 100, 10 * difficulty));
    assert_eq!(half + rest, REST, "to the atto");
    assert!(waiting().is_empty());
    product(&node);
    assert_eq!(vested_by(&node, || node.settle(&mut rental, 100, 0)), 0);
    // It matures as a subsidy does.
    let mature = node.balance(miner());
    node.mine_many(10);
    assert!(node.balance(miner()) >= mature + REST);
    let rewards = node.chain.rewards().unwrap();
    let sum = |part: fn(&crate::EpochRewards) -> u128| rewards.iter().map(part).sum::<u128>();
    assert_eq!(sum(|one| one.at_once), 8 * FLUX);
    assert_eq!(sum(|one| one.vested), REST);
    assert_eq!(sum(|one| one.waiting), REST);
}

#[test]
fn c29_credit_rentals_other_hosts_and_unpaid_work_vest_nothing() {
    let (node, mut ours) = rented(|_| {});
    let other = host(2);
    node.register(&other);
    let mut theirs = node.rent(&other, 1, 2);
    let mut credit = node.rent(&our_host(), 0, 3);
    let difficulty = product(&node);
    for rental in [&mut theirs, &mut credit] {
        assert_eq!(vested_by(&node, || node.settle(rental, 100, difficulty)), 0);
    }
    assert_eq!(vested_by(&node, || node.settle(&mut ours, 100, difficulty)), REST);

    // Half of the median of what was paid for work is the floor: here the table's, where each
    // second affords a thousandth of the block.
    let (poor, mut rental) = rented(|network| network.lanes.floor_price = u128::MAX >> 40);
    let difficulty = product(&poor);
    let affordable = (RATE * 100) << 40;
    let affordable = affordable / (u128::MAX >> 40);
    let vested = vested_by(&poor, || poor.settle(&mut rental, 100, difficulty));
    assert_eq!(vested, REST * affordable.min(difficulty) / difficulty);
    let state = poor.chain.state_at(poor.chain.head().height()).unwrap();
    assert_eq!(counted_of(&state, rental.id).unwrap(), affordable.min(difficulty));
}

#[test]
fn c29_the_floor_follows_what_was_paid_and_holds_for_an_epoch() {
    let (node, mut rental) = rented(|_| {});
    let epoch = |node: &Node| node.chain.head().height() / node.chain.network().epoch_blocks;
    let floor = || node.chain.floor_price().unwrap();
    assert_eq!(floor(), 1_000_000_000_000);
    // 1,000 FLUX for 2^40: the epochs after it see half of that, a fifth less at most.
    node.settle(&mut rental, 100, 1 << 40);
    let first = epoch(&node);
    assert_eq!(floor(), 1_000_000_000_000, "not within the epoch");
    while epoch(&node) == first {
        node.mine(2_000);
    }
    let seen = floor();
    assert!((400 * FLUX..=500 * FLUX).contains(&seen), "{seen}");
    // A receipt that claims a million times the work is one that paid the floor, and no less: who
    // deals with himself halves the floor an epoch at most.
    node.settle(&mut rental, 10_000, 1 << 100);
    let second = epoch(&node);
    while epoch(&node) == second {
        node.mine(2_000);
    }
    let after = floor();
    assert!(after < seen && after >= seen / 5 * 2, "{seen} {after}");
}

#[test]
fn c29_after_thirty_epochs_nothing_vests() {
    let check = |epochs: u64, expected: u128| {
        let (node, mut rental) = rented(|network| network.epoch_blocks = 2);
        let difficulty = product(&node);
        let won = node.chain.head().height() / 2;
        while node.chain.head().height().div_ceil(2) < won + epochs {
            node.mine(2_000);
        }
        let vested = vested_by(&node, || node.settle(&mut rental, 100, difficulty));
        assert_eq!(vested, expected, "{epochs} epochs later");
    };
    check(VESTING_EPOCHS, REST);
    check(VESTING_EPOCHS + 1, 0);
}

#[test]
fn vesting_goes_back_with_its_branch() {
    let (ours, mut rental) = rented(|_| {});
    let difficulty = product(&ours);
    let theirs = Node::on(ours.chain.network());
    for height in 1..=ours.chain.head().height() {
        theirs.take(&ours.chain.block_at(height).unwrap().unwrap().block).unwrap();
    }
    theirs.now.store(ours.chain.now_ms(), Ordering::SeqCst);
    ours.settle(&mut rental, 100, difficulty);
    assert!(ours.chain.vesting(miner()).unwrap().is_empty());
    // Another branch, without the receipt, wins: the reward waits again, and so does the receipt.
    theirs.now.store(ours.chain.now_ms(), Ordering::SeqCst);
    for block in [theirs.mine(2_000), theirs.mine(2_000)] {
        ours.take(&block).unwrap();
    }
    assert_eq!(*ours.chain.head(), *theirs.chain.head());
    assert_eq!(ours.chain.rows().unwrap(), theirs.chain.rows().unwrap());
    assert_eq!(ours.chain.vesting(miner()).unwrap().len(), 1);
    assert_eq!(vested_by(&ours, || ours.mine(2_000)), REST, "settled again, vested again, once");
    assert_eq!(ours.chain.vesting(Address::ZERO).unwrap(), []);
}
