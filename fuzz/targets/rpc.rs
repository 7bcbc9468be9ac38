//! Bodies of JSON-RPC, before a node that has one block and nothing else: every answer is JSON.
#![no_main]

use std::sync::{Arc, LazyLock};

use alloy_primitives::{Address, B256, Bytes, U256};
use async_trait::async_trait;
use libfuzzer_sys::fuzz_target;
use pouw_api::backend::{
    AccountView, BackendError, BlockFees, BlockRef, BlockView, CallError, CallRequest, Event, Head,
    LogQuery, LogView, ReceiptView, SubmitError, TxView,
};
use pouw_api::lanes::{
    BlockLine, BlockList, LaneOneError, LaneOneWork, LanesView, MachineLanes, MiningView,
    SharesOverTime,
};
use pouw_api::{Backend, Board, Config, Doors, NoSigner, answer};
use pouw_types::Network;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::broadcast;

struct OneBlock;

const HASH: B256 = B256::repeat_byte(1);

#[async_trait]
impl Backend for OneBlock {
    fn network(&self) -> &'static Network {
        Network::devnet()
    }

    fn client_version(&self) -> String {
        "pouw/fuzz".to_owned()
    }

    async fn head(&self) -> Result<Head, BackendError> {
        Ok(Head { height: 0, hash: HASH, time_ms: 0, next_base_fee: 1_000_000_000 })
    }

    async fn pending_count(&self) -> Result<u64, BackendError> {
        Ok(0)
    }

    async fn block(&self, block: BlockRef) -> Result<Option<BlockView>, BackendError> {
        let known = match block {
            BlockRef::Latest => true,
            BlockRef::Height(height) => height == 0,
            BlockRef::Hash(hash) => hash == HASH,
        };
        Ok(known.then(|| BlockView {
            height: 0,
            hash: HASH,
            parent: B256::ZERO,
            state_root: HASH,
            transactions_root: HASH,
            receipts_root: HASH,
            miner: Address::ZERO,
            lane: 0,
            difficulty: U256::from(1),
            total_weight: U256::from(1),
            time_ms: 0,
            gas_limit: Network::devnet().block_gas,
            gas_used: 0,
            base_fee: 1_000_000_000,
            size_bytes: 500,
            transactions: Vec::new(),
        }))
    }

    async fn receipts(&self, block: BlockRef) -> Result<Option<Vec<ReceiptView>>, BackendError> {
        Ok(self.block(block).await?.map(|_| Vec::new()))
    }

    async fn transaction(&self, _: B256) -> Result<Option<TxView>, BackendError> {
        Ok(None)
    }

    async fn receipt(&self, _: B256) -> Result<Option<ReceiptView>, BackendError> {
        Ok(None)
    }

    async fn account(&self, _: Address, _: BlockRef) -> Result<AccountView, BackendError> {
        Ok(AccountView { nonce: 1, balance: u128::MAX })
    }

    async fn pending_nonce(&self, _: Address) -> Result<u64, BackendError> {
        Ok(1)
    }

    fn is_contract(&self, address: Address) -> bool {
        pouw_ledger::is_contract(address)
    }

    async fn logs(&self, query: LogQuery, _: usize) -> Result<Vec<LogView>, BackendError> {
        assert!(query.from <= query.to, "an empty range is answered before");
        Ok(Vec::new())
    }

    async fn call(&self, call: CallRequest, _: BlockRef) -> Result<Bytes, CallError> {
        Ok(call.data)
    }

    async fn estimate_gas(&self, _: CallRequest, _: BlockRef) -> Result<u64, CallError> {
        Ok(21_000)
    }

    async fn submit(&self, raw: Bytes) -> Result<B256, SubmitError> {
        match pouw_ledger::decode_transaction(&raw, Network::devnet().chain_id) {
            Ok(tx) => Ok(tx.hash()),
            Err(error) => Err(SubmitError::Malformed(error.to_string())),
        }
    }

    async fn fees(&self, newest: u64, count: u64) -> Result<Vec<BlockFees>, BackendError> {
        assert!(newest == 0 && count <= 1_024, "asked for blocks that are not there");
        Ok(Vec::new())
    }

    // Of the HTTP API alone; JSON-RPC asks for none of it.

    async fn block_list(&self, _: BlockList) -> Result<Vec<BlockLine>, BackendError> {
        Ok(Vec::new())
    }

    async fn lanes(&self, _: u64) -> Result<LanesView, BackendError> {
        Err(BackendError::Unavailable("one block has no lanes".to_owned()))
    }

    async fn machine_lanes(&self, _: Address) -> Result<Option<MachineLanes>, BackendError> {
        Ok(None)
    }

    async fn shares(&self, _: u64) -> Result<SharesOverTime, BackendError> {
        Err(BackendError::Unavailable("one block has no shares".to_owned()))
    }

    fn mining(&self) -> Option<MiningView> {
        None
    }

    async fn lane_one_work(&self, _: Address) -> Result<Option<LaneOneWork>, LaneOneError> {
        Ok(None)
    }

    async fn lane_one_win(&self, _: u64, _: Bytes) -> Result<Option<B256>, LaneOneError> {
        Ok(None)
    }

    fn subscribe(&self) -> broadcast::Receiver<Event> {
        broadcast::channel(1).1
    }
}

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().enable_time().build().expect("a runtime"));

fuzz_target!(|body: &[u8]| {
    let doors = Doors {
        backend: Arc::new(OneBlock),
        board: Arc::new(Board::new(Network::devnet().chain_id, 8)),
        signer: Arc::new(NoSigner),
    };
    let config = Config { response_bytes: 64 * 1024, ..Config::default() };
    if let Some(answer) = RUNTIME.block_on(answer(doors, config, body)) {
        let answer: serde_json::Value = serde_json::from_slice(&answer).expect("JSON");
        assert!(answer.is_object() || answer.is_array());
    }
});
