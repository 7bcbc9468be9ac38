//! I-4 and I-10: what was settled when, and on which branch, changes nothing; and the bounds of
//! what either side gains by its moves.

use alloy_primitives::B256;
use pouw_types::Amount;
use pouw_types::contracts::IRentals::{self, Reason};
use pouw_types::contracts::{Quote, Receipt};
use proptest::prelude::*;

use super::world::{FLUX, Scene};
use crate::split::{Close, Meters, Terms, ahead_s, claim_limit, settled, split};

const ENDS: [Reason; 5] = [
    Reason::ClientStop,
    Reason::Completed,
    Reason::NotStarted,
    Reason::HostStop,
    Reason::GateFailed,
];

/// Receipts of a run that grows by these (seconds, durable parts).
fn receipts(scene: &Scene, rental: B256, growth: &[(u64, u64)]) -> Vec<Receipt> {
    let mut last = Receipt { rental, at: scene.world.now_s, ..Receipt::default() };
    let mut made = Vec::new();
    for (seconds, done) in growth {
        last.seq += 1;
        last.at += seconds + 1;
        last.activeS += seconds;
        last.doneS = (last.doneS + done).min(last.activeS);
        last.storageGibS += u128::from(*seconds);
        last.trafficB += done;
        made.push(last.clone());
    }
    made
}

/// Opens at once or later, settles those receipts that the mask names, closes, settles the last
/// one, claims, and finalizes.
fn ended(
    quote: &Quote,
    late_s: u64,
    growth: &[(u64, u64)],
    mask: u32,
    reason: Reason,
    claim: u64,
) -> IRentals::Money {
    let mut scene = Scene::new();
    let start = scene.world.now_s;
    scene.world.pass(1 + late_s / 2, late_s);
    let rental = scene.open_with(quote, 3 * FLUX).unwrap();
    scene.world.now_s = start;
    let receipts = receipts(&scene, rental, growth);
    scene.world.now_s = receipts.last().unwrap().at + 40;
    let by = if matches!(reason, Reason::HostStop | Reason::GateFailed) {
        scene.operator
    } else {
        scene.client
    };
    let early = !matches!(reason, Reason::NotStarted | Reason::GateFailed);
    let before_close = |index: usize| early && mask >> index & 1 == 1;
    for (index, receipt) in receipts.iter().enumerate() {
        if before_close(index) {
            scene.settle(receipt).unwrap();
        }
    }
    scene.close(by, rental, reason).unwrap();
    for (index, receipt) in receipts.iter().enumerate() {
        if mask >> (index + 8) & 1 == 1 || index + 1 == receipts.len() {
            let _ = scene.settle(receipt);
        }
    }
    let best = scene.world.rental(rental).best;
    assert_eq!(best.seq, receipts.last().unwrap().seq);
    let call = IRentals::claimCall { rental, activeS: best.activeS + claim, storageGibS: 0 };
    let _ = scene.world.send(scene.operator, 0, &call);
    scene.closing_window();
    scene.finalize(rental).money
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn i_4_i_10_the_same_receipts_and_close_pay_the_same_whatever_was_settled_when(
        growth in proptest::collection::vec((0u64..900, 0u64..900), 1..7),
        masks: (u32, u32), late in 0u64..900, reason in 0usize..5, window in 0u32..3_600,
        claim in 0u64..60,
    ) {
        let quote = Quote { refundWindowS: window, ..Scene::new().quote() };
        let reason = ENDS[reason];
        let one = ended(&quote, 0, &growth, masks.0, reason, claim);
        let other = ended(&quote, late, &growth, masks.1, reason, claim);
        prop_assert_eq!(one, other, "{:?}", reason);
    }

    #[test]
    fn an_honest_host_is_paid_every_second_and_a_liar_120_more_at_most(
        co_signed in 0u64..5_000, ran in 0u64..400, lie in 0u64..400, waited in 0u64..400,
    ) {
        let mut scene = Scene::new();
        let rental = scene.open();
        scene.run(rental, co_signed);
        // An honest agent freezes the task before it is AHEAD of its last receipt.
        let ran = ran.min(ahead_s(co_signed));
        scene.world.pass(1, ran.max(waited));
        scene.close(scene.client, rental, Reason::ClientStop).unwrap();
        let claim = |active| IRentals::claimCall { rental, activeS: active, storageGibS: 0 };
        let mut liar = scene.clone();
        scene.world.send(scene.operator, 0, &claim(co_signed + ran)).unwrap();
        scene.closing_window();
        let rates = scene.quote().rates;
        let price = |active: u64| {
            u128::from(active) * rates.activeSecond
                + u128::from(co_signed / 2) * rates.storageGibSecond
                + u128::from(co_signed) * rates.trafficByte
        };
        prop_assert_eq!(scene.finalize(rental).money.paid, price(co_signed + ran));
        let _ = liar.world.send(liar.operator, 0, &claim(co_signed + lie));
        liar.closing_window();
        prop_assert!(liar.finalize(rental).money.paid <= price(co_signed + 120));
    }
}

