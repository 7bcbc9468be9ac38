//! AVX2, which has no exact product of u8 and int8: `vpmaddubsw` saturates at 16 bits.
//!
//! So A' is used as it is, without 128 added: |A'| times B' with the sign of A' stays below 2^15 for
//! two products, as both are in [−127, 127]. 128 times the columns' sums is added where sums are looked
//! at. A byte of A may be −128 (a digit of a trace): its magnitude, 128, is right as u8.

use std::arch::x86_64::{
    __m256i, _mm256_abs_epi8, _mm256_add_epi32, _mm256_load_si256, _mm256_loadu_si256,
    _mm256_madd_epi16, _mm256_maddubs_epi16, _mm256_set1_epi8, _mm256_set1_epi16,
    _mm256_set1_epi32, _mm256_setzero_si256, _mm256_sign_epi8, _mm256_slli_epi32,
    _mm256_storeu_si256, _mm256_sub_epi32, _mm256_xor_si256,
};

use crate::kernel::x86::kernel_for;
use crate::kernel::{Kernel, Rows, Transcript};
use crate::panel::{Panel, QUAD, STRIPE_QUADS, Trace};
use crate::shape::{GROUP, SEGMENT, STRIPES};

/// Rows that are worked on at once: four by two vectors of eight sums.
const ROWS: usize = 4;
const STRIPE_BYTES: usize = STRIPE_QUADS * QUAD;

pub(super) fn kernel() -> Option<Kernel> {
    is_x86_feature_detected!("avx2").then_some(KERNEL)
}

kernel_for!("avx2");

/// Sixteen sums.
type Pair = [__m256i; 2];

/// The sixteen columns of a quad.
///
/// # Safety
/// `quad` points to 64 bytes that are aligned to 32.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn load(quad: *const u8) -> Pair {
    // SAFETY: the caller's.
    [0, 32].map(|half| unsafe { _mm256_load_si256(quad.wrapping_add(half).cast()) })
}

#[inline]
#[target_feature(enable = "avx2")]
fn add(x: Pair, y: Pair) -> Pair {
    [_mm256_add_epi32(x[0], y[0]), _mm256_add_epi32(x[1], y[1])]
}

/// Adds quads of four rows, less 128 each, times sixteen columns.
///
/// # Safety
/// `a` and `b` point to `quads` quads, `b` aligned to 32 bytes.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn add_quads(
    mut sums: [Pair; ROWS],
    a: *const u8,
    b: *const u8,
    quads: usize,
) -> [Pair; ROWS] {
    let ones = _mm256_set1_epi16(1);
    let (mut a, mut b) = (a, b);
    for _ in 0..quads {
        // SAFETY: the caller's.
        let columns = unsafe { load(b) };
        for (row, sums) in sums.iter_mut().enumerate() {
            // SAFETY: the caller's; four bytes of a row, at any alignment.
            let four = unsafe { a.wrapping_add(row * 4).cast::<u32>().read_unaligned() };
            // Less 128: the top bit of each byte changes.
            let row = _mm256_set1_epi32((four ^ 0x8080_8080).cast_signed());
            let magnitude = _mm256_abs_epi8(row);
            for (sum, column) in sums.iter_mut().zip(columns) {
                let pairs = _mm256_maddubs_epi16(magnitude, _mm256_sign_epi8(column, row));
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(pairs, ones));
            }
        }
        (a, b) = (a.wrapping_add(QUAD), b.wrapping_add(QUAD));
    }
    sums
}

/// 128 times the sums of sixteen columns over quads.
///
/// # Safety
/// `b` points to `quads` quads, aligned to 32 bytes.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn column_sums(b: *const u8, quads: usize) -> Pair {
    let mut sums = [_mm256_setzero_si256(); 2];
    for quad in 0..quads {
        // SAFETY: the caller's.
        let columns = unsafe { load(b.wrapping_add(quad * QUAD)) };
        for (sum, column) in sums.iter_mut().zip(columns) {
            let pairs = _mm256_maddubs_epi16(_mm256_set1_epi8(1), column);
            *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
        }
    }
    sums.map(|sum| _mm256_slli_epi32::<7>(sum))
}

/// Joins the sums of four rows, from `first` on, with what stands in the product.
#[inline]
#[target_feature(enable = "avx2")]
fn store(rows: &mut Rows<'_>, first: usize, tile: usize, sums: &[Pair; ROWS], added: bool) {
    for (row, sums) in (first..).zip(sums) {
        let values = rows.place(row, tile).as_chunks_mut::<8>().0;
        for (values, sum) in values.iter_mut().zip(sums) {
            // SAFETY: 32 bytes are read from a reference to 32 bytes, at any alignment.
            let old = unsafe { _mm256_loadu_si256(values.as_ptr().cast()) };
            let new = if added { _mm256_add_epi32(old, *sum) } else { *sum };
            // SAFETY: 32 bytes are written to a reference to 32 bytes, at any alignment.
            unsafe { _mm256_storeu_si256(values.as_mut_ptr().cast(), new) };
        }
    }
}

#[target_feature(enable = "avx2")]
fn mine(a: &[Panel], b: &[Panel], rows: &mut Rows<'_>, transcripts: &mut [Transcript]) {
    for (tile, panel) in b.iter().enumerate() {
        let mut total = [_mm256_setzero_si256(); 2];
        let owed: [Pair; STRIPES] = std::array::from_fn(|stripe| {
            let start = panel.0.as_ptr().wrapping_add(stripe * STRIPE_BYTES);
            // SAFETY: a panel has eight stripes of 32 quads and is aligned to 64 bytes.
            total = add(total, unsafe { column_sums(start, STRIPE_QUADS) });
            total
        });
        let transcripts = transcripts.iter_mut().skip(tile).step_by(b.len());
        for ((group, a), transcript) in a.iter().enumerate().zip(transcripts) {
            mine_tile(a, panel, &owed, (group, tile), rows, transcript);
        }
    }
}

