//! The client's own bucket: where inputs wait and results arrive.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use pouw_agent::door::Client;
use pouw_data::{
    Checkpoint, InputSlot, Manifest, ManifestEntry, Packing, PresignedUrl, Progress, S3Credentials,
    S3Location, TransferError, Transferred, Transfers, presign_get, presign_put,
};
use pouw_spec::Task;
use pouw_types::RentalId;

use super::inputs::place_of;
use crate::config::{Profile, S3Profile};

/// A folder of the client's bucket, one a rental.
#[derive(Debug)]
pub struct Bucket {
    /// Where it is.
    pub location: S3Location,
    /// What opens it.
    pub credentials: S3Credentials,
    /// What moves its bytes.
    pub transfers: Transfers,
}

/// How long an address of our own use is good, seconds.
const LIFETIME_S: u64 = 3_600;
/// Most bytes of a manifest.
const MAX_MANIFEST_BYTES: u64 = 16 << 20;

impl Bucket {
    /// The folder `prefix` of the profile's bucket.
    ///
    /// # Errors
    /// Where the profile names no store, or its credentials can't be read.
    pub fn open(profile: &Profile, prefix: &str) -> anyhow::Result<Self> {
        let s3 = profile.s3.as_ref().context(
            "the profile names no S3 store: add [s3] with endpoint, region, bucket and \
             credentials_file to it",
        )?;
        let S3Profile { endpoint, region, bucket, credentials_file } = s3;
        Ok(Self {
            location: S3Location::new(endpoint, region, bucket, prefix)?,
            credentials: S3Credentials::from_profile(credentials_file, "default")?,
            transfers: Transfers::new()?,
        })
    }

    /// An address from which an object of the folder can be read for a while.
    ///
    /// # Errors
    /// For a name that can't be a key.
    pub fn readable(&self, name: &str) -> anyhow::Result<PresignedUrl> {
        let key = self.location.key(name)?;
        Ok(presign_get(&self.location, &self.credentials, &key, now_s(), LIFETIME_S)?)
    }

    /// Puts a file into the folder.
    ///
    /// # Errors
    /// What the transfer says.
    pub async fn put(
        &self,
        file: &Path,
        name: &str,
        progress: &dyn Progress,
    ) -> anyhow::Result<Transferred> {
        let key = self.location.key(name)?;
        let url = presign_put(&self.location, &self.credentials, &key, now_s(), LIFETIME_S)?;
        Ok(self.transfers.upload(file, &url, progress).await?)
    }

    /// Reads the folder's manifest.
    ///
    /// # Errors
    /// Where there is none yet, or it isn't one.
    pub async fn manifest(&self) -> anyhow::Result<Manifest> {
        let scratch = tempfile::tempdir()?;
        let path = scratch.path().join("manifest.json");
        self.fetch("manifest.json", &path, MAX_MANIFEST_BYTES, &()).await?;
        Ok(Manifest::from_json(&std::fs::read(path)?)?)
    }

