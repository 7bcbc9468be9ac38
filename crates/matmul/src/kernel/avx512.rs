//! AVX-512 with VNNI: eight rows by up to three tiles at a time in 24 of the 32 registers.
//!
//! `vpdpbusd` adds four products of u8 and int8 to each of sixteen 32-bit sums. A vector of B (four
//! inner indices of sixteen columns) meets one row of A, broadcast.

mod tickets;

use std::arch::x86_64::{
    __m512i, _MM_HINT_T0, _MM_HINT_T1, _mm_prefetch, _mm256_permute2x128_si256,
    _mm256_storeu_si256, _mm256_xor_si256, _mm512_add_epi32, _mm512_castsi512_si256,
    _mm512_dpbusd_epi32, _mm512_extracti64x4_epi64, _mm512_load_si512, _mm512_loadu_si512,
    _mm512_set1_epi32, _mm512_setzero_si512, _mm512_slli_epi32, _mm512_storeu_si512,
    _mm512_sub_epi32, _mm512_ternarylogic_epi32, _mm512_unpackhi_epi32, _mm512_unpackhi_epi64,
    _mm512_unpacklo_epi32, _mm512_unpacklo_epi64, _mm512_xor_si512,
};

use crate::kernel::x86::kernel_for;
use crate::kernel::{Kernel, Places, Rows, Transcript};
use crate::panel::{Panel, QUAD, STRIPE_QUADS, Trace};
use crate::shape::{GROUP, SEGMENT, STRIPES};

/// Rows that are worked on at once: half a tile.
const HALF: usize = GROUP / 2;
/// The most tiles that are worked on at once.
const WIDE: usize = 3;
/// How far ahead operands are asked for, in bytes: eight quads, 96 cycles or more.
const AHEAD: usize = 8 * QUAD;
/// Bytes of a stripe of a panel, and of one digit of a trace.
const STRIPE_BYTES: usize = STRIPE_QUADS * QUAD;

pub(super) fn kernel() -> Option<Kernel> {
    let has = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512vnni");
    has.then_some(KERNEL)
}

kernel_for!("avx512f,avx512bw,avx512vl,avx512vnni", tickets::top_words);

/// The sums of eight rows by up to three tiles.
type Sums = [[__m512i; WIDE]; HALF];
/// Of three tiles.
type Wide = [__m512i; WIDE];

/// Repeats a block for each of eight rows, whose number is a constant in it. Written out, not a loop: with
/// places that are constants from the start the compiler keeps all 24 sums in registers.
macro_rules! for_rows {
    (|$row:ident| $do:block) => {
        for_rows!(@ $row $do 0 1 2 3 4 5 6 7)
    };
    (@ $row:ident $do:block $($number:literal)*) => {
        $({
            const $row: usize = $number;
            $do
        })*
    };
}

/// Repeats a block for each of `T` tiles, whose number is a constant in it.
macro_rules! for_tiles {
    (|$tile:ident: $count:ident| $do:block) => {
        for_tiles!(@ $tile $count $do 0 1 2)
    };
    (@ $tile:ident $count:ident $do:block $($number:literal)*) => {
        $({
            const $tile: usize = $number;
            if $tile < $count $do
        })*
    };
}

/// Adds quads of eight rows and `T` tiles to their sums.
///
/// # Safety
/// `a` and each of the first `T` of `b` point to `quads` quads, `b` aligned to 64 bytes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn add_quads<const T: usize>(
    mut sums: Sums,
    a: *const u8,
    b: [*const u8; WIDE],
    quads: usize,
) -> Sums {
    for at in (0..quads * QUAD).step_by(QUAD) {
        let mut columns = [_mm512_setzero_si512(); WIDE];
        for_tiles!(|TILE: T| {
            let b = b[TILE].wrapping_add(at);
            // SAFETY: the caller's.
            columns[TILE] = unsafe { _mm512_load_si512(b.cast()) };
            _mm_prefetch::<_MM_HINT_T0>(b.wrapping_add(AHEAD).cast());
        });
        // Both stream from the second cache.
        _mm_prefetch::<_MM_HINT_T0>(a.wrapping_add(at + AHEAD).cast());
        for_rows!(|ROW| {
            // SAFETY: the caller's; four bytes of a row, at any alignment.
            let four = unsafe { a.wrapping_add(at + ROW * 4).cast::<i32>().read_unaligned() };
            let row = _mm512_set1_epi32(four);
            for_tiles!(|TILE: T| {
                sums[ROW][TILE] = _mm512_dpbusd_epi32(sums[ROW][TILE], row, columns[TILE]);
            });
        });
    }
    sums
}

/// Gives each of eight rows by `T` tiles its place and its number, and says what comes of it.
macro_rules! at_places {
    ($places:ident, $count:ident, |$row:ident, $tile:ident, $place:ident| $do:block) => {
        for_rows!(|$row| {
            let row = $places.first.wrapping_add($row * $places.stride);
            for_tiles!(|$tile: $count| {
                let $place: *mut __m512i = row.wrapping_add($tile * GROUP).cast();
                $do
            });
        });
    };
}

