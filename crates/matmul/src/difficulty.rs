//! M-7: what a winning ticket is.

use crate::hash::Digest;

/// Multiplications of a ticket, as a power of two.
const TICKET_BITS: u32 = 18;

/// D_1, the multiplications that a block is expected to take: 2^18 … 2^128 − 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Difficulty(u128);

/// Fewer than the multiplications of one ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("difficulty {0}: at least 262,144, the multiplications of one ticket")]
pub struct DifficultyError(pub u128);

/// T·2^18, which a winning ticket's value is below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    high: u128,
    low: u128,
}

impl Difficulty {
    /// Checks the bound that keeps T·2^18 below 2^256.
    ///
    /// # Errors
    /// Less than 2^18.
    pub const fn new(macs: u128) -> Result<Self, DifficultyError> {
        if macs < 1 << TICKET_BITS { Err(DifficultyError(macs)) } else { Ok(Self(macs)) }
    }

    /// Expected multiplications a win.
    #[must_use]
    pub const fn macs(self) -> u128 {
        self.0
    }

    /// `⌊(2^256 − 1)/D_1⌋·2^18`.
    #[must_use]
    pub const fn target(self) -> Target {
        let high = u128::MAX / self.0;
        let mut rest = u128::MAX % self.0;
        let mut low = 0;
        let mut bit = 0;
        // Long division of the lower half; all its bits are ones.
        while bit < 128 {
            let carry = rest >> 127;
            rest = rest << 1 | 1;
            low <<= 1;
            if carry == 1 || rest >= self.0 {
                rest = rest.wrapping_sub(self.0);
                low |= 1;
            }
            bit += 1;
        }
        // T < 2^238, as D_1 ≥ 2^18: nothing is shifted out.
        Target { high: high << TICKET_BITS | low >> (128 - TICKET_BITS), low: low << TICKET_BITS }
    }
}

impl Target {
    /// Whether a ticket's value wins.
    #[must_use]
    pub fn is_met(&self, value: &Digest) -> bool {
        let (high, low) = halves(value);
        (high, low) < (self.high, self.low)
    }

    /// The top 32 bits: a ticket whose top word is above them cannot win.
    #[must_use]
    pub const fn top_word(&self) -> u32 {
        (self.high >> 96) as u32
    }
}

fn halves(value: &Digest) -> (u128, u128) {
    let (parts, _) = value.as_chunks::<16>();
    let half = |place| parts.get(place).map_or(0, |bytes| u128::from_le_bytes(*bytes));
    (half(1), half(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(macs: u128) -> (u128, u128) {
        let target = Difficulty::new(macs).unwrap().target();
        (target.high, target.low)
    }

    #[test]
    fn m7_the_target_cannot_overflow() {
        assert_eq!(Difficulty::new((1 << 18) - 1), Err(DifficultyError((1 << 18) - 1)));
        assert!(Difficulty::new(0).is_err());
        // T = 2^238 − 1 at the least difficulty: all but the last 2^18 values win.
        assert_eq!(target(1 << 18), (u128::MAX, u128::MAX << 18));
        assert_eq!(target(1 << 127), (((1 << 18) << 1) - 1, u128::MAX << 18));
        assert_eq!(target(u128::MAX), (1 << 18, 1 << 18));
    }

    #[test]
    fn m7_the_quotient_is_that_of_long_division() {
        // 2^256 − 1 = 3·q, q = 0x5555…; times 2^18, D = 3·2^18 has ⌊q/2^18⌋.
        let q = 0x5555_5555_5555_5555_5555_5555_5555_5555_u128;
        assert_eq!(target(3 << 18), (q, q >> 18 << 18));
    }

    #[test]
    fn m7_values_are_little_endian_and_strictly_below() {
        let target = Difficulty::new(1 << 127).unwrap().target();
        let mut value = [0; 32];
        assert!(target.is_met(&value));
        value[..16].copy_from_slice(&target.low.to_le_bytes());
        value[16..].copy_from_slice(&target.high.to_le_bytes());
        assert!(!target.is_met(&value));
        value[0] = 0;
        value[2] -= 1;
        assert!(target.is_met(&value));
    }
}
