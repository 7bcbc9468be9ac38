//! What a container shall be.

use core::fmt;
use core::str::FromStr;
use std::collections::BTreeMap;
use std::path::PathBuf;

use pouw_types::{Isolation, MachineId, RentalId};
use serde::{Deserialize, Serialize};

/// Whose a container, network, mount or process is: the labels it carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Owner {
    /// The machine whose agent made it.
    pub machine: MachineId,
    /// The rental it was made for.
    pub rental: RentalId,
}

/// Label of the machine on everything an engine makes.
pub(crate) const LABEL_MACHINE: &str = "pouw.machine";
/// Label of the rental on everything an engine makes.
pub(crate) const LABEL_RENTAL: &str = "pouw.rental";
/// Label of the step on every container.
pub(crate) const LABEL_STEP: &str = "pouw.step";

impl Owner {
    /// The machine as labels spell it.
    #[must_use]
    pub fn machine_label(&self) -> String {
        format!("{:#x}", self.machine.get())
    }

    /// The rental as labels spell it.
    #[must_use]
    pub fn rental_label(&self) -> String {
        format!("{:#x}", self.rental.get())
    }

    /// A short name for files: unique to the rental on this machine, with 16 hexadecimal digits.
    #[must_use]
    pub fn file_stem(&self) -> String {
        hex::encode(&self.rental.get()[..8])
    }

    /// The name of the rental's bridge, which fits the kernel's 15 bytes.
    #[must_use]
    pub fn bridge_name(&self) -> String {
        let mut hash = blake3::Hasher::new();
        hash.update(self.machine.get().as_slice()).update(self.rental.get().as_slice());
        format!("pouw-{}", hex::encode(&hash.finalize().as_bytes()[..5]))
    }

    /// Name of the rental's container of one step.
    pub(crate) fn container_name(&self, step: &StepName) -> String {
        let machine = hex::encode(&self.machine.get()[..4]);
        let rental = hex::encode(&self.rental.get()[..8]);
        format!("pouw-{machine}-{rental}-{step}")
    }

    /// All labels of something that belongs to no single step.
    pub(crate) fn labels(&self) -> BTreeMap<String, String> {
        BTreeMap::from([
            (LABEL_MACHINE.to_owned(), self.machine_label()),
            (LABEL_RENTAL.to_owned(), self.rental_label()),
        ])
    }
}

/// The step a container works for, such as `run`, `gate`, `setup`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StepName(String);

impl StepName {
    /// Names a step.
    ///
    /// # Errors
    /// Anything but 1 to 24 lower-case letters, digits and hyphens, a letter first.
    pub fn new(name: &str) -> Result<Self, super::EngineError> {
        let fits = (1..=24).contains(&name.len())
            && name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
        if fits {
            Ok(Self(name.to_owned()))
        } else {
            Err(super::EngineError::InvalidWorkload {
                field: "step",
                problem: format!(
                    "{name:?} is not 1 to 24 lower-case letters, digits and hyphens, a letter first"
                ),
            })
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StepName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An image named by its content.
///
/// `registry:port/path@sha256:…` can be pulled; `sha256:…` alone is the identity of an image that
/// must be on the machine already.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ImageRef {
    repository: Option<String>,
    digest: [u8; 32],
}

/// An image is not named by its digest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "image {text:?} is not named by its digest; write it as registry/name@sha256: and 64 \
     hexadecimal digits"
)]
pub struct ParseImageRefError {
    text: String,
}

impl ImageRef {
    /// The repository, with its registry; none for an image that is known by its identity only.
    #[must_use]
    pub fn repository(&self) -> Option<&str> {
        self.repository.as_deref()
    }

    /// The digest as `sha256:` and 64 hexadecimal digits.
    #[must_use]
    pub fn digest(&self) -> String {
        format!("sha256:{}", hex::encode(self.digest))
    }
}

impl FromStr for ImageRef {
    type Err = ParseImageRefError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ParseImageRefError { text: text.chars().take(200).collect() };
        let (name, digest) = match text.rsplit_once('@') {
            Some((name, digest)) => (Some(name), digest),
            None => (None, text),
        };
        let digits = digest.strip_prefix("sha256:").ok_or_else(wrong)?;
        if digits.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(wrong());
        }
        let mut bytes = [0; 32];
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| wrong())?;
        let repository = name.map(repository_of).transpose().map_err(|()| wrong())?;
        Ok(Self { repository, digest: bytes })
    }
}

