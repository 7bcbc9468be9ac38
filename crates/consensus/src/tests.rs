//! One violating test for each rule that a header or body can break, and pinned vectors.

use alloy_primitives::{Address, B256, U256, hex};
use pouw_types::Network;

use crate::{
    BodyError, Candidate, Claim, Core, DecodeError, HashClaimError, Header, HeaderError, Lane,
    Outcome, Puzzle, Shares, Solver, Standing, check_body, check_header, receipts_root, replaces,
    tx_root,
};

mod credit;
mod matmul;
mod rewards;
mod shares;

/// A chain that is all of lane 0.
fn genesis() -> Standing {
    let network = Network::devnet();
    let shares = Shares::HASH_ONLY;
    let difficulty = crate::Difficulty::genesis(&crate::Pace::of(network), shares);
    Standing { shares, difficulty, ..Standing::genesis(network, B256::repeat_byte(9)) }
}

fn core(parent: &Standing) -> Core {
    Core {
        parent: parent.id,
        height: parent.height + 1,
        time_ms: parent.time_ms + 2_000,
        tx_root: tx_root::<Vec<u8>>(&[]),
        receipts_root: receipts_root::<Vec<u8>>(&[]),
        state_root: B256::repeat_byte(3),
        shares: parent.shares,
        lane: Lane::Hash,
        miner: Address::repeat_byte(4),
        gas_used: 21_000,
        base_fee: 1_000_000_000,
    }
}

fn seal(core: Core, difficulty: u128) -> Header {
    let network = Network::devnet();
    let puzzle = Puzzle::new(network.chain_id, network.lane_zero, core.hash());
    let solver = Solver::new(network.lane_zero.n, network.lane_zero.k).unwrap();
    for nonce in 0u64..100_000 {
        let nonce = B256::from(U256::from(nonce));
        for claim in solver.solve(&puzzle, nonce) {
            if puzzle.check(&claim, difficulty).is_ok() {
                return Header { core, claim: Claim::Hash(claim) };
            }
        }
    }
    panic!("no solution in 100,000 nonces");
}

fn hash_claim(header: &Header) -> &crate::HashClaim {
    let Claim::Hash(claim) = &header.claim else { panic!("lane 0") };
    claim
}

fn check(change: impl FnOnce(&mut Core), now_ms: u64) -> Result<Standing, HeaderError> {
    let parent = genesis();
    let mut core = core(&parent);
    change(&mut core);
    let header = seal(core, parent.difficulty.of(Lane::Hash));
    check_header(Network::devnet(), &parent, &header, now_ms)
}

const LATER: u64 = 4_000_000_000_000;

#[test]
fn a_sealed_header_passes_and_moves_the_standing() {
    let after = check(|_| {}, LATER).unwrap();
    assert_eq!(after.height, 1);
    assert!(after.total_weight > U256::ZERO);
    let again = Standing::decode_state(after.id, &after.encode_state()).unwrap();
    assert_eq!(again, after);
}

#[test]
fn c1_a_header_has_one_encoding_of_bounded_length() {
    let parent = genesis();
    let header = seal(core(&parent), 1);
    let bytes = header.encode();
    assert_eq!(bytes.len(), Core::BYTES + 33 + 36);
    assert_eq!(Header::decode(&bytes), Ok(header));
    for cut in 0..bytes.len() {
        assert!(Header::decode(&bytes[..cut]).is_err(), "{cut} bytes");
    }
    let longer = [&bytes[..], &[0]].concat();
    assert_eq!(Header::decode(&longer), Err(DecodeError::Trailing(1)));
    assert!(matches!(Header::decode(&[1; 351]), Err(DecodeError::TooLong { .. })));
    let mut other = bytes.clone();
    other[0] = 2;
    assert_eq!(Header::decode(&other), Err(DecodeError::Version(2)));
    let mut long_solution = bytes;
    long_solution[Core::BYTES + 32] = 101;
    assert!(matches!(Header::decode(&long_solution), Err(DecodeError::TooLong { .. })));
}

