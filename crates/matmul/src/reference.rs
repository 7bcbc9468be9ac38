//! The slow truth: the rules as they are written, one entry at a time. Every back end is tested
//! against it.

use crate::certificate::{Certificate, Claim, Opening};
use crate::commit::{Salts, Tree};
use crate::hash::{Anchor, Core, LeftKey, RightKey, keys};
use crate::lines::{Lines, shape_of};
use crate::noise::{Permutations, Strip, left_strip, right_strip};
use crate::replay::{Noisy, noisy, transcript};
use crate::shape::{GROUP, STRIPE, STRIPES, STRIPES_U32, Shape, ShapeError, Side};
use crate::ticket::Ticket;

/// A job worked through by the reference.
#[derive(Clone, Debug)]
pub struct Worked {
    /// The sizes.
    pub shape: Shape,
    /// K_A.
    pub left: LeftKey,
    /// K_B.
    pub right: RightKey,
    /// All tickets, by i, then j, then s.
    pub tickets: Vec<Ticket>,
    /// C = A·B, row by row.
    pub product: Vec<i32>,
}

/// Commits, multiplies with noise, and takes the noise out again.
///
/// # Errors
/// The operands do not fit.
pub fn mine(
    a: (&Lines, &Salts),
    b: (&Lines, &Salts),
    anchor: Anchor,
    core: Core,
) -> Result<Worked, ShapeError> {
    let shape = shape_of(a.0, b.0)?;
    let root_a = Tree::of(Side::Left, a.0, a.1).root();
    let root_b = Tree::of(Side::Right, b.0, b.1).root();
    let (left, right) = keys(shape, anchor, core, &root_a, &root_b);
    let operands = Operands::new(shape, a.0, b.0, left, right);
    let (tickets, sums) = operands.multiply();
    let product = operands.denoise(a.0, sums);
    Ok(Worked { shape, left, right, tickets, product })
}

/// The certificate of a ticket of a job, from its operands.
///
/// # Errors
/// The operands do not fit.
pub fn certificate(
    a: (&Lines, &Salts),
    b: (&Lines, &Salts),
    depth: u8,
    (i, j, s): (u32, u32, u32),
) -> Result<Certificate, ShapeError> {
    let shape = shape_of(a.0, b.0)?;
    let trees = [Tree::of(Side::Left, a.0, a.1), Tree::of(Side::Right, b.0, b.1)];
    let [root_a, root_b] = [trees[0].root(), trees[1].root()];
    let claim = Claim { depth, shape, i, j, s, root_a, root_b };
    let a = open(Side::Left, &claim, a, &trees[0]);
    let b = open(Side::Right, &claim, b, &trees[1]);
    Ok(Certificate { claim, a, b })
}

/// One side's leaf with its salt and path.
pub(crate) fn open(side: Side, claim: &Claim, of: (&Lines, &Salts), tree: &Tree) -> Opening {
    let number = claim.leaf(side);
    let group = match side {
        Side::Left => claim.i,
        Side::Right => claim.j,
    };
    let leaf = of.0.leaf(group, claim.s);
    Opening { salt: of.1.salt(side, number), leaf, path: tree.path(number) }
}

/// A' and B', by group and segment, and what they were made of.
struct Operands {
    shape: Shape,
    orders: Permutations,
    a: Vec<Box<Noisy>>,
    b: Vec<Box<Noisy>>,
    e: Vec<Strip>,
    f: Vec<Strip>,
}

impl Operands {
    fn new(shape: Shape, a: &Lines, b: &Lines, left: LeftKey, right: RightKey) -> Self {
        let orders = Permutations::derive(right, 0..shape.segments() * STRIPES_U32);
        let e: Vec<_> = (0..shape.groups(Side::Left)).map(|g| left_strip(left, g)).collect();
        let f: Vec<_> = (0..shape.groups(Side::Right)).map(|g| right_strip(right, g)).collect();
        let all = |lines: &Lines, strips: &[Strip], orders: &[[u8; STRIPE]]| {
            let mut all = Vec::new();
            for (group, strip) in (0..).zip(strips) {
                for (segment, orders) in (0..).zip(orders.chunks_exact(STRIPES)) {
                    all.push(noisy(&lines.leaf(group, segment), strip, orders));
                }
            }
            all
        };
        let (a, b) = (all(a, &e, &orders.pi), all(b, &f, &orders.rho));
        Self { shape, orders, a, b, e, f }
    }

    /// All tickets, and ΣX̂ row by row.
    fn multiply(&self) -> (Vec<Ticket>, Vec<i32>) {
        let segments = self.shape.segments() as usize;
        let mut tickets = Vec::new();
        let mut sums = vec![0_i32; self.shape.m() as usize * self.shape.n() as usize];
        for (i, rows) in (0..).zip(self.a.chunks_exact(segments)) {
            for (j, columns) in (0..).zip(self.b.chunks_exact(segments)) {
                for ((s, a), b) in (0..).zip(rows).zip(columns) {
                    let (transcript, tile) = transcript(a, b);
                    tickets.push(Ticket { i, j, s, transcript });
                    for (row, values) in (i as usize * GROUP..).zip(&tile) {
                        let first = row * self.shape.n() as usize + j as usize * GROUP;
                        for (sum, value) in sums.iter_mut().skip(first).zip(values) {
                            *sum = sum.wrapping_add(*value);
                        }
                    }
                }
            }
        }
        (tickets, sums)
    }

    /// `C = ΣX̂ − 128·colsum(B') − U·F_R − E_L·V` (M-7).
    fn denoise(&self, a: &Lines, mut sums: Vec<i32>) -> Vec<i32> {
        let segments = self.shape.segments() as usize;
        let u: Vec<_> = a
            .entries()
            .chunks_exact(self.shape.k() as usize)
            .map(|row| fold(row.iter().map(|entry| i16::from(*entry)), &self.orders.rho))
            .collect();
        let columns = self.b.chunks_exact(segments).flat_map(|group| {
            (0..GROUP).map(move |line| group.iter().flat_map(move |noisy| column(noisy, line)))
        });
        let right: Vec<_> = columns
            .map(|column| {
                let sum: i32 = column.clone().map(i32::from).sum();
                (sum, fold(column, &self.orders.pi))
            })
            .collect();
        let rows = u.iter().zip(self.e.as_flattened());
        for ((u, e), sums) in rows.zip(sums.chunks_exact_mut(self.shape.n() as usize)) {
            for (((column_sum, v), f), sum) in right.iter().zip(self.f.as_flattened()).zip(sums) {
                let noise: i32 = u.iter().zip(f).map(|(u, f)| u * i32::from(*f)).sum::<i32>()
                    + e.iter().zip(v).map(|(e, v)| i32::from(*e) * v).sum::<i32>();
                *sum = sum.wrapping_sub(128 * column_sum).wrapping_sub(noise);
            }
        }
        sums
    }
}

fn column(noisy: &Noisy, line: usize) -> impl Iterator<Item = i16> + Clone + '_ {
    noisy.get(line).into_iter().flatten().copied()
}

/// Σ over stripes of a line's entries, each added at its place in the stripe's permutation.
fn fold(line: impl Iterator<Item = i16>, orders: &[[u8; STRIPE]]) -> [i32; STRIPE] {
    let mut sums = [0; STRIPE];
    for (entry, place) in line.zip(orders.as_flattened()) {
        if let Some(sum) = sums.get_mut(usize::from(*place)) {
            *sum += i32::from(entry);
        }
    }
    sums
}
