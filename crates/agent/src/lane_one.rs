//! What the agent needs of a node so that tasks can mine lane 1.

use alloy_primitives::B256;
use async_trait::async_trait;
use pouw_mining::Work;
use pouw_types::MachineId;

/// What became of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandedIn {
    /// It made this block, which the node took.
    Block(B256),
    /// It came too late: the chain went on, or somebody else's certificate was first.
    Stale,
}

/// A node gives no work, or takes no certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LaneOneError {
    /// The node can't be reached: the same call may succeed later.
    #[error("the node does not answer: {0}")]
    Unreachable(String),
    /// The node says no.
    #[error("the node refuses: {0}")]
    Refused(String),
}

/// Lane 1 as a host's agent sees it; `pouw` implements it over a node's HTTP API.
#[async_trait]
pub trait LaneOne: Send + Sync + 'static {
    /// The block that tasks on this machine may win for its miner now; none where lane 1 is closed or the
    /// machine is not registered. The same block keeps its number, another one has another.
    ///
    /// # Errors
    /// [`LaneOneError`].
    async fn work(&self, machine: MachineId) -> Result<Option<Work>, LaneOneError>;

    /// Hands in a certificate, verified already, for the work with this number.
    ///
    /// # Errors
    /// [`LaneOneError`].
    async fn hand_in(&self, work: u64, certificate: Vec<u8>) -> Result<HandedIn, LaneOneError>;
}
