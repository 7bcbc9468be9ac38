//! From the chain's words to those of the outside doors.

use alloy_primitives::{B256, U256};
use pouw_api::backend::{
    BackendError, BlockView, CallError, LogView, Place, ReceiptView, SubmitError, TxView,
};
use pouw_chain::{Chain, KnownBlock, LogEntry, ReadError, StoreError};
use pouw_consensus::{Core, Lane};
use pouw_ledger::{DecodeError, TxReceipt};

/// A block as the doors show it.
pub(super) fn block(chain: &Chain, known: &KnownBlock) -> Result<BlockView, BackendError> {
    let core = &known.block.header.core;
    let parent = chain.header(core.parent).map_err(store)?;
    let difficulty = parent.map_or(0, |(standing, _)| standing.difficulty.of(core.lane));
    Ok(BlockView {
        height: core.height,
        hash: known.standing.id,
        parent: core.parent,
        state_root: core.state_root,
        transactions_root: core.tx_root,
        receipts_root: core.receipts_root,
        miner: core.miner,
        lane: lane(core.lane),
        difficulty: U256::from(difficulty),
        total_weight: known.standing.total_weight,
        time_ms: core.time_ms,
        gas_limit: chain.network().block_gas,
        gas_used: core.gas_used,
        base_fee: core.base_fee,
        size_bytes: u64::try_from(known.block.encode().len()).unwrap_or(u64::MAX),
        transactions: known.hashes.clone(),
    })
}

const fn lane(lane: Lane) -> u8 {
    match lane {
        Lane::Hash => 0,
        Lane::Matmul => 1,
        Lane::Credit => 2,
    }
}

/// Where a transaction stands.
pub(super) fn place(core: &Core, block: B256, index: u32) -> Place {
    Place {
        height: core.height,
        block,
        index: index.into(),
        time_ms: core.time_ms,
        base_fee: core.base_fee,
    }
}

/// A transaction by its bytes; what the chain holds was decoded before.
pub(super) fn transaction(
    chain: &Chain,
    raw: &[u8],
    place: Option<Place>,
) -> Result<TxView, BackendError> {
    let decoded = pouw_ledger::decode_transaction(raw, chain.network().chain_id)
        .map_err(|error| BackendError::Unavailable(error.to_string()))?;
    let raw = raw.to_vec().into();
    Ok(TxView { hash: decoded.hash(), raw, sender: decoded.sender(), place })
}

/// A transaction's receipt.
pub(super) fn receipt(tx: TxView, receipt: TxReceipt, first_log_index: u64) -> ReceiptView {
    ReceiptView {
        tx,
        success: receipt.success(),
        revert_reason: receipt.revert,
        gas_used: receipt.gas_used,
        cumulative_gas_used: receipt.cumulative_gas_used,
        logs: receipt.logs,
        first_log_index,
    }
}

/// All receipts of a block that was executed.
pub(super) fn receipts(
    chain: &Chain,
    known: KnownBlock,
) -> Result<Option<Vec<ReceiptView>>, BackendError> {
    let Some(list) = known.receipts else { return Ok(None) };
    let core = &known.block.header.core;
    let mut first_log_index = 0;
    let mut views = Vec::with_capacity(list.len());
    for ((index, raw), one) in (0u32..).zip(&known.block.transactions).zip(list) {
        let tx = transaction(chain, raw, Some(place(core, known.standing.id, index)))?;
        let logs = u64::try_from(one.logs.len()).unwrap_or(u64::MAX);
        views.push(receipt(tx, one, first_log_index));
        first_log_index = first_log_index.saturating_add(logs);
    }
    Ok(Some(views))
}

/// All logs of a block that was executed.
pub(super) fn block_logs(known: &KnownBlock) -> Vec<LogView> {
    let core = &known.block.header.core;
    let mut index = 0;
    let mut views = Vec::new();
    let receipts = known.receipts.iter().flatten();
    for ((position, one), tx) in (0u32..).zip(receipts).zip(&known.hashes) {
        for log in &one.logs {
            let place = place(core, known.standing.id, position);
            views.push(LogView { log: log.clone(), place, tx: *tx, index });
            index += 1;
        }
    }
    views
}

