use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use alloy_primitives::Address;
use pouw_consensus::STATE_KEY;
use pouw_ledger::State;
use pouw_types::Network;
use redb::{StorageBackend, backends::InMemoryBackend};

use super::fixture::{GWEI, Node, funded, miner, options, seal, transfer};
use crate::{Chain, Event, ReadError};

#[test]
fn the_state_holds_what_the_rules_remember() {
    let node = Node::new();
    node.mine_many(3);
    for height in 0..=3 {
        let stored = node.chain.state_at(height).unwrap().get(STATE_KEY).unwrap();
        let known = node.chain.block_at(height).unwrap().unwrap();
        assert_eq!(stored, Some(known.standing.encode_state()), "height {height}");
    }
    // C-14: another standing is another root, which the header's proof doesn't cover.
    let head = node.chain.head();
    let state = node.chain.state_at(3).unwrap();
    let proof = state.prove(STATE_KEY).unwrap();
    assert!(proof.holds(head.header.core.state_root));
    let mut forged = proof;
    forged.value = Some(vec![0]);
    assert!(!forged.holds(head.header.core.state_root));
}

#[test]
fn old_states_are_readable_until_they_are_pruned() {
    let network: &'static Network =
        Box::leak(Box::new(Network { kept_states: 4, ..Network::devnet().clone() }));
    let node = Node::on(network);
    let to = Address::repeat_byte(1);
    for nonce in 0..10 {
        node.chain.submit(&transfer(&funded(0), nonce, to, 10 * GWEI, GWEI)).unwrap();
        node.mine(2_000);
    }
    assert_eq!(node.chain.oldest_state().unwrap(), 6);
    for height in 6..=10 {
        let account = node.chain.account(to, height).unwrap();
        assert_eq!(account.balance.atto(), u128::from(height), "height {height}");
        let root = node.chain.block_at(height).unwrap().unwrap().block.header.core.state_root;
        assert!(node.chain.prove_account(to, height).unwrap().holds(root), "height {height}");
    }
    let error = node.chain.account(to, 5).unwrap_err();
    assert!(matches!(error, ReadError::Pruned { height: 5, oldest: 6 }), "{error:?}");
    assert!(matches!(node.chain.account(to, 11), Err(ReadError::NoHeight(11, 10))));
    // Blocks stay.
    assert!(node.chain.block_at(2).unwrap().is_some());
}

/// Memory whose writes fail once asked to.
#[derive(Debug)]
struct Failing {
    inner: InMemoryBackend,
    full: Arc<AtomicBool>,
}

impl Failing {
    fn check(&self) -> Result<(), io::Error> {
        if self.full.load(Ordering::SeqCst) {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        Ok(())
    }
}

impl StorageBackend for Failing {
    fn len(&self) -> Result<u64, io::Error> {
        self.inner.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        self.inner.read(offset, out)
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        self.check()?;
        self.inner.set_len(len)
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        self.check()?;
        self.inner.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        self.check()?;
        self.inner.write(offset, data)
    }
}

#[test]
fn a_full_disk_is_fatal_and_says_so() {
    let full = Arc::new(AtomicBool::new(false));
    let backend = Failing { inner: InMemoryBackend::new(), full: Arc::clone(&full) };
    let (options, now) = options(Network::devnet());
    let chain = Chain::open_on(backend, options).unwrap();
    chain.import_block(seal(&chain.template(miner()).unwrap())).unwrap();
    let head = chain.head();
    now.fetch_add(2_000, Ordering::SeqCst);
    let block = seal(&chain.template(miner()).unwrap());
    let mut events = chain.subscribe();
    full.store(true, Ordering::SeqCst);
    let error = chain.import_block(block.clone()).unwrap_err();
    assert!(error.is_fatal(), "{error:?}");
    assert!(matches!(events.try_recv(), Ok(Event::Failed(_))));
    assert!(chain.failure().is_some());
    assert_eq!(chain.head(), head, "the head is the last committed block");
    full.store(false, Ordering::SeqCst);
    assert!(chain.import_block(block).unwrap_err().is_fatal(), "nothing is written after it");
}
