//! The agent's memory on disk: a folder a rental, each file written whole.
//!
//! `rentals/<id>/record.json` is the [`Record`]; `task.json` what the client handed over (secrets
//! and slots, readable by the agent's user only, deleted when the rental is done); `log`,
//! `manifest.json` and what lies in `results/` are what the client can fetch for a day after the end.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use pouw_types::RentalId;

use crate::door::TaskRequest;
use crate::record::{RECORD_VERSION, Record};

/// The folder of results that could not be brought out, in a rental's folder.
pub(crate) const RESULTS: &str = "results";
/// Most bytes of a file that is read whole.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// The journal can't be read or written.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// A file operation failed.
    #[error("cannot {operation} {}", .path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file's content makes no sense.
    #[error("{} is not a journal entry of version {RECORD_VERSION}: {reason}", .path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

/// The folders of all rentals.
#[derive(Clone, Debug)]
pub struct Journal {
    root: PathBuf,
}

impl Journal {
    /// Below `data_dir`; makes the folder.
    ///
    /// # Errors
    /// [`JournalError::Io`].
    pub fn open(data_dir: &Path) -> Result<Self, JournalError> {
        let root = data_dir.join("rentals");
        fs::create_dir_all(&root).map_err(|source| failed("make", &root, source))?;
        Ok(Self { root })
    }

    /// The folder of a rental.
    #[must_use]
    pub fn folder(&self, rental: RentalId) -> PathBuf {
        self.root.join(format!("{:x}", rental.get()))
    }

    /// Ids of all rentals that have a record, in order.
    ///
    /// # Errors
    /// [`JournalError::Io`].
    pub fn rentals(&self) -> Result<Vec<RentalId>, JournalError> {
        let entries = fs::read_dir(&self.root);
        let entries = entries.map_err(|source| failed("list", &self.root, source))?;
        let mut found: Vec<RentalId> = entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter(|rental| self.folder(*rental).join("record.json").exists())
            .collect();
        found.sort();
        Ok(found)
    }

    /// Reads a rental's record.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn load(&self, rental: RentalId) -> Result<Record, JournalError> {
        let path = self.folder(rental).join("record.json");
        let malformed = |reason: String| JournalError::Malformed { path: path.clone(), reason };
        let record: Record = serde_json::from_slice(&read_bounded(&path)?)
            .map_err(|error| malformed(error.to_string()))?;
        if record.version != RECORD_VERSION || record.rental != rental {
            return Err(malformed(format!("version {} of {}", record.version, record.rental)));
        }
        Ok(record)
    }

    /// Writes a rental's record: it is on the disk when this returns.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn store(&self, record: &Record) -> Result<(), JournalError> {
        let path = self.folder(record.rental).join("record.json");
        let json = serde_json::to_vec(record).map_err(|error| JournalError::Malformed {
            path: path.clone(),
            reason: error.to_string(),
        })?;
        self.write(record.rental, "record.json", &json)
    }

    /// Writes what the client handed over.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn store_task(&self, rental: RentalId, task: &TaskRequest) -> Result<(), JournalError> {
        let path = self.folder(rental).join("task.json");
        let json = serde_json::to_vec(task)
            .map_err(|error| JournalError::Malformed { path, reason: error.to_string() })?;
        self.write(rental, "task.json", &json)
    }

    /// Reads what the client handed over.
    ///
    /// # Errors
    /// [`JournalError`]; the content of the file is never repeated.
    pub fn load_task(&self, rental: RentalId) -> Result<TaskRequest, JournalError> {
        let path = self.folder(rental).join("task.json");
        serde_json::from_slice(&read_bounded(&path)?).map_err(|error| JournalError::Malformed {
            path,
            reason: format!("at line {} column {}", error.line(), error.column()),
        })
    }

    /// Deletes what the client handed over.
    pub fn drop_task(&self, rental: RentalId) {
        // Gone already is as good.
        drop(fs::remove_file(self.folder(rental).join("task.json")));
    }

    /// Writes a file of a rental whole: it is on the disk when this returns.
    ///
    /// # Errors
    /// [`JournalError::Io`].
    pub fn write(&self, rental: RentalId, name: &str, bytes: &[u8]) -> Result<(), JournalError> {
        let folder = self.folder(rental);
        fs::create_dir_all(&folder).map_err(|source| failed("make", &folder, source))?;
        let path = folder.join(name);
        let beside = folder.join(format!("{name}.new"));
        let written = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&beside)
            .and_then(|mut file| {
                file.write_all(bytes)?;
                file.sync_all()
            })
            .and_then(|()| fs::rename(&beside, &path))
            .and_then(|()| File::open(&folder)?.sync_all());
        written.map_err(|source| failed("write", &path, source))
    }

    /// Reads a file of a rental, at most 16 MiB.
    ///
    /// # Errors
    /// [`JournalError::Io`].
    pub fn read(&self, rental: RentalId, name: &str) -> Result<Vec<u8>, JournalError> {
        read_bounded(&self.folder(rental).join(name))
    }

    /// Adds a line to the machine's history of runs.
    ///
    /// # Errors
    /// [`JournalError::Io`].
    pub fn note(&self, line: &str) -> Result<(), JournalError> {
        let path = self.root.join("history.jsonl");
        let open = fs::OpenOptions::new().append(true).create(true).mode(0o600).open(&path);
        open.and_then(|mut file| writeln!(file, "{line}"))
            .map_err(|source| failed("write", &path, source))
    }

    /// Forgets a rental.
    ///
    /// # Errors
    /// [`JournalError::Io`].
    pub fn forget(&self, rental: RentalId) -> Result<(), JournalError> {
        let folder = self.folder(rental);
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(failed("delete", &folder, error))
            }
            _ => Ok(()),
        }
    }
}

