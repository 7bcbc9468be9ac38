//! The offers board: the offers that this node knows, one a machine, in memory.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use pouw_types::{MachineId, Offer, OfferError};

/// The offers that a node knows.
#[derive(Debug)]
pub struct Board {
    chain_id: u64,
    capacity: usize,
    offers: Mutex<BTreeMap<MachineId, Offer>>,
}

/// An offer was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BoardError {
    /// Malformed or not its machine's.
    #[error(transparent)]
    Offer(#[from] OfferError),
    /// For another network.
    #[error("the offer is for chain {got}, this node is on chain {expected}")]
    Chain {
        /// In the offer.
        got: u64,
        /// This node's.
        expected: u64,
    },
    /// Over already.
    #[error("the offer ended at {until}, it is {now}")]
    Expired {
        /// Unix seconds.
        until: u64,
        /// Unix seconds.
        now: u64,
    },
    /// Signed in the future.
    #[error("the offer was issued at {at}, later than this node's clock, {now}")]
    FromTheFuture {
        /// Unix seconds.
        at: u64,
        /// Unix seconds.
        now: u64,
    },
    /// Not newer than what the machine said last.
    #[error(
        "the offer has seq {got}, the machine's last one has {last}: a new one must be greater"
    )]
    Seq {
        /// In the offer.
        got: u64,
        /// Of the one that is held.
        last: u64,
    },
    /// No room.
    #[error("the board holds {0} offers, which is its limit")]
    Full(usize),
}

/// How far ahead of this node's clock an offer may be issued, seconds.
const CLOCK_SLACK_S: u64 = 60;

impl Board {
    /// Most offers by default.
    pub const CAPACITY: usize = 10_000;

    /// An empty board for a network.
    #[must_use]
    pub const fn new(chain_id: u64, capacity: usize) -> Self {
        Self { chain_id, capacity, offers: Mutex::new(BTreeMap::new()) }
    }

    /// Takes an offer; the machine's earlier one goes. The same offer again changes nothing.
    ///
    /// # Errors
    /// [`BoardError`].
    pub fn post(&self, offer: Offer, now_s: u64) -> Result<(), BoardError> {
        if offer.chain_id != self.chain_id {
            return Err(BoardError::Chain { got: offer.chain_id, expected: self.chain_id });
        }
        if offer.available_until <= now_s {
            return Err(BoardError::Expired { until: offer.available_until, now: now_s });
        }
        if offer.issued_at > now_s.saturating_add(CLOCK_SLACK_S) {
            return Err(BoardError::FromTheFuture { at: offer.issued_at, now: now_s });
        }
        offer.verify()?;
        let mut offers = self.offers.lock().unwrap_or_else(PoisonError::into_inner);
        match offers.get(&offer.machine) {
            Some(last) if *last == offer => return Ok(()),
            Some(last) if offer.seq <= last.seq => {
                return Err(BoardError::Seq { got: offer.seq, last: last.seq });
            }
            Some(_) => {}
            None if offers.len() >= self.capacity => {
                offers.retain(|_, held| held.available_until > now_s);
                if offers.len() >= self.capacity {
                    return Err(BoardError::Full(self.capacity));
                }
            }
            None => {}
        }
        offers.insert(offer.machine, offer);
        Ok(())
    }

    /// The offers that hold now, by machine.
    #[must_use]
    pub fn list(&self, now_s: u64) -> Vec<Offer> {
        let mut offers = self.offers.lock().unwrap_or_else(PoisonError::into_inner);
        offers.retain(|_, held| held.available_until > now_s);
        offers.values().cloned().collect()
    }
}
