use alloy_primitives::Address;
use pouw_types::Network;

use super::fixture::{GWEI, Node, funded, miner, options, transfer};
use crate::{Chain, MempoolLimits, Options, SubmitError};

const TO: Address = Address::repeat_byte(1);

#[test]
fn nonces_queue_and_gaps_wait() {
    let node = Node::new();
    let from = funded(0);
    for nonce in [1, 2] {
        node.chain.submit(&transfer(&from, nonce, TO, 10 * GWEI, GWEI)).unwrap();
    }
    assert_eq!(node.chain.pending_nonce(from.address()).unwrap(), 0);
    node.mine(2_000);
    assert_eq!(node.chain.pending_count(), 2, "nothing follows a gap");
    node.chain.submit(&transfer(&from, 0, TO, 10 * GWEI, GWEI)).unwrap();
    assert_eq!(node.chain.pending_nonce(from.address()).unwrap(), 3);
    let block = node.mine(2_000);
    assert_eq!(block.transactions.len(), 3);
    assert_eq!(node.balance(TO), 3);
}

#[test]
fn blocks_take_the_best_tip_first() {
    let node = Node::new();
    let tips = [(0, GWEI), (1, 3 * GWEI), (2, 2 * GWEI)];
    let mut expected = Vec::new();
    for (account, tip) in tips {
        let raw = transfer(&funded(account), 0, TO, 100 * GWEI, tip);
        expected.push((tip, raw.clone()));
        node.chain.submit(&raw).unwrap();
    }
    expected.sort_by_key(|(tip, _)| core::cmp::Reverse(*tip));
    let block = node.mine(2_000);
    let expected: Vec<Vec<u8>> = expected.into_iter().map(|(_, raw)| raw).collect();
    assert_eq!(block.transactions, expected);
}

#[test]
fn a_replacement_pays_a_tenth_more() {
    let node = Node::new();
    let from = funded(0);
    let submit = |fee, tip| node.chain.submit(&transfer(&from, 0, TO, fee, tip));
    let first = submit(10 * GWEI, 2 * GWEI).unwrap();
    assert!(matches!(submit(10 * GWEI, 2 * GWEI), Err(SubmitError::Known(hash)) if hash == first));
    for (fee, tip) in [(10 * GWEI, 3 * GWEI), (20 * GWEI, 2 * GWEI), (11 * GWEI - 1, 3 * GWEI)] {
        let error = submit(fee, tip).unwrap_err();
        assert!(matches!(error, SubmitError::ReplacementUnderpriced { .. }), "{error:?}");
    }
    let second = submit(11 * GWEI, 2 * GWEI + GWEI / 5).unwrap();
    assert!(node.chain.pending(first).is_none() && node.chain.pending(second).is_some());
    assert_eq!(node.chain.pending_count(), 1);
}

#[test]
fn what_can_never_be_mined_is_refused_by_name() {
    let node = Node::new();
    node.chain.submit(&transfer(&funded(0), 0, TO, 10 * GWEI, GWEI)).unwrap();
    node.mine(2_000);
    let poor = alloy_signer_local::PrivateKeySigner::random();
    let check = |raw: Vec<u8>| node.chain.submit(&raw).unwrap_err();
    let error = check(transfer(&funded(0), 0, TO, 10 * GWEI, GWEI));
    assert!(matches!(error, SubmitError::NonceTooLow { nonce: 0, next: 1 }), "{error:?}");
    let error = check(transfer(&funded(0), 257, TO, 10 * GWEI, GWEI));
    assert!(matches!(error, SubmitError::NonceTooHigh { .. }), "{error:?}");
    let error = check(transfer(&poor, 0, TO, 10 * GWEI, GWEI));
    assert!(matches!(error, SubmitError::InsufficientFunds { .. }), "{error:?}");
    let error = check(transfer(&funded(1), 0, TO, GWEI - 1, 0));
    assert!(matches!(error, SubmitError::Underpriced { .. }), "{error:?}");
    let error = check(vec![1, 2, 3]);
    assert!(matches!(error, SubmitError::Decode(_)), "{error:?}");
}

#[test]
fn a_full_mempool_evicts_the_cheapest_and_keeps_the_better_ones() {
    let mempool = MempoolLimits { count: 3, per_sender: 2, ..MempoolLimits::default() };
    let (options, _) = options(Network::devnet());
    let chain = Chain::in_memory(Options { mempool, ..options }).unwrap();
    let submit = |account, nonce, tip| {
        chain.submit(&transfer(&funded(account), nonce, TO, 100 * GWEI, tip * GWEI))
    };
    let cheap = submit(0, 0, 1).unwrap();
    let cheap_next = submit(0, 1, 2).unwrap();
    let error = submit(0, 2, 9).unwrap_err();
    assert!(matches!(error, SubmitError::NonceTooHigh { .. }), "two a sender: {error:?}");
    submit(1, 0, 3).unwrap();
    assert!(matches!(submit(2, 0, 2), Err(SubmitError::Full)), "pays no more");
    submit(2, 0, 4).unwrap();
    assert!(chain.pending(cheap_next).is_none(), "the last of the cheapest queue goes");
    assert!(chain.pending(cheap).is_some(), "so that no gap is left");
    assert_eq!(chain.pending_count(), 3);
    let template = chain.template(miner()).unwrap();
    assert_eq!(template.transaction_count(), 3);
}
