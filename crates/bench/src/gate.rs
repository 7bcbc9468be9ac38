//! Judging measurements.

use serde::{Deserialize, Serialize};

/// Runs behind a listed score.
pub const LISTED_RUNS: usize = 7;
/// Most runs of a gate.
pub const GATE_RUNS: usize = 3;
/// How much of its listed score a machine must reach, thousandths.
const PASS_PERMILLE: u64 = 900;

/// What 1000 stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reference {
    /// Work in a second.
    pub work_per_s: u64,
}

impl Reference {
    /// One thread of the general class: the probe's chunks in a second. One hardware thread of a
    /// virtual Intel Xeon at 2.5 GHz, a common cloud machine, made 1,700 to 2,100, by what its sibling
    /// did meanwhile; 2,000 is a round number among them.
    pub const GENERAL_THREAD: Self = Self { work_per_s: 2_000 };
    /// One thread of the rendering class: camera samples in a second of the bench scene of the
    /// `blender` image (320 · 180 pixels, 8 samples each). The same thread took 2.0 to 2.4 s, which is
    /// 195,000 to 225,000; 200,000 is a round number among them.
    pub const RENDERING_THREAD: Self = Self { work_per_s: 200_000 };
}

/// What a gate says after the runs so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "verdict")]
pub enum Verdict {
    /// The machine is what it said.
    Passed {
        /// The best run.
        best: u32,
    },
    /// Not reached yet: run once more.
    Again {
        /// What a run must reach.
        needed: u32,
    },
    /// No run reached it: the task does not start here, unbilled.
    Failed {
        /// The best run.
        best: u32,
        /// What it should have reached.
        needed: u32,
    },
}

/// Work in a second, rounded down; nothing where no time passed.
#[must_use]
pub fn rate_per_s(work: u64, elapsed_ns: u64) -> u64 {
    let scaled = u128::from(work).saturating_mul(1_000_000_000);
    let rate = scaled.checked_div(u128::from(elapsed_ns)).unwrap_or(0);
    u64::try_from(rate).unwrap_or(u64::MAX)
}

/// The score of a rate: thousandths of the reference, rounded down.
#[must_use]
pub fn score(work_per_s: u64, reference: Reference) -> u32 {
    let scaled = u128::from(work_per_s).saturating_mul(1_000);
    let score = scaled.checked_div(u128::from(reference.work_per_s)).unwrap_or(0);
    u32::try_from(score).unwrap_or(u32::MAX)
}

/// The score that a machine lists: the lower quartile of seven runs, which is the second lowest.
#[must_use]
pub fn listed(mut runs: [u32; LISTED_RUNS]) -> u32 {
    runs.sort_unstable();
    let [_, quartile, ..] = runs;
    quartile
}

/// What a run must reach: 90 % of the listed score, rounded up.
#[must_use]
pub fn needed(listed: u32) -> u32 {
    let needed = u64::from(listed).saturating_mul(PASS_PERMILLE).div_ceil(1_000);
    u32::try_from(needed).unwrap_or(u32::MAX)
}

/// Judges the runs so far; runs beyond the third don't count.
#[must_use]
pub fn judge(listed: u32, runs: &[u32]) -> Verdict {
    let needed = needed(listed);
    match runs.iter().take(GATE_RUNS).copied().max() {
        Some(best) if best >= needed => Verdict::Passed { best },
        Some(best) if runs.len() >= GATE_RUNS => Verdict::Failed { best, needed },
        Some(_) | None => Verdict::Again { needed },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_best_of_three_against_the_lower_quartile_of_seven() {
        assert_eq!(listed([1_000, 990, 400, 1_010, 980, 1_005, 995]), 980);
        let check = |runs: &[u32], expected: Verdict| {
            assert_eq!(judge(1_000, runs), expected, "{runs:?}");
        };
        check(&[], Verdict::Again { needed: 900 });
        check(&[899], Verdict::Again { needed: 900 });
        check(&[100, 899], Verdict::Again { needed: 900 });
        check(&[900], Verdict::Passed { best: 900 });
        check(&[100, 200, 900], Verdict::Passed { best: 900 });
        check(&[899, 500, 100], Verdict::Failed { best: 899, needed: 900 });
        check(&[1, 1, 1, 5_000], Verdict::Failed { best: 1, needed: 900 });
        assert_eq!(needed(1), 1);
        assert_eq!(score(500, Reference { work_per_s: 1_000 }), 500);
        assert_eq!(score(u64::MAX, Reference { work_per_s: 1 }), u32::MAX);
        assert_eq!(rate_per_s(5, 0), 0);
        assert_eq!(rate_per_s(200, 200_000_000), 1_000);
    }

    proptest! {
        /// Load slows single runs down by any amount; the machine itself is steady within 4 %.
        #[test]
        fn a_loaded_machine_passes_if_one_run_was_left_alone(
            speed in 100u32..50_000,
            steady in prop::collection::vec(980u64..=1_020, 10),
            loads in prop::collection::vec(1u64..=1_000, 10),
            alone in 0usize..3,
        ) {
            let run = |index: usize, load: u64| {
                u32::try_from(u64::from(speed) * steady[index] * load / 1_000_000).unwrap()
            };
            let listing: Vec<u32> = (0..7).map(|index| run(index, loads[index])).collect();
            let listed = listed(listing.try_into().unwrap());
            let gate: Vec<u32> = (0..3)
                .map(|index| run(7 + index, if index == alone { 1_000 } else { loads[7 + index] }))
                .collect();
            let passed = matches!(judge(listed, &gate), Verdict::Passed { .. });
            prop_assert!(passed);
        }

        /// Half of the processor is gone; up to one of the listing's runs was disturbed.
        #[test]
        fn a_halved_quota_fails(
            speed in 100u32..50_000,
            steady in prop::collection::vec(950u64..=1_050, 10),
            disturbed in 0usize..7,
        ) {
            let run = |index: usize, share: u64| {
                u32::try_from(u64::from(speed) * steady[index] * share / 1_000_000).unwrap()
            };
            let listing: Vec<u32> =
                (0..7).map(|index| run(index, if index == disturbed { 100 } else { 1_000 })).collect();
            let listed = listed(listing.try_into().unwrap());
            let gate: Vec<u32> = (7..10).map(|index| run(index, 500)).collect();
            let failed = matches!(judge(listed, &gate), Verdict::Failed { .. });
            prop_assert!(failed);
        }

        #[test]
        fn more_work_never_scores_less(a: u64, b: u64, elapsed_ns in 1u64.., reference in 1u64..) {
            let of = |work| score(rate_per_s(work, elapsed_ns), Reference { work_per_s: reference });
            prop_assert!(of(a.min(b)) <= of(a.max(b)));
        }
    }
}
