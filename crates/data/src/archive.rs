//! Directories as one object: a tar, made the same each time, unpacked with suspicion.

use std::fs::{File, Metadata};
use std::io::{Read, Write};
use std::path::{Component, Path, PathBuf};

/// What a directory may hold, when packed and when unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArchiveLimits {
    /// The most files and directories.
    pub entries: u64,
    /// The most bytes in all files together.
    pub size_bytes: u64,
    /// The most directories inside one another.
    pub depth: usize,
}

impl Default for ArchiveLimits {
    fn default() -> Self {
        Self { entries: 200_000, size_bytes: 1 << 40, depth: 64 }
    }
}

/// What went through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ArchiveStats {
    /// Files and directories.
    pub entries: u64,
    /// Bytes of all files.
    pub size_bytes: u64,
}

/// Why a directory could not be packed, or an archive not unpacked.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// A file or the archive failed.
    #[error("cannot {action} {path}")]
    File {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A link that leads out of the directory, or to another directory.
    #[error("{0} is a link out of its directory or to a directory; copy what it points to")]
    Link(PathBuf),
    /// A socket, pipe, device, or an archive entry that is neither file nor directory.
    #[error("{0} is neither a file nor a directory")]
    Special(PathBuf),
    /// A name that is not UTF-8, absolute, or climbs.
    #[error("{0:?} is not a relative UTF-8 path that stays below its directory")]
    Name(PathBuf),
    /// A path that is there already.
    #[error("{0} comes twice")]
    Repeated(PathBuf),
    /// Beyond a limit.
    #[error("more than {max} {what}")]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// How much there may be.
        max: u64,
    },
    /// Not an archive, or cut short.
    #[error("cannot read the archive")]
    Malformed(#[source] std::io::Error),
}

/// Writes `dir` to `out` as a tar: sorted by name, without owners and times, so that the same
/// content gives the same bytes (D-50).
///
/// A link to a file inside the directory is packed as that file.
///
/// # Errors
/// [`ArchiveError`] for links out of it, special files, odd names, or beyond `limits`.
pub fn pack(
    dir: &Path,
    out: &mut impl Write,
    limits: ArchiveLimits,
) -> Result<ArchiveStats, ArchiveError> {
    let root = dir.canonicalize().map_err(|source| file("open", dir, source))?;
    let mut builder = tar::Builder::new(out);
    builder.follow_symlinks(false);
    let mut packer = Packer { root, builder, limits, stats: ArchiveStats::default() };
    packer.folder(Path::new(""), 0)?;
    packer.builder.finish().map_err(ArchiveError::Malformed)?;
    Ok(packer.stats)
}

struct Packer<'a, W: Write> {
    root: PathBuf,
    builder: tar::Builder<&'a mut W>,
    limits: ArchiveLimits,
    stats: ArchiveStats,
}

impl<W: Write> Packer<'_, W> {
    fn folder(&mut self, below: &Path, depth: usize) -> Result<(), ArchiveError> {
        if depth > self.limits.depth {
            let max = self.limits.depth as u64;
            return Err(ArchiveError::Limit { what: "directories inside one another", max });
        }
        let here = self.root.join(below);
        let listing = std::fs::read_dir(&here).map_err(|source| file("list", &here, source))?;
        let mut names = Vec::new();
        for item in listing {
            let item = item.map_err(|source| file("list", &here, source))?;
            let name = item.file_name().into_string();
            names.push(name.map_err(|_| ArchiveError::Name(item.path()))?);
            if names.len() as u64 > self.limits.entries {
                return Err(ArchiveError::Limit { what: "entries", max: self.limits.entries });
            }
        }
        names.sort_unstable();
        for name in names {
            self.item(&below.join(name), depth)?;
        }
        Ok(())
    }

    fn item(&mut self, name: &Path, depth: usize) -> Result<(), ArchiveError> {
        let path = self.root.join(name);
        let mut meta = path.symlink_metadata().map_err(|source| file("read", &path, source))?;
        let mut content = path.clone();
        if meta.file_type().is_symlink() {
            content = path.canonicalize().map_err(|_| ArchiveError::Link(path.clone()))?;
            meta = content.metadata().map_err(|source| file("read", &content, source))?;
            if !content.starts_with(&self.root) || !meta.is_file() {
                return Err(ArchiveError::Link(path));
            }
        }
        if meta.is_dir() {
            count(&mut self.stats, self.limits, 0)?;
            let mut header = header(&meta, tar::EntryType::Directory, 0o755, 0);
            let written = self.builder.append_data(&mut header, name, std::io::empty());
            written.map_err(|source| file("pack", &path, source))?;
            self.folder(name, depth + 1)
        } else if meta.is_file() {
            self.content(name, &content)
        } else {
            Err(ArchiveError::Special(path))
        }
    }

    fn content(&mut self, name: &Path, path: &Path) -> Result<(), ArchiveError> {
        let opened = File::open(path).map_err(|source| file("open", path, source))?;
        let meta = opened.metadata().map_err(|source| file("read", path, source))?;
        count(&mut self.stats, self.limits, meta.len())?;
        let mode = if is_executable(&meta) { 0o755 } else { 0o644 };
        let mut header = header(&meta, tar::EntryType::Regular, mode, meta.len());
        // A file that shrinks while it is read must not shift every entry after it.
        let exact = Exact { left: meta.len(), inner: opened };
        let written = self.builder.append_data(&mut header, name, exact);
        written.map_err(|source| file("pack", path, source))
    }
}

