//! M-8: the verifier. It works in a fixed order, from cheap to dear, keeps nothing between calls, and
//! its work is the same for every legal certificate.

use crate::certificate::{Certificate, DecodeError, Opening};
use crate::commit::{leaf_hash, root_from};
use crate::difficulty::Difficulty;
use crate::hash::{Anchor, Core, Digest, keys};
use crate::lines::all_int7;
use crate::noise::{Permutations, left_strip, right_strip};
use crate::replay::{noisy, transcript};
use crate::shape::{STRIPES_U32, Side};
use crate::ticket::Ticket;

/// The block that a certificate is for.
#[derive(Clone, Copy, Debug)]
pub struct Work<'a> {
    /// The hash of its header core.
    pub core: Core,
    /// The ids of its ancestors, its parent first; a certificate's depth counts from 1.
    pub ancestors: &'a [Anchor],
    /// Its D_1.
    pub difficulty: Difficulty,
}

/// Why a certificate proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The bytes are no certificate.
    #[error("no certificate")]
    Decode(#[from] DecodeError),
    /// The chain has no ancestor at that depth.
    #[error("no ancestor at depth {0}")]
    Anchor(u8),
    /// An opened entry is outside [−63, 63].
    #[error("an opened entry of {0} is outside −63 … 63")]
    Entry(Side),
    /// The opened leaf is not in the commitment.
    #[error("the opened leaf of {0} does not lead to its root")]
    Commitment(Side),
    /// The ticket does not win.
    #[error("the ticket's value is not below the target")]
    Target,
}

/// Decodes and verifies a certificate; gives back its claim, openings and the replayed ticket.
///
/// # Errors
/// The first check that fails, in the order of [`Rejection`].
pub fn verify(bytes: &[u8], work: &Work<'_>) -> Result<(Certificate, Ticket), Rejection> {
    let certificate = Certificate::decode(bytes)?;
    let ticket = certificate.verify(work)?;
    Ok((certificate, ticket))
}

impl Certificate {
    /// Verifies what was decoded; gives back the replayed ticket.
    ///
    /// # Errors
    /// The first check that fails, in the order of [`Rejection`].
    pub fn verify(&self, work: &Work<'_>) -> Result<Ticket, Rejection> {
        let claim = &self.claim;
        let place = usize::from(claim.depth).checked_sub(1);
        let anchor = place.and_then(|place| work.ancestors.get(place));
        let anchor = *anchor.ok_or(Rejection::Anchor(claim.depth))?;
        let sides = [(Side::Left, &self.a, &claim.root_a), (Side::Right, &self.b, &claim.root_b)];
        for (side, opening, _) in sides {
            check_entries(side, opening)?;
        }
        for (side, opening, root) in sides {
            check_opening(side, opening, claim.leaf(side), root)?;
        }
        let (left, right) = keys(claim.shape, anchor, work.core, &claim.root_a, &claim.root_b);
        let stripes = STRIPES_U32;
        let orders = Permutations::derive(right, claim.s * stripes..(claim.s + 1) * stripes);
        let a = noisy(&self.a.leaf, &left_strip(left, claim.i), &orders.pi);
        let b = noisy(&self.b.leaf, &right_strip(right, claim.j), &orders.rho);
        let (transcript, _) = transcript(&a, &b);
        let ticket = Ticket { i: claim.i, j: claim.j, s: claim.s, transcript };
        if work.difficulty.target().is_met(&ticket.value(left)) {
            Ok(ticket)
        } else {
            Err(Rejection::Target)
        }
    }
}

fn check_entries(side: Side, opening: &Opening) -> Result<(), Rejection> {
    if all_int7(opening.leaf.iter().map(|byte| byte.cast_signed())) {
        Ok(())
    } else {
        Err(Rejection::Entry(side))
    }
}

fn check_opening(
    side: Side,
    opening: &Opening,
    number: u32,
    root: &Digest,
) -> Result<(), Rejection> {
    let leaf = leaf_hash(side, &opening.leaf, &opening.salt, number);
    if root_from(leaf, number, &opening.path) == *root {
        Ok(())
    } else {
        Err(Rejection::Commitment(side))
    }
}