#[test]
fn c2_a_header_follows_its_parent() {
    let result = check(|core| core.parent = B256::ZERO, LATER);
    assert!(matches!(result, Err(HeaderError::Parent { .. })));
    let result = check(|core| core.height = 2, LATER);
    assert_eq!(result, Err(HeaderError::Height { parent: 0, found: 2 }));
}

#[test]
fn c3_time_moves_forward() {
    let start = genesis().time_ms;
    let result = check(|core| core.time_ms = start, LATER);
    assert_eq!(result, Err(HeaderError::TimeNotLater { parent: start, found: start }));
    assert!(check(|core| core.time_ms = start + 1, LATER).is_ok());
}

#[test]
fn c4_a_block_of_the_future_has_to_wait() {
    let start = genesis().time_ms;
    let error = check(|core| core.time_ms = start + 2_001, start).unwrap_err();
    assert_eq!(error, HeaderError::TimeInFuture { limit: start + 2_000, found: start + 2_001 });
    assert!(error.is_transient());
    assert!(check(|core| core.time_ms = start + 2_000, start).is_ok());
}

#[test]
fn c5_shares_are_those_of_the_epoch() {
    let found = Shares { matmul: 1, credit: 0 };
    let result = check(|core| core.shares = found, LATER);
    assert_eq!(result, Err(HeaderError::Shares { expected: Shares::HASH_ONLY, found }));
}

#[test]
fn c6_lanes_without_share_win_nothing() {
    let result = check(|core| core.lane = Lane::Matmul, LATER);
    assert_eq!(result, Err(HeaderError::LaneWithoutShare(Lane::Matmul)));
    let mut bytes = seal(core(&genesis()), 1).encode();
    bytes[Core::BYTES - 8 - 8 - 20 - 1] = 3;
    assert_eq!(Header::decode(&bytes), Err(DecodeError::Lane(3)));
}

#[test]
fn c7_the_solution_verifies() {
    let parent = genesis();
    let mut header = seal(core(&parent), parent.difficulty.of(Lane::Hash));
    let Claim::Hash(claim) = &mut header.claim else { panic!("lane 0") };
    claim.solution[0] ^= 1;
    let puzzle =
        Puzzle::new(Network::devnet().chain_id, Network::devnet().lane_zero, header.core.hash());
    let claim = hash_claim(&header);
    assert!(matches!(puzzle.check(claim, 1), Err(HashClaimError::Solution { .. })));
    assert!(matches!(
        check_header(Network::devnet(), &parent, &header, LATER),
        Err(HeaderError::HashClaim(_))
    ));
}

#[test]
fn c7_a_solution_serves_one_core_and_one_chain() {
    let network = Network::devnet();
    let core = core(&genesis());
    let sealed = seal(core.clone(), 1);
    let claim = hash_claim(&sealed);
    let check = |chain_id, hash| Puzzle::new(chain_id, network.lane_zero, hash).check(claim, 1);
    assert_eq!(check(network.chain_id, core.hash()), Ok(()));
    assert!(check(network.chain_id + 1, core.hash()).is_err());
    assert!(check(network.chain_id, B256::ZERO).is_err());
}

#[test]
fn c8_the_ticket_is_below_the_target() {
    let parent = genesis();
    let header = seal(core(&parent), 1);
    let claim = hash_claim(&header);
    let puzzle =
        Puzzle::new(Network::devnet().chain_id, Network::devnet().lane_zero, header.core.hash());
    let difficulty = u128::MAX;
    assert_eq!(puzzle.check(claim, difficulty), Err(HashClaimError::Target { difficulty }));
}

fn outcome() -> (Core, Outcome) {
    let core = core(&genesis());
    let body = Outcome {
        body_bytes: 0,
        tx_root: core.tx_root,
        receipts_root: core.receipts_root,
        state_root: core.state_root,
        gas_used: core.gas_used,
        base_fee: core.base_fee,
    };
    (core, body)
}

