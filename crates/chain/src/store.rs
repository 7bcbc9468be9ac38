//! The database: blocks, state and indices in one redb file, one transaction a step.
//!
//! | table | key | value |
//! |---|---|---|
//! | `meta` | name | layout, head, oldest kept state |
//! | `headers` | block | standing after it, then the header |
//! | `bodies` | block | its transactions |
//! | `certificates` | height, block | what opens a lane-1 header, within the horizon |
//! | `receipts` | block | receipts, once it was executed |
//! | `invalid` | block | nothing: its body broke a rule |
//! | `best` | height | block of the best chain |
//! | `places` | transaction | height and index on the best chain |
//! | `blooms` | height | bloom of its logs, where it has any |
//! | `nodes` | version, path | node of the state tree |
//! | `values` | key hash, version | value of the state, or that it was deleted |
//! | `journal` | height | what the block added to the tree and made stale |
//!
//! Two-phase commit and quick repair are on, so a process killed at any moment finds its last
//! committed block when it starts again.

mod read;
mod tables;
mod tree;
mod write;

pub(crate) use read::Reading;
pub use read::StateAt;
pub use tree::StateProof;
pub(crate) use write::Writing;

use std::path::Path;

use pouw_consensus::BlockId;
use redb::{Database, ReadableDatabase, StorageBackend};

use crate::error::StoreError;

/// Layout of the tables above.
pub(crate) const LAYOUT: u64 = 4;

/// Bytes of the database that are kept in memory.
const CACHE_BYTES: usize = 48 * 1024 * 1024;

/// The open database.
#[derive(Debug)]
pub(crate) struct Store {
    db: Database,
}

impl Store {
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        let db = Database::builder().set_cache_size(CACHE_BYTES).create(path)?;
        Ok(Self { db })
    }

    pub(crate) fn with_backend(backend: impl StorageBackend) -> Result<Self, StoreError> {
        let db = Database::builder().set_cache_size(CACHE_BYTES).create_with_backend(backend)?;
        Ok(Self { db })
    }

    /// A snapshot to read from.
    pub(crate) fn read(&self) -> Result<Reading, StoreError> {
        Ok(Reading::new(self.db.begin_read()?))
    }

    /// Runs one step and commits it durably, all of it or nothing.
    pub(crate) fn write<T, E: From<StoreError>>(
        &self,
        step: impl FnOnce(&mut Writing<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut transaction = self.db.begin_write().map_err(StoreError::from)?;
        transaction.set_two_phase_commit(true);
        transaction.set_quick_repair(true);
        let result = {
            let mut writing = Writing::open(&transaction)?;
            step(&mut writing)
        };
        match result {
            Ok(value) => {
                transaction.commit().map_err(StoreError::from)?;
                Ok(value)
            }
            Err(error) => {
                transaction.abort().map_err(StoreError::from)?;
                Err(error)
            }
        }
    }
}

/// Rows of tables, as bytes.
#[cfg(test)]
pub(crate) type Rows = Vec<(Vec<u8>, Vec<u8>)>;

pub(crate) fn corrupt(what: &'static str, key: impl core::fmt::Display) -> StoreError {
    StoreError::Corrupt { what, key: key.to_string() }
}

pub(crate) fn block_id(bytes: &[u8], what: &'static str) -> Result<BlockId, StoreError> {
    BlockId::try_from(bytes).map_err(|_| corrupt(what, "a block"))
}
