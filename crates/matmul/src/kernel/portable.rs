//! Plain Rust, laid out so that compilers vectorise it.

use crate::kernel::{Group, Kernel, Prepared, Rows, Transcript};
use crate::panel::{
    BASE, Panel, QUAD, STRIPE_QUADS, Trace, columns_of, corrections, left_trace, pack, prepare,
    right_trace, transpose_portable,
};
use crate::shape::{GROUP, SEGMENT};

pub(super) const KERNEL: Kernel = Kernel {
    mine,
    multiply,
    denoise,
    prepare: |group, panels| prepare_with(group, panels, transpose_portable),
    pack: |lines, k, raise, panels| pack(lines, k, raise, panels, transpose_portable),
    top_words,
};

/// A tile's accumulators.
type Sums = [[i32; GROUP]; GROUP];

/// Adds the products of two quads.
#[inline(always)]
fn add_quad(sums: &mut Sums, a: &[u8; QUAD], b: &[u8; QUAD]) {
    let b: [i16; QUAD] = std::array::from_fn(|place| i16::from(b[place].cast_signed()));
    for (sums, a) in sums.iter_mut().zip(a.as_chunks::<4>().0) {
        let a = a.map(i16::from);
        for (sum, b) in sums.iter_mut().zip(b.as_chunks::<4>().0) {
            let product = |place: usize| i32::from(a[place]).wrapping_mul(i32::from(b[place]));
            let pair = |place| product(place).wrapping_add(product(place + 1));
            *sum = sum.wrapping_add(pair(0)).wrapping_add(pair(2));
        }
    }
}

#[inline(always)]
fn add_quads(sums: &mut Sums, a: &[u8], b: &[u8]) {
    for (a, b) in a.as_chunks::<QUAD>().0.iter().zip(b.as_chunks::<QUAD>().0) {
        add_quad(sums, a, b);
    }
}

/// Puts a tile's sums into the product, from a row on.
#[inline(always)]
fn store(
    rows: &mut Rows<'_>,
    first: usize,
    tile: usize,
    sums: &Sums,
    join: impl Fn(i32, i32) -> i32,
) {
    for (row, sums) in (first..).zip(sums) {
        for (value, sum) in rows.place(row, tile).iter_mut().zip(sums) {
            *value = join(*value, *sum);
        }
    }
}

fn mine(a: &[Panel], b: &[Panel], rows: &mut Rows<'_>, transcripts: &mut [Transcript]) {
    for ((group, a), transcripts) in a.iter().enumerate().zip(transcripts.chunks_mut(b.len())) {
        for ((tile, b), seen) in b.iter().enumerate().zip(transcripts) {
            let mut sums = [[0; GROUP]; GROUP];
            let stripes = STRIPE_QUADS * QUAD;
            let parts = a.0.chunks_exact(stripes).zip(b.0.chunks_exact(stripes));
            for ((a, b), seen) in parts.zip(seen) {
                add_quads(&mut sums, a, b);
                *seen = sums.as_flattened().iter().fold(0, |seen, sum| seen ^ sum.cast_unsigned());
            }
            store(rows, group * GROUP, tile, &sums, i32::wrapping_add);
        }
    }
}

pub(super) fn multiply(a: &[Panel], b: &[Panel], quads: usize, rows: &mut Rows<'_>) {
    let bytes = QUAD * quads.min(SEGMENT / 4);
    for (group, a) in a.iter().enumerate() {
        for (tile, b) in b.iter().enumerate() {
            let mut sums = [[0; GROUP]; GROUP];
            add_quads(&mut sums, &a.0[..bytes], &b.0[..bytes]);
            store(rows, group * GROUP, tile, &sums, i32::wrapping_add);
        }
    }
}

