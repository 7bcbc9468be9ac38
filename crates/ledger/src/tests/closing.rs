use pouw_types::contracts::IRentals::{self, Notice, Phase, Reason};
use pouw_types::contracts::{Quote, RENTALS, Receipt, Stop};
use pouw_types::signing::Signable;

use super::world::{
    BOND, FLUX, RATE, STORAGE_RATE, Scene, TRAFFIC_RATE, UNITS, party, refused, sign,
};

fn price(active: u128, storage: u128, traffic: u128) -> u128 {
    active * RATE + storage * STORAGE_RATE + traffic * TRAFFIC_RATE
}

#[test]
fn r_10_each_reason_is_for_its_party_only() {
    use Reason as R;
    let mut scene = Scene::new();
    let rental = scene.open();
    let (client, operator, stranger) = (scene.client, scene.operator, scene.stranger);
    for (reason, not_for) in [
        (R::ClientStop, operator),
        (R::ClientStop, stranger),
        (R::Completed, operator),
        (R::ClientSilent, client),
        (R::Preempted, client),
        (R::Repriced, stranger),
        (R::GateFailed, client),
        (R::NotStarted, operator),
        (R::HostStop, client),
        (R::None, client),
    ] {
        refused(scene.close(not_for, rental, reason), "R-10", "is for");
    }
    for (reason, by) in [
        (R::Limit, client),
        (R::OutOfFunds, operator),
        (R::EndBy, stranger),
        (R::ClientSilent, operator),
        (R::Preempted, operator),
        (R::Repriced, operator),
        (R::HostFault, client),
    ] {
        refused(scene.close(by, rental, reason), "R-10", "is for");
    }
}

#[test]
fn r_10_closing_frees_the_units_at_once_and_the_bond_at_the_end() {
    let mut scene = Scene::new();
    let rental = scene.open();
    let machine = scene.machine.address();
    scene.close(scene.client, rental, Reason::ClientStop).unwrap();
    assert_eq!(scene.world.machine(machine).openUnits, 0);
    assert_eq!(scene.world.machine(machine).lockedBond, FLUX);
    refused(scene.close(scene.client, rental, Reason::ClientStop), "R-10", "closing");
    scene.closing_window();
    scene.finalize(rental);
    assert_eq!(scene.world.machine(machine).lockedBond, 0);
}

#[test]
fn r_10_before_the_first_receipt_not_started_pays_a_minute_if_ready_and_gate_failed_nothing() {
    for (ready, reason, paid) in [
        (false, Reason::NotStarted, 0),
        (true, Reason::NotStarted, 60 * RATE),
        (true, Reason::GateFailed, 0),
    ] {
        let mut scene = Scene::new();
        let rental = scene.open();
        if ready {
            scene.world.send(scene.operator, 0, &IRentals::readyCall { rental }).unwrap();
        }
        let by = if reason == Reason::GateFailed { scene.operator } else { scene.client };
        let end = scene.end(by, rental, reason);
        assert_eq!(end.money.paid, paid, "{reason:?}, ready {ready}");
        assert_eq!(end.money.refunded, FLUX - paid - paid / 20 - paid / 100);
        assert_eq!(scene.world.machine(scene.machine.address()).bond, BOND);
    }
}

#[test]
fn r_10_after_the_first_receipt_nobody_says_it_didnt_start() {
    let mut scene = Scene::new();
    let rental = scene.open();
    scene.world.pass(1, 10);
    let zero = scene.receipt(rental, 1, 0);
    scene.settle(&zero).unwrap();
    refused(scene.close(scene.client, rental, Reason::NotStarted), "R-10", "first receipt");
    refused(scene.close(scene.operator, rental, Reason::GateFailed), "R-10", "first receipt");
}

#[test]
fn r_10_a_receipt_withheld_from_not_started_is_paid_all_the_same() {
    let mut scene = Scene::new();
    let rental = scene.open();
    scene.world.pass(50, 100);
    let receipt = scene.receipt(rental, 1, 90);
    scene.close(scene.client, rental, Reason::NotStarted).unwrap();
    scene.settle(&receipt).unwrap();
    scene.closing_window();
    assert_eq!(scene.finalize(rental).money.paid, price(90, 45, 90));
}

