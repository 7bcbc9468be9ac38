//! What left a task, object by object.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use alloy_primitives::B256;
use serde::{Deserialize, Serialize};

use crate::slots::is_relative;

/// The most objects of one manifest: every part, every archive, log and room for inputs.
const MAX_ENTRIES: usize = 20_000;
/// The largest encoded manifest, in bytes.
const MAX_JSON_BYTES: usize = 16 << 20;
/// The longest path, in bytes.
const MAX_PATH_BYTES: usize = 1024;
/// The version of the encoding.
const VERSION: u32 = 1;
/// Separates this use of BLAKE3 from every other.
const CONTEXT: &str = "pouw 2026-11-22 data manifest root v1";

/// Why a manifest cannot be made or accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// More objects than allowed.
    #[error("{0} objects are more than the {MAX_ENTRIES} of a manifest")]
    TooMany(usize),
    /// The encoded manifest is too large.
    #[error("a manifest of {0} bytes is larger than the {MAX_JSON_BYTES} allowed")]
    TooLarge(usize),
    /// A path that could leave its folder.
    #[error("path {0:?} must be relative, without empty, '.' or '..' segments")]
    Path(String),
    /// A path that comes twice.
    #[error("path {0:?} comes twice")]
    Repeated(String),
    /// A part number that comes twice or is 0.
    #[error("part {0} comes twice or is 0; parts count from 1")]
    Part(u32),
    /// The encoded manifest is not one.
    #[error("cannot read the manifest: {0}")]
    Malformed(String),
    /// A version this program does not know.
    #[error("manifest version {0} is not {VERSION}")]
    Version(u32),
}

/// Why a folder does not hold what its manifest says.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// An object is missing or cannot be read.
    #[error("cannot read {path:?} of the manifest")]
    Read {
        /// Its path in the manifest.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// An object is no regular file (or a link stands in its way).
    #[error("{0:?} of the manifest is not a regular file")]
    NotAFile(String),
    /// An object has another size.
    #[error("{path:?} has {found} bytes, the manifest says {expected}")]
    Size {
        /// Its path in the manifest.
        path: String,
        /// Bytes by the manifest.
        expected: u64,
        /// Bytes found; reading stops one beyond `expected`.
        found: u64,
    },
    /// An object has other content.
    #[error("{0:?} does not have the digest that the manifest says")]
    Digest(String),
}

/// One object of a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestEntry {
    /// Its path below the task's prefix.
    pub path: String,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// Its BLAKE3 digest.
    pub blake3: B256,
    /// The number of the part it is, from 1; `None` for log and archives.
    pub part: Option<u32>,
}

/// Every object of a task, sorted by path, with one root over all (D-30).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Manifest {
    entries: Vec<ManifestEntry>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Encoded<E> {
    version: u32,
    root: B256,
    entries: E,
}

impl Manifest {
    /// Checks and sorts the objects.
    ///
    /// # Errors
    /// [`ManifestError`] for too many objects, a bad or repeated path, or a repeated part.
    pub fn new(mut entries: Vec<ManifestEntry>) -> Result<Self, ManifestError> {
        if entries.len() > MAX_ENTRIES {
            return Err(ManifestError::TooMany(entries.len()));
        }
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        let mut parts = BTreeMap::new();
        for (place, entry) in entries.iter().enumerate() {
            let shown = || entry.path.chars().take(80).collect::<String>();
            if !is_relative(&entry.path) || entry.path.len() > MAX_PATH_BYTES {
                return Err(ManifestError::Path(shown()));
            }
            if place > 0 && entries[place - 1].path == entry.path {
                return Err(ManifestError::Repeated(shown()));
            }
            if let Some(part) = entry.part
                && (part == 0 || parts.insert(part, ()).is_some())
            {
                return Err(ManifestError::Part(part));
            }
        }
        Ok(Self { entries })
    }

    /// The objects, sorted by path.
    #[must_use]
    pub fn entries(&self) -> &[ManifestEntry] {
        &self.entries
    }

    /// The object of part `number`.
    #[must_use]
    pub fn part(&self, number: u32) -> Option<&ManifestEntry> {
        self.entries.iter().find(|entry| entry.part == Some(number))
    }

