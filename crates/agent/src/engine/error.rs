//! What can go wrong with a machine.

use std::path::PathBuf;

/// One setting in which a container is not what was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{setting} is {found}, asked was {asked}")]
pub struct Difference {
    /// The setting, as the engine names it.
    pub setting: &'static str,
    /// What was asked for.
    pub asked: String,
    /// What the engine made of it.
    pub found: String,
}

/// An engine or a tool of the machine did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// Nothing answers where the engine should be, or the connection broke.
    #[error("the container engine at {address} does not answer while it should {operation}")]
    Unavailable {
        /// Where it was looked for.
        address: String,
        /// What it was asked.
        operation: &'static str,
        /// Why the connection failed.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// What answers is not an engine that tasks can run on.
    #[error(
        "the engine at {address} is {name}, on which tasks do not run: install docker.io or \
         docker-ce, and name its socket by DOCKER_HOST"
    )]
    Foreign {
        /// Where it answers.
        address: String,
        /// What it is, with its version.
        name: String,
    },
    /// The engine took too long.
    #[error("the container engine did not {operation} within {after_ms} ms")]
    Timeout {
        /// What it was asked.
        operation: &'static str,
        /// How long it was given.
        after_ms: u64,
    },
    /// A container, network or image is not there.
    #[error("{what} does not exist")]
    NotFound {
        /// What is missing.
        what: String,
    },
    /// The thing is in a state in which this cannot be done.
    #[error("cannot {operation}: {reason}")]
    Conflict {
        /// What was asked.
        operation: &'static str,
        /// The state it is in.
        reason: String,
    },
    /// No such image, or its registry refuses it.
    #[error("image {image} cannot be had: {reason}")]
    ImageUnavailable {
        /// The image.
        image: String,
        /// What the engine or the registry said.
        reason: String,
    },
    /// The container is not what was asked for; it has been removed.
    #[error("the engine made a container that differs from what was asked: {}", list(.0))]
    Differs(Vec<Difference>),
    /// This machine cannot do that.
    #[error("this machine does not offer {what}: {reason}")]
    Unsupported {
        /// What was asked for.
        what: &'static str,
        /// Why not, and what would mend it.
        reason: String,
    },
    /// The workload asks for something that makes no sense.
    #[error("{field} {problem}")]
    InvalidWorkload {
        /// The field.
        field: &'static str,
        /// What is wrong with it, and what would be right.
        problem: String,
    },
    /// The engine answered with an error.
    #[error("the container engine refused to {operation} ({status}): {message}")]
    Refused {
        /// What it was asked.
        operation: &'static str,
        /// Its HTTP status, 0 where it gave none.
        status: u16,
        /// What it said.
        message: String,
    },
    /// The disk has no room.
    #[error("{path}: {needed_bytes} bytes are needed and {free_bytes} are free", path = .path.display())]
    NoSpace {
        /// Where.
        path: PathBuf,
        /// What is needed, the reserve included.
        needed_bytes: u64,
        /// What is there.
        free_bytes: u64,
    },
    /// A tool of the system failed.
    #[error("{tool} failed ({status}): {message}")]
    Tool {
        /// Its path with its arguments.
        tool: String,
        /// How it ended.
        status: String,
        /// What it wrote on its standard error, shortened.
        message: String,
    },
    /// A file could not be made, read or removed.
    #[error("{operation} {path}", path = .path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On which path.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// After a reset something of ours is left, or something saved is gone.
    #[error("the machine is not as it was saved; left over: [{}]; gone: [{}]", .left_over.join(", "), .gone.join(", "))]
    NotReset {
        /// What should not be there.
        left_over: Vec<String>,
        /// What should be there.
        gone: Vec<String>,
    },
}

fn list(differences: &[Difference]) -> String {
    differences.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl EngineError {
    /// Whether the same call may succeed later with nothing changed but time.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unavailable { .. } | Self::Timeout { .. } => true,
            Self::Refused { status, .. } => *status >= 500,
            _ => false,
        }
    }

    /// Whether the client's specification is to blame, not this machine.
    #[must_use]
    pub fn is_client_fault(&self) -> bool {
        matches!(self, Self::ImageUnavailable { .. } | Self::InvalidWorkload { .. })
    }
}
