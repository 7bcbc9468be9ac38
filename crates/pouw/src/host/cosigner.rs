//! A rental's signer as the agent reaches it: the signer's door of a node.

use core::time::Duration;

use alloy_primitives::{Address, Bytes};
use async_trait::async_trait;
use pouw_agent::{Signer, SignerError};
use pouw_types::RentalId;
use pouw_types::contracts::Receipt;
use pouw_types::signing::Signed;

use crate::client::node::{Node, NodeError};

/// Sends receipts to the node whose signers sign them.
#[derive(Debug)]
pub struct NodeSigner(Node);

impl NodeSigner {
    /// At the node of this address.
    #[must_use]
    pub fn new(url: &str) -> Self {
        Self(Node::new(url, Duration::from_secs(10)))
    }
}

#[async_trait]
impl Signer for NodeSigner {
    async fn cosign(
        &self,
        _rental: RentalId,
        signer: Address,
        receipt: Signed<Receipt>,
    ) -> Result<Bytes, SignerError> {
        self.0.cosign(signer, &receipt).await.map_err(|error| match error {
            NodeError::Refused { message, .. } => SignerError::Refused(message),
            NodeError::Unreachable { .. } | NodeError::Malformed { .. } => {
                SignerError::Unreachable(error.to_string())
            }
        })
    }
}
