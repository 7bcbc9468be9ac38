//! What this client remembers of the rentals it opened.

use std::path::{Path, PathBuf};

use alloy_primitives::{Address, B256};
use pouw_types::RentalId;
use pouw_types::signing::SignedQuote;
use serde::{Deserialize, Serialize};

/// One rental that was opened from here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// Which.
    pub rental: RentalId,
    /// The task's name.
    pub name: String,
    /// The node that knows it.
    pub rpc: String,
    /// The host's door.
    pub endpoint: String,
    /// Whose money pays.
    pub client: Address,
    /// Who co-signs its receipts.
    pub signer: Address,
    /// What was agreed.
    pub quote: SignedQuote,
    /// The transaction that opened it.
    pub transaction: B256,
    /// When the deposit was sent, Unix seconds.
    pub opened_at: u64,
    /// The same, Unix milliseconds.
    #[serde(default)]
    pub sent_ms: u64,
    /// Where its results are in the client's bucket.
    pub prefix: String,
    /// Its output files, relative to the prefix.
    pub outputs: Vec<String>,
    /// The file that the task was read from.
    #[serde(default)]
    pub spec: Option<PathBuf>,
    /// The rental that it went on from.
    #[serde(default)]
    pub resumes: Option<RentalId>,
}

/// The folder of records, one file a rental.
#[derive(Clone, Debug)]
pub struct Runs(PathBuf);

/// A record can't be used, or isn't there.
#[derive(Debug, thiserror::Error)]
pub enum RunsError {
    /// The folder or a file can't be read or written.
    #[error("cannot use {}", .0.display())]
    File(PathBuf, #[source] std::io::Error),
    /// A file isn't a record.
    #[error("{} is not the record of a rental", .0.display())]
    Record(PathBuf, #[source] serde_json::Error),
    /// None matches.
    #[error("no rental of yours starts with `{0}`: `pouw ps --all` lists them")]
    Unknown(String),
    /// More than one matches.
    #[error("`{0}` could be {1} rentals of yours: write more digits")]
    Ambiguous(String, usize),
    /// There are none at all.
    #[error("no rental was opened from here yet: `pouw run task.yaml` opens one")]
    None,
}

impl Runs {
    /// In the client's data folder.
    #[must_use]
    pub fn new(data: &Path) -> Self {
        Self(data.join("runs"))
    }

    /// Keeps a record, or changes it.
    ///
    /// # Errors
    /// [`RunsError`].
    pub fn keep(&self, run: &Run) -> Result<(), RunsError> {
        let path = self.0.join(format!("{}.json", run.rental));
        let json = serde_json::to_vec_pretty(run)
            .map_err(|error| RunsError::Record(path.clone(), error))?;
        pouw_vault::write_private(&path, &json).map_err(|error| RunsError::File(path, error))
    }

    /// All records, oldest first.
    ///
    /// # Errors
    /// [`RunsError`].
    pub fn list(&self) -> Result<Vec<Run>, RunsError> {
        let entries = match std::fs::read_dir(&self.0) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(RunsError::File(self.0.clone(), error)),
        };
        let mut runs = Vec::new();
        for entry in entries {
            let path = entry.map_err(|error| RunsError::File(self.0.clone(), error))?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                let text =
                    std::fs::read(&path).map_err(|error| RunsError::File(path.clone(), error))?;
                let run: Run = serde_json::from_slice(&text)
                    .map_err(|error| RunsError::Record(path, error))?;
                runs.push(run);
            }
        }
        runs.sort_by_key(|run| (run.opened_at, run.rental));
        Ok(runs)
    }

    /// The one whose id starts with `wanted`; the newest where nothing is wanted.
    ///
    /// # Errors
    /// [`RunsError`].
    pub fn find(&self, wanted: Option<&str>) -> Result<Run, RunsError> {
        let mut runs = self.list()?;
        let Some(wanted) = wanted else {
            return runs.pop().ok_or(RunsError::None);
        };
        let digits = wanted.trim_start_matches("0x").to_ascii_lowercase();
        runs.retain(|run| run.rental.to_string().trim_start_matches("0x").starts_with(&digits));
        match runs.len() {
            0 => Err(RunsError::Unknown(wanted.to_owned())),
            1 => runs.pop().ok_or(RunsError::None),
            several => Err(RunsError::Ambiguous(wanted.to_owned(), several)),
        }
    }
}

#[cfg(test)]
mod tests {
    use pouw_types::contracts::Quote;
    use pouw_types::signing::Signed;

    use super::*;

    fn run(first_byte: u8, opened_at: u64) -> Run {
        Run {
            rental: RentalId::new(B256::repeat_byte(first_byte)),
            name: "hello".to_owned(),
            rpc: String::new(),
            endpoint: String::new(),
            client: Address::ZERO,
            signer: Address::ZERO,
            quote: Signed { value: Quote::default(), signature: vec![1; 65].into() },
            transaction: B256::ZERO,
            opened_at,
            sent_ms: 0,
            prefix: String::new(),
            outputs: Vec::new(),
            spec: None,
            resumes: None,
        }
    }

    #[test]
    fn a_rental_is_found_by_its_first_digits_and_by_default_the_newest() {
        let folder = tempfile::tempdir().unwrap();
        let runs = Runs::new(folder.path());
        assert!(matches!(runs.find(None), Err(RunsError::None)));
        for one in [run(0xab, 3), run(0xac, 1), run(0x12, 2)] {
            runs.keep(&one).unwrap();
        }
        for (wanted, expected) in [(None, 0xab), (Some("0x12"), 0x12), (Some("AC"), 0xac)] {
            assert_eq!(
                runs.find(wanted).unwrap(),
                run(
                    expected,
                    match expected {
                        0xab => 3,
                        0xac => 1,
                        _ => 2,
                    }
                )
            );
        }
        assert!(matches!(runs.find(Some("0xa")), Err(RunsError::Ambiguous(_, 2))));
        assert!(matches!(runs.find(Some("0xff")), Err(RunsError::Unknown(_))));
    }
}
