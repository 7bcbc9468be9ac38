//! Finding events of system contracts.

use alloy_primitives::{Address, B256, Bloom, BloomInput, Log};
use pouw_consensus::BlockId;
use pouw_ledger::TxReceipt;

/// Which logs are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogFilter {
    /// First height.
    pub from: u64,
    /// Last height.
    pub to: u64,
    /// Any of these contracts; empty is every contract.
    pub addresses: Vec<Address>,
    /// By position, any of these topics; empty is every topic.
    pub topics: [Vec<B256>; 4],
}

/// A log and where it stands on the best chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// The log.
    pub log: Log,
    /// Its block.
    pub block: BlockId,
    /// Its block's height.
    pub height: u64,
    /// Its block's time, Unix milliseconds.
    pub time_ms: u64,
    /// Its transaction.
    pub tx: B256,
    /// Its transaction's place in the block.
    pub tx_index: u32,
    /// Its place among the block's logs.
    pub index: u32,
}

impl LogFilter {
    /// Whether a log is one of those asked for.
    #[must_use]
    pub fn matches(&self, log: &Log) -> bool {
        let topics = log.topics();
        let listed = self.addresses.is_empty() || self.addresses.contains(&log.address);
        listed
            && self.topics.iter().enumerate().all(|(position, wanted)| {
                wanted.is_empty() || topics.get(position).is_some_and(|got| wanted.contains(got))
            })
    }

    /// Whether a block with this bloom may have such a log.
    pub(crate) fn may_match(&self, bloom: &Bloom) -> bool {
        let has = |input: &[u8]| bloom.contains_input(BloomInput::Raw(input));
        let listed =
            self.addresses.is_empty() || self.addresses.iter().any(|one| has(one.as_slice()));
        listed
            && self
                .topics
                .iter()
                .all(|some| some.is_empty() || some.iter().any(|one| has(one.as_slice())))
    }
}

/// The bloom of a block's logs, if it has any.
pub(crate) fn bloom(receipts: &[TxReceipt]) -> Option<Bloom> {
    let mut bloom = Bloom::ZERO;
    let mut any = false;
    for log in receipts.iter().flat_map(|receipt| &receipt.logs) {
        any = true;
        bloom.accrue_log(log);
    }
    any.then_some(bloom)
}
