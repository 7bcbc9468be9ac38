//! AVX-512 with VNNI: eight rows by up to three tiles at a time in 24 of the 32 registers.
//!
//! `vpdpbusd` adds four products of u8 and int8 to each of sixteen 32-bit sums. A vector of B (four
//! inner indices of sixteen columns) meets one row of A, broadcast.

use std::arch::x86_64::{
    __m512i, _MM_HINT_T0, _mm_prefetch, _mm256_storeu_si256, _mm256_xor_si256, _mm512_add_epi32,
    _mm512_castsi512_si256, _mm512_dpbusd_epi32, _mm512_extracti64x4_epi64, _mm512_load_si512,
    _mm512_loadu_si512, _mm512_set1_epi32, _mm512_setzero_si512, _mm512_slli_epi32,
    _mm512_storeu_si512, _mm512_sub_epi32, _mm512_ternarylogic_epi32,
};

use crate::kernel::x86::kernel_for;
use crate::kernel::{Kernel, Rows, Transcript};
use crate::panel::{Panel, QUAD, STRIPE_QUADS, Trace};
use crate::shape::{GROUP, SEGMENT};

/// Rows that are worked on at once: half a tile.
const HALF: usize = GROUP / 2;
/// How far ahead A is asked for, in bytes: eight quads, some 96 cycles.
const AHEAD: usize = 8 * QUAD;
/// Stripes that are worked through before the next group: 12 KiB of three tiles stay in the first cache.
const PART: usize = 2;
/// Groups whose sums are kept between parts: 48 KiB, which the second cache holds.
const GROUPS: usize = 16;
/// Bytes of a stripe of a panel, and of one digit of a trace.
const STRIPE_BYTES: usize = STRIPE_QUADS * QUAD;

pub(super) fn kernel() -> Option<Kernel> {
    let has = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512vnni");
    has.then_some(KERNEL)
}

kernel_for!("avx512f,avx512bw,avx512vl,avx512vnni");

/// The sums of eight rows by `T` tiles.
type Sums<const T: usize> = [[__m512i; T]; HALF];

/// Adds quads of eight rows and `T` tiles to their sums.
///
/// # Safety
/// `a` and each of `b` point to `quads` quads, `b` aligned to 64 bytes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn add_quads<const T: usize>(
    mut sums: Sums<T>,
    a: *const u8,
    b: [*const u8; T],
    quads: usize,
) -> Sums<T> {
    let (mut a, mut b) = (a, b);
    for _ in 0..quads {
        // SAFETY: the caller's.
        let columns: [__m512i; T] = b.map(|b| unsafe { _mm512_load_si512(b.cast()) });
        // A streams, B stays: the next rows are asked for.
        _mm_prefetch::<_MM_HINT_T0>(a.wrapping_add(AHEAD).cast());
        for (row, sums) in sums.iter_mut().enumerate() {
            // SAFETY: the caller's; four bytes of a row, at any alignment.
            let four = unsafe { a.wrapping_add(row * 4).cast::<i32>().read_unaligned() };
            let row = _mm512_set1_epi32(four);
            for (sum, column) in sums.iter_mut().zip(columns) {
                *sum = _mm512_dpbusd_epi32(*sum, row, column);
            }
        }
        a = a.wrapping_add(QUAD);
        b = b.map(|b| b.wrapping_add(QUAD));
    }
    sums
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn zero<const T: usize>() -> Sums<T> {
    [[_mm512_setzero_si512(); T]; HALF]
}

/// Puts the sums of eight rows, from `first` on, into the product.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn store<const T: usize>(
    rows: &mut Rows<'_>,
    first: usize,
    tile: usize,
    sums: &Sums<T>,
    add: bool,
) {
    for (row, sums) in (first..).zip(sums) {
        for (tile, sum) in (tile..).zip(sums) {
            let values = rows.place(row, tile);
            // SAFETY: 64 bytes are read from sixteen numbers, at any alignment.
            let old = unsafe { _mm512_loadu_si512(values.as_ptr().cast()) };
            let new = if add { _mm512_add_epi32(old, *sum) } else { *sum };
            // SAFETY: 64 bytes are written to sixteen numbers, at any alignment.
            unsafe { _mm512_storeu_si512(values.as_mut_ptr().cast(), new) };
        }
    }
}

