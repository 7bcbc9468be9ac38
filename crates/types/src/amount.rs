//! Money.

use core::fmt;
use core::str::FromStr;

use alloy_primitives::U256;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An amount of money, exact.
///
/// # Units
/// atto-FLUX: 1 FLUX = 10^18 of them. Written and serialized for people as decimal FLUX
/// (`"1.25"`), so that no reader loses digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount(u128);

/// A sum, difference or product left the range of [`Amount`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("amount out of range: {0}")]
pub struct AmountError(&'static str);

/// A text is not an amount.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseAmountError {
    /// Neither digits nor a decimal point.
    #[error("`{0}` is not an amount: write digits with at most one point, such as 1.25")]
    Malformed(String),
    /// More decimals than the smallest unit has.
    #[error("`{0}` has more than 18 decimals, the smallest unit is 0.000000000000000001")]
    TooPrecise(String),
    /// Does not fit.
    #[error("`{0}` is larger than any amount")]
    TooLarge(String),
}

const DECIMALS: usize = 18;
const ONE: u128 = 1_000_000_000_000_000_000;

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// The greatest representable amount.
    pub const MAX: Self = Self(u128::MAX);

    /// From atto-FLUX.
    #[must_use]
    pub const fn from_atto(atto: u128) -> Self {
        Self(atto)
    }

    /// From whole FLUX.
    ///
    /// # Panics
    /// If the result does not fit; meant for constants.
    #[must_use]
    pub const fn from_flux(flux: u64) -> Self {
        match ONE.checked_mul(u128_from(flux)) {
            Some(atto) => Self(atto),
            None => panic!("a u64 of FLUX fits: 2^64 * 10^18 < 2^128"),
        }
    }

    /// In atto-FLUX.
    #[must_use]
    pub const fn atto(self) -> u128 {
        self.0
    }

    /// As an Ethereum word.
    #[must_use]
    pub fn to_u256(self) -> U256 {
        U256::from(self.0)
    }

    /// From an Ethereum word.
    ///
    /// # Errors
    /// [`AmountError`] above `u128`.
    pub fn from_u256(value: U256) -> Result<Self, AmountError> {
        u128::try_from(value).map(Self).map_err(|_| AmountError("value above 2^128"))
    }

    /// Whether this is nothing.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// The sum.
    ///
    /// # Errors
    /// [`AmountError`] on overflow.
    pub fn checked_add(self, other: Self) -> Result<Self, AmountError> {
        self.0.checked_add(other.0).map(Self).ok_or(AmountError("sum above 2^128"))
    }

    /// The difference.
    ///
    /// # Errors
    /// [`AmountError`] where it would be negative.
    pub fn checked_sub(self, other: Self) -> Result<Self, AmountError> {
        self.0.checked_sub(other.0).map(Self).ok_or(AmountError("difference below 0"))
    }

    /// The difference, or nothing where it would be negative.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// The product with a count.
    ///
    /// # Errors
    /// [`AmountError`] on overflow.
    pub fn checked_mul(self, count: u128) -> Result<Self, AmountError> {
        self.0.checked_mul(count).map(Self).ok_or(AmountError("product above 2^128"))
    }

    /// This many parts in a million of the amount, rounded down.
    #[must_use]
    pub fn ppm(self, ppm: u32) -> Self {
        const MILLION: u128 = 1_000_000;
        let product = U256::from(self.0).saturating_mul(U256::from(ppm));
        let part = product.checked_div(U256::from(MILLION)).unwrap_or_default();
        Self(u128::try_from(part).unwrap_or(u128::MAX))
    }

    /// The amount with at most this many decimals, rounded down, for people.
    #[must_use]
    pub fn rounded(self, decimals: usize) -> String {
        let exact = self.to_string();
        match exact.split_once('.') {
            Some((whole, fraction)) => {
                let kept: String = fraction.chars().take(decimals).collect();
                let kept = kept.trim_end_matches('0');
                if kept.is_empty() { whole.to_owned() } else { format!("{whole}.{kept}") }
            }
            None => exact,
        }
    }
}

const fn u128_from(value: u64) -> u128 {
    #[expect(clippy::as_conversions, reason = "From is not const")]
    {
        value as u128
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = self.0.checked_div(ONE).unwrap_or(0);
        let fraction = self.0.checked_rem(ONE).unwrap_or(0);
        if fraction == 0 {
            return f.pad(&whole.to_string());
        }
        let digits = format!("{fraction:018}");
        f.pad(&format!("{whole}.{}", digits.trim_end_matches('0')))
    }
}

impl FromStr for Amount {
    type Err = ParseAmountError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let malformed = || ParseAmountError::Malformed(text.to_owned());
        let too_large = || ParseAmountError::TooLarge(text.to_owned());
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || !digits(whole) || !digits(fraction) || text.ends_with('.') {
            return Err(malformed());
        }
        if fraction.len() > DECIMALS {
            return Err(ParseAmountError::TooPrecise(text.to_owned()));
        }
        let whole: u128 = whole.parse().map_err(|_| too_large())?;
        let fraction: u128 = format!("{fraction:0<18}").parse().map_err(|_| malformed())?;
        whole.checked_mul(ONE).and_then(|w| w.checked_add(fraction)).map(Self).ok_or_else(too_large)
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn amounts_read_as_people_write_them() {
        let check = |text: &str, expected: Result<u128, &str>| match (text.parse(), expected) {
            (Ok(Amount(got)), Ok(want)) => assert_eq!(got, want, "{text}"),
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
            (got, want) => panic!("{text}: got {got:?}, expected {want:?}"),
        };
        check("1.25", Ok(1_250_000_000_000_000_000));
        check("0.000000000000000001", Ok(1));
        check("0", Ok(0));
        for bad in ["", ".", "1.", ".5", "-1", "+1", "1e3", "1,5", " 1", "0x10", "١"] {
            check(bad, Err("is not an amount"));
        }
        check("0.0000000000000000001", Err("more than 18 decimals"));
        check("340282366920938463464", Err("larger than any"));
        check("999999999999999999999999999999999999999999", Err("larger than any"));
    }

    proptest! {
        #[test]
        fn text_round_trips(atto: u128) {
            let amount = Amount(atto);
            prop_assert_eq!(amount.to_string().parse::<Amount>(), Ok(amount));
            let json = serde_json::to_string(&amount).unwrap();
            prop_assert_eq!(serde_json::from_str::<Amount>(&json).unwrap(), amount);
        }

        #[test]
        fn ppm_is_the_floor(atto: u128, ppm in 0u32..=1_000_000) {
            let part = Amount(atto).ppm(ppm).atto();
            let product = U256::from(atto) * U256::from(ppm);
            prop_assert!(U256::from(part) * U256::from(1_000_000) <= product);
            prop_assert!((U256::from(part) + U256::from(1)) * U256::from(1_000_000) > product);
        }
    }
}
