use alloy_primitives::{Address, B256};
use pouw_types::contracts::IRentals::{self, Phase, Reason};
use pouw_types::contracts::{Caps, Extension, Factor, Quote, RENTALS, Term};
use pouw_types::signing::Signable;

use super::world::{FLUX, RATE, STORAGE_RATE, Scene, UNITS, party, refused, sign};

#[test]
fn a_rental_is_named_by_its_quote_and_listed_for_both_sides() {
    let mut scene = Scene::new();
    let quote = scene.quote();
    let id = scene.open_with(&quote, FLUX).unwrap();
    let rental = scene.world.rental(id);
    assert_eq!(rental.phase, Phase::Open);
    assert_eq!((rental.money.deposited, rental.money.escrow), (FLUX, FLUX));
    assert_eq!((rental.times.openedAt, rental.times.openedBlock), (quote.issuedAt, 1));
    assert_eq!(scene.world.view(RENTALS, &IRentals::quoteOfCall { rental: id }), quote);
    for party in [quote.client, quote.machine] {
        assert_eq!(scene.world.view(RENTALS, &IRentals::activeOfCall { party }), vec![id]);
    }
    let machine = scene.world.machine(quote.machine);
    assert_eq!((machine.openUnits, machine.lockedBond), (1, FLUX));
    assert_eq!(scene.world.totals().escrows.atto(), FLUX);
}

#[test]
fn r_1_only_the_client_names_a_signer_and_never_the_machine() {
    let mut scene = Scene::new();
    let rental = scene.open();
    let name = |signer| IRentals::setSignerCall { rental, signer };
    let new = party(120).address();
    refused(scene.world.send(scene.stranger, 0, &name(new)), "R-1", "only the client");
    let machine = scene.machine.address();
    refused(scene.world.send(scene.client, 0, &name(machine)), "R-1", "can't sign for its client");
    refused(scene.world.send(scene.client, 0, &name(Address::ZERO)), "R-1", "is zero");
    let same = scene.signer.address();
    refused(scene.world.send(scene.client, 0, &name(same)), "R-1", "the signer already");
    scene.world.send(scene.client, 0, &name(new)).unwrap();
    assert_eq!(scene.world.rental(rental).signer, new);
}

#[test]
fn r_1_a_new_signer_takes_nothing_back_that_the_old_one_signed() {
    let mut scene = Scene::new();
    let rental = scene.open();
    scene.world.pass(50, 100);
    let earned = scene.receipt(rental, 1, 100);
    let signer = party(120).address();
    scene.world.send(scene.client, 0, &IRentals::setSignerCall { rental, signer }).unwrap();
    scene.world.pass(500, 1_000);
    scene.settle(&earned).unwrap();
    let later = scene.receipt(rental, 2, 1_100);
    refused(scene.settle(&later), "R-5", "didn't sign");
}

#[test]
fn r_2_a_quote_is_checked_field_by_field() {
    type Edit = fn(&mut Quote);
    let check = |edit: Edit, part: &str| {
        let mut scene = Scene::new();
        let mut quote = scene.quote();
        edit(&mut quote);
        refused(scene.open_with(&quote, FLUX), "R-2", part);
    };
    check(|quote| quote.units = 0, "at least 1");
    check(|quote| quote.expires = quote.issuedAt + 301, "at most 300 s");
    check(|quote| quote.expires = quote.issuedAt - 1, "at most 300 s");
    check(|quote| quote.startBy = quote.issuedAt, "not in this order");
    check(|quote| quote.endBy = quote.startBy - 1, "not in this order");
    check(|quote| quote.model = 3, "0 to 2 exist");
    check(|quote| quote.earns = 2, "0 and 1 exist");
    check(|quote| quote.refundWindowS = 3_601, "above 3600 s");
    check(|quote| quote.term.activeSecond = 1, "without a term");
    check(
        |quote| {
            quote.issuedAt += 61;
            quote.expires += 61;
        },
        "in the future",
    );
    check(|quote| quote.factors = vec![Factor { name: "x".to_owned(), ppm: 1 }; 33], "33 factors");
    check(|quote| quote.factors = vec![Factor { name: "x".repeat(65), ppm: 1 }], "65 bytes");
}