/// One tile, given 128 times the columns' sums after each stripe.
#[inline]
#[target_feature(enable = "avx2")]
fn mine_tile(
    a: &Panel,
    b: &Panel,
    owed: &[Pair; STRIPES],
    (group, tile): (usize, usize),
    rows: &mut Rows<'_>,
    transcript: &mut Transcript,
) {
    let mut seen = [[_mm256_setzero_si256(); 2]; STRIPES];
    for first in (0..GROUP).step_by(ROWS) {
        let mut sums = [[_mm256_setzero_si256(); 2]; ROWS];
        for (stripe, (seen, owed)) in seen.iter_mut().zip(owed).enumerate() {
            let start = stripe * STRIPE_BYTES;
            let (a, b) = (a.0.as_ptr(), b.0.as_ptr().wrapping_add(start));
            // SAFETY: a panel has eight stripes of 32 quads and is aligned to 64 bytes; the rows from
            // `first` on start within a quad.
            sums = unsafe { add_quads(sums, a.wrapping_add(start + first * 4), b, STRIPE_QUADS) };
            for sums in sums {
                let [low, high] = add(sums, *owed);
                *seen = [_mm256_xor_si256(seen[0], low), _mm256_xor_si256(seen[1], high)];
            }
        }
        let sums = sums.map(|sums| add(sums, owed[STRIPES - 1]));
        store(rows, group * GROUP + first, tile, &sums, true);
    }
    for (seen, word) in seen.iter().zip(transcript) {
        *word = xor_lanes(_mm256_xor_si256(seen[0], seen[1]));
    }
}

/// The XOR of eight lanes.
#[inline]
#[target_feature(enable = "avx2")]
fn xor_lanes(lanes: __m256i) -> u32 {
    let mut words = [0_u32; 8];
    // SAFETY: 32 bytes are written to 32 bytes, at any alignment.
    unsafe { _mm256_storeu_si256(words.as_mut_ptr().cast(), lanes) };
    words.into_iter().fold(0, |seen, word| seen ^ word)
}

#[target_feature(enable = "avx2")]
fn multiply(a: &[Panel], b: &[Panel], quads: usize, rows: &mut Rows<'_>) {
    let quads = quads.min(SEGMENT / 4);
    for (tile, b) in b.iter().enumerate() {
        // SAFETY: a panel has 256 quads, `quads` is at most that, and it is aligned to 64 bytes.
        let owed = unsafe { column_sums(b.0.as_ptr(), quads) };
        for (group, a) in a.iter().enumerate() {
            for first in (0..GROUP).step_by(ROWS) {
                let zero = [[_mm256_setzero_si256(); 2]; ROWS];
                let a = a.0.as_ptr().wrapping_add(first * 4);
                // SAFETY: as above; the rows from `first` on start within a quad.
                let sums = unsafe { add_quads(zero, a, b.0.as_ptr(), quads) };
                let sums = sums.map(|sums| add(sums, owed));
                store(rows, group * GROUP + first, tile, &sums, true);
            }
        }
    }
}

#[target_feature(enable = "avx2")]
fn denoise(a: &Trace, b: &[Trace], corrections: &[[i32; GROUP]], rows: &mut Rows<'_>) {
    for ((tile, b), corrections) in b.iter().enumerate().zip(corrections) {
        let to = |digit: usize| b.0[digit].as_ptr();
        // SAFETY: each part of a trace has 32 quads; traces, and so their parts, are aligned to 64 bytes.
        let [f, high, low] = [0, 1, 2].map(|digit| unsafe { column_sums(to(digit), STRIPE_QUADS) });
        let owed_high = add(f, high);
        let owed_low = add(f, low);
        let (halves, _) = corrections.as_chunks::<8>();
        // SAFETY: 32 bytes are read from a reference to 32 bytes, at any alignment.
        let corrections =
            [0, 1].map(|half| unsafe { _mm256_loadu_si256(halves[half].as_ptr().cast()) });
        for first in (0..GROUP).step_by(ROWS) {
            let from = |digit: usize| a.0[digit].as_ptr().wrapping_add(first * 4);
            let zero = [[_mm256_setzero_si256(); 2]; ROWS];
            // SAFETY: as above; the rows from `first` on start within a quad.
            let mut sums = unsafe { add_quads(zero, from(0), to(0), STRIPE_QUADS) };
            // SAFETY: as above.
            sums = unsafe { add_quads(sums, from(1), to(1), STRIPE_QUADS) };
            // Times 255, and from then on the low digits.
            sums = sums.map(|sums| {
                let raised = add(sums, owed_high);
                add(raised.map(|sum| _mm256_sub_epi32(_mm256_slli_epi32::<8>(sum), sum)), owed_low)
            });
            // SAFETY: as above.
            sums = unsafe { add_quads(sums, from(2), to(0), STRIPE_QUADS) };
            // SAFETY: as above.
            sums = unsafe { add_quads(sums, from(1), to(2), STRIPE_QUADS) };
            let sums = sums.map(|sums| {
                [
                    _mm256_sub_epi32(corrections[0], sums[0]),
                    _mm256_sub_epi32(corrections[1], sums[1]),
                ]
            });
            store(rows, first, tile, &sums, false);
        }
    }
}
