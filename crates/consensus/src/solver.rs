//! A solver for Equihash (n, k): Wagner's algorithm for the generalised birthday problem.
//!
//! Each row is the XOR of some leaf hashes that agree in the bits sorted out so far. A round sorts
//! the rows by their next n/(k+1) bits and joins every pair that agrees; the last round asks for
//! two groups at once. Indices are not carried along: a row remembers its two parents.

use alloy_primitives::B256;
use blake2b_simd::Params;

use crate::lane_zero::{HashClaim, Puzzle};

/// A hash of up to 192 bits, first bit first.
type Bits = [u64; 3];

/// How many rows a round may keep, as a multiple of the first round's.
const GROWTH: usize = 8;

#[derive(Clone, Copy, Debug)]
struct Row {
    bits: Bits,
    left: u32,
    right: u32,
}

/// Equihash parameters that the solver cannot serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "Equihash ({n}, {k}): n must be a multiple of 8 and of k + 1, at most 192, n/(k+1) in 8..=24, k in 3..=9"
)]
pub struct UnservedParameters {
    n: u32,
    k: u32,
}

/// Solves Equihash for one pair of parameters.
#[derive(Clone, Copy, Debug)]
pub struct Solver {
    n: u32,
    k: u32,
    digit: u32,
}

impl Solver {
    /// For (n, k).
    ///
    /// # Errors
    /// [`UnservedParameters`].
    pub fn new(n: u32, k: u32) -> Result<Self, UnservedParameters> {
        let digit = n.checked_div(k.saturating_add(1)).unwrap_or_default();
        let divides = digit.checked_mul(k.saturating_add(1)) == Some(n);
        if n.is_multiple_of(8)
            && n <= 192
            && divides
            && (3..=9).contains(&k)
            && (8..=24).contains(&digit)
        {
            Ok(Self { n, k, digit })
        } else {
            Err(UnservedParameters { n, k })
        }
    }

    /// Every solution for a puzzle and nonce that this solver finds, in the minimal encoding.
    ///
    /// Each is distinct and ordered, but not checked: the caller has the verifier do that.
    #[must_use]
    pub fn solve(&self, puzzle: &Puzzle, nonce: B256) -> Vec<HashClaim> {
        self.solve_input(puzzle.input(), nonce.as_slice())
            .into_iter()
            .map(|solution| HashClaim { nonce, solution })
            .collect()
    }

    /// [`Solver::solve`] over raw bytes.
    #[must_use]
    pub fn solve_input(&self, input: &[u8], nonce: &[u8]) -> Vec<Vec<u8>> {
        let mut rounds = vec![self.leaves(input, nonce)];
        for round in 0..self.k {
            let last = round + 1 == self.k;
            let Some(rows) = rounds.last() else { break };
            let next = self.join(rows, round, last);
            rounds.push(next);
        }
        let Some(found) = rounds.pop() else { return Vec::new() };
        let mut solutions: Vec<Vec<u8>> = found
            .iter()
            .filter_map(|row| {
                let indices = self.indices(&rounds, row)?;
                Some(self.minimal(&indices))
            })
            .collect();
        solutions.sort_unstable();
        solutions.dedup();
        solutions
    }

    fn leaves(&self, input: &[u8], nonce: &[u8]) -> Vec<Row> {
        let per_hash = 512 / self.n;
        let leaf_bytes = usize::try_from(self.n / 8).unwrap_or_default();
        let hash_bytes = leaf_bytes * usize::try_from(per_hash).unwrap_or_default();
        let mut personal = [0; 16];
        personal[..8].copy_from_slice(b"ZcashPoW");
        personal[8..12].copy_from_slice(&self.n.to_le_bytes());
        personal[12..].copy_from_slice(&self.k.to_le_bytes());
        let mut base = Params::new().hash_length(hash_bytes).personal(&personal).to_state();
        base.update(input).update(nonce);
        let count = 1u32 << (self.digit + 1);
        let mut rows = Vec::with_capacity(usize::try_from(count).unwrap_or_default());
        for block in 0..count.div_ceil(per_hash) {
            let hash = base.clone().update(&block.to_le_bytes()).finalize();
            for (leaf, index) in hash.as_bytes().chunks_exact(leaf_bytes).zip(block * per_hash..) {
                if index < count {
                    rows.push(Row { bits: load(leaf), left: index, right: index });
                }
            }
        }
        rows
    }

