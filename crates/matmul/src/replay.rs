//! M-5 and M-6 for one ticket, as the verifier and the reference do it.

use crate::noise::{Permutation, Strip};
use crate::shape::{GROUP, SEGMENT, STRIPE, STRIPES};

/// Sixteen noisy lines of one segment, widened so that products need no cast.
pub(crate) type Noisy = [[i16; SEGMENT]; GROUP];

/// Adds a group's noise to one leaf; `orders` are those of the segment's eight stripes.
pub(crate) fn noisy(leaf: &[u8], noise: &Strip, orders: &[Permutation]) -> Box<Noisy> {
    let mut lines = Box::new([[0; SEGMENT]; GROUP]);
    for ((line, plain), noise) in lines.iter_mut().zip(leaf.chunks_exact(SEGMENT)).zip(noise) {
        let stripes = line.chunks_exact_mut(STRIPE).zip(plain.chunks_exact(STRIPE));
        for ((stripe, plain), order) in stripes.zip(orders) {
            for ((out, entry), place) in stripe.iter_mut().zip(plain).zip(order) {
                let added = noise.get(usize::from(*place)).copied().unwrap_or_default();
                *out = i16::from(entry.cast_signed()).wrapping_add(i16::from(added));
            }
        }
    }
    lines
}

/// X_0 … X_7 of a tile, and its final accumulators, row by row.
pub(crate) fn transcript(a: &Noisy, b: &Noisy) -> ([u32; STRIPES], [[i32; GROUP]; GROUP]) {
    let mut accumulators = [[0_i32; GROUP]; GROUP];
    let mut seen = [0; STRIPES];
    for (stripe, seen) in seen.iter_mut().enumerate() {
        let range = stripe * STRIPE..(stripe + 1) * STRIPE;
        for (row, sums) in a.iter().zip(&mut accumulators) {
            let row = row.get(range.clone()).unwrap_or_default();
            for (column, sum) in b.iter().zip(sums) {
                let column = column.get(range.clone()).unwrap_or_default();
                *sum = sum.wrapping_add(dot(row, column));
                *seen ^= sum.cast_unsigned();
            }
        }
    }
    (seen, accumulators)
}

/// Σ (a + 128)·b; at most 128·254·127 in magnitude. Nothing wraps: without checks it vectorises.
fn dot(a: &[i16], b: &[i16]) -> i32 {
    let product = |(a, b): (&i16, &i16)| i32::from(*a).wrapping_mul(i32::from(*b));
    let raised = b.iter().fold(0_i32, |sum, b| sum.wrapping_add(i32::from(*b)));
    a.iter().zip(b).map(product).fold(raised.wrapping_mul(128), i32::wrapping_add)
}
