//! Logarithms and powers of two in fixed point, by integers alone.
//!
//! Difficulty and weight live on a logarithmic scale: an `i64` counts units of 2^-32. Every node
//! must get the same bits, so both directions are one published routine each, pinned by vectors.

use alloy_primitives::U256;

/// One, on the logarithmic scale: 2^32 units.
pub const ONE: i64 = 1 << 32;

/// `⌊2^(2^-i) · 2^63⌋` for i = 1 … 32, by integer square roots of 2.
const ROOTS: [u64; 32] = [
    0xb504f333f9de6484,
    0x9837f0518db8a96f,
    0x8b95c1e3ea8bd6e6,
    0x85aac367cc487b14,
    0x82cd8698ac2ba1d7,
    0x8164d1f3bc030773,
    0x80b1ed4fd999ab6c,
    0x8058d7d2d5e5f6b0,
    0x802c6436d0e04f50,
    0x8016302f17467628,
    0x800b179c82028fd0,
    0x80058baf7fee3b5d,
    0x8002c5d00fdcfcb6,
    0x800162e61bed4a48,
    0x8000b17292f702a3,
    0x800058b92abbae02,
    0x80002c5c8dade4d7,
    0x8000162e44eaf636,
    0x80000b1721fa7c18,
    0x8000058b90de7e4c,
    0x800002c5c8678f36,
    0x80000162e431db9f,
    0x800000b1721872d0,
    0x80000058b90c1aa8,
    0x8000002c5c8605a4,
    0x800000162e4300e6,
    0x8000000b17217ff8,
    0x800000058b90bfdd,
    0x80000002c5c85fe6,
    0x8000000162e42ff1,
    0x80000000b17217f8,
    0x8000000058b90bfc,
];

/// The logarithm to base 2 of a positive integer, in units of 2^-32; zero counts as one.
///
/// The mantissa is normalised to 63 fractional bits and squared 32 times; each squaring that
/// reaches 2 yields a one bit. Every product floors.
#[must_use]
pub fn log2(value: u128) -> i64 {
    let Some(whole) = value.checked_ilog2() else { return 0 };
    let mut mantissa = if whole >= 63 { value >> (whole - 63) } else { value << (63 - whole) };
    let mut log = i64::from(whole);
    for _ in 0..32 {
        mantissa = mantissa.wrapping_mul(mantissa) >> 63;
        let bit = mantissa >> 64;
        mantissa >>= bit;
        log = (log << 1) | i64::from(bit == 1);
    }
    log
}

/// `⌊2^x⌋` for x in units of 2^-32; 0 below zero, the greatest value from 256 on.
///
/// The fraction's bits select factors of a table; every product floors to 63 fractional bits.
#[must_use]
pub fn exp2(x: i64) -> U256 {
    if x < 0 {
        return U256::ZERO;
    }
    let (whole, fraction) = (x >> 32, x & (ONE - 1));
    if whole >= 256 {
        return U256::MAX;
    }
    let mut mantissa = 1u128 << 63;
    for (root, bit) in ROOTS.iter().zip((0..32).rev()) {
        if (fraction >> bit) & 1 == 1 {
            mantissa = mantissa.wrapping_mul(u128::from(*root)) >> 63;
        }
    }
    let mantissa = U256::from(mantissa);
    let whole = usize::try_from(whole).unwrap_or_default();
    if whole >= 63 { mantissa << (whole - 63) } else { mantissa >> (63 - whole) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn logarithms_keep_their_vectors() {
        let check = |value: u128, expected: i64| assert_eq!(log2(value), expected, "log2 {value}");
        check(0, 0);
        check(1, 0);
        check(2, ONE);
        check(3, 6_807_362_105);
        check(10, 14_267_572_527);
        check(65_536, 16 * ONE);
        check(1 << 127, 127 * ONE);
        check(u128::MAX, 128 * ONE - 1);
    }

    #[test]
    fn powers_keep_their_vectors() {
        let check = |x: i64, expected: u128| {
            assert_eq!(exp2(x), U256::from(expected), "exp2 {x}");
        };
        check(-1, 0);
        check(0, 1);
        check(ONE, 2);
        check(ONE + ONE / 2, 2);
        check(10 * ONE + ONE / 2, 1_448);
        check(64 * ONE + ONE / 2, 26_087_635_650_665_564_424);
        check(127 * ONE, 1 << 127);
        assert_eq!(exp2(256 * ONE), U256::MAX);
        assert_eq!(exp2(255 * ONE), U256::from(1) << 255);
    }

    proptest! {
        #[test]
        fn a_power_undoes_a_logarithm(value in 1u128..) {
            let back = exp2(log2(value));
            let exact = U256::from(value);
            prop_assert!(back <= exact);
            // One unit of 2^-32 and the floors of the products.
            prop_assert!(exact - back <= (exact >> 31) + U256::from(1));
        }

        #[test]
        fn powers_never_fall(x in 0..255 * ONE, step in 0..ONE) {
            prop_assert!(exp2(x) <= exp2(x + step));
        }
    }
}
