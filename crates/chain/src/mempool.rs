//! Transactions that wait for a block.

mod queue;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap};
use std::sync::Arc;

use alloy_primitives::{Address, B256, U256};
use pouw_ledger::{Account, Transaction};
use pouw_types::{Amount, Network};

use self::queue::{Queue, Waiting};
use crate::error::SubmitError;

/// How much may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MempoolLimits {
    /// Transactions.
    pub count: usize,
    /// Bytes of them together.
    pub size_bytes: usize,
    /// Transactions of one sender; also how far ahead a nonce may be.
    pub per_sender: u64,
}

impl Default for MempoolLimits {
    fn default() -> Self {
        Self { count: 10_000, size_bytes: 32 * 1024 * 1024, per_sender: 256 }
    }
}

/// What decides who goes first and who is evicted: tip, then age.
type Rank = (u128, Reverse<u64>);

/// Transactions that wait for a block: a queue by nonce for each sender.
#[derive(Debug)]
pub(crate) struct Mempool {
    network: &'static Network,
    limits: MempoolLimits,
    queues: BTreeMap<Address, Queue>,
    by_hash: HashMap<B256, (Address, u64)>,
    /// The last of each sender's queue, cheapest first: the ones that eviction may take without
    /// leaving a gap.
    tails: BTreeSet<(Rank, Address)>,
    size_bytes: usize,
    base_fee: u64,
    next_seq: u64,
}

impl Mempool {
    pub(crate) fn new(network: &'static Network, limits: MempoolLimits, base_fee: u64) -> Self {
        Self {
            network,
            limits,
            queues: BTreeMap::new(),
            by_hash: HashMap::new(),
            tails: BTreeSet::new(),
            size_bytes: 0,
            base_fee,
            next_seq: 0,
        }
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.by_hash.len()
    }

    pub(crate) fn get(&self, hash: &B256) -> Option<Arc<Transaction>> {
        let (sender, nonce) = self.by_hash.get(hash)?;
        self.queues.get(sender)?.get(*nonce).cloned()
    }

    /// Hashes of what waits, at most `limit`.
    pub(crate) fn hashes(&self, limit: usize) -> Vec<B256> {
        let waiting = self.queues.values().flat_map(Queue::iter);
        waiting.map(|waiting| waiting.tx.hash()).take(limit).collect()
    }

    /// Whether anything of a sender's waits.
    pub(crate) fn has(&self, sender: Address) -> bool {
        self.queues.contains_key(&sender)
    }

    /// The first nonce from the account's on that nothing waits for.
    pub(crate) fn pending_nonce(&self, sender: Address, account_nonce: u64) -> u64 {
        let Some(queue) = self.queues.get(&sender) else { return account_nonce };
        let mut next = account_nonce;
        for nonce in queue.from(account_nonce) {
            if nonce != next {
                break;
            }
            next = next.saturating_add(1);
        }
        next
    }

    /// Takes a transaction, `account` being its sender's at the head.
    pub(crate) fn insert(
        &mut self,
        tx: Arc<Transaction>,
        account: &Account,
    ) -> Result<(), SubmitError> {
        self.admit(&tx, account)?;
        let (sender, nonce) = (tx.sender(), tx.nonce());
        let replaced = self.queues.get(&sender).and_then(|queue| queue.get(nonce)).cloned();
        if let Some(other) = &replaced {
            check_replacement(other, &tx)?;
        } else if self.queue_len(sender) >= self.limits.per_sender {
            return Err(SubmitError::NonceTooHigh {
                nonce,
                next: account.nonce,
                limit: self.limits.per_sender,
            });
        }
        let freed = replaced.as_ref().map_or(0, |other| other.length_bytes());
        self.make_room(&tx, replaced.is_some(), freed)?;
        if replaced.is_some() {
            self.take(sender, nonce);
        }
        self.put(tx);
        Ok(())
    }

    /// What a transaction has to fulfil whatever else waits.
    fn admit(&self, tx: &Transaction, account: &Account) -> Result<(), SubmitError> {
        if self.by_hash.contains_key(&tx.hash()) {
            return Err(SubmitError::Known(tx.hash()));
        }
        let (have, want) = (tx.gas_limit(), tx.intrinsic_gas());
        if have < want {
            return Err(SubmitError::GasTooLow { have, want });
        }
        let limit = self.network.block_gas;
        if have > limit {
            return Err(SubmitError::GasAboveBlock { have, limit });
        }
        let (have, want) = (tx.max_fee_per_gas(), u128::from(self.network.min_base_fee));
        if have < want {
            return Err(SubmitError::Underpriced { have, want });
        }
        let (nonce, next) = (tx.nonce(), account.nonce);
        if nonce < next {
            return Err(SubmitError::NonceTooLow { nonce, next });
        }
        let limit = self.limits.per_sender;
        if nonce - next >= limit {
            return Err(SubmitError::NonceTooHigh { nonce, next, limit });
        }
        let queue = self.queues.get(&tx.sender());
        let before = queue.map_or(U256::ZERO, |queue| queue.cost_before(next, nonce));
        let need = before.saturating_add(U256::from(tx.max_cost().atto()));
        let need = Amount::from_u256(need).unwrap_or(Amount::MAX);
        if account.balance < need {
            return Err(SubmitError::InsufficientFunds { have: account.balance, need });
        }
        Ok(())
    }

