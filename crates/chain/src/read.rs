//! What others ask a chain: blocks, transactions, logs, states, the mempool.

use std::sync::Arc;

use alloy_primitives::{Address, B256, Bloom, keccak256};
use pouw_consensus::{BlockId, Header, Lane, MAX_DEPTH, Standing};
use pouw_ledger::{Account, Transaction, TxReceipt, account, decode_transaction};
use pouw_types::Network;

use crate::block::{Block, encode_body};
use crate::chain::{Chain, oldest_fork};
use crate::credit::judging;
use crate::error::{ImportError, ReadError, StoreError, SubmitError};
use crate::event::Event;
use crate::import::recover;
use crate::logs::{LogEntry, LogFilter};
use crate::store::{Reading, StateAt, StateProof, corrupt};
use crate::template::{Parent, Source, Template};

/// A block with everything that is known about it.
#[derive(Clone, Debug)]
pub struct KnownBlock {
    /// What the rules remember after it: difficulty, weight.
    pub standing: Standing,
    /// Header and transactions.
    pub block: Block,
    /// Hashes of the transactions.
    pub hashes: Vec<B256>,
    /// One a transaction; none where the block was never executed, being on a side branch.
    pub receipts: Option<Vec<TxReceipt>>,
}

/// A transaction of the best chain.
#[derive(Clone, Debug)]
pub struct Located {
    /// Its bytes.
    pub raw: Vec<u8>,
    /// Its block.
    pub block: BlockId,
    /// Its block's header.
    pub header: Header,
    /// Its place in the block.
    pub index: u32,
    /// What became of it.
    pub receipt: TxReceipt,
    /// Place of its first log among the block's.
    pub first_log_index: u32,
}

impl Chain {
    fn reading(&self) -> Result<Reading, StoreError> {
        self.inner.store.read()
    }

    #[cfg(test)]
    pub(crate) fn rows(&self) -> Result<crate::store::Rows, StoreError> {
        self.reading()?.rows()
    }

