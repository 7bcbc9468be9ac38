//! M-3: the commitment to an operand, a Merkle tree over salted leaves.

use crate::hash::{Digest, NODE, digest, leaf_context};
use crate::lines::Lines;
use crate::shape::{GROUP, GROUP_U32, SEGMENT, SEGMENT_U32, Side};

/// Bytes of a salt.
pub(crate) const SALT_BYTES: usize = 16;

/// The secret from which a job's salts follow.
///
/// Without salts, a certificate's neighbours in the tree would let anybody test guesses of rows that
/// were never opened.
#[derive(Clone)]
pub struct Salts([u8; 32]);

impl std::fmt::Debug for Salts {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Salts(secret)")
    }
}

impl Salts {
    /// From 32 secret random bytes.
    #[must_use]
    pub const fn new(secret: [u8; 32]) -> Self {
        Self(secret)
    }

    /// The salt of a leaf: the first 16 bytes of BLAKE3, keyed, of the side's letter and the number.
    #[must_use]
    pub fn salt(&self, side: Side, leaf: u32) -> [u8; SALT_BYTES] {
        let mut message = [0; 9];
        let letter = match side {
            Side::Left => b'A',
            Side::Right => b'B',
        };
        for (to, from) in message.iter_mut().zip([letter].into_iter().chain(number(leaf))) {
            *to = from;
        }
        let hash = blake3::keyed_hash(&self.0, &message);
        hash.as_bytes().first_chunk().copied().unwrap_or_default()
    }
}

fn number(leaf: u32) -> [u8; 8] {
    u64::from(leaf).to_le_bytes()
}

/// `H("leaf A" or "leaf B"; data ‖ salt ‖ number as u64)`.
pub(crate) fn leaf_hash(side: Side, data: &[u8], salt: &[u8; SALT_BYTES], leaf: u32) -> Digest {
    digest(leaf_context(side), &[data, salt, &number(leaf)])
}

pub(crate) fn node_hash(left: &Digest, right: &Digest) -> Digest {
    digest(NODE, &[left, right])
}

/// The root that a leaf, its number and a path from the leaf up lead to.
pub(crate) fn root_from(leaf: Digest, number: u32, path: &[Digest]) -> Digest {
    let mut node = leaf;
    for (level, sibling) in path.iter().enumerate() {
        node = if number >> level & 1 == 0 {
            node_hash(&node, sibling)
        } else {
            node_hash(sibling, &node)
        };
    }
    node
}

/// The tree over an operand's leaves.
#[derive(Clone, Debug)]
pub struct Tree {
    /// From the leaves, padded to a power of two with zeros, up to the root.
    levels: Vec<Vec<Digest>>,
}

impl Tree {
    /// The tree of an operand.
    #[must_use]
    pub fn of(side: Side, lines: &Lines, salts: &Salts) -> Self {
        let groups = lines.count() / GROUP_U32;
        Self::from_leaves(leaves(side, lines, salts, 0..groups))
    }

    /// The tree over leaf hashes in their order.
    pub(crate) fn from_leaves(mut leaves: Vec<Digest>) -> Self {
        leaves.resize(leaves.len().next_power_of_two(), [0; 32]);
        let mut levels = vec![leaves];
        while let Some(below) = levels.last().filter(|level| level.len() > 1) {
            let (pairs, _) = below.as_chunks::<2>();
            levels.push(pairs.iter().map(|[left, right]| node_hash(left, right)).collect());
        }
        Self { levels }
    }

    /// R_A or R_B.
    #[must_use]
    pub fn root(&self) -> Digest {
        self.levels.last().and_then(|top| top.first()).copied().unwrap_or_default()
    }

    /// The siblings of a leaf and of its ancestors, from the leaf up.
    #[must_use]
    pub fn path(&self, leaf: u32) -> Vec<Digest> {
        let below_root = self.levels.len().saturating_sub(1);
        let levels = self.levels.iter().take(below_root).enumerate();
        levels
            .filter_map(|(level, nodes)| nodes.get((leaf as usize >> level) ^ 1))
            .copied()
            .collect()
    }
}

/// The leaf hashes of some groups, in order.
pub(crate) fn leaves(
    side: Side,
    lines: &Lines,
    salts: &Salts,
    groups: std::ops::Range<u32>,
) -> Vec<Digest> {
    let segments = lines.inner() / SEGMENT_U32;
    let mut data = Vec::with_capacity(GROUP * SEGMENT);
    let places = groups.flat_map(|group| (0..segments).map(move |segment| (group, segment)));
    places
        .map(|(group, segment)| {
            let leaf = group * segments + segment;
            lines.write_leaf(group, segment, &mut data);
            leaf_hash(side, &data, &salts.salt(side, leaf), leaf)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn m3_every_leaf_leads_to_the_root_and_to_no_other_place() {
        for count in [1_u32, 2, 3, 8, 13] {
            let leaves: Vec<Digest> =
                (0..count).map(|q| digest(NODE, &[&q.to_le_bytes()])).collect();
            let tree = Tree::from_leaves(leaves.clone());
            for (q, leaf) in (0..count).zip(&leaves) {
                let path = tree.path(q);
                assert_eq!(path.len(), count.next_power_of_two().trailing_zeros() as usize);
                assert_eq!(root_from(*leaf, q, &path), tree.root());
                if count > 1 {
                    assert_ne!(root_from(*leaf, q ^ 1, &path), tree.root());
                }
            }
        }
    }

    #[test]
    fn m3_salts_differ_by_side_and_leaf_and_are_not_shown() {
        let salts = Salts::new([7; 32]);
        assert_ne!(salts.salt(Side::Left, 0), salts.salt(Side::Right, 0));
        assert_ne!(salts.salt(Side::Left, 0), salts.salt(Side::Left, 1));
        assert_eq!(format!("{salts:?}"), "Salts(secret)");
    }
}
