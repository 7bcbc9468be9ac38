//! Chance, from a seed that means the same on every machine and in every version.

/// A `SplitMix64` generator.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    /// From a seed; `stream` makes independent ones of the same seed.
    #[must_use]
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        let mut dice = Self(seed ^ stream.wrapping_mul(0xd134_2543_de82_ef95));
        dice.word();
        dice
    }

    /// 64 bits.
    pub(crate) fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// Uniform in (0, 1].
    pub(crate) fn unit(&mut self) -> f64 {
        unit(self.word())
    }

    /// Exponentially distributed with this mean; infinite where the mean is.
    pub(crate) fn exponential(&mut self, mean: f64) -> f64 {
        -self.unit().ln() * mean
    }

    /// Whether something of this probability happens.
    pub(crate) fn happens(&mut self, probability: f64) -> bool {
        self.unit() <= probability
    }

    /// How many trials up to and with the first success.
    pub(crate) fn trials(&mut self, probability: f64) -> f64 {
        if probability >= 1.0 {
            return 1.0;
        }
        (self.unit().ln() / (-probability).ln_1p()).floor() + 1.0
    }
}

/// Bits that depend on the value alone, so that nothing has to be stored for them.
#[must_use]
pub(crate) const fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// Uniform in (0, 1] from 64 bits.
#[must_use]
pub(crate) fn unit(word: u64) -> f64 {
    ((word >> 11) as f64 + 1.0) / 9_007_199_254_740_992.0
}
