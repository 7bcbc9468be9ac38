//! A task's checkpoint in object storage: two archives in turn, and a word on which one is whole.
//!
//! A save writes the archive that the last one did not, and then the word. So whatever breaks in
//! between, the word names an archive that is whole.

use alloy_primitives::B256;
use serde::{Deserialize, Serialize};

use crate::OutputSlot;

/// Names of the two archives, below the task's prefix.
const ARCHIVES: [&str; 2] = ["checkpoint/1.tar", "checkpoint/2.tar"];
/// The version of the encoding.
const VERSION: u32 = 1;
/// The largest encoded word, in bytes.
const MAX_JSON_BYTES: u64 = 4 << 10;

/// Where the saves of one task go (D-23).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckpointSlots {
    /// The two archives that are written in turn.
    pub archives: [OutputSlot; 2],
    /// The word on which of them is whole.
    pub latest: OutputSlot,
}

impl CheckpointSlots {
    /// The archive that save `number` writes; saves count from 1.
    #[must_use]
    pub const fn of(&self, number: u64) -> &OutputSlot {
        let [odd, even] = &self.archives;
        if number.is_multiple_of(2) { even } else { odd }
    }
}

/// A save that is whole in storage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    version: u32,
    /// The how manieth of its rental, from 1.
    pub number: u64,
    /// The archive's name below the task's prefix.
    pub name: String,
    /// Active seconds of the task that it covers.
    pub active_s: u64,
    /// The archive's size.
    pub size_bytes: u64,
    /// The archive's digest.
    pub blake3: B256,
}

/// A word on a checkpoint is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot read the word on a checkpoint: {0}")]
pub struct CheckpointError(String);

impl Checkpoint {
    /// The folder of all that belongs to checkpoints, below the task's prefix.
    pub const FOLDER: &'static str = "checkpoint/";
    /// The word's name below the task's prefix.
    pub const LATEST: &'static str = "checkpoint/latest.json";
    /// The largest encoded word, in bytes.
    pub const MAX_JSON_BYTES: u64 = MAX_JSON_BYTES;

    /// Of one save.
    #[must_use]
    pub const fn new(
        number: u64,
        name: String,
        active_s: u64,
        size_bytes: u64,
        blake3: B256,
    ) -> Self {
        Self { version: VERSION, number, name, active_s, size_bytes, blake3 }
    }

    /// Names of the two archives, below the task's prefix.
    #[must_use]
    pub const fn archives() -> [&'static str; 2] {
        ARCHIVES
    }

    /// As JSON.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        // Strings, integers and hashes only: encoding them cannot fail.
        serde_json::to_vec_pretty(self).unwrap_or_default()
    }

    /// Reads a word; it can only name one of the two archives.
    ///
    /// # Errors
    /// [`CheckpointError`] for anything that [`to_json`](Self::to_json) would not have written.
    pub fn from_json(json: &[u8]) -> Result<Self, CheckpointError> {
        let wrong = |text: &str| Err(CheckpointError(text.to_owned()));
        if json.len() as u64 > MAX_JSON_BYTES {
            return wrong("it is too long");
        }
        let read: Self =
            serde_json::from_slice(json).map_err(|error| CheckpointError(error.to_string()))?;
        if read.version != VERSION {
            return wrong("its version is another");
        }
        let archive = if read.number.is_multiple_of(2) { ARCHIVES[1] } else { ARCHIVES[0] };
        if read.number == 0 || read.name != archive {
            return wrong("it names another archive than its save writes");
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saved(number: u64, name: &str) -> Checkpoint {
        Checkpoint::new(number, name.to_owned(), 60, 7, B256::repeat_byte(3))
    }

    #[test]
    fn d_23_a_word_names_the_archive_of_its_own_save_and_nothing_else() {
        for (number, name) in [(1, "checkpoint/1.tar"), (2, "checkpoint/2.tar")] {
            let word = saved(number, name);
            assert_eq!(Checkpoint::from_json(&word.to_json()), Ok(word));
        }
        for (number, name) in [
            (0, "checkpoint/2.tar"),
            (1, "checkpoint/2.tar"),
            (1, "../secret"),
            (2, "frames/1.png"),
        ] {
            let read = Checkpoint::from_json(&saved(number, name).to_json());
            assert!(read.is_err(), "{number} {name}");
        }
        let mut later = saved(1, "checkpoint/1.tar");
        later.version = 2;
        assert!(Checkpoint::from_json(&later.to_json()).is_err());
        assert!(Checkpoint::from_json(&[b' '; 5_000]).is_err());
    }
}
