//! The next block: which transactions it takes, and its proof.

use std::sync::Arc;

use alloy_primitives::{Address, B256, U256};
use pouw_consensus::{
    BlockId, Claim, Core, Header, Lane, MAX_BODY_BYTES, Puzzle, STATE_KEY, Solver, Standing,
    receipts_root, tx_root,
};
use pouw_ledger::{BlockEnv, Execution, Transaction, TxError};
use pouw_types::Network;

use crate::block::{Block, encode_receipt};
use crate::error::ImportError;
use crate::import::{base_fee_after, pace};
use crate::mempool::Ordered;
use crate::store::StateAt;

/// Gas below which no transaction fits.
const LEAST_GAS: u64 = 21_000;

/// A block without its proof.
#[derive(Clone, Debug)]
pub struct Template {
    /// What the proof has to stand for.
    pub core: Core,
    /// `D_0`.
    pub difficulty: u128,
    transactions: Vec<Arc<Transaction>>,
    puzzle: Puzzle,
}

/// Where a template's transactions come from.
pub(crate) enum Source {
    /// The mempool's best.
    Pool(Ordered),
    /// These, all of them.
    Listed(Vec<Arc<Transaction>>),
}

pub(crate) struct Parent<'a> {
    pub(crate) standing: &'a Standing,
    pub(crate) header: &'a Header,
    pub(crate) state: &'a StateAt,
}

impl Template {
    /// The block that it is built on.
    #[must_use]
    pub const fn parent(&self) -> BlockId {
        self.core.parent
    }

    /// How many transactions it takes.
    #[must_use]
    pub const fn transaction_count(&self) -> usize {
        self.transactions.len()
    }

    /// Tries one nonce; a block if it wins. Every solution is checked by the verifier.
    #[must_use]
    pub fn try_nonce(&self, solver: &Solver, nonce: B256) -> Option<Block> {
        let claims = solver.solve(&self.puzzle, nonce);
        let claim =
            claims.into_iter().find(|claim| self.puzzle.check(claim, self.difficulty).is_ok())?;
        Some(Block {
            header: Header { core: self.core.clone(), claim: Claim::Hash(claim) },
            transactions: self.transactions.iter().map(|tx| tx.raw()).collect(),
        })
    }

    /// Tries nonces from 0 on; none where `tries` of them don't win.
    #[must_use]
    pub fn seal(&self, solver: &Solver, tries: u64) -> Option<Block> {
        (0..tries).find_map(|nonce| self.try_nonce(solver, B256::from(U256::from(nonce))))
    }

    /// After a change of the core, as only tests make one.
    #[cfg(test)]
    pub(crate) fn renew_puzzle(&mut self, network: &Network) {
        self.puzzle = Puzzle::new(network.chain_id, network.lane_zero, self.core.hash());
    }

    pub(crate) fn build(
        network: &'static Network,
        parent: &Parent<'_>,
        payout: Address,
        time_ms: u64,
        source: Source,
    ) -> Result<Self, ImportError> {
        let height = parent.standing.height + 1;
        let base_fee = base_fee_after(network, parent.header);
        let env = BlockEnv { network, height, time_ms, payout, base_fee };
        let mut execution = Execution::begin(parent.state, env)?;
        let transactions = fill(network, &mut execution, source)?;
        let done = execution.finish()?;
        let raw: Vec<Vec<u8>> = transactions.iter().map(|tx| tx.raw()).collect();
        let receipts: Vec<Vec<u8>> = done.receipts.iter().map(encode_receipt).collect();
        let mut core = Core {
            parent: parent.standing.id,
            height,
            time_ms,
            tx_root: tx_root(&raw),
            receipts_root: receipts_root(&receipts),
            state_root: B256::ZERO,
            shares: parent.standing.shares,
            lane: Lane::Hash,
            miner: payout,
            gas_used: done.gas_used,
            base_fee,
        };
        let mut writes = done.writes;
        let standing = parent.standing.after_core(&pace(network), &core);
        writes.insert(STATE_KEY.to_vec(), Some(standing.encode_state()));
        core.state_root = parent.state.root_with(&writes)?;
        let puzzle = Puzzle::new(network.chain_id, network.lane_zero, core.hash());
        let difficulty = parent.standing.difficulty.of(Lane::Hash);
        Ok(Self { core, difficulty, transactions, puzzle })
    }
}

fn fill(
    network: &Network,
    execution: &mut Execution<'_, StateAt>,
    source: Source,
) -> Result<Vec<Arc<Transaction>>, ImportError> {
    let mut ordered = match source {
        Source::Listed(transactions) => {
            for (index, tx) in transactions.iter().enumerate() {
                match execution.apply(tx) {
                    Ok(()) => {}
                    Err(TxError::State(error)) => return Err(error.into()),
                    Err(error) => return Err(ImportError::Execution { index, error }),
                }
            }
            return Ok(transactions);
        }
        Source::Pool(ordered) => ordered,
    };
    let mut taken = Vec::new();
    let mut left_bytes = MAX_BODY_BYTES;
    while execution.gas_used() + LEAST_GAS <= network.block_gas {
        let Some(tx) = ordered.next() else { break };
        if tx.length_bytes() > left_bytes {
            continue;
        }
        match execution.apply(&tx) {
            Ok(()) => {
                left_bytes -= tx.length_bytes();
                ordered.accept(tx.sender());
                taken.push(tx);
            }
            Err(TxError::State(error)) => return Err(error.into()),
            // It waits for another block, and what the sender sent after it with it.
            Err(error) => tracing::trace!(tx = %tx.hash(), %error, "left out of the template"),
        }
    }
    Ok(taken)
}
