//! Headers whose blocks are not here yet: what a hostile chain of them costs.

use std::sync::atomic::Ordering;

use alloy_primitives::{B256, U256};
use pouw_consensus::{
    Claim, Core, CreditClaim, CreditClaimError, HashClaimError, Header, HeaderError, Lane,
    MatmulClaimError, Shares, Solver,
};
use pouw_types::Network;

use super::credits::{follow, opened};
use super::fixture::{Node, easy_lanes, miner, seal, small_products};
use crate::{HeaderAhead, ImportError};

fn headers(node: &Node, from: u64) -> Vec<Header> {
    node.chain.headers_above(from, u64::MAX).unwrap()
}

/// Checks headers one after another, as they come before their blocks.
fn climb(node: &Node, headers: &[Header]) -> Result<Option<HeaderAhead>, ImportError> {
    let mut above = None;
    for header in headers {
        above = Some(node.chain.check_ahead(header, above.as_ref())?);
    }
    Ok(above)
}

#[test]
fn headers_of_all_lanes_climb_across_epochs_before_their_blocks() {
    let (ours, host) = opened();
    let theirs = follow(&ours, ours.chain.head().height());
    let mut work = small_products(1);
    // Past a horizon, several epochs, and moves of the shares.
    for height in 0..150 {
        if theirs.draw(&host, 2_000).is_none() {
            if height % 3 == 0 {
                theirs.multiply(&mut work, 0);
            } else {
                theirs.mine(0);
            }
        }
    }
    ours.now.store(theirs.chain.now_ms(), Ordering::SeqCst);
    let ahead = headers(&theirs, ours.chain.head().height());
    let lanes = |lane| ahead.iter().filter(|header| header.core.lane == lane).count();
    assert!(Lane::ALL.iter().all(|lane| lanes(*lane) > 2));
    assert!(ahead.windows(2).any(|pair| pair[0].core.shares != pair[1].core.shares));
    let top = climb(&ours, &ahead).unwrap().unwrap();
    assert_eq!((top.id(), top.height()), (theirs.chain.head().id, theirs.chain.head().height()));
    let orphan = ours.chain.check_ahead(&ahead[1], None).unwrap_err();
    assert!(matches!(orphan, ImportError::UnknownParent(_)), "{orphan:?}");
    // A block of the chain is as good a start.
    for header in &ahead {
        ours.take(&theirs.chain.block(header.id()).unwrap().unwrap().block).unwrap();
        assert!(ours.chain.check_ahead(header, None).is_ok());
    }
}

#[test]
fn headers_ahead_of_their_blocks_cost_what_real_ones_cost() {
    let ours = Node::on(easy_lanes(|_| {}));
    let theirs = Node::on(ours.chain.network());
    // In time from the first block on, so that the difficulty is more than nothing.
    for node in [&ours, &theirs] {
        node.now.store(node.chain.network().genesis_ms, Ordering::SeqCst);
    }
    let mut work = small_products(1);
    for _ in 0..6 {
        theirs.mine(1_000);
        theirs.multiply(&mut work, 1_000);
    }
    let solved = theirs.mine(1_000).header;
    let product = theirs.multiply(&mut work, 1_000).header;
    ours.now.store(theirs.chain.now_ms() + 10_000, Ordering::SeqCst);
    let ahead = headers(&theirs, 0);
    climb(&ours, &ahead).unwrap();
    let below = climb(&ours, &ahead[..ahead.len() - 2]).unwrap();
    let judge = |header: &Header| ours.chain.check_ahead(header, below.as_ref());

    // A solution of lane 0 that wins nothing, far above the last block that is here.
    let lane = Network::devnet().lane_zero;
    let solver = Solver::new(lane.n, lane.k).unwrap();
    let mut refused = 0;
    for nonce in 0..60u64 {
        let mut template =
            theirs.chain.template_on(solved.core.height - 1, miner(), solved.core.time_ms, &[]);
        let template = template.as_mut().unwrap();
        template.difficulty = 1;
        let Some(block) = template.try_nonce(&solver, B256::from(U256::from(nonce))) else {
            continue;
        };
        match judge(&block.header) {
            Ok(_) => {}
            Err(ImportError::Header(HeaderError::HashClaim(HashClaimError::Target { .. }))) => {
                refused += 1;
            }
            Err(error) => panic!("{error:?}"),
        }
    }
    assert!(refused > 10, "{refused}");

    // A product that nobody made: its transcript costs a hash a try, and has to win all the same.
    let above = judge(&solved).unwrap();
    let mut lost = 0;
    for guess in 0..64 {
        let Claim::Matmul(mut claim) = product.claim.clone() else { panic!("lane 1") };
        claim.transcript = [guess; 8];
        let made_up = Header { core: product.core.clone(), claim: Claim::Matmul(claim) };
        match ours.chain.check_ahead(&made_up, Some(&above)) {
            Ok(_) => {}
            Err(ImportError::Header(HeaderError::MatmulClaim(MatmulClaimError::Target {
                ..
            }))) => lost += 1,
            Err(error) => panic!("{error:?}"),
        }
    }
    assert!(lost > 32, "{lost}");

    // Shares inside an epoch, and more than a step at its start.
    let other = Header {
        core: Core { shares: Shares { matmul: 1, credit: 0 }, ..solved.core.clone() },
        claim: solved.claim,
    };
    let error = judge(&other).unwrap_err();
    assert!(matches!(error, ImportError::Header(HeaderError::Shares { .. })), "{error:?}");
}