#[test]
fn r_10_anyone_closes_not_started_from_start_by_on() {
    let mut scene = Scene::new();
    let rental = scene.open();
    scene.world.pass(1, 599);
    refused(scene.close(scene.stranger, rental, Reason::NotStarted), "R-10", "start_by");
    scene.world.pass(1, 1);
    scene.close(scene.stranger, rental, Reason::NotStarted).unwrap();
}

#[test]
fn r_10_a_signed_stop_is_sent_by_anyone() {
    let mut scene = Scene::new();
    let rental = scene.open();
    let order = Stop { rental, at: scene.world.now_s, keepS: 0 };
    let digest = order.digest(scene.chain_id());
    let stop = |number| IRentals::stopCall {
        order: order.clone(),
        signerSignature: sign(&party(number), digest),
    };
    refused(scene.world.send(scene.operator, 0, &stop(101)), "R-10", "didn't sign");
    let call = stop(102);
    scene.world.send(scene.stranger, 0, &call).unwrap();
    assert_eq!(scene.world.rental(rental).reason, Reason::ClientStop);
    refused(scene.world.send(scene.stranger, 0, &call), "R-10", "closing");
}

#[test]
fn r_10_anyone_completes_after_the_final_receipt_and_it_ends_at_once() {
    let mut scene = Scene::new();
    let rental = scene.open();
    scene.world.pass(50, 100);
    refused(scene.close(scene.stranger, rental, Reason::Completed), "R-10", "final receipt");
    let last = Receipt { isFinal: true, ..scene.receipt(rental, 1, 100) };
    scene.settle(&last).unwrap();
    scene.close(scene.stranger, rental, Reason::Completed).unwrap();
    let end = scene.finalize(rental);
    assert_eq!(end.money.paid, price(100, 50, 100));
}

#[test]
fn r_10_a_host_that_finished_cant_be_called_into_a_fault() {
    let mut scene = Scene::new();
    let rental = scene.open();
    scene.world.send(scene.client, 30 * RATE, &IRentals::callCall { rental }).unwrap();
    scene.call_window();
    let last = Receipt { isFinal: true, ..scene.receipt(rental, 1, 10) };
    scene.settle(&last).unwrap();
    refused(scene.close(scene.client, rental, Reason::HostFault), "R-10", "unanswered call");
    scene.close(scene.operator, rental, Reason::Completed).unwrap();
    assert_eq!(scene.world.totals().stakes.atto(), 0, "the stake came back");
}

#[test]
fn r_10_a_cap_or_an_empty_escrow_lets_anyone_close() {
    let mut scene = Scene::new();
    let mut quote = scene.quote();
    quote.caps.activeS = 500;
    let rental = scene.open_with(&quote, FLUX).unwrap();
    scene.run(rental, 499);
    refused(scene.close(scene.stranger, rental, Reason::Limit), "R-10", "at a cap");
    scene.run(rental, 1);
    scene.close(scene.stranger, rental, Reason::Limit).unwrap();

    let quote = Quote { nonce: 2, issuedAt: scene.world.now_s, ..scene.quote() };
    let deposit = price(1_000, 2 * 86_400, 0) * 106 / 100 + 1;
    let rental = scene.open_with(&quote, deposit).unwrap();
    scene.run(rental, 900);
    refused(scene.close(scene.stranger, rental, Reason::OutOfFunds), "R-10", "a minute");
    scene.run(rental, 100);
    scene.close(scene.stranger, rental, Reason::OutOfFunds).unwrap();
}

#[test]
fn r_10_spot_ends_two_minutes_after_notice() {
    let mut scene = Scene::new();
    let on_demand = scene.open();
    let notice = |rental, notice| IRentals::giveNoticeCall { rental, notice };
    let call = notice(on_demand, Notice::Preempt);
    refused(scene.world.send(scene.operator, 0, &call), "R-10", "only spot");
    let mut quote = scene.quote();
    quote.model = 2;
    let spot = scene.open_with(&quote, FLUX).unwrap();
    let call = notice(spot, Notice::Preempt);
    refused(scene.world.send(scene.client, 0, &call), "H-2", "only its operator");
    refused(scene.world.send(scene.operator, 0, &notice(spot, Notice::None)), "R-10", "nothing");
    scene.world.send(scene.operator, 0, &call).unwrap();
    refused(scene.world.send(scene.operator, 0, &call), "R-10", "notice was given");
    scene.world.pass(60, 119);
    refused(scene.close(scene.operator, spot, Reason::Preempted), "R-10", "120 s after");
    scene.world.pass(1, 1);
    scene.close(scene.operator, spot, Reason::Preempted).unwrap();
}

