//! How long each step of a rental took, from the moment its client paid.

use pouw_agent::Step;
use pouw_agent::door::StepBegan;
use serde::{Deserialize, Serialize};

/// The time of each step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timing {
    /// From the deposit's sending to the host's first step, milliseconds.
    pub opening_ms: u64,
    /// Each step that has begun, in their order.
    pub steps: Vec<StepTime>,
    /// From the deposit's sending until the results were stored, milliseconds; none before that.
    pub results_ms: Option<u64>,
    /// From the deposit's sending until all was done, milliseconds; none before that.
    pub total_ms: Option<u64>,
}

/// One step's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepTime {
    /// Which.
    pub step: Step,
    /// How long it took, or has taken, milliseconds.
    pub ms: u64,
}

impl Timing {
    /// Of the beginnings of its steps; `sent_ms` is when the deposit was sent and `now_ms` now, Unix
    /// milliseconds.
    #[must_use]
    pub fn of(sent_ms: u64, began: &[StepBegan], now_ms: u64) -> Self {
        let ends = began.iter().skip(1).map(|next| next.at_ms).chain([now_ms]);
        let steps = began.iter().zip(ends).filter(|(one, _)| one.step != Step::Done);
        let steps = steps
            .map(|(one, end)| StepTime { step: one.step, ms: end.saturating_sub(one.at_ms) })
            .collect();
        let until = |step| {
            let reached = began.iter().find(|one| one.step >= step);
            reached.map(|one| one.at_ms.saturating_sub(sent_ms))
        };
        Self {
            opening_ms: until(Step::Save).unwrap_or(0),
            steps,
            results_ms: until(Step::Score),
            total_ms: until(Step::Done),
        }
    }

    /// As a person reads it: a line a step.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut out = line("opening", self.opening_ms);
        for one in &self.steps {
            out += &line(one.step.as_str(), one.ms);
        }
        for (what, ms) in [("until results", self.results_ms), ("until done", self.total_ms)] {
            out += &ms.map(|ms| line(what, ms)).unwrap_or_default();
        }
        out
    }
}

fn line(what: &str, ms: u64) -> String {
    format!("  {what:<14} {:>6}.{:03} s\n", ms / 1000, ms % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_lasts_until_the_next_begins_and_the_rest_counts_from_the_deposit() {
        let began = [(Step::Save, 2_000), (Step::Provision, 2_010), (Step::Run, 5_000)];
        let began = began.map(|(step, at_ms)| StepBegan { step, at_ms });
        let timing = Timing::of(1_200, &began, 9_000);
        let ms: Vec<u64> = timing.steps.iter().map(|one| one.ms).collect();
        assert_eq!((timing.opening_ms, ms), (800, vec![10, 2_990, 4_000]));
        assert_eq!((timing.results_ms, timing.total_ms), (None, None));
        let ended = [(Step::Score, 6_000), (Step::Done, 8_500)];
        let ended = ended.map(|(step, at_ms)| StepBegan { step, at_ms });
        let timing = Timing::of(1_200, &[&began[..], &ended].concat(), 9_000);
        assert_eq!((timing.results_ms, timing.total_ms), (Some(4_800), Some(7_300)));
        assert!(timing.to_text().contains("run                 1.000 s\n"), "{}", timing.to_text());
    }

    #[test]
    fn a_clock_that_was_set_back_gives_no_time_below_zero() {
        let began = [StepBegan { step: Step::Save, at_ms: 500 }];
        assert_eq!(Timing::of(1_000, &began, 100).steps[0].ms, 0);
    }
}
