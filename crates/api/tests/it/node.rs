//! A node in memory: real transactions, a tiny model of balances, one contract call that works.
//! Blocks are made on demand. For tests of the doors only; the rules are `ledger`'s.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use alloy_consensus::transaction::SignerRecoverable as _;
use alloy_consensus::{Transaction as _, TxEnvelope, Typed2718 as _};
use alloy_eips::eip2718::{Decodable2718 as _, Encodable2718 as _};
use alloy_primitives::{Address, B256, Bytes, Log, U256, keccak256};
use alloy_sol_types::{Revert, SolCall as _, SolError as _, SolEvent as _};
use async_trait::async_trait;
use pouw_api::Backend;
use pouw_api::backend::{
    AccountView, BackendError, BlockFees, BlockRef, BlockView, CallError, CallRequest, Event, Head,
    LogQuery, LogView, Place, ReceiptView, SubmitError, TxView,
};
use pouw_api::lanes::{
    BlockLine, BlockList, EpochView, LaneOneError, LaneOneWork, LanesView, MachineLanes,
    MiningView, ShareReason, SharesOverTime, SharesView,
};
use pouw_types::Network;
use pouw_types::contracts::{HOSTS, IHosts, IRentals, RENTALS};
use tokio::sync::broadcast;

pub(crate) const TRANSFER_GAS: u64 = 21_000;
pub(crate) const CALL_GAS: u64 = 50_000;
const BASE_FEE: u64 = 1_000_000_000;

type Accounts = BTreeMap<Address, AccountView>;

struct Block {
    view: BlockView,
    receipts: Vec<ReceiptView>,
    accounts: Accounts,
}

struct State {
    blocks: Vec<Block>,
    waiting: BTreeMap<(Address, u64), (TxView, TxEnvelope)>,
    made: u64,
}

pub(crate) struct MemoryNode {
    state: Mutex<State>,
    events: broadcast::Sender<Event>,
}

impl MemoryNode {
    pub(crate) fn new() -> Arc<Self> {
        let network = Network::devnet();
        let funded = network
            .genesis
            .iter()
            .map(|one| (one.address, AccountView { nonce: 0, balance: one.amount.atto() }));
        let genesis = Block {
            view: view(0, B256::ZERO, network.genesis_ms, 0, Vec::new()),
            receipts: Vec::new(),
            accounts: funded.collect(),
        };
        let state = State { blocks: vec![genesis], waiting: BTreeMap::new(), made: 0 };
        let (events, _) = broadcast::channel(256);
        Arc::new(Self { state: Mutex::new(state), events })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Puts what can be executed into a block.
    pub(crate) fn mine(&self) -> B256 {
        let mut state = self.state();
        let state = &mut *state;
        state.made += 1;
        let parent = state.blocks.last().unwrap();
        let (height, parent_hash) = (parent.view.height + 1, parent.view.hash);
        let time_ms = parent.view.time_ms + 2_000;
        let hash = keccak256([parent_hash.as_slice(), &state.made.to_be_bytes()].concat());
        let mut block = Block {
            view: view(height, parent_hash, time_ms, state.made, Vec::new()),
            receipts: Vec::new(),
            accounts: parent.accounts.clone(),
        };
        block.view.hash = hash;
        let waiting = std::mem::take(&mut state.waiting);
        for (key, (tx, envelope)) in waiting {
            if block.accounts.get(&key.0).map_or(0, |account| account.nonce) == key.1 {
                block.apply(tx, &envelope);
            } else {
                state.waiting.insert(key, (tx, envelope));
            }
        }
        let event = event_of(&block, true);
        state.blocks.push(block);
        let _nobody = self.events.send(event);
        hash
    }

    /// Takes the best block away; its transactions wait again.
    pub(crate) fn unmine(&self) {
        let mut state = self.state();
        let block = state.blocks.pop().unwrap();
        let _nobody = self.events.send(event_of(&block, false));
        for receipt in block.receipts {
            let envelope = TxEnvelope::decode_2718(&mut receipt.tx.raw.as_ref()).unwrap();
            let tx = TxView { place: None, ..receipt.tx };
            state.waiting.insert((tx.sender, envelope.nonce()), (tx, envelope));
        }
    }
}

fn view(height: u64, parent: B256, time_ms: u64, salt: u64, transactions: Vec<B256>) -> BlockView {
    let network = Network::devnet();
    BlockView {
        height,
        hash: keccak256(salt.to_be_bytes()),
        parent,
        state_root: B256::repeat_byte(1),
        transactions_root: B256::repeat_byte(2),
        receipts_root: B256::repeat_byte(3),
        miner: Address::repeat_byte(9),
        lane: 0,
        difficulty: U256::from(1_000),
        total_weight: U256::from(1_000 * height),
        time_ms,
        gas_limit: network.block_gas,
        gas_used: 0,
        base_fee: BASE_FEE,
        size_bytes: 500,
        transactions,
    }
}

fn event_of(block: &Block, adopted: bool) -> Event {
    let logs = Arc::new(block.logs().collect::<Vec<_>>());
    let block = Arc::new(block.view.clone());
    if adopted { Event::Adopted { block, logs } } else { Event::Dropped { block, logs } }
}

impl Block {
    fn apply(&mut self, tx: TxView, envelope: &TxEnvelope) {
        let price = envelope.effective_gas_price(Some(BASE_FEE));
        let called = envelope.to().filter(|to| is_contract(*to));
        let gas_used = if called.is_some() { CALL_GAS } else { TRANSFER_GAS };
        let logs = match called {
            Some(_) => execute(tx.sender, envelope.value(), envelope.input()),
            None => Ok(Vec::new()),
        };
        let value: u128 = envelope.value().try_into().unwrap();
        let moved = if logs.is_ok() { value } else { 0 };
        let sender = self.accounts.entry(tx.sender).or_default();
        sender.nonce += 1;
        sender.balance -= moved + price * u128::from(gas_used);
        self.accounts.entry(envelope.to().unwrap()).or_default().balance += moved;
        self.view.gas_used += gas_used;
        let place = Place {
            height: self.view.height,
            block: self.view.hash,
            index: self.receipts.len().try_into().unwrap(),
            time_ms: self.view.time_ms,
            base_fee: BASE_FEE,
        };
        self.view.transactions.push(tx.hash);
        self.receipts.push(ReceiptView {
            first_log_index: self.receipts.iter().map(|r| r.logs.len()).sum::<usize>() as u64,
            tx: TxView { place: Some(place), ..tx },
            success: logs.is_ok(),
            revert_reason: logs.as_ref().err().cloned(),
            gas_used,
            cumulative_gas_used: self.view.gas_used,
            logs: logs.unwrap_or_default(),
        });
    }

