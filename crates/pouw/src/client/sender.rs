//! Signing and sending transactions.

use core::time::Duration;

use alloy_consensus::{SignableTransaction, TxEip1559, TxEnvelope};
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Address, B256, Bytes, TxKind, U64, U256};
use alloy_signer::SignerSync;
use alloy_signer_local::PrivateKeySigner;
use pouw_types::Amount;
use serde_json::json;
use tokio::sync::Mutex;

use super::rpc::{Rpc, RpcError, TransactionReceipt};

/// An account that sends transactions, one after the other.
#[derive(Debug)]
pub struct Sender {
    key: PrivateKeySigner,
    chain_id: u64,
    order: Mutex<()>,
}

/// What to send.
#[derive(Clone, Debug)]
pub struct Order {
    /// To whom.
    pub to: Address,
    /// How much money goes along.
    pub value: Amount,
    /// ABI-encoded call, empty for a transfer.
    pub data: Bytes,
}

/// A transaction could not be sent, or did nothing.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The node said no or is gone.
    #[error(transparent)]
    Rpc(#[from] RpcError),
    /// The key refused.
    #[error("cannot sign with the key of {0}")]
    Sign(Address, #[source] alloy_signer::Error),
    /// It is in a block and was reverted.
    #[error("transaction {hash} was reverted: {reason}")]
    Reverted {
        /// Which.
        hash: B256,
        /// The ledger's reason.
        reason: String,
    },
}

/// How long a transaction may wait for its block.
const INCLUSION_LIMIT: Duration = Duration::from_secs(180);

impl Sender {
    /// For one account on one chain.
    #[must_use]
    pub fn new(key: PrivateKeySigner, chain_id: u64) -> Self {
        Self { key, chain_id, order: Mutex::new(()) }
    }

    /// Whose money it sends.
    #[must_use]
    pub const fn address(&self) -> Address {
        self.key.address()
    }

    /// The key, for what is signed beside transactions.
    #[must_use]
    pub const fn key(&self) -> &PrivateKeySigner {
        &self.key
    }

    /// Sends, and returns once the node has it.
    ///
    /// # Errors
    /// [`SendError`]; a call that would revert is refused with the ledger's reason, unsent.
    pub async fn send(&self, rpc: &Rpc, order: &Order) -> Result<B256, SendError> {
        // Two sends at once would take the same nonce.
        let _turn = self.order.lock().await;
        let from = self.address();
        let request = json!([{
            "from": from, "to": order.to, "value": order.value.to_u256(), "data": order.data,
        }]);
        let gas: U64 = rpc.call("eth_estimateGas", request).await?;
        let tip: U256 = rpc.call("eth_maxPriorityFeePerGas", json!([])).await?;
        let base = rpc.head().await?.base_fee_per_gas.unwrap_or_default();
        let cap = base.saturating_mul(U256::from(2)).saturating_add(tip);
        let transaction = TxEip1559 {
            chain_id: self.chain_id,
            nonce: rpc.next_nonce(from).await?,
            gas_limit: gas.to(),
            max_fee_per_gas: u128::try_from(cap).unwrap_or(u128::MAX),
            max_priority_fee_per_gas: u128::try_from(tip).unwrap_or(u128::MAX),
            to: TxKind::Call(order.to),
            value: order.value.to_u256(),
            access_list: alloy_eips::eip2930::AccessList::default(),
            input: order.data.clone(),
        };
        let signature = self
            .key
            .sign_hash_sync(&transaction.signature_hash())
            .map_err(|error| SendError::Sign(from, error))?;
        let envelope = TxEnvelope::from(transaction.into_signed(signature));
        let raw = Bytes::from(envelope.encoded_2718());
        Ok(rpc.call("eth_sendRawTransaction", json!([raw])).await?)
    }

    /// Sends, and returns once it is in a block and has done its work.
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn execute(&self, rpc: &Rpc, order: &Order) -> Result<TransactionReceipt, SendError> {
        let hash = self.send(rpc, order).await?;
        let receipt = rpc.included(hash, INCLUSION_LIMIT).await?;
        if receipt.succeeded() {
            return Ok(receipt);
        }
        let reason = receipt.revert_reason.unwrap_or_else(|| "no reason given".to_owned());
        Err(SendError::Reverted { hash, reason })
    }
}
