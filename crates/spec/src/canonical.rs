//! The bytes of a task that are sent, and hashed.

use alloy_primitives::B256;
use pouw_types::SpecHash;

use crate::task::Task;

/// The key derivation context of [`Task::hash`].
const CONTEXT: &str = "pouw task spec v1";

/// Bytes are not a task.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TaskError {
    /// More than [`Task::MAX_CANONICAL_BYTES`].
    #[error("the task has {0} bytes, at most 1,048,576 are read")]
    Long(usize),
    /// Not JSON, not a task, or one that breaks a rule.
    #[error("the task cannot be used: {0}")]
    Invalid(String),
}

impl Task {
    /// Most bytes of a task in canonical form.
    pub const MAX_CANONICAL_BYTES: usize = 1 << 20;

    /// The canonical form: JSON without spaces, every field there and in the order of its
    /// structure, the keys of maps sorted, quantities as integers, money as decimal text.
    ///
    /// However a spec was formatted, equal tasks have equal bytes.
    #[must_use]
    pub fn canonical(&self) -> Vec<u8> {
        // Fails only for maps with keys that aren't texts; the tests serialize every field.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// BLAKE3 in key derivation mode, context `pouw task spec v1`, over [`Task::canonical`]: what a
    /// quote names.
    #[must_use]
    pub fn hash(&self) -> SpecHash {
        let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
        hasher.update(&self.canonical());
        SpecHash::new(B256::from(*hasher.finalize().as_bytes()))
    }

    /// Reads a task from its canonical form, or any JSON of it, and checks it.
    ///
    /// # Errors
    /// [`TaskError`] above the size limit, for other JSON, and for a task that breaks a rule.
    pub fn from_json(bytes: &[u8]) -> Result<Self, TaskError> {
        if bytes.len() > Self::MAX_CANONICAL_BYTES {
            return Err(TaskError::Long(bytes.len()));
        }
        serde_json::from_slice(bytes).map_err(|error| TaskError::Invalid(error.to_string()))
    }
}
