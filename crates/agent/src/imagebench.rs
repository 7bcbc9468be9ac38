//! An image's own benchmark: run in a container with what one unit has, alone or for a gate.

use std::time::Duration;

use futures::StreamExt;
use futures::future::{Either, select};
use pouw_bench::{Allowance, ImageBench, Reference};
use pouw_spec::{ImageSpec, LabelError};
use pouw_types::{Isolation, Resources, UseCase};

use crate::engine::{
    Channel, ContainerId, Engine, EngineError, EngineInfo, Environment, ImageInfo, LogLimits,
    NetworkMode, Owner, Stats, StepName, Workload,
};
use crate::sandbox::{PIDS, TMP_BYTES};

/// Longest run; images are asked for about two seconds of work on one core.
const MAX_RUN: Duration = Duration::from_secs(60);
/// Between two looks at what a run uses: what it used last is gone with it.
const LOOK: Duration = Duration::from_millis(100);

/// What an image says of its benchmark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Benchmark {
    /// Its command.
    pub command: Vec<String>,
    /// What it measures a machine for.
    pub use_case: UseCase,
}

impl Benchmark {
    /// Of an image; none where it brings none.
    ///
    /// # Errors
    /// [`LabelError`] for labels that say nothing clear.
    pub(crate) fn of(image: &ImageInfo) -> Result<Option<Self>, LabelError> {
        let labels = image.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let spec = ImageSpec::from_labels(labels)?;
        let use_case = spec.use_case.unwrap_or_default();
        Ok(spec.bench.map(|command| Self { command, use_case }))
    }
}

/// Where benchmarks run: the same for what is listed and for what a gate compares with it.
#[derive(Clone, Copy)]
pub(crate) struct Stand<'a> {
    /// The engine.
    pub engine: &'a dyn Engine,
    /// What it said of the machine.
    pub info: &'a EngineInfo,
    /// What one unit has.
    pub unit: &'a Resources,
    /// How tasks are kept apart here by default.
    pub isolation: Isolation,
}

impl Stand<'_> {
    /// Runs a benchmark once, and removes its container. 0 where the image can't run it here.
    ///
    /// # Errors
    /// The engine's.
    pub(crate) async fn run(
        &self,
        owner: Owner,
        step: &str,
        image: &ImageInfo,
        benchmark: &Benchmark,
    ) -> Result<u32, EngineError> {
        let workload = self.workload(owner, step, image, benchmark)?;
        let id = self.engine.create(&workload).await?.id;
        let measured = self.measure(&id, benchmark.use_case).await;
        self.engine.remove(&id).await?;
        measured
    }

    async fn measure(&self, id: &ContainerId, use_case: UseCase) -> Result<u32, EngineError> {
        self.engine.start(id).await?;
        let mut used = None;
        let ended = crate::time::timeout(MAX_RUN, self.watch(id, &mut used)).await;
        let Ok(ended) = ended else { return Ok(0) };
        if ended?.code != 0 {
            return Ok(0);
        }
        let output = self.output(id).await?;
        let allowance = used.map(|used| self.allowance(&used));
        let bench = ImageBench::from_output(&output);
        Ok(bench.map_or(0, |bench| bench.score(reference(use_case), allowance.as_ref())))
    }

    /// Waits for the end, and notes meanwhile what the container uses.
    async fn watch(
        &self,
        id: &ContainerId,
        used: &mut Option<Stats>,
    ) -> Result<crate::engine::Exit, EngineError> {
        let mut ended = self.engine.wait(id);
        loop {
            // It may have ended already.
            if let Ok(stats) = self.engine.stats(id).await {
                *used = Some(stats);
            }
            match select(ended, Box::pin(crate::time::sleep(LOOK))).await {
                Either::Left((exit, _)) => return exit,
                Either::Right(((), running)) => ended = running,
            }
        }
    }

    const fn allowance(&self, used: &Stats) -> Allowance {
        Allowance {
            processors: self.info.cores,
            cpu_millis: self.unit.cpu_millis,
            quota_millis: used.quota_millis,
            cpu_ns: used.cpu_ns,
            throttled_ns: used.throttled_ns,
        }
    }

    /// The end of what a container wrote on its standard output.
    async fn output(&self, id: &ContainerId) -> Result<Vec<u8>, EngineError> {
        let mut lines = self.engine.logs(id, false, 0).await?;
        let mut output = Vec::new();
        while let Some(line) = lines.next().await {
            let line = line?;
            if line.channel == Channel::Stdout {
                output.extend_from_slice(line.text.as_bytes());
                output.push(b'\n');
                let cut = output.len().saturating_sub(2 * ImageBench::MAX_OUTPUT_BYTES);
                output.drain(..cut);
            }
        }
        Ok(output)
    }

    fn workload(
        &self,
        owner: Owner,
        step: &str,
        image: &ImageInfo,
        benchmark: &Benchmark,
    ) -> Result<Workload, EngineError> {
        Ok(Workload {
            owner,
            step: StepName::new(step)?,
            image: image.reference.clone(),
            entrypoint: Some(Vec::new()),
            command: benchmark.command.clone(),
            env: Environment::default(),
            workdir: Some("/".to_owned()),
            user: self.info.task_user,
            cpu_millis: self.unit.cpu_millis,
            memory_bytes: self.unit.memory_bytes,
            pids: PIDS,
            tmp_bytes: TMP_BYTES.min(self.unit.memory_bytes / 2),
            isolation: self.isolation,
            network: NetworkMode::None,
            mounts: Vec::new(),
            log: LogLimits::default(),
        })
    }
}

/// What 1000 stands for; use cases without a benchmark of their own share the general one.
const fn reference(use_case: UseCase) -> Reference {
    match use_case {
        UseCase::Rendering => Reference::RENDERING_THREAD,
        UseCase::Ai | UseCase::Gaming | UseCase::General => Reference::GENERAL_THREAD,
    }
}
