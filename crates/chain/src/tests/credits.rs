//! Lane 2 in a chain: C-23 … C-28 as a node meets them.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use alloy_primitives::{Address, B256};
use pouw_consensus::beacon::PERIOD;
use pouw_consensus::reward::credit_reward;
use pouw_consensus::vrf::{self, VrfError};
use pouw_consensus::{
    Claim, Core, CreditClaim, CreditClaimError, HeaderError, IdleWork, Lane, slot_input, slot_of,
};
use pouw_types::Network;

use super::fixture::{Node, easy_lanes, miner, seal, small_products};
use super::market::{FLUX, Host, host};
use crate::{Block, ImportError, Imported, LaneKey, Mine, Miner, MinerOptions};

const BURNED: u128 = 250 * FLUX;

/// Short epochs and horizon; lane 2 opens about where 250 FLUX of credit win a fifth of the
/// slots.
fn network() -> &'static Network {
    easy_lanes(|network| {
        network.horizon_blocks = 30;
        network.lanes.credit_level = 70;
    })
}

/// A chain whose lane 2 has a share, and a host whose receipts burned for it.
pub(super) fn opened() -> (Node, Host) {
    let (node, host) = (Node::on(network()), host(1));
    node.register(&host);
    let mut rental = node.rent(&host, 0, 1);
    node.settle(&mut rental, 500, 0);
    while node.chain.head().standing.shares.credit == 0 {
        node.mine(2_000);
    }
    (node, host)
}

/// Wins the next block by credit, whatever slot it takes.
fn won(node: &Node, host: &Host) -> Block {
    (0..1_000).find_map(|_| node.draw(host, 1_000)).expect("a slot wins")
}

/// A node one block behind.
fn behind(node: &Node) -> Node {
    follow(node, node.chain.head().height() - 1)
}

pub(super) fn follow(node: &Node, until: u64) -> Node {
    let other = Node::on(node.chain.network());
    for height in 1..=until {
        other.take(&node.chain.block_at(height).unwrap().unwrap().block).unwrap();
    }
    other.now.store(node.chain.now_ms(), Ordering::SeqCst);
    other
}

#[test]
fn burned_fees_win_blocks_that_weigh_nothing_and_another_node_follows() {
    let (node, host) = opened();
    let network = node.chain.network();
    // Three epochs after the burn the share moves, by a step at most.
    let head = node.chain.head();
    assert_eq!(head.height() + 1, 3 * network.epoch_blocks);
    let shares = head.standing.shares;
    assert!(shares.credit > 10_000 && shares.credit <= 13_107, "{shares:?}");
    let before = node.chain.head().standing.total_weight;
    let subsidies = u128::try_from(node.supply().subsidies).unwrap();
    let block = won(&node, &host);
    let head = node.chain.head();
    assert_eq!(head.header.core.lane, Lane::Credit);
    assert_eq!(head.standing.total_weight, before);
    // C-28: the least of the subsidy and half of what was burned, spread over the lane's blocks.
    let fair = credit_reward(network.subsidy.atto(), BURNED, shares, network.epoch_blocks);
    assert_eq!(u128::try_from(node.supply().subsidies).unwrap() - subsidies, fair);
    assert!(fair > 0 && fair < network.subsidy.atto());
    let other = behind(&node);
    assert_eq!(other.chain.import(&block.encode()).unwrap(), Imported::Extended);
    assert_eq!(*other.chain.head(), *head);
    assert_eq!(other.chain.rows().unwrap(), node.chain.rows().unwrap());
    // Lane 0 goes on from it, and so does lane 1.
    let next = [node.mine(2_000), node.multiply(&mut small_products(1), 2_000)];
    for block in &next {
        assert_eq!(other.take(block).unwrap(), Imported::Extended);
    }
}