/// Sums that stand at their places.
///
/// # Safety
/// Eight rows of `T` tiles can be read there.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn load<const T: usize>(places: Places) -> Sums {
    let mut sums = [[_mm512_setzero_si512(); WIDE]; HALF];
    at_places!(places, T, |ROW, TILE, place| {
        // SAFETY: the caller's; any alignment will do.
        sums[ROW][TILE] = unsafe { _mm512_loadu_si512(place) };
    });
    sums
}

/// Puts sums in their places.
///
/// # Safety
/// Eight rows of `T` tiles can be written there.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn store<const T: usize>(places: Places, sums: &Sums) {
    at_places!(places, T, |ROW, TILE, place| {
        // SAFETY: the caller's; any alignment will do.
        unsafe { _mm512_storeu_si512(place, sums[ROW][TILE]) };
    });
}

/// Adds sums to what stands at their places.
///
/// # Safety
/// Eight rows of `T` tiles can be read and written there.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn add_to<const T: usize>(places: Places, sums: &Sums) {
    at_places!(places, T, |ROW, TILE, place| {
        // SAFETY: the caller's; any alignment will do.
        let old = unsafe { _mm512_loadu_si512(place) };
        let new = _mm512_add_epi32(old, sums[ROW][TILE]);
        // SAFETY: as above.
        unsafe { _mm512_storeu_si512(place, new) };
    });
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
                    let $part = [x, y, y];
                    $call;
                    $tile += $T;
                }
                [x] => {
                    const $T: usize = 1;
                    let $part = [x, x, x];
                    $call;
                    $tile += $T;
                }
                [] => break,
            }
        }
    };
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn multiply(a: &[Panel], b: &[Panel], quads: usize, rows: &mut Rows<'_>) {
    let quads = quads.min(SEGMENT / 4);
    by_threes!(b, |tile, part: T| {
        let mut coming = Coming::after(b, tile + T, a.len());
        let part = part.map(|panel: &Panel| panel.0.as_ptr());
        for (group, a) in a.iter().enumerate() {
            for half in 0..2 {
                coming.ask();
                let places = rows.places(group * GROUP + half * HALF, HALF, tile, T);
                let a = a.0.as_ptr().wrapping_add(half * HALF * 4);
                // SAFETY: a panel has 256 quads, of which `quads` are asked for; half a row of a quad
                // starts within it; panels are aligned to 64 bytes; `places` are eight rows of `T` tiles.
                unsafe { run::<T>(places, a, part, quads) };
            }
        }
    });
}

/// Adds quads of eight rows by `T` tiles to their places. Not inlined, so that nothing else takes
/// registers.
///
/// # Safety
/// As for [`add_quads`] and [`store`].
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn run<const T: usize>(places: Places, a: *const u8, b: [*const u8; WIDE], quads: usize) {
    // SAFETY: the caller's.
    let sums = unsafe { load::<T>(places) };
    // SAFETY: the caller's.
    let sums = unsafe { add_quads::<T>(sums, a, b, quads) };
    // SAFETY: the caller's.
    unsafe { store::<T>(places, &sums) };
}

/// The next tiles of B, asked for little by little while these are worked on. They may come from memory, and
/// the first rows to meet them would wait.
struct Coming<'a> {
    panels: &'a [Panel],
    /// Quads asked for so far, and each time.
    at: usize,
    each: usize,
}

impl<'a> Coming<'a> {
    /// Those from a tile on, while some groups are worked on.
    fn after(b: &'a [Panel], tile: usize, groups: usize) -> Self {
        let panels = &b[tile.min(b.len())..b.len().min(tile + WIDE)];
        let each = (panels.len() * SEGMENT / 4).div_ceil(2 * groups.max(1));
        Self { panels, at: 0, each }
    }

