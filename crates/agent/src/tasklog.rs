//! The task's output on disk, bounded.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::engine::{Channel, LogLine};

/// What is written where the rest is cut.
const CUT: &[u8] = b"[pouw: the log is full, the rest is not kept]\n";

/// The file with a task's output.
#[derive(Debug)]
pub(crate) struct TaskLog {
    path: PathBuf,
    max_bytes: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    file: Option<File>,
    written: u64,
    full: bool,
    last_ns: u64,
}

impl TaskLog {
    /// Below `folder`, at most about `max_bytes`.
    #[must_use]
    pub(crate) fn new(folder: &Path, max_bytes: u64) -> Self {
        Self { path: folder.join("log"), max_bytes, state: Mutex::default() }
    }

    /// Where it lies.
    #[must_use]
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The time of the last line, Unix nanoseconds; 0 before the first: then the engine is asked
    /// for all of it, and the file starts anew.
    #[must_use]
    pub(crate) fn last_ns(&self) -> u64 {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).last_ns
    }

    /// Adds a line. It is not flushed to the disk: the engine keeps the lines as well.
    ///
    /// # Errors
    /// What the file system says.
    pub(crate) fn push(&self, line: &LogLine) -> io::Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.last_ns = state.last_ns.max(line.time_ns);
        if state.full {
            return Ok(());
        }
        if state.file.is_none() {
            let mut options = OpenOptions::new();
            let options = options.write(true).create(true).truncate(true).mode(0o600);
            state.file = Some(options.open(&self.path)?);
        }
        let mark = match line.channel {
            Channel::Stdout => "",
            Channel::Stderr => "! ",
        };
        let bytes = format!("{mark}{}\n", line.text);
        let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let fits = state.written.saturating_add(size) <= self.max_bytes;
        let Some(file) = state.file.as_mut() else { return Ok(()) };
        if fits {
            file.write_all(bytes.as_bytes())?;
            state.written += size;
        } else {
            file.write_all(CUT)?;
            state.full = true;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_output_is_cut_and_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let log = TaskLog::new(folder.path(), 100);
        for time_ns in 1..=1_000 {
            let text = "x".repeat(20);
            log.push(&LogLine { channel: Channel::Stderr, time_ns, text }).unwrap();
        }
        let text = std::fs::read_to_string(log.path()).unwrap();
        assert!(text.len() < 200 && text.ends_with("not kept]\n"), "{text}");
        assert!(text.starts_with("! xxx"));
        assert_eq!(log.last_ns(), 1_000);
    }
}
