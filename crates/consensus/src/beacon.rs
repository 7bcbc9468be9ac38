//! The beacon of lane 2: which seconds win is drawn from blocks that nobody could choose alone.

use core::ops::RangeInclusive;

use alloy_primitives::B256;

use crate::header::BlockId;
use crate::lane::Lane;

/// Blocks in a period.
pub const PERIOD: u64 = 64;

/// Beacons of this and the next period, and the ids that the one after them hashes.
///
/// The beacon of a period is BLAKE3, in the domain `"pouw beacon v1"`, of the ids of the blocks of
/// lanes 0 and 1 in the last but one complete period before it, in order; where that had none, the
/// beacon before. The first two periods have the genesis block's id. A block of lane 2 adds
/// nothing: its makers would choose which slots they win next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beacons {
    /// B of the running period.
    pub current: B256,
    /// B of the next.
    pub next: B256,
    ids: Vec<BlockId>,
}

impl Beacons {
    /// After the genesis block.
    #[must_use]
    pub const fn genesis(id: BlockId) -> Self {
        Self { current: id, next: id, ids: Vec::new() }
    }

    /// After one more block; where it is the last of its period, the period's beacon is made.
    #[must_use]
    pub fn after(mut self, height: u64, lane: Lane, id: BlockId) -> Self {
        if lane != Lane::Credit {
            self.ids.push(id);
        }
        let ends = height.saturating_add(1).is_multiple_of(PERIOD);
        if ends {
            let made = if self.ids.is_empty() { self.next } else { hash(&self.ids) };
            self = Self { current: self.next, next: made, ids: Vec::new() };
        }
        self
    }
}

/// The beacon of a block at this height, where the blocks below it are at hand: `ids_of` gives the ids of
/// the blocks of lanes 0 and 1 at these heights of its branch, in order.
///
/// # Errors
/// What `ids_of` says.
pub fn beacon_of<E>(
    height: u64,
    genesis: BlockId,
    mut ids_of: impl FnMut(RangeInclusive<u64>) -> Result<Vec<BlockId>, E>,
) -> Result<B256, E> {
    let period = height.checked_div(PERIOD).unwrap_or_default();
    for source in (0..period.saturating_sub(1)).rev() {
        let first = source.saturating_mul(PERIOD);
        let last = first.saturating_add(PERIOD).saturating_sub(1);
        let ids = ids_of(first.max(1)..=last)?;
        if !ids.is_empty() {
            return Ok(hash(&ids));
        }
    }
    Ok(genesis)
}

fn hash(ids: &[BlockId]) -> B256 {
    let mut hasher = blake3::Hasher::new_derive_key("pouw beacon v1");
    for id in ids {
        hasher.update(id.as_slice());
    }
    B256::from(*hasher.finalize().as_bytes())
}
