//! Lane 0: Equihash with k = 5.

use alloy_primitives::{B256, U256};
use pouw_types::LaneZero;

use crate::codec::{DecodeError, Reader};

/// The most bytes of a solution: (144, 5) has 32 indices of 25 bits.
pub const MAX_SOLUTION_BYTES: usize = 100;

/// Nonce and solution.
///
/// # Layout
/// Nonce 32 bytes, length of the solution u8, solution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HashClaim {
    /// Free for the miner to vary.
    pub nonce: B256,
    /// The indices in the minimal encoding of Equihash.
    pub solution: Vec<u8>,
}

impl HashClaim {
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.nonce.as_slice());
        out.push(u8::try_from(self.solution.len()).unwrap_or(u8::MAX));
        out.extend_from_slice(&self.solution);
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let nonce = reader.hash("nonce")?;
        let length = usize::from(reader.u8("solution length")?);
        if length > MAX_SOLUTION_BYTES {
            return Err(DecodeError::TooLong { what: "solution", limit: MAX_SOLUTION_BYTES });
        }
        let solution = reader.take(length, "solution")?.to_vec();
        Ok(Self { nonce, solution })
    }
}

/// The puzzle of one block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Puzzle {
    input: [u8; 50],
    n: u32,
    k: u32,
}

/// A claim of lane 0 does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HashClaimError {
    /// C-7.
    #[error("the Equihash ({n}, {k}) solution does not verify: {reason}")]
    Solution {
        /// Equihash n.
        n: u32,
        /// Equihash k.
        k: u32,
        /// What the verifier says.
        reason: String,
    },
    /// C-8.
    #[error("the solution's ticket is not below the target of difficulty {difficulty}")]
    Target {
        /// `D_0`.
        difficulty: u128,
    },
}

impl Puzzle {
    /// The puzzle of a core: the hashed input opens with a domain tag and the chain id, because
    /// Equihash's own personalisation is fixed.
    #[must_use]
    pub fn new(chain_id: u64, parameters: LaneZero, core_hash: B256) -> Self {
        let mut input = [0; 50];
        let (tag, rest) = input.split_at_mut(10);
        tag.copy_from_slice(b"pouw l0 v1");
        let (id, core) = rest.split_at_mut(8);
        id.copy_from_slice(&chain_id.to_le_bytes());
        core.copy_from_slice(core_hash.as_slice());
        Self { input, n: parameters.n, k: parameters.k }
    }

    /// What Equihash hashes before the nonce.
    #[must_use]
    pub const fn input(&self) -> &[u8] {
        &self.input
    }

    /// The ticket J of a solution, a number that has to fall below the target.
    #[must_use]
    pub fn ticket(&self, claim: &HashClaim) -> U256 {
        let mut hasher = blake3::Hasher::new_derive_key("pouw mx8 v1 L0");
        hasher.update(&self.input);
        hasher.update(claim.nonce.as_slice());
        hasher.update(&claim.solution);
        U256::from_le_bytes(*hasher.finalize().as_bytes())
    }

    /// Checks the solution alone (C-7), with the well-kept verifier.
    ///
    /// # Errors
    /// [`HashClaimError::Solution`].
    pub fn check_solution(&self, claim: &HashClaim) -> Result<(), HashClaimError> {
        let Self { input, n, k } = self;
        equihash::is_valid_solution(*n, *k, input, claim.nonce.as_slice(), &claim.solution)
            .map_err(|error| HashClaimError::Solution { n: *n, k: *k, reason: error.to_string() })
    }

    /// Checks ticket (C-8) and solution (C-7), the cheap one first.
    ///
    /// # Errors
    /// [`HashClaimError`].
    pub fn check(&self, claim: &HashClaim, difficulty: u128) -> Result<(), HashClaimError> {
        if self.ticket(claim) >= target(difficulty) {
            return Err(HashClaimError::Target { difficulty });
        }
        self.check_solution(claim)
    }
}

/// What a ticket has to be below: `⌊(2^256 − 1)/D_0⌋`.
#[must_use]
pub fn target(difficulty: u128) -> U256 {
    U256::MAX.checked_div(U256::from(difficulty)).unwrap_or(U256::MAX)
}