    fn logs(&self) -> impl Iterator<Item = LogView> {
        self.receipts.iter().flat_map(|receipt| {
            (receipt.first_log_index..).zip(&receipt.logs).map(|(index, log)| LogView {
                log: log.clone(),
                place: receipt.tx.place.unwrap(),
                tx: receipt.tx.hash,
                index,
            })
        })
    }
}

fn is_contract(address: Address) -> bool {
    address == HOSTS || address == RENTALS
}

/// `topUp` and `register` work, unchecked, and log; nothing else does.
fn execute(from: Address, value: U256, data: &[u8]) -> Result<Vec<Log>, String> {
    let amount = value.try_into().unwrap();
    if let Ok(call) = IRentals::topUpCall::abi_decode(data) {
        let event = IRentals::ToppedUp { rental: call.rental, from, amount };
        return Ok(vec![Log { address: RENTALS, data: event.encode_log_data() }]);
    }
    let call = IHosts::registerCall::abi_decode(data).map_err(|_| "unknown method".to_owned())?;
    let (machine, units) = (call.machine, call.units);
    let event = IHosts::Registered { machine, operator: from, units, bond: amount };
    Ok(vec![Log { address: HOSTS, data: event.encode_log_data() }])
}

impl State {
    fn at(&self, block: BlockRef) -> Option<&Block> {
        match block {
            BlockRef::Latest => self.blocks.last(),
            BlockRef::Height(height) => self.blocks.get(usize::try_from(height).ok()?),
            BlockRef::Hash(hash) => self.blocks.iter().find(|block| block.view.hash == hash),
        }
    }

    fn next_nonce(&self, address: Address) -> u64 {
        let latest = self.blocks.last().unwrap();
        let mut nonce = latest.accounts.get(&address).map_or(0, |account| account.nonce);
        while self.waiting.contains_key(&(address, nonce)) {
            nonce += 1;
        }
        nonce
    }

