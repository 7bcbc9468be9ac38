//! JSON-RPC 2.0: envelopes, batches, and which method goes where.
//!
//! The dispatcher is our own: one port serves HTTP, JSON-RPC and WebSocket through one router,
//! with one set of limits, and forty methods over positional parameters need no framework.

mod chain;
mod error;
mod ethereum;
mod fees;
mod filters;
mod params;
mod state;
mod subscribe;

use serde_json::{Value, json};

use self::error::RpcError;
pub(crate) use self::filters::Filters;
use self::params::Params;
pub(crate) use self::subscribe::Subscriptions;
use crate::server::Node;

/// The methods that are answered, by name; for the nearest name and the list of modules.
pub const METHODS: &[&str] = &[
    "eth_accounts",
    "eth_blockNumber",
    "eth_call",
    "eth_chainId",
    "eth_estimateGas",
    "eth_feeHistory",
    "eth_gasPrice",
    "eth_getBalance",
    "eth_getBlockByHash",
    "eth_getBlockByNumber",
    "eth_getBlockReceipts",
    "eth_getBlockTransactionCountByHash",
    "eth_getBlockTransactionCountByNumber",
    "eth_getCode",
    "eth_getFilterChanges",
    "eth_getFilterLogs",
    "eth_getLogs",
    "eth_getRawTransactionByHash",
    "eth_getStorageAt",
    "eth_getTransactionByBlockHashAndIndex",
    "eth_getTransactionByBlockNumberAndIndex",
    "eth_getTransactionByHash",
    "eth_getTransactionCount",
    "eth_getTransactionReceipt",
    "eth_getUncleCountByBlockHash",
    "eth_getUncleCountByBlockNumber",
    "eth_maxPriorityFeePerGas",
    "eth_newBlockFilter",
    "eth_newFilter",
    "eth_newPendingTransactionFilter",
    "eth_sendRawTransaction",
    "eth_subscribe",
    "eth_syncing",
    "eth_uninstallFilter",
    "eth_unsubscribe",
    "net_listening",
    "net_version",
    "rpc_modules",
    "web3_clientVersion",
    "web3_sha3",
];

/// Through which door a request came.
#[derive(Debug)]
pub(crate) enum Door<'a> {
    /// One request, one answer.
    Http,
    /// A connection that can be told things later.
    Socket(&'a mut Subscriptions),
}

/// Answers one body: a request or a batch. `None` if nothing is to be said, as to notifications.
pub(crate) async fn answer(node: &Node, body: &[u8], door: &mut Door<'_>) -> Option<Vec<u8>> {
    let answer = match serde_json::from_slice(body) {
        Ok(Value::Array(requests)) => batch(node, requests, door).await,
        Ok(request) => single(node, request, door).await,
        Err(error) => Some(failure(&Value::Null, RpcError::parse(&error))),
    };
    answer.map(|value| encode(node, &value))
}

fn encode(node: &Node, value: &Value) -> Vec<u8> {
    let bytes = value.to_string().into_bytes();
    if bytes.len() <= node.config.response_bytes {
        return bytes;
    }
    let id = value.get("id").cloned().unwrap_or_default();
    failure(&id, RpcError::too_long(node.config.response_bytes)).to_string().into_bytes()
}

async fn batch(node: &Node, requests: Vec<Value>, door: &mut Door<'_>) -> Option<Value> {
    if requests.is_empty() {
        return Some(failure(&Value::Null, RpcError::request("an empty batch")));
    }
    let limit = node.config.batch;
    if requests.len() > limit {
        let message = format!("a batch of {}: at most {limit} are answered", requests.len());
        return Some(failure(&Value::Null, RpcError::request(message)));
    }
    let mut answers = Vec::with_capacity(requests.len());
    let mut size_bytes = 0_usize;
    for request in requests {
        let id = request.get("id").cloned();
        let answer = if size_bytes > node.config.response_bytes {
            id.map(|id| failure(&id, RpcError::too_long(node.config.response_bytes)))
        } else {
            single(node, request, door).await
        };
        if let Some(mut answer) = answer {
            let length = answer.to_string().len();
            if size_bytes.saturating_add(length) > node.config.response_bytes {
                let id = answer.get("id").cloned().unwrap_or_default();
                answer = failure(&id, RpcError::too_long(node.config.response_bytes));
            }
            // What is refused for its length counts as the limit, so that work stops too.
            size_bytes = size_bytes.saturating_add(length);
            answers.push(answer);
        }
    }
    (!answers.is_empty()).then_some(Value::Array(answers))
}

