//! How long a thread waited for a processor, and how much of it was its own quota.

use std::fs;
use std::path::{Path, PathBuf};

/// The longest kernel text that is read.
const MAX_TEXT: usize = 64 * 1_024;

/// Nanoseconds that the calling thread spent runnable but not running, since it began: the second
/// number of `schedstat`. Nothing where the kernel doesn't say.
pub(crate) fn waited_ns() -> Option<u64> {
    let text = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// The files that say how long quotas held the calling thread back: those of its control group and
/// of every group around it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Quota {
    files: Vec<PathBuf>,
}

impl Quota {
    /// Finds the files; empty where there are none.
    pub(crate) fn find() -> Self {
        let text = fs::read_to_string("/proc/thread-self/cgroup").unwrap_or_default();
        Self { files: files(&text, Path::new("/sys/fs/cgroup")) }
    }

    /// Nanoseconds of all processors together, ever growing; nothing where no file says.
    pub(crate) fn throttled_ns(&self) -> Option<u64> {
        let texts = self.files.iter().filter_map(|file| fs::read_to_string(file).ok());
        let times: Vec<u64> = texts.filter_map(|text| throttled(&text)).collect();
        (!times.is_empty()).then(|| times.into_iter().fold(0, u64::saturating_add))
    }
}

/// The `cpu.stat` of a group and of the groups around it, by `/proc/thread-self/cgroup`.
fn files(groups: &str, root: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in groups.get(..groups.len().min(MAX_TEXT)).unwrap_or_default().lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(group)) = (parts.next(), parts.next()) else { continue };
        let unified = controllers.is_empty();
        if !unified && !controllers.split(',').any(|one| one == "cpu") {
            continue;
        }
        let mount = if unified { root.to_path_buf() } else { root.join(controllers) };
        let mut group = Path::new(group.trim_start_matches('/'));
        loop {
            files.push(mount.join(group).join("cpu.stat"));
            match group.parent() {
                Some(parent) => group = parent,
                None => break,
            }
        }
    }
    files
}

/// The time in a `cpu.stat`: `throttled_usec` (version 2) or `throttled_time` (version 1, ns).
fn throttled(text: &str) -> Option<u64> {
    let value = |name: &str| {
        let rest = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
        rest.trim().parse::<u64>().ok()
    };
    value("throttled_usec").map(|us| us.saturating_mul(1_000)).or_else(|| value("throttled_time"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_control_groups_are_read() {
        let check = |groups: &str, expected: &[&str]| {
            let found = files(groups, Path::new("/c"));
            let found: Vec<&str> = found.iter().filter_map(|path| path.to_str()).collect();
            assert_eq!(found, expected, "{groups}");
        };
        check("0::/a/b\n", &["/c/a/b/cpu.stat", "/c/a/cpu.stat", "/c/cpu.stat"]);
        check("0::/\n", &["/c/cpu.stat"]);
        check(
            "4:memory:/x\n2:cpu,cpuacct:/d\n",
            &["/c/cpu,cpuacct/d/cpu.stat", "/c/cpu,cpuacct/cpu.stat"],
        );
        check("nonsense", &[]);
        assert_eq!(throttled("nr_periods 5\nnr_throttled 2\nthrottled_time 1500\n"), Some(1_500));
        assert_eq!(throttled("usage_usec 9\nthrottled_usec 3\n"), Some(3_000));
        assert_eq!(throttled("usage_usec 9\n"), None);
    }
}
