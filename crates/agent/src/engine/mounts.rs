//! The kernel's mount table, read.

use std::path::{Path, PathBuf};

/// One line of `/proc/self/mountinfo`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MountEntry {
    /// The folder of the file system that is mounted.
    pub(crate) root: String,
    /// Where it is mounted.
    pub(crate) point: PathBuf,
    /// The kind of file system.
    pub(crate) kind: String,
    /// The options of the file system itself.
    pub(crate) options: String,
}

/// Reads a mount table; lines that are none are passed over.
///
/// # Source
/// `Documentation/filesystems/proc.rst` §3.5 of the Linux kernel.
pub(crate) fn parse(mountinfo: &str) -> Vec<MountEntry> {
    mountinfo.lines().filter_map(entry).collect()
}

fn entry(line: &str) -> Option<MountEntry> {
    let (mount, file_system) = line.split_once(" - ")?;
    let mut mount = mount.split(' ').skip(3);
    let mut file_system = file_system.split(' ');
    Some(MountEntry {
        root: unescape(mount.next()?),
        point: PathBuf::from(unescape(mount.next()?)),
        kind: file_system.next()?.to_owned(),
        options: file_system.nth(1).unwrap_or_default().to_owned(),
    })
}

/// Turns `\040` and its like back into the characters they stand for.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let code = match (first, tail) {
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..]) => {
                Some((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'))
            }
            _ => None,
        };
        bytes.push(code.unwrap_or(first));
        rest = if code.is_some() { &tail[3..] } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The mount points at or below a folder, deepest first.
pub(crate) fn below(mountinfo: &str, folder: &Path) -> Vec<PathBuf> {
    let mut points: Vec<PathBuf> = parse(mountinfo)
        .into_iter()
        .map(|entry| entry.point)
        .filter(|point| point.starts_with(folder))
        .collect();
    points.sort();
    points.reverse();
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
21 28 0:19 / /sys rw,nosuid - sysfs sysfs rw
99 28 7:0 / /data/a\\040b/scratch/x rw,nosuid,nodev shared:3 - ext4 /dev/loop0 rw,errors=remount-ro
98 28 7:1 /sub /data/a\\040b/scratch/x/y rw - ext4 /dev/loop1 rw
no mount at all
";

    #[test]
    fn a_mount_table_is_read_with_its_escapes() {
        let entries = parse(TABLE);
        assert_eq!(entries.len(), 3);
        assert_eq!(entries[1].point, Path::new("/data/a b/scratch/x"));
        assert_eq!((entries[1].kind.as_str(), entries[2].root.as_str()), ("ext4", "/sub"));
        assert_eq!(entries[1].options, "rw,errors=remount-ro");
    }

    #[test]
    fn the_deepest_mount_comes_first() {
        let points = below(TABLE, Path::new("/data/a b"));
        assert_eq!(points, ["/data/a b/scratch/x/y", "/data/a b/scratch/x"].map(PathBuf::from));
    }
}