#[test]
fn r_14_on_demand_is_repriced_a_day_after_notice_and_not_before() {
    let mut scene = Scene::new();
    let rental = scene.open();
    let call = IRentals::giveNoticeCall { rental, notice: Notice::Reprice };
    scene.world.send(scene.operator, 0, &call).unwrap();
    scene.world.pass(1_000, 86_399);
    refused(scene.close(scene.operator, rental, Reason::Repriced), "R-10", "24 h after");
    scene.world.pass(1, 1);
    scene.close(scene.operator, rental, Reason::Repriced).unwrap();
}

fn claim(rental: alloy_primitives::B256, active: u64, storage: u128) -> IRentals::claimCall {
    IRentals::claimCall { rental, activeS: active, storageGibS: storage }
}

#[test]
fn r_11_the_operator_claims_once_within_ahead_and_a_day_of_storage() {
    let mut scene = Scene::new();
    let rental = scene.open();
    scene.run(rental, 200);
    scene.world.pass(100, 300);
    scene.close(scene.client, rental, Reason::ClientStop).unwrap();
    let (operator, client) = (scene.operator, scene.client);
    let storage = 100 + 2 * (300 + 60);
    refused(scene.world.send(client, 0, &claim(rental, 250, 0)), "H-2", "only its operator");
    refused(scene.world.send(operator, 0, &claim(rental, 251, 0)), "R-11", "above 250 s");
    let greedy = claim(rental, 250, storage + 1);
    refused(scene.world.send(operator, 0, &greedy), "R-11", "GiB·s");
    scene.world.send(operator, 0, &claim(rental, 250, storage)).unwrap();
    refused(scene.world.send(operator, 0, &claim(rental, 250, 0)), "R-11", "one only");
    scene.closing_window();
    assert_eq!(scene.finalize(rental).money.paid, price(250, storage, 200));
}

#[test]
fn r_11_a_claim_ends_at_the_close_and_needs_a_receipt_and_a_reason_that_pays_all() {
    let mut scene = Scene::new();
    let rental = scene.open();
    scene.run(rental, 200);
    scene.world.pass(1, 7);
    let mut stopped = scene.clone();
    stopped.close(stopped.client, rental, Reason::ClientStop).unwrap();
    let operator = scene.operator;
    refused(stopped.world.send(operator, 0, &claim(rental, 208, 0)), "R-11", "above 207 s");
    scene.close(operator, rental, Reason::HostStop).unwrap();
    refused(scene.world.send(operator, 0, &claim(rental, 200, 0)), "R-11", "after host_stop");
    let mut fresh = Scene::new();
    let rental = fresh.open();
    refused(fresh.world.send(operator, 0, &claim(rental, 0, 0)), "R-10", "open, not closing");
    fresh.close(fresh.client, rental, Reason::ClientStop).unwrap();
    refused(fresh.world.send(operator, 0, &claim(rental, 0, 0)), "R-11", "without a receipt");
}

#[test]
fn r_11_newer_receipts_settle_during_closing_and_the_final_one_ends_it() {
    let mut scene = Scene::new();
    let rental = scene.open();
    scene.world.pass(50, 100);
    let older = scene.receipt(rental, 1, 90);
    scene.close(scene.client, rental, Reason::ClientStop).unwrap();
    scene.settle(&older).unwrap();
    let finalize = IRentals::finalizeCall { rental };
    refused(scene.world.send(scene.client, 0, &finalize), "R-12", "closing lasts");
    let last = Receipt { isFinal: true, ..scene.receipt(rental, 2, 95) };
    scene.settle(&last).unwrap();
    refused(scene.world.send(scene.operator, 0, &claim(rental, 95, 0)), "R-11", "the final one");
    assert_eq!(scene.finalize(rental).money.paid, price(95, 47, 95));
}

