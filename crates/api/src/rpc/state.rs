//! Accounts, calls, and sending.

use alloy_eips::{BlockId, BlockNumberOrTag};
use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_rpc_types_eth::TransactionRequest;
use serde_json::{Value, json};

use super::chain::resolve;
use super::error::RpcError;
use super::params::Params;
use crate::backend::{BlockRef, CallError, CallRequest};
use crate::server::Node;

/// What stands for the code of a system contract: INVALID, then a mark for people. Clients that
/// ask whether there is a contract find one; nobody can run it.
const CODE: &[u8] = b"\xfepouw native";

pub(super) async fn call(node: &Node, method: &str, params: Params) -> Result<Value, RpcError> {
    match method {
        "eth_getBalance" | "eth_getTransactionCount" => account(node, method, params).await,
        "eth_getCode" => code(node, params).await,
        "eth_getStorageAt" => storage(node, params).await,
        "eth_sendRawTransaction" => send(node, params).await,
        _ => execute(node, method, params).await,
    }
}

async fn account(node: &Node, method: &str, mut params: Params) -> Result<Value, RpcError> {
    let address: Address = params.required("address")?;
    let id: BlockId = params.optional("block")?.unwrap_or_default();
    params.end()?;
    let counts = method == "eth_getTransactionCount";
    if counts && id == BlockId::Number(BlockNumberOrTag::Pending) {
        let nonce = node.backend.pending_nonce(address).await?;
        return Ok(json!(format!("{nonce:#x}")));
    }
    let at = resolve(node, id).await?;
    let account = node.backend.account(address, at).await?;
    let answer = if counts { u128::from(account.nonce) } else { account.balance };
    Ok(json!(format!("{answer:#x}")))
}

async fn code(node: &Node, mut params: Params) -> Result<Value, RpcError> {
    let address: Address = params.required("address")?;
    let id: BlockId = params.optional("block")?.unwrap_or_default();
    params.end()?;
    require_block(node, id).await?;
    let code = if node.backend.is_contract(address) { CODE } else { &[] };
    Ok(json!(Bytes::from_static(code)))
}

async fn storage(node: &Node, mut params: Params) -> Result<Value, RpcError> {
    let _address: Address = params.required("address")?;
    let _slot: U256 = params.required("slot")?;
    let id: BlockId = params.optional("block")?.unwrap_or_default();
    params.end()?;
    require_block(node, id).await?;
    Ok(json!(B256::ZERO))
}

/// The answer is the same at every block; a block that is not known is still an error.
async fn require_block(node: &Node, id: BlockId) -> Result<(), RpcError> {
    let at = resolve(node, id).await?;
    match node.backend.block(at).await? {
        Some(_) => Ok(()),
        None => Err(RpcError::server("header not found: no such block is known")),
    }
}

async fn send(node: &Node, mut params: Params) -> Result<Value, RpcError> {
    let raw: Bytes = params.required("signed transaction")?;
    params.end()?;
    let hash = node.backend.submit(raw).await?;
    Ok(json!(hash))
}

async fn execute(node: &Node, method: &str, mut params: Params) -> Result<Value, RpcError> {
    let request: TransactionRequest = params.required("transaction")?;
    let id: BlockId = params.optional("block")?.unwrap_or_default();
    let overrides: Option<Value> = params.optional("state overrides")?;
    params.end()?;
    if overrides.is_some_and(|value| value.as_object().is_none_or(|object| !object.is_empty())) {
        return Err(RpcError::params("state overrides are not supported"));
    }
    let call = request_of(request)?;
    let at = resolve(node, id).await?;
    check_funds(node, &call, at).await?;
    if method == "eth_estimateGas" {
        let gas = node.backend.estimate_gas(call, at).await?;
        return Ok(json!(format!("{gas:#x}")));
    }
    Ok(json!(node.backend.call(call, at).await?))
}

/// Who sends more than there is learns it in the words that wallets look for.
async fn check_funds(node: &Node, call: &CallRequest, at: BlockRef) -> Result<(), RpcError> {
    if call.value.is_zero() {
        return Ok(());
    }
    let have = node.backend.account(call.from, at).await?.balance;
    if call.value <= U256::from(have) {
        return Ok(());
    }
    Err(CallError::InsufficientFunds { address: call.from, have, want: call.value }.into())
}

fn request_of(request: TransactionRequest) -> Result<CallRequest, RpcError> {
    let gas_price = request.gas_price.or(request.max_fee_per_gas);
    let data = request
        .input
        .try_into_unique_input()
        .map_err(|_| RpcError::params("`data` and `input` are both given and differ"))?;
    Ok(CallRequest {
        from: request.from.unwrap_or_default(),
        to: request.to.and_then(|to| to.to().copied()),
        value: request.value.unwrap_or_default(),
        data: data.unwrap_or_default(),
        gas: request.gas,
        gas_price,
    })
}
