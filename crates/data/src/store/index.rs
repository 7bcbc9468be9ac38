//! Names to records, in one `redb` file.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

use super::blob::BlobId;
use super::record::{ObjectRecord, PartRecord, UploadRecord};

/// Bucket name → when it was made, in Unix ms.
const BUCKETS: TableDefinition<'_, &str, u64> = TableDefinition::new("buckets");
/// (bucket, key) → [`ObjectRecord`] as JSON.
const OBJECTS: TableDefinition<'_, (&str, &str), &[u8]> = TableDefinition::new("objects");
/// (bucket, key, upload) → [`UploadRecord`] as JSON.
const UPLOADS: TableDefinition<'_, (&str, &str, &str), &[u8]> = TableDefinition::new("uploads");
/// (upload, number) → [`PartRecord`] as JSON.
const PARTS: TableDefinition<'_, (&str, u16), &[u8]> = TableDefinition::new("parts");

/// Why the index did not do as asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum IndexError {
    /// The database failed, usually because the disk did.
    #[error("the index failed")]
    Database(#[from] redb::Error),
    /// A record cannot be read.
    #[error("a record of the index is damaged")]
    Damaged(#[from] serde_json::Error),
    /// There is no such bucket.
    #[error("no such bucket")]
    NoBucket,
    /// The bucket is not empty.
    #[error("the bucket is not empty")]
    NotEmpty,
    /// There is no such upload.
    #[error("no such upload")]
    NoUpload,
    /// A condition on the object that is there does not hold.
    #[error("a condition does not hold")]
    Condition,
}

macro_rules! database_errors {
    ($($error:ty),*) => {$(
        impl From<$error> for IndexError {
            fn from(error: $error) -> Self {
                Self::Database(error.into())
            }
        }
    )*};
}
database_errors!(
    redb::TransactionError,
    redb::TableError,
    redb::StorageError,
    redb::CommitError,
    redb::DatabaseError
);

type Found<T> = Result<T, IndexError>;

pub(super) struct Index {
    path: PathBuf,
    /// `None` only while a failed database could not be opened again yet.
    database: RwLock<Option<Database>>,
}

fn create(path: &Path) -> Result<Database, redb::DatabaseError> {
    let mut builder = Database::builder();
    builder.set_cache_size(32 << 20);
    builder.create(path)
}

impl Index {
    pub(super) fn open(path: &Path) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let database = create(path)?;
        let mut write = database.begin_write()?;
        write.set_two_phase_commit(true);
        write.set_quick_repair(true);
        write.open_table(BUCKETS)?;
        write.open_table(OBJECTS)?;
        write.open_table(UPLOADS)?;
        write.open_table(PARTS)?;
        write.commit()?;
        Ok(Self { path: path.to_owned(), database: RwLock::new(Some(database)) })
    }

    fn read(&self) -> Found<redb::ReadTransaction> {
        let held = self.database.read().unwrap_or_else(PoisonError::into_inner);
        match held.as_ref() {
            Some(database) => Ok(database.begin_read()?),
            None => {
                drop(held);
                self.reopen();
                Err(IndexError::Database(redb::Error::PreviousIo))
            }
        }
    }

    /// After a failed write (a full disk) the database refuses everything until it is opened
    /// again, which also rolls the failed write back.
    fn reopen(&self) {
        let mut held = self.database.write().unwrap_or_else(PoisonError::into_inner);
        *held = None;
        match create(&self.path) {
            Ok(database) => *held = Some(database),
            Err(error) => tracing::error!(%error, "cannot open the index again yet"),
        }
    }

    /// Runs `change` in one durable transaction, or leaves everything as it was.
    fn write<T>(&self, change: impl FnOnce(&redb::WriteTransaction) -> Found<T>) -> Found<T> {
        let outcome = self.try_write(change);
        if let Err(IndexError::Database(redb::Error::Io(_) | redb::Error::PreviousIo)) = &outcome {
            self.reopen();
        }
        outcome
    }

    fn try_write<T>(&self, change: impl FnOnce(&redb::WriteTransaction) -> Found<T>) -> Found<T> {
        let held = self.database.read().unwrap_or_else(PoisonError::into_inner);
        let database = held.as_ref().ok_or(IndexError::Database(redb::Error::PreviousIo))?;
        let mut write = database.begin_write()?;
        write.set_two_phase_commit(true);
        write.set_quick_repair(true);
        let outcome = change(&write)?;
        write.commit()?;
        Ok(outcome)
    }

    /// Every blob that a record names.
    pub(super) fn blobs(&self) -> Found<HashSet<BlobId>> {
        let read = self.read()?;
        let mut kept = HashSet::new();
        for item in read.open_table(OBJECTS)?.iter()? {
            let record: ObjectRecord = serde_json::from_slice(item?.1.value())?;
            kept.extend(record.blobs());
        }
        for item in read.open_table(PARTS)?.iter()? {
            let record: PartRecord = serde_json::from_slice(item?.1.value())?;
            kept.insert(record.piece.blob);
        }
        Ok(kept)
    }

    /// Makes a bucket; `false` if it was there.
    pub(super) fn create_bucket(&self, bucket: &str) -> Found<bool> {
        self.write(|write| {
            let mut buckets = write.open_table(BUCKETS)?;
            if buckets.get(bucket)?.is_some() {
                return Ok(false);
            }
            buckets.insert(bucket, super::clock::now_ms())?;
            Ok(true)
        })
    }

    pub(super) fn delete_bucket(&self, bucket: &str) -> Found<()> {
        self.write(|write| {
            let mut buckets = write.open_table(BUCKETS)?;
            if buckets.remove(bucket)?.is_none() {
                return Err(IndexError::NoBucket);
            }
            let objects = write.open_table(OBJECTS)?;
            let first = objects.range((bucket, "")..)?.next().transpose()?;
            let uploads = write.open_table(UPLOADS)?;
            let upload = uploads.range((bucket, "", "")..)?.next().transpose()?;
            let holds_object = first.is_some_and(|(at, _)| at.value().0 == bucket);
            let holds_upload = upload.is_some_and(|(at, _)| at.value().0 == bucket);
            if holds_object || holds_upload { Err(IndexError::NotEmpty) } else { Ok(()) }
        })
    }

    pub(super) fn buckets(&self) -> Found<Vec<(String, u64)>> {
        let table = self.read()?.open_table(BUCKETS)?;
        let mut found = Vec::new();
        for item in table.iter()? {
            let (name, made_ms) = item?;
            found.push((name.value().to_owned(), made_ms.value()));
        }
        Ok(found)
    }

    pub(super) fn bucket(&self, bucket: &str) -> Found<()> {
        let table = self.read()?.open_table(BUCKETS)?;
        table.get(bucket)?.map(|_| ()).ok_or(IndexError::NoBucket)
    }

    /// The record of an object; `None` if the bucket has no such key.
    pub(super) fn object(&self, bucket: &str, key: &str) -> Found<Option<ObjectRecord>> {
        let read = self.read()?;
        if read.open_table(BUCKETS)?.get(bucket)?.is_none() {
            return Err(IndexError::NoBucket);
        }
        let record = read.open_table(OBJECTS)?.get((bucket, key))?;
        Ok(record.map(|json| serde_json::from_slice(json.value())).transpose()?)
    }

    /// The first object at or after `from`, and for a caller that walks, all after it.
    pub(super) fn walk(
        &self,
        bucket: &str,
        mut visit: impl FnMut(&mut dyn FnMut(&str) -> Found<Option<(String, Vec<u8>)>>) -> Found<()>,
    ) -> Found<()> {
        let read = self.read()?;
        if read.open_table(BUCKETS)?.get(bucket)?.is_none() {
            return Err(IndexError::NoBucket);
        }
        let objects = read.open_table(OBJECTS)?;
        visit(&mut |from| {
            let Some((at, json)) = objects.range((bucket, from)..)?.next().transpose()? else {
                return Ok(None);
            };
            let (found_bucket, key) = at.value();
            Ok((found_bucket == bucket).then(|| (key.to_owned(), json.value().to_vec())))
        })
    }

    /// Puts an object in place if `allowed` agrees to what is there; returns what it replaced.
    pub(super) fn put(
        &self,
        bucket: &str,
        key: &str,
        record: &ObjectRecord,
        allowed: impl FnOnce(Option<&ObjectRecord>) -> bool,
    ) -> Found<Vec<BlobId>> {
        self.write(|write| put_in(write, bucket, key, record, allowed))
    }

    /// Removes objects in one transaction; returns their blobs.
    pub(super) fn delete(&self, bucket: &str, keys: &[String]) -> Found<Vec<BlobId>> {
        self.write(|write| {
            if write.open_table(BUCKETS)?.get(bucket)?.is_none() {
                return Err(IndexError::NoBucket);
            }
            let mut objects = write.open_table(OBJECTS)?;
            let mut freed = Vec::new();
            for key in keys {
                if let Some(json) = objects.remove((bucket, key.as_str()))? {
                    let record: ObjectRecord = serde_json::from_slice(json.value())?;
                    freed.extend(record.blobs());
                }
            }
            Ok(freed)
        })
    }

    pub(super) fn start_upload(
        &self,
        bucket: &str,
        key: &str,
        upload: &str,
        record: &UploadRecord,
    ) -> Found<()> {
        let json = serde_json::to_vec(record)?;
        self.write(|write| {
            if write.open_table(BUCKETS)?.get(bucket)?.is_none() {
                return Err(IndexError::NoBucket);
            }
            write.open_table(UPLOADS)?.insert((bucket, key, upload), json.as_slice())?;
            Ok(())
        })
    }

    pub(super) fn upload(&self, bucket: &str, key: &str, upload: &str) -> Found<UploadRecord> {
        let read = self.read()?;
        if read.open_table(BUCKETS)?.get(bucket)?.is_none() {
            return Err(IndexError::NoBucket);
        }
        let json = read.open_table(UPLOADS)?.get((bucket, key, upload))?;
        Ok(serde_json::from_slice(json.ok_or(IndexError::NoUpload)?.value())?)
    }

    /// Every upload of a bucket, by key and then by its name.
    pub(super) fn uploads(&self, bucket: &str) -> Found<Vec<(String, String, UploadRecord)>> {
        let read = self.read()?;
        if read.open_table(BUCKETS)?.get(bucket)?.is_none() {
            return Err(IndexError::NoBucket);
        }
        let table = read.open_table(UPLOADS)?;
        let mut found = Vec::new();
        for item in table.range((bucket, "", "")..)? {
            let (at, json) = item?;
            let (of, key, upload) = at.value();
            if of != bucket {
                break;
            }
            found.push((key.to_owned(), upload.to_owned(), serde_json::from_slice(json.value())?));
        }
        Ok(found)
    }

    /// Puts a part in place; returns the blob it replaced.
    pub(super) fn put_part(
        &self,
        at: (&str, &str, &str),
        number: u16,
        record: &PartRecord,
    ) -> Found<Option<BlobId>> {
        let json = serde_json::to_vec(record)?;
        self.write(|write| {
            if write.open_table(UPLOADS)?.get(at)?.is_none() {
                return Err(IndexError::NoUpload);
            }
            let mut parts = write.open_table(PARTS)?;
            let old = parts.insert((at.2, number), json.as_slice())?;
            let old: Option<PartRecord> =
                old.map(|json| serde_json::from_slice(json.value())).transpose()?;
            Ok(old.map(|part| part.piece.blob))
        })
    }

    pub(super) fn parts(&self, upload: &str) -> Found<Vec<(u16, PartRecord)>> {
        let table = self.read()?.open_table(PARTS)?;
        let mut found = Vec::new();
        for item in table.range((upload, 0)..=(upload, u16::MAX))? {
            let (at, json) = item?;
            found.push((at.value().1, serde_json::from_slice(json.value())?));
        }
        Ok(found)
    }

    /// Ends an upload: as `record` in place of its parts, or as nothing. Returns freed blobs.
    pub(super) fn end_upload(
        &self,
        at: (&str, &str, &str),
        record: Option<&ObjectRecord>,
        allowed: impl FnOnce(Option<&ObjectRecord>) -> bool,
    ) -> Found<Vec<BlobId>> {
        self.write(|write| {
            if write.open_table(UPLOADS)?.remove(at)?.is_none() {
                return Err(IndexError::NoUpload);
            }
            let mut freed = Vec::new();
            let mut parts = write.open_table(PARTS)?;
            for item in parts.extract_from_if((at.2, 0)..=(at.2, u16::MAX), |_, _| true)? {
                let record: PartRecord = serde_json::from_slice(item?.1.value())?;
                freed.push(record.piece.blob);
            }
            if let Some(record) = record {
                let used: HashSet<BlobId> = record.blobs().into_iter().collect();
                freed.retain(|blob| !used.contains(blob));
                freed.extend(put_in(write, at.0, at.1, record, allowed)?);
            }
            Ok(freed)
        })
    }
}

fn put_in(
    write: &redb::WriteTransaction,
    bucket: &str,
    key: &str,
    record: &ObjectRecord,
    allowed: impl FnOnce(Option<&ObjectRecord>) -> bool,
) -> Found<Vec<BlobId>> {
    if write.open_table(BUCKETS)?.get(bucket)?.is_none() {
        return Err(IndexError::NoBucket);
    }
    let json = serde_json::to_vec(record)?;
    let mut objects = write.open_table(OBJECTS)?;
    let old: Option<ObjectRecord> =
        objects.get((bucket, key))?.map(|json| serde_json::from_slice(json.value())).transpose()?;
    if !allowed(old.as_ref()) {
        return Err(IndexError::Condition);
    }
    objects.insert((bucket, key), json.as_slice())?;
    Ok(old.map(|record| record.blobs()).unwrap_or_default())
}
