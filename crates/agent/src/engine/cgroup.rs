//! Control groups: what a container uses and which limits hold, on version 1, version 2 and both.

use std::path::{Path, PathBuf};

use pouw_bench::Quota;

use super::mounts::{self, MountEntry};
use super::{CgroupLayout, Stats};

/// The limits the kernel holds a group to; none where there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EffectiveLimits {
    /// Processor time, in thousandths of a core.
    pub cpu_millis: Option<u64>,
    /// Memory, in bytes.
    pub memory_bytes: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
}

/// Which layout a mount table shows.
#[must_use]
pub fn layout(mountinfo: &str) -> CgroupLayout {
    let entries = mounts::parse(mountinfo);
    let controller = |entry: &MountEntry| {
        entry.kind == "cgroup"
            && ["cpu", "memory", "pids"].iter().any(|name| has_option(entry, name))
    };
    let on_version_1 = entries.iter().any(controller);
    let version_2 = entries.iter().any(|entry| entry.kind == "cgroup2");
    match (on_version_1, version_2) {
        (false, true) => CgroupLayout::V2,
        (true, true) => CgroupLayout::Hybrid,
        (_, false) => CgroupLayout::V1,
    }
}

fn has_option(entry: &MountEntry, name: &str) -> bool {
    entry.options.split(',').any(|option| option == name)
}

/// The folders of one process's groups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Groups {
    cpu: Option<PathBuf>,
    cpuacct: Option<PathBuf>,
    memory: Option<PathBuf>,
    pids: Option<PathBuf>,
    unified: Option<PathBuf>,
}

/// Finds a process's groups from its `/proc/<pid>/cgroup` and the mount table.
fn groups(membership: &str, mountinfo: &str) -> Groups {
    let entries = mounts::parse(mountinfo);
    let mut found = Groups::default();
    for line in membership.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        if controllers.is_empty() {
            let mount = entries.iter().find(|entry| entry.kind == "cgroup2");
            found.unified = mount.map(|entry| folder(entry, path));
            continue;
        }
        for controller in controllers.split(',') {
            let slot = match controller {
                "cpu" => &mut found.cpu,
                "cpuacct" => &mut found.cpuacct,
                "memory" => &mut found.memory,
                "pids" => &mut found.pids,
                _ => continue,
            };
            let mount = entries
                .iter()
                .find(|entry| entry.kind == "cgroup" && has_option(entry, controller));
            *slot = mount.map(|entry| folder(entry, path));
        }
    }
    found
}

/// A group's folder below its mount, which may show a part of the hierarchy only.
fn folder(mount: &MountEntry, path: &str) -> PathBuf {
    let inside = path.strip_prefix(mount.root.trim_end_matches('/')).unwrap_or(path);
    mount.point.join(inside.trim_start_matches('/'))
}

/// Control groups as they are seen below a root folder, `/` but in tests.
#[derive(Clone, Debug)]
pub(crate) struct Cgroups {
    root: PathBuf,
}