#[test]
fn c28_lane_2_mints_at_most_half_of_what_was_burned_for_it() {
    let (node, host) = opened();
    let subsidies = |node: &Node| u128::try_from(node.supply().subsidies).unwrap();
    let (mut minted, mut blocks) = (0, 0);
    let first = node.chain.head().height() / node.chain.network().epoch_blocks;
    // Until its credit is over: seven epochs, and what was heard of it late.
    loop {
        let before = subsidies(&node);
        if node.draw(&host, 2_000).is_some() {
            minted += subsidies(&node) - before;
            blocks += 1;
        } else {
            node.mine(0);
        }
        let epoch = node.chain.head().height() / node.chain.network().epoch_blocks;
        if epoch > first + 12 {
            break;
        }
    }
    assert!(blocks > 10, "{blocks}");
    assert!(minted > 0 && minted <= BURNED, "{minted}");
    let sums = node.chain.credits().unwrap();
    assert_eq!(sums.credit(sums.epoch), 0, "eight epochs later nothing is left");
    assert_eq!(node.chain.head().standing.shares.credit, 0, "nor a share");
}

/// A good block of lane 2 that the other node doesn't have, changed.
fn refused(change: impl FnOnce(&mut Block, &Host, &Node)) -> ImportError {
    let (node, host) = opened();
    let mut block = won(&node, &host);
    let other = behind(&node);
    let good = block.clone();
    change(&mut block, &host, &other);
    let error = other.chain.import_block(block).unwrap_err();
    assert_eq!(other.chain.head().id, good.header.core.parent);
    assert_eq!(other.chain.import_block(good).unwrap(), Imported::Extended);
    error
}

fn claim_of(block: &Block) -> CreditClaim {
    match block.header.claim {
        Claim::Credit(claim) => claim,
        _ => panic!("lane 2"),
    }
}

#[track_caller]
fn is(error: &ImportError, expected: &CreditClaimError) {
    let ImportError::Header(HeaderError::CreditClaim(found)) = error else { panic!("{error:?}") };
    assert_eq!(found, expected);
}

#[test]
fn c23_a_slot_of_the_parents_second_is_refused() {
    let mut slot = 0;
    let error = refused(|block, host, other| {
        let parent_ms = other.chain.head().time_ms();
        slot = slot_of(parent_ms);
        block.header.core.time_ms = parent_ms + 1;
        let proof = claim_of(block).proof;
        let claim = CreditClaim::make(&block.header.core, host.machine(), &host.secret, proof);
        block.header.claim = Claim::Credit(claim);
    });
    is(&error, &CreditClaimError::Slot { parent: slot, found: slot });
}

#[test]
fn c24_c27_a_proof_of_another_slot_or_beacon_is_refused() {
    let reproved = |beacon: Option<B256>, slot: u64| {
        refused(move |block, host, other| {
            let lot = other.chain.lot(host.machine()).unwrap().unwrap();
            let input = slot_input(
                beacon.unwrap_or(lot.beacon()),
                slot_of(block.header.core.time_ms) + slot,
            );
            let proof = vrf::prove(&host.secret, &input).unwrap();
            let claim = CreditClaim::make(&block.header.core, host.machine(), &host.secret, proof);
            block.header.claim = Claim::Credit(claim);
        })
    };
    is(&reproved(None, 1), &CreditClaimError::Vrf(VrfError::Proof));
    is(&reproved(Some(B256::ZERO), 0), &CreditClaimError::Vrf(VrfError::Proof));
}

#[test]
fn c25_a_slot_that_does_not_win_or_a_machine_without_credit_is_refused() {
    let (node, host) = opened();
    // Alone its credit wins every slot at first; by the blocks it wins that gets harder.
    let (losing, difficulty) = loop {
        if node.draw(&host, 1_000).is_none() {
            let lot = node.chain.lot(host.machine()).unwrap().unwrap();
            if node.now_s() > slot_of(node.chain.head().time_ms()) {
                break (lot, lot.difficulty);
            }
        }
    };
    let template = node.chain.template_of(Lane::Credit, host.miner).unwrap();
    let input = slot_input(losing.beacon(), slot_of(template.core.time_ms));
    let proof = vrf::prove(&host.secret, &input).unwrap();
    let block = template.claimed(host.machine(), &host.secret, proof);
    let error = node.chain.import_block(block).unwrap_err();
    is(&error, &CreditClaimError::Threshold { credit: BURNED, difficulty });
}

