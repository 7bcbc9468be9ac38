//! A node's JSON-RPC, as this program calls it.

use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;

use alloy_primitives::{Address, B256, Bytes, Log, LogData, U64, U256};
use alloy_sol_types::SolCall;
use pouw_types::{Amount, Network};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// A node's JSON-RPC door.
#[derive(Debug)]
pub struct Rpc {
    http: reqwest::Client,
    url: String,
    next_id: AtomicU64,
}

/// A call to a node failed.
#[derive(Debug, thiserror::Error)]
pub enum RpcError {
    /// Nobody answered.
    #[error("no node answers at {url}: is it running (`pouw devnet start`)?")]
    Unreachable {
        /// Where.
        url: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// The answer is not JSON-RPC.
    #[error("{url} answered {method} with something that is not JSON-RPC: {detail}")]
    Malformed {
        /// Where.
        url: String,
        /// To which call.
        method: String,
        /// What was wrong.
        detail: String,
    },
    /// The node is of a chain that nobody here knows.
    #[error("{url} is on chain {chain_id}, which is not a network of pouw")]
    Foreign {
        /// Where.
        url: String,
        /// Its EIP-155 id.
        chain_id: u64,
    },
    /// The node said no.
    #[error("{method}: {message}")]
    Refused {
        /// To which call.
        method: String,
        /// JSON-RPC error code.
        code: i64,
        /// The node's reason.
        message: String,
    },
    /// A transaction wasn't included in time.
    #[error("transaction {0} is not in a block after {1:?}: look later with `pouw chain tx {0}`")]
    NotIncluded(B256, Duration),
}

impl RpcError {
    /// Whether the same call may work later.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::NotIncluded(..))
    }
}

/// What became of a transaction.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TransactionReceipt {
    /// Which.
    pub transaction_hash: B256,
    /// 1 = done, 0 = reverted.
    pub status: U64,
    /// In which block.
    pub block_number: U64,
    /// That block's id.
    pub block_hash: B256,
    /// Gas it took.
    pub gas_used: U64,
    /// atto-FLUX a gas.
    #[serde(default)]
    pub effective_gas_price: U256,
    /// What the contracts told.
    pub logs: Vec<LoggedEvent>,
    /// Why it reverted, where the node says so.
    #[serde(default)]
    pub revert_reason: Option<String>,
}

impl TransactionReceipt {
    /// Whether it did what it was sent for.
    #[must_use]
    pub fn succeeded(&self) -> bool {
        self.status == U64::from(1)
    }
}

/// One event in a receipt.
#[derive(Clone, Debug, Deserialize)]
pub struct LoggedEvent {
    /// Which contract.
    pub address: Address,
    /// Indexed fields.
    pub topics: Vec<B256>,
    /// The others.
    pub data: Bytes,
}

impl From<&LoggedEvent> for Log {
    fn from(event: &LoggedEvent) -> Self {
        let data = LogData::new_unchecked(event.topics.clone(), event.data.clone());
        Self { address: event.address, data }
    }
}

/// The head of the chain, in brief.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BlockHead {
    /// Height.
    pub number: U64,
    /// Id.
    pub hash: B256,
    /// Unix seconds.
    pub timestamp: U64,
    /// atto-FLUX a gas.
    #[serde(default)]
    pub base_fee_per_gas: Option<U256>,
}

const CALL_TIMEOUT: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(200);

impl Rpc {
    /// Prepares for calls to `url`; nothing is sent yet.
    #[must_use]
    pub fn new(url: &str) -> Self {
        Self {
            http: http_client(url, CALL_TIMEOUT),
            url: url.trim_end_matches('/').to_owned(),
            next_id: AtomicU64::new(1),
        }
    }