    /// Asks for a share, once each half of a group.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn ask(&mut self) {
        let end = (self.at + self.each).min(self.panels.len() * SEGMENT / 4);
        for at in self.at..end {
            let panel = self.panels[at / (SEGMENT / 4)].0.as_ptr();
            let quad = panel.wrapping_add(at % (SEGMENT / 4) * QUAD);
            _mm_prefetch::<_MM_HINT_T1>(quad.cast());
        }
        self.at = end;
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn mine(a: &[Panel], b: &[Panel], rows: &mut Rows<'_>, transcripts: &mut [Transcript]) {
    by_threes!(b, |tile, part: T| {
        let mut coming = Coming::after(b, tile + T, a.len());
        let part = part.map(|panel: &Panel| panel.0.as_ptr());
        for (group, a) in a.iter().enumerate() {
            let mut seen = [[_mm512_setzero_si512(); WIDE]; STRIPES];
            for half in 0..2 {
                coming.ask();
                let places = rows.places(group * GROUP + half * HALF, HALF, tile, T);
                let a = a.0.as_ptr().wrapping_add(half * HALF * 4);
                // SAFETY: a panel has eight stripes of 32 quads; half a row of a quad starts within it;
                // panels are aligned to 64 bytes; `places` are eight rows of `T` tiles.
                unsafe { walk::<T>(places, a, part, &mut seen) };
            }
            let first = group * b.len() + tile;
            for (column, transcript) in transcripts[first..first + T].iter_mut().enumerate() {
                *transcript = xor_lanes(seen.map(|tiles| tiles[column]));
            }
        }
    });
}

/// Works through one segment of eight rows by `T` tiles, joins the XOR after each stripe with what was
/// `seen` of other rows, and adds the sums to their places.
///
/// # Safety
/// As for [`add_quads`] and [`add_to`]; there are as many stripes as `seen`.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn walk<const T: usize>(
    places: Places,
    a: *const u8,
    b: [*const u8; WIDE],
    seen: &mut [Wide],
) {
    let mut sums = [[_mm512_setzero_si512(); WIDE]; HALF];
    let (mut a, mut b) = (a, b);
    for seen in seen {
        // SAFETY: the caller's.
        sums = unsafe { add_quads::<T>(sums, a, b, STRIPE_QUADS) };
        for_tiles!(|TILE: T| {
            let mut all = seen[TILE];
            all = xor3(all, sums[0][TILE], sums[1][TILE]);
            all = xor3(all, sums[2][TILE], sums[3][TILE]);
            all = xor3(all, sums[4][TILE], sums[5][TILE]);
            seen[TILE] = xor3(all, sums[6][TILE], sums[7][TILE]);
        });
        a = a.wrapping_add(STRIPE_BYTES);
        b = b.map(|b| b.wrapping_add(STRIPE_BYTES));
    }
    // SAFETY: the caller's.
    unsafe { add_to::<T>(places, &sums) };
}

#[inline]
#[target_feature(enable = "avx512f")]
fn xor3(x: __m512i, y: __m512i, z: __m512i) -> __m512i {
    _mm512_ternarylogic_epi32::<0x96>(x, y, z)
}

/// The XOR of each vector's sixteen lanes.
#[inline]
#[target_feature(enable = "avx512f")]
fn xor_lanes(seen: [__m512i; STRIPES]) -> Transcript {
    // Within each quarter of a vector: four lanes of two vectors become two, of four vectors one.
    let pair = |x, y| _mm512_xor_si512(_mm512_unpacklo_epi32(x, y), _mm512_unpackhi_epi32(x, y));
    let four = |[w, x, y, z]: [__m512i; 4]| {
        let (p, q) = (pair(w, x), pair(y, z));
        let quarters = _mm512_xor_si512(_mm512_unpacklo_epi64(p, q), _mm512_unpackhi_epi64(p, q));
        let high = _mm512_extracti64x4_epi64::<1>(quarters);
        _mm256_xor_si256(_mm512_castsi512_si256(quarters), high)
    };
    let [p, q, r, s, t, u, v, w] = seen;
    let (x, y) = (four([p, q, r, s]), four([t, u, v, w]));
    let low = _mm256_permute2x128_si256::<0x20>(x, y);
    let words = _mm256_xor_si256(low, _mm256_permute2x128_si256::<0x31>(x, y));
    let mut transcript = [0; STRIPES];
    // SAFETY: 32 bytes are written to eight numbers, at any alignment.
    unsafe { _mm256_storeu_si256(transcript.as_mut_ptr().cast(), words) };
    transcript
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
    b: [&Trace; WIDE],
    corrections: &[[i32; GROUP]],
    rows: &mut Rows<'_>,
    tile: usize,
) {
    for half in 0..2 {
        let from = |digit: usize| a.0[digit].as_ptr().wrapping_add(half * HALF * 4);
        let zero = [[_mm512_setzero_si512(); WIDE]; HALF];
        let to = |digit: usize| b.map(|trace| trace.0[digit].as_ptr());
        // SAFETY: each part of a trace has 32 quads; traces, and so their parts, are aligned to 64 bytes.
        let mut sums = unsafe { add_quads::<T>(zero, from(0), to(0), STRIPE_QUADS) };
        // SAFETY: as above.
        sums = unsafe { add_quads::<T>(sums, from(1), to(1), STRIPE_QUADS) };
        // Times 255.
        for_rows!(|ROW| {
            for_tiles!(|TILE: T| {
                let sum = sums[ROW][TILE];
                sums[ROW][TILE] = _mm512_sub_epi32(_mm512_slli_epi32::<8>(sum), sum);
            });
        });
        // SAFETY: as above.
        sums = unsafe { add_quads::<T>(sums, from(2), to(0), STRIPE_QUADS) };
        // SAFETY: as above.
        sums = unsafe { add_quads::<T>(sums, from(1), to(2), STRIPE_QUADS) };
        for_tiles!(|TILE: T| {
            // SAFETY: 64 bytes are read from a reference to 64 bytes, at any alignment.
            let correction = unsafe { _mm512_loadu_si512(corrections[TILE].as_ptr().cast()) };
            for_rows!(|ROW| {
                sums[ROW][TILE] = _mm512_sub_epi32(correction, sums[ROW][TILE]);
            });
        });
        let places = rows.places(half * HALF, HALF, tile, T);
        // SAFETY: these are eight rows of `T` tiles.
        unsafe { store::<T>(places, &sums) };
    }
}
