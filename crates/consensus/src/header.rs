//! Headers: their fields, their bytes, their names.

use alloy_primitives::{Address, B256};

use crate::codec::{DecodeError, Reader};
use crate::lane::{Claim, Lane};

/// The most bytes of any header.
pub const MAX_HEADER_BYTES: usize = 350;

/// Version byte of headers.
pub const HEADER_VERSION: u8 = 1;

/// A block's name: BLAKE3 of its header's bytes.
pub type BlockId = B256;

/// How the blocks of an epoch are to be shared among the lanes.
///
/// # Units
/// 1/65,536 of the blocks; what lanes 1 and 2 leave is lane 0's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shares {
    /// `s_1`.
    pub matmul: u16,
    /// `s_2`.
    pub credit: u16,
}

impl Shares {
    /// Everything is lane 0's: s = (1, 0, 0).
    pub const HASH_ONLY: Self = Self { matmul: 0, credit: 0 };

    /// `s_0`, `s_1`, `s_2`.
    #[must_use]
    pub fn by_lane(self) -> [u32; 3] {
        let (matmul, credit) = (u32::from(self.matmul), u32::from(self.credit));
        [65_536u32.saturating_sub(matmul.saturating_add(credit)), matmul, credit]
    }
}

/// What a proof of work stands for: everything of a header except the proof.
///
/// # Layout
/// Little-endian, without gaps: version u8, parent 32, height u64, time u64, transaction root 32,
/// receipts root 32, state root 32, `s_1` u16, `s_2` u16, lane u8, miner 20, gas used u64, base fee
/// u64: 186 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Core {
    /// The block before.
    pub parent: BlockId,
    /// Blocks since genesis.
    pub height: u64,
    /// Unix milliseconds.
    pub time_ms: u64,
    /// Merkle root of the transactions' bytes.
    pub tx_root: B256,
    /// Merkle root of the receipts' bytes.
    pub receipts_root: B256,
    /// Root of the state after the block.
    pub state_root: B256,
    /// Shares of the block's epoch.
    pub shares: Shares,
    /// How the block was won.
    pub lane: Lane,
    /// Who is paid.
    pub miner: Address,
    /// Gas that the transactions used.
    pub gas_used: u64,
    /// Burned for each gas, atto-FLUX.
    pub base_fee: u64,
}

impl Core {
    /// Bytes of a core.
    pub const BYTES: usize = 186;

    /// The canonical bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(MAX_HEADER_BYTES);
        out.push(HEADER_VERSION);
        out.extend_from_slice(self.parent.as_slice());
        out.extend_from_slice(&self.height.to_le_bytes());
        out.extend_from_slice(&self.time_ms.to_le_bytes());
        for root in [&self.tx_root, &self.receipts_root, &self.state_root] {
            out.extend_from_slice(root.as_slice());
        }
        out.extend_from_slice(&self.shares.matmul.to_le_bytes());
        out.extend_from_slice(&self.shares.credit.to_le_bytes());
        out.push(self.lane.byte());
        out.extend_from_slice(self.miner.as_slice());
        out.extend_from_slice(&self.gas_used.to_le_bytes());
        out.extend_from_slice(&self.base_fee.to_le_bytes());
        out
    }

    /// What the miner works on: BLAKE3 of the bytes, in a domain of its own.
    #[must_use]
    pub fn hash(&self) -> B256 {
        B256::from(blake3::derive_key("pouw core v1", &self.encode()))
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let version = reader.u8("version")?;
        if version != HEADER_VERSION {
            return Err(DecodeError::Version(version));
        }
        let core = Self {
            parent: reader.hash("parent")?,
            height: reader.u64("height")?,
            time_ms: reader.u64("time")?,
            tx_root: reader.hash("transaction root")?,
            receipts_root: reader.hash("receipts root")?,
            state_root: reader.hash("state root")?,
            shares: Shares {
                matmul: reader.u16("matmul share")?,
                credit: reader.u16("credit share")?,
            },
            lane: Lane::from_byte(reader.u8("lane")?)?,
            miner: Address::from(reader.array("miner")?),
            gas_used: reader.u64("gas used")?,
            base_fee: reader.u64("base fee")?,
        };
        Ok(core)
    }
}

/// A header: what the work stands for, and the claim to have done it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Everything but the proof.
    pub core: Core,
    /// The proof, or what names it.
    pub claim: Claim,
}

impl Header {
    /// The canonical bytes: the core, then the claim, whose kind is the core's lane byte (C-1).
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.core.encode();
        self.claim.write(&mut out);
        out
    }

    /// Reads canonical bytes and nothing else (C-1).
    ///
    /// # Errors
    /// [`DecodeError`] with the first field that is wrong.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() > MAX_HEADER_BYTES {
            return Err(DecodeError::TooLong { what: "header", limit: MAX_HEADER_BYTES });
        }
        let mut reader = Reader::new(bytes);
        let core = Core::read(&mut reader)?;
        let claim = Claim::read(core.lane, &mut reader)?;
        reader.finish()?;
        Ok(Self { core, claim })
    }

    /// The block's name.
    #[must_use]
    pub fn id(&self) -> BlockId {
        B256::from(*blake3::hash(&self.encode()).as_bytes())
    }
}
