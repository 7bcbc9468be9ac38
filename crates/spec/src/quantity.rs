//! Quantities with units, as people write them, to integers.

use pouw_types::Amount;

/// A text is not the quantity that its field wants; the text says what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct QuantityError {
    reason: &'static str,
    /// What was most likely meant, ready to be written.
    pub nearest: Option<String>,
}

const fn wrong(reason: &'static str) -> QuantityError {
    QuantityError { reason, nearest: None }
}

const BYTE_UNITS: [(&str, u64); 5] =
    [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];
const TIME_UNITS: [(&str, u64); 5] =
    [("s", 1), ("m", 60), ("min", 60), ("h", 3_600), ("d", 86_400)];

/// Leading digits with at most one point, and what follows them.
fn split_number(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (number, unit.strip_prefix(' ').unwrap_or(unit))
}

/// `number` · `scale`, where the number may have decimals; only exact results.
fn scaled(number: &str, scale: u64) -> Result<u64, QuantityError> {
    const DECIMALS: usize = 9;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    let malformed = whole.is_empty()
        || !digits(whole)
        || !digits(fraction)
        || fraction.len() > DECIMALS
        || (fraction.is_empty() && number.contains('.'));
    if malformed {
        return Err(wrong("is no number: write digits with at most one point"));
    }
    let too_large = || wrong("is too large");
    let power = 10u128.pow(u32::try_from(fraction.len()).unwrap_or(0));
    let digits: u128 = format!("{whole}{fraction}").parse().map_err(|_| too_large())?;
    let product = digits.checked_mul(u128::from(scale)).ok_or_else(too_large)?;
    if product.checked_rem(power) != Some(0) {
        return Err(wrong("is finer than the smallest unit"));
    }
    product.checked_div(power).and_then(|n| u64::try_from(n).ok()).ok_or_else(too_large)
}

fn sign_or_special(text: &str) -> Result<(), QuantityError> {
    if text.is_empty() {
        return Err(wrong("is empty"));
    }
    if text.starts_with('-') {
        return Err(wrong("is negative"));
    }
    if ["nan", ".nan", "inf", ".inf", "+inf"].contains(&text.to_ascii_lowercase().as_str()) {
        return Err(wrong("is no finite number"));
    }
    Ok(())
}

/// Thousandths of a processor thread, from `2`, `0.5` or `500m`.
///
/// # Errors
/// [`QuantityError`] that says what would be right.
pub fn cpu_millis(text: &str) -> Result<u64, QuantityError> {
    sign_or_special(text)?;
    match split_number(text) {
        (number, "") => scaled(number, 1_000),
        (number, "m") => scaled(number, 1),
        (_, _) => Err(wrong("is no number of threads: write 2, 0.5 or 500m")),
    }
}

/// Bytes, from `2GiB` and the like.
///
/// # Errors
/// [`QuantityError`] that says what would be right.
pub fn bytes(text: &str) -> Result<u64, QuantityError> {
    sign_or_special(text)?;
    let (number, unit) = split_number(text);
    if number == "0" && unit.is_empty() {
        return Ok(0);
    }
    if let Some((_, scale)) = BYTE_UNITS.iter().find(|(name, _)| *name == unit) {
        return scaled(number, *scale);
    }
    let letter = unit.chars().next().map(|c| c.to_ascii_uppercase());
    let meant =
        BYTE_UNITS.iter().find(|(name, _)| letter.is_some() && name.chars().next() == letter);
    Err(QuantityError {
        reason: "has no binary unit: write B, KiB, MiB, GiB or TiB",
        nearest: meant.map(|(name, _)| format!("{number}{name}")),
    })
}

/// Seconds, from `90s`, `10m`, `1h30m`, `2d`; a bare `0` too.
///
/// # Errors
/// [`QuantityError`] that says what would be right.
pub fn seconds(text: &str) -> Result<u64, QuantityError> {
    const REASON: &str = "is no duration: write 90s, 10m, 1h30m or 2d";
    sign_or_special(text)?;
    if text == "0" {
        return Ok(0);
    }
    let mut rest = text;
    let mut total = 0u64;
    while !rest.is_empty() {
        let (number, behind) = split_number(rest);
        let end = behind.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(behind.len());
        let (unit, next) = behind.split_at(end);
        let Some((_, scale)) = TIME_UNITS.iter().find(|(name, _)| *name == unit) else {
            let meant = unit.chars().next().map(|c| c.to_ascii_lowercase());
            let meant = match meant {
                None => Some("s"),
                Some(first) => {
                    TIME_UNITS.iter().map(|(name, _)| *name).find(|name| name.starts_with(first))
                }
            };
            let plain = rest == text && next.is_empty() && !number.is_empty();
            let nearest = meant.filter(|_| plain).map(|unit| format!("{number}{unit}"));
            return Err(QuantityError { reason: REASON, nearest });
        };
        if number.is_empty() {
            return Err(wrong(REASON));
        }
        total = total.checked_add(scaled(number, *scale)?).ok_or_else(|| wrong("is too large"))?;
        rest = next;
    }
    Ok(total)
}

