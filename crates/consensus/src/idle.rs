//! Work for lane 1 of a machine that has no task: products of random matrices.
//!
//! B is committed to once and prepared once an anchor; a try salts A anew, which changes its root
//! and with it the noise, so that no try repeats another. Nobody wants the products: this is proof
//! of work like any other, and what it earns beyond a tenth waits for paid work (C-29).

use std::num::NonZero;
use std::sync::Arc;

use alloy_primitives::B256;
use pouw_matmul::{
    Anchor, Committed, Core as WorkCore, Difficulty, Engine, Lines, LinesError, MAX_DEPTH, Right,
    Salts, Shape, Side,
};

use crate::header::BlockId;
use crate::lane_one::{MatmulClaim, MatmulClaimError};

/// Random products of one size, one try after the other.
#[derive(Debug)]
pub struct IdleWork {
    shape: Shape,
    engine: Engine,
    left: Lines,
    right: Arc<Committed>,
    prepared: Option<(BlockId, Right)>,
    seed: [u8; 32],
    tries: u64,
}

/// A ticket that won: the header's claim and the certificate that travels beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WonTicket {
    /// For the header.
    pub claim: MatmulClaim,
    /// Its certificate's bytes.
    pub certificate: Vec<u8>,
}

impl IdleWork {
    /// Random matrices of this size from a seed; two machines with one seed do the same work.
    ///
    /// # Errors
    /// [`LinesError`] where the size is none.
    pub fn new(shape: Shape, seed: [u8; 32], threads: NonZero<usize>) -> Result<Self, LinesError> {
        let engine = Engine::new(threads);
        let left = Lines::new(shape.m(), shape.k(), entries(&seed, "A", shape.m(), shape.k()))?;
        let right = Lines::new(shape.n(), shape.k(), entries(&seed, "B", shape.n(), shape.k()))?;
        let salts = Salts::new(derive(&seed, "salts of B", 0));
        let right = Arc::new(Committed::new(Side::Right, right, salts, &engine));
        Ok(Self { shape, engine, left, right, prepared: None, seed, tries: 0 })
    }

    /// Multiplications of one try.
    #[must_use]
    pub const fn macs(&self) -> u128 {
        self.shape.macs()
    }

    /// Multiplies once; a ticket if one wins. `ancestors` are ids of the block's ancestors, its
    /// parent first.
    ///
    /// # Errors
    /// [`MatmulClaimError`] where there is no anchor, or lane 1 cannot have this difficulty.
    pub fn attempt(
        &mut self,
        core_hash: B256,
        ancestors: &[BlockId],
        difficulty: u128,
    ) -> Result<Option<WonTicket>, MatmulClaimError> {
        let difficulty = Difficulty::new(difficulty)?;
        let depth = self.anchor(ancestors)?;
        let Some((_, right)) = &self.prepared else { return Err(MatmulClaimError::Anchor(1)) };
        self.tries = self.tries.wrapping_add(1);
        let salts = Salts::new(derive(&self.seed, "salts of A", self.tries));
        let left = Committed::new(Side::Left, self.left.clone(), salts, &self.engine);
        let core = WorkCore(core_hash.0);
        // Both operands were made for one shape.
        let won = right.search(&left, core, difficulty, &self.engine);
        let Some(ticket) = won.as_ref().ok().and_then(|won| won.first()) else { return Ok(None) };
        let Ok(certificate) = right.certificate(&left, depth, ticket) else { return Ok(None) };
        let claim = MatmulClaim { opened: certificate.claim, transcript: ticket.transcript };
        Ok(Some(WonTicket { claim, certificate: certificate.encode() }))
    }

    /// Keeps the prepared B as long as its anchor is in the window; how deep the anchor lies.
    fn anchor(&mut self, ancestors: &[BlockId]) -> Result<u8, MatmulClaimError> {
        let window = || (1..=MAX_DEPTH).zip(ancestors);
        if let Some((kept, _)) = &self.prepared
            && let Some((depth, _)) = window().find(|(_, id)| *id == kept)
        {
            return Ok(depth);
        }
        let parent = *ancestors.first().ok_or(MatmulClaimError::Anchor(1))?;
        let right = Right::new(Arc::clone(&self.right), Anchor(parent.0), &self.engine);
        self.prepared = Some((parent, right));
        Ok(1)
    }
}

fn hasher(seed: &[u8; 32], what: &str, number: u64) -> blake3::Hasher {
    let mut hasher = blake3::Hasher::new_derive_key("pouw idle work v1");
    hasher.update(seed).update(&number.to_le_bytes()).update(what.as_bytes());
    hasher
}

fn derive(seed: &[u8; 32], what: &str, number: u64) -> [u8; 32] {
    *hasher(seed, what, number).finalize().as_bytes()
}

/// Entries from −63 to 63, all about as likely.
fn entries(seed: &[u8; 32], what: &str, lines: u32, inner: u32) -> Vec<i8> {
    let count = u64::from(lines).saturating_mul(inner.into());
    let mut bytes = vec![0; usize::try_from(count).unwrap_or_default()];
    hasher(seed, what, 0).finalize_xof().fill(&mut bytes);
    bytes.into_iter().map(|byte| (byte % 127).cast_signed().wrapping_sub(63)).collect()
}
