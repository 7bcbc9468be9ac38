//! `host.toml`: what a host decides.

use std::net::SocketAddr;
use std::path::PathBuf;

use alloy_primitives::{Address, B256};
use pouw_types::{Amount, Floor, Isolation, Resources};
use serde::{Deserialize, Serialize};

/// Everything a host decides; `host.toml`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostConfig {
    /// Where the agent's door listens; port 0 takes a free one.
    #[serde(default = "default_listen")]
    pub listen: SocketAddr,
    /// The door's address as clients reach it; empty: made from `listen`.
    #[serde(default)]
    pub endpoint: String,
    /// Who gets the money of rentals; zero: the operator.
    #[serde(default)]
    pub payout: Address,
    /// Who is paid for the blocks that this machine's rentals help to win; zero: the payout address.
    #[serde(default)]
    pub miner: Address,
    /// What `Hosts.setLaneKey` is told, the public half of the key that wins blocks of lane 2; zero:
    /// what is registered stays. Not in the file: the program makes the key.
    #[serde(skip)]
    pub lane_key: B256,
    /// How many shares the machine is rented in.
    #[serde(default = "one")]
    pub units: u32,
    /// What one share has.
    pub unit: Resources,
    /// The lowest prices of one share.
    pub floor: Floor,
    /// What is at stake for one share, in FLUX.
    #[serde(default)]
    pub bond: Amount,
    /// How tasks can be kept apart from the host; what does not work here is not offered.
    #[serde(default = "default_isolation")]
    pub isolation: Vec<Isolation>,
    /// Whether tasks may reach the internet.
    #[serde(default)]
    pub egress: bool,
    /// How long an offer stands.
    #[serde(default = "default_available_s")]
    pub available_s: u64,
    /// Folder for scratch images and staged files; empty: in the data folder.
    #[serde(default)]
    pub scratch: Option<PathBuf>,
    /// Delays and limits.
    #[serde(default)]
    pub tuning: Tuning,
}

/// Delays and limits that a host may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tuning {
    /// How long a quote stands; at most 300.
    pub quote_s: u64,
    /// How long a client has from a quote's issue until the host must be ready.
    pub start_s: u64,
    /// Free seconds of preparation (image, inputs).
    pub preparation_s: u64,
    /// Free seconds of upload.
    pub upload_s: u64,
    /// How long the client's task may take to arrive after the opening.
    pub task_s: u64,
    /// Between SIGTERM and SIGKILL.
    pub grace_s: u64,
    /// How long a silent signer is borne before the host calls.
    pub patience_s: u64,
    /// Between two settlements of a running rental.
    pub settle_s: u64,
    /// Most bytes of a task's log that are kept.
    pub log_bytes: u64,
    /// How much of the measured scores the offer lists, percent: less on a machine that has other
    /// work or neighbours, so that its gates pass then too.
    pub listed_percent: u32,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            quote_s: 300,
            start_s: 1_800,
            preparation_s: 1_800,
            upload_s: 1_800,
            task_s: 300,
            grace_s: 10,
            patience_s: 300,
            settle_s: 86_400,
            log_bytes: 64 << 20,
            listed_percent: 100,
        }
    }
}

/// `host.toml` is unreadable or contradicts itself.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Not TOML, an unknown field, or a value of the wrong kind.
    #[error("host.toml: {0}")]
    Malformed(String),
    /// A field is out of its bounds.
    #[error("host.toml: `{field}` is {got}, expected {expected}")]
    Field {
        /// Which.
        field: &'static str,
        /// What it is.
        got: String,
        /// What it may be.
        expected: &'static str,
    },
}

fn default_listen() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

const fn one() -> u32 {
    1
}

fn default_isolation() -> Vec<Isolation> {
    vec![Isolation::Runc]
}

const fn default_available_s() -> u64 {
    30 * 86_400
}

impl HostConfig {
    /// Checks what the types can't.
    ///
    /// # Errors
    /// [`ConfigError::Field`] with the first field that is wrong.
    pub fn check(&self) -> Result<(), ConfigError> {
        let field = |field, got: u64, expected| {
            Err(ConfigError::Field { field, got: got.to_string(), expected })
        };
        if self.units == 0 || self.units > 1_024 {
            return field("units", self.units.into(), "1 to 1024");
        }
        if self.unit.cpu_millis == 0 {
            return field("unit.cpu_millis", 0, "at least 1");
        }
        if self.unit.memory_bytes < 16 << 20 {
            return field("unit.memory_bytes", self.unit.memory_bytes, "at least 16 MiB");
        }
        if self.unit.disk_bytes < 16 << 20 {
            return field("unit.disk_bytes", self.unit.disk_bytes, "at least 16 MiB");
        }
        if self.tuning.quote_s == 0 || self.tuning.quote_s > 300 {
            return field("tuning.quote_s", self.tuning.quote_s, "1 to 300 (R-2)");
        }
        if self.tuning.listed_percent == 0 || self.tuning.listed_percent > 100 {
            let got = self.tuning.listed_percent.into();
            return field("tuning.listed_percent", got, "1 to 100");
        }
        if self.isolation.is_empty() {
            return field("isolation", 0, "at least one of runc, gvisor");
        }
        Ok(())
    }
}

impl std::str::FromStr for HostConfig {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let config: Self =
            toml::from_str(text).map_err(|error| ConfigError::Malformed(error.to_string()))?;
        config.check()?;
        Ok(config)
    }
}
