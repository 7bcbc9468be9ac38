//! One sender's transactions, by nonce, and what those before one of them may cost.
//!
//! Each entry keeps the running sum of costs through it. A sum over a range is the difference of
//! two of them, adding at the end and taking from either end touch one entry, and only a change in
//! the middle touches those behind it.

use std::collections::BTreeMap;
use std::sync::Arc;

use alloy_primitives::U256;
use pouw_ledger::Transaction;

#[derive(Clone, Debug)]
pub(super) struct Waiting {
    pub(super) tx: Arc<Transaction>,
    /// Its age: earlier ones have smaller numbers.
    pub(super) seq: u64,
    /// Costs of the queue through this one; only differences mean something. Wide enough for as
    /// many of the greatest cost as there are nonces.
    through: U256,
}

fn cost(tx: &Transaction) -> U256 {
    U256::from(tx.max_cost().atto())
}

/// Never empty while it is kept.
#[derive(Clone, Debug, Default)]
pub(super) struct Queue(BTreeMap<u64, Waiting>);

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn get(&self, nonce: u64) -> Option<&Arc<Transaction>> {
        self.0.get(&nonce).map(|waiting| &waiting.tx)
    }

    pub(super) fn last(&self) -> Option<&Waiting> {
        self.0.last_key_value().map(|(_, last)| last)
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &Waiting> {
        self.0.values()
    }

    /// The nonces from one on, in order.
    pub(super) fn from(&self, nonce: u64) -> impl Iterator<Item = u64> {
        self.0.range(nonce..).map(|(nonce, _)| *nonce)
    }

    /// The nonces below one, in order.
    pub(super) fn below(&self, nonce: u64) -> Vec<u64> {
        self.0.range(..nonce).map(|(nonce, _)| *nonce).collect()
    }

    /// What the transactions from nonce `first` up to, without, `nonce` cost at most together,
    /// atto-FLUX.
    pub(super) fn cost_before(&self, first: u64, nonce: u64) -> U256 {
        let mut range = self.0.range(first..nonce);
        let Some((_, first)) = range.next() else { return U256::ZERO };
        let last = range.next_back().map_or(first, |(_, last)| last);
        last.through.saturating_sub(first.through).saturating_add(cost(&first.tx))
    }

    /// Adds a transaction; its nonce is free.
    pub(super) fn insert(&mut self, tx: Arc<Transaction>, seq: u64) {
        let (nonce, cost) = (tx.nonce(), cost(&tx));
        let before = self.0.range(..nonce).next_back().map(|(_, before)| before.through);
        // Before the first, sums begin where they do now.
        let before = before.or_else(|| {
            let (_, first) = self.0.first_key_value()?;
            Some(first.through.saturating_sub(self::cost(&first.tx)))
        });
        for (_, behind) in self.0.range_mut(nonce..) {
            behind.through = behind.through.saturating_add(cost);
        }
        let through = before.unwrap_or_default().saturating_add(cost);
        self.0.insert(nonce, Waiting { tx, seq, through });
    }

    pub(super) fn remove(&mut self, nonce: u64) -> Option<Arc<Transaction>> {
        let removed = self.0.remove(&nonce)?;
        if self.0.range(..nonce).next_back().is_some() {
            let cost = cost(&removed.tx);
            for (_, behind) in self.0.range_mut(nonce..) {
                behind.through = behind.through.saturating_sub(cost);
            }
        }
        Some(removed.tx)
    }
}

#[cfg(test)]
mod tests {
    use alloy_consensus::{SignableTransaction, TxEip1559, TxEnvelope};
    use alloy_eips::eip2718::Encodable2718;
    use alloy_primitives::{Address, B256, Signature, TxKind};
    use alloy_signer::SignerSync;
    use alloy_signer_local::PrivateKeySigner;
    use pouw_ledger::decode_transaction;
    use pouw_types::Network;
    use proptest::collection::vec;
    use proptest::prelude::any;
    use proptest::test_runner::TestRunner;

    use super::*;

    const NONCES: u64 = 12;

    /// One transaction for each nonce, each of another cost.
    fn transactions() -> Vec<Arc<Transaction>> {
        let key = PrivateKeySigner::from_bytes(&B256::repeat_byte(1)).unwrap();
        let chain_id = Network::devnet().chain_id;
        let one = |nonce: u64| {
            let tx = TxEip1559 {
                chain_id,
                nonce,
                gas_limit: 21_000,
                to: TxKind::Call(Address::repeat_byte(1)),
                value: U256::from(1_u64 << nonce),
                ..TxEip1559::default()
            };
            let signature: Signature = key.sign_hash_sync(&tx.signature_hash()).unwrap();
            let raw = TxEnvelope::from(tx.into_signed(signature)).encoded_2718();
            Arc::new(decode_transaction(&raw, chain_id).unwrap())
        };
        (0..NONCES).map(one).collect()
    }

    /// Whatever came and went in whichever order, a sum is that of its range.
    #[test]
    fn running_sums_are_the_sums() {
        let transactions = transactions();
        let steps = vec((0..12_usize, any::<bool>()), 1..40);
        let check = |(steps, first, after): (Vec<(usize, bool)>, u64, u64)| {
            let mut queue = Queue::default();
            for (seq, (at, add)) in (0_u64..).zip(steps) {
                let nonce = transactions[at].nonce();
                if !add {
                    queue.remove(nonce);
                } else if queue.get(nonce).is_none() {
                    queue.insert(Arc::clone(&transactions[at]), seq);
                }
                let range = queue.0.range(first..first + after);
                let expected = range.fold(U256::ZERO, |sum, (_, one)| sum + cost(&one.tx));
                assert_eq!(queue.cost_before(first, first + after), expected);
            }
            Ok(())
        };
        TestRunner::default().run(&(steps, 0..NONCES, 0..NONCES), check).unwrap();
    }
}
