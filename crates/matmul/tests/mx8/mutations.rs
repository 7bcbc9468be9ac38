//! What is changed in a certificate, or around it, makes it worthless.

use pouw_matmul::{
    Anchor, Certificate, Core, DecodeError, Rejection, ShapeError, Side, VERSION, verify,
};
use proptest::prelude::*;

use crate::job::{Fill, Job, digest};

const DEPTH: u8 = 3;

fn job() -> (Job, Certificate) {
    let job = Job::new((32, 2048, 48), Fill::Random);
    let ticket = job.reference().tickets[7];
    let certificate = job.certificate(DEPTH, &ticket);
    (job, certificate)
}

fn check(name: &str, change: impl FnOnce(&mut Vec<u8>), expected: Rejection) {
    let (job, certificate) = job();
    let mut bytes = certificate.encode();
    change(&mut bytes);
    let ancestors = job.ancestors(DEPTH);
    let result = verify(&bytes, &job.work(&ancestors, 1 << 18));
    assert_eq!(result.unwrap_err(), expected, "{name}");
}

fn put(place: usize, number: u32) -> impl FnOnce(&mut Vec<u8>) {
    move |bytes| bytes[place..place + 4].copy_from_slice(&number.to_le_bytes())
}

const LENGTH: usize = 122 + 2 * 16384 + (2 + 3) * 32;
const LEAVES: usize = 122;
const PATHS: usize = LEAVES + 2 * 16384;

#[test]
fn m8_a_length_that_does_not_follow_from_the_fields_is_refused() {
    let wrong = |found| DecodeError::Length { expected: LENGTH, found }.into();
    check("trailing byte", |bytes| bytes.push(0), wrong(LENGTH + 1));
    check("doubled", |bytes| bytes.extend(bytes.clone()), wrong(2 * LENGTH));
    check("truncated", |bytes| bytes.truncate(LENGTH - 1), wrong(LENGTH - 1));
    check("no path", |bytes| bytes.truncate(PATHS), wrong(PATHS));
    check("head alone", |bytes| bytes.truncate(122), wrong(122));
    check("less than a head", |bytes| bytes.truncate(121), DecodeError::Head(121).into());
    check("nothing", Vec::clear, DecodeError::Head(0).into());
}

#[test]
fn m8_each_field_of_the_head_is_bounded_before_anything_is_allocated() {
    let refused = |error: DecodeError| Rejection::from(error);
    check("version", |bytes| bytes[0] = VERSION + 1, refused(DecodeError::Version(2)));
    check("depth 0", |bytes| bytes[1] = 0, refused(DecodeError::Depth(0)));
    check("depth 17", |bytes| bytes[1] = 17, refused(DecodeError::Depth(17)));
    let lines = |side, count| refused(ShapeError::Lines { side, count }.into());
    check("m", put(2, 33), lines(Side::Left, 33));
    check("n", put(6, u32::MAX), lines(Side::Right, u32::MAX));
    check("k", put(10, 1 << 31), refused(ShapeError::Inner(1 << 31).into()));
    let position = |i, j, s| refused(DecodeError::Position { i, j, s });
    check("i", put(14, 2), position(2, 0, 1));
    check("j", put(18, 3), position(1, 3, 1));
    check("s", put(22, 2), position(1, 0, 2));
}

#[test]
fn m4_sizes_places_and_roots_cannot_be_changed_afterwards() {
    check("m", put(2, 48), DecodeError::Length { expected: LENGTH + 32, found: LENGTH }.into());
    check("i", put(14, 0), Rejection::Commitment(Side::Left));
    check("j", put(18, 1), Rejection::Commitment(Side::Right));
    check("s", put(22, 0), Rejection::Commitment(Side::Left));
    check("R_A", |bytes| bytes[26] ^= 1, Rejection::Commitment(Side::Left));
    check("R_B", |bytes| bytes[58] ^= 1, Rejection::Commitment(Side::Right));
}