/// Calls a function with as many of the panels as it takes at once: three, and what is left over.
macro_rules! by_threes {
    ($b:ident, |$tile:ident, $part:ident: $T:ident| $call:expr) => {
        let mut $tile = 0;
        while $tile < $b.len() {
            match &$b[$tile..] {
                [x, y, z, ..] => {
                    const $T: usize = 3;
                    let $part = [x, y, z];
                    $call;
                    $tile += $T;
                }
                [x, y] => {
                    const $T: usize = 2;
                    let $part = [x, y];
                    $call;
                    $tile += $T;
                }
                [x] => {
                    const $T: usize = 1;
                    let $part = [x];
                    $call;
                    $tile += $T;
                }
                [] => break,
            }
        }
    };
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn mine(a: &[Panel], b: &[Panel], rows: &mut Rows<'_>, transcripts: &mut [Transcript]) {
    for (part, a) in a.chunks(GROUPS).enumerate() {
        let first = part * GROUPS;
        let transcripts = &mut transcripts[first * b.len()..];
        by_threes!(b, |tile, part: T| {
            let mut see = |group: usize, seen: &[[__m512i; T]; PART], stripe: usize| {
                let first = group * b.len() + tile;
                for (column, transcript) in transcripts[first..first + T].iter_mut().enumerate() {
                    for (word, seen) in transcript[stripe..].iter_mut().zip(seen) {
                        *word = xor_lanes(seen[column]);
                    }
                }
            };
            add_tiles::<T, true>(a, part, SEGMENT / 4, (first, tile), rows, &mut see);
        });
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn multiply(a: &[Panel], b: &[Panel], quads: usize, rows: &mut Rows<'_>) {
    let quads = quads.min(SEGMENT / 4);
    for (part, a) in a.chunks(GROUPS).enumerate() {
        let first = part * GROUPS;
        by_threes!(b, |tile, part: T| {
            add_tiles::<T, false>(a, part, quads, (first, tile), rows, &mut |_, _, _| ());
        });
    }
}

/// Some groups by up to three tiles, in parts of the inner size that leave the first cache to B. The sums
/// are kept aside until the last part: rows of the product, a power of two apart, would push each other
/// out of every cache.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn add_tiles<const T: usize, const MINED: bool>(
    a: &[Panel],
    b: [&Panel; T],
    quads: usize,
    (group, tile): (usize, usize),
    rows: &mut Rows<'_>,
    see: &mut impl FnMut(usize, &[[__m512i; T]; PART], usize),
) {
    const PART_QUADS: usize = PART * STRIPE_QUADS;
    let mut kept = [[zero::<T>(); 2]; GROUPS];
    for start in (0..quads).step_by(PART_QUADS) {
        let b = b.map(|panel| panel.0.as_ptr().wrapping_add(start * QUAD));
        for (place, (a, kept)) in a.iter().zip(&mut kept).enumerate() {
            // Of each stripe and tile, the XOR over rows.
            let mut seen = [[_mm512_setzero_si512(); T]; PART];
            for (half, kept) in kept.iter_mut().enumerate() {
                let row = (group + place) * GROUP + half * HALF;
                let last = quads - start <= PART_QUADS;
                if last {
                    ask_for::<T>(rows, row, tile);
                }
                let mut sums = *kept;
                let mut left = (quads - start).min(PART_QUADS);
                for (stripe, seen) in seen.iter_mut().enumerate() {
                    let now = left.min(STRIPE_QUADS);
                    left -= now;
                    let first = stripe * STRIPE_BYTES;
                    let a = a.0.as_ptr().wrapping_add(start * QUAD + first + half * HALF * 4);
                    let b = b.map(|panel| panel.wrapping_add(first));
                    // SAFETY: a panel has 256 quads, of which `now` are left from here on; half a row
                    // of a quad starts within it; panels are aligned to 64 bytes.
                    sums = unsafe { add_quads(sums, a, b, now) };
                    if MINED {
                        for (tile, seen) in seen.iter_mut().enumerate() {
                            let [p, q, r, s, t, u, v, w] = sums.map(|row| row[tile]);
                            *seen = xor3(xor3(*seen, p, q), xor3(r, s, t), xor3(u, v, w));
                        }
                    }
                }
                if last {
                    store(rows, row, tile, &sums, true);
                } else {
                    *kept = sums;
                }
            }
            if MINED {
                see(place, &seen, start / STRIPE_QUADS);
            }
        }
    }
}

/// Asks for the places of the product where sums will be added.
#[inline]
#[target_feature(enable = "avx512f")]
fn ask_for<const T: usize>(rows: &mut Rows<'_>, first: usize, tile: usize) {
    for row in first..first + HALF {
        for tile in tile..tile + T {
            _mm_prefetch::<_MM_HINT_T0>(rows.place(row, tile).as_ptr().cast());
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn xor3(x: __m512i, y: __m512i, z: __m512i) -> __m512i {
    _mm512_ternarylogic_epi32::<0x96>(x, y, z)
}

/// The XOR of sixteen lanes.
#[inline]
#[target_feature(enable = "avx512f")]
fn xor_lanes(lanes: __m512i) -> u32 {
    let half =
        _mm256_xor_si256(_mm512_castsi512_si256(lanes), _mm512_extracti64x4_epi64::<1>(lanes));
    let mut words = [0_u64; 4];
    // SAFETY: 32 bytes are written to 32 bytes, at any alignment.
    unsafe { _mm256_storeu_si256(words.as_mut_ptr().cast(), half) };
    let word = words[0] ^ words[1] ^ words[2] ^ words[3];
    let [low, high] = [word, word >> 32].map(|part| part & u64::from(u32::MAX));
    u32::try_from(low ^ high).unwrap_or_default()
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn denoise(a: &Trace, b: &[Trace], corrections: &[[i32; GROUP]], rows: &mut Rows<'_>) {
    by_threes!(b, |tile, part: T| {
        denoise_tiles::<T>(a, part, &corrections[tile..tile + T], rows, tile);
    });
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn denoise_tiles<const T: usize>(
    a: &Trace,
    b: [&Trace; T],
    corrections: &[[i32; GROUP]],
    rows: &mut Rows<'_>,
    tile: usize,
) {
    for half in 0..2 {
        let from = |digit: usize| a.0[digit].as_ptr().wrapping_add(half * HALF * 4);
        let zero = zero::<T>();
        let to = |digit: usize| b.map(|trace| trace.0[digit].as_ptr());
        // SAFETY: each part of a trace has 32 quads; traces, and so their parts, are aligned to 64 bytes.
        let mut sums = unsafe { add_quads(zero, from(0), to(0), STRIPE_QUADS) };
        // SAFETY: as above.
        sums = unsafe { add_quads(sums, from(1), to(1), STRIPE_QUADS) };
        // Times 255.
        for sum in sums.as_flattened_mut() {
            *sum = _mm512_sub_epi32(_mm512_slli_epi32::<8>(*sum), *sum);
        }
        // SAFETY: as above.
        sums = unsafe { add_quads(sums, from(2), to(0), STRIPE_QUADS) };
        // SAFETY: as above.
        sums = unsafe { add_quads(sums, from(1), to(2), STRIPE_QUADS) };
        for (place, correction) in corrections.iter().enumerate() {
            // SAFETY: 64 bytes are read from a reference to 64 bytes, at any alignment.
            let correction = unsafe { _mm512_loadu_si512(correction.as_ptr().cast()) };
            for sums in &mut sums {
                sums[place] = _mm512_sub_epi32(correction, sums[place]);
            }
        }
        store(rows, half * HALF, tile, &sums, false);
    }
}
