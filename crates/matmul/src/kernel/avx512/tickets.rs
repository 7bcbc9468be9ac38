//! BLAKE3, keyed, of sixteen tickets at once, with the whole state in registers.

use std::arch::x86_64::{
    __m512i, _mm512_add_epi32, _mm512_loadu_si512, _mm512_ror_epi32, _mm512_set1_epi32,
    _mm512_setzero_si512, _mm512_storeu_si512, _mm512_xor_si512,
};

use crate::kernel::portable::{FLAGS, IV};
use crate::shape::GROUP;

/// Mixes two message words into four words of the state.
macro_rules! mix {
    ($v:ident, $m:ident, $a:literal $b:literal $c:literal $d:literal, $x:literal $y:literal) => {
        $v[$a] = _mm512_add_epi32(_mm512_add_epi32($v[$a], $v[$b]), $m[$x]);
        $v[$d] = _mm512_ror_epi32::<16>(_mm512_xor_si512($v[$d], $v[$a]));
        $v[$c] = _mm512_add_epi32($v[$c], $v[$d]);
        $v[$b] = _mm512_ror_epi32::<12>(_mm512_xor_si512($v[$b], $v[$c]));
        $v[$a] = _mm512_add_epi32(_mm512_add_epi32($v[$a], $v[$b]), $m[$y]);
        $v[$d] = _mm512_ror_epi32::<8>(_mm512_xor_si512($v[$d], $v[$a]));
        $v[$c] = _mm512_add_epi32($v[$c], $v[$d]);
        $v[$b] = _mm512_ror_epi32::<7>(_mm512_xor_si512($v[$b], $v[$c]));
    };
}

/// One round. The order of the message words is written out: a message that is moved about in memory costs
/// more than the hash.
macro_rules! round {
    ($v:ident, $m:ident,
     [$a:literal $b:literal $c:literal $d:literal $e:literal $f:literal $g:literal $h:literal
      $i:literal $j:literal $k:literal $l:literal $n:literal $o:literal $p:literal $q:literal]) => {
        mix!($v, $m, 0 4 8 12, $a $b);
        mix!($v, $m, 1 5 9 13, $c $d);
        mix!($v, $m, 2 6 10 14, $e $f);
        mix!($v, $m, 3 7 11 15, $g $h);
        mix!($v, $m, 0 5 10 15, $i $j);
        mix!($v, $m, 1 6 11 12, $k $l);
        mix!($v, $m, 2 7 8 13, $n $o);
        mix!($v, $m, 3 4 9 14, $p $q);
    };
}

/// The last of the eight words of each hash.
#[target_feature(enable = "avx512f")]
pub(super) fn top_words(key: &[u32; 8], words: &[[u32; GROUP]; 11]) -> [u32; GROUP] {
    let same = |word: u32| _mm512_set1_epi32(word.cast_signed());
    let mut m = [_mm512_setzero_si512(); 16];
    for (message, word) in m.iter_mut().zip(words) {
        // SAFETY: 64 bytes are read from sixteen numbers, at any alignment.
        *message = unsafe { _mm512_loadu_si512(word.as_ptr().cast()) };
    }
    let [a, b, c, d, e, f, g, h] = key.map(same);
    let [w, x, y, z] = IV.map(same);
    let zero = _mm512_setzero_si512();
    let mut v: [__m512i; 16] =
        [a, b, c, d, e, f, g, h, w, x, y, z, zero, zero, same(64), same(FLAGS)];
    round!(v, m, [0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15]);
    round!(v, m, [2 6 3 10 7 0 4 13 1 11 12 5 9 14 15 8]);
    round!(v, m, [3 4 10 12 13 2 7 14 6 5 9 0 11 15 8 1]);
    round!(v, m, [10 7 12 9 14 3 13 15 4 0 11 2 5 8 1 6]);
    round!(v, m, [12 13 9 11 15 10 14 8 7 2 5 3 0 1 6 4]);
    round!(v, m, [9 14 11 5 8 12 15 1 13 3 0 10 2 6 4 7]);
    round!(v, m, [11 15 5 0 1 9 8 6 14 10 2 12 3 4 7 13]);
    let mut tops = [0; GROUP];
    let last = _mm512_xor_si512(v[7], v[15]);
    // SAFETY: 64 bytes are written to sixteen numbers, at any alignment.
    unsafe { _mm512_storeu_si512(tops.as_mut_ptr().cast(), last) };
    tops
}
