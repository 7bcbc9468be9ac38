//! The next block: which transactions it takes, and its proof.

use std::sync::Arc;

use alloy_primitives::{Address, B256, U256};
use pouw_consensus::vrf::PROOF_BYTES;
use pouw_consensus::{
    BlockId, Claim, Core, CreditClaim, Header, IdleWork, Lane, MAX_BODY_BYTES, MatmulClaim,
    MatmulClaimError, Puzzle, Solver, Standing, WonTicket, receipts_root, tx_root,
};
use pouw_ledger::{BlockEnv, Execution, Transaction, TxError};
use pouw_types::{Amount, Network};

use crate::block::{Block, encode_receipt};
use crate::credit;
use crate::earnings::{self, Win};
use crate::error::ImportError;
use crate::import::{base_fee_after, minted_at_once, remember};
use crate::mempool::Ordered;
use crate::store::StateAt;

/// Gas below which no transaction fits.
const LEAST_GAS: u64 = 21_000;

/// A block without its proof.
#[derive(Clone, Debug)]
pub struct Template {
    /// What the proof has to stand for.
    pub core: Core,
    /// D of the core's lane.
    pub difficulty: u128,
    /// Ids of the block's ancestors that may be its anchor, the parent first; only lane 1 needs them.
    pub ancestors: Vec<BlockId>,
    transactions: Vec<Arc<Transaction>>,
    puzzle: Puzzle,
    minted: Amount,
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
    /// Its own id first.
    pub(crate) lineage: Vec<BlockId>,
    /// Of lane 2: the state of H blocks before the new one, with its height.
    pub(crate) judging: Option<(StateAt, u64)>,
}

impl Template {
    /// The block that it is built on.
    #[must_use]
    pub const fn parent(&self) -> BlockId {
        self.core.parent
    }

    /// What the block mints at once, for its own winning.
    #[must_use]
    pub const fn minted(&self) -> Amount {
        self.minted
    }

    /// How many transactions it takes.
    #[must_use]
    pub const fn transaction_count(&self) -> usize {
        self.transactions.len()
    }

    /// Tries one nonce of lane 0; a block if it wins. Every solution is checked by the verifier.
    #[must_use]
    pub fn try_nonce(&self, solver: &Solver, nonce: B256) -> Option<Block> {
        self.try_nonce_counted(solver, nonce).1
    }

    /// [`Template::try_nonce`] with the number of tickets that the nonce gave.
    #[must_use]
    pub fn try_nonce_counted(&self, solver: &Solver, nonce: B256) -> (usize, Option<Block>) {
        let claims = solver.solve(&self.puzzle, nonce);
        let tickets = claims.len();
        let won = |claim: &_| self.puzzle.check(claim, self.difficulty).is_ok();
        let claim = claims.into_iter().find(won);
        (tickets, claim.map(|claim| self.won(Claim::Hash(claim), None)))
    }

    /// Tries one product of lane 1; a block if a ticket wins.
    ///
    /// # Errors
    /// [`MatmulClaimError`] where lane 1 cannot have this difficulty: it has no share.
    pub fn try_product(&self, work: &mut IdleWork) -> Result<Option<Block>, MatmulClaimError> {
        let won = work.attempt(self.core.hash(), &self.ancestors, self.difficulty)?;
        Ok(won.map(|WonTicket { claim, certificate }| {
            self.won(Claim::Matmul(claim), Some(certificate))
        }))
    }

    /// The block that a certificate of lane 1 wins, whoever made the product.
    ///
    /// # Errors
    /// [`MatmulClaimError`] where it proves nothing for this block.
    pub fn win(&self, certificate: Vec<u8>) -> Result<Block, MatmulClaimError> {
        let (core, ancestors) = (self.core.hash(), &self.ancestors);
        let claim = MatmulClaim::of_certificate(core, ancestors, self.difficulty, &certificate)?;
        Ok(self.won(Claim::Matmul(claim), Some(certificate)))
    }

    /// A block of lane 2, claimed for a machine by its lane key and the proof of the core's slot.
    #[must_use]
    pub fn claimed(&self, machine: Address, secret: &[u8; 32], proof: [u8; PROOF_BYTES]) -> Block {
        self.won(Claim::Credit(CreditClaim::make(&self.core, machine, secret, proof)), None)
    }

    fn won(&self, claim: Claim, certificate: Option<Vec<u8>>) -> Block {
        Block {
            header: Header { core: self.core.clone(), claim },
            certificate,
            transactions: self.transactions.iter().map(|tx| tx.raw()).collect(),
        }
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
        parent: Parent<'_>,
        lane: Lane,
        payout: Address,
        time_ms: u64,
        source: Source,
    ) -> Result<Self, ImportError> {
        let height = parent.standing.height + 1;
        let base_fee = base_fee_after(network, parent.header);
        let subsidy = match &parent.judging {
            Some((state, height)) if lane == Lane::Credit => {
                credit::minted(network, (state, *height), parent.standing.shares)?
            }
            _ => minted_at_once(network, lane),
        };
        let env = BlockEnv { network, height, time_ms, payout, base_fee, subsidy };
        let mut execution = Execution::begin(parent.state, env)?;
        let transactions = fill(network, &mut execution, source)?;
        let win = Win { height, lane, miner: payout };
        let (mut done, sums) =
            earnings::finish(network, parent.state, parent.standing, win, execution)?;
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
            lane,
            miner: payout,
            gas_used: done.gas_used,
            base_fee,
        };
        remember(network, parent.state, parent.standing, &core, (&mut done, sums))?;
        core.state_root = parent.state.root_with(&done.writes)?;
        let puzzle = Puzzle::new(network.chain_id, network.lane_zero, core.hash());
        let difficulty = parent.standing.difficulty.of(lane);
        Ok(Self {
            core,
            difficulty,
            ancestors: parent.lineage,
            transactions,
            puzzle,
            minted: subsidy,
        })
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
