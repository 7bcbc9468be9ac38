//! Receipts: when one is due, what it says, how far a task may run ahead of it, and what the
//! escrow covers.

use alloy_primitives::B256;
use pouw_types::contracts::{Earns, MAX_UNIT_MACS_A_SECOND, Quote, Receipt};
use pouw_types::{Amount, RentalRules};

use crate::meter::Totals;

/// Seconds between receipts in the first [`EARLY_S`] active seconds.
const EARLY_INTERVAL_S: u64 = 10;
///
const EARLY_S: u64 = 300;
/// Seconds between receipts later.
const INTERVAL_S: u64 = 60;

/// active seconds that a host may be ahead of the last co-signed receipt.
#[must_use]
pub const fn ahead_s(signed_active_s: u64) -> u64 {
    let grown = 30 + signed_active_s / 10;
    if grown < 120 { grown } else { 120 }
}

/// active milliseconds at which the next receipt is due.
#[must_use]
pub const fn due_at_ms(signed_active_s: u64) -> u64 {
    let interval = if signed_active_s < EARLY_S { EARLY_INTERVAL_S } else { INTERVAL_S };
    (signed_active_s + interval) * 1_000
}

/// What a host is paid for usage: active with its term, storage, traffic.
///
/// Saturates at the greatest amount: no escrow covers that.
#[must_use]
pub fn price(quote: &Quote, active_s: u64, storage_gib_s: u128, traffic_bytes: u64) -> Amount {
    let active = u128::from(active_s);
    let plain = active.saturating_mul(quote.rates.activeSecond);
    let term = &quote.term;
    let active = if term.lengthS == 0 {
        plain
    } else {
        plain.min(active.max(term.lengthS.into()).saturating_mul(term.activeSecond))
    };
    let storage = storage_gib_s.saturating_mul(quote.rates.storageGibSecond);
    let traffic = u128::from(traffic_bytes).saturating_mul(quote.rates.trafficByte);
    Amount::from_atto(active.saturating_add(storage).saturating_add(traffic))
}

/// Burn and foundation on top of a price.
#[must_use]
pub fn fees(rules: &RentalRules, price: Amount) -> Amount {
    let burn = price.ppm(rules.burn_ppm);
    Amount::from_atto(burn.atto().saturating_add(price.ppm(rules.foundation_ppm).atto()))
}

/// Price and fees.
#[must_use]
pub fn total(rules: &RentalRules, price: Amount) -> Amount {
    Amount::from_atto(price.atto().saturating_add(fees(rules, price).atto()))
}

/// The most active seconds that a deposit covers beside the storage and traffic used so far.
#[must_use]
pub fn covered_s(
    rules: &RentalRules,
    quote: &Quote,
    deposit: Amount,
    storage_gib_s: u128,
    traffic_bytes: u64,
) -> u64 {
    let covers =
        |active_s| total(rules, price(quote, active_s, storage_gib_s, traffic_bytes)) <= deposit;
    let (mut low, mut high) = (0, quote.caps.activeS);
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if covers(middle) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    low
}

/// What the next receipt says: everything measured, within the quote's caps, at least what the last
/// one said.
#[must_use]
pub fn next(
    quote: &Quote,
    rental: B256,
    last: Option<&Receipt>,
    seq: u64,
    now_s: u64,
    totals: Totals,
    done_s: u64,
) -> Receipt {
    let zero = Receipt::default();
    let last = last.unwrap_or(&zero);
    let at = now_s.max(last.at).max(quote.issuedAt);
    let elapsed = at - quote.issuedAt;
    let active = totals.active_s().min(quote.caps.activeS).min(elapsed).max(last.activeS);
    let gib = quote.caps.storageGib;
    let storage = totals.storage_gib_s(gib).min(u128::from(gib) * u128::from(elapsed));
    Receipt {
        rental,
        seq,
        at,
        activeS: active,
        storageGibS: storage.max(last.storageGibS),
        trafficB: totals.traffic_bytes.min(quote.caps.trafficB).max(last.trafficB),
        doneS: done_s.min(active).max(last.doneS),
        workMacs: work_macs(quote, active, totals).max(last.workMacs),
        manifestRoot: last.manifestRoot,
        isFinal: false,
    }
}

/// what mined, for a rental whose receipts vest; never more than its units could do.
fn work_macs(quote: &Quote, active_s: u64, totals: Totals) -> u128 {
    let vests = Earns::from_code(quote.earns) == Some(Earns::Vesting);
    let most =
        MAX_UNIT_MACS_A_SECOND.saturating_mul(active_s.into()).saturating_mul(quote.units.into());
    if vests { totals.work_macs.min(most) } else { 0 }
}

#[cfg(test)]
mod tests {
    use pouw_types::Network;
    use pouw_types::contracts::{Caps, Rates, Term};
    use proptest::prelude::*;

