//! C-23 … C-27: lane 2.

use alloy_primitives::{Address, B256, hex};
use pouw_types::Network;
use proptest::prelude::*;

use super::{LATER, core, genesis};
use crate::beacon::{Beacons, PERIOD, beacon_of};
use crate::vrf::{self, VrfError};
use crate::{
    Claim, Core, CreditClaim, CreditClaimError, CreditRecord, CreditSums, Evidence, Header,
    HeaderError, Lane, MAX_HEADER_BYTES, Shares, Standing, check_header_with, lane_key_of,
    slot_input, slot_of, wins,
};

const BEACON: B256 = B256::repeat_byte(6);
const SECRET: [u8; 32] = [9; 32];
const MACHINE: Address = Address::repeat_byte(0x4d);

fn parent() -> Standing {
    let mut parent = Standing { shares: Shares { matmul: 0, credit: 6_554 }, ..genesis() };
    parent.difficulty.lanes[2].difficulty = 1_000;
    parent
}

fn record(core: &Core, credit: u128) -> CreditRecord {
    CreditRecord { key: lane_key_of(&SECRET), credit, payout: core.miner }
}

fn sealed(core: Core, beacon: B256) -> Header {
    let proof = vrf::prove(&SECRET, &slot_input(beacon, slot_of(core.time_ms))).unwrap();
    let claim = CreditClaim::make(&core, MACHINE, &SECRET, proof);
    Header { core, claim: Claim::Credit(claim) }
}

fn credit_core(parent: &Standing) -> Core {
    Core { lane: Lane::Credit, ..core(parent) }
}

fn judge(header: &Header, record: &CreditRecord) -> Result<Standing, HeaderError> {
    let evidence = Evidence::Credit { beacon: BEACON, record };
    check_header_with(Network::devnet(), &parent(), header, LATER, evidence)
}

#[test]
fn credit_wins_a_block_that_weighs_nothing() {
    let header = sealed(credit_core(&parent()), BEACON);
    let record = record(&header.core, 1_000);
    let after = judge(&header, &record).unwrap();
    assert_eq!(after.total_weight, parent().total_weight);
    assert_eq!(Header::decode(&header.encode()), Ok(header.clone()));
    assert_eq!(header.encode().len(), Core::BYTES + CreditClaim::BYTES);
    assert_eq!(header.encode().len(), MAX_HEADER_BYTES);
    let lone = check_header_with(Network::devnet(), &parent(), &header, LATER, Evidence::Header);
    assert_eq!(lone, Err(HeaderError::EvidenceMissing(Lane::Credit)));
    // Where the state that judges it is not known yet, it is believed, and weighs nothing.
    let later = check_header_with(Network::devnet(), &parent(), &header, LATER, Evidence::Later);
    assert_eq!(later, Ok(after));
}

#[test]
fn c4_slots_of_the_future_have_to_wait() {
    let network = Network::mainnet();
    let mut parent = parent();
    parent.difficulty.lanes[2].difficulty = 1;
    let core = Core { time_ms: parent.time_ms + 30_000, ..credit_core(&parent) };
    let header = sealed(core, BEACON);
    let record = record(&header.core, 1_000);
    let at = |now_ms| {
        let evidence = Evidence::Credit { beacon: BEACON, record: &record };
        check_header_with(network, &parent, &header, now_ms, evidence)
    };
    assert!(at(header.core.time_ms - 2_000).is_ok());
    let error = at(header.core.time_ms - 2_001).unwrap_err();
    assert!(error.is_transient(), "{error}");
}

fn refused(header: &Header, record: &CreditRecord, expected: CreditClaimError) {
    assert_eq!(judge(header, record), Err(HeaderError::CreditClaim(expected)));
}

#[test]
fn c23_a_slot_is_later_than_the_parents() {
    let parent = parent();
    let found = slot_of(parent.time_ms);
    let late = Core { time_ms: parent.time_ms + 1, ..credit_core(&parent) };
    let header = sealed(late, BEACON);
    let expected = CreditClaimError::Slot { parent: found, found };
    refused(&header, &record(&header.core, 1_000), expected);
}

#[test]
fn c24_the_proof_is_of_this_key_beacon_and_slot() {
    let core = credit_core(&parent());
    let record = record(&core, 1_000);
    let proof = CreditClaimError::Vrf(VrfError::Proof);
    refused(&sealed(core.clone(), B256::ZERO), &record, proof);
    let next = slot_input(BEACON, slot_of(core.time_ms) + 1);
    let proof_of_next = vrf::prove(&SECRET, &next).unwrap();
    let claim = CreditClaim::make(&core, MACHINE, &SECRET, proof_of_next);
    refused(&Header { core, claim: Claim::Credit(claim) }, &record, proof);
}

