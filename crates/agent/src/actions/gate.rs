//! The gate: the machine proves that it is as fast as its offer says.

use std::time::Duration;

use futures::StreamExt;
use pouw_bench::{GATE_RUNS, ImageBench, Reference, Verdict, judge, needed};
use pouw_spec::ImageSpec;
use pouw_types::UseCase;

use super::prepare::{scratch_of, task_of};
use super::{Scene, Trouble};
use crate::door::Gate;
use crate::engine::{Channel, ContainerId, NetworkMode};
use crate::outcome::Outcome;
use crate::sandbox::{self, Place};

/// Longest run of an image's benchmark.
const MAX_BENCH: Duration = Duration::from_secs(60);

/// Judges runs as they come: `Some` once it is decided.
#[must_use]
pub(crate) fn decided(listed: u32, runs: &[u32]) -> Option<Gate> {
    let count = u32::try_from(runs.len()).unwrap_or(u32::MAX);
    match judge(listed, runs) {
        Verdict::Again { .. } => None,
        Verdict::Passed { best } => Some(Gate { score: best, needed: needed(listed), runs: count }),
        Verdict::Failed { best, needed } => Some(Gate { score: best, needed, runs: count }),
    }
}

pub(super) async fn gate(scene: Scene<'_>) -> Result<Outcome, Trouble> {
    let context = scene.context;
    let request = task_of(scene)?;
    let reference = sandbox::image_of(&request.task).map_err(Trouble::client)?;
    let listed = context.self_test.images.get(&reference.digest()).copied();
    let image = context.engine.pull(&reference, &()).await?;
    let labels = image.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let bench = ImageSpec::from_labels(labels).ok().and_then(|spec| spec.bench);
    let (listed, bench) = match (listed, bench) {
        (Some(listed), Some(bench)) => (listed, Some(bench)),
        // What nobody measured can't be judged: the processor is.
        _ => (context.self_test.cpu, None),
    };
    let scratch = scratch_of(scene, &request.task).await?;
    let place = Place {
        owner: scene.owner(),
        image: &image,
        scratch: &scratch,
        user: context.engine_info.task_user,
        network: NetworkMode::None,
    };
    let mut runs = Vec::new();
    for run in 1..=u32::try_from(GATE_RUNS).unwrap_or(u32::MAX) {
        runs.push(match &bench {
            Some(command) => run_bench(scene, &place, command, &request.task, run).await?,
            None => context.probe.cpu().await,
        });
        if let Some(gate) = decided(listed, &runs) {
            return Ok(Outcome::Gated(gate));
        }
    }
    Err(Trouble::host("the gate came to no end"))
}

async fn run_bench(
    scene: Scene<'_>,
    place: &Place<'_>,
    command: &[String],
    task: &pouw_spec::Task,
    run: u32,
) -> Result<u32, Trouble> {
    let engine = &scene.context.engine;
    let workload = sandbox::bench_workload(place, task, command.to_vec(), run)?;
    let created = engine.create(&workload).await?;
    engine.start(&created.id).await?;
    let ended = crate::time::timeout(MAX_BENCH, engine.wait(&created.id)).await;
    let score = match &ended {
        Ok(Ok(exit)) if exit.code == 0 => read_score(scene, &created.id, task.use_case).await,
        // An image that can't run its own benchmark scores nothing on this machine.
        Ok(_) | Err(_) => 0,
    };
    engine.remove(&created.id).await?;
    match ended {
        Ok(Err(error)) => Err(error.into()),
        Ok(Ok(_)) | Err(_) => Ok(score),
    }
}

async fn read_score(scene: Scene<'_>, id: &ContainerId, use_case: UseCase) -> u32 {
    let Ok(lines) = scene.context.engine.logs(id, false, 0).await else { return 0 };
    let lines = lines.filter_map(|line| async { line.ok() });
    let lines = lines.filter(|line| futures::future::ready(line.channel == Channel::Stdout));
    let output: Vec<u8> = lines
        .fold(Vec::new(), |mut output, line| async move {
            output.extend_from_slice(line.text.as_bytes());
            output.push(b'\n');
            // The result stands in the end of it.
            let cut = output.len().saturating_sub(2 * ImageBench::MAX_OUTPUT_BYTES);
            output.drain(..cut);
            output
        })
        .await;
    ImageBench::from_output(&output).map_or(0, |bench| bench.score(reference(use_case)))
}

/// What 1000 stands for; use cases without a benchmark of their own share the general one.
pub(crate) const fn reference(use_case: UseCase) -> Reference {
    match use_case {
        UseCase::Rendering => Reference::RENDERING_THREAD,
        UseCase::Ai | UseCase::Gaming | UseCase::General => Reference::GENERAL_THREAD,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_of_three_runs_must_reach_nine_tenths_of_what_is_listed() {
        let check = |runs: &[u32], expected: Option<(u32, u32, bool)>| {
            let gate = decided(1_000, runs);
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