/// Gives exactly `left` bytes, or fails.
struct Exact {
    left: u64,
    inner: File,
}

impl Read for Exact {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let want = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if want == 0 {
            return Ok(0);
        }
        let got = self.inner.read(&mut buffer[..want])?;
        if got == 0 {
            return Err(std::io::Error::other("it changed while it was packed"));
        }
        self.left -= got as u64;
        Ok(got)
    }
}

fn is_executable(meta: &Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    meta.permissions().mode() & 0o111 != 0
}

fn header(_meta: &Metadata, kind: tar::EntryType, mode: u32, size: u64) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

fn count(stats: &mut ArchiveStats, limits: ArchiveLimits, size: u64) -> Result<(), ArchiveError> {
    stats.entries = stats.entries.saturating_add(1);
    stats.size_bytes = stats.size_bytes.saturating_add(size);
    if stats.entries > limits.entries {
        return Err(ArchiveError::Limit { what: "entries", max: limits.entries });
    }
    if stats.size_bytes > limits.size_bytes {
        return Err(ArchiveError::Limit { what: "bytes", max: limits.size_bytes });
    }
    Ok(())
}

/// Unpacks a tar into `dest`, a directory that is new or empty (D-51).
///
/// Only files and directories below `dest` are made: no links of either kind, no devices, no
/// `..`, nothing absolute, nothing twice; modes are 0644, 0755; owners and times are not taken.
///
/// # Errors
/// [`ArchiveError`] at the first entry that is refused; what was unpacked until then stays for
/// the caller to remove with `dest`.
pub fn unpack(
    archive: impl Read,
    dest: &Path,
    limits: ArchiveLimits,
) -> Result<ArchiveStats, ArchiveError> {
    std::fs::create_dir_all(dest).map_err(|source| file("create", dest, source))?;
    let mut held = std::fs::read_dir(dest).map_err(|source| file("list", dest, source))?;
    if held.next().is_some() {
        return Err(ArchiveError::Repeated(dest.to_owned()));
    }
    let mut stats = ArchiveStats::default();
    let mut archive = tar::Archive::new(archive);
    let entries = archive.entries().map_err(ArchiveError::Malformed)?;
    for entry in entries {
        let mut entry = entry.map_err(ArchiveError::Malformed)?;
        let name = entry.path().map_err(ArchiveError::Malformed)?.into_owned();
        let Some(path) = placed(dest, &name, limits)? else { continue };
        match entry.header().entry_type() {
            tar::EntryType::Directory => {
                count(&mut stats, limits, 0)?;
                std::fs::create_dir_all(&path).map_err(|source| file("create", &path, source))?;
            }
            tar::EntryType::Regular | tar::EntryType::Continuous => {
                count(&mut stats, limits, entry.size())?;
                let executable = entry.header().mode().unwrap_or(0) & 0o111 != 0;
                unpack_file(&mut entry, &path, executable)?;
            }
            _ => return Err(ArchiveError::Special(name)),
        }
    }
    Ok(stats)
}

/// Where an entry goes; `None` for the directory itself.
fn placed(
    dest: &Path,
    name: &Path,
    limits: ArchiveLimits,
) -> Result<Option<PathBuf>, ArchiveError> {
    let refused = || ArchiveError::Name(name.to_owned());
    if name.to_str().is_none_or(|text| text.contains('\0')) {
        return Err(refused());
    }
    let mut path = dest.to_owned();
    let mut depth = 0_usize;
    for component in name.components() {
        match component {
            Component::Normal(part) => {
                path.push(part);
                depth += 1;
            }
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                return Err(refused());
            }
        }
    }
    if depth > limits.depth.saturating_add(1) {
        let max = limits.depth as u64;
        return Err(ArchiveError::Limit { what: "directories inside one another", max });
    }
    Ok((depth > 0).then_some(path))
}

fn unpack_file(content: &mut impl Read, path: &Path, executable: bool) -> Result<(), ArchiveError> {
    use std::os::unix::fs::OpenOptionsExt;
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|source| file("create", folder, source))?;
    }
    let mode = if executable { 0o755 } else { 0o644 };
    let opened = std::fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    let mut out = opened.map_err(|source| match source.kind() {
        std::io::ErrorKind::AlreadyExists => ArchiveError::Repeated(path.to_owned()),
        _ => file("create", path, source),
    })?;
    std::io::copy(content, &mut out).map_err(|source| file("unpack", path, source))?;
    Ok(())
}