impl Cgroups {
    pub(crate) fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    fn at(&self, path: &Path) -> PathBuf {
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    fn text(&self, path: &Path) -> Option<String> {
        std::fs::read_to_string(self.at(path)).ok()
    }

    fn groups_of(&self, pid: u32) -> Option<Groups> {
        let membership = self.text(Path::new(&format!("/proc/{pid}/cgroup")))?;
        let mountinfo = self.text(Path::new("/proc/self/mountinfo"))?;
        Some(groups(&membership, &mountinfo))
    }

    /// What the groups of a process use; none where they cannot be read.
    pub(crate) fn usage(&self, pid: u32) -> Option<Stats> {
        let groups = self.groups_of(pid)?;
        let read = |group: &Option<PathBuf>, file: &str| self.text(&group.as_ref()?.join(file));
        let mut stats = Stats::default();
        if let Some(usage) = read(&groups.cpuacct, "cpuacct.usage") {
            stats.cpu_ns = number(&usage)?;
            stats.memory_bytes = number(&read(&groups.memory, "memory.usage_in_bytes")?)?;
            let dropped = read(&groups.memory, "memory.stat")
                .and_then(|text| value(&text, "total_inactive_file"));
            stats.memory_bytes = stats.memory_bytes.saturating_sub(dropped.unwrap_or(0));
            stats.memory_peak_bytes = read(&groups.memory, "memory.max_usage_in_bytes")
                .and_then(|text| number(&text))
                .unwrap_or(0);
            stats.oom_kills = read(&groups.memory, "memory.oom_control")
                .and_then(|text| value(&text, "oom_kill"))
                .unwrap_or(0);
            stats.pids =
                read(&groups.pids, "pids.current").and_then(|text| number(&text)).unwrap_or(0);
        } else {
            let unified = &groups.unified;
            stats.cpu_ns = value(&read(unified, "cpu.stat")?, "usage_usec")?.saturating_mul(1_000);
            stats.memory_bytes = number(&read(unified, "memory.current")?)?;
            let dropped =
                read(unified, "memory.stat").and_then(|text| value(&text, "inactive_file"));
            stats.memory_bytes = stats.memory_bytes.saturating_sub(dropped.unwrap_or(0));
            stats.memory_peak_bytes =
                read(unified, "memory.peak").and_then(|text| number(&text)).unwrap_or(0);
            stats.oom_kills = read(unified, "memory.events")
                .and_then(|text| value(&text, "oom_kill"))
                .unwrap_or(0);
            stats.pids = read(unified, "pids.current").and_then(|text| number(&text)).unwrap_or(0);
        }
        let quota = Quota::of(&self.root, &pid.to_string());
        stats.throttled_ns = quota.throttled_ns().unwrap_or(0);
        stats.quota_millis = quota.cores_millis();
        stats.memory_limit_bytes = self.limits(pid)?.memory_bytes.unwrap_or(0);
        let (received, sent) = self
            .text(Path::new(&format!("/proc/{pid}/net/dev")))
            .map_or((0, 0), |text| traffic(&text));
        (stats.received_bytes, stats.sent_bytes) = (received, sent);
        Some(stats)
    }

    /// The limits of the groups of a process; none where they cannot be read.
    pub(crate) fn limits(&self, pid: u32) -> Option<EffectiveLimits> {
        let groups = self.groups_of(pid)?;
        let read = |group: &Option<PathBuf>, file: &str| self.text(&group.as_ref()?.join(file));
        let on_version_1 = groups.memory.is_some();
        let cpu_millis = if groups.cpu.is_some() {
            let quota = read(&groups.cpu, "cpu.cfs_quota_us").and_then(|text| number(&text));
            let period = read(&groups.cpu, "cpu.cfs_period_us").and_then(|text| number(&text));
            millis(quota, period)
        } else {
            let text = read(&groups.unified, "cpu.max").unwrap_or_default();
            let mut fields = text.split_whitespace();
            let quota = fields.next().and_then(number);
            millis(quota, fields.next().and_then(number))
        };
        let memory = if on_version_1 {
            read(&groups.memory, "memory.limit_in_bytes")
        } else {
            read(&groups.unified, "memory.max")
        };
        let pids = if groups.pids.is_some() {
            read(&groups.pids, "pids.max")
        } else {
            read(&groups.unified, "pids.max")
        };
        Some(EffectiveLimits {
            cpu_millis,
            memory_bytes: memory.and_then(|text| number(&text)).filter(|n| *n < NO_LIMIT),
            pids: pids.and_then(|text| number(&text)),
        })
    }
}

/// Version 1 spells "no limit" as the largest multiple of a page below 2⁶³.
const NO_LIMIT: u64 = 1 << 62;

/// A number alone; `max`, `-1` and anything else is none.
fn number(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// The number beside a name.
fn value(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ').and_then(number))
}

fn millis(quota_us: Option<u64>, period_us: Option<u64>) -> Option<u64> {
    quota_us?.checked_mul(1_000)?.checked_div(period_us?)
}

/// Bytes received and sent by all interfaces but the loopback.
fn traffic(net_dev: &str) -> (u64, u64) {
    let mut sum = (0_u64, 0_u64);
    for line in net_dev.lines() {
        let Some((name, counters)) = line.split_once(':') else { continue };
        if name.trim() == "lo" {
            continue;
        }
        let numbers: Vec<u64> = counters.split_whitespace().filter_map(number).collect();
        sum.0 = sum.0.saturating_add(numbers.first().copied().unwrap_or(0));
        sum.1 = sum.1.saturating_add(numbers.get(8).copied().unwrap_or(0));
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine of each layout, as its files were.
    fn check(fixture: &str, layout: CgroupLayout, stats: Stats, limits: EffectiveLimits) {
        let root =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/cgroup").join(fixture);
        let cgroups = Cgroups::new(&root);
        let mountinfo = std::fs::read_to_string(root.join("proc/self/mountinfo")).unwrap();
        assert_eq!(super::layout(&mountinfo), layout, "{fixture}");
        assert_eq!(cgroups.usage(42), Some(stats), "{fixture}");
        assert_eq!(cgroups.limits(42), Some(limits), "{fixture}");
        assert_eq!(cgroups.usage(43), None, "{fixture}: no such process");
    }

    const STATS: Stats = Stats {
        cpu_ns: 1_234_567_000,
        throttled_ns: 5_000,
        quota_millis: Some(500),
        memory_bytes: 6_000_000,
        memory_peak_bytes: 9_000_000,
        memory_limit_bytes: 67_108_864,
        pids: 3,
        oom_kills: 2,
        received_bytes: 1_500,
        sent_bytes: 700,
    };
    const LIMITS: EffectiveLimits =
        EffectiveLimits { cpu_millis: Some(500), memory_bytes: Some(67_108_864), pids: Some(64) };

    #[test]
    fn usage_and_limits_are_read_on_version_1() {
        check("v1", CgroupLayout::V1, STATS, LIMITS);
    }

    #[test]
    fn usage_and_limits_are_read_on_version_2() {
        check("v2", CgroupLayout::V2, STATS, LIMITS);
    }

    #[test]
    fn usage_and_limits_are_read_on_the_hybrid_layout() {
        check("hybrid", CgroupLayout::Hybrid, STATS, LIMITS);
    }

    #[test]
    fn no_limit_is_told_from_a_large_one() {
        let limits = EffectiveLimits::default();
        let stats = Stats { memory_limit_bytes: 0, quota_millis: None, ..STATS };
        check("v2-unlimited", CgroupLayout::V2, stats, limits);
        check("v1-unlimited", CgroupLayout::V1, stats, limits);
    }

    #[test]
    fn a_group_below_a_partial_mount_is_found() {
        let mountinfo = "1 2 0:1 /docker/outer /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory";
        let found = groups("4:memory:/docker/outer/inner", mountinfo);
        assert_eq!(found.memory, Some(PathBuf::from("/sys/fs/cgroup/memory/inner")));
    }
}
