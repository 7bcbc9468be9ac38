//! C-20 … C-22: lane 1, with products worked through by the reference of `pouw-matmul`.

use alloy_primitives::B256;
use pouw_matmul::reference::{certificate, mine};
use pouw_matmul::{Anchor, Core as WorkCore, Lines, Rejection, Salts, Shape};
use pouw_types::Network;

use super::{LATER, core, genesis};
use crate::{
    Claim, Core, DecodeError, Evidence, Header, HeaderError, Lane, MatmulClaim, MatmulClaimError,
    Shares, Standing, check_header_with,
};

const SHARES: Shares = Shares { matmul: 16_384, credit: 0 };
/// The least difficulty: all but one ticket in 2^220 win.
const LEAST: u128 = 1 << 18;

fn parent() -> Standing {
    let mut parent = Standing { shares: SHARES, ..genesis() };
    parent.difficulty.lanes[1].difficulty = LEAST;
    parent
}

fn lines(seed: i8) -> Lines {
    let data = (0..16 * 1_024u32).map(|place| (place % 127) as i8 - 63);
    Lines::new(16, 1_024, data.map(|entry| if entry == 63 { seed } else { entry }).collect())
        .unwrap()
}

/// A header of lane 1 and its certificate, anchored `depth` blocks back.
fn won(core: Core, ancestors: &[B256], depth: u8) -> (Header, Vec<u8>) {
    let (a, b) = (lines(1), lines(2));
    let salts = [Salts::new([1; 32]), Salts::new([2; 32])];
    let anchor = Anchor(ancestors[usize::from(depth) - 1].0);
    let (left, right) = ((&a, &salts[0]), (&b, &salts[1]));
    let work = mine(left, right, anchor, WorkCore(core.hash().0)).unwrap();
    let certificate = certificate(left, right, depth, (0, 0, 0)).unwrap();
    let claim = MatmulClaim { opened: certificate.claim, transcript: work.tickets[0].transcript };
    (Header { core, claim: Claim::Matmul(claim) }, certificate.encode())
}

fn matmul_core(parent: &Standing) -> Core {
    Core { lane: Lane::Matmul, ..core(parent) }
}

fn ancestors(parent: &Standing) -> Vec<B256> {
    vec![parent.id, B256::repeat_byte(8), B256::repeat_byte(7)]
}

fn verdict(
    parent: &Standing,
    header: &Header,
    certificate: &[u8],
    ancestors: &[B256],
) -> Result<Standing, HeaderError> {
    let evidence = Evidence::Matmul { ancestors, certificate };
    check_header_with(Network::devnet(), parent, header, LATER, evidence)
}

#[test]
fn a_product_wins_a_block() {
    let parent = parent();
    let ancestors = ancestors(&parent);
    for depth in 1..=3 {
        let (header, certificate) = won(matmul_core(&parent), &ancestors, depth);
        let after = verdict(&parent, &header, &certificate, &ancestors).unwrap();
        assert!(after.total_weight > parent.total_weight);
        assert_eq!(after.difficulty.lanes[1].since, 0);
    }
}

#[test]
fn c20_a_claim_of_lane_1_has_one_encoding_within_its_bounds() {
    let parent = parent();
    let (header, _) = won(matmul_core(&parent), &ancestors(&parent), 2);
    let bytes = header.encode();
    assert_eq!(bytes.len(), Core::BYTES + MatmulClaim::BYTES);
    assert_eq!(Header::decode(&bytes), Ok(header));
    for cut in Core::BYTES..bytes.len() {
        assert!(matches!(Header::decode(&bytes[..cut]), Err(DecodeError::Short(_))), "{cut}");
    }
    let at = |offset| Core::BYTES + offset;
    for (offset, value, what) in [
        (0, 0, "anchor depth"),
        (0, 17, "anchor depth"),
        (at(65) - Core::BYTES, 17, "size of the product"),
        (at(69) - Core::BYTES, 8, "size of the product"),
        (at(73) - Core::BYTES, 1, "size of the product"),
        (at(77) - Core::BYTES, 1, "place of the ticket"),
        (at(81) - Core::BYTES, 1, "place of the ticket"),
        (at(85) - Core::BYTES, 1, "place of the ticket"),
    ] {
        let mut other = bytes.clone();
        other[at(offset)] = value;
        assert_eq!(Header::decode(&other), Err(DecodeError::Canonical(what)), "byte {offset}");
    }
}

