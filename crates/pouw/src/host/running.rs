//! A running host: the agent, and the offer that is kept on the node's board.

use core::time::Duration;
use std::net::SocketAddr;

use pouw_agent::AgentHandle;
use pouw_types::Offer;
use tokio::task::JoinHandle;

use crate::client::node::Node;

/// Between two postings: a board is in memory, so a restarted node has to be told again.
const REPOST: Duration = Duration::from_secs(20);
const TIMEOUT: Duration = Duration::from_secs(10);

/// A running host; dropping it stops it where it stands.
#[derive(Debug)]
pub struct Host {
    agent: AgentHandle,
    announcer: JoinHandle<()>,
}

impl Host {
    /// Keeps the agent's offer on the board of the node at `node`.
    #[must_use]
    pub fn announce(agent: AgentHandle, node: &str) -> Self {
        let announcer = tokio::spawn(post(Node::new(node, TIMEOUT), agent.offer()));
        Self { agent, announcer }
    }

    /// Where the agent's door answers.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.agent.address()
    }

    /// What the machine offers.
    #[must_use]
    pub fn offer(&self) -> Offer {
        self.agent.offer()
    }

    /// Stops it where it stands: rentals go on when it is started again.
    pub async fn stop(self) {
        self.announcer.abort();
        self.agent.stop().await;
    }
}

async fn post(node: Node, offer: Offer) {
    loop {
        if let Err(error) = node.post_offer(&offer).await {
            tracing::warn!(%error, "the offer is not on the node's board");
        }
        tokio::time::sleep(REPOST).await;
    }
}
