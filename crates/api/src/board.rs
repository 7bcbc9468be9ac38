//! The offers board: the offers that this node knows, one a machine, in memory.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use pouw_types::{MachineId, Offer, OfferError};
use serde_json::json;

/// The offers that a node knows.
#[derive(Debug)]
pub struct Board {
    chain_id: u64,
    capacity: usize,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    offers: BTreeMap<MachineId, (Offer, usize)>,
    /// Sum of the sizes.
    size_bytes: usize,
    /// The answer to who lists them, until something changes.
    listed: Option<Bytes>,
}

impl Held {
    fn insert(&mut self, offer: Offer, size_bytes: usize) {
        let before = self.offers.insert(offer.machine, (offer, size_bytes));
        let before = before.map_or(0, |(_, size_bytes)| size_bytes);
        self.size_bytes = self.size_bytes.saturating_sub(before).saturating_add(size_bytes);
        self.listed = None;
    }

    fn drop_expired(&mut self, now_s: u64) {
        let count = self.offers.len();
        self.offers.retain(|_, (offer, _)| offer.available_until > now_s);
        if self.offers.len() != count {
            self.size_bytes = self.offers.values().map(|(_, size_bytes)| size_bytes).sum();
            self.listed = None;
        }
    }
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
    /// Longer than an offer needs to be.
    #[error("the offer is {got} bytes long as JSON, at most {limit} are taken")]
    TooLong {
        /// Its length.
        got: usize,
        /// At most.
        limit: usize,
    },
    /// No room.
    #[error("the board holds {0} offers, and has no room for another")]
    Full(usize),
}

/// How far ahead of this node's clock an offer may be issued, seconds.
const CLOCK_SLACK_S: u64 = 60;

impl Board {
    /// Most offers by default.
    pub const CAPACITY: usize = 10_000;
    /// Most bytes of one offer as JSON.
    pub const OFFER_BYTES: usize = 8 * 1024;
    /// Most bytes of all offers together: what one answer that lists them may be long.
    pub const BOARD_BYTES: usize = 16 * 1024 * 1024;

    /// An empty board for a network.
    #[must_use]
    pub fn new(chain_id: u64, capacity: usize) -> Self {
        Self { chain_id, capacity, held: Mutex::default() }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an offer; the machine's earlier one goes. The same offer again changes nothing.
    ///
    /// # Errors
    /// [`BoardError`].
    pub fn post(&self, offer: Offer, now_s: u64) -> Result<(), BoardError> {
        let size_bytes = json!(offer).to_string().len();
        if size_bytes > Self::OFFER_BYTES {
            return Err(BoardError::TooLong { got: size_bytes, limit: Self::OFFER_BYTES });
        }
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
        let mut held = self.held();
        held.drop_expired(now_s);
        let last = held.offers.get(&offer.machine);
        match last {
            Some((last, _)) if *last == offer => return Ok(()),
            Some((last, _)) if offer.seq <= last.seq => {
                return Err(BoardError::Seq { got: offer.seq, last: last.seq });
            }
            Some(_) | None => {}
        }
        let freed = last.map_or(0, |(_, size_bytes)| *size_bytes);
        let total = held.size_bytes.saturating_sub(freed).saturating_add(size_bytes);
        let full = last.is_none() && held.offers.len() >= self.capacity;
        if full || total > Self::BOARD_BYTES {
            return Err(BoardError::Full(held.offers.len()));
        }
        held.insert(offer, size_bytes);
        Ok(())
    }

    /// The offers that hold now, by machine.
    #[must_use]
    pub fn list(&self, now_s: u64) -> Vec<Offer> {
        let mut held = self.held();
        held.drop_expired(now_s);
        held.offers.values().map(|(offer, _)| offer.clone()).collect()
    }

    /// The same as the JSON that `GET /v1/offers` answers. It is made once a change and then
    /// shared, so that many who ask at once cost no memory.
    #[must_use]
    pub fn list_json(&self, now_s: u64) -> Bytes {
        let mut held = self.held();
        held.drop_expired(now_s);
        if let Some(listed) = &held.listed {
            return listed.clone();
        }
        let offers: Vec<_> = held.offers.values().map(|(offer, _)| offer).collect();
        let listed = Bytes::from(json!({ "offers": offers }).to_string());
        held.listed = Some(listed.clone());
        listed
    }
}

#[cfg(test)]
mod tests {
    use alloy_signer::SignerSync as _;
    use alloy_signer_local::PrivateKeySigner;
    use pouw_types::{Floor, Gpu, Resources};

    use super::*;

    fn offer(key: &PrivateKeySigner, seq: u64, until: u64, gpus: usize) -> Offer {
        let gpu = Gpu { model: "x".repeat(200), memory_bytes: 1, count: 1 };
        let mut offer = Offer {
            version: 1,
            machine: MachineId::new(key.address()),
            chain_id: 1,
            seq,
            issued_at: 10,
            available_until: until,
            endpoint: "http://127.0.0.1:7101".to_owned(),
            units: 1,
            unit: Resources::default(),
            arch: "amd64".to_owned(),
            gpus: vec![gpu; gpus],
            isolation: Vec::new(),
            egress: false,
            floor: Floor::default(),
            scores: Vec::new(),
            signature: alloy_primitives::Bytes::new(),
        };
        let signature = key.sign_hash_sync(&offer.hash()).unwrap();
        offer.signature = signature.as_bytes().to_vec().into();
        offer
    }

    #[test]
    fn what_is_over_makes_room_and_is_not_listed() {
        let board = Board::new(1, 1);
        let (first, second) = (PrivateKeySigner::random(), PrivateKeySigner::random());
        assert_eq!(board.post(offer(&first, 1, 20, 0), 10), Ok(()));
        assert_eq!(board.post(offer(&second, 1, 99, 0), 19), Err(BoardError::Full(1)));
        assert_eq!(board.list(19).len(), 1);
        assert_eq!(board.list_json(20), r#"{"offers":[]}"#, "made anew when one ends");
        let held = offer(&second, 1, 99, 0);
        assert_eq!(board.post(held.clone(), 20), Ok(()));
        assert_eq!(board.list(20), std::slice::from_ref(&held));
        assert_eq!(board.list_json(20), json!({ "offers": [held] }).to_string());
    }

    #[test]
    fn a_long_offer_is_refused() {
        let board = Board::new(1, 10);
        let key = PrivateKeySigner::random();
        assert_eq!(board.post(offer(&key, 1, 99, 25), 10), Ok(()));
        let long = board.post(offer(&key, 2, 99, 100), 10);
        assert!(matches!(long, Err(BoardError::TooLong { limit: Board::OFFER_BYTES, .. })));
    }

    #[test]
    fn sizes_add_up_whatever_is_replaced_or_ends() {
        let board = Board::new(1, 10);
        let keys: Vec<_> = (0..3).map(|_| PrivateKeySigner::random()).collect();
        for (index, key) in (0_u64..).zip(&keys) {
            assert_eq!(board.post(offer(key, 1, 20 + index, 3), 10), Ok(()));
            assert_eq!(board.post(offer(key, 2, 20 + index, 1), 10), Ok(()));
        }
        for now in [10, 20, 21, 22] {
            let expected: usize =
                board.list(now).iter().map(|one| json!(one).to_string().len()).sum();
            assert_eq!(board.held().size_bytes, expected, "at {now}");
        }
        assert_eq!(board.held().size_bytes, 0);
    }
}