#[test]
fn c26_only_the_machines_key_claims_and_its_miner_is_paid() {
    // A machine that nobody registered.
    let unknown = Address::repeat_byte(0x99);
    let error = refused(|block, host, _| {
        let proof = claim_of(block).proof;
        let claim = CreditClaim::make(&block.header.core, unknown, &host.secret, proof);
        block.header.claim = Claim::Credit(claim);
    });
    assert!(
        matches!(
            &error,
            ImportError::Header(HeaderError::CreditClaim(CreditClaimError::Unknown { machine, .. }))
                if *machine == unknown
        ),
        "{error:?}"
    );
    // Who saw the proof, with a body of his own.
    let stolen: [fn(&mut Core); 3] = [
        |core| core.state_root = B256::ZERO,
        |core| core.tx_root = B256::ZERO,
        |core| core.gas_used = 1,
    ];
    for change in stolen {
        let error = refused(|block, _, _| change(&mut block.header.core));
        is(&error, &CreditClaimError::Signature);
    }
    // Another payout, signed by the key's holder.
    let error = refused(|block, host, _| {
        block.header.core.miner = miner();
        let proof = claim_of(block).proof;
        let claim = CreditClaim::make(&block.header.core, host.machine(), &host.secret, proof);
        block.header.claim = Claim::Credit(claim);
    });
    is(&error, &CreditClaimError::Payout { expected: host(1).miner, found: miner() });
    // Each byte of the claim.
    for place in [0, 19, 20, 60, 99, 100, 163] {
        let error = refused(|block, _, _| {
            let mut bytes = block.header.encode();
            bytes[Core::BYTES + place] ^= 1;
            block.header = pouw_consensus::Header::decode(&bytes).unwrap();
        });
        assert!(matches!(error, ImportError::Header(HeaderError::CreditClaim(_))), "{error:?}");
    }
}

#[test]
fn c26_a_key_counts_a_horizon_after_it_was_set() {
    let (node, host) = opened();
    let renewed = Host { secret: [77; 32], ..host.clone() };
    let key = pouw_consensus::lane_key_of(&renewed.secret).into();
    let call =
        pouw_types::contracts::IHosts::setLaneKeyCall { machine: host.machine(), laneKey: key };
    let sent = node.send(&host.operator, pouw_types::contracts::HOSTS, 0, &call);
    node.mine(2_000);
    node.assert_done(sent);
    let set = node.chain.head().height();
    let horizon = node.chain.network().horizon_blocks;
    while node.chain.head().height() + 1 < set + horizon {
        assert!(node.draw(&renewed, 0).is_none());
        node.mine(2_000);
    }
    won(&node, &renewed);
    assert!((0..50).all(|_| node.draw(&host, 1_000).is_none()));
}

#[test]
fn c27_every_period_draws_from_another_beacon() {
    let (node, host) = opened();
    let mut seen = std::collections::BTreeMap::new();
    // As long as the share lasts: it is over with epoch 10.
    while node.chain.head().height() < 198 {
        let lot = node.chain.lot(host.machine()).unwrap().unwrap();
        let period = (node.chain.head().height() + 1) / PERIOD;
        assert_eq!(*seen.entry(period).or_insert(lot.beacon()), lot.beacon());
        if node.draw(&host, 2_000).is_none() {
            node.mine(0);
        }
    }
    assert_eq!(seen.len(), 4);
    assert_eq!([seen[&0], seen[&1]], [node.chain.id_at(0).unwrap().unwrap(); 2]);
    let others: std::collections::BTreeSet<_> = seen.values().collect();
    assert_eq!(others.len(), 3);
}