/// A log that was searched for; its block's base fee is looked up once a block.
pub(super) fn log(entry: LogEntry, base_fee: u64) -> LogView {
    LogView {
        log: entry.log,
        place: Place {
            height: entry.height,
            block: entry.block,
            index: entry.tx_index.into(),
            time_ms: entry.time_ms,
            base_fee,
        },
        tx: entry.tx,
        index: entry.index.into(),
    }
}

pub(super) fn store(error: StoreError) -> BackendError {
    read(ReadError::Store(error))
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err, which gives the error away")]
pub(super) fn read(error: ReadError) -> BackendError {
    match error {
        ReadError::NoHeight(height, _) => BackendError::NoBlock(height.to_string()),
        ReadError::Pruned { height, oldest } => BackendError::Pruned { height, oldest },
        ReadError::TooManyLogs(limit) => BackendError::TooManyLogs(limit),
        ReadError::State(_) | ReadError::Store(_) => BackendError::Unavailable(error.to_string()),
    }
}

pub(super) fn call(error: &pouw_ledger::CallError) -> CallError {
    match error {
        pouw_ledger::CallError::Revert(revert) => {
            CallError::Reverted { reason: revert.to_string(), data: error.data() }
        }
        pouw_ledger::CallError::State(state) => {
            CallError::Backend(BackendError::Unavailable(state.to_string()))
        }
    }
}

pub(super) fn submit(error: pouw_chain::SubmitError, chain_id: u64) -> SubmitError {
    use pouw_chain::SubmitError as E;
    match error {
        E::Decode(error) => decode(&error, chain_id),
        E::Known(_) => SubmitError::AlreadyKnown,
        E::NonceTooLow { nonce, next } => SubmitError::NonceTooLow { nonce, next },
        E::NonceTooHigh { nonce, next, .. } => SubmitError::NonceTooHigh { nonce, next },
        E::InsufficientFunds { have, need } => {
            SubmitError::InsufficientFunds { have: have.atto(), want: need.to_u256() }
        }
        E::Underpriced { have, want } => SubmitError::Underpriced { have, want },
        E::GasTooLow { have, want } => SubmitError::GasTooLow { have, want },
        E::GasAboveBlock { have, limit } => SubmitError::GasAboveBlock { have, limit },
        E::ReplacementUnderpriced { have, want } => {
            SubmitError::ReplacementUnderpriced { have, want }
        }
        E::Full => SubmitError::PoolFull,
        E::State(error) => BackendError::Unavailable(error.to_string()).into(),
        E::Store(error) => BackendError::Unavailable(error.to_string()).into(),
    }
}

fn decode(error: &DecodeError, chain_id: u64) -> SubmitError {
    match error {
        DecodeError::TooLong(size) => SubmitError::TooLarge {
            size_bytes: u64::try_from(*size).unwrap_or(u64::MAX),
            limit_bytes: u64::try_from(pouw_ledger::MAX_TRANSACTION_BYTES).unwrap_or(u64::MAX),
        },
        DecodeError::Type(kind) => SubmitError::UnsupportedType(*kind),
        DecodeError::Unprotected(_) => SubmitError::WrongChain { have: None, want: chain_id },
        DecodeError::Chain { got, expected } => {
            SubmitError::WrongChain { have: Some(*got), want: *expected }
        }
        DecodeError::Value(_) | DecodeError::Cost => SubmitError::ValueTooLarge,
        DecodeError::TipAboveFee { .. } => SubmitError::TipAboveFeeCap,
        DecodeError::Creation => SubmitError::Unsupported(error.to_string()),
        DecodeError::Signature => SubmitError::BadSignature,
        DecodeError::Empty | DecodeError::Malformed(_) | DecodeError::NotCanonical => {
            SubmitError::Malformed(error.to_string())
        }
    }
}
