//! What an engine answers.

use std::net::IpAddr;

use futures::stream::BoxStream;
use pouw_types::{Isolation, RentalId};
use serde::{Deserialize, Serialize};

use super::{ContainerId, EngineError, ImageRef, StepName, User};

/// How the kernel groups processes on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CgroupLayout {
    /// One hierarchy a controller.
    V1,
    /// One hierarchy for all.
    V2,
    /// Controllers on version 1 with version 2 mounted beside them.
    Hybrid,
}

/// Which limits the engine can enforce.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "four independent yes-or-no facts")]
pub struct Limits {
    /// Memory.
    pub memory: bool,
    /// Swap.
    pub swap: bool,
    /// Processor time.
    pub cpu: bool,
    /// Processes.
    pub pids: bool,
}

/// Something this machine does not offer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// What it is.
    pub what: String,
    /// Why it is not offered.
    pub reason: String,
    /// What would mend it.
    pub mend: String,
}

/// What a machine can do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineInfo {
    /// The engine's name and version.
    pub version: String,
    /// Where it answers.
    pub address: String,
    /// The isolation levels it has.
    pub isolation: Vec<Isolation>,
    /// How processes are grouped.
    pub cgroup: CgroupLayout,
    /// The limits it can enforce.
    pub limits: Limits,
    /// Whether users inside containers are other users outside.
    pub user_namespaces: bool,
    /// How it stores images.
    pub storage_driver: String,
    /// Whether a task may be given the internet.
    pub egress: bool,
    /// Whether scratch file systems can be made.
    pub scratch: bool,
    /// Whom tasks run as by default, so that the agent can read what they wrote.
    pub task_user: User,
    /// Cores of the machine.
    pub cores: u64,
    /// Memory of the machine, in bytes.
    pub memory_bytes: u64,
    /// What it lacks, and why.
    pub missing: Vec<Missing>,
}

/// How far a pull has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PullStatus {
    /// Layers that are here.
    pub layers_done: u32,
    /// Layers in all that are known of.
    pub layers_total: u32,
    /// Bytes that are here.
    pub done_bytes: u64,
    /// Bytes in all, as far as sizes are known.
    pub total_bytes: u64,
}

impl PullStatus {
    /// The part of the known bytes that is here, 0 to 100.
    #[must_use]
    pub fn percent(&self) -> u8 {
        let (done, total) = if self.total_bytes > 0 {
            (u128::from(self.done_bytes), u128::from(self.total_bytes))
        } else {
            (u128::from(self.layers_done), u128::from(self.layers_total.max(1)))
        };
        u8::try_from((done * 100 / total).min(100)).unwrap_or(100)
    }
}

/// Hears how far a pull has come.
pub trait PullProgress: Send + Sync {
    /// Called at each change.
    fn update(&self, status: PullStatus);
}

impl PullProgress for () {
    fn update(&self, _status: PullStatus) {}
}

impl<F: Fn(PullStatus) + Send + Sync> PullProgress for F {
    fn update(&self, status: PullStatus) {
        self(status);
    }
}

/// An image on this machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageInfo {
    /// How it was asked for.
    pub reference: ImageRef,
    /// The engine's identity of it.
    pub id: String,
    /// Its size unpacked, in bytes.
    pub size_bytes: u64,
    /// Its labels.
    pub labels: std::collections::BTreeMap<String, String>,
    /// The user it names, as it names it.
    pub user: String,
    /// Its entry point.
    pub entrypoint: Vec<String>,
    /// Its command.
    pub command: Vec<String>,
    /// Its working directory.
    pub workdir: String,
    /// Processor architecture, as Debian names it.
    pub arch: String,
}

/// A container that is what was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Created {
    /// The container.
    pub id: ContainerId,
}

/// Where a container is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Made, not started.
    Created,
    /// Running.
    Running,
    /// Frozen.
    Paused,
    /// Ended.
    Exited,
}

/// How a container ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Its exit code.
    pub code: i64,
    /// Whether the kernel killed it for its memory.
    pub oom_killed: bool,
    /// The signal that ended it, where the code says so.
    pub signal: Option<u8>,
    /// When it started, in Unix milliseconds.
    pub started_ms: u64,
    /// When it ended, in Unix milliseconds.
    pub finished_ms: u64,
}

/// A container as it is now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observed {
    /// Where it is in its life.
    pub phase: Phase,
    /// When it started, in Unix milliseconds; 0 before.
    pub started_ms: u64,
    /// How it ended, when it has.
    pub exit: Option<Exit>,
    /// Its address on its bridge.
    pub address: Option<IpAddr>,
    /// Its first process on this machine; 0 when it does not run.
    pub pid: u32,
}

/// A rental's bridge as it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkSeen {
    /// Whether the firewall around it is as it was loaded.
    pub guarded: bool,
    /// Bytes that passed it so far, both ways; none where they are not counted.
    pub bytes: Option<u64>,
}

/// A container of ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OurWorkload {
    /// The container.
    pub id: ContainerId,
    /// Its name.
    pub name: String,
    /// The rental it was made for.
    pub rental: RentalId,
    /// The step it works for.
    pub step: StepName,
    /// Where it is in its life.
    pub phase: Phase,
}

/// What a container has used so far, or uses now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Processor time so far, in nanoseconds.
    pub cpu_ns: u64,
    /// What quotas took so far, its own and those of the groups around it, of all processors together,
    /// in nanoseconds.
    pub throttled_ns: u64,
    /// The smallest of those quotas, in thousandths of a core; none where there is none.
    pub quota_millis: Option<u64>,
    /// Memory now, without what the kernel could drop, in bytes.
    pub memory_bytes: u64,
    /// Most memory so far, in bytes; 0 where the kernel does not say.
    pub memory_peak_bytes: u64,
    /// The memory limit in force, in bytes; 0 where there is none.
    pub memory_limit_bytes: u64,
    /// Processes and threads now.
    pub pids: u64,
    /// Times the kernel killed a process for its memory.
    pub oom_kills: u64,
    /// Bytes received by its network.
    pub received_bytes: u64,
    /// Bytes sent by its network.
    pub sent_bytes: u64,
}

/// Which of its outputs a line was written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Channel {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// One line a container wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// Where it was written to.
    pub channel: Channel,
    /// When, in Unix nanoseconds.
    pub time_ns: u64,
    /// The line without its end; at most 16 KiB, the rest cut; bytes that are no UTF-8 replaced.
    pub text: String,
}

/// Lines as they come. Not reading holds back the reader of the engine's log, never the task.
pub type LogStream = BoxStream<'static, Result<LogLine, EngineError>>;

/// What a command inside a container did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecOutput {
    /// Its exit code.
    pub code: i64,
    /// Its standard output, bytes that are no UTF-8 replaced.
    pub stdout: String,
    /// Its standard error, bytes that are no UTF-8 replaced.
    pub stderr: String,
    /// Whether there was more than was kept.
    pub truncated: bool,
}