    fn check(&self, sender: Address, envelope: &TxEnvelope) -> Result<(), SubmitError> {
        let account = self.blocks.last().unwrap().accounts.get(&sender).copied();
        let account = account.unwrap_or_default();
        let nonce = envelope.nonce();
        if nonce < account.nonce {
            return Err(SubmitError::NonceTooLow { nonce, next: account.nonce });
        }
        let price = envelope.max_fee_per_gas();
        let want = U256::from(price) * U256::from(envelope.gas_limit()) + envelope.value();
        if want > U256::from(account.balance) {
            return Err(SubmitError::InsufficientFunds { have: account.balance, want });
        }
        if price < u128::from(BASE_FEE) {
            return Err(SubmitError::Underpriced { have: price, want: BASE_FEE.into() });
        }
        if let Some((held, old)) = self.waiting.get(&(sender, nonce)) {
            let least = old.max_fee_per_gas() + old.max_fee_per_gas() / 10;
            if held.hash == *envelope.tx_hash() {
                return Err(SubmitError::AlreadyKnown);
            }
            if price < least {
                return Err(SubmitError::ReplacementUnderpriced { have: price, want: least });
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Backend for MemoryNode {
    fn network(&self) -> &'static Network {
        Network::devnet()
    }

    fn client_version(&self) -> String {
        "pouw-memory/0.1.0".to_owned()
    }

    async fn head(&self) -> Result<Head, BackendError> {
        let state = self.state();
        let view = &state.blocks.last().unwrap().view;
        let (height, hash, time_ms) = (view.height, view.hash, view.time_ms);
        Ok(Head { height, hash, time_ms, next_base_fee: BASE_FEE })
    }

    async fn pending_count(&self) -> Result<u64, BackendError> {
        Ok(self.state().waiting.len() as u64)
    }

    async fn block(&self, block: BlockRef) -> Result<Option<BlockView>, BackendError> {
        Ok(self.state().at(block).map(|block| block.view.clone()))
    }

    async fn receipts(&self, block: BlockRef) -> Result<Option<Vec<ReceiptView>>, BackendError> {
        Ok(self.state().at(block).map(|block| block.receipts.clone()))
    }

    async fn transaction(&self, hash: B256) -> Result<Option<TxView>, BackendError> {
        let state = self.state();
        let placed = state.blocks.iter().flat_map(|block| &block.receipts).map(|r| &r.tx);
        let waiting = state.waiting.values().map(|(tx, _)| tx);
        Ok(placed.chain(waiting).find(|tx| tx.hash == hash).cloned())
    }

    async fn receipt(&self, hash: B256) -> Result<Option<ReceiptView>, BackendError> {
        let state = self.state();
        let mut all = state.blocks.iter().flat_map(|block| &block.receipts);
        Ok(all.find(|receipt| receipt.tx.hash == hash).cloned())
    }

    async fn account(&self, address: Address, at: BlockRef) -> Result<AccountView, BackendError> {
        let state = self.state();
        let block = state.at(at).ok_or_else(|| BackendError::NoBlock(format!("{at:?}")))?;
        Ok(block.accounts.get(&address).copied().unwrap_or_default())
    }

    async fn pending_nonce(&self, address: Address) -> Result<u64, BackendError> {
        Ok(self.state().next_nonce(address))
    }

    fn is_contract(&self, address: Address) -> bool {
        is_contract(address)
    }

    async fn logs(&self, query: LogQuery, limit: usize) -> Result<Vec<LogView>, BackendError> {
        let state = self.state();
        let blocks = state.blocks.iter();
        let blocks = blocks.filter(|b| (query.from..=query.to).contains(&b.view.height));
        let found: Vec<_> =
            blocks.flat_map(Block::logs).filter(|log| query.matches(&log.log)).collect();
        if found.len() > limit { Err(BackendError::TooManyLogs(limit)) } else { Ok(found) }
    }

    async fn call(&self, call: CallRequest, at: BlockRef) -> Result<Bytes, CallError> {
        let state = self.state();
        let Some(block) = state.at(at) else {
            return Err(BackendError::NoBlock(format!("{at:?}")).into());
        };
        let Some(to) = call.to else {
            return Err(CallError::Unsupported("contracts cannot be created".to_owned()));
        };
        if !is_contract(to) {
            return Ok(Bytes::new());
        }
        if to == RENTALS && IRentals::totalsCall::abi_decode(&call.data).is_ok() {
            let network = Network::devnet();
            let held = block.accounts.get(&RENTALS).map_or(0, |account| account.balance);
            let subsidies = network.subsidy.to_u256() * U256::from(block.view.height);
            let all: u128 = block.accounts.values().map(|account| account.balance).sum();
            let genesis = network.genesis_supply();
            let totals = IRentals::totalsReturn {
                escrows: U256::from(held),
                bonds: U256::ZERO,
                stakes: U256::ZERO,
                pool: U256::ZERO,
                // In this model subsidies never mature, and gas is burned.
                immature: subsidies,
                burned: U256::from(genesis.atto() - all),
                balances: U256::from(all - held),
                subsidies,
                genesisSupply: genesis.to_u256(),
            };
            return Ok(IRentals::totalsCall::abi_encode_returns(&totals).into());
        }
        match execute(call.from, call.value, &call.data) {
            Ok(_) => Ok(Bytes::new()),
            Err(reason) => {
                let data = Revert::from(reason.clone()).abi_encode().into();
                Err(CallError::Reverted { reason, data })
            }
        }
    }

    async fn estimate_gas(&self, call: CallRequest, at: BlockRef) -> Result<u64, CallError> {
        let gas = if call.to.is_some_and(is_contract) { CALL_GAS } else { TRANSFER_GAS };
        self.call(call, at).await.map(|_| gas)
    }

    async fn submit(&self, raw: Bytes) -> Result<B256, SubmitError> {
        let mut rest = raw.as_ref();
        let envelope = TxEnvelope::decode_2718(&mut rest)
            .map_err(|error| SubmitError::Malformed(error.to_string()))?;
        if !rest.is_empty() {
            return Err(SubmitError::Malformed("bytes behind the end".to_owned()));
        }
        if envelope.ty() > 2 {
            return Err(SubmitError::UnsupportedType(envelope.ty()));
        }
        let want = Network::devnet().chain_id;
        if envelope.chain_id() != Some(want) {
            return Err(SubmitError::WrongChain { have: envelope.chain_id(), want });
        }
        if envelope.to().is_none() {
            return Err(SubmitError::Unsupported("creating a contract".to_owned()));
        }
        let sender = envelope.recover_signer().map_err(|_| SubmitError::BadSignature)?;
        let hash = *envelope.tx_hash();
        let mut state = self.state();
        state.check(sender, &envelope)?;
        let tx = TxView { hash, raw: envelope.encoded_2718().into(), sender, place: None };
        state.waiting.insert((sender, envelope.nonce()), (tx, envelope));
        let _nobody = self.events.send(Event::Pending(hash));
        Ok(hash)
    }

    async fn fees(&self, newest: u64, count: u64) -> Result<Vec<BlockFees>, BackendError> {
        let state = self.state();
        let oldest = (newest + 1).saturating_sub(count);
        let blocks = state.blocks.iter().filter(|b| (oldest..=newest).contains(&b.view.height));
        let fees = |block: &Block| BlockFees {
            height: block.view.height,
            base_fee: block.view.base_fee,
            gas_used: block.view.gas_used,
            gas_limit: block.view.gas_limit,
            tips: block.receipts.iter().map(|receipt| (1_000, receipt.gas_used)).collect(),
        };
        Ok(blocks.map(fees).collect())
    }

    async fn block_list(&self, list: BlockList) -> Result<Vec<BlockLine>, BackendError> {
        let state = self.state();
        let wanted = |block: &&Block| {
            block.view.height > 0
                && block.view.height < list.below
                && list.lane.is_none_or(|lane| lane == block.view.lane)
        };
        let line = |block: &Block| BlockLine {
            height: block.view.height,
            hash: block.view.hash,
            lane: block.view.lane,
            time_ms: block.view.time_ms,
            spacing_ms: 2_000,
            difficulty: block.view.difficulty.to(),
            miner: block.view.miner,
            minted: Some(Network::devnet().subsidy),
            machine: None,
            product: None,
        };
        let limit = usize::try_from(list.limit).unwrap();
        Ok(state.blocks.iter().rev().filter(wanted).take(limit).map(line).collect())
    }

    async fn lanes(&self, window: u64) -> Result<LanesView, BackendError> {
        Ok(LanesView {
            window_blocks: window,
            window_ms: window * 2_000,
            lanes: Vec::new(),
            rewards: None,
        })
    }

    async fn machine_lanes(&self, _: Address) -> Result<Option<MachineLanes>, BackendError> {
        Ok(None)
    }

    async fn shares(&self, epochs: u64) -> Result<SharesOverTime, BackendError> {
        let none = SharesView { hash: 65_536, matmul: 0, credit: 0 };
        let view = |epoch| EpochView {
            epoch,
            first_height: epoch * 60,
            shares: none,
            before: none,
            target: None,
            reason: ShareReason::Start,
            burned_for_matmul: None,
            burned_for_credit: None,
            minted_for_credit: None,
        };
        Ok(SharesOverTime {
            epoch_blocks: 60,
            subsidies: Network::devnet().subsidy,
            steps: [1, 2],
            epochs: (0..epochs).map(view).collect(),
        })
    }

    fn mining(&self) -> Option<MiningView> {
        None
    }

    async fn lane_one_work(&self, machine: Address) -> Result<Option<LaneOneWork>, LaneOneError> {
        match machine.as_slice()[0] {
            0 => Err(LaneOneError::Unregistered(machine)),
            1 => Ok(None),
            _ => Ok(Some(LaneOneWork {
                number: 7,
                core: B256::repeat_byte(1),
                difficulty: 1 << 100,
                ancestors: vec![B256::repeat_byte(2)],
                miner: machine,
            })),
        }
    }

    async fn lane_one_win(
        &self,
        number: u64,
        certificate: Bytes,
    ) -> Result<Option<B256>, LaneOneError> {
        let reason = "it is empty".to_owned();
        match certificate.len() {
            0 => Err(LaneOneError::Certificate { number, reason }),
            _ => Ok((number == 7).then(|| keccak256(&certificate))),
        }
    }

    fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }
}