async fn single(node: &Node, request: Value, door: &mut Door<'_>) -> Option<Value> {
    let Value::Object(mut fields) = request else {
        return Some(failure(&Value::Null, RpcError::request("a request is an object")));
    };
    let id = match fields.remove("id") {
        Some(id @ (Value::Null | Value::Number(_) | Value::String(_))) => Some(id),
        Some(_) => {
            let error = RpcError::request("`id` is a number, a string or null");
            return Some(failure(&Value::Null, error));
        }
        None => None,
    };
    if fields.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
        let error = RpcError::request("`jsonrpc` must be \"2.0\"");
        return Some(failure(&id.unwrap_or_default(), error));
    }
    let Some(Value::String(method)) = fields.remove("method") else {
        let error = RpcError::request("`method` must be a string");
        return Some(failure(&id.unwrap_or_default(), error));
    };
    // A notification wants no answer, and nothing here is worth doing without one.
    let id = id?;
    let outcome = match Params::read(fields.remove("params")) {
        Ok(params) => call(node, &method, params, door).await,
        Err(error) => Err(error),
    };
    Some(match outcome {
        Ok(result) => json!({ "jsonrpc": "2.0", "id": id, "result": result }),
        Err(error) => failure(&id, error),
    })
}

fn failure(id: &Value, error: RpcError) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "error": error.into_json() })
}

/// The body that says that a request was too slow; for the doors.
pub(crate) fn timed_out() -> Vec<u8> {
    failure(&Value::Null, RpcError::timeout()).to_string().into_bytes()
}

/// The body that refuses another body.
pub(crate) fn refusal(message: impl Into<String>) -> Vec<u8> {
    failure(&Value::Null, RpcError::request(message)).to_string().into_bytes()
}

async fn call(
    node: &Node,
    method: &str,
    params: Params,
    door: &mut Door<'_>,
) -> Result<Value, RpcError> {
    match method {
        "eth_subscribe" => subscribe::subscribe(node, params, door),
        "eth_unsubscribe" => subscribe::unsubscribe(params, door),
        "eth_blockNumber"
        | "eth_getBlockByHash"
        | "eth_getBlockByNumber"
        | "eth_getBlockReceipts"
        | "eth_getBlockTransactionCountByHash"
        | "eth_getBlockTransactionCountByNumber"
        | "eth_getRawTransactionByHash"
        | "eth_getTransactionByBlockHashAndIndex"
        | "eth_getTransactionByBlockNumberAndIndex"
        | "eth_getTransactionByHash"
        | "eth_getTransactionReceipt"
        | "eth_getUncleCountByBlockHash"
        | "eth_getUncleCountByBlockNumber" => chain::call(node, method, params).await,
        "eth_call"
        | "eth_estimateGas"
        | "eth_getBalance"
        | "eth_getCode"
        | "eth_getStorageAt"
        | "eth_getTransactionCount"
        | "eth_sendRawTransaction" => state::call(node, method, params).await,
        "eth_feeHistory" | "eth_gasPrice" | "eth_maxPriorityFeePerGas" => {
            fees::call(node, method, params).await
        }
        "eth_getFilterChanges"
        | "eth_getFilterLogs"
        | "eth_getLogs"
        | "eth_newBlockFilter"
        | "eth_newFilter"
        | "eth_newPendingTransactionFilter"
        | "eth_uninstallFilter" => filters::call(node, method, params).await,
        _ => about(node, method, params),
    }
}

/// What is known without asking the chain.
fn about(node: &Node, method: &str, mut params: Params) -> Result<Value, RpcError> {
    let network = node.backend.network();
    let answer = match method {
        "eth_accounts" => json!([]),
        "eth_chainId" => json!(format!("{:#x}", network.chain_id)),
        // A node answers from the blocks it has; it has no notion of a distance to go.
        "eth_syncing" => json!(false),
        "net_listening" => json!(true),
        "net_version" => json!(network.chain_id.to_string()),
        "rpc_modules" => json!({ "eth": "1.0", "net": "1.0", "rpc": "1.0", "web3": "1.0" }),
        "web3_clientVersion" => json!(node.backend.client_version()),
        "web3_sha3" => {
            let data: alloy_primitives::Bytes = params.required("data")?;
            json!(alloy_primitives::keccak256(&data))
        }
        unknown => return Err(RpcError::method(unknown)),
    };
    params.end()?;
    Ok(answer)
}
