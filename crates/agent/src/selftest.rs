//! `host self-test`: how fast the machine is when nothing else runs, as its offer lists it.

use std::collections::BTreeMap;
use std::path::Path;

use pouw_types::{Score, UseCase};
use serde::{Deserialize, Serialize};

use crate::probe::Probe;

/// Runs of one measurement.
pub(crate) const RUNS: usize = 7;
/// Most bytes of the report.
const MAX_BYTES: u64 = 1 << 20;

/// What the self-test measured.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SelfTest {
    /// Unix seconds.
    pub taken_at: u64,
    /// Lower quartile of the processor probe's runs; 0 without a test.
    pub cpu: u32,
    /// Lower quartile of each image's own benchmark, by image digest.
    pub images: BTreeMap<String, u32>,
}

impl SelfTest {
    /// Its file in the agent's data folder.
    pub const FILE: &'static str = "self-test.json";

    /// Measures the processor seven times.
    pub async fn take(probe: &dyn Probe, now_s: u64) -> Self {
        let mut runs = Vec::with_capacity(RUNS);
        for _ in 0..RUNS {
            runs.push(probe.cpu().await);
        }
        Self { taken_at: now_s, cpu: lower_quartile(&runs), images: BTreeMap::new() }
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
        for score in self.images.values_mut().chain([&mut self.cpu]) {
            let scaled = u64::from(*score).saturating_mul(percent.into()) / 100;
            *score = u32::try_from(scaled).unwrap_or(u32::MAX);
        }
        self
    }

    /// What the offer lists.
    #[must_use]
    pub fn scores(&self) -> Vec<Score> {
        vec![Score { use_case: UseCase::General, value: self.cpu }]
    }
}

/// The second smallest of seven: a quarter of the runs is at most this fast.
#[must_use]
pub(crate) fn lower_quartile(runs: &[u32]) -> u32 {
    let mut sorted = runs.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 4).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lower_quartile_of_seven_is_the_second_smallest() {
        assert_eq!(lower_quartile(&[9, 3, 7, 5, 1, 8, 6]), 3);
        assert_eq!(lower_quartile(&[4]), 4);
        assert_eq!(lower_quartile(&[]), 0);
    }

    #[test]
    fn a_report_reads_back_and_garbage_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("self-test.json");
        assert_eq!(SelfTest::read(&path), None);
        let images = BTreeMap::from([("sha256:1".to_owned(), 7)]);
        let test = SelfTest { taken_at: 1, cpu: 1_000, images };
        let half = test.clone().scaled(50);
        assert_eq!((half.cpu, half.images["sha256:1"]), (500, 3));
        test.write(&path).unwrap();
        assert_eq!(SelfTest::read(&path), Some(test));
        std::fs::write(&path, "{").unwrap();
        assert_eq!(SelfTest::read(&path), None);
    }
}
