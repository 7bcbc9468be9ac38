//! How long a quota of its control group held a thread back.

use std::fs;
use std::path::{Path, PathBuf};

/// The longest kernel text that is read.
const MAX_TEXT: usize = 64 * 1_024;

/// The control groups of a process and all groups around them: any of them may have a quota.
#[derive(Clone, Debug, Default)]
pub struct Quota {
    groups: Vec<PathBuf>,
}

impl Quota {
    /// Of the calling thread.
    #[must_use]
    pub fn find() -> Self {
        Self::of(Path::new("/"), "thread-self")
    }

    /// Of a process, by its name in `/proc`, on the machine whose files are below `root`. Where its
    /// groups cannot be read there is none.
    #[must_use]
    pub fn of(root: &Path, process: &str) -> Self {
        let text = fs::read_to_string(root.join("proc").join(process).join("cgroup"));
        Self { groups: groups(&text.unwrap_or_default(), &root.join("sys/fs/cgroup")) }
    }

    /// Nanoseconds that quotas took, of all processors together, ever growing; nothing where no file
    /// says.
    #[must_use]
    pub fn throttled_ns(&self) -> Option<u64> {
        let texts = self.groups.iter().filter_map(|group| read(group, "cpu.stat"));
        let times: Vec<u64> = texts.filter_map(|text| throttled(&text)).collect();
        (!times.is_empty()).then(|| times.into_iter().fold(0, u64::saturating_add))
    }

    /// The smallest quota, thousandths of a processor; none where there is no quota.
    #[must_use]
    pub fn cores_millis(&self) -> Option<u64> {
        self.groups.iter().filter_map(|group| quota_millis(group)).min()
    }
}

fn read(group: &Path, file: &str) -> Option<String> {
    fs::read_to_string(group.join(file)).ok()
}

/// The folders of a process's group and of the groups around it, by its `/proc/…/cgroup`.
fn groups(membership: &str, root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for line in membership.get(..membership.len().min(MAX_TEXT)).unwrap_or_default().lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(group)) = (parts.next(), parts.next()) else { continue };
        let unified = controllers.is_empty();
        if !unified && !controllers.split(',').any(|one| one == "cpu") {
            continue;
        }
        let mount = if unified { root.to_path_buf() } else { root.join(controllers) };
        let mut group = Path::new(group.trim_start_matches('/'));
        loop {
            found.push(mount.join(group));
            match group.parent() {
                Some(parent) => group = parent,
                None => break,
            }
        }
    }
    found
}

/// The time in a `cpu.stat`: `throttled_usec` (version 2) or `throttled_time` (version 1, ns).
fn throttled(text: &str) -> Option<u64> {
    let value = |name: &str| {
        let rest = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
        rest.trim().parse::<u64>().ok()
    };
    value("throttled_usec").map(|us| us.saturating_mul(1_000)).or_else(|| value("throttled_time"))
}

/// A group's own quota: `cpu.max` (version 2), or `cpu.cfs_quota_us` of `cpu.cfs_period_us`; `max` and
/// `-1` are none.
fn quota_millis(group: &Path) -> Option<u64> {
    let text = read(group, "cpu.max")
        .or_else(|| Some(read(group, "cpu.cfs_quota_us")? + &read(group, "cpu.cfs_period_us")?))?;
    let mut fields = text.split_ascii_whitespace().map(str::parse::<u64>);
    let (quota_us, period_us) = (fields.next()?.ok()?, fields.next()?.ok()?);
    quota_us.checked_mul(1_000)?.checked_div(period_us)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_control_groups_are_read() {
        let check = |groups: &str, expected: &[&str]| {
            let found = super::groups(groups, Path::new("/c"));
            let found: Vec<&str> = found.iter().filter_map(|path| path.to_str()).collect();
            assert_eq!(found, expected, "{groups}");
        };
        check("0::/a/b\n", &["/c/a/b", "/c/a", "/c/"]);
        check("0::/\n", &["/c/"]);
        check("4:memory:/x\n2:cpu,cpuacct:/d\n", &["/c/cpu,cpuacct/d", "/c/cpu,cpuacct/"]);
        check("nonsense", &[]);
        assert_eq!(throttled("nr_periods 5\nnr_throttled 2\nthrottled_time 1500\n"), Some(1_500));
        assert_eq!(throttled("usage_usec 9\nthrottled_usec 3\n"), Some(3_000));
        assert_eq!(throttled("usage_usec 9\n"), None);
    }

    #[test]
    fn the_smallest_quota_around_a_process_holds() {
        let check = |membership: &str, files: &[(&str, &str)], millis, throttled| {
            let root = tempfile::tempdir().unwrap();
            let put = |path: &str, text: &str| {
                let path = root.path().join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            };
            put("proc/7/cgroup", membership);
            for (path, text) in files {
                put(&format!("sys/fs/cgroup/{path}"), text);
            }
            let quota = Quota::of(root.path(), "7");
            assert_eq!((quota.cores_millis(), quota.throttled_ns()), (millis, throttled));
            let gone = Quota::of(root.path(), "8");
            assert_eq!((gone.cores_millis(), gone.throttled_ns()), (None, None));
        };
        check(
            "0::/a/b\n",
            &[
                ("a/b/cpu.max", "max 100000\n"),
                ("a/b/cpu.stat", "throttled_usec 3\n"),
                ("a/cpu.max", "150000 100000\n"),
                ("a/cpu.stat", "throttled_usec 4\n"),
            ],
            Some(1_500),
            Some(7_000),
        );
        check(
            "2:cpu:/d\n",
            &[
                ("cpu/d/cpu.cfs_quota_us", "50000\n"),
                ("cpu/d/cpu.cfs_period_us", "100000\n"),
                ("cpu/d/cpu.stat", "throttled_time 5\n"),
                ("cpu/cpu.cfs_quota_us", "-1\n"),
                ("cpu/cpu.cfs_period_us", "100000\n"),
            ],
            Some(500),
            Some(5),
        );
        check("0::/\n", &[], None, None);
    }
}
