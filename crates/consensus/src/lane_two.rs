//! Lane 2: a lottery by burned fees.
//!
//! A host whose rentals chose credit holds a ticket for every second, as heavy as the fees that its
//! settled receipts burned in seven epochs that ended a horizon ago. Whether a second wins is fixed
//! by its key and a beacon that nobody chose alone. Such a block carries no weight.
//!
//! # Units
//! Credit: atto-FLUX burned. `D_2`: atto-FLUX; a host with credit c wins a slot with probability
//! `c/D_2`.

use alloy_primitives::{Address, B256, U256, U512};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};

use crate::codec::{DecodeError, Reader};
use crate::header::Core;
use crate::share::WINDOW;
use crate::vrf::{self, PROOF_BYTES, VrfError};

/// What a header of lane 2 claims.
///
/// # Layout
/// Machine 20, VRF proof 80, signature 64: 164 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CreditClaim {
    /// Whose credit it is.
    pub machine: Address,
    /// Shows the host's output for the slot.
    pub proof: [u8; PROOF_BYTES],
    /// Ed25519 over [`signed`], by the same key.
    pub signature: [u8; 64],
}

/// A machine as the state of height h − H knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CreditRecord {
    /// Its lane key, set by `Hosts.setLaneKey`.
    pub key: [u8; 32],
    /// Its credit, [`CreditSums::credit`] at that height.
    pub credit: u128,
    /// Who is paid.
    pub payout: Address,
}

/// A claim of lane 2 does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CreditClaimError {
    /// C-23.
    #[error("slot {found} is not after the parent's, {parent}")]
    Slot {
        /// The parent's time in whole seconds.
        parent: u64,
        /// The header's.
        found: u64,
    },
    /// C-24.
    #[error("the VRF proof does not hold")]
    Vrf(#[from] VrfError),
    /// C-25.
    #[error("the slot does not win with credit {credit} at difficulty {difficulty}")]
    Threshold {
        /// The host's.
        credit: u128,
        /// `D_2`.
        difficulty: u128,
    },
    /// C-26.
    #[error("machine {machine} has no lane key, or no miner, in the state of height {height}")]
    Unknown {
        /// The claim's.
        machine: Address,
        /// h − H.
        height: u64,
    },
    /// C-26.
    #[error("core, machine and proof are not signed by the lane key")]
    Signature,
    /// C-26.
    #[error("the block pays {found}, the lane key's host is paid at {expected}")]
    Payout {
        /// The host's.
        expected: Address,
        /// The header's.
        found: Address,
    },
}

/// A block's slot: its time in whole seconds (C-23).
#[must_use]
pub const fn slot_of(time_ms: u64) -> u64 {
    time_ms / 1_000
}

/// What the VRF is evaluated on: B ‖ slot u64.
#[must_use]
pub fn slot_input(beacon: B256, slot: u64) -> [u8; 40] {
    let mut input = [0; 40];
    let (head, tail) = input.split_at_mut(32);
    head.copy_from_slice(beacon.as_slice());
    tail.copy_from_slice(&slot.to_le_bytes());
    input
}

/// What the lane key signs: the core hash, the machine and the proof, so that nobody else makes
/// another block of them (C-26).
#[must_use]
pub(crate) fn signed(core_hash: B256, machine: Address, proof: &[u8; PROOF_BYTES]) -> B256 {
    let mut hasher = blake3::Hasher::new_derive_key("pouw credit v1");
    hasher.update(core_hash.as_slice()).update(machine.as_slice()).update(proof);
    B256::from(*hasher.finalize().as_bytes())
}

/// The public half of a lane key: what `Hosts.setLaneKey` is told.
#[must_use]
pub fn lane_key_of(secret: &[u8; 32]) -> [u8; 32] {
    SigningKey::from_bytes(secret).verifying_key().to_bytes()
}

/// Whether `y·D_2 < credit·2^256`, y the first 32 bytes of the output, big-endian (C-25).
#[must_use]
pub fn wins(output: &vrf::Output, credit: u128, difficulty: u128) -> bool {
    let (y, _) = output.split_first_chunk::<32>().unwrap_or((&[0xff; 32], &[]));
    let product: U512 = U256::from_be_bytes(*y).widening_mul(U256::from(difficulty));
    // y·D = hi·2^256 + lo with lo < 2^256, so the comparison is hi < credit.
    product >> 256_usize < U512::from(credit)
}

