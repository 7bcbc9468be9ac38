use alloy_primitives::{Address, B256};
use pouw_types::contracts::IRentals::{self, Reason};
use pouw_types::contracts::{Quote, RENTALS, Receipt};
use pouw_types::signing::Signable;

use super::world::{FLUX, RATE, STORAGE_RATE, Scene, TRAFFIC_RATE, party, refused, sign};
use crate::split::{ahead_s, with_fees};

#[test]
fn r_4_ready_is_posted_once_by_the_operator_before_start_by() {
    let mut scene = Scene::new();
    let rental = scene.open();
    let call = IRentals::readyCall { rental };
    refused(scene.world.send(scene.client, 0, &call), "H-2", "only its operator");
    scene.world.pass(1, 599);
    scene.world.send(scene.operator, 0, &call).unwrap();
    refused(scene.world.send(scene.operator, 0, &call), "R-4", "was posted");
    let mut quote = scene.quote();
    quote.nonce = 2;
    let late = scene.open_with(&quote, FLUX).unwrap();
    scene.world.pass(1, 600);
    let call = IRentals::readyCall { rental: late };
    refused(scene.world.send(scene.operator, 0, &call), "R-4", "due before");
}

#[test]
fn r_7_what_a_settlement_burned_and_worked_is_told_to_its_lane() {
    let mut scene = Scene::new();
    let credit = scene.open();
    let quote = Quote { nonce: 2, earns: 1, ..scene.quote() };
    let vesting = scene.open_with(&quote, FLUX).unwrap();
    scene.world.pass(50, 1_000);
    let burned = |scene: &Scene| scene.world.totals().burned.atto();
    let before = burned(&scene);
    scene.settle(&scene.receipt(credit, 1, 900)).unwrap();
    let after_credit = burned(&scene);
    scene.settle(&Receipt { workMacs: 77, ..scene.receipt(vesting, 1, 900) }).unwrap();
    let [one, two] = scene.world.settlements.as_slice() else { panic!("two settlements") };
    assert_eq!((one.rental, one.vests, one.work, one.is_last), (credit, false, 0, false));
    assert_eq!(one.burned.atto(), after_credit - before);
    assert_eq!((two.rental, two.vests, two.work, two.is_last), (vesting, true, 77, false));
    assert_eq!(two.burned.atto(), burned(&scene) - after_credit);
    assert_eq!(two.active_paid.atto(), 900 * RATE, "without storage and traffic");
    // The same receipt again tells nothing twice: sums are of the rental, burns of the payment.
    scene.world.pass(50, 1_000);
    scene.settle(&Receipt { workMacs: 99, ..scene.receipt(vesting, 2, 900) }).unwrap();
    let last = scene.world.settlements.last().unwrap();
    assert_eq!((last.work, last.active_paid.atto()), (99, 900 * RATE));
}

#[test]
fn r_5_a_receipt_is_checked_field_by_field() {
    type Edit = fn(&mut Receipt);
    let mut scene = Scene::new();
    let rental = scene.open();
    scene.run(rental, 100);
    scene.world.pass(10, 100);
    let good = scene.receipt(rental, 2, 150);
    let mut check = |edit: Edit, part: &str| {
        let mut receipt = good.clone();
        edit(&mut receipt);
        refused(scene.settle(&receipt), "R-5", part);
    };
    check(|receipt| receipt.seq = 1, "isn't newer");
    check(|receipt| receipt.at += 61, "in the future");
    check(|receipt| receipt.at -= 101, "time");
    check(|receipt| receipt.at = 1, "before the quote");
    check(|receipt| receipt.activeS = 99, "active_s 99 below 100");
    check(|receipt| receipt.storageGibS = 49, "storage_gib_s 49 below 50");
    check(|receipt| receipt.trafficB = 99, "traffic_b 99 below 100");
    check(|receipt| receipt.doneS = 99, "done_s 99 below 100");
    check(|receipt| receipt.activeS = 201, "active 201 s in 200 s");
    check(|receipt| receipt.doneS = 151, "done 151 s of active 150 s");
    check(|receipt| receipt.trafficB = 1_000_001, "above 1000000");
    check(|receipt| receipt.storageGibS = 401, "above the cap 400");
    scene.settle(&good).unwrap();
    refused(scene.settle(&good), "R-5", "isn't newer");
}

#[test]
fn r_5_active_time_ends_at_the_cap() {
    let mut scene = Scene::new();
    let mut quote = scene.quote();
    quote.caps.activeS = 100;
    let rental = scene.open_with(&quote, FLUX).unwrap();
    scene.world.pass(100, 200);
    let receipt = scene.receipt(rental, 1, 101);
    refused(scene.settle(&receipt), "R-5", "above the cap 100");
}