/// Takes a tag off a name and refuses what no registry would take.
fn repository_of(name: &str) -> Result<String, ()> {
    let tag_at = name.rfind(':').filter(|at| !name[*at..].contains('/'));
    let bare = tag_at.map_or(name, |at| &name[..at]);
    let allowed = |c: char| {
        c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-' | '/' | ':')
    };
    let parts_hold = bare.split('/').all(|part| {
        part.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit()) && part != ".."
    });
    let fits = (1..=255).contains(&bare.len()) && bare.chars().all(allowed) && parts_hold;
    if fits { Ok(bare.to_owned()) } else { Err(()) }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(repository) = &self.repository {
            write!(f, "{repository}@")?;
        }
        write!(f, "sha256:{}", hex::encode(self.digest))
    }
}

impl Serialize for ImageRef {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ImageRef {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A container, by the engine's own identity.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ContainerId(String);

impl ContainerId {
    /// Takes what an engine calls a container.
    #[must_use]
    pub fn new(id: impl Into<String>) -> Self {
        Self(id.into())
    }

    /// The identity.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A network, by its name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NetworkName(String);

impl NetworkName {
    /// Takes the name of a network.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NetworkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The user and group a task runs as, inside its container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct User {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

impl Default for User {
    /// `nobody`, who owns nothing on any machine.
    fn default() -> Self {
        Self { uid: 65534, gid: 65534 }
    }
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.uid, self.gid)
    }
}

/// Environment variables; their values may be secrets and are never printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Environment(pub BTreeMap<String, String>);

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.keys()).finish()
    }
}

/// What a task may do with a mounted folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    /// Read only.
    Read,
    /// Read and write.
    Write,
}

/// A folder or file of the machine inside the container.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct BindMount {
    /// Absolute path on the machine, which exists.
    pub source: PathBuf,
    /// Absolute path in the container.
    pub target: String,
    /// What the task may do with it.
    pub access: Access,
}

/// What a task can reach.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NetworkMode {
    /// Nothing.
    None,
    /// The internet, by the bridge of this name.
    Egress(NetworkName),
}

/// How much of what a task writes is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LogLimits {
    /// Size at which a log file is put aside, in bytes.
    pub file_bytes: u64,
    /// How many files there are at most.
    pub files: u32,
}

impl Default for LogLimits {
    fn default() -> Self {
        Self { file_bytes: 8 << 20, files: 2 }
    }
}

/// A container as it shall be, in full.
///
/// What is not here is fixed: read-only root, all capabilities dropped, no new privileges, the
/// engine's seccomp profile, no devices, no published ports, no restart, swap within the memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// Whose it is.
    pub owner: Owner,
    /// Which step it works for; one container a step.
    pub step: StepName,
    /// The image.
    pub image: ImageRef,
    /// Replaces the image's entry point; none keeps it, an empty list clears it.
    pub entrypoint: Option<Vec<String>>,
    /// Replaces the image's command; empty keeps it.
    pub command: Vec<String>,
    /// Added to the image's environment.
    pub env: Environment,
    /// Replaces the image's working directory.
    pub workdir: Option<String>,
    /// Who it runs as; never root.
    pub user: User,
    /// Processor time, in thousandths of a core.
    pub cpu_millis: u64,
    /// Memory with swap, in bytes.
    pub memory_bytes: u64,
    /// Processes and threads.
    pub pids: u32,
    /// Size of `/tmp`, which counts as memory, in bytes.
    pub tmp_bytes: u64,
    /// What keeps it apart from the machine.
    pub isolation: Isolation,
    /// What it can reach.
    pub network: NetworkMode,
    /// Folders of the machine.
    pub mounts: Vec<BindMount>,
    /// How much of its output is kept.
    pub log: LogLimits,
}

/// A file system of a fixed size to be made for a rental.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScratchRequest {
    /// Whose it is.
    pub owner: Owner,
    /// Its size, in bytes, file system structures included.
    pub size_bytes: u64,
    /// Who may write below [`Scratch::work`].
    pub user: User,
}

/// A rental's own file system, mounted on the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scratch {
    /// Where it is mounted; the agent's own.
    pub path: PathBuf,
    /// Its size, in bytes.
    pub size_bytes: u64,
}

impl Scratch {
    /// The folder that the task writes; mount it with [`Access::Write`].
    #[must_use]
    pub fn work(&self) -> PathBuf {
        self.path.join("work")
    }

    /// The folder for inputs, which the agent writes; mount it with [`Access::Read`].
    #[must_use]
    pub fn inputs(&self) -> PathBuf {
        self.path.join("inputs")
    }
}

/// A command to run inside a running container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecRequest {
    /// The command with its arguments.
    pub command: Vec<String>,
    /// Added to the container's environment.
    pub env: Environment,
    /// Who runs it; none for the container's own user.
    pub user: Option<User>,
    /// How long it may take, in milliseconds.
    pub timeout_ms: u64,
    /// How much of its output is kept, in bytes.
    pub output_bytes: usize,
}
