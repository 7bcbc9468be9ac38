//! C-28, C-29: what lanes 1 and 2 earn.

use proptest::prelude::*;

use crate::Shares;
use crate::reward::{
    MatmulReward, PaidPrice, VESTING_EPOCHS, Vesting, counted_work, credit_reward, floor_price,
    matmul_reward, price_at_step, price_of, price_step,
};

#[test]
fn c28_lane_2_gets_back_at_most_half_of_what_was_burned() {
    let shares = |credit| Shares { matmul: 0, credit };
    // A tenth of 10,080 blocks: credits of 100,800 are worth 50 a block.
    let check = |credits, credit, expected| {
        assert_eq!(credit_reward(1_000, credits, shares(credit), 1_440), expected, "{credits}");
    };
    check(100_800, 6_554, 49);
    check(0, 6_554, 0);
    check(u128::MAX, 6_554, 1_000);
    // No share, no block, no reward.
    check(100_800, 0, 0);
}

#[test]
fn c29_nine_tenths_of_lane_1_wait_for_paid_work() {
    let reward = matmul_reward(1_001);
    assert_eq!(reward, MatmulReward { at_once: 100, vesting: 901 });
    let mut host = Vesting::default();
    host.won(5, 900, 1_000);
    host.won(5, 900, 1_000);
    host.won(6, 900, 3_000);
    assert_eq!(host.settled(6, 1_000), 900);
    // The oldest first, then the next epoch's.
    assert_eq!(host.settled(6, 2_500), 900 + 450);
    assert_eq!(host.settled(6, 10_000), 450);
    // Nothing waits, and surplus work is not kept.
    host.won(6, 900, 1_000);
    assert_eq!(host.settled(6 + VESTING_EPOCHS, 500), 450);
    assert_eq!(host.settled(7 + VESTING_EPOCHS, 500), 0, "unvested is never minted");
    assert!(host.epochs().is_empty());
}

#[test]
fn c29_a_block_won_between_receipts_mints_nothing_twice() {
    let mut host = Vesting::default();
    host.won(1, 900, 1_000);
    assert_eq!(host.settled(1, 500), 450);
    host.won(1, 900, 3_000);
    assert_eq!(host.settled(1, 3_500), 1_350);
}

#[test]
fn c29_work_counts_as_far_as_it_was_paid_for() {
    assert_eq!(counted_work(1 << 50, 1_024, 1), 1 << 50);
    assert_eq!(counted_work(1 << 50, 1_024, 2), 1 << 49);
    assert_eq!(counted_work(1 << 50, 0, 2), 0);
    assert_eq!(counted_work(1 << 50, 0, 0), 1 << 50);
    let paid = |price, burned| PaidPrice { price, burned };
    assert_eq!(floor_price(&[], 77), 77);
    assert_eq!(floor_price(&[paid(10, 0)], 77), 77);
    // A thousand free receipts at a high price move nothing; one that burned most does.
    let mut prices = vec![paid(100, 10), paid(200, 10), paid(300, 10)];
    assert_eq!(floor_price(&prices, 77), 100);
    prices.extend((0..1_000).map(|_| paid(10_000, 0)));
    assert_eq!(floor_price(&prices, 77), 100);
    prices.push(paid(1, 31));
    assert_eq!(floor_price(&prices, 77), 1, "never free");
}

#[test]
fn c29_prices_are_remembered_in_steps_of_at_most_a_fifth() {
    assert_eq!(price_of(1_000, 1 << 40), Some(1_000));
    assert_eq!(price_of(1_000, 1 << 41), Some(500));
    assert_eq!(price_of(1_000, 0), None);
    assert_eq!(price_of(u128::MAX, 1), Some(u128::MAX));
    assert_eq!(
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10].map(price_step),
        [0, 0, 4, 6, 8, 9, 10, 11, 12, 12, 13]
    );
    let mut last = 0;
    for exponent in 0..128 {
        for price in [1_u128 << exponent, u128::MAX >> (127 - exponent), 5 << exponent >> 2] {
            let (step, lowest) = (price_step(price), price_at_step(price_step(price)));
            assert!(lowest <= price && lowest >= price / 5 * 4, "{price} {step} {lowest}");
            assert_eq!(price_step(lowest), step);
            last = last.max(step);
        }
    }
    assert_eq!(last, 511);
}

proptest! {
    #[test]
    fn vesting_mints_no_more_than_was_won_and_steps_do_not_matter(
        blocks in proptest::collection::vec((0u128..1 << 90, 1u128..1 << 100), 1..20),
        receipts in proptest::collection::vec(0u128..1 << 104, 1..20)
    ) {
        let (mut one, mut many) = (Vesting::default(), Vesting::default());
        for (reward, work) in &blocks {
            one.won(1, *reward, *work);
            many.won(1, *reward, *work);
        }
        let steps: u128 = receipts.iter().map(|work| many.settled(2, *work)).sum();
        let whole = one.settled(2, receipts.iter().sum());
        prop_assert_eq!(steps, whole);
        prop_assert!(whole <= blocks.iter().map(|(reward, _)| reward).sum());
    }
}
