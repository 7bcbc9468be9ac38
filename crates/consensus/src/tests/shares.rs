//! C-18, C-19, C-30: how shares move, and what a weight makes of it.

use pouw_types::Network;
use proptest::prelude::*;

use crate::fixed::ONE;
use crate::share::{
    CREDIT_CAP, EpochSums, FLOOR, ShareError, Steps, at_genesis, check_move, epoch_of, moved,
    targets, targets_of, window,
};
use crate::{Difficulty, Lane, Pace, Shares, weight};

const MAINNET: Steps = Steps { rise: 655, fall: 1_966 };
const SUBSIDY: u128 = 57_600;

fn shares(matmul: u16, credit: u16) -> Shares {
    Shares { matmul, credit }
}

fn sums(vesting_burn: u128, credit_burn: u128, credit_rewards: u128) -> [EpochSums; 7] {
    [EpochSums { vesting_burn, credit_burn, credit_rewards }; 7]
}

#[test]
fn c18_a_share_moves_at_most_a_step_and_only_at_an_epochs_start() {
    assert_eq!(Steps::of(Network::mainnet()), MAINNET);
    let check = |after, starts, expected: Result<(), ShareError>| {
        assert_eq!(check_move(shares(2_000, 5_000), after, starts, MAINNET), expected, "{after:?}");
    };
    let before = shares(2_000, 5_000);
    check(before, false, Ok(()));
    check(shares(2_655, 3_034), true, Ok(()));
    let after = shares(2_001, 5_000);
    check(after, false, Err(ShareError::WithinEpoch { before, after }));
    for after in
        [shares(2_656, 5_000), shares(2_000, 5_656), shares(33, 5_000), shares(2_000, 3_033)]
    {
        check(after, true, Err(ShareError::Step { before, after, steps: MAINNET }));
    }
    let high = shares(64_000, 800);
    let over = shares(64_000, 881);
    assert_eq!(check_move(high, over, true, MAINNET), Err(ShareError::Bounds(over)));
    let cap = shares(0, 19_661);
    assert_eq!(check_move(shares(0, 19_600), cap, true, MAINNET), Err(ShareError::Bounds(cap)));
}

