//! A running host: the agent, and the offer that is kept on the node's board.

use core::time::Duration;
use std::net::SocketAddr;

use pouw_agent::AgentHandle;
use pouw_types::Offer;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::client::node::Node;

/// Between two postings: a board is in memory, so a restarted node has to be told again.
const REPOST: Duration = Duration::from_secs(20);
const TIMEOUT: Duration = Duration::from_secs(10);
/// Between two looks at whether the host is ready.
const LOOK: Duration = Duration::from_millis(100);

/// A running host; dropping it stops it where it stands.
#[derive(Debug)]
pub struct Host {
    agent: AgentHandle,
    announcer: JoinHandle<()>,
    announced: watch::Receiver<bool>,
}

impl Host {
    /// Keeps the agent's offer on the board of the node at `node`.
    #[must_use]
    pub fn announce(agent: AgentHandle, node: &str) -> Self {
        let (done, announced) = watch::channel(false);
        let announcer = tokio::spawn(post(Node::new(node, TIMEOUT), agent.offers(), done));
        Self { agent, announcer, announced }
    }

    /// Waits until clients can rent here: the machine is registered, its offer on the board. Returns
    /// what hinders it where that takes longer than `limit`.
    ///
    /// # Errors
    /// In the agent's words.
    pub async fn ready(&self, limit: Duration) -> Result<(), String> {
        let deadline = tokio::time::Instant::now() + limit;
        loop {
            let health = self.agent.health();
            if health.ready && *self.announced.borrow() {
                return Ok(());
            }
            if tokio::time::Instant::now() >= deadline {
                return Err(health.problems.join("; "));
            }
            tokio::time::sleep(LOOK).await;
        }
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

async fn post(node: Node, mut offers: watch::Receiver<Offer>, done: watch::Sender<bool>) {
    loop {
        let offer = offers.borrow_and_update().clone();
        match node.post_offer(&offer).await {
            Ok(()) => {
                done.send_replace(true);
            }
            Err(error) => tracing::warn!(%error, "the offer is not on the node's board"),
        }
        // A change is posted at once; without an agent there is none, and this ends with it.
        tokio::select! {
            changed = offers.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(REPOST) => {}
        }
    }
}