#[test]
fn three_lanes_make_one_chain_through_reorgs_across_lanes_and_epochs() {
    let (ours, host) = opened();
    let theirs = follow(&ours, ours.chain.head().height());
    let (mut one, mut two) = (small_products(1), small_products(2));
    let length = ours.chain.network().epoch_blocks;
    let mut won = [0_u32; 3];
    // Both make blocks of their own for more than an epoch and a horizon: neither can judge the
    // other's blocks of lane 2 before it follows them.
    let fork = ours.chain.head().height();
    let mut grow = |node: &Node, work: &mut IdleWork, blocks: u64, each: u64| {
        for height in 0..blocks {
            let block = match node.draw(&host, each) {
                Some(block) => block,
                None if height % 3 == 0 => node.multiply(work, 0),
                None => node.mine(0),
            };
            won[block.header.core.lane.index()] += 1;
            node.supply();
        }
    };
    grow(&ours, &mut one, 3 * length, 2_000);
    grow(&theirs, &mut two, 3 * length + 15, 2_001);
    let blocks = |node: &Node, from: u64| -> Vec<Block> {
        (from + 1..=node.chain.head().height())
            .map(|height| node.chain.block_at(height).unwrap().unwrap().block)
            .collect()
    };
    let (a, b) = (blocks(&ours, fork), blocks(&theirs, fork));
    let credit = |blocks: &[Block], from: usize| {
        let lanes = blocks.iter().skip(from).map(|block| block.header.core.lane);
        lanes.filter(|lane| *lane == Lane::Credit).count()
    };
    assert!(credit(&a, 30) > 0 && credit(&b, 30) > 0, "some are beyond the horizon");
    let heavier =
        ours.chain.head().standing.total_weight < theirs.chain.head().standing.total_weight;
    let (light, heavy, branch, head) = if heavier {
        (&ours, &theirs, &b, theirs.chain.head())
    } else {
        (&theirs, &ours, &a, ours.chain.head())
    };
    let mut taken = Vec::new();
    for block in branch {
        taken.push(light.take(block).unwrap());
    }
    assert!(taken.iter().any(|one| matches!(one, Imported::Reorged { .. })), "{taken:?}");
    assert_eq!(*light.chain.head(), *head);
    assert_eq!(light.chain.rows().unwrap(), heavy.chain.rows().unwrap(), "no trace is left");
    light.supply();
    assert!(won.iter().all(|count| *count > 5), "{won:?}");
}