#[test]
fn c19_shares_follow_what_was_burned_a_week_late() {
    let check = |sums: &[EpochSums], matmul, credit| {
        assert_eq!(targets(sums, SUBSIDY), shares(matmul, credit), "{sums:?}");
    };
    check(&sums(0, 0, 0), 0, 0);
    // A quarter of the subsidy burned: all but the floor; half of that: half.
    check(&sums(14_400, 0, 0), 64_880, 0);
    check(&sums(1 << 100, 0, 0), 64_880, 0);
    check(&sums(7_200, 0, 0), 32_768, 0);
    // What lane 2 minted is no demand, and its part is capped.
    check(&sums(3_600, 7_200, 3_600), 16_384, 16_384);
    check(&sums(0, 14_400, 0), 0, 19_660);
    check(&sums(0, 100, 200), 0, 0);
    check(&sums(u128::MAX, u128::MAX, 0), 32_440, 19_660);
    // Absent epochs count as zero.
    check(&sums(14_400, 0, 0)[..1], 9_362, 0);
    assert_eq!(targets(&sums(1, 0, 0), 0), shares(64_880, 0));

    assert_eq!(window(20).collect::<Vec<_>>(), [11, 12, 13, 14, 15, 16, 17]);
    assert_eq!(window(4).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(window(2).count(), 0);
    assert_eq!([epoch_of(1_439, 1_440), epoch_of(1_440, 1_440), epoch_of(9, 0)], [0, 1, 0]);
    let next = moved(shares(2_000, 5_000), shares(64_880, 0), MAINNET);
    assert_eq!(next, shares(2_655, 3_034));
    assert_eq!(moved(shares(10, 20), shares(11, 19), MAINNET), shares(11, 19));
}

#[test]
fn a_quiet_lane_rises_by_no_more_than_it_sank() {
    let pace = Pace::of(Network::devnet());
    // Asleep for hours, and lane 1 wakes first: lane 0 is quiet at its lowest difficulty.
    let shares = shares(26_214, 0);
    let asleep = Difficulty::genesis(&pace, shares).after(&pace, Lane::Matmul, u64::MAX, shares);
    assert!(asleep.lanes[0].quiet);
    assert_eq!((asleep.of(Lane::Hash), asleep.lanes[0].drop), (1, 0));
    let heard = asleep.after(&pace, Lane::Hash, 2_000, shares);
    assert!(heard.of(Lane::Hash) <= 2, "{}", heard.of(Lane::Hash));
    // One that had room to sink comes back to where it was.
    let mut high = Difficulty::genesis(&pace, shares);
    high.lanes[0].level = 60 * ONE;
    let quiet = high.after(&pace, Lane::Matmul, 240 * 2_000, shares);
    assert_eq!(quiet.lanes[0].drop, 20 * ONE, "its bound (ADR 9)");
    let heard = quiet.after(&pace, Lane::Hash, 2_000, shares);
    assert!(heard.lanes[0].level >= 60 * ONE);
}

#[test]
fn c30_shares_alone_move_no_weight() {
    let pace = Pace::of(Network::mainnet());
    let mut difficulty = Difficulty::genesis(&pace, shares(16_384, 0));
    for lane in [Lane::Hash, Lane::Matmul, Lane::Hash] {
        difficulty = difficulty.after(&pace, lane, 60_000, shares(16_384, 0));
    }
    // The same difficulties under other shares.
    assert_eq!(weight::step(shares(40_000, 0), &difficulty, &difficulty), 0);
    // A lane that opens weighs nothing by opening; one that a block made harder weighs its part.
    let closed = Difficulty::genesis(&pace, Shares::HASH_ONLY);
    let mut opened = closed;
    opened.lanes[1].difficulty = 1 << 60;
    assert_eq!(weight::step(shares(32_768, 0), &closed, &opened), 0);
    let mut harder = opened;
    harder.lanes[1].difficulty = 1 << 62;
    assert_eq!(weight::step(shares(32_768, 0), &opened, &harder), ONE);
    // Lane 2 has no part in it.
    let mut credit = opened;
    credit.lanes[2].difficulty = 1 << 90;
    assert_eq!(weight::step(shares(32_768, 10_000), &opened, &credit), 0);
}

#[test]
fn floors_hold_and_leave_lane_0_its_own() {
    let devnet = Network::devnet();
    let (matmul, credit) = (devnet.lanes.matmul_floor, devnet.lanes.credit_floor);
    assert_eq!(targets_of(devnet, &[]), shares(matmul, credit));
    let subsidy = devnet.subsidy.atto() * u128::from(devnet.epoch_blocks);
    let all = |vesting, credit| {
        [EpochSums { vesting_burn: vesting, credit_burn: credit, credit_rewards: 0 }; 7]
    };
    assert_eq!(targets_of(devnet, &all(subsidy, 0)), shares(64_880 - credit, credit));
    assert_eq!(targets_of(devnet, &all(0, subsidy)), shares(matmul, 19_660));
    for target in [targets_of(devnet, &all(subsidy, 0)), targets_of(devnet, &all(0, subsidy))] {
        let mut now = at_genesis(devnet);
        for _ in 0..8 {
            let next = moved(now, target, Steps::of(devnet));
            assert_eq!(check_move(now, next, true, Steps::of(devnet)), Ok(()));
            now = next;
        }
        assert_eq!(now, target);
    }
}

proptest! {
    #[test]
    fn what_the_controller_does_a_header_check_accepts(
        epochs in proptest::collection::vec((0u128..40_000, 0u128..40_000, 0u128..10_000), 1..60)
    ) {
        let mut now = Shares::HASH_ONLY;
        for steps in [MAINNET, Steps::of(Network::devnet())] {
            for (vesting_burn, credit_burn, credit_rewards) in &epochs {
                let sums = sums(*vesting_burn, *credit_burn, *credit_rewards);
                let target = targets(&sums, SUBSIDY);
                let next = moved(now, target, steps);
                prop_assert_eq!(check_move(now, next, true, steps), Ok(()));
                prop_assert!(next.by_lane()[0] >= FLOOR);
                prop_assert!(u32::from(next.credit) <= CREDIT_CAP);
                now = next;
            }
        }
    }
}
