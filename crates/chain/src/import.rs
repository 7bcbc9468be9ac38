//! Taking blocks: decoded → header checked → executed → committed.

use std::sync::Arc;
use std::{num::NonZeroUsize, thread};

use alloy_primitives::{B256, keccak256};
use pouw_consensus::reward::matmul_reward;
use pouw_consensus::share::EpochSums;
use pouw_consensus::{
    BlockId, Claim, Core, Evidence, Header, Lane, Outcome, Pace, STATE_KEY, Standing, check_body,
    check_body_form, check_header_with, receipts_root,
};
use pouw_ledger::{
    BlockEnv, Execution, State, Transaction, TxError, decode_transaction, next_base_fee,
};
use pouw_types::{Amount, Network};

use crate::block::{Block, Checked, Decoded, Executed, encode_receipt, encode_receipts};
use crate::credit::{self, CreditEvidence};
use crate::earnings::{self, Win};
use crate::epochs;
use crate::error::{ImportError, StoreError};
use crate::logs::bloom;
use crate::store::Writing;

/// Fewer transactions than this are recovered on the calling thread.
const PARALLEL_FROM: usize = 64;

/// What became of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Imported {
    /// It was known already.
    Known,
    /// It is the new head, a child of the old one.
    Extended,
    /// It is the new head, on another branch.
    Reorged {
        /// How many blocks left the best chain.
        dropped: usize,
    },
    /// It is kept, but another branch weighs at least as much.
    Side,
}

/// The base fee of a header's children.
pub(crate) fn base_fee_after(network: &Network, header: &Header) -> u64 {
    next_base_fee(header.core.base_fee, header.core.gas_used, network)
}

/// Finds a transaction whose sender was recovered before, by its hash.
pub(crate) type Known<'a> = &'a (dyn Fn(&B256) -> Option<Arc<Transaction>> + Sync);

/// How many ancestors a claim is judged by.
pub(crate) fn ancestors_needed(claim: &Claim) -> usize {
    match claim {
        Claim::Matmul(claim) => usize::from(claim.opened.depth),
        _ => 0,
    }
}

/// What a claim is judged by beside its certificate.
#[derive(Debug, Default)]
pub(crate) struct AtHand {
    /// As many ids of ancestors, the parent first, as a claim of lane 1 needs.
    pub(crate) ancestors: Vec<BlockId>,
    /// Of a claim of lane 2, where it is known yet.
    pub(crate) credit: Option<CreditEvidence>,
}

/// First to second rung.
pub(crate) fn check(
    network: &'static Network,
    parent: (&Standing, &Header),
    at_hand: &AtHand,
    decoded: Decoded,
    vouched: bool,
    now_ms: u64,
    known: Option<Known<'_>>,
) -> Result<Checked, ImportError> {
    let Decoded { block, .. } = decoded;
    let base_fee = base_fee_after(network, parent.1);
    // The proof of work first: what follows costs more.
    let evidence = match (block.header.core.lane, &block.certificate, &at_hand.credit) {
        (Lane::Matmul, Some(certificate), _) => {
            Evidence::Matmul { ancestors: &at_hand.ancestors, certificate }
        }
        // Its ticket wins; that it was multiplied, the operator's trust stands for.
        (Lane::Matmul, None, _) if vouched => Evidence::Ancestors(&at_hand.ancestors),
        (Lane::Credit, _, Some(CreditEvidence { beacon, record })) => {
            Evidence::Credit { beacon: *beacon, record }
        }
        (Lane::Credit, _, None) => Evidence::Later,
        _ => Evidence::Header,
    };
    let judged = !matches!(evidence, Evidence::Later);
    let standing = check_header_with(network, parent.0, &block.header, now_ms, evidence)?;
    let core = &block.header.core;
    check_body_form(network, core, block.body_bytes(), block.tx_root(), base_fee)?;
    let transactions = recover(network, &block.transactions, known)?;
    Ok(Checked { block, standing, base_fee, transactions, judged })
}

