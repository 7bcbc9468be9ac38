//! What blocks of lane 2 are judged by: the state of height h − H, and the beacon (C-23 … C-28).

use std::collections::BTreeMap;

use alloy_primitives::{Address, B256};
use pouw_consensus::beacon::beacon_of;
use pouw_consensus::reward::credit_reward;
use pouw_consensus::share::epoch_of;
use pouw_consensus::vrf::PROOF_BYTES;
use pouw_consensus::{
    BlockId, Claim, Core, CreditClaimError, CreditRecord, Header, HeaderError, Lane, Shares,
    Standing, lane_key_of, slot_input, slot_of, vrf, wins,
};
use pouw_ledger::{State, StateError, machine};
use pouw_types::{Amount, Network};

use crate::chain::Chain;
use crate::earnings::{credit_of, credits};
use crate::error::{ImportError, StoreError};
use crate::store::{Reading, Writing, corrupt};

/// The height whose state judges a block of lane 2; none for the first H blocks.
pub(crate) const fn judging(network: &Network, height: u64) -> Option<u64> {
    height.checked_sub(network.horizon_blocks)
}

/// A machine's lane key, credit and payout in the state of `height`; none where it has no key, or
/// nobody is paid for its blocks.
pub(crate) fn record<S: State>(
    network: &Network,
    (state, height): (&S, u64),
    address: Address,
) -> Result<Option<CreditRecord>, StateError> {
    let Some(found) = machine(state, address)? else { return Ok(None) };
    if found.laneKey.is_zero() || found.miner.is_zero() {
        return Ok(None);
    }
    let credit = credit_of(state, address)?.credit(epoch_of(height, network.epoch_blocks));
    Ok(Some(CreditRecord { key: found.laneKey.0, credit, payout: found.miner }))
}

/// What a block of lane 2 mints, by the state that judges it (C-28).
pub(crate) fn minted<S: State>(
    network: &Network,
    (state, height): (&S, u64),
    shares: Shares,
) -> Result<Amount, StateError> {
    let all = credits(state)?.credit(epoch_of(height, network.epoch_blocks));
    let reward = credit_reward(network.subsidy.atto(), all, shares, network.epoch_blocks);
    Ok(Amount::from_atto(reward))
}

/// Where headers are found.
pub(crate) trait Headers {
    fn header_of(&self, id: BlockId) -> Result<Option<(Standing, Header)>, StoreError>;
    fn best(&self, height: u64) -> Result<Option<BlockId>, StoreError>;
}

impl Headers for Reading {
    fn header_of(&self, id: BlockId) -> Result<Option<(Standing, Header)>, StoreError> {
        self.header(id)
    }
    fn best(&self, height: u64) -> Result<Option<BlockId>, StoreError> {
        self.at_height(height)
    }
}

impl Headers for Writing<'_> {
    fn header_of(&self, id: BlockId) -> Result<Option<(Standing, Header)>, StoreError> {
        self.header(id)
    }
    fn best(&self, height: u64) -> Result<Option<BlockId>, StoreError> {
        self.at_height(height)
    }
}

/// A block's ancestors: those of its branch, and below them the best chain's.
pub(crate) struct Ancestry<'a, H> {
    headers: &'a H,
    /// The last block in common with the best chain.
    pub(crate) fork: u64,
    above: BTreeMap<u64, BlockId>,
}

impl<'a, H: Headers> Ancestry<'a, H> {
    /// Of a block whose parent this is.
    pub(crate) fn of(headers: &'a H, parent: BlockId) -> Result<Self, StoreError> {
        let mut above = BTreeMap::new();
        let mut id = parent;
        loop {
            let (standing, header) = headers.header_of(id)?.ok_or_else(|| corrupt("header", id))?;
            if headers.best(standing.height)? == Some(id) {
                return Ok(Self { headers, fork: standing.height, above });
            }
            above.insert(standing.height, id);
            id = header.core.parent;
        }
    }

    fn id(&self, height: u64) -> Result<BlockId, StoreError> {
        let found = match self.above.get(&height) {
            Some(id) => Some(*id),
            None => self.headers.best(height)?,
        };
        found.ok_or_else(|| corrupt("block", height))
    }

    /// B of a block at this height (C-27).
    pub(crate) fn beacon(&self, height: u64) -> Result<B256, StoreError> {
        beacon_of(height, self.id(0)?, |heights| {
            let mut ids = Vec::new();
            for height in heights {
                let id = self.id(height)?;
                let (_, header) =
                    self.headers.header_of(id)?.ok_or_else(|| corrupt("header", id))?;
                if header.core.lane != Lane::Credit {
                    ids.push(id);
                }
            }
            Ok(ids)
        })
    }
}

/// What a claim of lane 2 is judged by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CreditEvidence {
    pub(crate) beacon: B256,
    pub(crate) record: CreditRecord,
}