    /// The digest over all of it that receipts carry.
    ///
    /// BLAKE3 in derive-key mode over the version, the count, and per object in path order:
    /// length and bytes of the path, size, digest, part (0 for none). Integers are big-endian:
    /// version and part u32, the others u64. Every field has a fixed place or a length before it,
    /// so no two manifests share an encoding.
    #[must_use]
    pub fn root(&self) -> B256 {
        let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
        hasher.update(&VERSION.to_be_bytes());
        hasher.update(&(self.entries.len() as u64).to_be_bytes());
        for entry in &self.entries {
            hasher.update(&(entry.path.len() as u64).to_be_bytes());
            hasher.update(entry.path.as_bytes());
            hasher.update(&entry.size_bytes.to_be_bytes());
            hasher.update(entry.blake3.as_slice());
            hasher.update(&entry.part.unwrap_or(0).to_be_bytes());
        }
        B256::from(*hasher.finalize().as_bytes())
    }

    /// The manifest as JSON, with its root.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let encoded = Encoded { version: VERSION, root: self.root(), entries: &self.entries };
        // Strings, integers and hashes only: encoding them cannot fail.
        serde_json::to_vec_pretty(&encoded).unwrap_or_default()
    }

    /// Reads a manifest; its root must be the one it states.
    ///
    /// # Errors
    /// [`ManifestError`] for anything that [`to_json`](Self::to_json) would not have written.
    pub fn from_json(json: &[u8]) -> Result<Self, ManifestError> {
        if json.len() > MAX_JSON_BYTES {
            return Err(ManifestError::TooLarge(json.len()));
        }
        let encoded: Encoded<Vec<ManifestEntry>> =
            serde_json::from_slice(json).map_err(|e| ManifestError::Malformed(e.to_string()))?;
        if encoded.version != VERSION {
            return Err(ManifestError::Version(encoded.version));
        }
        let manifest = Self::new(encoded.entries)?;
        if manifest.root() != encoded.root {
            return Err(ManifestError::Malformed("its root is not that of its objects".into()));
        }
        Ok(manifest)
    }

    /// Checks that `dir` holds every object as stated; other files do not matter.
    ///
    /// # Errors
    /// [`VerifyError`] names the first object that is missing or different.
    pub fn verify_dir(&self, dir: &Path) -> Result<(), VerifyError> {
        self.verify_objects(|entry| {
            let path = dir.join(&entry.path);
            refuse_links(dir, &path).map_err(std::io::Error::other)?;
            let file = std::fs::File::open(&path)?;
            if file.metadata()?.is_file() {
                Ok(file)
            } else {
                Err(std::io::ErrorKind::IsADirectory.into())
            }
        })
    }

    /// Checks every object as `open` gives it.
    ///
    /// # Errors
    /// [`VerifyError`] names the first object that is missing or different.
    pub fn verify_objects<R: Read>(
        &self,
        mut open: impl FnMut(&ManifestEntry) -> std::io::Result<R>,
    ) -> Result<(), VerifyError> {
        for entry in &self.entries {
            let read = |source: std::io::Error| match source.kind() {
                std::io::ErrorKind::IsADirectory | std::io::ErrorKind::Other => {
                    VerifyError::NotAFile(entry.path.clone())
                }
                _ => VerifyError::Read { path: entry.path.clone(), source },
            };
            let reader = open(entry).map_err(read)?;
            let mut hasher = blake3::Hasher::new();
            hasher
                .update_reader(reader.take(entry.size_bytes.saturating_add(1)))
                .map_err(|source| VerifyError::Read { path: entry.path.clone(), source })?;
            if hasher.count() != entry.size_bytes {
                return Err(VerifyError::Size {
                    path: entry.path.clone(),
                    expected: entry.size_bytes,
                    found: hasher.count(),
                });
            }
            if hasher.finalize().as_bytes() != entry.blake3.as_slice() {
                return Err(VerifyError::Digest(entry.path.clone()));
            }
        }
        Ok(())
    }
}