/// Decodes transactions and recovers their senders, on every processor if there are many.
pub(crate) fn recover(
    network: &'static Network,
    raw: &[Vec<u8>],
    known: Option<Known<'_>>,
) -> Result<Vec<Arc<Transaction>>, ImportError> {
    let one = |index: usize, raw: &Vec<u8>| match known.and_then(|known| known(&keccak256(raw))) {
        Some(tx) => Ok(tx),
        None => decode_transaction(raw, network.chain_id)
            .map(Arc::new)
            .map_err(|error| ImportError::Transaction { index, error }),
    };
    let workers = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    if raw.len() < PARALLEL_FROM || workers == 1 {
        return raw.iter().enumerate().map(|(index, raw)| one(index, raw)).collect();
    }
    let share = raw.len().div_ceil(workers);
    thread::scope(|scope| {
        let parts: Vec<_> = raw
            .chunks(share)
            .enumerate()
            .map(|(part, chunk)| {
                let one = &one;
                scope.spawn(move || {
                    let first = part * share;
                    let each = chunk.iter().enumerate();
                    each.map(|(index, raw)| one(first + index, raw)).collect::<Result<Vec<_>, _>>()
                })
            })
            .collect();
        let mut all = Vec::with_capacity(raw.len());
        for part in parts {
            // A panic there is a panic here.
            let part = part.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            all.extend(part?);
        }
        Ok(all)
    })
}

/// Executes transactions on a parent's state.
fn run<'a, S: State>(
    state: &'a S,
    env: BlockEnv,
    transactions: &[Arc<Transaction>],
) -> Result<Execution<'a, S>, ImportError> {
    let mut execution = Execution::begin(state, env)?;
    for (index, tx) in transactions.iter().enumerate() {
        match execution.apply(tx) {
            Ok(()) => {}
            Err(TxError::State(error)) => return Err(error.into()),
            Err(error) => return Err(ImportError::Execution { index, error }),
        }
    }
    Ok(execution)
}

/// What the rules remember after a block, made a part of its state (C-14, C-19).
pub(crate) fn remember<S: State>(
    network: &Network,
    state: &S,
    parent: &Standing,
    core: &Core,
    (done, sums): (&mut pouw_ledger::Executed, EpochSums),
) -> Result<Standing, ImportError> {
    let shares = epochs::after(network, state, parent, core, sums, &mut done.writes)?;
    let standing = parent.after_core_moving(&Pace::of(network), core, shares);
    done.writes.insert(STATE_KEY.to_vec(), Some(standing.encode_state()));
    Ok(standing)
}

/// Second to third rung, and everything the block changes, within a step: its parent is the head.
pub(crate) fn execute(
    network: &'static Network,
    writing: &mut Writing<'_>,
    mut checked: Checked,
) -> Result<Executed, ImportError> {
    let core = &checked.block.header.core;
    let (parent, _) = header_of(writing, core.parent)?;
    if core.shares != parent.shares {
        // A side branch is taken on its headers' word (C-18); here the exact value is known.
        return Err(ImportError::Shares { expected: parent.shares, found: core.shares });
    }
    let subsidy = match (core.lane, minted_at_once(network, core.lane)) {
        (Lane::Credit, _) => {
            if !checked.judged {
                credit::judge(network, writing, &parent, &checked.block.header)?;
            }
            let height = credit::judged_by(network, writing, core)?;
            credit::minted(network, (&writing.state(height), height), core.shares)?
        }
        (_, subsidy) => subsidy,
    };
    let env = BlockEnv {
        network,
        height: core.height,
        time_ms: core.time_ms,
        payout: core.miner,
        base_fee: checked.base_fee,
        subsidy,
    };
    let state = writing.state(core.height.saturating_sub(1));
    let execution = run(&state, env, &checked.transactions)?;
    let win = Win { height: core.height, lane: core.lane, miner: core.miner };
    let (mut done, sums) = earnings::finish(network, &state, &parent, win, execution)?;
    let standing = remember(network, &state, &parent, core, (&mut done, sums))?;
    checked.standing = Standing { id: checked.standing.id, ..standing };
    let (state_root, batch) = writing.root_after(core.height, &done.writes)?;
    let encoded: Vec<Vec<u8>> = done.receipts.iter().map(encode_receipt).collect();
    let outcome = Outcome {
        body_bytes: checked.block.body_bytes(),
        tx_root: core.tx_root,
        receipts_root: receipts_root(&encoded),
        state_root,
        gas_used: done.gas_used,
        base_fee: checked.base_fee,
    };
    check_body(network, core, &outcome)?;
    let id = checked.standing.id;
    let hashes: Vec<B256> = checked.transactions.iter().map(|tx| tx.hash()).collect();
    let bloom = bloom(&done.receipts);
    writing.put_block(&checked.standing, &checked.block)?;
    writing.put_receipts(id, &encode_receipts(&done.receipts))?;
    writing.extend(
        id,
        core.height,
        &batch,
        &hashes,
        bloom.as_ref().map(|bloom| bloom.as_slice()),
    )?;
    Ok(Executed { checked, receipts: done.receipts })
}

