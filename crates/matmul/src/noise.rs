//! M-5: the noise that a job adds to its operands.

use crate::hash::{
    Digest, LeftKey, NOISE_A, NOISE_B, PERMUTATION_A, PERMUTATION_B, RightKey, extend,
};
use crate::shape::{GROUP, STRIPE};

/// The noise of a group: 128 values in [−64, 63] a line. A stripe adds them in the order of its
/// permutation.
pub type Strip = [[i8; STRIPE]; GROUP];

/// An order of 0 … 127.
pub type Permutation = [u8; STRIPE];

/// E_L of a group of rows.
#[must_use]
pub(crate) fn left_strip(key: LeftKey, group: u32) -> Strip {
    strip(NOISE_A, &key.0, group)
}

/// F_R of a group of columns.
#[must_use]
pub(crate) fn right_strip(key: RightKey, group: u32) -> Strip {
    strip(NOISE_B, &key.0, group)
}

fn strip(context: &'static str, key: &Digest, group: u32) -> Strip {
    let mut bytes = [[0; STRIPE]; GROUP];
    extend(context, key, group, bytes.as_flattened_mut());
    bytes.map(|line| line.map(|byte| (byte & 127).cast_signed() - 64))
}

/// π and ρ of a run of stripes: which column of E_L, and which row of F_R, an inner index takes.
#[derive(Clone, Debug)]
pub struct Permutations {
    /// For A's noise.
    pub pi: Vec<Permutation>,
    /// For B's noise.
    pub rho: Vec<Permutation>,
}

impl Permutations {
    /// Those of the stripes in a range, counted over the whole inner size.
    #[must_use]
    pub fn derive(key: RightKey, stripes: std::ops::Range<u32>) -> Self {
        let all = |context| stripes.clone().map(|t| permutation(context, &key.0, t)).collect();
        Self { pi: all(PERMUTATION_A), rho: all(PERMUTATION_B) }
    }
}

/// Fisher and Yates' shuffle with 128 words of the extended output; word 0 is not used.
fn permutation(context: &'static str, key: &Digest, stripe: u32) -> Permutation {
    let mut bytes = [0; STRIPE * 4];
    extend(context, key, stripe, &mut bytes);
    let (words, _) = bytes.as_chunks::<4>();
    let mut order: Permutation = std::array::from_fn(|place| u8::try_from(place).unwrap_or(0));
    for (place, word) in words.iter().enumerate().skip(1).rev() {
        let scaled = u64::from(u32::from_le_bytes(*word)) * (place as u64 + 1);
        order.swap(place, (scaled >> 32) as usize);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn m5_a_permutation_has_every_index_once_so_the_noise_has_full_rank() {
        let permutations = Permutations::derive(RightKey([3; 32]), 0..64);
        for order in permutations.pi.iter().chain(&permutations.rho) {
            let mut sorted = *order;
            sorted.sort_unstable();
            assert!(sorted.iter().enumerate().all(|(place, value)| place == usize::from(*value)));
        }
        assert_ne!(permutations.pi[0], permutations.pi[1]);
        assert_ne!(permutations.pi[0], permutations.rho[0]);
    }

    #[test]
    fn m5_noise_keeps_operands_within_int8() {
        let strips = [left_strip(LeftKey([1; 32]), 5), right_strip(RightKey([1; 32]), 5)];
        let values = || strips.iter().flatten().flatten().copied();
        assert_eq!(values().min(), Some(-64));
        assert_eq!(values().max(), Some(63));
        assert_ne!(strips[0], strips[1]);
    }
}