#[test]
fn r_5_both_signatures_count_and_each_only_for_its_side() {
    let mut scene = Scene::new();
    let rental = scene.open();
    scene.world.pass(10, 100);
    let receipt = scene.receipt(rental, 1, 50);
    let digest = receipt.digest(scene.chain_id());
    let check = |scene: &mut Scene, machine, signer, part| {
        let call = IRentals::settleCall {
            receipt: receipt.clone(),
            machineSignature: sign(machine, digest),
            signerSignature: sign(signer, digest),
        };
        refused(scene.world.send(scene.operator, 0, &call), "R-5", part);
    };
    let (machine, signer) = (party(101), party(102));
    check(&mut scene, &signer, &machine, "machine");
    check(&mut scene, &machine, &machine, "signer");
    check(&mut scene, &machine, &party(140), "signer");
}

#[test]
fn r_5_nothing_follows_the_final_receipt() {
    let mut scene = Scene::new();
    let rental = scene.open();
    scene.world.pass(10, 100);
    let last = Receipt { isFinal: true, ..scene.receipt(rental, 1, 50) };
    scene.settle(&last).unwrap();
    let next = scene.receipt(rental, 2, 60);
    refused(scene.settle(&next), "R-5", "final one");
}

#[test]
fn r_6_running_ahead_grows_from_30_to_120_seconds() {
    for (active, ahead) in [(0, 30), (9, 30), (10, 31), (899, 119), (900, 120), (u64::MAX, 120)] {
        assert_eq!(ahead_s(active), ahead, "{active}");
    }
}

#[test]
fn r_7_settling_pays_what_is_durable_or_older_than_the_refund_window() {
    let mut scene = Scene::new();
    let rental = scene.open();
    scene.world.pass(500, 1_000);
    let mut receipt = scene.receipt(rental, 1, 1_000);
    receipt.doneS = 0;
    scene.settle(&receipt).unwrap();
    let price = 400 * RATE + 500 * STORAGE_RATE + 1_000 * TRAFFIC_RATE;
    let money = scene.world.rental(rental).money;
    assert_eq!(money.paid, price);
    assert_eq!((money.burned, money.foundation), (price / 20, price / 100));
    assert_eq!(scene.world.balance(scene.payout), price);
    assert_eq!(scene.world.balance(scene.world.network.foundation), price / 100);
    receipt.seq = 2;
    receipt.doneS = 700;
    scene.settle(&receipt).unwrap();
    assert_eq!(scene.world.rental(rental).money.paid, price + 300 * RATE);
}

#[test]
fn r_7_payments_stop_at_the_escrow() {
    let mut scene = Scene::new();
    let quote = scene.quote();
    let price = 600 * RATE + 2 * 86_400 * STORAGE_RATE;
    let deposit = price + price / 20 + price / 100;
    let rental = scene.open_with(&quote, deposit).unwrap();
    scene.run(rental, 20_000);
    let money = scene.world.rental(rental).money;
    assert_eq!(money.paid + money.burned + money.foundation + money.escrow, deposit);
    assert!(money.escrow <= 2, "{} are left", money.escrow);
    assert_eq!(money.burned, money.paid / 20);
    scene.end(scene.stranger, rental, Reason::OutOfFunds);
}

#[test]
fn r_7_a_term_price_is_for_the_promised_length_and_never_above_the_plain_price() {
    use alloy_primitives::U256;
    let mut quote = Scene::new().quote();
    quote.rates.activeSecond = 10;
    quote.term.lengthS = 100;
    quote.term.activeSecond = 6;
    for (active, cost) in [(0, 0), (10, 100), (60, 600), (61, 600), (100, 600), (101, 606)] {
        let got = crate::split::active_cost(&quote.rates, &quote.term, active);
        assert_eq!(got, U256::from(cost), "{active}");
    }
}

#[test]
fn r_9_the_client_stakes_and_the_host_takes_it_by_answering() {
    let mut scene = Scene::new();
    let rental = scene.open();
    scene.run(rental, 100);
    let call = IRentals::callCall { rental };
    let stake = 40 * RATE;
    refused(scene.world.send(scene.client, stake - 1, &call), "R-9", "the price of 40 s");
    refused(scene.world.send(scene.stranger, 0, &call), "R-9", "only the client or the operator");
    refused(scene.world.send(scene.operator, 1, &call), "G-3", "takes no value");
    let answer = IRentals::answerCall { rental };
    refused(scene.world.send(scene.operator, 0, &answer), "R-9", "didn't call");
    let before = scene.world.balance(scene.client);
    scene.world.send(scene.client, stake + 7, &call).unwrap();
    assert_eq!(scene.world.balance(scene.client), before - stake, "the rest comes back");
    refused(scene.world.send(scene.client, stake, &call), "R-9", "waits for its answer");
    assert_eq!(scene.world.totals().stakes.atto(), stake);
    refused(scene.world.send(scene.client, 0, &answer), "H-2", "only its operator");
    let before = scene.world.balance(scene.payout);
    scene.world.send(scene.operator, 0, &answer).unwrap();
    assert_eq!(scene.world.balance(scene.payout), before + stake);
    scene.call_window();
    refused(scene.close(scene.client, rental, Reason::HostFault), "R-10", "unanswered call");
}

