//! A validated task.

use std::collections::BTreeMap;

use alloy_primitives::B256;
use pouw_types::{Amount, Isolation, MachineId, RentalRules, Resources, UseCase};
use serde::{Deserialize, Serialize};

use crate::image::ImageRef;
use crate::location::Location;
use crate::parts::Parts;
use crate::path::TaskPath;

/// A task as client and host agree on it: every quantity in one unit, every default filled in.
///
/// Reading one from JSON checks it again ([`Task::check`]), so that what a host holds is valid
/// whoever sent it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self", deny_unknown_fields)]
#[non_exhaustive]
pub struct Task {
    /// Version of this structure: 1.
    pub version: u32,
    /// What people call it.
    pub name: String,
    /// Decides benchmark and score.
    pub use_case: UseCase,
    /// What it runs in.
    pub image: ImageRef,
    /// What it gets.
    pub resources: Resources,
    /// Commands before the run, each as program and arguments; billed.
    pub setup: Vec<Vec<String>>,
    /// The work itself.
    pub run: Run,
    /// Environment variables of setup and run.
    pub env: BTreeMap<String, String>,
    /// Names of the secrets: files below [`Task::SECRETS_DIRECTORY`]. Their contents are no part
    /// of a task.
    pub secrets: Vec<String>,
    /// What is there when it starts.
    pub inputs: Vec<Input>,
    /// What is kept when it ends.
    pub outputs: Vec<Output>,
    /// Files that are kept, and paid for, one by one.
    pub parts: Option<Parts>,
    /// Where it can go on after an interruption.
    pub checkpoint: Option<Checkpoint>,
    /// A refund window shorter than the network's, seconds.
    pub refund_window_s: Option<u32>,
    /// Where it ends in any case.
    pub limits: Limits,
    /// How it is paid.
    pub pricing: Pricing,
    /// Which machines may run it.
    pub scope: Scope,
    /// What it may reach.
    pub network: Network,
    /// Where it listens.
    pub ports: Vec<Port>,
    /// How it is kept apart from the host.
    pub isolation: Isolation,
    /// Whether its work may also win blocks.
    pub mineable: Mineable,
}

/// The work itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// Program and arguments; none: what the image says.
    pub command: Vec<String>,
    /// Directory below the task's; nothing: the task's directory itself.
    pub workdir: Option<TaskPath>,
}

/// How an input may be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InputMode {
    /// The task cannot change it.
    #[default]
    ReadOnly,
    /// The task's own copy.
    ReadWrite,
}

/// When an output is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OutputMode {
    /// However the task ends.
    #[default]
    Always,
    /// If it ends with exit code 0.
    OnSuccess,
}

/// What is there when the task starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Where it comes from; a directory or prefix ends with `/`.
    pub from: Location,
    /// Where it appears.
    pub to: TaskPath,
    /// How it may be used.
    pub mode: InputMode,
    /// Most bytes.
    pub max_bytes: u64,
    /// The BLAKE3 hash that it must have.
    pub blake3: Option<B256>,
}

/// What is kept when the task ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Output {
    /// Where the task leaves it.
    pub path: TaskPath,
    /// Whether it is a directory with all below it.
    pub directory: bool,
    /// Where it goes to; nothing: the client's own storage.
    pub to: Option<Location>,
    /// When it is kept.
    pub mode: OutputMode,
    /// Most bytes.
    pub max_bytes: u64,
}

/// Where a task can go on after an interruption.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    /// The directory that is saved.
    pub path: TaskPath,
    /// Seconds between two saves.
    pub interval_s: u64,
    /// Most bytes of one save.
    pub max_bytes: u64,
}

/// Where a task ends in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Active seconds.
    pub time_s: u64,
    /// Price, fees and burn together; nothing: what the time costs.
    pub cost: Option<Amount>,
    /// Bytes of traffic.
    pub traffic_bytes: u64,
    /// Seconds between SIGTERM and SIGKILL.
    pub grace_s: u64,
}

/// How a rental is priced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PricingModel {
    /// A machine for as long as it is wanted.
    #[default]
    OnDemand,
    /// A task at the price of the moment it starts.
    PayAsYouGo,
    /// A bid, with the risk of 120 s notice.
    Spot,
}

/// How a task is paid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pricing {
    /// By which model.
    pub model: PricingModel,
    /// The highest price of an active hour.
    pub max_hour: Option<Amount>,
}

/// Which machines may run a task; an empty list allows all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scope {
    /// ISO 3166-1 codes of two letters: only there.
    pub countries: Vec<String>,
    /// ISO 3166-1 codes of two letters: not there.
    pub exclude_countries: Vec<String>,
    /// Only these machines.
    pub machines: Vec<MachineId>,
}

/// What a task may reach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Network {
    /// Nothing: the host's agent moves its data.
    #[default]
    None,
    /// The internet, but neither the host, nor private ranges, nor other tasks.
    Egress,
}

/// The transport of a port.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// Streams.
    #[default]
    Tcp,
    /// Datagrams.
    Udp,
}

/// A port on which a task listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Port {
    /// In the container.
    pub port: u16,
    /// Its transport.
    pub protocol: Protocol,
}

/// Whether a task's work may also win blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mineable {
    /// No part of it.
    #[default]
    None,
    /// Its matrix products. A block that one of them wins opens 16 rows and 16 columns of it, and its
    /// sizes, to everybody.
    Opening,
}

impl Task {
    /// The version that this program reads and writes.
    pub const VERSION: u32 = 1;
    /// Where a task's directory is inside its container.
    pub const DIRECTORY: &'static str = "/task";
    /// Where secrets are inside a container, one file a name.
    pub const SECRETS_DIRECTORY: &'static str = "/run/secrets";

    /// The working directory of setup and run inside the container.
    #[must_use]
    pub fn workdir(&self) -> String {
        match &self.run.workdir {
            Some(path) => format!("{}/{path}", Self::DIRECTORY),
            None => Self::DIRECTORY.to_owned(),
        }
    }

    /// W of R-2: what a client is refunded at most when the host fails, seconds.
    #[must_use]
    pub fn refund_window_s(&self, rules: &RentalRules) -> u32 {
        let longest = match self.checkpoint {
            Some(_) => rules.refund_window_s,
            None => rules.refund_window_plain_s,
        };
        self.refund_window_s.map_or(longest, |asked| asked.min(longest))
    }
}

impl Pricing {
    /// Whether the maximum price allows this price of an active second.
    #[must_use]
    pub fn allows(&self, active_second: Amount) -> bool {
        match (self.max_hour, active_second.checked_mul(3_600)) {
            (None, _) => true,
            (Some(max), Ok(hour)) => hour <= max,
            (Some(_), Err(_)) => false,
        }
    }
}
