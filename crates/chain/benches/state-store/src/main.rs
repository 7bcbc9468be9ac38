//! The state store of `docs/adr/0002`, beside the one that was not chosen: what a block of account
//! changes costs in jmt over redb, as `chain` writes it, and in nomt, both durable.
//!
//! Prints a line of JSON a store: seconds of a commit (the median), bytes on disk, and megabytes
//! resident. Each store runs in a process of its own, named by the first argument.

mod jellyfish;
mod nearly_optimal;
mod tree;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Accounts whose state changes in a large commit, and in all before the first.
const ACCOUNTS: u64 = 10_000;
const ROUNDS: u64 = 9;
/// Length of an account's record.
const RECORD_BYTES: usize = 24;

type Change = ([u8; 32], Vec<u8>);

/// A store that takes a set of changes, sorted by key, and returns when they are durable.
trait StateStore {
    fn commit(&mut self, changes: &[Change]) -> anyhow::Result<[u8; 32]>;
    fn read(&self, key: [u8; 32]) -> anyhow::Result<Option<Vec<u8>>>;
}

fn main() -> anyhow::Result<()> {
    let folder = tempfile::tempdir_in(".")?;
    match std::env::args().nth(1).as_deref() {
        Some("jmt-redb") => measure("jmt-redb", folder.path(), jellyfish::open(folder.path())?),
        Some("nomt") => measure("nomt", folder.path(), nearly_optimal::open(folder.path())?),
        Some(other) => anyhow::bail!("no store `{other}`: jmt-redb and nomt are measured"),
        None => both(),
    }
}

fn both() -> anyhow::Result<()> {
    for _ in 0..3 {
        for name in ["jmt-redb", "nomt"] {
            let status = Command::new(std::env::current_exe()?).arg(name).status()?;
            anyhow::ensure!(status.success(), "{name}: {status}");
        }
    }
    Ok(())
}

fn measure(name: &str, folder: &Path, mut store: impl StateStore) -> anyhow::Result<()> {
    store.commit(&changes(0, 0..ACCOUNTS))?;
    let (mut updates, mut mixed, mut small) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        // Accounts that are there.
        updates.push(timed(&mut store, &changes(round, 0..ACCOUNTS))?);
        // A block of transfers: as many that are there, and as many new ones.
        let new = round * ACCOUNTS..(round + 1) * ACCOUNTS;
        mixed.push(timed(&mut store, &changes(round + ROUNDS, (0..ACCOUNTS).chain(new)))?);
        small.push(timed(&mut store, &changes(round + 2 * ROUNDS, 0..1))?);
    }
    let last = changes(2 * ROUNDS, 1..ACCOUNTS);
    for (key, value) in last {
        anyhow::ensure!(store.read(key)? == Some(value), "a value is not what was written");
    }
    let line = serde_json::json!({
        "store": name,
        "updates_10000_s": median(updates),
        "updates_10000_and_new_10000_s": median(mixed),
        "update_1_s": median(small),
        "disk_mb": disk_bytes(folder)? as f64 / 1e6,
        "resident_mb": resident_mb()?,
    });
    println!("{line}");
    Ok(())
}

fn timed(store: &mut impl StateStore, changes: &[Change]) -> anyhow::Result<Duration> {
    let started = Instant::now();
    store.commit(changes)?;
    Ok(started.elapsed())
}

fn changes(round: u64, accounts: impl Iterator<Item = u64>) -> Vec<Change> {
    let mut changes: Vec<Change> = accounts
        .map(|account| {
            let mut record = vec![0; RECORD_BYTES];
            record[..8].copy_from_slice(&round.to_be_bytes());
            record[8..16].copy_from_slice(&account.to_be_bytes());
            (*blake3::hash(&account.to_be_bytes()).as_bytes(), record)
        })
        .collect();
    changes.sort_unstable();
    changes
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64()
}

/// What the files take, not what they claim to be long.
fn disk_bytes(folder: &Path) -> anyhow::Result<u64> {
    use std::os::unix::fs::MetadataExt;
    let mut sum = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        sum += if metadata.is_dir() { disk_bytes(&entry.path())? } else { metadata.blocks() * 512 };
    }
    Ok(sum)
}

fn resident_mb() -> anyhow::Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    let kib: f64 = kib.ok_or_else(|| anyhow::anyhow!("no VmRSS"))?.parse()?;
    Ok(kib * 1_024.0 / 1e6)
}