#[test]
fn c24_a_claim_that_was_believed_on_a_side_branch_is_judged_before_it_is_followed() {
    let (ours, host) = opened();
    let theirs = follow(&ours, ours.chain.head().height());
    let horizon = ours.chain.network().horizon_blocks;
    theirs.now.fetch_add(1, Ordering::SeqCst);
    // Out of sight: the branch leaves more than a horizon before the forged block.
    for _ in 0..=horizon {
        ours.mine(2_000);
        assert_eq!(ours.take(&theirs.mine(2_000)).unwrap(), Imported::Side);
    }
    theirs.now.fetch_add(1_000, Ordering::SeqCst);
    let template = theirs.chain.template_of(Lane::Credit, host.miner).unwrap();
    let proof = vrf::prove(&[3; 32], &slot_input(B256::ZERO, 1)).unwrap();
    let forged = template.claimed(host.machine(), &[3; 32], proof);
    // Their own node sees that at once; ours keeps it aside, as it can't judge it yet.
    theirs.chain.import_block(forged.clone()).unwrap_err();
    let ahead = ours.chain.head();
    assert_eq!(ours.take(&forged).unwrap(), Imported::Side);
    // Work on top of it is real, so that the branch becomes the heaviest: then it is judged.
    let (standing, header) = ours.chain.header(forged.id()).unwrap().unwrap();
    let mut core = Core {
        parent: standing.id,
        height: standing.height + 1,
        time_ms: standing.time_ms + 2_000,
        lane: Lane::Hash,
        ..header.core
    };
    let error = loop {
        let mut template = theirs.chain.template(miner()).unwrap();
        template.core = core.clone();
        template.difficulty = 2_000;
        template.renew_puzzle(theirs.chain.network());
        let block = seal(&template);
        match ours.take(&block) {
            Ok(Imported::Side) => {
                core = Core {
                    parent: block.id(),
                    height: core.height + 1,
                    time_ms: core.time_ms + 2_000,
                    ..core
                };
            }
            Ok(other) => panic!("{other:?}"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, ImportError::Credit(CreditClaimError::Signature)), "{error:?}");
    assert!(ours.chain.head().id == ahead.id);
    assert!(matches!(ours.take(&forged), Err(ImportError::KnownInvalid(_)) | Ok(Imported::Known)));
}

#[test]
fn c17_a_reorg_that_lane_2_could_not_be_judged_on_is_refused_by_name() {
    let network = easy_lanes(|network| {
        network.horizon_blocks = 5;
        network.kept_states = 8;
    });
    let (ours, theirs) = (Node::on(network), Node::on(network));
    for block in ours.mine_many(20) {
        theirs.take(&block).unwrap();
    }
    theirs.now.fetch_add(1_000, Ordering::SeqCst);
    let fork = theirs.mine(60_000);
    ours.mine_many(3);
    assert_eq!(ours.take(&fork).unwrap(), Imported::Side, "three blocks are within reach");
    ours.mine_many(1);
    let late = theirs.mine(60_000);
    let error = ours.take(&late).unwrap_err();
    assert!(matches!(error, ImportError::ReorgTooDeep { fork: 20, oldest: 21 }), "{error:?}");
    assert_eq!(ours.chain.oldest_state().unwrap(), 16);
    assert_eq!(ours.chain.oldest_fork().unwrap(), 21);
    // Who never heard of a state that old judges nothing by it.
    let error = ours.chain.template_on_of(Lane::Credit, 18, Address::ZERO, 0, &[]).unwrap_err();
    assert!(matches!(error, ImportError::ReorgTooDeep { fork: 18, oldest: 21 }), "{error:?}");
}

#[test]
fn a_miner_draws_the_slots_of_its_machines() {
    let (node, host) = opened();
    let options = MinerOptions { mine: Mine::Credit, ..MinerOptions::gentle(miner()) };
    let mut drawer = Miner::start(node.chain.clone(), options).unwrap();
    assert!(!drawer.draw(Vec::new()).unwrap());
    // Just before a second is over, so that the next one is not waited for.
    let into = node.now.load(Ordering::SeqCst) % 1_000;
    node.now.fetch_add(2_999 - into, Ordering::SeqCst);
    let key = LaneKey { machine: host.machine(), secret: host.secret };
    assert!(drawer.draw(vec![key]).unwrap());
    let started = Instant::now();
    let mut tries = 0;
    while node.chain.head().header.core.lane != Lane::Credit {
        assert!(started.elapsed() < Duration::from_secs(60), "no slot wins");
        let report = drawer.report();
        if report.credit.units > tries {
            tries = report.credit.units;
            node.now.fetch_add(1_000, Ordering::SeqCst);
        }
        std::thread::yield_now();
    }
    let head = node.chain.head();
    assert_eq!(head.header.core.miner, host.miner, "the machine's miner is paid");
    let reporter = drawer.reporter();
    drawer.stop();
    let report = reporter.read();
    assert!(report.credit.blocks >= 1 && report.credit_minted > 0, "{report:?}");
    // Who mines other lanes alone draws nothing.
    let options = MinerOptions { mine: Mine::Hash, ..options };
    let mut other = Miner::start(node.chain, options).unwrap();
    assert!(!other.draw(vec![key]).unwrap());
}