/// What a header is judged by, from a state and a chain of headers; none for another lane.
pub(crate) fn evidence<S: State, H: Headers>(
    network: &Network,
    (state, height): (&S, u64),
    ancestry: &Ancestry<'_, H>,
    header: &Header,
) -> Result<Option<CreditEvidence>, ImportError> {
    let Claim::Credit(claim) = &header.claim else { return Ok(None) };
    let record = record(network, (state, height), claim.machine)?;
    let record = record.ok_or_else(|| unknown(claim.machine, height))?;
    let beacon = ancestry.beacon(header.core.height)?;
    Ok(Some(CreditEvidence { beacon, record }))
}

/// What judges a block before it is followed. None where that is not known yet: for other lanes, and
/// on a branch that left the best chain more than H blocks before.
pub(crate) fn evidence_at_hand(
    network: &Network,
    reading: &Reading,
    parent: &Standing,
    header: &Header,
) -> Result<Option<CreditEvidence>, ImportError> {
    let Claim::Credit(claim) = &header.claim else { return Ok(None) };
    let core = &header.core;
    if parent.shares.credit == 0 || core.height != parent.height.saturating_add(1) {
        // Refused by its header.
        return Ok(None);
    }
    let height = judging(network, core.height).ok_or_else(|| unknown(claim.machine, 0))?;
    let ancestry = Ancestry::of(reading, core.parent)?;
    if ancestry.fork < height {
        return Ok(None);
    }
    let oldest = reading.oldest()?;
    if height < oldest {
        return Err(ImportError::PrunedState { height, oldest });
    }
    evidence(network, (&reading.state(height)?, height), &ancestry, header)
}

/// Judges a claim on the branch that it is on, now that the branch is executed up to its parent.
pub(crate) fn judge(
    network: &Network,
    writing: &Writing<'_>,
    parent: &Standing,
    header: &Header,
) -> Result<(), ImportError> {
    let Claim::Credit(claim) = &header.claim else { return Ok(()) };
    let height = judged_by(network, writing, &header.core)?;
    let ancestry = Ancestry::of(writing, header.core.parent)?;
    let state = writing.state(height);
    let Some(evidence) = evidence(network, (&state, height), &ancestry, header)? else {
        return Ok(());
    };
    let CreditEvidence { beacon, record } = evidence;
    let difficulty = parent.difficulty.of(Lane::Credit);
    claim
        .check(&header.core, parent.time_ms, beacon, &record, difficulty)
        .map_err(ImportError::Credit)
}

/// The height whose state judges a block, where that is kept.
pub(crate) fn judged_by(
    network: &Network,
    writing: &Writing<'_>,
    core: &Core,
) -> Result<u64, ImportError> {
    let height = judging(network, core.height).ok_or_else(|| unknown(core.miner, 0))?;
    let oldest = writing.oldest()?;
    if height < oldest {
        return Err(ImportError::PrunedState { height, oldest });
    }
    Ok(height)
}

pub(crate) fn unknown(machine: Address, height: u64) -> ImportError {
    HeaderError::CreditClaim(CreditClaimError::Unknown { machine, height }).into()
}

/// A machine's lot on the head: what decides whether a second wins.
#[derive(Clone, Copy, Debug)]
pub struct Lot {
    /// The head.
    pub parent: BlockId,
    parent_ms: u64,
    beacon: B256,
    /// Who is paid.
    pub payout: Address,
    /// As registered.
    pub key: [u8; 32],
    /// The machine's.
    pub credit: u128,
    /// `D_2`.
    pub difficulty: u128,
}

impl Lot {
    /// B: what the slots of this period are drawn from.
    #[must_use]
    pub const fn beacon(&self) -> B256 {
        self.beacon
    }

    /// The proof of a slot that wins, by the machine's lane key; none where it does not, or is not
    /// later than the head's.
    #[must_use]
    pub fn draw(&self, secret: &[u8; 32], slot: u64) -> Option<[u8; PROOF_BYTES]> {
        if self.credit == 0 || slot <= slot_of(self.parent_ms) || lane_key_of(secret) != self.key {
            return None;
        }
        let input = slot_input(self.beacon, slot);
        let proof = vrf::prove(secret, &input).ok()?;
        let output = vrf::verify(&self.key, &input, &proof).ok()?;
        wins(&output, self.credit, self.difficulty).then_some(proof)
    }
}

impl Chain {
    /// A machine's lot on the head; none where lane 2 has no share yet, or the machine no key, or
    /// nobody to be paid.
    ///
    /// # Errors
    /// [`ImportError`] where the store failed.
    pub fn lot(&self, machine: Address) -> Result<Option<Lot>, ImportError> {
        let network = self.inner.network;
        let reading = self.inner.store.read()?;
        let id = reading.head()?;
        let (standing, _) = reading.header(id)?.ok_or_else(|| corrupt("header", id))?;
        let next = standing.height.saturating_add(1);
        let Some(height) = judging(network, next).filter(|_| standing.shares.credit > 0) else {
            return Ok(None);
        };
        let Some(record) = record(network, (&reading.state(height)?, height), machine)? else {
            return Ok(None);
        };
        Ok(Some(Lot {
            parent: id,
            parent_ms: standing.time_ms,
            beacon: Ancestry::of(&reading, id)?.beacon(next)?,
            payout: record.payout,
            key: record.key,
            credit: record.credit,
            difficulty: standing.difficulty.of(Lane::Credit),
        }))
    }
}
