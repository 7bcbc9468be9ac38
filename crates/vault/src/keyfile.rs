//! Keys of things that run unattended.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use alloy_primitives::B256;
use alloy_signer_local::PrivateKeySigner;
use zeroize::Zeroizing;

use crate::file::{read_bounded, write_private};

/// An unattended key can't be loaded or made.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The file can't be read or written.
    #[error("cannot use the key file {}", .0.display())]
    File(PathBuf, #[source] io::Error),
    /// Others can read it.
    #[error("the key file {} is readable by others (mode {mode:o}): run `chmod 600` on it", .path.display())]
    Open {
        /// Which file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It holds no key.
    #[error("the key file {} does not hold one key of 64 hex digits", .0.display())]
    Malformed(PathBuf),
}

const MAX_KEY_BYTES: u64 = 128;

/// Loads the secp256k1 key of a file, 64 hex digits; makes a new one where there is none.
///
/// # Errors
/// [`KeyFileError`]; a file that others can read is refused.
pub fn load_or_create(path: &Path) -> Result<PrivateKeySigner, KeyFileError> {
    let failed = |error| KeyFileError::File(path.to_owned(), error);
    match std::fs::metadata(path) {
        Ok(metadata) => {
            let mode = metadata.permissions().mode() & 0o777;
            if mode & 0o077 != 0 {
                return Err(KeyFileError::Open { path: path.to_owned(), mode });
            }
            let content = Zeroizing::new(read_bounded(path, MAX_KEY_BYTES).map_err(failed)?);
            let malformed = || KeyFileError::Malformed(path.to_owned());
            let text = core::str::from_utf8(&content).map_err(|_| malformed())?;
            let mut bytes = Zeroizing::new([0; 32]);
            hex::decode_to_slice(text.trim(), bytes.as_mut_slice()).map_err(|_| malformed())?;
            PrivateKeySigner::from_bytes(&B256::from(*bytes)).map_err(|_| malformed())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let key = PrivateKeySigner::random();
            let text = Zeroizing::new(hex::encode(key.to_bytes()));
            write_private(path, text.as_bytes()).map_err(failed)?;
            Ok(key)
        }
        Err(error) => Err(failed(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_then_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("machine.key");
        let made = load_or_create(&path).unwrap();
        assert_eq!(load_or_create(&path).unwrap().address(), made.address());
    }

    #[test]
    fn a_bad_key_file_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("machine.key");
        let zero = "00".repeat(32);
        let long = "11".repeat(65);
        for content in ["", "xyz", zero.as_str(), long.as_str()] {
            write_private(&path, content.as_bytes()).unwrap();
            let error = load_or_create(&path).unwrap_err();
            assert!(error.to_string().contains("machine.key"), "{error}");
        }
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(load_or_create(&path), Err(KeyFileError::Open { mode: 0o644, .. })));
    }
}
