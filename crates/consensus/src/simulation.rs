//! How difficulty behaves over time, with blocks drawn at random.

use alloy_primitives::B256;
use pouw_types::Network;
use proptest::prelude::*;

use crate::fixed::{ONE, log2};
use crate::{Difficulty, Lane, Pace, Shares, Standing};

/// A small generator of its own, so that a seed means the same everywhere.
struct Dice(u64);

impl Dice {
    /// Exponentially distributed with mean 1.
    #[expect(
        clippy::as_conversions,
        clippy::cast_precision_loss,
        reason = "a simulation, not a rule"
    )]
    fn exponential(&mut self) -> f64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let unit = ((self.0 >> 11) as f64 + 1.0) / 9_007_199_254_740_993.0;
        -unit.ln()
    }
}

#[expect(
    clippy::as_conversions,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a simulation, not a rule"
)]
fn spacing_ms(dice: &mut Dice, difficulty: u128, tickets_per_s: f64, cap_ms: u64) -> u64 {
    let seconds = dice.exponential() * difficulty as f64 / tickets_per_s;
    ((seconds * 1_000.0) as u64).max(cap_ms)
}

/// Mean spacing over the blocks between two times, lane 0 alone.
fn mean_spacing(tickets_per_s: f64, from_ms: u64, to_ms: u64, seed: u64) -> u64 {
    let pace = Pace::of(Network::devnet());
    let mut difficulty = Difficulty::genesis(&pace, Shares::HASH_ONLY);
    let (mut now, mut count, mut dice) = (0, 0, Dice(seed));
    while now < to_ms {
        let spacing = spacing_ms(&mut dice, difficulty.of(Lane::Hash), tickets_per_s, 1);
        now += spacing;
        count += u64::from(now > from_ms);
        difficulty = difficulty.after(&pace, Lane::Hash, spacing, Shares::HASH_ONLY);
    }
    (to_ms - from_ms) / count.max(1)
}

#[test]
fn devnet_finds_its_spacing_within_five_minutes_at_any_hash_rate() {
    for tickets_per_s in [8.0, 100.0, 2_000.0, 50_000.0, 1_000_000.0] {
        for seed in 1..4 {
            let mean = mean_spacing(tickets_per_s, 300_000, 1_500_000, seed);
            assert!((1_700..2_300).contains(&mean), "{tickets_per_s}/s, seed {seed}: {mean} ms");
        }
    }
}

#[test]
fn asleep_for_eight_hours_a_devnet_does_not_flood() {
    let pace = Pace::of(Network::devnet());
    let mut difficulty = Difficulty::genesis(&pace, Shares::HASH_ONLY);
    let mut dice = Dice(7);
    for _ in 0..600 {
        let spacing = spacing_ms(&mut dice, difficulty.of(Lane::Hash), 100.0, 1_000);
        difficulty = difficulty.after(&pace, Lane::Hash, spacing, Shares::HASH_ONLY);
    }
    difficulty = difficulty.after(&pace, Lane::Hash, 8 * 3_600_000, Shares::HASH_ONLY);
    let (mut now, mut count) = (0, 0);
    while now < 60_000 {
        // The miner's own cap: one block a second.
        let spacing = spacing_ms(&mut dice, difficulty.of(Lane::Hash), 100.0, 1_000);
        now += spacing;
        count += 1;
        difficulty = difficulty.after(&pace, Lane::Hash, spacing, Shares::HASH_ONLY);
    }
    assert!(count <= 61, "{count} blocks in the first minute");
}

/// Three lanes at shares (½, ¼, ¼), each with a steady rate of its own.
fn run_three(seed: u64, blocks: u32, mut alive: impl FnMut(u32) -> [bool; 3]) -> ([u32; 3], u64) {
    // At rest: each lane has its share at one block a minute.
    let start_levels = [600_000, 9_600_000, 720].map(log2);
    let pace = Pace { start_levels, ..Pace::of(Network::mainnet()) };
    let shares = Shares { matmul: 16_384, credit: 16_384 };
    let mut difficulty = Difficulty::genesis(&pace, shares);
    let rates = [5_000.0, 40_000.0, 3.0];
    let (mut won, mut now, mut dice) = ([0; 3], 0, Dice(seed));
    for block in 0..blocks {
        let alive = alive(block);
        let (spacing, lane) = Lane::ALL
            .into_iter()
            .filter(|lane| alive[lane.index()])
            .map(|lane| {
                let rate = rates[lane.index()];
                (spacing_ms(&mut dice, difficulty.of(lane), rate, 1), lane)
            })
            .min()
            .unwrap();
        won[lane.index()] += 1;
        now += spacing;
        difficulty = difficulty.after(&pace, lane, spacing, shares);
    }
    (won, now)
}

#[test]
fn lanes_win_their_shares() {
    let (won, now) = run_three(3, 20_000, |_| [true; 3]);
    for (won, expected) in won.into_iter().zip([10_000u32, 5_000, 5_000]) {
        assert!(won.abs_diff(expected) < expected / 20, "{won} of {expected}");
    }
    let mean = now / 20_000;
    assert!((57_000..63_000).contains(&mean), "{mean} ms");
}