    /// Where it calls.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Calls any method.
    ///
    /// # Errors
    /// [`RpcError`].
    pub async fn call<T: DeserializeOwned>(
        &self,
        method: &str,
        params: Value,
    ) -> Result<T, RpcError> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let body = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        let unreachable = |source| RpcError::Unreachable { url: self.url.clone(), source };
        let malformed = |detail: String| RpcError::Malformed {
            url: self.url.clone(),
            method: method.to_owned(),
            detail,
        };
        let answer = self.http.post(&self.url).json(&body).send().await.map_err(unreachable)?;
        let bytes = answer.bytes().await.map_err(unreachable)?;
        let answer: Answer =
            serde_json::from_slice(&bytes).map_err(|error| malformed(error.to_string()))?;
        if let Some(error) = answer.error {
            let method = method.to_owned();
            return Err(RpcError::Refused { method, code: error.code, message: error.message });
        }
        serde_json::from_value(answer.result).map_err(|error| malformed(error.to_string()))
    }

    /// The chain's EIP-155 id.
    ///
    /// # Errors
    /// [`RpcError`].
    pub async fn chain_id(&self) -> Result<u64, RpcError> {
        Ok(self.call::<U64>("eth_chainId", json!([])).await?.to())
    }

    /// The network that the node is of.
    ///
    /// # Errors
    /// [`RpcError`], also where its chain is no network of pouw.
    pub async fn network(&self) -> Result<&'static Network, RpcError> {
        let chain_id = self.chain_id().await?;
        let unknown = || RpcError::Foreign { url: self.url.clone(), chain_id };
        Network::with_chain_id(chain_id).ok_or_else(unknown)
    }

    /// The head.
    ///
    /// # Errors
    /// [`RpcError`].
    pub async fn head(&self) -> Result<BlockHead, RpcError> {
        self.call("eth_getBlockByNumber", json!(["latest", false])).await
    }

    /// An account's money at the head.
    ///
    /// # Errors
    /// [`RpcError`].
    pub async fn balance(&self, address: Address) -> Result<Amount, RpcError> {
        let value: U256 = self.call("eth_getBalance", json!([address, "latest"])).await?;
        Ok(Amount::from_u256(value).unwrap_or(Amount::MAX))
    }

    /// The number of an account's next transaction, those that wait counted in.
    ///
    /// # Errors
    /// [`RpcError`].
    pub async fn next_nonce(&self, address: Address) -> Result<u64, RpcError> {
        let nonce: U64 = self.call("eth_getTransactionCount", json!([address, "pending"])).await?;
        Ok(nonce.to())
    }

    /// A view of a contract at the head.
    ///
    /// # Errors
    /// [`RpcError`], also where the answer doesn't decode.
    pub async fn view<C: SolCall>(&self, to: Address, call: &C) -> Result<C::Return, RpcError> {
        let data = Bytes::from(call.abi_encode());
        let params = json!([{ "to": to, "data": data }, "latest"]);
        let answer: Bytes = self.call("eth_call", params).await?;
        C::abi_decode_returns(&answer).map_err(|error| RpcError::Malformed {
            url: self.url.clone(),
            method: C::SIGNATURE.to_owned(),
            detail: error.to_string(),
        })
    }

    /// A transaction's receipt, once it is in a block.
    ///
    /// # Errors
    /// [`RpcError`].
    pub async fn receipt(&self, hash: B256) -> Result<Option<TransactionReceipt>, RpcError> {
        self.call("eth_getTransactionReceipt", json!([hash])).await
    }

    /// Waits until a transaction is in a block.
    ///
    /// # Errors
    /// [`RpcError::NotIncluded`] after `limit`.
    pub async fn included(
        &self,
        hash: B256,
        limit: Duration,
    ) -> Result<TransactionReceipt, RpcError> {
        let deadline = tokio::time::Instant::now() + limit;
        loop {
            match self.receipt(hash).await {
                Ok(Some(receipt)) => return Ok(receipt),
                Err(error) if !error.is_transient() => return Err(error),
                Ok(None) | Err(_) if tokio::time::Instant::now() < deadline => {
                    tokio::time::sleep(POLL).await;
                }
                Ok(None) | Err(_) => return Err(RpcError::NotIncluded(hash, limit)),
            }
        }
    }
}

/// An HTTP client for one door: proxies of the environment are used, except for this machine.
#[must_use]
pub fn http_client(url: &str, timeout: Duration) -> reqwest::Client {
    // An error means that another part of this process has chosen one: just as good.
    let _already_there = rustls::crypto::ring::default_provider().install_default();
    let builder = reqwest::Client::builder().timeout(timeout);
    let builder = if is_loopback(url) { builder.no_proxy() } else { builder };
    builder.build().unwrap_or_default()
}

fn is_loopback(url: &str) -> bool {
    let host = reqwest::Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned));
    host.is_some_and(|host| {
        let address = host.trim_matches(['[', ']']).parse::<core::net::IpAddr>();
        host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    })
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    result: Value,
    error: Option<AnswerError>,
}

#[derive(Deserialize)]
struct AnswerError {
    code: i64,
    message: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_exempt_from_proxies() {
        for (url, expected) in [
            ("http://127.0.0.1:8545", true),
            ("http://127.9.9.9", true),
            ("http://localhost/x", true),
            ("http://[::1]:80", true),
            ("https://127.example.org", false),
            ("https://node.example.org", false),
            ("nonsense", false),
        ] {
            assert_eq!(is_loopback(url), expected, "{url}");
        }
    }
}
