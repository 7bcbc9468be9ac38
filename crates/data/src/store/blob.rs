//! Content on disk: files with random names, written once.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The random name of one blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct BlobId(u128);

impl BlobId {
    pub(super) fn random() -> Self {
        Self(rand::random())
    }
}

/// The folder of blobs, fanned out over 256 folders.
pub(super) struct Blobs {
    root: PathBuf,
}

impl Blobs {
    pub(super) fn open(root: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(root)?;
        for fan in 0..=255_u8 {
            let folder = root.join(format!("{fan:02x}"));
            if !folder.is_dir() {
                std::fs::create_dir(&folder)?;
            }
        }
        File::open(root)?.sync_all()?;
        Ok(Self { root: root.to_owned() })
    }

    fn path(&self, id: BlobId) -> PathBuf {
        let name = format!("{:032x}", id.0);
        self.root.join(&name[..2]).join(&name)
    }

    pub(super) fn create(&self, id: BlobId) -> io::Result<File> {
        OpenOptions::new().write(true).create_new(true).open(self.path(id))
    }

    pub(super) fn read(&self, id: BlobId) -> io::Result<File> {
        File::open(self.path(id))
    }

    /// Makes the name of a synced blob durable.
    pub(super) fn sync_name(&self, id: BlobId) -> io::Result<()> {
        match self.path(id).parent() {
            Some(folder) => File::open(folder)?.sync_all(),
            None => Ok(()),
        }
    }

    /// Gives the content of `from` a second name, without copying where the disk can.
    pub(super) fn share(&self, from: BlobId) -> io::Result<BlobId> {
        let to = BlobId::random();
        if std::fs::hard_link(self.path(from), self.path(to)).is_err() {
            std::fs::copy(self.path(from), self.path(to))?;
            self.read(to)?.sync_all()?;
        }
        self.sync_name(to)?;
        Ok(to)
    }

    /// Removes a blob; one that cannot be removed is found again when the store is next opened.
    pub(super) fn remove(&self, id: BlobId) {
        if let Err(error) = std::fs::remove_file(self.path(id)) {
            tracing::warn!(%error, "cannot remove a blob now; it goes when the store next opens");
        }
    }

    /// Removes every file that is not in `kept`, and says how many.
    pub(super) fn retain(&self, kept: &HashSet<BlobId>) -> io::Result<u64> {
        let mut removed = 0;
        for fan in std::fs::read_dir(&self.root)? {
            for item in std::fs::read_dir(fan?.path())? {
                let item = item?;
                let name = item.file_name();
                let id = name.to_str().and_then(|name| u128::from_str_radix(name, 16).ok());
                if id.is_none_or(|id| !kept.contains(&BlobId(id))) {
                    std::fs::remove_file(item.path())?;
                    removed += 1;
                }
            }
        }
        Ok(removed)
    }

    /// Bytes that may still be written, less a reserve for the index.
    pub(super) fn room(&self) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(&self.root)?;
        let total = stat.f_blocks.saturating_mul(stat.f_frsize);
        let reserve = (total / 20).min(16 << 20);
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize).saturating_sub(reserve))
    }
}
