//! Hash domains, and M-4: what the two keys bind.
//!
//! `H(ctx; x)` is BLAKE3 in derive-key mode with context `"pouw mx8 v1 " + ctx`.

use crate::shape::{Shape, Side};

/// A hash.
pub type Digest = [u8; 32];

pub(crate) const LEAF_A: &str = "pouw mx8 v1 leaf A";
pub(crate) const LEAF_B: &str = "pouw mx8 v1 leaf B";
pub(crate) const NODE: &str = "pouw mx8 v1 node";
const KEY_A: &str = "pouw mx8 v1 KA";
const KEY_B: &str = "pouw mx8 v1 KB";
pub(crate) const NOISE_A: &str = "pouw mx8 v1 EL";
pub(crate) const NOISE_B: &str = "pouw mx8 v1 FR";
pub(crate) const PERMUTATION_A: &str = "pouw mx8 v1 permE";
pub(crate) const PERMUTATION_B: &str = "pouw mx8 v1 permF";

/// `H(context; parts, one after the other)`.
pub(crate) fn digest(context: &'static str, parts: &[&[u8]]) -> Digest {
    let mut hasher = blake3::Hasher::new_derive_key(context);
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// Fills `out` with `XOF(context; key ‖ number)`.
pub(crate) fn extend(context: &'static str, key: &Digest, number: u32, out: &mut [u8]) {
    let mut hasher = blake3::Hasher::new_derive_key(context);
    hasher.update(key).update(&number.to_le_bytes());
    hasher.finalize_xof().fill(out);
}

pub(crate) const fn leaf_context(side: Side) -> &'static str {
    match side {
        Side::Left => LEAF_A,
        Side::Right => LEAF_B,
    }
}

/// The id of a recent ancestor of the block to be mined; B's noise depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Anchor(pub Digest);

/// The hash of the header core of the block to be mined; A's noise depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Core(pub Digest);

/// K_B: seeds B's noise and both sides' permutations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RightKey(pub Digest);

/// K_A: seeds A's noise and keys the tickets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeftKey(pub Digest);

impl RightKey {
    /// `H("KB"; anchor ‖ R_B ‖ k ‖ n)`.
    #[must_use]
    pub fn derive(anchor: Anchor, root: &Digest, k: u32, n: u32) -> Self {
        Self(digest(KEY_B, &[&anchor.0, root, &k.to_le_bytes(), &n.to_le_bytes()]))
    }
}

impl LeftKey {
    /// `H("KA"; K_B ‖ core ‖ R_A ‖ m)`.
    #[must_use]
    pub fn derive(right: RightKey, core: Core, root: &Digest, m: u32) -> Self {
        Self(digest(KEY_A, &[&right.0, &core.0, root, &m.to_le_bytes()]))
    }
}

/// Both keys of a job, B's before A's.
pub(crate) fn keys(
    shape: Shape,
    anchor: Anchor,
    core: Core,
    root_a: &Digest,
    root_b: &Digest,
) -> (LeftKey, RightKey) {
    let right = RightKey::derive(anchor, root_b, shape.k(), shape.n());
    (LeftKey::derive(right, core, root_a, shape.m()), right)
}