fn failed(operation: &'static str, path: &Path, source: io::Error) -> JournalError {
    JournalError::Io { operation, path: path.to_owned(), source }
}

fn read_bounded(path: &Path) -> Result<Vec<u8>, JournalError> {
    let file = File::open(path).map_err(|source| failed("open", path, source))?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES)
        .read_to_end(&mut bytes)
        .map_err(|source| failed("read", path, source))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use pouw_types::contracts::Quote;

    use super::*;

    fn rental(byte: u8) -> RentalId {
        RentalId::new(alloy_primitives::B256::repeat_byte(byte))
    }

    #[test]
    fn records_survive_and_a_torn_one_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open(folder.path()).unwrap();
        let record = Record::new(rental(7), Quote { nonce: u64::MAX, ..Quote::default() }, 5);
        journal.store(&record).unwrap();
        // What a crash leaves beside it does not matter.
        std::fs::write(journal.folder(rental(7)).join("record.json.new"), "{").unwrap();
        assert_eq!(journal.rentals().unwrap(), [rental(7)]);
        assert_eq!(journal.load(rental(7)).unwrap(), record);
        std::fs::write(journal.folder(rental(7)).join("record.json"), "{\"version\":1").unwrap();
        let error = journal.load(rental(7)).unwrap_err();
        assert!(error.to_string().contains("record.json"), "{error}");
        journal.forget(rental(7)).unwrap();
        journal.forget(rental(7)).unwrap();
        assert_eq!(journal.rentals().unwrap(), []);
    }

    #[test]
    fn only_the_agent_reads_what_a_client_hands_over_and_errors_do_not_repeat_it() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open(folder.path()).unwrap();
        journal.write(rental(1), "task.json", b"{\"spec\": s3cret").unwrap();
        let path = journal.folder(rental(1)).join("task.json");
        assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
        let error = journal.load_task(rental(1)).unwrap_err();
        assert!(!error.to_string().contains("s3cret"), "{error}");
        journal.drop_task(rental(1));
        assert!(journal.load_task(rental(1)).is_err());
    }
}