    /// Joins the rows that agree in the group of bits of this round, in both last groups if last.
    fn join(&self, rows: &[Row], round: u32, last: bool) -> Vec<Row> {
        let buckets = 1usize << self.digit;
        let key = |row: &Row| group(&row.bits, round * self.digit, self.digit);
        // A counting sort: `starts[b]` is where bucket b begins in `order`.
        let mut starts = vec![0u32; buckets + 1];
        for row in rows {
            starts[key(row) + 1] += 1;
        }
        for bucket in 0..buckets {
            starts[bucket + 1] += starts[bucket];
        }
        let mut order = vec![0u32; rows.len()];
        let mut next = starts.clone();
        for (place, row) in (0u32..).zip(rows) {
            let slot = &mut next[key(row)];
            order[at(*slot)] = place;
            *slot += 1;
        }
        let limit = GROWTH << (self.digit + 1);
        let mut joined = Vec::with_capacity(if last { 16 } else { rows.len() });
        for bucket in 0..buckets {
            let members = &order[at(starts[bucket])..at(starts[bucket + 1])];
            for (rank, &left) in members.iter().enumerate() {
                for &right in &members[rank + 1..] {
                    let bits = xor(&rows[at(left)].bits, &rows[at(right)].bits);
                    let zero = bits == [0; 3];
                    // Before the last round, a zero comes from two equal sets of leaves.
                    if zero == last {
                        joined.push(Row { bits, left, right });
                    }
                    if joined.len() >= limit {
                        return joined;
                    }
                }
            }
        }
        joined
    }

    /// The leaves below a row of the last round, in the order that Equihash asks for; none where
    /// a leaf is used twice.
    fn indices(&self, rounds: &[Vec<Row>], row: &Row) -> Option<Vec<u32>> {
        let indices = descend(rounds, row)?;
        let mut sorted = indices.clone();
        sorted.sort_unstable();
        sorted.windows(2).all(|pair| pair[0] != pair[1]).then_some(indices)
    }

    /// Indices of n/(k+1) + 1 bits each, most significant bit first.
    fn minimal(&self, indices: &[u32]) -> Vec<u8> {
        let width = self.digit + 1;
        let (mut held, mut bits) = (0u64, 0u32);
        let mut out = Vec::with_capacity(indices.len() * at(width) / 8);
        for &index in indices {
            held = (held << width) | u64::from(index);
            bits += width;
            while bits >= 8 {
                bits -= 8;
                out.push(u8::try_from((held >> bits) & 0xff).unwrap_or_default());
            }
        }
        out
    }
}

fn descend(rounds: &[Vec<Row>], row: &Row) -> Option<Vec<u32>> {
    let Some((rows, below)) = rounds.split_last() else { return Some(vec![row.left]) };
    let mut left = descend(below, rows.get(at(row.left))?)?;
    let mut right = descend(below, rows.get(at(row.right))?)?;
    if right.first() < left.first() {
        core::mem::swap(&mut left, &mut right);
    }
    left.append(&mut right);
    Some(left)
}

/// An index as a place in a slice.
fn at(index: u32) -> usize {
    usize::try_from(index).unwrap_or(usize::MAX)
}

fn xor(a: &Bits, b: &Bits) -> Bits {
    [a[0] ^ b[0], a[1] ^ b[1], a[2] ^ b[2]]
}

fn load(bytes: &[u8]) -> Bits {
    let mut padded = [0; 24];
    padded[..bytes.len()].copy_from_slice(bytes);
    let word = |from: usize| {
        let mut word = [0; 8];
        word.copy_from_slice(&padded[from..from + 8]);
        u64::from_be_bytes(word)
    };
    [word(0), word(8), word(16)]
}

/// `count` bits from bit `from` on, at most 32.
fn group(bits: &Bits, from: u32, count: u32) -> usize {
    let (word, offset) = (at(from / 64), from % 64);
    let high = bits[word] << offset;
    let low = match bits.get(word + 1) {
        Some(next) if offset > 0 => next >> (64 - offset),
        _ => 0,
    };
    usize::try_from((high | low) >> (64 - count)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use pouw_types::LaneZero;

    use super::*;

    fn check(n: u32, k: u32, nonces: u64) -> usize {
        let solver = Solver::new(n, k).unwrap();
        let parameters = LaneZero { n, k, genesis_level: 0 };
        let puzzle = Puzzle::new(1, parameters, B256::repeat_byte(1));
        let mut found = 0;
        for nonce in 0..nonces {
            let nonce = B256::left_padding_from(&nonce.to_be_bytes());
            for claim in solver.solve(&puzzle, nonce) {
                assert_eq!(puzzle.check_solution(&claim), Ok(()), "({n}, {k})");
                found += 1;
            }
        }
        found
    }

    #[test]
    fn every_solution_of_48_5_verifies_and_they_are_as_many_as_expected() {
        let found = check(48, 5, 100);
        assert!((40..400).contains(&found), "{found} solutions of 100 nonces");
    }

    #[test]
    fn every_solution_of_96_5_verifies() {
        let found = check(96, 5, 2);
        assert!(found >= 1, "{found} solutions of 2 nonces");
    }

    #[test]
    fn other_parameters_with_bytes_across_words_verify() {
        assert!(check(72, 5, 3) >= 1);
        assert!(check(48, 3, 3) >= 1);
    }

    #[test]
    fn parameters_out_of_reach_are_refused() {
        for (n, k) in [(0, 0), (125, 4), (47, 5), (200, 9), (48, 2), (192, 5), (u32::MAX, 5)] {
            assert!(Solver::new(n, k).is_err(), "({n}, {k})");
        }
    }
}