fn denoise(a: &Trace, b: &[Trace], corrections: &[[i32; GROUP]], rows: &mut Rows<'_>) {
    let [u_high, e, u_low] = &a.0;
    for ((tile, b), corrections) in b.iter().enumerate().zip(corrections) {
        let [f, v_high, v_low] = &b.0;
        let mut sums = [[0; GROUP]; GROUP];
        add_quads(&mut sums, u_high, f);
        add_quads(&mut sums, e, v_high);
        for sum in sums.as_flattened_mut() {
            *sum = sum.wrapping_mul(BASE);
        }
        add_quads(&mut sums, u_low, f);
        add_quads(&mut sums, e, v_low);
        for sums in &mut sums {
            for (sum, correction) in sums.iter_mut().zip(corrections) {
                *sum = correction.wrapping_sub(*sum);
            }
        }
        store(rows, 0, tile, &sums, |_, sum| sum);
    }
}

/// Prepares a group with a way to transpose sixteen by sixteen entries.
#[inline(always)]
pub(super) fn prepare_with(
    group: Group<'_>,
    panels: &mut [&mut Panel],
    transpose: impl Fn(&[i8], usize, usize) -> [[i8; GROUP]; GROUP],
) -> Prepared {
    let noise = columns_of(group.noise);
    let place = |segment: usize, stripe: usize, block: &[u8; STRIPE_QUADS * QUAD]| {
        if let Some(panel) = panels.get_mut(segment) {
            panel.0[stripe * block.len()..(stripe + 1) * block.len()].copy_from_slice(block);
        }
    };
    let sums = prepare(group.lines, group.k, &noise, group.recipe, place, transpose);
    let trace = if group.right { right_trace(&sums, &noise) } else { left_trace(&sums, &noise) };
    Prepared { trace, corrections: corrections(&sums, &noise) }
}

/// BLAKE3's order of message words from one round to the next.
const ORDER: [usize; 16] = [2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8];
pub(super) const IV: [u32; 4] = [0x6A09_E667, 0xBB67_AE85, 0x3C6E_F372, 0xA54F_F53A];
/// Keyed, first and last block of the first and last chunk, root.
pub(super) const FLAGS: u32 = 1 << 4 | 1 | 1 << 1 | 1 << 3;

type Lanes = [u32; GROUP];

/// BLAKE3, keyed, of sixteen single blocks at once; the last of the eight words of each hash.
#[inline(always)]
pub(super) fn top_words(key: &[u32; 8], words: &[Lanes; 11]) -> Lanes {
    let mut message = [[0; GROUP]; 16];
    message[..11].copy_from_slice(words);
    let mut state = [[0; GROUP]; 16];
    for (state, key) in state.iter_mut().zip(key) {
        *state = [*key; GROUP];
    }
    for (state, word) in state[8..].iter_mut().zip(IV.into_iter().chain([0, 0, 64, FLAGS])) {
        *state = [word; GROUP];
    }
    for round in 0..7 {
        for (place, [a, b, c, d]) in MIXES.into_iter().enumerate() {
            mix(&mut state, [a, b, c, d], &message[2 * place], &message[2 * place + 1]);
        }
        if round < 6 {
            message = ORDER.map(|place| message[place]);
        }
    }
    std::array::from_fn(|lane| state[7][lane] ^ state[15][lane])
}

const MIXES: [[usize; 4]; 8] = [
    [0, 4, 8, 12],
    [1, 5, 9, 13],
    [2, 6, 10, 14],
    [3, 7, 11, 15],
    [0, 5, 10, 15],
    [1, 6, 11, 12],
    [2, 7, 8, 13],
    [3, 4, 9, 14],
];

#[inline(always)]
fn mix(state: &mut [Lanes; 16], [a, b, c, d]: [usize; 4], x: &Lanes, y: &Lanes) {
    let add = |p: Lanes, q: &Lanes| -> Lanes {
        std::array::from_fn(|lane| p[lane].wrapping_add(q[lane]))
    };
    let turn = |p: &Lanes, q: &Lanes, bits: u32| -> Lanes {
        std::array::from_fn(|lane| (p[lane] ^ q[lane]).rotate_right(bits))
    };
    for (message, first, second) in [(x, 16, 12), (y, 8, 7)] {
        state[a] = add(add(state[a], &state[b]), message);
        state[d] = turn(&state[d], &state[a], first);
        state[c] = add(state[c], &state[d]);
        state[b] = turn(&state[b], &state[c], second);
    }
}