    /// Evicts the cheapest tails until the transaction fits, if it pays more than each of them.
    fn make_room(
        &mut self,
        tx: &Transaction,
        replaces: bool,
        freed_bytes: usize,
    ) -> Result<(), SubmitError> {
        let mut evicted = Vec::new();
        let (mut count, mut size) = (self.len(), self.size_bytes - freed_bytes);
        if replaces {
            count -= 1;
        }
        let tip = self.tip(tx);
        let mut tails = self.tails.iter();
        while count >= self.limits.count || size + tx.length_bytes() > self.limits.size_bytes {
            // One tail a sender a time: enough, because each insertion adds one transaction; a
            // long one that needs more room than the tails have is refused.
            let Some(((cheapest, _), sender)) = tails.next() else { return Err(SubmitError::Full) };
            if *cheapest >= tip {
                return Err(SubmitError::Full);
            }
            if *sender == tx.sender() {
                continue;
            }
            let tail = self.queues.get(sender).and_then(Queue::last);
            if let Some(Waiting { tx, .. }) = tail {
                count -= 1;
                size -= tx.length_bytes();
                evicted.push((*sender, tx.nonce()));
            }
        }
        for (sender, nonce) in evicted {
            self.take(sender, nonce);
        }
        Ok(())
    }

    fn queue_len(&self, sender: Address) -> u64 {
        let length = self.queues.get(&sender).map_or(0, Queue::len);
        u64::try_from(length).unwrap_or(u64::MAX)
    }

    /// What the miner would get a gas; one below the base fee ranks last.
    fn tip(&self, tx: &Transaction) -> u128 {
        tx.effective_tip(self.base_fee).unwrap_or(0)
    }

    fn rank(&self, waiting: &Waiting) -> Rank {
        (self.tip(&waiting.tx), Reverse(waiting.seq))
    }

    fn tail(&self, sender: Address) -> Option<(Rank, Address)> {
        let last = self.queues.get(&sender)?.last()?;
        Some((self.rank(last), sender))
    }

    fn put(&mut self, tx: Arc<Transaction>) {
        let (sender, nonce) = (tx.sender(), tx.nonce());
        if let Some(tail) = self.tail(sender) {
            self.tails.remove(&tail);
        }
        self.size_bytes += tx.length_bytes();
        self.by_hash.insert(tx.hash(), (sender, nonce));
        self.queues.entry(sender).or_default().insert(tx, self.next_seq);
        self.next_seq += 1;
        self.tails.extend(self.tail(sender));
    }

    fn take(&mut self, sender: Address, nonce: u64) -> Option<Arc<Transaction>> {
        let tail = self.tail(sender);
        let queue = self.queues.get_mut(&sender)?;
        let tx = queue.remove(nonce)?;
        if queue.is_empty() {
            self.queues.remove(&sender);
        }
        if let Some(tail) = tail {
            self.tails.remove(&tail);
        }
        self.tails.extend(self.tail(sender));
        self.by_hash.remove(&tx.hash());
        self.size_bytes -= tx.length_bytes();
        Some(tx)
    }

    /// After the head moved: drops what was used, for senders whose account changed.
    pub(crate) fn advance(&mut self, base_fee: u64, accounts: &BTreeMap<Address, Account>) {
        for (sender, account) in accounts {
            let queue = self.queues.get(sender);
            for nonce in queue.map(|queue| queue.below(account.nonce)).unwrap_or_default() {
                self.take(*sender, nonce);
            }
        }
        if base_fee != self.base_fee {
            self.base_fee = base_fee;
            self.tails = self.queues.keys().filter_map(|sender| self.tail(*sender)).collect();
        }
    }

    /// The transactions in the order in which a block should take them: by tip, each sender's by
    /// nonce. `skip` tells the iterator to leave out the rest of a sender's.
    pub(crate) fn ordered(&self, base_fee: u64) -> Ordered {
        let mut queues: HashMap<Address, Vec<Waiting>> = HashMap::with_capacity(self.queues.len());
        let mut heads = BinaryHeap::with_capacity(self.queues.len());
        for (sender, queue) in &self.queues {
            let rest: Vec<Waiting> = queue.iter().rev().cloned().collect();
            if let Some(first) = rest.last()
                && let Some(tip) = first.tx.effective_tip(base_fee)
            {
                heads.push((tip, Reverse(first.seq), *sender));
                queues.insert(*sender, rest);
            }
        }
        Ordered { queues, heads, base_fee }
    }
}

/// See [`Mempool::ordered`].
pub(crate) struct Ordered {
    queues: HashMap<Address, Vec<Waiting>>,
    heads: BinaryHeap<(u128, Reverse<u64>, Address)>,
    base_fee: u64,
}

impl Ordered {
    /// The best transaction; its successor follows only after [`Ordered::accept`].
    pub(crate) fn next(&mut self) -> Option<Arc<Transaction>> {
        let (_, _, sender) = self.heads.pop()?;
        self.queues.get_mut(&sender)?.pop().map(|waiting| waiting.tx)
    }

    /// The sender's next transaction may follow.
    pub(crate) fn accept(&mut self, sender: Address) {
        if let Some(next) = self.queues.get(&sender).and_then(|queue| queue.last())
            && let Some(tip) = next.tx.effective_tip(self.base_fee)
        {
            self.heads.push((tip, Reverse(next.seq), sender));
        }
    }
}

/// A replacement pays a tenth more, in fee and in tip.
fn check_replacement(old: &Transaction, new: &Transaction) -> Result<(), SubmitError> {
    let tip = |tx: &Transaction| tx.effective_tip(0).unwrap_or_default();
    for (have, old) in [(new.max_fee_per_gas(), old.max_fee_per_gas()), (tip(new), tip(old))] {
        let want = old.saturating_add((old / 10).max(1));
        if have < want {
            return Err(SubmitError::ReplacementUnderpriced { have, want });
        }
    }
    Ok(())
}