#[test]
fn r_2_a_quote_opens_once() {
    let mut scene = Scene::new();
    let quote = scene.quote();
    scene.open_with(&quote, FLUX).unwrap();
    refused(scene.open_with(&quote, FLUX), "R-2", "opened rental");
    let id = quote.digest(scene.chain_id());
    scene.end(scene.client, id, Reason::ClientStop);
    refused(scene.open_with(&quote, FLUX), "R-2", "opened rental");
}

#[test]
fn r_2_an_altered_or_foreign_quote_opens_nothing() {
    let mut scene = Scene::new();
    let quote = scene.quote();
    let stranger = party(130);
    refused(scene.open_signed_by(&stranger, &quote, FLUX), "R-2", "didn't sign");
    let call = IRentals::openCall {
        signature: sign(&scene.machine, quote.digest(scene.chain_id())),
        quote: Quote { units: 2, ..quote.clone() },
        signer: scene.signer.address(),
    };
    refused(scene.world.send(scene.client, FLUX, &call), "R-2", "didn't sign");
    let call = IRentals::openCall {
        signature: sign(&scene.machine, quote.digest(scene.chain_id() + 1)),
        quote,
        signer: scene.signer.address(),
    };
    refused(scene.world.send(scene.client, FLUX, &call), "R-2", "didn't sign");
}

#[test]
fn r_3_the_deposit_covers_ten_minutes_a_day_of_storage_and_the_fees() {
    let mut scene = Scene::new();
    let quote = scene.quote();
    let price = 600 * RATE + 2 * 86_400 * STORAGE_RATE;
    let minimum = price + price * 50_000 / 1_000_000 + price * 10_000 / 1_000_000;
    refused(scene.open_with(&quote, minimum - 1), "R-3", "below the minimum");
    scene.open_with(&quote, minimum).unwrap();
    let mut short = scene.quote();
    short.nonce = 2;
    short.caps.activeS = 10;
    short.caps.storageGib = 0;
    let price = 10 * RATE;
    let minimum = price + price * 50_000 / 1_000_000 + price * 10_000 / 1_000_000;
    refused(scene.open_with(&short, minimum - 1), "R-3", "below the minimum");
    scene.open_with(&short, minimum).unwrap();
}

#[test]
fn r_3_an_expired_quote_opens_only_within_the_time_for_a_reorg() {
    let mut scene = Scene::new();
    let quote = scene.quote();
    scene.world.pass(1, 300 + 900 + 1);
    refused(scene.open_with(&quote, FLUX), "R-3", "expired");
    scene.world.now_s -= 1;
    scene.open_with(&quote, FLUX).unwrap();
}

#[test]
fn r_3_units_and_bond_must_be_free() {
    let mut scene = Scene::new();
    let mut quote = scene.quote();
    quote.units = UNITS + 1;
    refused(scene.open_with(&quote, FLUX), "R-3", "4 are free");
    quote.units = UNITS;
    quote.bond = 10 * FLUX + 1;
    refused(scene.open_with(&quote, FLUX), "R-3", "10 FLUX are free");
    quote.bond = 10 * FLUX;
    scene.open_with(&quote, FLUX).unwrap();
    let mut next = scene.quote();
    next.nonce = 2;
    refused(scene.open_with(&next, FLUX), "R-3", "0 are free");
}

#[test]
fn r_3_only_the_quoted_client_opens() {
    let mut scene = Scene::new();
    let quote = scene.quote();
    let call = IRentals::openCall {
        signature: sign(&scene.machine, quote.digest(scene.chain_id())),
        quote,
        signer: scene.signer.address(),
    };
    refused(scene.world.send(scene.stranger, FLUX, &call), "R-3", "for client");
}

fn extension(scene: &Scene, rental: B256, seq: u64) -> Extension {
    let caps = Caps { activeS: 50_000, ..scene.quote().caps };
    let now = scene.world.now_s;
    Extension { rental, seq, endBy: now + 100_000, caps, expires: now + 300 }
}