fn terms() -> impl Strategy<Value = Terms> {
    let rates = (0u128..1_000_000, 0u128..1_000, 0u128..1_000);
    let term = (0u64..100_000, 0u128..1_000_000);
    let rest = (0u64..3_600, 0u128..10_000_000_000, 0u128..100_000_000_000, any::<bool>());
    (rates, term, rest, (0u128..1_000_000_000, 0u128..1_000)).prop_map(
        |(rates, term, (window, bond, deposited, ready), fund)| {
            let scene = Scene::new();
            let mut quote = scene.quote();
            quote.rates.activeSecond = rates.0;
            quote.rates.storageGibSecond = rates.1;
            quote.rates.trafficByte = rates.2;
            quote.term.lengthS = term.0;
            quote.term.activeSecond = term.1;
            Terms {
                refund_window_s: window,
                bond: Amount::from_atto(bond),
                deposited: Amount::from_atto(deposited),
                ready,
                fund: Amount::from_atto(fund.0),
                fund_rate: Amount::from_atto(fund.1),
                ..Terms::new(&quote, &scene.world.network.rental)
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn settling_is_a_monotone_prefix_of_every_split(
        terms in terms(),
        growth in proptest::collection::vec((0u64..20_000, 0u64..20_000), 1..6),
        reason in 0usize..5, claim in 0u64..1_000, silence in 0u64..1_000,
    ) {
        let mut scene = Scene::new();
        scene.world.now_s = terms.issued_at;
        let receipts = receipts(&scene, B256::ZERO, &growth);
        let best = receipts.last().unwrap();
        let at = best.at + silence;
        let close = Close { reason: ENDS[reason], at, ends_at: at + 60 };
        let claim = Meters { active_s: best.activeS + claim, storage_gib_s: 0, traffic_b: 0 };
        let end = split(&terms, Some(best), Some(&claim), &close);
        let mut before = settled(&terms, None, close.reason);
        for receipt in &receipts {
            let now = settled(&terms, Some(receipt), close.reason);
            let fields = |one: &crate::split::Payment| {
                [one.paid, one.burned, one.foundation, one.from_fund]
            };
            for (old, new) in fields(&before).into_iter().zip(fields(&now)) {
                prop_assert!(old <= new, "settling went back");
            }
            for (part, whole) in fields(&now).into_iter().zip(fields(&end.payment)) {
                prop_assert!(part <= whole, "settled {} of {}", part, whole);
            }
            before = now;
        }
        let deposited = terms.deposited.checked_add(end.payment.from_fund).unwrap();
        let parts = end.payment.total().checked_add(end.refund).unwrap();
        prop_assert_eq!(parts, deposited, "I-2");
        prop_assert!(end.forfeited <= terms.bond, "I-7");
        let limit = claim_limit(&terms, Some(best), &close);
        prop_assert!(limit.is_none_or(|most| most.active_s <= best.activeS + 120), "I-5");
    }

    #[test]
    fn a_split_of_any_numbers_neither_panics_nor_pays_what_isnt_there(
        numbers in any::<[u128; 8]>(), small in any::<[u64; 6]>(), reason in 0u8..13,
    ) {
        let mut quote = Scene::new().quote();
        quote.rates.activeSecond = numbers[0];
        quote.rates.storageGibSecond = numbers[1];
        quote.rates.trafficByte = numbers[2];
        quote.term.lengthS = small[0];
        quote.term.activeSecond = numbers[3];
        quote.bond = numbers[4];
        let terms = Terms {
            deposited: Amount::from_atto(numbers[5] >> 1),
            fund: Amount::from_atto(numbers[6] >> 1),
            fund_rate: Amount::from_atto(numbers[7]),
            ..Terms::new(&quote, &Scene::new().world.network.rental)
        };
        let best = Receipt {
            seq: 1, at: small[1], activeS: small[2], storageGibS: numbers[7],
            trafficB: small[3], doneS: small[4], ..Receipt::default()
        };
        let reason = Reason::try_from(reason).unwrap();
        let close = Close { reason, at: small[5], ends_at: small[0] };
        let claim = Meters { active_s: small[4], storage_gib_s: numbers[3], traffic_b: 0 };
        let end = split(&terms, Some(&best), Some(&claim), &close);
        let available = terms.deposited.checked_add(end.payment.from_fund).unwrap();
        prop_assert_eq!(end.payment.total().checked_add(end.refund).unwrap(), available);
        prop_assert!(end.payment.from_fund <= terms.fund);
        prop_assert!(end.forfeited.atto() <= quote.bond);
    }
}