/// Refuses a path any part of which below `dir` is a symbolic link.
fn refuse_links(dir: &Path, path: &Path) -> Result<(), String> {
    let mut at: PathBuf = path.to_owned();
    while at.as_path() != dir {
        if at.symlink_metadata().is_ok_and(|meta| meta.file_type().is_symlink()) {
            return Err(format!("{} is a symbolic link", at.display()));
        }
        if !at.pop() {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry(path: &str, content: &[u8], part: Option<u32>) -> ManifestEntry {
        ManifestEntry {
            path: path.into(),
            size_bytes: content.len() as u64,
            blake3: B256::from(*blake3::hash(content).as_bytes()),
            part,
        }
    }

    #[test]
    fn the_root_is_pinned() {
        let manifest = Manifest::new(vec![entry("b", b"2", Some(1)), entry("a", b"1", None)]);
        let expected = "0xf8044ed1288cd2c929f23890fc43a1f25cce3e034e5f7d7079e5a865644598d1";
        assert_eq!(manifest.unwrap().root().to_string(), expected);
    }

    #[test]
    fn bad_paths_and_parts_are_refused() {
        for path in ["", "/a", "../a", "a/../b", "a//b", "a\\b", "a\0", &"x".repeat(1025)] {
            let got = Manifest::new(vec![entry(path, b"", None)]);
            assert!(matches!(got, Err(ManifestError::Path(_))), "{path:.20}");
        }
        let twice = Manifest::new(vec![entry("a", b"", None), entry("a", b"", None)]);
        assert_eq!(twice, Err(ManifestError::Repeated("a".into())));
        let parts = Manifest::new(vec![entry("a", b"", Some(1)), entry("b", b"", Some(1))]);
        assert_eq!(parts, Err(ManifestError::Part(1)));
        assert_eq!(Manifest::new(vec![entry("a", b"", Some(0))]), Err(ManifestError::Part(0)));
        let many = Manifest::new(vec![entry("a", b"", None); MAX_ENTRIES + 1]);
        assert_eq!(many, Err(ManifestError::TooMany(MAX_ENTRIES + 1)));
    }

    #[test]
    fn an_altered_manifest_is_refused() {
        let manifest = Manifest::new(vec![entry("a", b"1", Some(1))]).unwrap();
        let json = String::from_utf8(manifest.to_json()).unwrap();
        assert_eq!(Manifest::from_json(json.as_bytes()).unwrap(), manifest);
        for (from, to) in [
            ("\"size_bytes\": 1", "\"size_bytes\": 2"),
            ("\"version\": 1", "\"version\": 2"),
            ("\"path\": \"a\"", "\"path\": \"../a\""),
            ("\"entries\"", "\"extra\": 1, \"entries\""),
        ] {
            let altered = json.replacen(from, to, 1);
            assert_ne!(altered, json, "{from}");
            assert!(Manifest::from_json(altered.as_bytes()).is_err(), "{from}");
        }
        let huge = vec![b' '; MAX_JSON_BYTES + 1];
        assert_eq!(Manifest::from_json(&huge), Err(ManifestError::TooLarge(huge.len())));
    }

    #[test]
    fn a_folder_is_checked_object_by_object() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("frames")).unwrap();
        let frame = dir.path().join("frames/1.png");
        std::fs::write(&frame, b"pixels").unwrap();
        let manifest = Manifest::new(vec![entry("frames/1.png", b"pixels", Some(1))]).unwrap();
        manifest.verify_dir(dir.path()).unwrap();
        std::fs::write(&frame, b"pixelz").unwrap();
        assert!(matches!(manifest.verify_dir(dir.path()), Err(VerifyError::Digest(_))));
        std::fs::write(&frame, b"pixels and more").unwrap();
        assert!(matches!(manifest.verify_dir(dir.path()), Err(VerifyError::Size { found: 7, .. })));
        std::fs::remove_file(&frame).unwrap();
        assert!(matches!(manifest.verify_dir(dir.path()), Err(VerifyError::Read { .. })));
        let elsewhere = dir.path().join("elsewhere");
        std::fs::write(&elsewhere, b"pixels").unwrap();
        std::os::unix::fs::symlink(&elsewhere, &frame).unwrap();
        assert!(matches!(manifest.verify_dir(dir.path()), Err(VerifyError::NotAFile(_))));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn order_of_entry_does_not_matter_and_json_round_trips(
            contents in proptest::collection::btree_map("[a-z]{1,8}(/[a-z]{1,4}){0,2}", any::<[u8; 4]>(), 0..12)
        ) {
            let entries: Vec<_> = contents.iter().map(|(path, c)| entry(path, c, None)).collect();
            let mut reversed = entries.clone();
            reversed.reverse();
            let (a, b) = (Manifest::new(entries).unwrap(), Manifest::new(reversed).unwrap());
            prop_assert_eq!(a.root(), b.root());
            prop_assert_eq!(Manifest::from_json(&a.to_json()).unwrap(), a);
        }

        #[test]
        fn no_bytes_make_decoding_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Manifest::from_json(&bytes).is_err());
        }
    }
}
