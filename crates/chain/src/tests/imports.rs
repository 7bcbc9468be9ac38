use alloy_primitives::{Address, B256};
use pouw_consensus::{BodyError, DecodeError, HeaderError};
use pouw_ledger::State;
use pouw_types::Network;

use super::fixture::{GWEI, Node, funded, miner, seal, transfer};
use crate::{Block, Chain, ImportError, Imported, LogFilter, OpenError, Options};

#[test]
fn a_transfer_is_mined_and_found_again() {
    let node = Node::new();
    let to = Address::repeat_byte(1);
    let raw = transfer(&funded(0), 0, to, 10 * GWEI, GWEI);
    let hash = node.chain.submit(&raw).unwrap();
    assert_eq!(node.chain.pending_count(), 1);
    let mut events = node.chain.subscribe();
    let block = node.mine(2_000);
    assert!(matches!(events.try_recv(), Ok(crate::Event::NewHead(head)) if head.id == block.id()));
    assert_eq!(node.chain.pending_count(), 0);
    assert_eq!(node.balance(to), 1);
    let found = node.chain.transaction(hash).unwrap().unwrap();
    assert_eq!((found.raw, found.block, found.index), (raw, block.id(), 0));
    assert!(found.receipt.success());
    assert_eq!(found.receipt.gas_used, 21_000);
    let known = node.chain.block_at(1).unwrap().unwrap();
    assert_eq!(known.block, block);
    assert_eq!(known.hashes, [hash]);
    assert_eq!(node.chain.logs(&LogFilter { to: 9, ..LogFilter::default() }, 9).unwrap(), []);
    assert_eq!(node.chain.import_block(block).unwrap(), Imported::Known);
}

#[test]
fn another_node_takes_the_same_blocks_and_gets_the_same_state() {
    let (one, two) = (Node::new(), Node::new());
    for nonce in 0..3 {
        one.chain
            .submit(&transfer(&funded(0), nonce, Address::repeat_byte(1), 10 * GWEI, GWEI))
            .unwrap();
        let block = one.mine(2_000);
        two.now.fetch_add(2_000, std::sync::atomic::Ordering::SeqCst);
        assert_eq!(two.chain.import(&block.encode()).unwrap(), Imported::Extended);
    }
    assert_eq!(one.chain.head(), two.chain.head());
}

#[test]
fn accounts_are_proved_against_the_header() {
    let node = Node::new();
    let to = Address::repeat_byte(1);
    node.chain.submit(&transfer(&funded(0), 0, to, 10 * GWEI, GWEI)).unwrap();
    node.mine(2_000);
    let root = node.chain.head().header.core.state_root;
    let proof = node.chain.prove_account(to, 1).unwrap();
    assert!(proof.value.is_some() && proof.holds(root) && !proof.holds(B256::ZERO));
    let state = node.chain.state_at(1).unwrap();
    assert_eq!(proof.value, state.get(&proof.key).unwrap());
    let absent = node.chain.prove_account(to, 0).unwrap();
    let before = node.chain.block_at(0).unwrap().unwrap().block.header.core.state_root;
    assert!(absent.value.is_none() && absent.holds(before));
}

/// Changes a block on genesis before it is sealed, and imports it.
fn import_changed(change: impl FnOnce(&mut crate::Template)) -> ImportError {
    let node = Node::new();
    let raw = transfer(&funded(0), 0, Address::repeat_byte(1), 10 * GWEI, GWEI);
    let time_ms = node.chain.now_ms();
    let mut template = node.chain.template_on(0, miner(), time_ms, &[raw]).unwrap();
    change(&mut template);
    template.renew_puzzle(Network::devnet());
    let block = seal(&template);
    let error = node.chain.import_block(block.clone()).unwrap_err();
    assert_eq!(node.chain.head().height(), 0);
    if matches!(&error, ImportError::Body(BodyError::Root { what, .. }) if *what != "transaction root")
    {
        assert!(matches!(node.chain.import_block(block), Err(ImportError::KnownInvalid(_))));
    }
    error
}

#[test]
fn what_a_header_says_about_its_body_is_checked() {
    let root = |error, expected| match error {
        ImportError::Body(BodyError::Root { what, .. }) => assert_eq!(what, expected),
        other => panic!("{expected}: {other:?}"),
    };
    // C-10, C-12, C-13.
    root(import_changed(|one| one.core.tx_root = B256::ZERO), "transaction root");
    root(import_changed(|one| one.core.receipts_root = B256::ZERO), "receipts root");
    root(import_changed(|one| one.core.state_root = B256::ZERO), "state root");
    // C-11.
    let error = import_changed(|one| one.core.gas_used = 1);
    assert!(matches!(error, ImportError::Body(BodyError::GasUsed { .. })), "{error:?}");
    // C-15.
    let error = import_changed(|one| one.core.base_fee += 1);
    assert!(matches!(error, ImportError::Body(BodyError::BaseFee { .. })), "{error:?}");
}

#[test]
fn transactions_that_cannot_stand_in_a_block_are_refused_with_their_place() {
    let node = Node::new();
    let to = Address::repeat_byte(1);
    let good = transfer(&funded(0), 0, to, 10 * GWEI, GWEI);
    let gap = transfer(&funded(1), 5, to, 10 * GWEI, GWEI);
    let time_ms = node.chain.now_ms();
    let error = node.chain.template_on(0, miner(), time_ms, &[good.clone(), gap]).unwrap_err();
    assert!(matches!(error, ImportError::Execution { index: 1, .. }), "{error:?}");
    let mut bad = good.clone();
    bad.push(0);
    let error = node.chain.template_on(0, miner(), time_ms, &[good, bad]).unwrap_err();
    assert!(matches!(error, ImportError::Transaction { index: 1, .. }), "{error:?}");
}

#[test]
fn blocks_without_parent_or_from_the_future_may_come_again() {
    let (one, two) = (Node::new(), Node::new());
    let blocks = one.mine_many(2);
    let error = two.take(&blocks[1]).unwrap_err();
    assert!(matches!(error, ImportError::UnknownParent(_)) && error.is_transient());
    two.now.store(Network::devnet().genesis_ms, std::sync::atomic::Ordering::SeqCst);
    let error = two.chain.import_block(blocks[0].clone()).unwrap_err();
    assert!(matches!(error, ImportError::Header(HeaderError::TimeInFuture { .. })));
    assert!(error.is_transient() && !error.is_fatal());
}

#[test]
fn bytes_that_are_no_block_are_refused() {
    let node = Node::new();
    let bytes = node.mine(2_000).encode();
    assert_eq!(Block::decode(&bytes).unwrap().encode(), bytes);
    for cut in 0..bytes.len() {
        assert!(Block::decode(&bytes[..cut]).is_err(), "{cut} bytes");
    }
    let longer = [&bytes[..], &[1]].concat();
    assert_eq!(Block::decode(&longer), Err(DecodeError::Trailing(1)));
    let mut many = bytes.clone();
    let count = bytes.len() - 4;
    many[count..].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(Block::decode(&many).is_err());
}

#[test]
fn a_folder_keeps_its_chain_and_belongs_to_one_network() {
    let folder = tempfile::tempdir().unwrap();
    let open = |network| Chain::open(folder.path(), Options::new(network));
    let first = open(Network::devnet()).unwrap();
    let block = seal(&first.template(miner()).unwrap());
    first.import_block(block.clone()).unwrap();
    drop(first);
    assert_eq!(open(Network::devnet()).unwrap().head().id, block.id());
    let error = open(Network::testnet()).unwrap_err();
    assert!(matches!(error, OpenError::OtherGenesis { .. }), "{error}");
}