#[test]
fn r_11_closing_lasts_its_blocks_and_its_seconds() {
    let mut scene = Scene::new();
    let rental = scene.open();
    scene.close(scene.client, rental, Reason::ClientStop).unwrap();
    let rules = scene.world.network.rental;
    let finalize = IRentals::finalizeCall { rental };
    let early = [(rules.closing_blocks - 1, 1_000_000), (1_000_000, rules.closing_s - 1)];
    for (blocks, seconds) in early {
        let mut branch = scene.clone();
        branch.world.pass(blocks, seconds);
        refused(branch.world.send(branch.client, 0, &finalize), "R-12", "closing lasts");
    }
}

#[test]
fn r_12_a_fault_refunds_to_the_checkpoint_and_forfeits_a_fifth_of_the_last_day() {
    let mut scene = Scene::new();
    let rental = scene.open();
    scene.world.pass(500, 2_000);
    let receipt = Receipt { doneS: 1_500, ..scene.receipt(rental, 1, 2_000) };
    scene.settle(&receipt).unwrap();
    let end = scene.end(scene.operator, rental, Reason::HostStop);
    let paid = price(1_500, 1_000, 2_000);
    assert_eq!(end.money.paid, paid);
    assert_eq!(end.money.refunded, FLUX - paid - paid / 20 - paid / 100);
    let forfeited = 1_500 * RATE / 5;
    assert_eq!(end.money.forfeited, forfeited);
    assert_eq!(scene.world.machine(scene.machine.address()).bond, BOND - forfeited);
    assert_eq!(scene.world.totals().pool.atto(), forfeited);
    let again = IRentals::finalizeCall { rental };
    refused(scene.world.send(scene.stranger, 0, &again), "R-10", "closed");
}

#[test]
fn r_12_a_forfeit_is_at_most_the_bond() {
    let mut scene = Scene::new();
    let quote = Quote { bond: 5, ..scene.quote() };
    let rental = scene.open_with(&quote, FLUX).unwrap();
    scene.run(rental, 5_000);
    let end = scene.end(scene.operator, rental, Reason::HostStop);
    assert_eq!(end.money.forfeited, 5);
}

#[test]
fn r_12_a_forfeit_pays_the_price_difference_of_a_successor_opened_during_closing() {
    let mut scene = Scene::new();
    let rental = scene.open();
    scene.run(rental, 5_000);
    scene.close(scene.operator, rental, Reason::HostStop).unwrap();
    let mut quote = scene.quote();
    quote.rates.activeSecond = RATE + 10;
    quote.continues = rental;
    let successor = scene.open_with(&quote, FLUX).unwrap();
    scene.closing_window();
    let forfeited = scene.finalize(rental).money.forfeited;
    assert_eq!(forfeited, 5_000 * RATE / 5);
    assert_eq!(scene.world.rental(successor).money.successorFund, 864_000);
    assert_eq!(scene.world.totals().pool.atto(), forfeited - 864_000);
    scene.run(successor, 50);
    let money = scene.world.rental(successor).money;
    assert_eq!((money.successorUsed, money.successorFund), (500, 863_500));
    let end = scene.end(scene.client, successor, Reason::ClientStop);
    let paid = 50 * (RATE + 10) + 25 * STORAGE_RATE + 50 * TRAFFIC_RATE;
    assert_eq!(end.money.paid, paid);
    assert_eq!(end.money.refunded, FLUX + 500 - paid - paid / 20 - paid / 100);
    assert_eq!(scene.world.totals().pool.atto(), forfeited - 500);
}

#[test]
fn r_12_a_successor_opened_before_the_close_gets_nothing_of_the_forfeit() {
    let mut scene = Scene::new();
    let rental = scene.open();
    scene.run(rental, 5_000);
    let mut quote = scene.quote();
    quote.rates.activeSecond = RATE + 10;
    quote.continues = rental;
    let successor = scene.open_with(&quote, FLUX).unwrap();
    let forfeited = scene.end(scene.operator, rental, Reason::HostStop).money.forfeited;
    assert_eq!(scene.world.rental(successor).money.successorFund, 0);
    assert_eq!(scene.world.totals().pool.atto(), forfeited);
}