fn extend(scene: &Scene, extension: &Extension) -> IRentals::extendCall {
    let signature = sign(&scene.machine, extension.digest(scene.chain_id()));
    IRentals::extendCall { extension: extension.clone(), signature }
}

#[test]
fn r_8_an_extension_raises_end_and_caps_with_both_sides_consent() {
    let mut scene = Scene::new();
    let rental = scene.open();
    let good = extension(&scene, rental, 1);
    let call = extend(&scene, &good);
    refused(scene.world.send(scene.operator, 0, &call), "R-1", "only the client");
    let early = Extension { endBy: scene.quote().endBy - 1, ..good.clone() };
    let call_early = extend(&scene, &early);
    refused(scene.world.send(scene.client, 0, &call_early), "R-8", "before the present end");
    let mut less = good.clone();
    less.caps.trafficB -= 1;
    let call_less = extend(&scene, &less);
    refused(scene.world.send(scene.client, 0, &call_less), "R-8", "below the present one");
    let forged = IRentals::extendCall { signature: vec![1; 65].into(), ..call.clone() };
    refused(scene.world.send(scene.client, 0, &forged), "R-8", "didn't sign");
    scene.world.send(scene.client, 0, &call).unwrap();
    refused(scene.world.send(scene.client, 0, &call), "R-8", "2 is the next");
    let shown = scene.world.rental(rental);
    assert_eq!((shown.times.endBy, shown.caps.activeS), (good.endBy, 50_000));
    assert_eq!(shown.extensions, 1);
    let next = extend(&scene, &extension(&scene, rental, 2));
    scene.world.pass(1, 301);
    refused(scene.world.send(scene.client, 0, &next), "R-8", "expired");
}

#[test]
fn r_8_anyone_tops_up_and_nobody_with_nothing() {
    let mut scene = Scene::new();
    let rental = scene.open();
    let call = IRentals::topUpCall { rental };
    refused(scene.world.send(scene.stranger, 0, &call), "R-8", "nothing was sent");
    scene.world.send(scene.stranger, 5, &call).unwrap();
    let money = scene.world.rental(rental).money;
    assert_eq!((money.deposited, money.escrow), (FLUX + 5, FLUX + 5));
}

#[test]
fn r_8_a_rental_has_one_successor_of_the_same_client() {
    let mut scene = Scene::new();
    let first = scene.open();
    let mut quote = scene.quote();
    quote.continues = first;
    let foreign = Quote { client: scene.stranger, ..quote.clone() };
    refused(scene.open_with(&foreign, FLUX), "R-8", "another client's");
    let second = scene.open_with(&quote, FLUX).unwrap();
    assert_eq!(scene.world.rental(first).successor, second);
    assert_eq!(scene.world.rental(second).predecessor, first);
    quote.nonce = 3;
    refused(scene.open_with(&quote, FLUX), "R-8", "continues that rental already");
    quote.continues = B256::repeat_byte(9);
    refused(scene.open_with(&quote, FLUX), "R-2", "no rental");
}

#[test]
fn r_14_a_term_needs_a_bond_of_a_tenth_and_cant_be_repriced() {
    let mut scene = Scene::new();
    let mut quote = scene.quote();
    quote.term = Term { lengthS: 10_000, activeSecond: FLUX / 1_000 };
    quote.rates.activeSecond = FLUX / 900;
    let deposit = 100 * FLUX;
    quote.bond = FLUX - 1;
    refused(scene.open_with(&quote, deposit), "R-14", "a tenth of the term's price");
    quote.bond = FLUX;
    let rental = scene.open_with(&quote, deposit).unwrap();
    let call = IRentals::giveNoticeCall { rental, notice: IRentals::Notice::Reprice };
    refused(scene.world.send(scene.operator, 0, &call), "R-14", "without a term");
    quote.model = 2;
    quote.nonce = 2;
    refused(scene.open_with(&quote, deposit), "R-14", "only on-demand");
}