    /// The task whose results the folder holds, as it was kept beside them; `None` where none was.
    ///
    /// # Errors
    /// What the transfer says, or where it is no task.
    pub async fn task(&self) -> anyhow::Result<Option<Task>> {
        let scratch = tempfile::tempdir()?;
        let path = scratch.path().join("task.json");
        match self.fetch("task.json", &path, MAX_MANIFEST_BYTES, &()).await {
            Ok(()) => Ok(Some(serde_json::from_slice(&std::fs::read(path)?)?)),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// An address from which a result can be read for a while, wherever the task sent it.
    fn result(&self, task: Option<&Task>, name: &str) -> anyhow::Result<PresignedUrl> {
        let Some(task) = task else { return self.readable(name) };
        let (location, key) = place_of(task, self, name)?;
        Ok(presign_get(&location, &self.credentials, &key, now_s(), LIFETIME_S)?)
    }

    /// Reads the folder's word on the newest save of the task's checkpoint; `None` where there is
    /// none.
    ///
    /// # Errors
    /// What the transfer says, or where it is no word.
    pub async fn checkpoint(&self) -> anyhow::Result<Option<Checkpoint>> {
        let scratch = tempfile::tempdir()?;
        let path = scratch.path().join("latest.json");
        let got = self.fetch(Checkpoint::LATEST, &path, Checkpoint::MAX_JSON_BYTES, &()).await;
        if let Err(error) = got {
            return if is_missing(&error) { Ok(None) } else { Err(error) };
        }
        Ok(Some(Checkpoint::from_json(&std::fs::read(path)?)?))
    }

    /// Gets one object of the folder, at most `limit_bytes`.
    ///
    /// # Errors
    /// What the transfer says.
    pub async fn fetch(
        &self,
        name: &str,
        to: &Path,
        limit_bytes: u64,
        progress: &dyn Progress,
    ) -> anyhow::Result<()> {
        let url = self.readable(name)?;
        let slot = InputSlot {
            name: name.to_owned(),
            url,
            packing: Packing::File,
            size_bytes: None,
            blake3: None,
        };
        self.transfers.download(&slot, to, limit_bytes, progress).await?;
        Ok(())
    }

    /// Gets everything of the manifest whose path begins with `below`, each checked by its digest;
    /// saves of a checkpoint only where `below` names them. Returns the files' paths. Without a
    /// manifest the host is asked for what could not be brought out.
    ///
    /// # Errors
    /// What the transfer says, also for a digest that differs.
    pub async fn fetch_results(
        &self,
        host: (&Client, RentalId),
        below: &str,
        to: &Path,
        mut each: impl FnMut(&str, u64),
    ) -> anyhow::Result<Vec<PathBuf>> {
        let (manifest, left) = match self.manifest().await {
            Ok(manifest) => (manifest, Vec::new()),
            Err(error) if is_missing(&error) => {
                let (door, rental) = host;
                let what = "the store has no results yet, and the host does not give them";
                let left = door.status(rental).await.context(what)?.left;
                let json = door.manifest(rental).await.context(what)?;
                (Manifest::from_json(&json)?, left)
            }
            Err(error) => return Err(error),
        };
        let task = self.task().await?;
        let mut files = Vec::new();
        for entry in manifest.entries().iter().filter(|entry| is_inside(entry, below)) {
            let path = to.join(&entry.path);
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder)
                    .with_context(|| format!("cannot make {}", folder.display()))?;
            }
            match left.iter().position(|name| *name == entry.path) {
                Some(index) => fetch_left(host, index, entry, &path).await?,
                None => self.fetch_entry(task.as_ref(), entry, &path).await?,
            }
            each(&entry.path, entry.size_bytes);
            files.push(path);
        }
        anyhow::ensure!(!files.is_empty(), "the results hold nothing below `{below}`");
        Ok(files)
    }

    async fn fetch_entry(
        &self,
        task: Option<&Task>,
        entry: &ManifestEntry,
        path: &Path,
    ) -> anyhow::Result<()> {
        let slot = InputSlot {
            name: entry.path.clone(),
            url: self.result(task, &entry.path)?,
            packing: Packing::File,
            size_bytes: Some(entry.size_bytes),
            blake3: Some(entry.blake3),
        };
        self.transfers.download(&slot, path, entry.size_bytes, &()).await?;
        Ok(())
    }
}

fn is_inside(entry: &ManifestEntry, below: &str) -> bool {
    let inside = entry.path.strip_prefix(below).is_some_and(|rest| {
        below.is_empty() || below.ends_with('/') || rest.is_empty() || rest.starts_with('/')
    });
    let save = entry.path.starts_with(Checkpoint::FOLDER);
    inside && (!save || below.starts_with(Checkpoint::FOLDER.trim_end_matches('/')))
}

/// Gets one of the results that stay on the host; the file has its name only once it is right.
async fn fetch_left(
    (door, rental): (&Client, RentalId),
    index: usize,
    entry: &ManifestEntry,
    path: &Path,
) -> anyhow::Result<()> {
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    door.result(rental, index, file.as_file_mut(), entry.size_bytes).await?;
    Manifest::new(vec![entry.clone()])?.verify_objects(|_| std::fs::File::open(file.path()))?;
    file.persist(path)?;
    Ok(())
}

/// Whether the store says that there is no such object.
fn is_missing(error: &anyhow::Error) -> bool {
    let cause = error.downcast_ref::<TransferError>();
    matches!(cause, Some(TransferError::Refused { status: 404, .. }))
}

/// Now, Unix seconds.
pub(crate) fn now_s() -> u64 {
    now_ms() / 1000
}

/// Now, Unix milliseconds.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
