//! Blocks, transactions, receipts.

use alloy_eips::{BlockId, BlockNumberOrTag};
use alloy_primitives::B256;
use serde::Serialize;
use serde_json::{Value, json};

use super::error::RpcError;
use super::ethereum;
use super::params::{Params, Quantity};
use crate::backend::{BlockRef, ReceiptView};
use crate::server::Node;

/// Blocks after which `safe` holds a block: above what an agent waits for a dear opening.
const SAFE_BLOCKS: u64 = 6;

/// Which block a tag, height or hash names now.
pub(super) async fn resolve(node: &Node, id: BlockId) -> Result<BlockRef, RpcError> {
    let tag = match id {
        BlockId::Hash(hash) => return Ok(BlockRef::Hash(hash.block_hash)),
        BlockId::Number(tag) => tag,
    };
    let behind = |blocks: u64| async move {
        let head = node.backend.head().await?;
        Ok(BlockRef::Height(head.height.saturating_sub(blocks)))
    };
    match tag {
        // What waits is no block here: the latest one stands for it.
        BlockNumberOrTag::Latest | BlockNumberOrTag::Pending => Ok(BlockRef::Latest),
        BlockNumberOrTag::Earliest => Ok(BlockRef::Height(0)),
        BlockNumberOrTag::Number(height) => Ok(BlockRef::Height(height)),
        BlockNumberOrTag::Safe => behind(SAFE_BLOCKS).await,
        BlockNumberOrTag::Finalized => behind(node.backend.network().horizon_blocks).await,
    }
}

/// As JSON; none of our answers can fail to be.
pub(super) fn to_json<T: Serialize>(value: T) -> Result<Value, RpcError> {
    serde_json::to_value(value).map_err(|error| RpcError::internal(error.to_string()))
}

fn hex(value: u64) -> Value {
    json!(format!("{value:#x}"))
}

pub(super) async fn call(node: &Node, method: &str, mut params: Params) -> Result<Value, RpcError> {
    match method {
        "eth_blockNumber" => {
            params.end()?;
            Ok(hex(node.backend.head().await?.height))
        }
        "eth_getTransactionByHash" | "eth_getRawTransactionByHash" => {
            let hash: B256 = params.required("transaction hash")?;
            params.end()?;
            match node.backend.transaction(hash).await? {
                None => Ok(Value::Null),
                Some(tx) if method == "eth_getRawTransactionByHash" => to_json(tx.raw),
                Some(tx) => to_json(ethereum::transaction(&tx)?),
            }
        }
        "eth_getTransactionReceipt" => {
            let hash: B256 = params.required("transaction hash")?;
            params.end()?;
            match node.backend.receipt(hash).await? {
                None => Ok(Value::Null),
                Some(receipt) => to_json(ethereum::receipt(&receipt)?),
            }
        }
        _ => in_block(node, method, params).await,
    }
}

/// The methods whose first argument names a block.
async fn in_block(node: &Node, method: &str, mut params: Params) -> Result<Value, RpcError> {
    let id = if method.contains("ByHash") || method.contains("ByBlockHash") {
        BlockId::from(params.required::<B256>("block hash")?)
    } else if method == "eth_getBlockReceipts" {
        params.required("block")?
    } else {
        BlockId::Number(params.required("block number")?)
    };
    let at = resolve(node, id).await?;
    match method {
        "eth_getBlockByHash" | "eth_getBlockByNumber" => {
            let full: bool = params.optional("full transactions")?.unwrap_or_default();
            params.end()?;
            block(node, at, full).await
        }
        "eth_getBlockReceipts" => {
            params.end()?;
            let Some(receipts) = node.backend.receipts(at).await? else { return Ok(Value::Null) };
            let all: Result<Vec<_>, _> = receipts.iter().map(ethereum::receipt).collect();
            to_json(all?)
        }
        "eth_getTransactionByBlockHashAndIndex" | "eth_getTransactionByBlockNumberAndIndex" => {
            let Quantity(index) = params.required("index")?;
            params.end()?;
            let receipts = node.backend.receipts(at).await?.unwrap_or_default();
            let found = usize::try_from(index).ok().and_then(|index| receipts.get(index));
            found.map_or(Ok(Value::Null), |one: &ReceiptView| {
                to_json(ethereum::transaction(&one.tx)?)
            })
        }
        _ => {
            params.end()?;
            let Some(block) = node.backend.block(at).await? else { return Ok(Value::Null) };
            let uncles = method.starts_with("eth_getUncleCount");
            Ok(json!(format!("{:#x}", if uncles { 0 } else { block.transactions.len() })))
        }
    }
}

async fn block(node: &Node, at: BlockRef, full: bool) -> Result<Value, RpcError> {
    let Some(block) = node.backend.block(at).await? else { return Ok(Value::Null) };
    if !full || block.transactions.is_empty() {
        return to_json(ethereum::block_with_hashes(&block));
    }
    // By hash, so that header and bodies are of one block even if the chain moves in between.
    match node.backend.receipts(BlockRef::Hash(block.hash)).await? {
        Some(receipts) => to_json(ethereum::block_with_transactions(&block, &receipts)?),
        None => Ok(Value::Null),
    }
}
