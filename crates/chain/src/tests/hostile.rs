//! Bytes that somebody changed, cut, doubled or made too long.

use pouw_consensus::{DecodeError, Lane, MAX_BODY_BYTES};

use super::fixture::{GWEI, Node, easy_lanes, funded, miner, small_products, transfer};
use crate::block::MAX_BLOCK_BYTES;
use crate::{Block, Imported};

/// Of lane 0 or 1, with a transaction in it; and a node that has everything below it.
fn block(lane: Lane) -> (Block, Node) {
    let network = easy_lanes(|_| {});
    let (ours, theirs) = (Node::on(network), Node::on(network));
    let first = ours.mine(2_000);
    theirs.take(&first).unwrap();
    ours.chain.submit(&transfer(&funded(0), 0, miner(), 10 * GWEI, GWEI)).unwrap();
    let block = match lane {
        Lane::Matmul => ours.multiply(&mut small_products(1), 2_000),
        _ => ours.mine(2_000),
    };
    theirs.now.store(ours.chain.now_ms(), std::sync::atomic::Ordering::SeqCst);
    (block, theirs)
}

#[test]
fn a_block_with_any_byte_changed_is_refused_and_the_block_itself_is_not() {
    for lane in [Lane::Hash, Lane::Matmul] {
        let (block, node) = block(lane);
        let (bytes, head) = (block.encode(), node.chain.head());
        let header = 2 + block.header.encode().len();
        // Every byte of the header; of a certificate's tens of thousands each prime-th, as they lie.
        let tail = (header..bytes.len()).step_by(if lane == Lane::Matmul { 211 } else { 1 });
        for place in (0..header).chain(tail) {
            for change in [1u8, 0x80] {
                let mut changed = bytes.clone();
                changed[place] ^= change;
                let taken = node.chain.import(&changed);
                assert!(taken.is_err(), "{lane:?}, byte {place} of {}: {taken:?}", bytes.len());
                assert_eq!(node.chain.head().id, head.id);
            }
        }
        assert_eq!(node.chain.import(&bytes).unwrap(), Imported::Extended, "{lane:?}");
    }
}

#[test]
fn a_block_that_is_cut_doubled_or_too_long_is_refused() {
    for lane in [Lane::Hash, Lane::Matmul] {
        let (block, node) = block(lane);
        let bytes = block.encode();
        for cut in (0..bytes.len()).step_by(if lane == Lane::Matmul { 97 } else { 1 }) {
            assert!(Block::decode(&bytes[..cut]).is_err(), "{lane:?}: {cut} bytes");
        }
        let doubled = [&bytes[..], &bytes].concat();
        assert!(matches!(Block::decode(&doubled), Err(DecodeError::Trailing(_))));
        let long = vec![0; MAX_BLOCK_BYTES + 1];
        assert!(matches!(Block::decode(&long), Err(DecodeError::TooLong { .. })));
        // Its transactions twice, or more of them than fit.
        for transactions in [
            [&block.transactions[..], &block.transactions[..]].concat(),
            vec![vec![0; MAX_BODY_BYTES + 1]],
        ] {
            assert!(node.chain.import_block(Block { transactions, ..block.clone() }).is_err());
        }
        assert_eq!(node.chain.import_block(block).unwrap(), Imported::Extended);
    }
}

#[test]
fn a_body_that_its_header_has_no_gas_for_is_refused_before_it_is_hashed() {
    let (block, _) = block(Lane::Hash);
    let header = &block.header;
    let body = |transactions: &[Vec<u8>]| crate::block::encode_body(transactions);
    let read = |transactions: &[Vec<u8>]| {
        let error = Block::from_parts(header.clone(), None, &body(transactions)).unwrap_err();
        matches!(error, crate::ImportError::Body(pouw_consensus::BodyError::GasUsed { .. }))
    };
    assert!(Block::from_parts(header.clone(), None, &body(&block.transactions)).is_ok());
    assert!(read(&[&block.transactions[..], &block.transactions[..]].concat()), "twice the gas");
    assert!(read(&[vec![1; 100_000]]), "much data");
    assert!(!read(&[vec![1; 100]]), "as cheap as the real one: its root tells");
}