impl CreditClaim {
    /// Bytes of a claim.
    pub const BYTES: usize = 20 + PROOF_BYTES + 64;

    /// Claims a block for a machine, by its lane key and the proof of the core's slot.
    #[must_use]
    pub fn make(
        core: &Core,
        machine: Address,
        secret: &[u8; 32],
        proof: [u8; PROOF_BYTES],
    ) -> Self {
        let text = signed(core.hash(), machine, &proof);
        let signature = SigningKey::from_bytes(secret).sign(text.as_slice()).to_bytes();
        Self { machine, proof, signature }
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.machine.as_slice());
        out.extend_from_slice(&self.proof);
        out.extend_from_slice(&self.signature);
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            machine: reader.array::<20>("machine")?.into(),
            proof: reader.array("VRF proof")?,
            signature: reader.array("signature")?,
        })
    }

    /// C-23: what needs no state; the slot.
    ///
    /// # Errors
    /// [`CreditClaimError::Slot`].
    pub const fn check_slot(core: &Core, parent_ms: u64) -> Result<u64, CreditClaimError> {
        let (parent, found) = (slot_of(parent_ms), slot_of(core.time_ms));
        if found <= parent {
            return Err(CreditClaimError::Slot { parent, found });
        }
        Ok(found)
    }

    /// Checks a claim against the host's record and the beacon, cheap rules first (C-23 … C-26).
    ///
    /// # Errors
    /// [`CreditClaimError`] with the first rule that is broken.
    pub fn check(
        &self,
        core: &Core,
        parent_ms: u64,
        beacon: B256,
        record: &CreditRecord,
        difficulty: u128,
    ) -> Result<(), CreditClaimError> {
        let found = Self::check_slot(core, parent_ms)?;
        self.check_author(core, record)?;
        let output = vrf::verify(&record.key, &slot_input(beacon, found), &self.proof)?;
        if wins(&output, record.credit, difficulty) {
            Ok(())
        } else {
            Err(CreditClaimError::Threshold { credit: record.credit, difficulty })
        }
    }

    /// C-26: who made the block, and who is paid.
    ///
    /// # Errors
    /// [`CreditClaimError::Payout`], [`CreditClaimError::Signature`].
    pub fn check_author(&self, core: &Core, record: &CreditRecord) -> Result<(), CreditClaimError> {
        if core.miner != record.payout {
            return Err(CreditClaimError::Payout { expected: record.payout, found: core.miner });
        }
        let key = VerifyingKey::from_bytes(&record.key).map_err(|_| CreditClaimError::Signature)?;
        let text = signed(core.hash(), self.machine, &self.proof);
        key.verify_strict(text.as_slice(), &Signature::from_bytes(&self.signature))
            .map_err(|_| CreditClaimError::Signature)
    }
}

/// The fees that a host's credit receipts burned, by epoch; the network's totals likewise.
///
/// Eight sums: the epoch that runs and the seven before it. Nothing is consumed or transferred.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CreditSums {
    /// The epoch of the first sum.
    pub epoch: u64,
    /// Burned in that epoch and the seven before it, atto-FLUX.
    pub sums: [u128; 8],
}

impl CreditSums {
    /// As of a later epoch: older sums move back, the oldest fall out.
    #[must_use]
    pub fn at(self, epoch: u64) -> Self {
        let Some(gone) = epoch.checked_sub(self.epoch) else { return self };
        let gone = usize::try_from(gone).unwrap_or(usize::MAX);
        let mut sums = [0; 8];
        for (to, from) in sums.iter_mut().skip(gone).zip(self.sums) {
            *to = from;
        }
        Self { epoch, sums }
    }

    /// After a receipt of `epoch` burned something; an epoch before the running one is the caller's
    /// mistake and counts in the running one.
    #[must_use]
    pub fn burned(self, epoch: u64, amount: u128) -> Self {
        let mut next = self.at(epoch);
        if let Some(running) = next.sums.first_mut() {
            *running = running.saturating_add(amount);
        }
        next
    }

    /// The credit in `epoch`: what the seven epochs complete by then burned.
    #[must_use]
    pub fn credit(self, epoch: u64) -> u128 {
        let window = usize::try_from(WINDOW).unwrap_or_default();
        let complete = self.at(epoch).sums.into_iter().skip(1).take(window);
        complete.fold(0, u128::saturating_add)
    }
}
