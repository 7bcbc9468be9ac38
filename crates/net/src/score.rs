//! What peers do wrong, what that costs them, and how much of anything they may send.

/// Points at which a peer is banned.
pub const BAN_AT: u32 = 100;
/// How long a ban lasts, milliseconds.
pub const BAN_MS: u64 = 3_600_000;
/// Time in which half of the points are forgiven, milliseconds.
const HALF_LIFE_MS: u64 = 600_000;

/// A misdeed of a peer (N-10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offence {
    /// Bytes that are no message.
    Malformed,
    /// A message where it has no place, such as a second greeting.
    OutOfTurn,
    /// An answer that nobody asked for.
    Unasked,
    /// A header that breaks a rule.
    InvalidHeader,
    /// A block that breaks a rule.
    InvalidBlock,
    /// A part that is not the block's.
    ForeignPart,
    /// A transaction that can't be valid.
    InvalidTransaction,
    /// Headers that don't follow what was asked for.
    Unconnected,
    /// A weight that its chain doesn't have.
    Lied,
    /// A part of a block that it announced, and does not have.
    Withheld,
    /// No answer in time.
    Stalled,
    /// More messages than anybody needs.
    Flooded,
}

impl Offence {
    /// What it costs. One that no honest program commits costs everything.
    #[must_use]
    pub const fn points(self) -> u32 {
        match self {
            Self::Malformed
            | Self::OutOfTurn
            | Self::Unasked
            | Self::InvalidHeader
            | Self::InvalidBlock
            | Self::ForeignPart
            | Self::InvalidTransaction => BAN_AT,
            Self::Unconnected | Self::Lied => 50,
            Self::Stalled | Self::Flooded => 25,
            Self::Withheld => 10,
        }
    }
}

/// A peer's points.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Score {
    points: u32,
    since_ms: u64,
}

impl Score {
    /// What is left of the points.
    #[must_use]
    pub fn at(self, now_ms: u64) -> u32 {
        let halvings = now_ms.saturating_sub(self.since_ms) / HALF_LIFE_MS;
        self.points.checked_shr(u32::try_from(halvings).unwrap_or(u32::MAX)).unwrap_or(0)
    }

    /// Adds a misdeed; true if the peer is to be banned.
    pub fn add(&mut self, now_ms: u64, offence: Offence) -> bool {
        self.count(now_ms, offence) >= BAN_AT
    }

    /// Adds a misdeed; the points that it makes.
    pub fn count(&mut self, now_ms: u64, offence: Offence) -> u32 {
        let points = self.at(now_ms).saturating_add(offence.points());
        *self = Self { points, since_ms: now_ms };
        points
    }
}

/// How much may come in a burst, and how much a second after it.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    capacity: u64,
    per_s: u64,
    /// Thousandths.
    level: u64,
    since_ms: u64,
}

impl Bucket {
    /// A full one.
    #[must_use]
    pub const fn new(capacity: u64, per_s: u64) -> Self {
        Self { capacity, per_s, level: capacity.saturating_mul(1_000), since_ms: 0 }
    }

    /// Takes out `amount`; false if there is less.
    pub fn take(&mut self, now_ms: u64, amount: usize) -> bool {
        let passed = now_ms.saturating_sub(self.since_ms);
        let full = self.capacity.saturating_mul(1_000);
        self.level = self.level.saturating_add(passed.saturating_mul(self.per_s)).min(full);
        self.since_ms = now_ms;
        let amount = u64::try_from(amount).unwrap_or(u64::MAX).saturating_mul(1_000);
        match self.level.checked_sub(amount) {
            Some(left) => {
                self.level = left;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn n10_points_add_up_to_a_ban_and_are_forgiven_with_time() {
        let mut score = Score::default();
        for _ in 0..3 {
            assert!(!score.add(1_000, Offence::Stalled));
        }
        assert_eq!(score.at(1_000 + HALF_LIFE_MS), 37);
        assert!(!score.add(1_000 + HALF_LIFE_MS, Offence::Stalled), "37 + 25");
        assert_eq!(score.at(u64::MAX), 0);
        assert!(Score::default().add(0, Offence::Malformed), "no honest program does that");
    }

    #[test]
    fn a_bucket_lets_through_what_was_promised_and_no_more() {
        let mut bucket = Bucket::new(10, 2);
        assert!((0..10).all(|_| bucket.take(5_000, 1)));
        assert!(!bucket.take(5_400, 1));
        assert!(bucket.take(5_500, 1), "two a second");
        assert!(!bucket.take(5_500, 1));
        assert!(!bucket.take(u64::MAX, 11) && bucket.take(u64::MAX, 10), "never above a burst");
    }
}
