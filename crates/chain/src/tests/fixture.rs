//! What every test of a chain needs.

use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use alloy_consensus::{SignableTransaction, TxEip1559, TxEnvelope};
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Address, Signature, TxKind, U256};
use alloy_signer::SignerSync;
use alloy_signer_local::{MnemonicBuilder, PrivateKeySigner, coins_bip39::English};
use pouw_consensus::{IdleWork, Lane, Shape, Solver};
use pouw_types::{Network, UsefulLanes};

use crate::{Block, Chain, Clock, ImportError, Imported, Options, Template};

pub(super) const GWEI: u128 = 1_000_000_000;

/// The funded account of this number.
pub(super) fn funded(index: u32) -> PrivateKeySigner {
    MnemonicBuilder::<English>::default()
        .phrase("test test test test test test test test test test test junk")
        .index(index)
        .and_then(|builder| builder.build())
        .unwrap()
}

/// A transfer of one atto with these fees.
pub(super) fn transfer(
    from: &PrivateKeySigner,
    nonce: u64,
    to: Address,
    max_fee: u128,
    tip: u128,
) -> Vec<u8> {
    let tx = TxEip1559 {
        chain_id: Network::devnet().chain_id,
        nonce,
        gas_limit: 21_000,
        max_fee_per_gas: max_fee,
        max_priority_fee_per_gas: tip,
        to: TxKind::Call(to),
        value: U256::from(1),
        ..TxEip1559::default()
    };
    let signature: Signature = from.sign_hash_sync(&tx.signature_hash()).unwrap();
    TxEnvelope::from(tx.into_signed(signature)).encoded_2718()
}

/// A chain in memory whose clock is its own.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) chain: Chain,
    pub(super) now: Arc<AtomicU64>,
}

pub(super) fn miner() -> Address {
    Address::repeat_byte(0x77)
}

pub(super) fn options(network: &'static Network) -> (Options, Arc<AtomicU64>) {
    let now = Arc::new(AtomicU64::new(network.genesis_ms + 1_000_000_000));
    let clock = Arc::clone(&now);
    let clock = Clock::new(move || clock.load(Ordering::SeqCst));
    (Options { clock, ..Options::new(network) }, now)
}

/// A devnet whose lane 1 is so easy that the smallest product mines it.
pub(super) fn easy_lanes(change: impl FnOnce(&mut Network)) -> &'static Network {
    let devnet = Network::devnet();
    let lanes =
        UsefulLanes { matmul_floor: 26_214, matmul_level: 20, credit_floor: 0, ..devnet.lanes };
    let mut network = Network { lanes, epoch_blocks: 20, ..devnet.clone() };
    change(&mut network);
    Box::leak(Box::new(network))
}

/// Products of one ticket each.
pub(super) fn small_products(seed: u8) -> IdleWork {
    let shape = Shape::new(16, 1_024, 16).unwrap();
    IdleWork::new(shape, [seed; 32], NonZero::<usize>::MIN).unwrap()
}

/// Multiplies until a ticket wins.
pub(super) fn multiply(template: &Template, work: &mut IdleWork) -> Block {
    let mut tries = (0..100_000).map(|_| template.try_product(work).unwrap());
    tries.find_map(|won| won).unwrap()
}

impl Node {
    /// Wins a block of lane 1 on the head, the clock moving by this much.
    pub(super) fn multiply(&self, work: &mut IdleWork, after_ms: u64) -> Block {
        self.now.fetch_add(after_ms, Ordering::SeqCst);
        let template = self.chain.template_of(Lane::Matmul, miner()).unwrap();
        let block = multiply(&template, work);
        self.chain.import_block(block.clone()).unwrap();
        block
    }

    pub(super) fn new() -> Self {
        Self::on(Network::devnet())
    }

    pub(super) fn on(network: &'static Network) -> Self {
        let (options, now) = options(network);
        Self { chain: Chain::in_memory(options).unwrap(), now }
    }

    /// Mines a block on the head from the mempool, the clock moving by this much.
    pub(super) fn mine(&self, after_ms: u64) -> Block {
        self.now.fetch_add(after_ms, Ordering::SeqCst);
        let template = self.chain.template(miner()).unwrap();
        let block = seal(&template);
        self.chain.import_block(block.clone()).unwrap();
        block
    }

    /// Mines this many empty blocks, late enough for the difficulty to stay at its lowest.
    pub(super) fn mine_many(&self, count: usize) -> Vec<Block> {
        (0..count).map(|_| self.mine(60_000)).collect()
    }

    /// Takes another node's block, not before its time.
    pub(super) fn take(&self, block: &Block) -> Result<Imported, ImportError> {
        self.now.fetch_max(block.header.core.time_ms, Ordering::SeqCst);
        self.chain.import_block(block.clone())
    }

    pub(super) fn balance(&self, address: Address) -> u128 {
        let height = self.chain.head().height();
        self.chain.account(address, height).unwrap().balance.atto()
    }
}

pub(super) fn seal(template: &Template) -> Block {
    let lane = Network::devnet().lane_zero;
    template.seal(&Solver::new(lane.n, lane.k).unwrap(), 1_000_000).unwrap()
}