#[test]
fn shares_are_believed_by_a_step_and_what_follows_from_them_is_checked() {
    let ours = Node::on(easy_lanes(|_| {}));
    let theirs = Node::on(ours.chain.network());
    let length = ours.chain.network().epoch_blocks;
    for _ in 1..length {
        theirs.mine(2_000);
    }
    ours.now.store(theirs.chain.now_ms() + 60_000, Ordering::SeqCst);
    let below = climb(&ours, &headers(&theirs, 0)).unwrap();
    let first = |matmul: u16, difficulty: u128| {
        let mut template = theirs.chain.template(miner()).unwrap();
        template.core.shares = Shares { matmul, credit: 0 };
        template.difficulty = difficulty;
        template.renew_puzzle(theirs.chain.network());
        seal(&template).header
    };
    let error = ours.chain.check_ahead(&first(50_000, 1), below.as_ref()).unwrap_err();
    assert!(matches!(error, ImportError::Move(_)), "{error:?}");
    // No burn explains these, which only bodies show; but they cost their own difficulty.
    let believed = ours.chain.check_ahead(&first(30_000, 2_000), below.as_ref()).unwrap();
    assert_eq!(believed.height(), length);
    // Where the parent is executed the exact shares are known.
    let error = theirs.chain.check_ahead(&first(30_000, 2_000), None).unwrap_err();
    assert!(matches!(error, ImportError::Header(HeaderError::Shares { .. })), "{error:?}");
}

#[test]
fn a_header_of_lane_2_is_its_machines_or_nobodys() {
    let (ours, host) = opened();
    let theirs = follow(&ours, ours.chain.head().height());
    let next = theirs.mine(2_000).header;
    ours.now.store(theirs.chain.now_ms() + 10_000, Ordering::SeqCst);
    let above = ours.chain.check_ahead(&next, None).unwrap();
    let block = (0..1_000).find_map(|_| theirs.draw(&host, 1_000)).expect("a slot wins");
    ours.now.store(theirs.chain.now_ms(), Ordering::SeqCst);
    ours.chain.check_ahead(&block.header, Some(&above)).unwrap();
    let Claim::Credit(claim) = block.header.claim else { panic!("lane 2") };
    let core = block.header.core;
    let forged = CreditClaim::make(&core, host.machine(), &[3; 32], claim.proof);
    let unknown = CreditClaim::make(&core, host.miner, &host.secret, claim.proof);
    for (claim, known) in [(forged, true), (unknown, false)] {
        let header = Header { core: core.clone(), claim: Claim::Credit(claim) };
        let error = ours.chain.check_ahead(&header, Some(&above)).unwrap_err();
        let ImportError::Header(HeaderError::CreditClaim(error)) = error else {
            panic!("{error:?}")
        };
        assert_eq!(error == CreditClaimError::Signature, known, "{error:?}");
        assert_eq!(matches!(error, CreditClaimError::Unknown { .. }), !known);
    }
}