#[test]
fn c21_the_header_shows_an_anchor_and_a_winning_value() {
    let parent = parent();
    let ancestors = ancestors(&parent);
    let (header, certificate) = won(matmul_core(&parent), &ancestors, 3);
    let error = verdict(&parent, &header, &certificate, &ancestors[..2]).unwrap_err();
    assert_eq!(error, HeaderError::MatmulClaim(MatmulClaimError::Anchor(3)));

    let Claim::Matmul(claim) = &header.claim else { panic!("lane 1") };
    let hash = header.core.hash();
    let difficulty = u128::MAX;
    assert_eq!(
        claim.check(hash, &ancestors, difficulty),
        Err(MatmulClaimError::Target { difficulty })
    );
    assert!(matches!(
        claim.check(hash, &ancestors, LEAST - 1),
        Err(MatmulClaimError::Difficulty(_))
    ));
    // One work, one block: the value depends on core and anchor.
    let value = claim.value(hash, ancestors[2]);
    assert_ne!(value, claim.value(B256::ZERO, ancestors[2]));
    assert_ne!(value, claim.value(hash, ancestors[1]));
}

#[test]
fn c22_no_block_of_lane_1_counts_without_its_certificate() {
    let parent = parent();
    let ancestors = ancestors(&parent);
    let (header, certificate) = won(matmul_core(&parent), &ancestors, 1);
    let lone = check_header_with(Network::devnet(), &parent, &header, LATER, Evidence::Header);
    assert_eq!(lone, Err(HeaderError::EvidenceMissing(Lane::Matmul)));

    // A transcript that was made up: its value wins, and nothing was multiplied for it.
    let mut made_up = header.clone();
    let Claim::Matmul(claim) = &mut made_up.claim else { panic!("lane 1") };
    claim.transcript = [0; 8];
    assert!(claim.check(made_up.core.hash(), &ancestors, LEAST).is_ok());
    let error = verdict(&parent, &made_up, &certificate, &ancestors).unwrap_err();
    assert_eq!(error, HeaderError::MatmulClaim(MatmulClaimError::OtherTicket));

    // A certificate of other sizes, and one that was broken on the way.
    let mut other = header.clone();
    let Claim::Matmul(claim) = &mut other.claim else { panic!("lane 1") };
    claim.opened.shape = Shape::new(32, 1_024, 16).unwrap();
    let error = verdict(&parent, &other, &certificate, &ancestors).unwrap_err();
    assert_eq!(error, HeaderError::MatmulClaim(MatmulClaimError::OtherTicket));
    let mut broken = certificate.clone();
    broken[2_000] ^= 1;
    assert!(matches!(
        verdict(&parent, &header, &broken, &ancestors),
        Err(HeaderError::MatmulClaim(MatmulClaimError::Certificate(
            Rejection::Commitment(_) | Rejection::Entry(_)
        )))
    ));
    assert!(matches!(
        verdict(&parent, &header, &certificate[1..], &ancestors),
        Err(HeaderError::MatmulClaim(MatmulClaimError::Certificate(Rejection::Decode(_))))
    ));

    // The same work for another block of the same height.
    let another = Core { time_ms: header.core.time_ms + 1, ..header.core };
    let stolen = Header { core: another, claim: header.claim };
    assert!(verdict(&parent, &stolen, &certificate, &ancestors).is_err());
}
