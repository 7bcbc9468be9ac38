//! An S3 service on one folder (D-1 … D-12).
//!
//! The folder holds `index.redb` and `blobs/xx/…`. The index maps bucket and key to a record; a
//! record names the blobs its content lies in, in order. Blobs have random names, so that no key
//! ever becomes a path, and are never changed once written.
//!
//! A put writes and syncs a new blob, syncs its folder, and then commits the record: an object is
//! visible exactly from that commit on. What a crash leaves is a blob without a record; opening
//! the store removes it. A delete commits first and removes blobs after the last reader is done.

mod auth;
mod blob;
mod clock;
mod error;
mod index;
mod ingest;
mod list;
mod read;
mod record;
mod server;
mod service;

pub use server::{ServeError, serve};

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use blob::{BlobId, Blobs};
use index::Index;

use crate::S3Credentials;

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder or a file in it failed.
    #[error("cannot prepare the store in {path}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The index cannot be opened; another process may hold it.
    #[error("cannot open the index of the store in {path}; is it open already?")]
    Index {
        /// The folder.
        path: PathBuf,
        /// What the database said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Nobody could ever sign a request.
    #[error("a store needs at least one access key")]
    NoCredentials,
}

/// An open store; cheap to clone. One process may hold a folder open at a time.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    index: Index,
    blobs: Blobs,
    credentials: Vec<S3Credentials>,
    /// Blobs being read, and whether they go when the last reader is done.
    pins: Mutex<HashMap<BlobId, Pin>>,
    /// How many writes may run at once: each holds threads and buffers.
    writes: Arc<tokio::sync::Semaphore>,
}

#[derive(Default)]
struct Pin {
    readers: usize,
    doomed: bool,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("credentials", &self.inner.credentials)
            .finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the store in `dir`, made if it is not there, and removes what a crash left.
    ///
    /// # Errors
    /// [`OpenError`] says what stands in the way.
    pub fn open(dir: &Path, credentials: Vec<S3Credentials>) -> Result<Self, OpenError> {
        if credentials.is_empty() {
            return Err(OpenError::NoCredentials);
        }
        let folder = |source| OpenError::Folder { path: dir.to_owned(), source };
        std::fs::create_dir_all(dir).map_err(folder)?;
        let index = Index::open(&dir.join("index.redb"))
            .map_err(|source| OpenError::Index { path: dir.to_owned(), source })?;
        let blobs = Blobs::open(&dir.join("blobs")).map_err(folder)?;
        std::fs::File::open(dir).and_then(|dir| dir.sync_all()).map_err(folder)?;
        let kept = index
            .blobs()
            .map_err(|e| OpenError::Index { path: dir.to_owned(), source: Box::new(e) })?;
        let removed = blobs.retain(&kept).map_err(folder)?;
        if removed > 0 {
            tracing::info!(removed, "removed unfinished uploads of an earlier run");
        }
        Ok(Self {
            inner: Arc::new(Inner {
                index,
                blobs,
                credentials,
                pins: Mutex::default(),
                writes: Arc::new(tokio::sync::Semaphore::new(32)),
            }),
        })
    }

    /// Makes `bucket` unless it is there; for whoever sets a store up.
    ///
    /// # Errors
    /// The system's error; [`std::io::ErrorKind::InvalidInput`] for a name S3 would refuse.
    pub fn ensure_bucket(&self, bucket: &str) -> std::io::Result<()> {
        if crate::S3Location::new("http://h", "r", bucket, "").is_err() {
            let message = format!("bucket {bucket:?} must be 3 to 63 of a-z, 0-9, '-' and '.'");
            return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, message));
        }
        self.inner.index.create_bucket(bucket).map(|_| ()).map_err(std::io::Error::other)
    }
}

