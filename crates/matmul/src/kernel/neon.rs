//! NEON, which every 64-bit ARM has.
//!
//! `vmull_s8` and `vmlal_s8` keep two products of int8 in 16 bits, as one factor is in [−127, 127] and
//! the other at least −128 (a digit of a trace): 2·128·127 < 2^15. As with AVX2, A is used less 128, and
//! 128 times the columns' sums is added where sums are looked at.

use std::arch::aarch64::{
    int8x8_t, int32x4_t, vdup_n_s32, vdupq_n_s32, vld1_s8, vmlal_s8, vmull_s8, vpadalq_s16,
    vpaddq_s32, vreinterpret_s8_s32, vst1q_s32,
};

use crate::kernel::{Kernel, Rows, Transcript, portable};
use crate::panel::{BASE, Panel, QUAD, STRIPE_QUADS, Trace};
use crate::shape::{GROUP, SEGMENT};

// SAFETY, of every function below: every processor of this architecture has NEON.
pub(super) const KERNEL: Kernel = Kernel {
    // SAFETY: see above.
    mine: |a, b, rows, transcripts| unsafe { mine(a, b, rows, transcripts) },
    // SAFETY: see above.
    multiply: |a, b, quads, rows| unsafe { multiply(a, b, quads, rows) },
    // SAFETY: see above.
    denoise: |a, b, corrections, rows| unsafe { denoise(a, b, corrections, rows) },
    ..portable::KERNEL
};

/// Rows that are worked on at once.
const ROWS: usize = 2;
/// Pairs of columns of a tile.
const PAIRS: usize = GROUP / 2;
const STRIPE_BYTES: usize = STRIPE_QUADS * QUAD;

/// For each row and pair of columns: two halves of the one sum, two halves of the other.
type Halves = [[int32x4_t; PAIRS]; ROWS];
/// The sums of sixteen columns.
type Columns = [i32; GROUP];

/// Eight bytes at a place.
///
/// # Safety
/// `at` points to eight bytes.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn load(at: *const u8) -> int8x8_t {
    // SAFETY: the caller's.
    unsafe { vld1_s8(at.cast()) }
}

/// Four bytes of a row, less 128, twice.
///
/// # Safety
/// `at` points to four bytes.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn row(at: *const u8) -> int8x8_t {
    // SAFETY: the caller's; at any alignment.
    let four = unsafe { at.cast::<u32>().read_unaligned() };
    vreinterpret_s8_s32(vdup_n_s32((four ^ 0x8080_8080).cast_signed()))
}

/// Adds an even number of quads of two rows times sixteen columns.
///
/// # Safety
/// `a` and `b` point to `quads` quads.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn add_quads(mut sums: Halves, a: *const u8, b: *const u8, quads: usize) -> Halves {
    for quad in (0..quads).step_by(2) {
        for (line, sums) in sums.iter_mut().enumerate() {
            // SAFETY: the caller's, for this quad and the next.
            let (first, second) = unsafe {
                let at = a.wrapping_add(quad * QUAD + line * 4);
                (row(at), row(at.wrapping_add(QUAD)))
            };
            for (pair, sum) in sums.iter_mut().enumerate() {
                // SAFETY: the caller's, for this quad and the next.
                let (low, high) = unsafe {
                    let at = b.wrapping_add(quad * QUAD + pair * 8);
                    (load(at), load(at.wrapping_add(QUAD)))
                };
                *sum = vpadalq_s16(*sum, vmlal_s8(vmull_s8(first, low), second, high));
            }
        }
    }
    sums
}

#[target_feature(enable = "neon")]
fn zero() -> Halves {
    [[vdupq_n_s32(0); PAIRS]; ROWS]
}

/// The sums of a row's sixteen columns.
#[inline]
#[target_feature(enable = "neon")]
fn whole(halves: &[int32x4_t; PAIRS]) -> Columns {
    let mut columns = [0; GROUP];
    for (four, [low, high]) in
        columns.as_chunks_mut::<4>().0.iter_mut().zip(halves.as_chunks::<2>().0)
    {
        // SAFETY: four numbers are written to four numbers.
        unsafe { vst1q_s32(four.as_mut_ptr(), vpaddq_s32(*low, *high)) };
    }
    columns
}

/// 128 times the sums of the columns of some quads.
fn column_sums(b: &[u8]) -> Columns {
    let mut sums = [0; GROUP];
    for quad in b.chunks_exact(QUAD) {
        for (sum, four) in sums.iter_mut().zip(quad.chunks_exact(4)) {
            *sum += four.iter().map(|byte| i32::from(byte.cast_signed())).sum::<i32>() << 7;
        }
    }
    sums
}

fn plus(x: &Columns, y: &Columns) -> Columns {
    std::array::from_fn(|column| x[column].wrapping_add(y[column]))
}

