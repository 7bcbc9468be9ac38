//! The three ways to win a block.

use core::fmt;

use crate::codec::{DecodeError, Reader};
use crate::lane_one::MatmulClaim;
use crate::lane_two::CreditClaim;
use crate::lane_zero::HashClaim;

/// One way to win a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// Lane 0: Equihash.
    Hash,
    /// Lane 1: matrix products of tasks.
    Matmul,
    /// Lane 2: burned fees of settled receipts.
    Credit,
}

impl Lane {
    /// Every lane, by number.
    pub const ALL: [Self; 3] = [Self::Hash, Self::Matmul, Self::Credit];

    /// Its byte in a header.
    #[must_use]
    pub const fn byte(self) -> u8 {
        match self {
            Self::Hash => 0,
            Self::Matmul => 1,
            Self::Credit => 2,
        }
    }

    /// Its place in lists of three.
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            Self::Hash => 0,
            Self::Matmul => 1,
            Self::Credit => 2,
        }
    }

    /// From its byte.
    ///
    /// # Errors
    /// [`DecodeError::Lane`].
    pub const fn from_byte(byte: u8) -> Result<Self, DecodeError> {
        match byte {
            0 => Ok(Self::Hash),
            1 => Ok(Self::Matmul),
            2 => Ok(Self::Credit),
            other => Err(DecodeError::Lane(other)),
        }
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Hash => "0 (hash)",
            Self::Matmul => "1 (matmul)",
            Self::Credit => "2 (credit)",
        })
    }
}

/// The claim of a header to have won its block, one variant a lane.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Claim {
    /// Lane 0: the solution itself.
    Hash(HashClaim),
    /// Lane 1: the winning ticket; its certificate travels beside the header.
    Matmul(MatmulClaim),
    /// Lane 2: the slot's proof and the host's signature.
    Credit(CreditClaim),
}

impl Claim {
    /// Which lane's.
    #[must_use]
    pub const fn lane(&self) -> Lane {
        match self {
            Self::Hash(_) => Lane::Hash,
            Self::Matmul(_) => Lane::Matmul,
            Self::Credit(_) => Lane::Credit,
        }
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Hash(claim) => claim.write(out),
            Self::Matmul(claim) => claim.write(out),
            Self::Credit(claim) => claim.write(out),
        }
    }

    pub(crate) fn read(lane: Lane, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match lane {
            Lane::Hash => HashClaim::read(reader).map(Self::Hash),
            Lane::Matmul => MatmulClaim::read(reader).map(Self::Matmul),
            Lane::Credit => CreditClaim::read(reader).map(Self::Credit),
        }
    }
}