/// A branch that is to become the best chain.
pub(crate) struct Branch {
    /// Height of the last block in common.
    pub(crate) fork: u64,
    /// Its blocks below the new one, the lowest first.
    pub(crate) below: Vec<BlockId>,
}

/// What a reorg did.
#[derive(Debug)]
pub(crate) struct Reorged {
    pub(crate) dropped: Vec<BlockId>,
    pub(crate) dropped_raw: Vec<Vec<u8>>,
    pub(crate) added: Vec<Executed>,
}

/// A branch failed at this block.
#[derive(Debug)]
pub(crate) struct BranchError {
    /// The block at fault; none where the store is.
    pub(crate) block: Option<BlockId>,
    pub(crate) error: Box<ImportError>,
}

impl From<StoreError> for BranchError {
    fn from(error: StoreError) -> Self {
        Self { block: None, error: Box::new(error.into()) }
    }
}

/// Goes back to the fork and up the branch, within one step.
pub(crate) fn reorg(
    network: &'static Network,
    writing: &mut Writing<'_>,
    old_head: (BlockId, u64),
    branch: &Branch,
    last: Checked,
) -> Result<Reorged, BranchError> {
    let mut result = Reorged { dropped: Vec::new(), dropped_raw: Vec::new(), added: Vec::new() };
    let (mut id, mut height) = old_head;
    while height > branch.fork {
        let (_, header) = header_of(writing, id)?;
        let raw = writing.body(id)?;
        let hashes: Vec<B256> = raw.iter().map(keccak256).collect();
        writing.undo(height, header.core.parent, &hashes)?;
        result.dropped.push(id);
        result.dropped_raw.extend(raw);
        (id, height) = (header.core.parent, height - 1);
    }
    let mut parent = header_of(writing, id)?.1;
    for id in &branch.below {
        let (standing, header) = header_of(writing, *id)?;
        let certificate = None; // Checked when the block came, and stored since.
        let transactions = writing.body(*id)?;
        let block = Block { header: header.clone(), certificate, transactions };
        let fail = |error: ImportError| BranchError { block: Some(*id), error: Box::new(error) };
        let transactions = recover(network, &block.transactions, None).map_err(fail)?;
        let base_fee = base_fee_after(network, &parent);
        let judged = header.core.lane != Lane::Credit;
        let checked = Checked { block, standing, base_fee, transactions, judged };
        result.added.push(execute(network, writing, checked).map_err(fail)?);
        parent = header;
    }
    let id = last.standing.id;
    let fail = |error: ImportError| BranchError { block: Some(id), error: Box::new(error) };
    result.added.push(execute(network, writing, last).map_err(fail)?);
    Ok(result)
}

fn header_of(writing: &Writing<'_>, id: BlockId) -> Result<(Standing, Header), StoreError> {
    writing.header(id)?.ok_or_else(|| crate::store::corrupt("header", id))
}

/// What a block mints at once, where its lane alone says so (C-29): the subsidy, of lane 1 a tenth of
/// it. What lane 2 mints depends on what was burned for it (C-28), and is 0 here.
#[must_use]
pub fn minted_at_once(network: &Network, lane: Lane) -> Amount {
    match lane {
        Lane::Hash => network.subsidy,
        Lane::Matmul => Amount::from_atto(matmul_reward(network.subsidy.atto()).at_once),
        Lane::Credit => Amount::ZERO,
    }
}