impl Inner {
    fn pins(&self) -> std::sync::MutexGuard<'_, HashMap<BlobId, Pin>> {
        // The map is consistent after each statement, so a panic elsewhere does not spoil it.
        self.pins.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks a record up and keeps its blobs until the result is dropped.
    fn pin<R>(
        self: &Arc<Self>,
        look_up: impl FnOnce(&Index) -> Result<R, index::IndexError>,
        blobs_of: impl FnOnce(&R) -> Vec<BlobId>,
    ) -> Result<(R, Pinned), index::IndexError> {
        // Under the lock: a delete that commits after the look-up finds the pin.
        let mut pins = self.pins();
        let found = look_up(&self.index)?;
        let ids = blobs_of(&found);
        for id in &ids {
            pins.entry(*id).or_default().readers += 1;
        }
        Ok((found, Pinned { store: Arc::clone(self), ids }))
    }

    /// Removes blobs that no record names any more, now or after their last reader.
    fn discard(&self, ids: impl IntoIterator<Item = BlobId>) {
        let mut pins = self.pins();
        for id in ids {
            match pins.get_mut(&id) {
                Some(pin) => pin.doomed = true,
                None => self.blobs.remove(id),
            }
        }
    }
}

/// Keeps blobs from being removed.
struct Pinned {
    store: Arc<Inner>,
    ids: Vec<BlobId>,
}

impl Drop for Pinned {
    fn drop(&mut self) {
        let mut pins = self.store.pins();
        for id in &self.ids {
            let Some(pin) = pins.get_mut(id) else { continue };
            pin.readers -= 1;
            if pin.readers == 0 {
                let doomed = pin.doomed;
                pins.remove(id);
                if doomed {
                    self.store.blobs.remove(*id);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::record::{Checksums, Facts, ObjectRecord, Piece};

    fn record(blob: BlobId) -> ObjectRecord {
        ObjectRecord {
            size: 1,
            etag: "e".into(),
            modified_ms: 0,
            pieces: vec![Piece { blob, size: 1 }],
            blake3: None,
            checksums: Checksums::default(),
            facts: Facts::default(),
        }
    }

    fn store(dir: &Path) -> Store {
        let store = Store::open(dir, vec![S3Credentials::generate()]).unwrap();
        store.ensure_bucket("data").unwrap();
        store
    }

    #[test]
    fn d_5_a_read_keeps_its_content_until_it_ends() {
        let dir = tempfile::tempdir().unwrap();
        let inner = store(dir.path()).inner;
        let blob = BlobId::random();
        drop(inner.blobs.create(blob).unwrap());
        inner.index.put("data", "k", &record(blob), |_| true).unwrap();
        let look_up = |index: &Index| index.object("data", "k");
        let blobs_of = |found: &Option<ObjectRecord>| found.as_ref().unwrap().blobs();
        let (_, first) = inner.pin(look_up, blobs_of).unwrap();
        let (_, second) = inner.pin(look_up, blobs_of).unwrap();
        inner.discard(inner.index.delete("data", &["k".into()]).unwrap());
        drop(first);
        assert!(inner.blobs.read(blob).is_ok(), "one reader is left");
        drop(second);
        assert!(inner.blobs.read(blob).is_err(), "the last reader takes it along");
        assert!(inner.pins().is_empty());
    }

    #[test]
    fn opening_removes_what_no_record_names_and_keeps_the_rest() {
        let dir = tempfile::tempdir().unwrap();
        let (kept, stray) = (BlobId::random(), BlobId::random());
        {
            let inner = store(dir.path()).inner;
            drop(inner.blobs.create(kept).unwrap());
            drop(inner.blobs.create(stray).unwrap());
            inner.index.put("data", "k", &record(kept), |_| true).unwrap();
        }
        let inner = store(dir.path()).inner;
        assert!(inner.blobs.read(kept).is_ok());
        assert!(inner.blobs.read(stray).is_err());
    }

    #[test]
    fn a_store_is_opened_once_and_by_somebody() {
        let dir = tempfile::tempdir().unwrap();
        let held = store(dir.path());
        let second = Store::open(dir.path(), vec![S3Credentials::generate()]);
        assert!(matches!(second, Err(OpenError::Index { .. })));
        assert!(matches!(Store::open(dir.path(), vec![]), Err(OpenError::NoCredentials)));
        assert!(held.ensure_bucket("No Bucket").is_err());
        assert!(!format!("{held:?}").contains(held.inner.credentials[0].expose_secret()));
    }
}
