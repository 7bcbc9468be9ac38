//! Our values as Ethereum's JSON.

use alloy_consensus::transaction::Recovered;
use alloy_consensus::{
    Header, Receipt, ReceiptEnvelope, Transaction as _, TxEnvelope, TxType, Typed2718 as _,
};
use alloy_eips::eip2718::Decodable2718 as _;
use alloy_primitives::{Bloom, U256, logs_bloom};
use alloy_rpc_types_eth::{
    Block, BlockTransactions, Header as RpcHeader, Log as RpcLog, Transaction, TransactionReceipt,
};

use serde::Serialize;

use super::error::RpcError;

use crate::backend::{BlockView, LogView, ReceiptView, TxView};

/// Milliseconds in a second.
const SECOND_MS: u64 = 1_000;

/// A header. Its hash is ours, and its bloom says "perhaps" to every question (all bits set where
/// there are transactions), since headers here carry none.
pub(super) fn header(block: &BlockView) -> RpcHeader {
    let bloom = if block.transactions.is_empty() { Bloom::ZERO } else { Bloom::repeat_byte(0xff) };
    let inner = Header {
        parent_hash: block.parent,
        beneficiary: block.miner,
        state_root: block.state_root,
        transactions_root: block.transactions_root,
        receipts_root: block.receipts_root,
        logs_bloom: bloom,
        difficulty: block.difficulty,
        number: block.height,
        gas_limit: block.gas_limit,
        gas_used: block.gas_used,
        timestamp: block.time_ms / SECOND_MS,
        base_fee_per_gas: Some(block.base_fee),
        ..Header::default()
    };
    RpcHeader {
        hash: block.hash,
        inner,
        total_difficulty: Some(block.total_weight),
        size: Some(U256::from(block.size_bytes)),
    }
}

/// A block with the hashes of its transactions.
pub(super) fn block_with_hashes(block: &BlockView) -> Block {
    let hashes = BlockTransactions::Hashes(block.transactions.clone());
    Block { header: header(block), uncles: Vec::new(), transactions: hashes, withdrawals: None }
}

/// A block with its transactions.
pub(super) fn block_with_transactions(
    block: &BlockView,
    receipts: &[ReceiptView],
) -> Result<Block, RpcError> {
    let full: Result<Vec<_>, _> = receipts.iter().map(|receipt| transaction(&receipt.tx)).collect();
    let full = BlockTransactions::Full(full?);
    Ok(Block { header: header(block), uncles: Vec::new(), transactions: full, withdrawals: None })
}

fn decode(tx: &TxView) -> Result<TxEnvelope, RpcError> {
    TxEnvelope::decode_2718(&mut tx.raw.as_ref())
        .map_err(|error| RpcError::internal(format!("stored transaction {}: {error}", tx.hash)))
}

/// A transaction.
pub(super) fn transaction(tx: &TxView) -> Result<Transaction, RpcError> {
    let envelope = decode(tx)?;
    let base_fee = tx.place.map(|place| place.base_fee);
    Ok(Transaction {
        effective_gas_price: Some(envelope.effective_gas_price(base_fee)),
        inner: Recovered::new_unchecked(envelope, tx.sender),
        block_hash: tx.place.map(|place| place.block),
        block_number: tx.place.map(|place| place.height),
        transaction_index: tx.place.map(|place| place.index),
        block_timestamp: tx.place.map(|place| place.time_ms / SECOND_MS),
    })
}

/// A log; `removed` if its block left the best chain.
pub(super) fn log(view: &LogView, removed: bool) -> RpcLog {
    RpcLog {
        inner: view.log.clone(),
        block_hash: Some(view.place.block),
        block_number: Some(view.place.height),
        block_timestamp: Some(view.place.time_ms / SECOND_MS),
        transaction_hash: Some(view.tx),
        transaction_index: Some(view.place.index),
        log_index: Some(view.index),
        removed,
    }
}

/// A receipt, with the reason of a refusal in a field of its own that Ethereum's don't have.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ReceiptWithReason {
    #[serde(flatten)]
    receipt: TransactionReceipt,
    #[serde(skip_serializing_if = "Option::is_none")]
    revert_reason: Option<String>,
}

/// A receipt.
pub(super) fn receipt(view: &ReceiptView) -> Result<ReceiptWithReason, RpcError> {
    let revert_reason = view.revert_reason.clone();
    Ok(ReceiptWithReason { receipt: ethereum_receipt(view)?, revert_reason })
}

fn ethereum_receipt(view: &ReceiptView) -> Result<TransactionReceipt, RpcError> {
    let envelope = decode(&view.tx)?;
    let Some(place) = view.tx.place else {
        return Err(RpcError::internal(format!("receipt of {} without a block", view.tx.hash)));
    };
    let indices = view.first_log_index..;
    let logs = indices.zip(&view.logs).map(|(index, one)| {
        log(&LogView { log: one.clone(), place, tx: view.tx.hash, index }, false)
    });
    let receipt = Receipt {
        status: view.success.into(),
        cumulative_gas_used: view.cumulative_gas_used,
        logs: logs.collect(),
    };
    let receipt = alloy_consensus::ReceiptWithBloom { receipt, logs_bloom: logs_bloom(&view.logs) };
    let inner = match TxType::try_from(envelope.ty()) {
        Ok(TxType::Legacy) => ReceiptEnvelope::Legacy(receipt),
        Ok(TxType::Eip2930) => ReceiptEnvelope::Eip2930(receipt),
        Ok(TxType::Eip1559) => ReceiptEnvelope::Eip1559(receipt),
        Ok(TxType::Eip4844 | TxType::Eip7702) | Err(_) => {
            let message = format!("stored transaction {} has no known type", view.tx.hash);
            return Err(RpcError::internal(message));
        }
    };
    Ok(TransactionReceipt {
        inner,
        transaction_hash: view.tx.hash,
        transaction_index: Some(place.index),
        block_hash: Some(place.block),
        block_number: Some(place.height),
        gas_used: view.gas_used,
        effective_gas_price: envelope.effective_gas_price(Some(place.base_fee)),
        blob_gas_used: None,
        blob_gas_price: None,
        from: view.tx.sender,
        to: envelope.to(),
        contract_address: None,
    })
}
