//! A devnet's data folder: its version, its lock, the ports it keeps, its store's credentials.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};

/// What a data folder is laid out like; another number is not touched.
const VERSION: &str = "1";

/// A devnet's data folder, locked for this process.
#[derive(Debug)]
pub struct Folder {
    root: PathBuf,
    // Held until the process ends, however it ends.
    _lock: File,
}

/// A data folder can't be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The file system said no.
    #[error("cannot use {}", .0.display())]
    File(PathBuf, #[source] io::Error),
    /// Somebody uses it.
    #[error("{} is in use by another pouw: stop that one, or choose another --data", .0.display())]
    Locked(PathBuf),
    /// It is another program's, or another version's.
    #[error(
        "{} holds {found}, this program reads version {VERSION}: choose another --data, or \
         `pouw devnet reset`",
        .path.display()
    )]
    Version {
        /// The folder.
        path: PathBuf,
        /// What is there.
        found: String,
    },
    /// A port is taken.
    #[error("cannot listen on {address} for {what}: stop what uses it, or choose another address")]
    Port {
        /// Which address.
        address: SocketAddr,
        /// For which door.
        what: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Folder {
    /// Makes or takes up a folder.
    ///
    /// # Errors
    /// [`FolderError`]; a folder with foreign content is left as it is.
    pub fn open(root: &Path) -> Result<Self, FolderError> {
        let failed = |error| FolderError::File(root.to_owned(), error);
        std::fs::create_dir_all(root).map_err(failed)?;
        let marker = root.join("version");
        match std::fs::read_to_string(&marker) {
            Ok(version) if version.trim() == VERSION => {}
            Ok(version) => {
                let found = format!("version {}", version.trim());
                return Err(FolderError::Version { path: root.to_owned(), found });
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if std::fs::read_dir(root).map_err(failed)?.next().is_some() {
                    let found = "other files".to_owned();
                    return Err(FolderError::Version { path: root.to_owned(), found });
                }
                pouw_vault::write_private(&marker, VERSION.as_bytes()).map_err(failed)?;
            }
            Err(error) => return Err(failed(error)),
        }
        let path = root.join("lock");
        let lock = File::create(&path).map_err(|error| FolderError::File(path, error))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { root: root.to_owned(), _lock: lock }),
            Err(std::fs::TryLockError::WouldBlock) => Err(FolderError::Locked(root.to_owned())),
            Err(std::fs::TryLockError::Error(error)) => Err(failed(error)),
        }
    }

    /// A path in it.
    #[must_use]
    pub fn join(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The folder itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// Listens for one door. Port 0 takes the port that this folder used before, or a free one
    /// that it keeps from now on.
    ///
    /// # Errors
    /// [`FolderError::Port`] where the address is taken.
    pub fn listen(
        &self,
        what: &'static str,
        asked: SocketAddr,
    ) -> Result<TcpListener, FolderError> {
        let address = self.kept(what, asked);
        let refused = |source| FolderError::Port { address, what, source };
        let listener = TcpListener::bind(address).map_err(refused)?;
        listener.set_nonblocking(true).map_err(refused)?;
        self.keep(what, listener.local_addr().map_err(refused)?.port())?;
        Ok(listener)
    }

    /// An address for peers (UDP), with a port that is kept as that of [`Folder::listen`] is. It
    /// is bound again by whoever uses it.
    ///
    /// # Errors
    /// [`FolderError::Port`] where the address is taken.
    pub fn peer_address(&self, asked: SocketAddr) -> Result<SocketAddr, FolderError> {
        let what = "peers";
        let address = self.kept(what, asked);
        let refused = |source| FolderError::Port { address, what, source };
        let found = UdpSocket::bind(address).and_then(|socket| socket.local_addr());
        let found = found.map_err(refused)?;
        self.keep(what, found.port())?;
        Ok(found)
    }

    fn ports(&self) -> BTreeMap<String, u16> {
        let text = std::fs::read(self.join("ports.json")).ok();
        text.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
    }

    /// The address that was asked for, with the port that was used before.
    fn kept(&self, what: &str, mut asked: SocketAddr) -> SocketAddr {
        if asked.port() == 0 {
            asked.set_port(self.ports().get(what).copied().unwrap_or(0));
        }
        asked
    }

    fn keep(&self, what: &str, port: u16) -> Result<(), FolderError> {
        let mut kept = self.ports();
        if kept.insert(what.to_owned(), port) != Some(port) {
            let path = self.join("ports.json");
            let json = serde_json::to_vec(&kept).unwrap_or_default();
            pouw_vault::write_private(&path, &json)
                .map_err(|error| FolderError::File(path, error))?;
        }
        Ok(())
    }

    /// The store's access keys in a file as AWS tools keep it, made once.
    ///
    /// # Errors
    /// [`FolderError::File`].
    pub fn credentials(&self) -> Result<PathBuf, FolderError> {
        let path = self.join("s3-credentials");
        if !path.exists() {
            let made = pouw_data::S3Credentials::generate();
            let text = format!(
                "[default]\naws_access_key_id = {}\naws_secret_access_key = {}\n",
                made.access_key(),
                made.expose_secret()
            );
            pouw_vault::write_private(&path, text.as_bytes())
                .map_err(|error| FolderError::File(path.clone(), error))?;
        }
        Ok(path)
    }

    /// Deletes a devnet's folder; one that isn't a devnet's is refused.
    ///
    /// # Errors
    /// [`FolderError`], also while a devnet runs in it.
    pub fn remove(root: &Path) -> Result<(), FolderError> {
        if !root.exists() {
            return Ok(());
        }
        let folder = Self::open(root)?;
        std::fs::remove_dir_all(&folder.root)
            .map_err(|error| FolderError::File(root.to_owned(), error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_at_a_time_and_only_folders_of_ours() {
        let outer = tempfile::tempdir().unwrap();
        let root = outer.path().join("net");
        let first = Folder::open(&root).unwrap();
        assert!(matches!(Folder::open(&root), Err(FolderError::Locked(_))));
        assert!(matches!(Folder::remove(&root), Err(FolderError::Locked(_))));
        drop(first);
        drop(Folder::open(&root).unwrap());
        std::fs::write(root.join("version"), "9").unwrap();
        let error = Folder::open(&root).unwrap_err().to_string();
        assert!(error.contains("holds version 9"), "{error}");
        std::fs::write(root.join("version"), VERSION).unwrap();
        Folder::remove(&root).unwrap();
        assert!(!root.exists());
        std::fs::write(outer.path().join("mine.txt"), "dear").unwrap();
        assert!(matches!(Folder::remove(outer.path()), Err(FolderError::Version { .. })));
        assert!(outer.path().join("mine.txt").exists());
    }

    #[test]
    fn a_free_port_is_chosen_once_and_a_taken_one_is_told() {
        let outer = tempfile::tempdir().unwrap();
        let folder = Folder::open(&outer.path().join("net")).unwrap();
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let first = folder.listen("node", any).unwrap().local_addr().unwrap();
        let held = folder.listen("node", any).unwrap();
        assert_eq!(held.local_addr().unwrap(), first);
        let other = folder.listen("store", any).unwrap().local_addr().unwrap();
        assert_ne!(other.port(), first.port());
        let error = folder.listen("node", any).unwrap_err().to_string();
        assert!(error.contains(&first.to_string()), "{error}");
    }

    #[test]
    fn credentials_are_made_once() {
        let outer = tempfile::tempdir().unwrap();
        let folder = Folder::open(&outer.path().join("net")).unwrap();
        let path = folder.credentials().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(pouw_data::S3Credentials::from_profile(&path, "default").is_ok());
        folder.credentials().unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    }
}
