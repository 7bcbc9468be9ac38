//! `host self-test`: how fast the machine is, as its offer lists it.

use std::collections::BTreeMap;
use std::path::Path;

use pouw_bench::{LISTED_RUNS, listed};
use pouw_types::{Isolation, MachineId, RentalId, Resources, Score, UseCase};
use serde::{Deserialize, Serialize};

use crate::engine::{Engine, EngineError, EngineInfo, ImageInfo, ImageRef, Owner};
use crate::imagebench::{Benchmark, Stand};
use crate::probe::Probe;

/// Most bytes of the report.
const MAX_BYTES: u64 = 1 << 20;
/// Whose the containers of a self-test are: no rental has this id, which is a digest.
pub(crate) const NO_RENTAL: RentalId = RentalId::new(alloy_primitives::B256::ZERO);

/// What the self-test measured.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SelfTest {
    /// Unix seconds.
    pub taken_at: u64,
    /// Lower quartile of the processor probe's runs; 0 without a test.
    pub cpu: u32,
    /// What images' own benchmarks measured, by image digest.
    pub images: BTreeMap<String, ImageScore>,
}

/// What one image's own benchmark measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageScore {
    /// What it measures a machine for.
    pub use_case: UseCase,
    /// Lower quartile of the runs.
    pub score: u32,
    /// What the unit had that ran it.
    pub unit: Resources,
}

/// One image's benchmark could not be measured.
#[derive(Debug, thiserror::Error)]
pub enum ImageTestError {
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The image's labels.
    #[error(transparent)]
    Label(#[from] pouw_spec::LabelError),
    /// The image has no label for it.
    #[error("image {0} brings no benchmark: it has no label pouw.bench")]
    NoBench(ImageRef),
    /// The command fails, takes too long, or says nothing.
    #[error("the benchmark of image {0} gave no result here")]
    NoResult(ImageRef),
}

impl SelfTest {
    /// Its file in the agent's data folder.
    pub const FILE: &'static str = "self-test.json";

    /// Measures the processor seven times.
    pub async fn take(probe: &dyn Probe, now_s: u64) -> Self {
        let mut runs = [0; LISTED_RUNS];
        for run in &mut runs {
            *run = probe.cpu().await;
        }
        Self { taken_at: now_s, cpu: listed(runs), images: BTreeMap::new() }
    }

    /// Reads a report; none where there is none, or an unreadable one.
    #[must_use]
    pub fn read(path: &Path) -> Option<Self> {
        let size = std::fs::metadata(path).ok()?.len();
        if size > MAX_BYTES {
            return None;
        }
        serde_json::from_slice(&std::fs::read(path).ok()?).ok()
    }

    /// Writes the report whole.
    ///
    /// # Errors
    /// What the file system says.
    pub fn write(&self, path: &Path) -> std::io::Result<()> {
        let beside = path.with_extension("new");
        std::fs::write(&beside, serde_json::to_vec_pretty(self)?)?;
        std::fs::rename(beside, path)
    }

    /// This much of every score, percent, rounded down.
    #[must_use]
    pub fn scaled(mut self, percent: u32) -> Self {
        let images = self.images.values_mut().map(|image| &mut image.score);
        for score in images.chain([&mut self.cpu]) {
            let scaled = u64::from(*score).saturating_mul(percent.into()) / 100;
            *score = u32::try_from(scaled).unwrap_or(u32::MAX);
        }
        self
    }

    /// What an image's own benchmark measured with these processors and this memory; none where it
    /// wasn't run.
    #[must_use]
    pub fn of_image(&self, image: &ImageRef, unit: &Resources) -> Option<ImageScore> {
        let fast = |unit: &Resources| (unit.cpu_millis, unit.memory_bytes, unit.gpus);
        self.images.get(&image.digest()).filter(|found| fast(&found.unit) == fast(unit)).copied()
    }