    use super::*;

    fn quote(active_rate: u128, cap_s: u64) -> Quote {
        Quote {
            issuedAt: 1_000,
            rates: Rates { activeSecond: active_rate, storageGibSecond: 1, trafficByte: 1 },
            caps: Caps { activeS: cap_s, storageGib: 2, trafficB: 100, ..Caps::default() },
            ..Quote::default()
        }
    }

    #[test]
    fn a_host_may_run_ahead_by_a_tenth_and_thirty_seconds_at_most_two_minutes() {
        for (signed, expected) in [(0, 30), (9, 30), (10, 31), (900, 120), (90_000, 120)] {
            assert_eq!(ahead_s(signed), expected, "{signed}");
        }
    }

    #[test]
    fn receipts_are_due_each_ten_seconds_at_first_and_each_minute_later() {
        for (signed, expected) in [(0, 10), (290, 300), (300, 360), (1_000, 1_060)] {
            assert_eq!(due_at_ms(signed), expected * 1_000, "{signed}");
        }
    }

    #[test]
    fn a_term_is_owed_in_full_and_never_more_than_the_plain_price() {
        let term = Term { lengthS: 100, activeSecond: 6 };
        let quote = Quote { term, ..quote(10, 1_000) };
        for (active, expected) in [(10, 100), (59, 590), (60, 600), (100, 600), (200, 1_200)] {
            assert_eq!(price(&quote, active, 0, 0).atto(), expected, "{active}");
        }
    }

    #[test]
    fn work_counts_only_where_receipts_vest_and_as_far_as_a_machine_can_do_it() {
        let check = |earns: Earns, active_ms, macs, expected| {
            let quote = Quote { earns: earns.code(), units: 2, ..quote(1, 900) };
            let totals = Totals { active_ms, work_macs: macs, ..Totals::default() };
            let receipt = next(&quote, B256::ZERO, None, 1, 2_000, totals, 0);
            assert_eq!(receipt.workMacs, expected, "{earns:?} {active_ms} {macs}");
            let zero = Totals { work_macs: 0, ..totals };
            let later = next(&quote, B256::ZERO, Some(&receipt), 2, 2_001, zero, 0);
            assert_eq!(later.workMacs, expected, "it does not fall");
        };
        check(Earns::Vesting, 3_000, 1 << 40, 1 << 40);
        check(Earns::Credit, 3_000, 1 << 40, 0);
        check(Earns::Vesting, 3_999, u128::MAX, 2 * 3 * MAX_UNIT_MACS_A_SECOND);
        check(Earns::Vesting, 999, 1 << 40, 0);
    }

    proptest! {
        /// what is covered is affordable to the atto, one second more is not.
        #[test]
        fn the_covered_time_is_the_longest_that_the_deposit_pays(
            rate in 1u128..1_000_000_000_000, cap in 0u64..1_000_000,
            deposit: u64, storage in 0u128..1_000, traffic in 0u64..100,
        ) {
            let rules = &Network::devnet().rental;
            let quote = quote(rate, cap);
            let deposit = Amount::from_atto(deposit.into());
            let covered = covered_s(rules, &quote, deposit, storage, traffic);
            let cost = |active| total(rules, price(&quote, active, storage, traffic));
            prop_assert!(covered == 0 || cost(covered) <= deposit);
            prop_assert!(covered == cap || cost(covered + 1) > deposit);
        }

        /// no field of a receipt is below its predecessor or beyond a cap.
        #[test]
        fn receipts_never_fall_and_stay_within_caps(
            steps in proptest::collection::vec((0u64..500, 0u64..400_000, 0u64..60, 0u64..500), 1..30),
        ) {
            let quote = quote(1, 900);
            let (mut now, mut totals) = (1_000u64, Totals::default());
            let mut last: Option<Receipt> = None;
            for (passed_s, active_ms, bytes, done) in steps {
                now += passed_s;
                totals.active_ms += active_ms;
                totals.storage_ms += active_ms;
                totals.traffic_bytes += bytes;
                let seq = last.as_ref().map_or(1, |last| last.seq + 1);
                let receipt = next(&quote, B256::ZERO, last.as_ref(), seq, now, totals, done);
                prop_assert!(receipt.activeS <= receipt.at - quote.issuedAt);
                prop_assert!(receipt.activeS <= 900 && receipt.trafficB <= 100);
                prop_assert!(receipt.doneS <= receipt.activeS);
                if let Some(last) = &last {
                    prop_assert!(receipt.at >= last.at && receipt.activeS >= last.activeS);
                    prop_assert!(receipt.storageGibS >= last.storageGibS);
                    prop_assert!(receipt.trafficB >= last.trafficB && receipt.doneS >= last.doneS);
                }
                last = Some(receipt);
            }
        }
    }
}