    /// The best chain's block at a height.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn id_at(&self, height: u64) -> Result<Option<BlockId>, StoreError> {
        self.reading()?.at_height(height)
    }

    /// A header, of any branch, and what the rules remember after it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn header(&self, id: BlockId) -> Result<Option<(Standing, Header)>, StoreError> {
        self.reading()?.header(id)
    }

    /// Headers of the best chain above a height, the lowest first, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn headers_above(&self, height: u64, limit: u64) -> Result<Vec<Header>, StoreError> {
        let reading = self.reading()?;
        let mut headers = Vec::new();
        for height in (height.saturating_add(1)..).take_while(|at| at - height <= limit) {
            let Some(id) = reading.at_height(height)? else { break };
            let (_, header) = reading.header(id)?.ok_or_else(|| corrupt("header", id))?;
            headers.push(header);
        }
        Ok(headers)
    }

    /// The bytes of a block's transactions, of any branch.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn body(&self, id: BlockId) -> Result<Option<Vec<u8>>, StoreError> {
        let known = self.reading()?.block(id)?;
        Ok(known.map(|(_, block)| encode_body(&block.transactions)))
    }

    /// A block, of any branch.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn block(&self, id: BlockId) -> Result<Option<KnownBlock>, StoreError> {
        read_block(&self.reading()?, id)
    }

    /// The best chain's block at a height.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn block_at(&self, height: u64) -> Result<Option<KnownBlock>, StoreError> {
        let reading = self.reading()?;
        match reading.at_height(height)? {
            Some(id) => read_block(&reading, id),
            None => Ok(None),
        }
    }

    /// A transaction of the best chain, with its place and receipt.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn transaction(&self, hash: B256) -> Result<Option<Located>, StoreError> {
        let reading = self.reading()?;
        let Some((height, index)) = reading.place(hash)? else { return Ok(None) };
        let broken = || corrupt("transaction", hash);
        let block = reading.at_height(height)?.ok_or_else(broken)?;
        let known = read_block(&reading, block)?.ok_or_else(broken)?;
        let place = usize::try_from(index).map_err(|_| broken())?;
        let mut receipts = known.receipts.ok_or_else(broken)?;
        let logs: usize = receipts.iter().take(place).map(|receipt| receipt.logs.len()).sum();
        if place >= receipts.len() {
            return Err(broken());
        }
        Ok(Some(Located {
            raw: known.block.transactions.get(place).cloned().ok_or_else(broken)?,
            block,
            header: known.block.header,
            index,
            receipt: receipts.swap_remove(place),
            first_log_index: u32::try_from(logs).unwrap_or(u32::MAX),
        }))
    }

    /// The best chain's logs that match, in order.
    ///
    /// # Errors
    /// [`ReadError::TooManyLogs`] where more than `limit` match.
    pub fn logs(&self, filter: &LogFilter, limit: usize) -> Result<Vec<LogEntry>, ReadError> {
        let reading = self.reading()?;
        let mut heights = Vec::new();
        reading.blooms(filter.from, filter.to, |height, bloom| {
            let bloom = Bloom::try_from(bloom).map_err(|_| corrupt("bloom", height))?;
            if filter.may_match(&bloom) {
                heights.push(height);
            }
            Ok(())
        })?;
        let mut found = Vec::new();
        for height in heights {
            let id = reading.at_height(height)?.ok_or_else(|| corrupt("block", height))?;
            let known = read_block(&reading, id)?.ok_or_else(|| corrupt("block", id))?;
            collect_logs(&known, filter, &mut found);
            if found.len() > limit {
                return Err(ReadError::TooManyLogs(limit));
            }
        }
        Ok(found)
    }

    /// The oldest height whose state is kept.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn oldest_state(&self) -> Result<u64, StoreError> {
        self.reading()?.oldest()
    }

    /// The oldest height at which a branch may leave the best chain.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn oldest_fork(&self) -> Result<u64, StoreError> {
        Ok(oldest_fork(self.inner.network, self.oldest_state()?))
    }

    /// The state after the best chain's block at a height.
    ///
    /// # Errors
    /// [`ReadError::NoHeight`], [`ReadError::Pruned`].
    pub fn state_at(&self, height: u64) -> Result<StateAt, ReadError> {
        let reading = self.reading()?;
        let oldest = reading.oldest()?;
        if height < oldest {
            return Err(ReadError::Pruned { height, oldest });
        }
        if reading.at_height(height)?.is_none() {
            return Err(ReadError::NoHeight(height, self.head().height()));
        }
        Ok(reading.state(height)?)
    }

    /// An account after the best chain's block at a height.
    ///
    /// # Errors
    /// As [`Chain::state_at`].
    pub fn account(&self, address: Address, height: u64) -> Result<Account, ReadError> {
        Ok(account(&self.state_at(height)?, address)?)
    }

    /// Shows an account's record, or that there is none, against the header's state root.
    ///
    /// # Errors
    /// As [`Chain::state_at`].
    pub fn prove_account(&self, address: Address, height: u64) -> Result<StateProof, ReadError> {
        // The ledger keeps accounts under `a` and the address.
        let key = [b"a", address.as_slice()].concat();
        Ok(self.state_at(height)?.prove(&key)?)
    }

    /// Takes a signed transaction into the mempool.
    ///
    /// # Errors
    /// [`SubmitError`].
    pub fn submit(&self, raw: &[u8]) -> Result<B256, SubmitError> {
        let tx = Arc::new(decode_transaction(raw, self.inner.network.chain_id)?);
        let hash = tx.hash();
        // The lock before the head: else a block between them could leave a used nonce behind.
        let mut mempool = self.mempool();
        let state = self.reading()?.state(self.head().height())?;
        let account = account(&state, tx.sender())?;
        mempool.insert(tx, &account)?;
        drop(mempool);
        self.send(Event::NewPending(hash));
        Ok(hash)
    }

    /// A transaction that waits.
    #[must_use]
    pub fn pending(&self, hash: B256) -> Option<Arc<Transaction>> {
        self.mempool().get(&hash)
    }

    /// Hashes of transactions that wait, at most `limit`.
    #[must_use]
    pub fn waiting(&self, limit: usize) -> Vec<B256> {
        self.mempool().hashes(limit)
    }

    /// How many transactions wait.
    #[must_use]
    pub fn pending_count(&self) -> usize {
        self.mempool().len()
    }

    /// The nonce after what waits.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn pending_nonce(&self, address: Address) -> Result<u64, ReadError> {
        let mempool = self.mempool();
        let state = self.reading()?.state(self.head().height())?;
        Ok(mempool.pending_nonce(address, account(&state, address)?.nonce))
    }

    /// The next block on the head, to be won by lane 0, with the mempool's best transactions.
    ///
    /// # Errors
    /// [`ImportError`] where the store failed.
    pub fn template(&self, payout: Address) -> Result<Template, ImportError> {
        self.template_of(Lane::Hash, payout)
    }

    /// The next block on the head, to be won by this lane.
    ///
    /// # Errors
    /// [`ImportError`] where the store failed.
    pub fn template_of(&self, lane: Lane, payout: Address) -> Result<Template, ImportError> {
        loop {
            let head = self.head();
            let reading = self.reading()?;
            let state = reading.state(head.height())?;
            if self.head().id != head.id {
                continue;
            }
            let time_ms = self.now_ms().max(head.time_ms().saturating_add(1));
            let source = Source::Pool(self.mempool().ordered(head.next_base_fee));
            let (standing, header) = (&head.standing, &head.header);
            let lineage = lineage(&reading, lane, head.id)?;
            let judging = judging_state(self.inner.network, &reading, lane, standing.height)?;
            let parent = Parent { standing, header, state: &state, lineage, judging };
            return Template::build(self.inner.network, parent, lane, payout, time_ms, source);
        }
    }

    /// A block on any block of the best chain whose state is kept, with these transactions: how a
    /// competing branch begins.
    ///
    /// # Errors
    /// [`ImportError`], also where a transaction can't be executed there.
    pub fn template_on(
        &self,
        height: u64,
        payout: Address,
        time_ms: u64,
        raw: &[Vec<u8>],
    ) -> Result<Template, ImportError> {
        self.template_on_of(Lane::Hash, height, payout, time_ms, raw)
    }

    /// [`Chain::template_on`], to be won by this lane.
    ///
    /// # Errors
    /// As there.
    pub fn template_on_of(
        &self,
        lane: Lane,
        height: u64,
        payout: Address,
        time_ms: u64,
        raw: &[Vec<u8>],
    ) -> Result<Template, ImportError> {
        let reading = self.reading()?;
        let oldest = oldest_fork(self.inner.network, reading.oldest()?);
        let id = reading.at_height(height)?.filter(|_| height >= oldest);
        let id = id.ok_or(ImportError::ReorgTooDeep { fork: height, oldest })?;
        let (standing, header) = reading.header(id)?.ok_or_else(|| corrupt("header", id))?;
        let state = reading.state(height)?;
        let transactions = recover(self.inner.network, raw, None)?;
        let lineage = lineage(&reading, lane, id)?;
        let judging = judging_state(self.inner.network, &reading, lane, height)?;
        let parent =
            Parent { standing: &standing, header: &header, state: &state, lineage, judging };
        let source = Source::Listed(transactions);
        Template::build(self.inner.network, parent, lane, payout, time_ms, source)
    }
}

