//! The gate: the machine proves that it is as fast as its offer says.

use pouw_bench::{GATE_RUNS, Verdict, judge, needed};

use super::prepare::task_of;
use super::{Scene, Trouble};
use crate::door::{Gate, GateProbe};
use crate::imagebench::Benchmark;
use crate::outcome::Outcome;
use crate::sandbox;

/// Judges runs as they come: `Some` once it is decided.
#[must_use]
pub(crate) fn decided(listed: u32, runs: &[u32], probe: GateProbe) -> Option<Gate> {
    let count = u32::try_from(runs.len()).unwrap_or(u32::MAX);
    let gate = |score, needed| Some(Gate { score, needed, runs: count, probe });
    match judge(listed, runs) {
        Verdict::Again { .. } => None,
        Verdict::Passed { best } => gate(best, needed(listed)),
        Verdict::Failed { best, needed } => gate(best, needed),
    }
}

pub(super) async fn gate(scene: Scene<'_>) -> Result<Outcome, Trouble> {
    let context = scene.context;
    let request = task_of(scene)?;
    let reference = sandbox::image_of(&request.task).map_err(Trouble::client)?;
    let image = context.engine.pull(&reference, &()).await?;
    let tests = context.listing();
    let tested = tests.of_image(&reference, &context.unit);
    // Labels that say nothing clear are an image without a benchmark.
    let benchmark = Benchmark::of(&image).unwrap_or_default();
    let (listed, probe) = match (tested, &benchmark) {
        (_, None) => (tests.cpu, GateProbe::ProcessorForWantOfABench),
        (None, Some(_)) => (tests.cpu, GateProbe::ProcessorForWantOfATest),
        (Some(tested), Some(_)) => (tested.score, GateProbe::ImageBench),
    };
    let mut runs = Vec::new();
    for run in 1..=GATE_RUNS {
        runs.push(match &benchmark {
            Some(benchmark) if probe == GateProbe::ImageBench => {
                let step = format!("gate-{run}");
                context.stand().run(scene.owner(), &step, &image, benchmark).await?
            }
            _ => context.probe.cpu().await,
        });
        if let Some(gate) = decided(listed, &runs, probe) {
            return Ok(Outcome::Gated(gate));
        }
    }
    Err(Trouble::host("the gate came to no end"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_of_three_runs_must_reach_nine_tenths_of_what_is_listed() {
        let check = |runs: &[u32], expected: Option<(u32, u32, bool)>| {
            let gate = decided(1_000, runs, GateProbe::ImageBench);
            let gate = gate.map(|gate| (gate.score, gate.runs, gate.score >= gate.needed));
            assert_eq!(gate, expected, "{runs:?}");
        };
        check(&[], None);
        check(&[900], Some((900, 1, true)));
        check(&[899, 500], None);
        check(&[899, 500, 950], Some((950, 3, true)));
        check(&[500, 480, 510], Some((510, 3, false)));
    }
}
