//! JSON-RPC errors, with geth's codes and messages where clients match on them.

use alloy_primitives::Bytes;
use serde_json::{Value, json};

use super::METHODS;
use crate::backend::{BackendError, CallError, SubmitError};

/// The `error` member of an answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RpcError {
    code: i64,
    message: String,
    data: Option<Value>,
}

const PARSE: i64 = -32700;
const REQUEST: i64 = -32600;
const METHOD: i64 = -32601;
const PARAMS: i64 = -32602;
const INTERNAL: i64 = -32603;
/// Geth's code for what the chain refuses.
const SERVER: i64 = -32000;
const TIMEOUT: i64 = -32002;
const TOO_LONG: i64 = -32003;
const NOT_SUPPORTED: i64 = -32004;
const LIMIT: i64 = -32005;
/// Geth's code for a revert, with the revert data.
const REVERTED: i64 = 3;

/// Longest name of a method that is compared with the known ones.
const LONGEST_NAME: usize = 64;

impl RpcError {
    fn new(code: i64, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), data: None }
    }

    pub(super) fn into_json(self) -> Value {
        let Self { code, message, data } = self;
        match data {
            Some(data) => json!({ "code": code, "message": message, "data": data }),
            None => json!({ "code": code, "message": message }),
        }
    }

    pub(super) fn parse(error: &serde_json::Error) -> Self {
        Self::new(PARSE, format!("not JSON that can be read: {error}"))
    }

    pub(super) fn request(what: impl Into<String>) -> Self {
        Self::new(REQUEST, format!("invalid request: {}", what.into()))
    }

    pub(super) fn params(what: impl Into<String>) -> Self {
        Self::new(PARAMS, format!("invalid params: {}", what.into()))
    }

    pub(super) fn limit(what: impl Into<String>) -> Self {
        Self::new(LIMIT, what)
    }

    pub(super) fn server(what: impl Into<String>) -> Self {
        Self::new(SERVER, what)
    }

    pub(super) fn internal(what: impl Into<String>) -> Self {
        Self::new(INTERNAL, what)
    }

    pub(super) fn timeout() -> Self {
        Self::new(TIMEOUT, "request timed out: ask for less at once")
    }

    pub(super) fn too_long(limit_bytes: usize) -> Self {
        let message = format!("response is too big: more than {limit_bytes} bytes, ask for less");
        Self::new(TOO_LONG, message)
    }

    /// The method is not answered: because a node holds no keys, or because it does not exist.
    pub(super) fn method(name: &str) -> Self {
        let keys = name.starts_with("personal_")
            || name.starts_with("eth_sign")
            || matches!(name, "eth_sendTransaction" | "eth_requestAccounts" | "eth_coinbase");
        let shown: String = name.chars().take(LONGEST_NAME).collect();
        if keys {
            let message = format!(
                "{shown} would need a key, and this node holds none: sign in your wallet and \
                 send by eth_sendRawTransaction"
            );
            return Self::new(NOT_SUPPORTED, message);
        }
        if let Some(why) = not_here(name) {
            return Self::new(NOT_SUPPORTED, format!("{shown} is not supported: {why}"));
        }
        let mut message = format!("the method {shown} does not exist/is not available");
        let nearest = METHODS.iter().max_by(|a, b| {
            strsim::jaro_winkler(a, &shown).total_cmp(&strsim::jaro_winkler(b, &shown))
        });
        if let Some(near) = nearest.filter(|near| strsim::jaro_winkler(near, &shown) > 0.8) {
            message = format!("{message}; did you mean {near}?");
        }
        Self::new(METHOD, message)
    }
}

/// Why a method that Ethereum has can't be answered on this chain.
fn not_here(name: &str) -> Option<&'static str> {
    match name {
        "eth_getProof" => {
            Some("the state is a jellyfish Merkle tree of BLAKE3, not Ethereum's trie")
        }
        "eth_blobBaseFee" => Some("there are no blobs"),
        "eth_createAccessList" => Some("access lists save no gas; eth_estimateGas is exact"),
        "eth_getWork" | "eth_submitWork" | "eth_submitHashrate" => {
            Some("the node's own miner finds blocks")
        }
        _ if name.starts_with("debug_") || name.starts_with("trace_") => {
            Some("there is no EVM to trace")
        }
        _ => None,
    }
}

impl From<BackendError> for RpcError {
    fn from(error: BackendError) -> Self {
        let code = match error {
            BackendError::NoBlock(_) | BackendError::Pruned { .. } => SERVER,
            BackendError::TooManyLogs(_) => LIMIT,
            BackendError::Unavailable(_) => INTERNAL,
        };
        Self::new(code, error.to_string())
    }
}

impl From<CallError> for RpcError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Reverted { ref data, .. } => {
                let data = Some(json!(Bytes::clone(data)));
                Self { code: REVERTED, message: error.to_string(), data }
            }
            CallError::Backend(error) => error.into(),
            CallError::InsufficientFunds { .. }
            | CallError::OutOfGas { .. }
            | CallError::Unsupported(_) => Self::new(SERVER, error.to_string()),
        }
    }
}

impl From<SubmitError> for RpcError {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::Backend(error) => error.into(),
            refused => Self::new(SERVER, refused.to_string()),
        }
    }
}