#[test]
fn m3_salts_leaves_and_paths_lead_to_the_root_or_nowhere() {
    let (left, right) = (Rejection::Commitment(Side::Left), Rejection::Commitment(Side::Right));
    check("salt of A", |bytes| bytes[90] ^= 1, left);
    check("salt of B", |bytes| bytes[106] ^= 1, right);
    let small = |byte: &mut u8| *byte = if *byte == 0 { 1 } else { 0 };
    check("leaf of A", |bytes| small(&mut bytes[LEAVES]), left);
    check("leaf of B", |bytes| small(&mut bytes[PATHS - 1]), right);
    check("path of A", |bytes| bytes[PATHS] ^= 1, left);
    check("path of B", |bytes| *bytes.last_mut().unwrap() ^= 1, right);
    check("leaves swapped", |bytes| bytes[LEAVES..PATHS].rotate_left(16384), left);
}

#[test]
fn m1_an_opened_entry_outside_int7_is_refused_before_any_hash() {
    for value in [64_i8, -64, i8::MIN, i8::MAX] {
        let put = |place: usize| move |bytes: &mut Vec<u8>| bytes[place] = value.cast_unsigned();
        check("A", put(LEAVES + 5), Rejection::Entry(Side::Left));
        check("B", put(PATHS - 5), Rejection::Entry(Side::Right));
    }
}

#[test]
fn m8_an_anchor_that_the_chain_does_not_have_is_refused() {
    let (job, certificate) = job();
    let none = job.work(&[], 1 << 18);
    assert_eq!(certificate.verify(&none), Err(Rejection::Anchor(DEPTH)));
    let young = job.ancestors(DEPTH);
    let young = job.work(&young[..2], 1 << 18);
    assert_eq!(certificate.verify(&young), Err(Rejection::Anchor(DEPTH)));
}

#[test]
fn m4_one_work_serves_one_block() {
    // The transcripts differ, not only the values: no other block, miner, time or size can use them.
    let (job, certificate) = job();
    let ancestors = job.ancestors(DEPTH);
    let own = certificate.verify(&job.work(&ancestors, 1 << 18)).unwrap();
    let check = |core: Core, ancestors: &[Anchor]| {
        let mut other = Job::new((32, 2048, 48), Fill::Random);
        other.core = core;
        let ticket = certificate.verify(&other.work(ancestors, 1 << 18)).unwrap();
        assert_ne!(ticket.transcript, own.transcript);
    };
    check(Core(digest("another block")), &ancestors);
    let mut stale = ancestors.clone();
    stale.rotate_right(1);
    check(job.core, &stale);
    // The paths of n = 64 are as long as those of n = 48: only the key tells the difference.
    let mut wider = certificate.encode();
    put(6, 64)(&mut wider);
    let (_, ticket) = verify(&wider, &job.work(&ancestors, 1 << 18)).unwrap();
    assert_ne!(ticket.transcript, own.transcript);
}

#[test]
fn m7_a_target_that_would_overflow_cannot_be_stated() {
    for macs in [0, 1, (1 << 18) - 1] {
        assert!(pouw_matmul::Difficulty::new(macs).is_err());
    }
    let (job, certificate) = job();
    let ancestors = job.ancestors(DEPTH);
    let hardest = certificate.verify(&job.work(&ancestors, u128::MAX));
    assert_eq!(hardest, Err(Rejection::Target));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn m8_any_changed_bit_of_a_certificate_changes_what_it_proves(bit in 0..LENGTH * 8) {
        let (job, certificate) = job();
        let ancestors = job.ancestors(DEPTH);
        let work = job.work(&ancestors, 1 << 18);
        let own = certificate.verify(&work).unwrap();
        let mut bytes = certificate.encode();
        bytes[bit / 8] ^= 1 << (bit % 8);
        // Another n with paths as long as before is another job; its ticket is not this one.
        if let Ok((_, ticket)) = verify(&bytes, &work) {
            prop_assert_ne!(ticket.transcript, own.transcript);
        }
    }

    #[test]
    fn m8_no_bytes_reach_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40_000)) {
        let job = Job::new((16, 1024, 16), Fill::Constant(0));
        let ancestors = job.ancestors(DEPTH);
        prop_assert!(verify(&bytes, &job.work(&ancestors, 1 << 18)).is_err());
    }
}
