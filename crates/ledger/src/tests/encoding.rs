use alloy_primitives::{Address, B256};
use pouw_types::Amount;
use pouw_types::contracts::{Factor, Quote};

use super::world::Scene;
use crate::list::{self, Kind};
use crate::record::{Account, Machine, Marks, Record, Rental, Subsidy, Totals, Until};
use crate::{StateError, book::Book};

fn digest(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex()[..16].to_owned()
}

#[test]
fn records_have_the_bytes_that_are_published() {
    let account = Account { nonce: 7, balance: Amount::from_flux(1) };
    let hex = alloy_primitives::hex::encode(account.encode());
    assert_eq!(hex, "000000000000000700000000000000000de0b6b3a7640000");
    let scene = Scene::new();
    let quote = Quote {
        issuedAt: 1,
        expires: 2,
        startBy: 3,
        endBy: 4,
        factors: vec![Factor { name: "region".to_owned(), ppm: 1_000_000 }],
        ..scene.quote()
    };
    let mut rental = Rental::default();
    rental.shown.client = Address::repeat_byte(1);
    rental.shown.caps = quote.caps.clone();
    rental.shown.best.seq = 9;
    rental.fund_rate = 5;
    let machine = Machine { units: 4, bond: 10, retired: true, ..Machine::default() };
    let totals = Totals { pool: Amount::from_atto(3), ..Totals::default() };
    let subsidy =
        Subsidy { payout: Address::repeat_byte(2), amount: Amount::from_atto(4), vested: 1 };
    let encoded = [
        quote.encode(),
        rental.encode(),
        machine.encode(),
        totals.encode(),
        subsidy.encode(),
        Marks { ended: 1, half_failures: 2 }.encode(),
        Until(5).encode(),
    ];
    assert_eq!(encoded.each_ref().map(Vec::len), [326, 702, 173, 144, 40, 16, 8]);
    let pinned = [
        "5539e1a09bf2340f",
        "f2f3df904ba873ae",
        "c3f2f1b91662f9f7",
        "faa5843feab726a6",
        "460d07146267b721",
        "2c94206c2af544ac",
        "fa312525b02b0363",
    ];
    assert_eq!(encoded.each_ref().map(|bytes| digest(bytes)), pinned);
    assert_eq!(Quote::decode_stored(b"", &encoded[0]).unwrap(), quote);
    assert_eq!(Rental::decode_stored(b"", &encoded[1]).unwrap(), rental);
}

#[test]
fn bytes_that_are_no_record_are_named_with_their_key() {
    let good = Machine::default().encode();
    let mut long = good.clone();
    long.push(0);
    let mut flag = good.clone();
    *flag.last_mut().unwrap() = 2;
    for bad in [&good[..good.len() - 1], &long, &flag, &[]] {
        let error = Machine::decode_stored(&[0xab], bad).unwrap_err();
        assert!(matches!(&error, StateError::Corrupt { .. }), "{error}");
        assert_eq!(
            error.to_string(),
            "the state holds no valid machine under key ab: restore the data folder"
        );
    }
    let mut rental = Rental::default().encode();
    rental[0] = 99;
    assert!(Rental::decode_stored(b"", &rental).is_err(), "a phase that doesn't exist");
}

#[test]
fn a_list_keeps_its_order_whatever_leaves_it() {
    let memory = super::world::Memory::new();
    let mut book = Book::open(&memory).unwrap();
    let owner = Address::repeat_byte(1);
    let items: Vec<B256> = (1..=5).map(B256::repeat_byte).collect();
    for item in items.iter().chain(&items) {
        list::append(&mut book, Kind::Rentals, owner, *item).unwrap();
    }
    assert_eq!(list::entries(&mut book, Kind::Rentals, owner).unwrap(), items);
    let mut left = items;
    for index in [2, 0, 2, 0, 0] {
        let item = left.remove(index);
        list::remove(&mut book, Kind::Rentals, owner, item).unwrap();
        list::remove(&mut book, Kind::Rentals, owner, item).unwrap();
        assert_eq!(list::entries(&mut book, Kind::Rentals, owner).unwrap(), left);
    }
    let kept = book.into_writes().into_values().flatten().count();
    assert_eq!(kept, 0, "an empty list leaves nothing behind");
}