#[test]
fn c25_a_slot_wins_in_proportion_to_credit() {
    let header = sealed(credit_core(&parent()), BEACON);
    let none = CreditClaimError::Threshold { credit: 0, difficulty: 1_000 };
    refused(&header, &record(&header.core, 0), none);
    let check = |first: u8, rest: u8, credit, difficulty, expected| {
        let mut output = [rest; 64];
        output[0] = first;
        assert_eq!(wins(&output, credit, difficulty), expected, "{first} {credit}/{difficulty}");
    };
    check(0x7f, 0xff, 1, 2, true);
    check(0x80, 0x00, 1, 2, false);
    check(0xff, 0xff, 2, 2, true);
    check(0xff, 0xff, 1, 2, false);
    check(0x00, 0x00, 1, u128::MAX, true);
    check(0x00, 0x01, 1, u128::MAX, false);
    check(0x00, 0x00, 0, 1, false);
    check(0xff, 0xff, u128::MAX, u128::MAX, true);
}

#[test]
fn c26_the_block_is_signed_by_the_key_and_pays_its_host() {
    let core = credit_core(&parent());
    let good = record(&core, 1_000);
    let Claim::Credit(mut claim) = sealed(core.clone(), BEACON).claim else { panic!("lane 2") };
    // Somebody who saw the proof puts it into a block of his own.
    let own = Core { tx_root: B256::ZERO, ..core };
    refused(&Header { core: own, claim: Claim::Credit(claim) }, &good, CreditClaimError::Signature);
    // Or names another machine.
    let other = CreditClaim { machine: Address::ZERO, ..claim };
    let header = Header { core: core.clone(), claim: Claim::Credit(other) };
    refused(&header, &good, CreditClaimError::Signature);
    claim.signature[0] ^= 1;
    let header = Header { core: core.clone(), claim: Claim::Credit(claim) };
    refused(&header, &good, CreditClaimError::Signature);
    let other = CreditRecord { payout: Address::ZERO, ..good };
    let expected = CreditClaimError::Payout { expected: other.payout, found: core.miner };
    refused(&sealed(core, BEACON), &other, expected);
}

#[test]
fn c27_a_beacon_is_two_periods_old_and_lane_2_adds_nothing() {
    let genesis = B256::repeat_byte(1);
    let run = |lanes: &dyn Fn(u64) -> Lane, until: u64| {
        (1..=until).fold(Beacons::genesis(genesis), |beacons, height| {
            beacons.after(height, lanes(height), B256::from(alloy_primitives::U256::from(height)))
        })
    };
    let hash = |_| Lane::Hash;
    assert_eq!(run(&hash, 2 * PERIOD - 2).current, genesis);
    let first = run(&hash, PERIOD - 1).next;
    assert_ne!(first, genesis);
    assert_eq!(run(&hash, 2 * PERIOD - 1).current, first);
    assert_eq!(run(&hash, 3 * PERIOD - 2).current, first);
    assert_ne!(run(&hash, 3 * PERIOD - 1).current, first);
    // The same from the blocks themselves.
    let id = |height: u64| B256::from(alloy_primitives::U256::from(height));
    let looked_up = |lanes: &dyn Fn(u64) -> Lane, height: u64| {
        let beacon = beacon_of(height, genesis, |heights| {
            let won = heights.filter(|height| lanes(*height) != Lane::Credit).map(id);
            Ok::<_, core::convert::Infallible>(won.collect())
        });
        beacon.unwrap()
    };
    let some = |height: u64| if height.is_multiple_of(3) { Lane::Credit } else { Lane::Matmul };
    let silent = |height: u64| {
        if (70..200).contains(&height) { Lane::Credit } else { Lane::Hash }
    };
    for lanes in [&hash as &dyn Fn(u64) -> Lane, &some, &silent] {
        for height in (1..6 * PERIOD).step_by(7).chain([127, 128, 191, 192, 193, 320]) {
            assert_eq!(looked_up(lanes, height), run(lanes, height - 1).current, "{height}");
        }
    }
    // A period of lane 2 alone keeps the beacon; one such block changes nothing of the others.
    let credit = |height| if height < PERIOD { Lane::Hash } else { Lane::Credit };
    assert_eq!(run(&credit, 3 * PERIOD - 1).current, first);
    let last_is_credit = |height| if height == 63 { Lane::Credit } else { Lane::Hash };
    assert_ne!(run(&last_is_credit, 63).next, first);
    assert_eq!(
        hex::encode(first),
        "5e9b9c4c1c3f13d273c05e0bcf9ed315e2b94d722c6d805af5e898f628bc1855"
    );
}

#[test]
fn credit_is_what_seven_complete_epochs_burned() {
    let sums = (0..20).fold(CreditSums::default(), |sums, epoch| sums.burned(epoch, 1 << epoch));
    let window = |from: u32, to: u32| (from..=to).map(|epoch| 1_u128 << epoch).sum::<u128>();
    assert_eq!(sums.credit(19), window(12, 18));
    assert_eq!(sums.credit(20), window(13, 19));
    assert_eq!(sums.credit(26), 1 << 19);
    assert_eq!(sums.credit(27), 0);
    assert_eq!(sums.credit(u64::MAX), 0);
}

proptest! {
    #[test]
    fn no_bytes_of_a_claim_reach_a_panic(lane in 1u8..3, tail in proptest::collection::vec(any::<u8>(), 0..170)) {
        let mut bytes = core(&genesis()).encode();
        bytes[Core::BYTES - 37] = lane;
        bytes.extend(tail);
        if let Ok(header) = Header::decode(&bytes) {
            prop_assert_eq!(header.encode(), bytes);
        }
    }
}