/// Ids that may be an anchor of a block on this one.
fn lineage(reading: &Reading, lane: Lane, id: BlockId) -> Result<Vec<BlockId>, StoreError> {
    match lane {
        Lane::Matmul => reading.lineage(id, usize::from(MAX_DEPTH)),
        Lane::Hash | Lane::Credit => Ok(Vec::new()),
    }
}

/// The state that says what a block of lane 2 on this height mints; none where it can't have any.
fn judging_state(
    network: &Network,
    reading: &Reading,
    lane: Lane,
    height: u64,
) -> Result<Option<(StateAt, u64)>, StoreError> {
    let judging = judging(network, height.saturating_add(1)).filter(|_| lane == Lane::Credit);
    judging.map(|height| Ok((reading.state(height)?, height))).transpose()
}

fn read_block(reading: &Reading, id: BlockId) -> Result<Option<KnownBlock>, StoreError> {
    let Some((standing, block)) = reading.block(id)? else { return Ok(None) };
    let hashes = block.transactions.iter().map(keccak256).collect();
    let receipts = reading.receipts(id)?;
    Ok(Some(KnownBlock { standing, block, hashes, receipts }))
}

fn collect_logs(known: &KnownBlock, filter: &LogFilter, found: &mut Vec<LogEntry>) {
    let core = &known.block.header.core;
    let mut index = 0;
    let receipts = known.receipts.iter().flatten();
    for ((tx_index, receipt), tx) in (0u32..).zip(receipts).zip(&known.hashes) {
        for log in &receipt.logs {
            if filter.matches(log) {
                found.push(LogEntry {
                    log: log.clone(),
                    block: known.standing.id,
                    height: core.height,
                    time_ms: core.time_ms,
                    tx: *tx,
                    tx_index,
                    index,
                });
            }
            index += 1;
        }
    }
}