#[test]
fn r_9_a_newer_receipt_answers_the_host_and_an_older_one_doesnt() {
    let mut scene = Scene::new();
    let rental = scene.open();
    scene.world.pass(50, 100);
    let old = scene.receipt(rental, 1, 100);
    scene.world.send(scene.operator, 0, &IRentals::callCall { rental }).unwrap();
    let answer = |scene: &Scene, receipt: &Receipt| {
        let call = scene.settle_call(receipt);
        IRentals::answerWithReceiptCall {
            receipt: call.receipt,
            machineSignature: call.machineSignature,
            signerSignature: call.signerSignature,
        }
    };
    let call = answer(&scene, &old);
    refused(scene.world.send(scene.client, 0, &call), "R-9", "after this receipt");
    scene.settle(&old).unwrap();
    assert!(!scene.world.rental(rental).hostCall.by.is_zero(), "still unanswered");
    scene.world.pass(1, 2);
    let new = scene.receipt(rental, 2, 102);
    let call = answer(&scene, &new);
    scene.world.send(scene.client, 0, &call).unwrap();
    assert_eq!(scene.world.rental(rental).hostCall.by, Address::ZERO);
    scene.call_window();
    let closed = scene.close(scene.operator, rental, Reason::ClientSilent);
    refused(closed, "R-10", "unanswered call");
}

#[test]
fn r_9_a_stalled_chain_stalls_the_window() {
    let mut scene = Scene::new();
    let rental = scene.open();
    scene.world.send(scene.operator, 0, &IRentals::callCall { rental }).unwrap();
    let rules = scene.world.network.rental;
    let early = [(1, 100_000), (rules.call_blocks, 100_000), (100, rules.call_s)];
    for (blocks, seconds) in early {
        let mut branch = scene.clone();
        branch.world.pass(blocks, seconds);
        let closed = branch.close(branch.operator, rental, Reason::ClientSilent);
        refused(closed, "R-10", "unanswered call");
    }
    scene.call_window();
    scene.close(scene.operator, rental, Reason::ClientSilent).unwrap();
}

#[test]
fn r_9_a_hosts_pending_call_cant_keep_the_client_from_calling() {
    let mut scene = Scene::new();
    let rental = scene.open();
    scene.run(rental, 1_000);
    scene.world.send(scene.operator, 0, &IRentals::callCall { rental }).unwrap();
    let stake = 120 * RATE;
    scene.world.send(scene.client, stake, &IRentals::callCall { rental }).unwrap();
    scene.call_window();
    let before = scene.world.balance(scene.client);
    scene.close(scene.stranger, rental, Reason::HostFault).unwrap();
    assert_eq!(scene.world.balance(scene.client), before + stake, "the stake comes back");
    assert_eq!(scene.world.totals().stakes.atto(), 0);
}

#[test]
fn fees_are_floors_of_the_sum_whatever_the_steps() {
    let mut scene = Scene::new();
    let mut quote = scene.quote();
    quote.rates.activeSecond = 7;
    quote.rates.storageGibSecond = 0;
    quote.rates.trafficByte = 0;
    let rental = scene.open_with(&quote, FLUX).unwrap();
    for _ in 0..10 {
        scene.run(rental, 13);
    }
    let money = scene.world.rental(rental).money;
    let terms = crate::split::Terms::new(&quote, &scene.world.network.rental);
    assert_eq!(money.paid, 910);
    assert_eq!(
        with_fees(&terms, pouw_types::Amount::from_atto(910)).atto(),
        money.paid + money.burned + money.foundation
    );
    assert_eq!((money.burned, money.foundation), (45, 9));
}

#[test]
fn what_does_not_exist_is_refused_or_empty() {
    let mut scene = Scene::new();
    let rental = B256::repeat_byte(7);
    let by = scene.stranger;
    refused(scene.world.send(by, 0, &IRentals::finalizeCall { rental }), "R-2", "no rental");
    assert_eq!(scene.world.rental(rental).phase, IRentals::Phase::None);
    let none = scene.world.view(RENTALS, &IRentals::activeOfCall { party: by });
    assert!(none.is_empty(), "{none:?}");
}