#[test]
fn a_lane_that_dies_leaves_its_blocks_to_the_others() {
    let (won, now) = run_three(5, 4_000, |block| [true, block < 2_000, true]);
    assert!(won[1] < 700);
    let mean = now / 4_000;
    assert!((55_000..66_000).contains(&mean), "{mean} ms");
}

#[test]
fn difficulty_stays_within_its_bounds_and_levels_follow() {
    let pace = Pace::of(Network::devnet());
    let mut difficulty = Difficulty::genesis(&pace, Shares::HASH_ONLY);
    for _ in 0..1_000 {
        difficulty = difficulty.after(&pace, Lane::Hash, u64::MAX, Shares::HASH_ONLY);
        assert_eq!(difficulty.of(Lane::Hash), 1);
        assert_eq!(difficulty.lanes[0].level + difficulty.clock, 0, "the clamp moves the level");
    }
    for _ in 0..100_000 {
        difficulty = difficulty.after(&pace, Lane::Hash, 1, Shares::HASH_ONLY);
    }
    assert!(difficulty.of(Lane::Hash) > u128::MAX >> 2);
    assert_eq!(difficulty.lanes[0].level + difficulty.clock, 128 * ONE - 1);
}

#[test]
fn a_frozen_lane_keeps_its_state() {
    let pace = Pace::of(Network::devnet());
    let mut difficulty = Difficulty::genesis(&pace, Shares::HASH_ONLY);
    let frozen = difficulty.lanes[1];
    for _ in 0..100 {
        difficulty = difficulty.after(&pace, Lane::Hash, 9_000, Shares::HASH_ONLY);
    }
    assert_eq!(difficulty.lanes[1], frozen);
    let open = Shares { matmul: 655, credit: 0 };
    let opened = difficulty.after(&pace, Lane::Hash, 2_000, open);
    assert!(opened.lanes[1].quiet && opened.lanes[1].fresh);
    assert!(opened.of(Lane::Matmul) >= 1 << 18);
}

/// Vectors of u and of the mean: frozen timestamps hide no work.
#[test]
fn silence_is_counted_by_work_and_by_time() {
    let pace = Pace::of(Network::mainnet());
    let shares = Shares { matmul: 16_384, credit: 0 };
    let mut heard = Difficulty::genesis(&pace, shares);
    heard.lanes[1].quiet = false;
    let after = |clock, spacing_ms| {
        let next = Difficulty { clock, ..heard }.after(&pace, Lane::Hash, spacing_ms, shares);
        (next.lanes[1].since, next.mean_clock)
    };
    assert_eq!(after(0, 1), (ONE, 0));
    assert_eq!(after(3 * ONE, 1), (8 * ONE, 8_947_848));
    assert_eq!(after(3 * ONE, 600_000), (10 * ONE, 8_947_848));
    assert_eq!(after(-3 * ONE, 1), (ONE, -8_947_849));
    assert_eq!(after(100 * ONE, 1).0, 240 * ONE);
    assert_eq!(after(0, u64::MAX).0, 240 * ONE);
}

#[test]
fn a_lane_that_just_opened_sinks_by_time_alone() {
    let pace = Pace::of(Network::mainnet());
    let open = Shares { matmul: 16_384, credit: 0 };
    let sinks = |clock| {
        let before = Difficulty { clock, ..Difficulty::genesis(&pace, Shares::HASH_ONLY) };
        let opened = before.after(&pace, Lane::Hash, 1, open);
        opened.lanes[1].level - opened.after(&pace, Lane::Hash, 1, open).lanes[1].level
    };
    assert_eq!(sinks(3 * ONE), sinks(0));
}

#[test]
fn difficulty_keeps_its_vectors() {
    let pace = Pace::of(Network::devnet());
    let mut standing = Standing::genesis(Network::devnet(), B256::ZERO);
    let mut seen = Vec::new();
    for spacing in [1_000, 2_000, 4_000, 100, 600_000, 1] {
        standing.difficulty =
            standing.difficulty.after(&pace, Lane::Hash, spacing, Shares::HASH_ONLY);
        seen.push((standing.difficulty.clock, standing.difficulty.of(Lane::Hash)));
    }
    assert_eq!(
        seen,
        [
            (214_748_364, 16),
            (214_748_364, 16),
            (-214_748_366, 15),
            (193_273_527, 16),
            (-102_456_444_848, 1),
            (-102_027_162_867, 1)
        ]
    );
}

proptest! {
    #[test]
    fn somebody_is_always_live_and_bounds_hold(
        steps in proptest::collection::vec((0usize..3, 1u64..10_000_000, 0u16..33_000, 0u16..32_000), 1..200)
    ) {
        let pace = Pace::of(Network::devnet());
        let mut difficulty = Difficulty::genesis(&pace, Shares::HASH_ONLY);
        for (lane, spacing, matmul, credit) in steps {
            let shares = Shares { matmul, credit };
            difficulty = difficulty.after(&pace, Lane::ALL[lane], spacing, shares);
            let open: Vec<_> = difficulty
                .lanes
                .iter()
                .zip(shares.by_lane())
                .filter(|(_, share)| *share > 0)
                .map(|(state, _)| *state)
                .collect();
            prop_assert!(open.iter().any(|state| !state.quiet));
            prop_assert!(open.iter().all(|state| state.difficulty >= 1));
            if matmul > 0 {
                prop_assert!(difficulty.of(Lane::Matmul) >= 1 << 18);
            }
        }
    }
}