fn file(action: &'static str, path: &Path, source: std::io::Error) -> ArchiveError {
    ArchiveError::File { action, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn packed(dir: &Path) -> Result<Vec<u8>, ArchiveError> {
        let mut out = Vec::new();
        pack(dir, &mut out, ArchiveLimits::default()).map(|_| out)
    }

    #[test]
    fn a_directory_comes_back_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("in");
        std::fs::create_dir_all(root.join("deep/empty")).unwrap();
        std::fs::write(root.join("b.txt"), b"bee").unwrap();
        std::fs::write(root.join("deep/\u{fc}ber.txt"), b"over").unwrap();
        let long = format!("deep/{}", "n".repeat(200));
        std::fs::write(root.join(&long), b"long").unwrap();
        symlink("b.txt", root.join("same.txt")).unwrap();
        let first = packed(&root).unwrap();
        assert_eq!(first, packed(&root).unwrap(), "packing is deterministic");
        let out = dir.path().join("out");
        let stats = unpack(&first[..], &out, ArchiveLimits::default()).unwrap();
        assert_eq!(stats, ArchiveStats { entries: 6, size_bytes: 3 + 4 + 4 + 3 });
        assert_eq!(std::fs::read(out.join("deep/\u{fc}ber.txt")).unwrap(), b"over");
        assert_eq!(std::fs::read(out.join(long)).unwrap(), b"long");
        assert_eq!(std::fs::read(out.join("same.txt")).unwrap(), b"bee");
        assert!(out.join("deep/empty").is_dir());
        let again = unpack(&first[..], &out, ArchiveLimits::default());
        assert!(matches!(again, Err(ArchiveError::Repeated(_))), "only into an empty directory");
    }

    #[test]
    fn links_out_and_special_files_are_not_packed() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("secret"), b"x").unwrap();
        let check = |target: &str| {
            let root = tempfile::tempdir_in(dir.path()).unwrap();
            symlink(target, root.path().join("link")).unwrap();
            let got = packed(root.path());
            assert!(matches!(got, Err(ArchiveError::Link(_))), "{target}: {got:?}");
        };
        check("../secret");
        check("/etc/passwd");
        check("nowhere");
        check(".");
        let root = tempfile::tempdir_in(dir.path()).unwrap();
        let socket = std::os::unix::net::UnixListener::bind(root.path().join("socket"));
        assert!(socket.is_ok());
        assert!(matches!(packed(root.path()), Err(ArchiveError::Special(_))));
    }

    /// One entry, its name written past every check of the library.
    fn entry(name: &str, kind: tar::EntryType, link: &str, content: &[u8]) -> Vec<u8> {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        header.set_mode(0o777);
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.as_mut_bytes()[157..157 + link.len()].copy_from_slice(link.as_bytes());
        header.set_cksum();
        let mut out = header.as_bytes().to_vec();
        out.extend_from_slice(content);
        out.resize(out.len().next_multiple_of(512), 0);
        out
    }

    #[test]
    fn hostile_archives_are_refused() {
        use tar::EntryType as T;
        let check = |what: &str, bytes: &[u8]| {
            let dir = tempfile::tempdir().unwrap();
            let dest = dir.path().join("a/b");
            let got = unpack(bytes, &dest, ArchiveLimits { entries: 3, size_bytes: 64, depth: 4 });
            assert!(got.is_err(), "{what}");
            let outside: Vec<_> = std::fs::read_dir(dir.path()).unwrap().collect();
            assert_eq!(outside.len(), 1, "{what}: something was made outside");
        };
        check("parent", &entry("../../x", T::Regular, "", b"x"));
        check("hidden parent", &entry("a/../../../x", T::Regular, "", b"x"));
        check("absolute", &entry("/tmp/pouw-x", T::Regular, "", b"x"));
        check("symlink", &entry("l", T::Symlink, "/etc", b""));
        check("hard link", &entry("l", T::Link, "/etc/passwd", b""));
        check("device", &entry("d", T::Char, "", b""));
        check("pipe", &entry("p", T::Fifo, "", b""));
        check("too large", &entry("big", T::Regular, "", &[0; 65]));
        check("too deep", &entry("a/b/c/d/e/f", T::Regular, "", b""));
        check(
            "twice",
            &[entry("x", T::Regular, "", b"1"), entry("x", T::Regular, "", b"2")].concat(),
        );
        let many: Vec<u8> =
            (0..4).flat_map(|n| entry(&format!("f{n}"), T::Regular, "", b"")).collect();
        check("too many", &many);
        check("cut short", &entry("x", T::Regular, "", &[7; 60])[..530]);
        check("no archive", &[b'x'; 1024]);
    }
}