/// An amount, from `1.25` or `1.25 FLUX`.
///
/// # Errors
/// [`QuantityError`] that says what would be right.
pub fn amount(text: &str) -> Result<Amount, QuantityError> {
    sign_or_special(text)?;
    let number = text.strip_suffix("FLUX").map_or(text, str::trim_end);
    number.parse().map_err(|_| wrong("is no amount of FLUX: write digits with at most 18 decimals"))
}

/// Atto-FLUX an hour, from `0.5/h`, `0.5 FLUX/h` or `0.0001/s`.
///
/// # Errors
/// [`QuantityError`] that says what would be right.
pub fn hourly(text: &str) -> Result<Amount, QuantityError> {
    const REASON: &str =
        "is no price: write FLUX an hour, such as 0.5/h, or a second, such as 0.0001/s";
    sign_or_special(text)?;
    let Some((price, unit)) = text.split_once('/') else {
        let nearest = amount(text).is_ok().then(|| format!("{text}/h"));
        return Err(QuantityError { reason: REASON, nearest });
    };
    let price = amount(price.trim_end())?;
    match unit.trim_start() {
        "h" => Ok(price),
        "s" => price.checked_mul(3_600).map_err(|_| wrong("is too large")),
        _ => Err(wrong(REASON)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check<T: PartialEq + std::fmt::Debug>(
        read: fn(&str) -> Result<T, QuantityError>,
        text: &str,
        expected: Result<T, &str>,
    ) {
        match (read(text), expected) {
            (Ok(got), Ok(want)) => assert_eq!(got, want, "{text}"),
            (Err(error), Err(part)) => {
                let all = format!("{error} nearest {:?}", error.nearest);
                assert!(all.contains(part), "{text}: {all}");
            }
            (got, want) => panic!("{text}: got {got:?}, expected {want:?}"),
        }
    }

    #[test]
    fn threads_are_whole_decimal_or_thousandths() {
        check(cpu_millis, "2", Ok(2_000));
        check(cpu_millis, "0.5", Ok(500));
        check(cpu_millis, "500m", Ok(500));
        check(cpu_millis, "0.0005", Err("finer"));
        check(cpu_millis, "-1", Err("negative"));
        check(cpu_millis, ".nan", Err("finite"));
        check(cpu_millis, "NaN", Err("finite"));
        check(cpu_millis, "2 cores", Err("500m"));
        check(cpu_millis, "1e3", Err("500m"));
        check(cpu_millis, "99999999999999999999", Err("too large"));
        check(cpu_millis, "٣", Err("threads"));
    }

    #[test]
    fn bytes_have_binary_units() {
        check(bytes, "2GiB", Ok(2 << 30));
        check(bytes, "1.5 MiB", Ok(3 << 19));
        check(bytes, "0", Ok(0));
        check(bytes, "2GB", Err("2GiB"));
        check(bytes, "64m", Err("64MiB"));
        check(bytes, "1024", Err("no binary unit"));
        check(bytes, "0.3B", Err("finer"));
        check(bytes, "99999999TiB", Err("too large"));
        check(bytes, "1.2.3GiB", Err("no number"));
        check(bytes, "GiB", Err("no number"));
    }

    #[test]
    fn durations_add_up() {
        check(seconds, "90s", Ok(90));
        check(seconds, "1h30m", Ok(5_400));
        check(seconds, "2d", Ok(172_800));
        check(seconds, "1.5h", Ok(5_400));
        check(seconds, "0", Ok(0));
        check(seconds, "10", Err("10s"));
        check(seconds, "10 hours", Err("10h"));
        check(seconds, "h", Err("no duration"));
        check(seconds, "300ms", Err("300m"));
        check(seconds, "99999999999999999d", Err("too large"));
    }

    #[test]
    fn prices_name_their_time() {
        check(amount, "1.25 FLUX", Ok(Amount::from_atto(1_250_000_000_000_000_000)));
        check(amount, "$5", Err("no amount"));
        check(hourly, "0.5 FLUX/h", Ok(Amount::from_atto(500_000_000_000_000_000)));
        check(hourly, "0.001/s", Ok(Amount::from_atto(3_600_000_000_000_000_000)));
        check(hourly, "0.5", Err("0.5/h"));
        check(hourly, "1/week", Err("no price"));
        check(hourly, "300000000000000000000/s", Err("too large"));
    }

    proptest! {
        #[test]
        fn no_text_makes_a_quantity_panic(text: String) {
            let results = [
                cpu_millis(&text).is_ok(), bytes(&text).is_ok(), seconds(&text).is_ok(),
                amount(&text).is_ok(), hourly(&text).is_ok(),
            ];
            prop_assert!(results.len() == 5);
        }

        #[test]
        fn whole_units_read_back(count in 0u64..1 << 20) {
            prop_assert_eq!(bytes(&format!("{count}GiB")), Ok(count << 30));
            prop_assert_eq!(seconds(&format!("{count}h")), Ok(count * 3_600));
            prop_assert_eq!(cpu_millis(&format!("{count}")), Ok(count * 1_000));
        }
    }
}