#[target_feature(enable = "neon")]
fn mine(a: &[Panel], b: &[Panel], rows: &mut Rows<'_>, transcripts: &mut [Transcript]) {
    for (tile, panel) in b.iter().enumerate() {
        let mut owed = [0; GROUP];
        let owed: Vec<Columns> = panel
            .0
            .chunks_exact(STRIPE_BYTES)
            .map(|stripe| {
                owed = plus(&owed, &column_sums(stripe));
                owed
            })
            .collect();
        let transcripts = transcripts.iter_mut().skip(tile).step_by(b.len());
        for ((group, a), transcript) in a.iter().enumerate().zip(transcripts) {
            mine_tile(a, panel, &owed, (group, tile), rows, transcript);
        }
    }
}

/// One tile, given 128 times the columns' sums after each stripe.
#[target_feature(enable = "neon")]
fn mine_tile(
    a: &Panel,
    b: &Panel,
    owed: &[Columns],
    (group, tile): (usize, usize),
    rows: &mut Rows<'_>,
    transcript: &mut Transcript,
) {
    *transcript = Transcript::default();
    for first in (0..GROUP).step_by(ROWS) {
        let mut sums = zero();
        for (stripe, (seen, owed)) in transcript.iter_mut().zip(owed).enumerate() {
            let start = stripe * STRIPE_BYTES;
            let (a, b) = (a.0.as_ptr(), b.0.as_ptr().wrapping_add(start));
            // SAFETY: a panel has eight stripes of 32 quads; the rows from `first` on start within a quad.
            sums = unsafe { add_quads(sums, a.wrapping_add(start + first * 4), b, STRIPE_QUADS) };
            for halves in &sums {
                let raised = plus(&whole(halves), owed);
                *seen = raised.iter().fold(*seen, |seen, sum| seen ^ sum.cast_unsigned());
            }
        }
        let total = owed.last().copied().unwrap_or_default();
        add_to(rows, group * GROUP + first, tile, &sums, &total);
    }
}

#[target_feature(enable = "neon")]
fn add_to(rows: &mut Rows<'_>, first: usize, tile: usize, sums: &Halves, owed: &Columns) {
    for (row, halves) in (first..).zip(sums) {
        let raised = plus(&whole(halves), owed);
        for (value, sum) in rows.place(row, tile).iter_mut().zip(raised) {
            *value = value.wrapping_add(sum);
        }
    }
}

#[target_feature(enable = "neon")]
fn multiply(a: &[Panel], b: &[Panel], quads: usize, rows: &mut Rows<'_>) {
    let quads = quads.min(SEGMENT / 4);
    // Quads are taken in pairs.
    if !quads.is_multiple_of(2) {
        return portable::multiply(a, b, quads, rows);
    }
    for (tile, b) in b.iter().enumerate() {
        let owed = column_sums(&b.0[..quads * QUAD]);
        for (group, a) in a.iter().enumerate() {
            for first in (0..GROUP).step_by(ROWS) {
                let a = a.0.as_ptr().wrapping_add(first * 4);
                // SAFETY: a panel has 256 quads, `quads` is at most that; the rows from `first` on start
                // within a quad.
                let sums = unsafe { add_quads(zero(), a, b.0.as_ptr(), quads) };
                add_to(rows, group * GROUP + first, tile, &sums, &owed);
            }
        }
    }
}

#[target_feature(enable = "neon")]
fn denoise(a: &Trace, b: &[Trace], corrections: &[Columns], rows: &mut Rows<'_>) {
    for ((tile, b), corrections) in b.iter().enumerate().zip(corrections) {
        let [f, high, low] = b.0.each_ref().map(|digit| column_sums(digit));
        let (owed_high, owed_low) = (plus(&f, &high), plus(&f, &low));
        for first in (0..GROUP).step_by(ROWS) {
            let digits = |pairs: [(usize, usize); 2]| {
                pairs.into_iter().fold(zero(), |sums, (left, right)| {
                    // SAFETY: each part of a trace has 32 quads; the rows from `first` on start within
                    // a quad.
                    unsafe {
                        let a = a.0[left].as_ptr().wrapping_add(first * 4);
                        add_quads(sums, a, b.0[right].as_ptr(), STRIPE_QUADS)
                    }
                })
            };
            let (highs, lows) = (digits([(0, 0), (1, 1)]), digits([(2, 0), (1, 2)]));
            for (line, (high, low)) in highs.iter().zip(&lows).enumerate() {
                let high = plus(&whole(high), &owed_high);
                let low = plus(&whole(low), &owed_low);
                let values = rows.place(first + line, tile).iter_mut().zip(corrections);
                for ((value, correction), (high, low)) in values.zip(high.into_iter().zip(low)) {
                    *value = correction.wrapping_sub(high.wrapping_mul(BASE).wrapping_add(low));
                }
            }
        }
    }
}
