//! Sixteen by sixteen bytes turned over, with the instructions that every x86-64 has.

use std::arch::x86_64::{
    __m128i, _mm_loadu_si128, _mm_storeu_si128, _mm_unpackhi_epi8, _mm_unpacklo_epi8,
};

use crate::shape::GROUP;

/// Sixteen inner indices of sixteen lines of `k` entries, index after index.
#[inline(always)]
pub(super) fn transpose(lines: &[i8], k: usize, first: usize) -> [[i8; GROUP]; GROUP] {
    let mut rows: [__m128i; GROUP] = std::array::from_fn(|line| {
        let entries: &[i8; GROUP] = lines[line * k + first..].first_chunk().unwrap_or(&[0; GROUP]);
        // SAFETY: sixteen bytes are read from a reference to sixteen bytes; no alignment is asked for.
        unsafe { _mm_loadu_si128(entries.as_ptr().cast()) }
    });
    // Each pass interleaves line l with line l + 8; four passes bring every byte to its column.
    for _ in 0..4 {
        rows = std::array::from_fn(|place| {
            let (low, high) = (rows[place / 2], rows[place / 2 + 8]);
            if place % 2 == 0 {
                // SAFETY: every x86-64 has SSE2.
                unsafe { _mm_unpacklo_epi8(low, high) }
            } else {
                // SAFETY: every x86-64 has SSE2.
                unsafe { _mm_unpackhi_epi8(low, high) }
            }
        });
    }
    rows.map(|row| {
        let mut column = [0; GROUP];
        // SAFETY: sixteen bytes are written to sixteen bytes; no alignment is asked for.
        unsafe { _mm_storeu_si128(column.as_mut_ptr().cast(), row) };
        column
    })
}
