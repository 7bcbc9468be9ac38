//! Lane 1: matrix products of tasks, proved by MX8 (M-1 … M-8, `docs/spec/matmul.md`).
//!
//! A header names the winning ticket and shows its transcript, from which anyone computes its
//! value. That alone proves nothing: the transcript could be made up, one hash for each try. The
//! certificate, which travels beside the header, shows that it came from a product.

use pouw_matmul::{
    Anchor, Certificate, Claim as Opened, Core as WorkCore, Difficulty, DifficultyError, LeftKey,
    MAX_DEPTH, Rejection, RightKey, Shape, Side, Ticket, Work,
};

use alloy_primitives::B256;

use crate::codec::{DecodeError, Reader};
use crate::header::BlockId;

/// What a header of lane 1 claims.
///
/// # Layout
/// d u8, `R_A` 32, `R_B` 32, m, n, k, i, j, s u32, `X_0` … `X_7` u32: 121 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MatmulClaim {
    /// Anchor, sizes, place and roots: what a certificate opens.
    pub opened: Opened,
    /// `X_0` … `X_7`, the ticket's transcript.
    pub transcript: [u32; 8],
}

/// A claim of lane 1 does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MatmulClaimError {
    /// C-21.
    #[error("the chain has no ancestor {0} blocks before this one")]
    Anchor(u8),
    /// C-21.
    #[error("lane 1 cannot have this difficulty")]
    Difficulty(#[from] DifficultyError),
    /// C-21.
    #[error("the ticket's value is not below the target of difficulty {difficulty}")]
    Target {
        /// `D_1`.
        difficulty: u128,
    },
    /// C-22.
    #[error("the certificate does not verify")]
    Certificate(#[from] Rejection),
    /// C-22.
    #[error("the certificate is of another ticket than the header's")]
    OtherTicket,
}

impl MatmulClaim {
    /// Bytes of a claim.
    pub const BYTES: usize = 121;

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let Opened { depth, shape, i, j, s, root_a, root_b } = &self.opened;
        out.push(*depth);
        out.extend_from_slice(root_a);
        out.extend_from_slice(root_b);
        let numbers = [shape.m(), shape.n(), shape.k(), *i, *j, *s];
        for number in numbers.into_iter().chain(self.transcript) {
            out.extend_from_slice(&number.to_le_bytes());
        }
    }

    /// Reads a claim whose anchor, sizes and place are within M-1, M-2 and M-4 (C-20).
    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let depth = reader.u8("anchor depth")?;
        if !(1..=MAX_DEPTH).contains(&depth) {
            return Err(DecodeError::Canonical("anchor depth"));
        }
        let root_a = reader.array("root of A")?;
        let root_b = reader.array("root of B")?;
        let (m, n, k) = (reader.u32("m")?, reader.u32("n")?, reader.u32("k")?);
        let shape =
            Shape::new(m, k, n).map_err(|_| DecodeError::Canonical("size of the product"))?;
        let (i, j, s) = (reader.u32("i")?, reader.u32("j")?, reader.u32("s")?);
        let inside =
            i < shape.groups(Side::Left) && j < shape.groups(Side::Right) && s < shape.segments();
        if !inside {
            return Err(DecodeError::Canonical("place of the ticket"));
        }
        let mut transcript = [0; 8];
        for word in &mut transcript {
            *word = reader.u32("transcript")?;
        }
        Ok(Self { opened: Opened { depth, shape, i, j, s, root_a, root_b }, transcript })
    }

    /// The ticket's value J, little-endian, for a core and the anchor that the claim names.
    #[must_use]
    pub fn value(&self, core_hash: B256, anchor: BlockId) -> [u8; 32] {
        let Opened { shape, root_a, root_b, .. } = &self.opened;
        let right = RightKey::derive(Anchor(anchor.0), root_b, shape.k(), shape.n());
        self.ticket().value(LeftKey::derive(right, WorkCore(core_hash.0), root_a, shape.m()))
    }

    /// What a header claims whose block is won by this certificate, once it verifies.
    ///
    /// # Errors
    /// [`MatmulClaimError`].
    pub fn of_certificate(
        core_hash: B256,
        ancestors: &[BlockId],
        difficulty: u128,
        certificate: &[u8],
    ) -> Result<Self, MatmulClaimError> {
        let (claim, ticket) = open(core_hash, ancestors, difficulty, certificate, |_| true)?;
        Ok(Self { opened: claim, transcript: ticket.transcript })
    }

    const fn ticket(&self) -> Ticket {
        let Opened { i, j, s, .. } = self.opened;
        Ticket { i, j, s, transcript: self.transcript }
    }

    /// What a header shows by itself (C-21): its anchor exists and its ticket's value is below the
    /// target. `ancestors` are block ids, the parent first.
    ///
    /// A header that passes has no weight yet: [`MatmulClaim::check_certificate`] gives it.
    ///
    /// # Errors
    /// [`MatmulClaimError`].
    pub fn check(
        &self,
        core_hash: B256,
        ancestors: &[BlockId],
        difficulty: u128,
    ) -> Result<(), MatmulClaimError> {
        let depth = self.opened.depth;
        let anchor = usize::from(depth).checked_sub(1).and_then(|place| ancestors.get(place));
        let anchor = anchor.ok_or(MatmulClaimError::Anchor(depth))?;
        let target = Difficulty::new(difficulty)?.target();
        if target.is_met(&self.value(core_hash, *anchor)) {
            Ok(())
        } else {
            Err(MatmulClaimError::Target { difficulty })
        }
    }

    /// Whether the certificate opens this very ticket (C-22). Only then does the block weigh.
    ///
    /// # Errors
    /// [`MatmulClaimError`].
    pub fn check_certificate(
        &self,
        core_hash: B256,
        ancestors: &[BlockId],
        difficulty: u128,
        certificate: &[u8],
    ) -> Result<(), MatmulClaimError> {
        let same = |claim: &Opened| *claim == self.opened;
        let (_, ticket) = open(core_hash, ancestors, difficulty, certificate, same)?;
        if ticket == self.ticket() { Ok(()) } else { Err(MatmulClaimError::OtherTicket) }
    }
}

/// The claim and the ticket of a certificate that verifies; a claim that is not `wanted` costs no replay.
fn open(
    core_hash: B256,
    ancestors: &[BlockId],
    difficulty: u128,
    certificate: &[u8],
    wanted: impl FnOnce(&Opened) -> bool,
) -> Result<(Opened, Ticket), MatmulClaimError> {
    let difficulty = Difficulty::new(difficulty)?;
    let certificate = Certificate::decode(certificate).map_err(Rejection::from)?;
    if !wanted(&certificate.claim) {
        return Err(MatmulClaimError::OtherTicket);
    }
    let window = ancestors.iter().take(usize::from(MAX_DEPTH));
    let ancestors: Vec<Anchor> = window.map(|id| Anchor(id.0)).collect();
    let work = Work { core: WorkCore(core_hash.0), ancestors: &ancestors, difficulty };
    let ticket = certificate.verify(&work)?;
    Ok((certificate.claim, ticket))
}
