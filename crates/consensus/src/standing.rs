//! What the rules remember after a block.

use alloy_primitives::U256;
use pouw_types::Network;

use crate::codec::{DecodeError, Reader};
use crate::difficulty::{Difficulty, Pace};
use crate::fixed::exp2;
use crate::header::{BlockId, Core, Header, Shares};
use crate::lane::Lane;
use crate::{share, weight};

/// Key under which [`Standing::encode_state`] is part of the state, so that the state root covers
/// it (C-14). No key of the ledger begins with 0xff.
pub const STATE_KEY: &[u8] = b"\xffconsensus";

/// What the rules remember after a block: all that the next header is checked against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The block.
    pub id: BlockId,
    /// Its height.
    pub height: u64,
    /// Its time, Unix milliseconds.
    pub time_ms: u64,
    /// Shares of the next block.
    pub shares: Shares,
    /// Difficulty of the next block.
    pub difficulty: Difficulty,
    /// Logarithm of the next block's weight.
    pub weight_log2: i64,
    /// Σw: weight of the chain up to and including the block.
    pub total_weight: U256,
}

impl Standing {
    /// After the genesis block.
    #[must_use]
    pub fn genesis(network: &Network, id: BlockId) -> Self {
        let shares = share::at_genesis(network);
        Self {
            id,
            height: 0,
            time_ms: network.genesis_ms,
            shares,
            difficulty: Difficulty::genesis(&Pace::of(network), shares),
            weight_log2: weight::GENESIS_LOG2,
            total_weight: U256::ZERO,
        }
    }

    /// Weight of the next block, if `lane` wins it: a block of lane 2 carries none.
    #[must_use]
    pub fn weight(&self, lane: Lane) -> U256 {
        match lane {
            Lane::Hash | Lane::Matmul => exp2(self.weight_log2),
            Lane::Credit => U256::ZERO,
        }
    }

    /// After one more block; its header was checked, or is still being made (then `id` is not yet
    /// known and left as it is).
    #[must_use]
    pub fn after_core(&self, pace: &Pace, core: &Core) -> Self {
        self.after_core_moving(pace, core, self.shares)
    }

    /// [`Standing::after_core`] where the next block has other shares than this one: it is the first
    /// of an epoch (C-18, C-19).
    #[must_use]
    pub fn after_core_moving(&self, pace: &Pace, core: &Core, shares: Shares) -> Self {
        let spacing_ms = core.time_ms.saturating_sub(self.time_ms);
        let difficulty = self.difficulty.after(pace, core.lane, spacing_ms, shares);
        Self {
            id: self.id,
            height: core.height,
            time_ms: core.time_ms,
            shares,
            difficulty,
            weight_log2: self.weight_log2.saturating_add(weight::step(
                shares,
                &self.difficulty,
                &difficulty,
            )),
            total_weight: self.total_weight.saturating_add(self.weight(core.lane)),
        }
    }

    /// After one more block whose header was checked.
    #[must_use]
    pub fn after(&self, pace: &Pace, header: &Header) -> Self {
        Self { id: header.id(), ..self.after_core(pace, &header.core) }
    }

    /// What belongs to the block's state: everything but the name, which depends on the state.
    #[must_use]
    pub fn encode_state(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(200);
        out.extend_from_slice(&self.height.to_le_bytes());
        out.extend_from_slice(&self.time_ms.to_le_bytes());
        out.extend_from_slice(&self.shares.matmul.to_le_bytes());
        out.extend_from_slice(&self.shares.credit.to_le_bytes());
        self.difficulty.write(&mut out);
        out.extend_from_slice(&self.weight_log2.to_le_bytes());
        out.extend_from_slice(&self.total_weight.to_le_bytes::<32>());
        out
    }

    /// Reads [`Standing::encode_state`] of block `id`.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode_state(id: BlockId, bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let standing = Self {
            id,
            height: reader.u64("height")?,
            time_ms: reader.u64("time")?,
            shares: Shares {
                matmul: reader.u16("matmul share")?,
                credit: reader.u16("credit share")?,
            },
            difficulty: Difficulty::read(&mut reader)?,
            weight_log2: reader.i64("weight")?,
            total_weight: U256::from_le_bytes(reader.array::<32>("total weight")?),
        };
        reader.finish()?;
        Ok(standing)
    }
}
