//! How the kernels want operands: sixteen lines side by side, four inner indices at a time.
#![expect(
    clippy::indexing_slicing,
    reason = "indices are within arrays whose sizes are constants, and checked where they are not"
)]

use crate::noise::{Permutation, Strip};
use crate::shape::{GROUP, LEAF_BYTES, SEGMENT, STRIPE};

/// Four inner indices of sixteen lines: what one vector instruction takes.
pub(crate) const QUAD: usize = 4 * GROUP;
/// Quads of a stripe.
pub(crate) const STRIPE_QUADS: usize = STRIPE / 4;

/// One segment of a group: 256 quads. A's bytes are A' + 128, B's are B' as int8.
#[repr(align(64))]
#[derive(Clone)]
pub(crate) struct Panel(pub(crate) [u8; LEAF_BYTES]);

/// A group's part in taking the noise out: three times 32 quads.
///
/// For A: the high digit of U + 2^15, E_L + 64, the low digit of U + 2^15; for B: F_R, the high digit
/// of V, the low digit of V. Digits are to the base of 255, so that B's are in [−127, 127]: the AVX2
/// kernel cannot negate −128.
#[repr(align(64))]
#[derive(Clone)]
pub(crate) struct Trace(pub(crate) [[u8; STRIPE_QUADS * QUAD]; 3]);

/// The base of the digits.
pub(crate) const BASE: i32 = 255;

/// One inner index of sixteen lines.
type Column = [i8; GROUP];
/// Sums over stripes, by their place in the stripe.
type Sums = [[i16; GROUP]; STRIPE];

impl Panel {
    pub(crate) const ZERO: Self = Self([0; LEAF_BYTES]);
}

impl Trace {
    pub(crate) const ZERO: Self = Self([[0; STRIPE_QUADS * QUAD]; 3]);
}

/// The noise of a group, column after column.
pub(crate) fn columns_of(strip: &Strip) -> [Column; STRIPE] {
    let mut columns = [[0; GROUP]; STRIPE];
    for (line, values) in strip.iter().enumerate() {
        for (column, value) in columns.iter_mut().zip(values) {
            if let Some(place) = column.get_mut(line) {
                *place = *value;
            }
        }
    }
    columns
}

/// What a group's lines are prepared with.
#[derive(Clone, Copy)]
pub(crate) struct Recipe<'a> {
    /// Added to every entry, modulo 256: 128 for A, nothing for B.
    pub(crate) raise: u8,
    /// The order in which each stripe takes the noise.
    pub(crate) noise: &'a [Permutation],
    /// The places to which each stripe's entries are summed.
    pub(crate) places: &'a [Permutation],
    /// Whether the entries are summed with their noise (B) or without (A).
    pub(crate) sum_noisy: bool,
}

/// Adds noise to a group of lines, arranges it in panels, one a segment, and sums it by place.
///
/// Inlined, so that it is compiled with each back end's instructions.
#[inline(always)]
pub(crate) fn prepare(
    lines: &[i8],
    k: usize,
    noise: &[Column; STRIPE],
    recipe: Recipe<'_>,
    mut panels: impl FnMut(usize, usize, &[u8; STRIPE_QUADS * QUAD]),
    transpose: impl Fn(&[i8], usize, usize) -> [Column; GROUP],
) -> Box<Sums> {
    let mut sums: Box<Sums> = Box::new([[0; GROUP]; STRIPE]);
    let mut block = [0; STRIPE_QUADS * QUAD];
    let mut near = [[0; STRIPE]; GROUP];
    for (stripe, (order, places)) in recipe.noise.iter().zip(recipe.places).enumerate() {
        gather(&mut near, lines, k, stripe * STRIPE);
        let quads = block.as_chunks_mut::<QUAD>().0;
        let chunks = quads.chunks_exact_mut(4).zip(order.chunks_exact(GROUP));
        for (part, ((quads, order), places)) in chunks.zip(places.chunks_exact(GROUP)).enumerate() {
            let columns = transpose(near.as_flattened(), STRIPE, part * GROUP);
            let mut noisy = columns;
            for ((noisy, order), place) in noisy.iter_mut().zip(order).zip(places) {
                let plain = *noisy;
                let added = &noise[usize::from(*order & 127)];
                for (entry, added) in noisy.iter_mut().zip(added) {
                    *entry = entry.wrapping_add(*added);
                }
                let summed = if recipe.sum_noisy { *noisy } else { plain };
                let sum = &mut sums[usize::from(*place & 127)];
                for (sum, entry) in sum.iter_mut().zip(&summed) {
                    *sum = sum.wrapping_add(i16::from(*entry));
                }
            }
            for (quad, four) in quads.iter_mut().zip(noisy.as_chunks::<4>().0) {
                *quad = interleave(four, recipe.raise);
            }
        }
        let stripes = SEGMENT / STRIPE;
        panels(stripe / stripes, stripe % stripes, &block);
    }
    sums
}