    /// What the offer lists: for each use case the least that any of its benchmarks measured.
    #[must_use]
    pub fn scores(&self) -> Vec<Score> {
        let mut scores = vec![Score { use_case: UseCase::General, value: self.cpu }];
        for image in self.images.values() {
            match scores.iter_mut().find(|score| score.use_case == image.use_case) {
                Some(score) => score.value = score.value.min(image.score),
                None => scores.push(Score { use_case: image.use_case, value: image.score }),
            }
        }
        scores
    }
}

/// The seven runs of one image's benchmark, one at a time.
#[derive(Debug)]
pub struct ImageTest {
    image: ImageInfo,
    benchmark: Benchmark,
    runs: Vec<u32>,
}

impl ImageTest {
    /// Of an image that is on the machine, or can be pulled.
    ///
    /// # Errors
    /// [`ImageTestError`] for an image that can't be had or brings no benchmark.
    pub async fn new(engine: &dyn Engine, image: &ImageRef) -> Result<Self, ImageTestError> {
        let found = engine.pull(image, &()).await?;
        let benchmark =
            Benchmark::of(&found)?.ok_or_else(|| ImageTestError::NoBench(image.clone()))?;
        Ok(Self { image: found, benchmark, runs: Vec::with_capacity(LISTED_RUNS) })
    }

    /// The scores so far, in the order of the runs.
    #[must_use]
    pub fn runs(&self) -> &[u32] {
        &self.runs
    }

    /// The next run; `Some` after the seventh.
    ///
    /// # Errors
    /// [`ImageTestError`].
    pub async fn step(
        &mut self,
        engine: &dyn Engine,
        info: &EngineInfo,
        machine: MachineId,
        unit: &Resources,
        isolation: Isolation,
    ) -> Result<Option<ImageScore>, ImageTestError> {
        let stand = Stand { engine, info, unit, isolation };
        let owner = Owner { machine, rental: NO_RENTAL };
        let score = stand.run(owner, "self-test", &self.image, &self.benchmark).await?;
        if score == 0 {
            return Err(ImageTestError::NoResult(self.image.reference.clone()));
        }
        self.runs.push(score);
        let runs: Result<[u32; LISTED_RUNS], _> = self.runs.clone().try_into();
        let use_case = self.benchmark.use_case;
        Ok(runs.ok().map(|runs| ImageScore { use_case, score: listed(runs), unit: *unit }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scored(use_case: UseCase, score: u32) -> ImageScore {
        ImageScore { use_case, score, unit: Resources::default() }
    }

    #[test]
    fn a_report_reads_back_and_garbage_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("self-test.json");
        assert_eq!(SelfTest::read(&path), None);
        let images = BTreeMap::from([("sha256:1".to_owned(), scored(UseCase::Rendering, 7))]);
        let test = SelfTest { taken_at: 1, cpu: 1_000, images };
        let half = test.clone().scaled(50);
        assert_eq!((half.cpu, half.images["sha256:1"].score), (500, 3));
        test.write(&path).unwrap();
        assert_eq!(SelfTest::read(&path), Some(test));
        std::fs::write(&path, "{").unwrap();
        assert_eq!(SelfTest::read(&path), None);
    }

    #[test]
    fn an_offer_lists_the_least_of_each_use_case() {
        let images = [
            ("sha256:1", scored(UseCase::Rendering, 900)),
            ("sha256:2", scored(UseCase::Rendering, 700)),
            ("sha256:3", scored(UseCase::General, 5_000)),
        ];
        let images = images.map(|(name, score)| (name.to_owned(), score)).into();
        let test = SelfTest { taken_at: 1, cpu: 1_000, images };
        let scores = test.scores().into_iter().map(|score| (score.use_case, score.value));
        let expected = [(UseCase::General, 1_000), (UseCase::Rendering, 700)];
        assert_eq!(scores.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_score_of_another_unit_is_none() {
        let image: ImageRef = format!("sha256:{}", "11".repeat(32)).parse().unwrap();
        let images = BTreeMap::from([(image.digest(), scored(UseCase::Ai, 7))]);
        let test = SelfTest { taken_at: 1, cpu: 1, images };
        assert!(test.of_image(&image, &Resources::default()).is_some());
        // The disk's free space is another one each day.
        let other = Resources { disk_bytes: 1, ..Resources::default() };
        assert!(test.of_image(&image, &other).is_some());
        let other = Resources { cpu_millis: 1, ..Resources::default() };
        assert_eq!(test.of_image(&image, &other), None);
    }
}