#[test]
fn c9_to_c15_a_body_is_what_its_header_says() {
    let network = Network::devnet();
    let broken = |change: fn(&mut Core, &mut Outcome)| {
        let (mut core, mut body) = outcome();
        change(&mut core, &mut body);
        check_body(network, &core, &body)
    };
    assert_eq!(broken(|_, _| {}), Ok(()));
    assert!(matches!(
        broken(|_, body| body.body_bytes = crate::MAX_BODY_BYTES + 1),
        Err(BodyError::Bytes { .. })
    ));
    let root = |result, expected| match result {
        Err(BodyError::Root { what, .. }) => assert_eq!(what, expected),
        other => panic!("{expected}: {other:?}"),
    };
    root(broken(|_, body| body.tx_root = B256::ZERO), "transaction root");
    root(broken(|_, body| body.receipts_root = B256::ZERO), "receipts root");
    root(broken(|_, body| body.state_root = B256::ZERO), "state root");
    assert!(matches!(broken(|_, body| body.gas_used = 1), Err(BodyError::GasUsed { .. })));
    assert!(matches!(
        broken(|core, body| {
            core.gas_used = Network::devnet().block_gas + 1;
            body.gas_used = core.gas_used;
        }),
        Err(BodyError::GasLimit { .. })
    ));
    assert!(matches!(broken(|core, _| core.base_fee += 1), Err(BodyError::BaseFee { .. })));
}

#[test]
fn c16_the_heaviest_chain_wins_and_ties_go_to_what_was_first() {
    let check = |weight: u64, extends_head, expected| {
        let candidate = Candidate { total_weight: U256::from(weight), extends_head };
        assert_eq!(replaces(U256::from(10), candidate), expected, "{weight} {extends_head}");
    };
    check(11, false, true);
    check(10, true, true);
    check(10, false, false);
    check(9, false, false);
}

#[test]
fn bytes_and_names_keep_their_vectors() {
    let header = Header {
        core: Core {
            tx_root: B256::repeat_byte(1),
            receipts_root: B256::repeat_byte(2),
            ..core(&genesis())
        },
        claim: Claim::Hash(crate::HashClaim { nonce: B256::repeat_byte(5), solution: vec![6; 36] }),
    };
    assert_eq!(
        hex::encode(header.encode()),
        concat!(
            "01",
            "0909090909090909090909090909090909090909090909090909090909090909",
            "0100000000000000",
            "d0c72cc899010000",
            "0101010101010101010101010101010101010101010101010101010101010101",
            "0202020202020202020202020202020202020202020202020202020202020202",
            "0303030303030303030303030303030303030303030303030303030303030303",
            "00000000",
            "00",
            "0404040404040404040404040404040404040404",
            "0852000000000000",
            "00ca9a3b00000000",
            "0505050505050505050505050505050505050505050505050505050505050505",
            "24",
            "060606060606060606060606060606060606060606060606060606060606060606060606"
        )
    );
    let names = [
        header.core.hash(),
        header.id(),
        tx_root(&[b"a", b"b", b"c"]),
        tx_root::<&[u8]>(&[]),
        receipts_root(&[b"a", b"b", b"c"]),
    ];
    assert_eq!(
        names.map(hex::encode),
        [
            "2609a1254ae4edfcaa2df6add7599507fa4cbf557e0bd903ebc6b19aea9cec24",
            "1d2dd041464aa6ff209b2cdd1fcb0dfc184fe3486c7aca2c91c58a1c53186ad6",
            "40595ff432572942f9bf71f02fd9d1a90202c9e27e1c34220b2259b5d6f31d47",
            "1b4b853e5e35567a3a132d9cb853393bae41a5b0ac0039466f4d5ca7594dce76",
            "5258b6856a53c28215e6d40f6dc7243f312b89b773b75ddcba86705e0152ffd4",
        ]
    );
}

#[test]
fn roots_bind_order_count_and_content() {
    let roots = [
        tx_root::<&[u8]>(&[]),
        tx_root(&[b"a"]),
        tx_root(&[b"a", b"a"]),
        tx_root(&[b"a", b"b"]),
        tx_root(&[b"b", b"a"]),
        receipts_root(&[b"a", b"b"]),
    ];
    for (index, root) in roots.iter().enumerate() {
        assert!(!roots[index + 1..].contains(root), "{index}");
    }
}