/// Arranges lines in panels as they are; `k` is a multiple of sixteen.
#[inline(always)]
pub(crate) fn pack(
    lines: &[i8],
    k: usize,
    raise: u8,
    panels: &mut [&mut Panel],
    transpose: impl Fn(&[i8], usize, usize) -> [Column; GROUP],
) {
    let mut near = [[0; STRIPE]; GROUP];
    for (start, quads) in (0..k).step_by(STRIPE).zip(
        panels.iter_mut().flat_map(|panel| panel.0.as_chunks_mut::<{ STRIPE_QUADS * QUAD }>().0),
    ) {
        gather(&mut near, lines, k, start);
        let quads = quads.as_chunks_mut::<QUAD>().0.as_chunks_mut::<4>().0;
        for (part, quads) in quads.iter_mut().enumerate() {
            let columns = transpose(near.as_flattened(), STRIPE, part * GROUP);
            for (quad, four) in quads.iter_mut().zip(columns.as_chunks::<4>().0) {
                *quad = interleave(four, raise);
            }
        }
    }
}

/// Brings a stripe of sixteen lines together; past their end are zeros. Lines are a power of two apart, so
/// that all sixteen would share one set of the first cache: each cache line is read once, here.
#[inline(always)]
fn gather(near: &mut [[i8; STRIPE]; GROUP], lines: &[i8], k: usize, first: usize) {
    for (near, line) in near.iter_mut().zip(lines.chunks_exact(k)) {
        if let Some(whole) = line[first..].first_chunk() {
            *near = *whole;
        } else {
            *near = [0; STRIPE];
            near[..k - first].copy_from_slice(&line[first..]);
        }
    }
}

/// Four columns as a quad.
#[inline(always)]
fn interleave(columns: &[Column; 4], raise: u8) -> [u8; QUAD] {
    let [a, b, c, d] = columns;
    let mut quad = [0; QUAD];
    for (line, four) in quad.as_chunks_mut::<4>().0.iter_mut().enumerate() {
        *four = [a[line], b[line], c[line], d[line]].map(|x| x.cast_unsigned().wrapping_add(raise));
    }
    quad
}

/// Sixteen inner indices of sixteen lines, index after index.
#[inline(always)]
pub(crate) fn transpose_portable(lines: &[i8], k: usize, first: usize) -> [Column; GROUP] {
    let mut columns = [[0; GROUP]; GROUP];
    for (place, line) in lines.chunks_exact(k).enumerate().take(GROUP) {
        for (column, entry) in columns.iter_mut().zip(&line[first..first + GROUP]) {
            column[place] = *entry;
        }
    }
    columns
}

/// Quads of values that are made one by one.
#[inline(always)]
fn quads_of(value: impl Fn(usize, usize) -> u8) -> [u8; STRIPE_QUADS * QUAD] {
    let mut quads = [0; STRIPE_QUADS * QUAD];
    for (group, quad) in quads.as_chunks_mut::<QUAD>().0.iter_mut().enumerate() {
        for (line, four) in quad.as_chunks_mut::<4>().0.iter_mut().enumerate() {
            for (offset, byte) in four.iter_mut().enumerate() {
                *byte = value(group * 4 + offset, line);
            }
        }
    }
    quads
}

/// A's part in taking the noise out.
#[inline(always)]
pub(crate) fn left_trace(sums: &Sums, noise: &[Column; STRIPE]) -> Trace {
    let digits = |place: usize, line: usize| digits(sums[place][line].cast_unsigned() ^ 0x8000);
    Trace([
        quads_of(|place, line| digits(place, line).0),
        quads_of(|place, line| (noise[place][line] + 64).cast_unsigned()),
        quads_of(|place, line| digits(place, line).1),
    ])
}

/// B's part in taking the noise out.
#[inline(always)]
pub(crate) fn right_trace(sums: &Sums, noise: &[Column; STRIPE]) -> Trace {
    // V + 255·128 + 127 has the digits of V, each raised: the high by 128, the low by 127.
    let digits = |place: usize, line: usize| {
        let raised = i32::from(sums[place][line]) + BASE * 128 + 127;
        digits(u16::try_from(raised).unwrap_or(u16::MAX))
    };
    Trace([
        quads_of(|place, line| noise[place][line].cast_unsigned()),
        quads_of(|place, line| digits(place, line).0.wrapping_sub(128)),
        quads_of(|place, line| digits(place, line).1.wrapping_sub(127)),
    ])
}

/// Quotient and rest by 255, exact below 65,280 = 256·255.
const fn digits(value: u16) -> (u8, u8) {
    let wide = value as u32;
    let high = (wide + 1 + (wide >> 8)) >> 8;
    let low = wide - high * BASE.cast_unsigned();
    (high.to_le_bytes()[0], low.to_le_bytes()[0])
}

/// What a column owes to raising: `2^15·ΣF_R − 64·ΣB'`. (ΣV is ΣB', as V only moves what it sums.)
pub(crate) fn corrections(sums: &Sums, noise: &[Column; STRIPE]) -> [i32; GROUP] {
    let mut owed = [0; GROUP];
    for (sums, noise) in sums.iter().zip(noise) {
        for ((owed, sum), noise) in owed.iter_mut().zip(sums).zip(noise) {
            *owed += (i32::from(*noise) << 15) - 64 * i32::from(*sum);
        }
    }
    owed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn m7_digits_give_their_number_back() {
        for value in 0..65_280_u16 {
            let (high, low) = digits(value);
            assert_eq!(u32::from(high) * 255 + u32::from(low), u32::from(value));
            assert!(low < 255);
        }
    }
}
