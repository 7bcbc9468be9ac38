//! What `pouw host self-test` measures.

use std::fs::OpenOptions;
use std::hint::black_box;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use pouw_types::{Score, UseCase};
use serde::{Deserialize, Serialize};

use crate::cpu::run_cpu_probe;
use crate::gate::{LISTED_RUNS, Reference, listed, rate_per_s, score};

/// How long hashing and copying take each.
const COMPONENT: Duration = Duration::from_millis(300);
/// When writing stops; the last sync comes on top.
const DISK: Duration = Duration::from_secs(1);
const COPIED_BYTES: usize = 64 << 20;
const HASHED_BYTES: usize = 1 << 20;
const WRITTEN_BYTES: usize = 4 << 20;
/// Most bytes written to the disk.
const MAX_WRITTEN_BYTES: u64 = 256 << 20;

/// What a component's value counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unit {
    /// Bytes in a second.
    #[serde(rename = "B/s")]
    BytesPerSecond,
    /// Chunks of the CPU probe in a second.
    #[serde(rename = "chunks/s")]
    ChunksPerSecond,
}

/// One measured property of a machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Component {
    /// Such as `memory-copy`.
    pub name: String,
    /// How much.
    pub value: u64,
    /// Of what.
    pub unit: Unit,
    /// How long measuring took, milliseconds.
    pub elapsed_ms: u64,
}

/// The report of a self-test.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SelfTest {
    /// Version of this structure: 1.
    pub version: u32,
    /// Threads of the unit that was tested.
    pub threads: u32,
    /// Scores of the CPU probe, in the order of the runs.
    pub cpu_runs: [u32; LISTED_RUNS],
    /// The listed score: their lower quartile.
    pub listed: u32,
    /// The components one by one.
    pub components: Vec<Component>,
}

/// The self-test could not measure.
#[derive(Debug, thiserror::Error)]
#[error("cannot measure the disk in {}: a file there must be writable", directory.display())]
pub struct SelfTestError {
    directory: PathBuf,
    source: io::Error,
}

impl SelfTest {
    /// What an offer lists.
    #[must_use]
    pub fn scores(&self) -> Vec<Score> {
        vec![Score { use_case: UseCase::General, value: self.listed }]
    }
}

/// Measures the machine for a unit of this many threads: seven CPU probes, hashing, memory, and
/// the disk of a directory. Takes about four seconds and the time of one sync.
///
/// # Errors
/// [`SelfTestError`] where the directory cannot be written.
pub fn self_test(threads: u32, directory: &Path) -> Result<SelfTest, SelfTestError> {
    let mut cpu_runs = [0; LISTED_RUNS];
    let mut best = 0;
    let start = Instant::now();
    for run in &mut cpu_runs {
        let rate = run_cpu_probe(threads).work_per_s();
        best = rate.max(best);
        *run = score(rate, Reference::GENERAL_THREAD);
    }
    let cpu = component("cpu", best, Unit::ChunksPerSecond, start);
    let disk = disk_write(directory)
        .map_err(|source| SelfTestError { directory: directory.to_path_buf(), source })?;
    let components = vec![cpu, hash_rate(), memory_copy(), disk];
    Ok(SelfTest { version: 1, threads, cpu_runs, listed: listed(cpu_runs), components })
}

fn component(name: &str, value: u64, unit: Unit, start: Instant) -> Component {
    let elapsed_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
    Component { name: name.to_owned(), value, unit, elapsed_ms }
}

fn byte_rate(name: &str, bytes: u64, start: Instant) -> Component {
    let elapsed_ns = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
    component(name, rate_per_s(bytes, elapsed_ns), Unit::BytesPerSecond, start)
}

/// Repeats a piece of work of a known size for [`COMPONENT`].
fn repeated(name: &str, piece_bytes: usize, mut piece: impl FnMut()) -> Component {
    let piece_bytes = u64::try_from(piece_bytes).unwrap_or(u64::MAX);
    let mut bytes = 0u64;
    piece();
    let start = Instant::now();
    while start.elapsed() < COMPONENT {
        piece();
        bytes = bytes.saturating_add(piece_bytes);
    }
    byte_rate(name, bytes, start)
}

/// BLAKE3 on one thread.
fn hash_rate() -> Component {
    let data = vec![0x5a; HASHED_BYTES];
    repeated("hash", HASHED_BYTES, || {
        black_box(blake3::hash(black_box(&data)));
    })
}

/// Copying memory on one thread; each byte is read and written once and counts once.
fn memory_copy() -> Component {
    let from = vec![0x5a_u8; COPIED_BYTES];
    let mut to = vec![0_u8; COPIED_BYTES];
    repeated("memory-copy", COPIED_BYTES, || {
        to.copy_from_slice(black_box(&from));
        black_box(&to);
    })
}

/// A file that is removed when it goes out of scope.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        // Nothing is left to be done with the error: the file was ours alone.
        drop(std::fs::remove_file(&self.0));
    }
}

/// Writing a new file and syncing it.
fn disk_write(directory: &Path) -> io::Result<Component> {
    let name = format!(".pouw-self-test-{}", std::process::id());
    let path = directory.join(name);
    let mut file = OpenOptions::new().write(true).create_new(true).open(&path)?;
    let _scratch = Scratch(path);
    // Bytes that don't compress, other ones in each block.
    let mut data = vec![0_u8; WRITTEN_BYTES];
    let mut random = blake3::Hasher::new_derive_key("pouw disk probe v1").finalize_xof();
    random.fill(&mut data);
    let piece = u64::try_from(data.len()).unwrap_or(u64::MAX);
    let start = Instant::now();
    let mut bytes = 0u64;
    while start.elapsed() < DISK && bytes < MAX_WRITTEN_BYTES {
        if let Some(head) = data.first_chunk_mut::<8>() {
            *head = bytes.to_le_bytes();
        }
        file.write_all(&data)?;
        file.sync_data()?;
        bytes = bytes.saturating_add(piece);
    }
    file.sync_all()?;
    Ok(byte_rate("disk-write-sync", bytes, start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_reads_back_and_lists_its_lower_quartile() {
        let directory = tempfile::tempdir().unwrap();
        let report = self_test(1, directory.path()).unwrap();
        assert_eq!(report.listed, listed(report.cpu_runs));
        let names: Vec<&str> = report.components.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["cpu", "hash", "memory-copy", "disk-write-sync"]);
        assert!(report.components.iter().all(|one| one.value > 0), "{report:?}");
        let json = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<SelfTest>(&json).unwrap(), report);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "a file is left");
        assert_eq!(report.scores()[0].value, report.listed);
    }

    #[test]
    fn a_directory_that_is_not_there_is_named() {
        let error = self_test_disk(Path::new("/nowhere/at/all"));
        assert!(error.contains("/nowhere/at/all"), "{error}");
    }

    fn self_test_disk(directory: &Path) -> String {
        let source = disk_write(directory).unwrap_err();
        SelfTestError { directory: directory.to_path_buf(), source }.to_string()
    }
}
