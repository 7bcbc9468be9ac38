//! An operand that has been committed to, ready to be mined with and opened.

use crate::certificate::Opening;
use crate::commit::{Salts, Tree, leaves};
use crate::engine::Engine;
use crate::hash::Digest;
use crate::lines::Lines;
use crate::shape::{GROUP_U32, SEGMENT_U32, Side};

/// An operand, its salts and its tree.
#[derive(Clone, Debug)]
pub struct Committed {
    side: Side,
    lines: Lines,
    salts: Salts,
    tree: Tree,
}

impl Committed {
    /// Commits to an operand. Salts must not be used for two operands, or neighbours of an opened leaf
    /// could be compared.
    #[must_use]
    pub fn new(side: Side, lines: Lines, salts: Salts, engine: &Engine) -> Self {
        let groups = lines.count() / GROUP_U32;
        let segments = lines.inner() / SEGMENT_U32;
        let mut hashes: Vec<Digest> = vec![[0; 32]; groups as usize * segments as usize];
        let parts = (0..groups).zip(hashes.chunks_exact_mut(segments as usize));
        engine.each(parts, |(group, place)| {
            place.copy_from_slice(&leaves(side, &lines, &salts, group..group + 1));
        });
        Self { side, lines, salts, tree: Tree::from_leaves(hashes) }
    }

    /// Which side it is.
    #[must_use]
    pub const fn side(&self) -> Side {
        self.side
    }

    /// What was committed to.
    #[must_use]
    pub const fn lines(&self) -> &Lines {
        &self.lines
    }

    /// R_A or R_B.
    #[must_use]
    pub fn root(&self) -> Digest {
        self.tree.root()
    }

    /// A leaf with its salt and its path.
    #[must_use]
    pub fn open(&self, group: u32, segment: u32) -> Opening {
        let number = group * (self.lines.inner() / SEGMENT_U32) + segment;
        Opening {
            salt: self.salts.salt(self.side, number),
            leaf: self.lines.leaf(group, segment),
            path: self.tree.path(number),
        }
    }
}
