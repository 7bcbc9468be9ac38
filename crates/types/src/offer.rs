//! Offers: what a machine can do, at what floor price, until when.

use alloy_primitives::{B256, Bytes};
use serde::{Deserialize, Serialize};

use crate::signing::recover;
use crate::{Amount, MachineId};

/// What a task gets, or a machine has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resources {
    /// Thousandths of a processor thread.
    pub cpu_millis: u64,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Bytes of scratch disk.
    pub disk_bytes: u64,
    /// Whole GPUs.
    pub gpus: u32,
}

/// What people do with a machine; each has benchmarks and scores of its own.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default,
)]
#[serde(rename_all = "kebab-case")]
pub enum UseCase {
    /// Training and inference.
    Ai,
    /// Images and animations.
    Rendering,
    /// Headless gaming.
    Gaming,
    /// Anything else.
    #[default]
    General,
}

/// How a task is kept apart from its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Isolation {
    /// Namespaces and control groups.
    Runc,
    /// A kernel in user space between task and host.
    Gvisor,
}

/// A kind of graphics card in a machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gpu {
    /// The maker's name of it.
    pub model: String,
    /// Bytes of memory on one.
    pub memory_bytes: u64,
    /// How many.
    pub count: u32,
}

/// A benchmark result: 1000 is the reference of the machine's class.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Score {
    /// For which work.
    pub use_case: UseCase,
    /// The lower quartile of seven runs.
    pub value: u32,
}

/// The host's lowest prices, for one unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Floor {
    /// Per active second.
    pub active_second: Amount,
    /// Per GiB·s of scratch.
    pub storage_gib_second: Amount,
    /// Per byte of traffic.
    pub traffic_byte: Amount,
}

/// What a machine can do, at what floor price, until when; signed by the machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Offer {
    /// Version of this structure: 1.
    pub version: u32,
    /// Who offers.
    pub machine: MachineId,
    /// On which chain.
    pub chain_id: u64,
    /// Greater than in any earlier offer of the machine.
    pub seq: u64,
    /// Unix seconds.
    pub issued_at: u64,
    /// Unix seconds; a rental never outlives it.
    pub available_until: u64,
    /// Where the agent's door answers, such as `http://127.0.0.1:7101`.
    pub endpoint: String,
    /// Smallest rentable shares.
    pub units: u32,
    /// What one unit has.
    pub unit: Resources,
    /// Processor architecture as Debian names it, such as `amd64`.
    pub arch: String,
    /// The graphics cards, if any.
    pub gpus: Vec<Gpu>,
    /// The isolation levels that work on this machine.
    pub isolation: Vec<Isolation>,
    /// Whether a task can reach the internet.
    pub egress: bool,
    /// Lowest prices.
    pub floor: Floor,
    /// Results of `pouw host self-test`.
    pub scores: Vec<Score>,
    /// The machine key's signature over [`Offer::hash`], 65 bytes.
    #[serde(default, skip_serializing_if = "is_unsigned")]
    pub signature: Bytes,
}

/// An offer is malformed or not its machine's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OfferError {
    /// Unreadable or foreign signature.
    #[error("the offer is not signed by machine {0}")]
    Signature(MachineId),
    /// A field is out of its bounds.
    #[error("the offer's {field} is {got}, expected {expected}")]
    Field {
        /// Which.
        field: &'static str,
        /// What it is.
        got: String,
        /// What it may be.
        expected: &'static str,
    },
}

fn is_unsigned(signature: &Bytes) -> bool {
    signature.is_empty()
}

impl Offer {
    /// Most characters of a text field, most entries of a list.
    pub const MAX_TEXT: usize = 256;

    /// The digest that the machine signs and registers: BLAKE3 over the JSON without signature.
    #[must_use]
    pub fn hash(&self) -> B256 {
        let unsigned = Self { signature: Bytes::new(), ..self.clone() };
        let json = serde_json::to_vec(&unsigned).unwrap_or_default();
        let mut hasher = blake3::Hasher::new_derive_key("pouw offer v1");
        hasher.update(&json);
        B256::from(*hasher.finalize().as_bytes())
    }

    /// Checks bounds and signature.
    ///
    /// # Errors
    /// [`OfferError`] with the first field that is wrong.
    pub fn verify(&self) -> Result<(), OfferError> {
        let field = |field, got: String, expected| Err(OfferError::Field { field, got, expected });
        if self.version != 1 {
            return field("version", self.version.to_string(), "1");
        }
        if self.units == 0 {
            return field("units", "0".to_owned(), "at least 1");
        }
        if self.available_until <= self.issued_at {
            return field("available_until", self.available_until.to_string(), "after issued_at");
        }
        let texts = [&self.endpoint, &self.arch];
        let texts = texts.into_iter().chain(self.gpus.iter().map(|gpu| &gpu.model));
        for text in texts {
            if text.len() > Self::MAX_TEXT {
                return field("text", text.len().to_string(), "at most 256 bytes");
            }
        }
        if !["http://", "https://"].iter().any(|scheme| self.endpoint.starts_with(scheme)) {
            return field("endpoint", self.endpoint.clone(), "an http or https address");
        }
        let longest = self.gpus.len().max(self.isolation.len()).max(self.scores.len());
        if longest > Self::MAX_TEXT {
            return field("list", longest.to_string(), "at most 256 entries");
        }
        match recover(self.hash(), &self.signature) {
            Ok(signer) if signer == self.machine.get() => Ok(()),
            Ok(_) | Err(_) => Err(OfferError::Signature(self.machine)),
        }
    }
}