#[test]
fn r_13_a_stop_keeps_storage_until_end_by_at_most_and_bills_it_by_receipts() {
    let mut scene = Scene::new();
    let quote = scene.quote();
    let rental = scene.open_with(&quote, FLUX).unwrap();
    scene.run(rental, 100);
    let close = |reason, keep| IRentals::closeCall { rental, reason, keepS: keep };
    let host = close(Reason::HostStop, 10);
    refused(scene.world.send(scene.operator, 0, &host), "R-13", "only the client's stop");
    let mut long = scene.clone();
    long.world.send(long.client, 0, &close(Reason::ClientStop, u64::MAX)).unwrap();
    assert_eq!(long.world.rental(rental).times.closingEndsAt, quote.endBy);
    scene.world.send(scene.client, 0, &close(Reason::ClientStop, 10_000)).unwrap();
    let shown = scene.world.rental(rental);
    assert_eq!(shown.keepS, 10_000);
    assert_eq!(shown.times.closingEndsAt, scene.world.now_s + 60 + 10_000);
    assert_eq!(scene.world.machine(scene.machine.address()).openUnits, 0);
    scene.world.pass(2_000, 5_000);
    let mut tail = scene.receipt(rental, 2, 100);
    tail.storageGibS = 50 + 2 * 5_000;
    scene.settle(&tail).unwrap();
    scene.world.pass(2_000, 5_060);
    assert_eq!(scene.finalize(rental).money.paid, price(100, 10_050, 100));
}

#[test]
fn r_13_nothing_is_kept_after_the_final_receipt() {
    let mut scene = Scene::new();
    let rental = scene.open();
    scene.world.pass(10, 100);
    let last = Receipt { isFinal: true, ..scene.receipt(rental, 1, 100) };
    scene.settle(&last).unwrap();
    let close = IRentals::closeCall { rental, reason: Reason::ClientStop, keepS: 10 };
    refused(scene.world.send(scene.client, 0, &close), "R-13", "after the final receipt");
}

#[test]
fn r_15_silence_and_not_starting_are_half_failures_of_both_and_host_faults_whole_ones() {
    let mut scene = Scene::new();
    let marks = |scene: &Scene, party| {
        let marks = scene.world.view(RENTALS, &IRentals::marksOfCall { party });
        (marks.ended, marks.halfFailures)
    };
    let (client, machine) = (scene.client, scene.machine.address());
    let rental = scene.open();
    scene.end(client, rental, Reason::NotStarted);
    assert_eq!((marks(&scene, client), marks(&scene, machine)), ((1, 1), (1, 1)));
    let rental = scene.open();
    scene.end(scene.operator, rental, Reason::HostStop);
    assert_eq!((marks(&scene, client), marks(&scene, machine)), ((2, 1), (2, 3)));
    let rental = scene.open();
    scene.end(client, rental, Reason::ClientStop);
    assert_eq!((marks(&scene, client), marks(&scene, machine)), ((3, 1), (3, 3)));
}

#[test]
fn r_16_a_stranger_brings_an_abandoned_rental_to_closed() {
    let mut scene = Scene::new();
    let rental = scene.open();
    scene.run(rental, 100);
    scene.world.pass(1, 86_400);
    let end = scene.end(scene.stranger, rental, Reason::EndBy);
    assert_eq!(end.phase, Phase::Closed);
    assert_eq!(end.money.paid, price(100, 50, 100));
    let active = scene.world.view(RENTALS, &IRentals::activeOfCall { party: scene.client });
    assert!(active.is_empty(), "{active:?}");
    assert_eq!(scene.world.machine(scene.machine.address()).units, UNITS);
}

#[test]
fn r_16_end_by_closes_no_earlier() {
    let mut scene = Scene::new();
    let rental = scene.open();
    scene.world.pass(1, 86_399);
    refused(scene.close(scene.stranger, rental, Reason::EndBy), "R-10", "from end_by on");
}
