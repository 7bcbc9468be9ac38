//! M-8: the certificate of one ticket, and its only encoding.

use crate::commit::SALT_BYTES;
use crate::hash::Digest;
use crate::shape::{LEAF_BYTES, MAX_DEPTH, Shape, ShapeError, Side};

/// The version that this room knows.
pub const VERSION: u8 = 1;
/// Version, depth, six numbers, two roots, two salts.
const HEAD_BYTES: usize = 2 + 6 * 4 + 2 * 32 + 2 * SALT_BYTES;
/// The longest certificate: two paths of 25 nodes.
pub const MAX_CERTIFICATE_BYTES: usize = HEAD_BYTES + 2 * LEAF_BYTES + 2 * 25 * 32;

/// What a certificate claims; a header carries the same fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Which ancestor of the block is the anchor: 1 is its parent, 16 the oldest.
    pub depth: u8,
    /// The sizes of the product.
    pub shape: Shape,
    /// The group of rows of the winning tile.
    pub i: u32,
    /// The group of columns of the winning tile.
    pub j: u32,
    /// The winning segment.
    pub s: u32,
    /// R_A.
    pub root_a: Digest,
    /// R_B.
    pub root_b: Digest,
}

impl Claim {
    /// The number of the opened leaf of a side.
    #[must_use]
    pub const fn leaf(&self, side: Side) -> u32 {
        let group = match side {
            Side::Left => self.i,
            Side::Right => self.j,
        };
        group * self.shape.segments() + self.s
    }
}

/// One side's opened leaf.
#[derive(Clone, PartialEq, Eq)]
pub struct Opening {
    /// The leaf's salt.
    pub salt: [u8; SALT_BYTES],
    /// Sixteen lines of 1,024 entries, each an int8 in one byte.
    pub leaf: Vec<u8>,
    /// The path from the leaf up.
    pub path: Vec<Digest>,
}

impl std::fmt::Debug for Opening {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Opening({} nodes)", self.path.len())
    }
}

/// A claim with both leaves opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// What is claimed.
    pub claim: Claim,
    /// A's leaf.
    pub a: Opening,
    /// B's leaf.
    pub b: Opening,
}

/// Bytes that are no certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Fewer bytes than the fixed fields have.
    #[error("a certificate has at least 122 bytes, these are {0}")]
    Head(usize),
    /// A later, or no, version.
    #[error("certificate version {0}: this program knows version 1")]
    Version(u8),
    /// The anchor's depth is outside the window.
    #[error("anchor depth {0}: from 1 to 16")]
    Depth(u8),
    /// The sizes cannot be mined.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// The ticket is outside the product.
    #[error("ticket ({i}, {j}, {s}) is outside the product")]
    Position {
        /// Group of rows.
        i: u32,
        /// Group of columns.
        j: u32,
        /// Segment.
        s: u32,
    },
    /// The length does not follow from the fields.
    #[error("{found} bytes, {expected} follow from the sizes")]
    Length {
        /// What the fields ask for.
        expected: usize,
        /// How many there were.
        found: usize,
    },
}

impl Certificate {
    /// The certificate's bytes.
    ///
    /// # Layout
    /// version u8, depth u8, m, n, k, i, j, s as u32, R_A, R_B, A's salt, B's salt, A's leaf, B's leaf,
    /// A's path, B's path.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let Claim { depth, shape, i, j, s, root_a, root_b } = &self.claim;
        let mut bytes = Vec::with_capacity(length(*shape));
        bytes.extend([VERSION, *depth]);
        for number in [shape.m(), shape.n(), shape.k(), *i, *j, *s] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend(root_a.iter().chain(root_b));
        bytes.extend(self.a.salt.iter().chain(&self.b.salt));
        bytes.extend(self.a.leaf.iter().chain(&self.b.leaf));
        bytes.extend(self.a.path.iter().chain(&self.b.path).flatten());
        bytes
    }

    /// Reads a certificate. Nothing is allocated before the length is known to follow from fields
    /// that are within their bounds.
    ///
    /// # Errors
    /// See [`DecodeError`]; the first that applies, in its order.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let claim = read_claim(bytes)?;
        let expected = length(claim.shape);
        if bytes.len() != expected {
            return Err(DecodeError::Length { expected, found: bytes.len() });
        }
        let short = DecodeError::Head(bytes.len());
        let mut rest = Reader(bytes.get(HEAD_BYTES - 2 * SALT_BYTES..).ok_or(short)?);
        let mut next = |count| rest.take(count).ok_or(short);
        let salts = [next(SALT_BYTES)?, next(SALT_BYTES)?];
        let leaves = [next(LEAF_BYTES)?, next(LEAF_BYTES)?];
        let path_bytes = |side| claim.shape.path_nodes(side) as usize * 32;
        let paths = [next(path_bytes(Side::Left))?, next(path_bytes(Side::Right))?];
        let opening = |[salt, leaf, path]: [&[u8]; 3]| Opening {
            salt: salt.first_chunk().copied().unwrap_or_default(),
            leaf: leaf.to_vec(),
            path: path.as_chunks().0.to_vec(),
        };
        let [salt_a, salt_b] = salts;
        let [leaf_a, leaf_b] = leaves;
        let [path_a, path_b] = paths;
        let (a, b) = (opening([salt_a, leaf_a, path_a]), opening([salt_b, leaf_b, path_b]));
        Ok(Self { claim, a, b })
    }
}

fn length(shape: Shape) -> usize {
    let nodes = shape.path_nodes(Side::Left) + shape.path_nodes(Side::Right);
    HEAD_BYTES + 2 * LEAF_BYTES + nodes as usize * 32
}

fn read_claim(bytes: &[u8]) -> Result<Claim, DecodeError> {
    let short = DecodeError::Head(bytes.len());
    let mut reader = Reader(bytes.get(..HEAD_BYTES).ok_or(short)?);
    let [version, depth] = reader.array().ok_or(short)?;
    if version != VERSION {
        return Err(DecodeError::Version(version));
    }
    if !(1..=MAX_DEPTH).contains(&depth) {
        return Err(DecodeError::Depth(depth));
    }
    let mut number = || reader.array().map(u32::from_le_bytes).ok_or(short);
    let (m, n, k) = (number()?, number()?, number()?);
    let (i, j, s) = (number()?, number()?, number()?);
    let shape = Shape::new(m, k, n)?;
    let within = i < shape.groups(Side::Left) && j < shape.groups(Side::Right);
    if !within || s >= shape.segments() {
        return Err(DecodeError::Position { i, j, s });
    }
    let (root_a, root_b) = (reader.array().ok_or(short)?, reader.array().ok_or(short)?);
    Ok(Claim { depth, shape, i, j, s, root_a, root_b })
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.first_chunk().copied()
    }
}
