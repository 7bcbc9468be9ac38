//! Lane 1 as the agent sees it, over a node's HTTP API.

use core::time::Duration;

use async_trait::async_trait;
use pouw_agent::{HandedIn, LaneOne, LaneOneError};
use pouw_mining::{Anchor, Core, Difficulty, Work};
use pouw_types::MachineId;

use crate::client::node::{Node, NodeError};

/// The node whose blocks this host's tasks mine.
#[derive(Debug)]
pub struct NodeLaneOne(Node);

impl NodeLaneOne {
    /// At the node of this address.
    #[must_use]
    pub fn new(url: &str) -> Self {
        Self(Node::new(url, Duration::from_secs(5)))
    }
}

fn failed(error: NodeError) -> LaneOneError {
    match error {
        NodeError::Refused { message, .. } => LaneOneError::Refused(message),
        NodeError::Unreachable { .. } | NodeError::Malformed { .. } => {
            LaneOneError::Unreachable(error.to_string())
        }
    }
}

#[async_trait]
impl LaneOne for NodeLaneOne {
    async fn work(&self, machine: MachineId) -> Result<Option<Work>, LaneOneError> {
        let Some(work) = self.0.lane_one_work(machine).await.map_err(failed)? else {
            return Ok(None);
        };
        let refused =
            |error: pouw_mining::DifficultyError| LaneOneError::Refused(error.to_string());
        Ok(Some(Work {
            id: work.number,
            core: Core(work.core.0),
            difficulty: Difficulty::new(work.difficulty).map_err(refused)?,
            ancestors: work.ancestors.iter().map(|id| Anchor(id.0)).collect(),
        }))
    }

    async fn hand_in(&self, work: u64, certificate: Vec<u8>) -> Result<HandedIn, LaneOneError> {
        let block = self.0.lane_one_win(work, certificate.into()).await.map_err(failed)?;
        Ok(block.map_or(HandedIn::Stale, HandedIn::Block))
    }
}
