//! M-1 and M-2: which products can be mined, and how one is cut into tickets.

use std::fmt;

/// Lines (rows of A, columns of B) of a group; a tile is one group of A times one group of B.
pub const GROUP: usize = GROUP_U32 as usize;
/// Inner indices of a ticket, after which the accumulators start again.
pub const SEGMENT: usize = SEGMENT_U32 as usize;
/// Inner indices between two looks at the accumulators; also the rank of the noise.
pub const STRIPE: usize = SEGMENT / STRIPES;
/// The most rows of A, and the most columns of B.
pub const MAX_LINES: u32 = 1 << 24;
/// The most inner indices.
pub const MAX_INNER: u32 = 32_768;
/// The oldest ancestor that may be an anchor: the block's parent is 1.
pub const MAX_DEPTH: u8 = 16;

pub(crate) const GROUP_U32: u32 = 16;
pub(crate) const SEGMENT_U32: u32 = 1024;
pub(crate) const STRIPES_U32: u32 = 8;
pub(crate) const LEAF_BYTES: usize = GROUP * SEGMENT;
pub(crate) const STRIPES: usize = STRIPES_U32 as usize;

/// One of the two operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// A, whose lines are rows.
    Left,
    /// B, whose lines are columns.
    Right,
}

impl fmt::Display for Side {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Left => "A",
            Self::Right => "B",
        })
    }
}

/// The size of a product: A is m×k, B is k×n. Every value of this type obeys M-1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    m: u32,
    k: u32,
    n: u32,
}

/// M-1: sizes that cannot be mined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShapeError {
    /// m or n.
    #[error("{count} lines of {side}: a multiple of 16 from 16 to 2^24 can be mined")]
    Lines {
        /// Whose.
        side: Side,
        /// How many there were.
        count: u32,
    },
    /// The two operands do not fit.
    #[error("A has {a} columns and B has {b} rows: they must be as many")]
    Mismatch {
        /// Columns of A.
        a: u32,
        /// Rows of B.
        b: u32,
    },
    /// k.
    #[error("inner size {0}: a multiple of 1,024 from 1,024 to 32,768 can be mined")]
    Inner(u32),
}

impl Shape {
    /// Checks the sizes of A (m×k) and B (k×n).
    ///
    /// # Errors
    /// A size that M-1 refuses; k first, then m, then n.
    pub const fn new(m: u32, k: u32, n: u32) -> Result<Self, ShapeError> {
        if k < SEGMENT_U32 || k > MAX_INNER || !k.is_multiple_of(SEGMENT_U32) {
            return Err(ShapeError::Inner(k));
        }
        if !is_lines(m) {
            return Err(ShapeError::Lines { side: Side::Left, count: m });
        }
        if !is_lines(n) {
            return Err(ShapeError::Lines { side: Side::Right, count: n });
        }
        Ok(Self { m, k, n })
    }

    /// Rows of A.
    #[must_use]
    pub const fn m(self) -> u32 {
        self.m
    }

    /// Columns of A, rows of B.
    #[must_use]
    pub const fn k(self) -> u32 {
        self.k
    }

    /// Columns of B.
    #[must_use]
    pub const fn n(self) -> u32 {
        self.n
    }

    /// Groups of lines of a side.
    #[must_use]
    pub const fn groups(self, side: Side) -> u32 {
        match side {
            Side::Left => self.m / GROUP_U32,
            Side::Right => self.n / GROUP_U32,
        }
    }

    /// Segments of the inner size.
    #[must_use]
    pub const fn segments(self) -> u32 {
        self.k / SEGMENT_U32
    }

    /// Leaves of a side's commitment; at most 2^25.
    #[must_use]
    pub const fn leaves(self, side: Side) -> u32 {
        self.groups(side) * self.segments()
    }

    /// Nodes on the path from a leaf of a side to its root; at most 25.
    #[must_use]
    pub const fn path_nodes(self, side: Side) -> u32 {
        self.leaves(side).next_power_of_two().trailing_zeros()
    }

    /// Tickets of the whole product.
    #[must_use]
    pub const fn tickets(self) -> u64 {
        self.leaves(Side::Left) as u64 * self.groups(Side::Right) as u64
    }

    /// Multiplications of the whole product; a ticket is 2^18 of them.
    #[must_use]
    pub const fn macs(self) -> u128 {
        self.tickets() as u128 * (1 << 18)
    }
}

const fn is_lines(count: u32) -> bool {
    count >= GROUP_U32 && count <= MAX_LINES && count.is_multiple_of(GROUP_U32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn m1_only_multiples_within_bounds_can_be_mined() {
        let check =
            |m, k, n, expected| assert_eq!(Shape::new(m, k, n).err(), expected, "{m} {k} {n}");
        let lines = |side, count| Some(ShapeError::Lines { side, count });
        check(16, 1024, 16, None);
        check(MAX_LINES, MAX_INNER, MAX_LINES, None);
        check(0, 1024, 16, lines(Side::Left, 0));
        check(24, 1024, 16, lines(Side::Left, 24));
        check(16, 1024, MAX_LINES + 16, lines(Side::Right, MAX_LINES + 16));
        for k in [0, 512, 1025, MAX_INNER + 1024, u32::MAX] {
            check(16, k, 16, Some(ShapeError::Inner(k)));
        }
    }

    #[test]
    fn m2_every_ticket_costs_the_same() {
        let shape = Shape::new(48, 3072, 32).unwrap();
        assert_eq!(shape.tickets(), 3 * 2 * 3);
        assert_eq!(shape.macs(), 48 * 3072 * 32);
        assert_eq!(shape.path_nodes(Side::Left), 4);
        let largest = Shape::new(MAX_LINES, MAX_INNER, MAX_LINES).unwrap();
        assert_eq!(largest.path_nodes(Side::Right), 25);
    }
}
