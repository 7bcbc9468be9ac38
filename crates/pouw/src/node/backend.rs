//! What the outside doors ask, answered by the chain.

use std::sync::{Arc, OnceLock};

use alloy_primitives::{Address, B256, Bytes};
use alloy_sol_types::SolCall;
use async_trait::async_trait;
use pouw_api::Backend;
use pouw_api::backend::{
    AccountView, BackendError, BlockFees, BlockRef, BlockView, CallError, CallRequest, Event, Head,
    LogQuery, LogView, PeerView, Peering, ReceiptView, SubmitError, TxView,
};
use pouw_api::lanes::{
    BlockLine, BlockList, LaneOneError, LaneOneWork, LanesView, MachineLanes, MiningView,
    SharesOverTime,
};
use pouw_chain::{Chain, KnownBlock, LogFilter, MinerYield, StateAt};
use pouw_ledger::BlockEnv;
use pouw_net::NetHandle;
use pouw_types::contracts::{HOSTS, IHosts};
use pouw_types::{Amount, Network};
use tokio::sync::broadcast;

use super::desk::Desk;
use super::{Mining, lanes, views};

/// How many events a slow listener may be behind.
const EVENTS: usize = 1_024;

/// A chain as the doors see it. Reads run beside the executor: they wait for a disk.
#[derive(Clone, Debug)]
pub struct ChainBackend {
    chain: Chain,
    events: broadcast::Sender<Event>,
    net: Arc<OnceLock<NetHandle>>,
    mining: Arc<OnceLock<Mining>>,
    desk: Arc<Desk>,
}

impl ChainBackend {
    /// Over a chain; [`ChainBackend::relay`] has to run for events to flow.
    #[must_use]
    pub fn new(chain: Chain) -> Self {
        Self {
            chain,
            events: broadcast::Sender::new(EVENTS),
            net: Arc::default(),
            mining: Arc::default(),
            desk: Arc::default(),
        }
    }

    /// Tells it of the node's peers, once there are some.
    pub(super) fn join(&self, net: NetHandle) {
        // Once: a node joins one network.
        let _ = self.net.set(net);
    }

    /// Tells of this node's miner from now on.
    pub(super) fn mines(&self, mining: Mining) {
        // A node starts one miner.
        let _second = self.mining.set(mining);
    }

    /// Makes a miner of this machine leave lane 1 to tasks while they ask for work.
    pub(super) fn yields(&self, miner: MinerYield) {
        self.desk.before(miner);
    }

    /// The registered miner of a machine.
    async fn miner_of(&self, machine: Address) -> Result<Address, LaneOneError> {
        let data = IHosts::machineOfCall { machine }.abi_encode().into();
        let request = CallRequest { to: Some(HOSTS), data, ..CallRequest::default() };
        let unavailable = |error: String| BackendError::Unavailable(error);
        let answer = self.call(request, BlockRef::Latest).await;
        let answer = answer.map_err(|error| unavailable(error.to_string()))?;
        let known = IHosts::machineOfCall::abi_decode_returns(&answer);
        let known = known.map_err(|error| unavailable(error.to_string()))?;
        if known.operator == Address::ZERO {
            return Err(LaneOneError::Unregistered(machine));
        }
        Ok(known.miner)
    }

    /// Passes the chain's events on until `failed` tells that it can't go on.
    ///
    /// # Errors
    /// Why the chain can't go on.
    pub async fn relay(&self) -> Result<(), Arc<str>> {
        let mut events = self.chain.subscribe();
        loop {
            match events.recv().await {
                Ok(pouw_chain::Event::NewHead(head)) => self.tell(&[head.id], Self::adopted).await,
                Ok(pouw_chain::Event::Reorg { dropped, added, .. }) => {
                    self.tell(&dropped, Self::dropped).await;
                    self.tell(&added, Self::adopted).await;
                }
                Ok(pouw_chain::Event::NewPending(hash)) => {
                    // Nobody listening is no error.
                    let _ = self.events.send(Event::Pending(hash));
                }
                Ok(pouw_chain::Event::Failed(why)) => return Err(why),
                Err(broadcast::error::RecvError::Lagged(missed)) => {
                    tracing::warn!(missed, "listeners miss events of the chain");
                }
                Err(broadcast::error::RecvError::Closed) => return Ok(()),
            }
        }
    }

    async fn tell(&self, ids: &[B256], event: fn(BlockView, Vec<LogView>) -> Event) {
        if self.events.receiver_count() == 0 {
            return;
        }
        for id in ids.iter().copied() {
            let read = self.ask(move |chain| {
                let known = chain.block(id).map_err(views::store)?;
                let known = known.ok_or_else(|| BackendError::NoBlock(id.to_string()))?;
                Ok((views::block(chain, &known)?, views::block_logs(&known)))
            });
            match read.await {
                Ok((block, logs)) => {
                    let _ = self.events.send(event(block, logs));
                }
                Err(error) => tracing::warn!(%error, block = %id, "an event is lost"),
            }
        }
    }

    fn adopted(block: BlockView, logs: Vec<LogView>) -> Event {
        Event::Adopted { block: Arc::new(block), logs: Arc::new(logs) }
    }

    fn dropped(block: BlockView, logs: Vec<LogView>) -> Event {
        Event::Dropped { block: Arc::new(block), logs: Arc::new(logs) }
    }

    /// Asks the chain off the executor's threads.
    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Chain) -> Result<T, BackendError> + Send + 'static,
    ) -> Result<T, BackendError> {
        let chain = self.chain.clone();
        tokio::task::spawn_blocking(move || question(&chain))
            .await
            .map_err(|error| BackendError::Unavailable(error.to_string()))?
    }

    /// Tries a call off the executor's threads, in the block after `at`.
    async fn try_call<T: Send + 'static>(
        &self,
        at: BlockRef,
        question: impl FnOnce(&StateAt, &BlockEnv) -> Result<T, CallError> + Send + 'static,
    ) -> Result<T, CallError> {
        let chain = self.chain.clone();
        let tried = tokio::task::spawn_blocking(move || {
            let height = height_of(&chain, at)?;
            let state = chain.state_at(height).map_err(views::read)?;
            let head = chain.head();
            let env = BlockEnv {
                network: chain.network(),
                height: height.saturating_add(1),
                // Rules see the time of the block that would hold the call.
                time_ms: head.time_ms().max(chain.now_ms()),
                payout: Address::ZERO,
                base_fee: head.next_base_fee,
                subsidy: chain.network().subsidy,
            };
            question(&state, &env)
        });
        tried.await.map_err(|error| BackendError::Unavailable(error.to_string()))?
    }
}

fn find(chain: &Chain, block: BlockRef) -> Result<Option<KnownBlock>, BackendError> {
    let found = match block {
        BlockRef::Latest => chain.block(chain.head().id),
        BlockRef::Height(height) => chain.block_at(height),
        BlockRef::Hash(id) => chain.block(id),
    };
    found.map_err(views::store)
}

/// The height on the best chain that a reference names.
fn height_of(chain: &Chain, block: BlockRef) -> Result<u64, BackendError> {
    match block {
        BlockRef::Latest => Ok(chain.head().height()),
        BlockRef::Height(height) => Ok(height),
        BlockRef::Hash(id) => {
            let unknown = || BackendError::NoBlock(id.to_string());
            let (standing, _) = chain.header(id).map_err(views::store)?.ok_or_else(unknown)?;
            let best = chain.id_at(standing.height).map_err(views::store)?;
            if best == Some(id) { Ok(standing.height) } else { Err(unknown()) }
        }
    }
}

/// Value and recipient of a call as the ledger takes them.
fn parts(call: &CallRequest) -> Result<(Address, Amount), CallError> {
    let to = call.to.ok_or_else(|| {
        CallError::Unsupported("contracts can't be created: only system contracts exist".into())
    })?;
    let value = Amount::from_u256(call.value)
        .map_err(|error| CallError::Unsupported(format!("value: {error}")))?;
    Ok((to, value))
}

#[async_trait]
impl Backend for ChainBackend {
    fn network(&self) -> &'static Network {
        self.chain.network()
    }

    fn client_version(&self) -> String {
        concat!("pouw/", env!("CARGO_PKG_VERSION")).to_owned()
    }

    async fn head(&self) -> Result<Head, BackendError> {
        let head = self.chain.head();
        Ok(Head {
            height: head.height(),
            hash: head.id,
            time_ms: head.time_ms(),
            next_base_fee: head.next_base_fee,
        })
    }

    async fn pending_count(&self) -> Result<u64, BackendError> {
        Ok(u64::try_from(self.chain.pending_count()).unwrap_or(u64::MAX))
    }

    async fn block(&self, block: BlockRef) -> Result<Option<BlockView>, BackendError> {
        self.ask(move |chain| {
            find(chain, block)?.map(|known| views::block(chain, &known)).transpose()
        })
        .await
    }

    async fn receipts(&self, block: BlockRef) -> Result<Option<Vec<ReceiptView>>, BackendError> {
        self.ask(move |chain| match find(chain, block)? {
            Some(known) => views::receipts(chain, known),
            None => Ok(None),
        })
        .await
    }

    async fn transaction(&self, hash: B256) -> Result<Option<TxView>, BackendError> {
        self.ask(move |chain| {
            if let Some(tx) = chain.pending(hash) {
                return views::transaction(chain, &tx.raw(), None).map(Some);
            }
            let Some(found) = chain.transaction(hash).map_err(views::store)? else {
                return Ok(None);
            };
            let place = views::place(&found.header.core, found.block, found.index);
            views::transaction(chain, &found.raw, Some(place)).map(Some)
        })
        .await
    }

    async fn receipt(&self, hash: B256) -> Result<Option<ReceiptView>, BackendError> {
        self.ask(move |chain| {
            let Some(found) = chain.transaction(hash).map_err(views::store)? else {
                return Ok(None);
            };
            let place = views::place(&found.header.core, found.block, found.index);
            let tx = views::transaction(chain, &found.raw, Some(place))?;
            Ok(Some(views::receipt(tx, found.receipt, found.first_log_index.into())))
        })
        .await
    }

    async fn account(&self, address: Address, at: BlockRef) -> Result<AccountView, BackendError> {
        self.ask(move |chain| {
            let account = chain.account(address, height_of(chain, at)?).map_err(views::read)?;
            Ok(AccountView { nonce: account.nonce, balance: account.balance.atto() })
        })
        .await
    }

    async fn pending_nonce(&self, address: Address) -> Result<u64, BackendError> {
        self.ask(move |chain| chain.pending_nonce(address).map_err(views::read)).await
    }

    fn is_contract(&self, address: Address) -> bool {
        pouw_ledger::is_contract(address)
    }

    async fn logs(&self, query: LogQuery, limit: usize) -> Result<Vec<LogView>, BackendError> {
        self.ask(move |chain| {
            let LogQuery { from, to, addresses, topics } = query;
            let filter = LogFilter { from, to, addresses, topics };
            let entries = chain.logs(&filter, limit).map_err(views::read)?;
            let mut found = Vec::with_capacity(entries.len());
            let mut last: Option<(B256, u64)> = None;
            for entry in entries {
                let base_fee = match last {
                    Some((block, fee)) if block == entry.block => fee,
                    Some(_) | None => {
                        let header = chain.header(entry.block).map_err(views::store)?;
                        header.map_or(0, |(_, header)| header.core.base_fee)
                    }
                };
                last = Some((entry.block, base_fee));
                found.push(views::log(entry, base_fee));
            }
            Ok(found)
        })
        .await
    }

    async fn call(&self, call: CallRequest, at: BlockRef) -> Result<Bytes, CallError> {
        let (to, value) = parts(&call)?;
        self.try_call(at, move |state, env| {
            pouw_ledger::call(state, env, call.from, to, value, &call.data)
                .map_err(|error| views::call(&error))
        })
        .await
    }

    async fn estimate_gas(&self, call: CallRequest, at: BlockRef) -> Result<u64, CallError> {
        let (to, value) = parts(&call)?;
        self.try_call(at, move |state, env| {
            let needed = pouw_ledger::estimate_gas(state, env, call.from, to, value, &call.data)
                .map_err(|error| views::call(&error))?;
            match call.gas {
                Some(have) if have < needed => Err(CallError::OutOfGas { have, want: needed }),
                Some(_) | None => Ok(needed),
            }
        })
        .await
    }

    async fn submit(&self, raw: Bytes) -> Result<B256, SubmitError> {
        let chain = self.chain.clone();
        let chain_id = chain.network().chain_id;
        tokio::task::spawn_blocking(move || chain.submit(&raw))
            .await
            .map_err(|error| BackendError::Unavailable(error.to_string()))?
            .map_err(|error| views::submit(error, chain_id))
    }

    async fn fees(&self, newest: u64, count: u64) -> Result<Vec<BlockFees>, BackendError> {
        self.ask(move |chain| {
            let first = newest.saturating_add(1).saturating_sub(count);
            let mut fees = Vec::new();
            for height in first..=newest {
                let Some(known) = chain.block_at(height).map_err(views::store)? else { break };
                let core = &known.block.header.core;
                let receipts = known.receipts.iter().flatten();
                let tips = receipts.map(|receipt| {
                    let tip = receipt.effective_gas_price.saturating_sub(core.base_fee.into());
                    (tip, receipt.gas_used)
                });
                fees.push(BlockFees {
                    height,
                    base_fee: core.base_fee,
                    gas_used: core.gas_used,
                    gas_limit: chain.network().block_gas,
                    tips: tips.collect(),
                });
            }
            Ok(fees)
        })
        .await
    }

    fn peering(&self) -> Option<Peering> {
        let net = self.net.get()?;
        let peer = |one: &pouw_net::PeerView| PeerView {
            peer: one.peer.to_string(),
            address: one.address,
            called: one.called,
            height: one.height,
            head: one.head,
            points: one.points,
            since_ms: one.since_ms,
        };
        let peers = net.peers();
        let peers = peers.iter().filter(|one| one.greeted).map(peer).collect();
        Some(Peering { contact: net.contact().to_string(), peers })
    }

    async fn block_list(&self, list: BlockList) -> Result<Vec<BlockLine>, BackendError> {
        self.ask(move |chain| lanes::block_list(chain, list)).await
    }

    async fn lanes(&self, window: u64) -> Result<LanesView, BackendError> {
        self.ask(move |chain| lanes::lanes(chain, window)).await
    }

    async fn machine_lanes(&self, machine: Address) -> Result<Option<MachineLanes>, BackendError> {
        self.ask(move |chain| lanes::machine(chain, machine)).await
    }

    async fn shares(&self, epochs: u64) -> Result<SharesOverTime, BackendError> {
        self.ask(move |chain| lanes::shares(chain, epochs)).await
    }

    fn mining(&self) -> Option<MiningView> {
        self.mining.get().map(|mining| lanes::mining(self.chain.network(), mining))
    }

    async fn lane_one_work(&self, machine: Address) -> Result<Option<LaneOneWork>, LaneOneError> {
        let miner = self.miner_of(machine).await?;
        let (chain, desk) = (self.chain.clone(), Arc::clone(&self.desk));
        tokio::task::spawn_blocking(move || desk.work(&chain, machine, miner))
            .await
            .map_err(|error| BackendError::Unavailable(error.to_string()))?
    }

    async fn lane_one_win(
        &self,
        number: u64,
        certificate: Bytes,
    ) -> Result<Option<B256>, LaneOneError> {
        let (chain, desk) = (self.chain.clone(), Arc::clone(&self.desk));
        tokio::task::spawn_blocking(move || desk.win(&chain, number, certificate.to_vec()))
            .await
            .map_err(|error| BackendError::Unavailable(error.to_string()))?
    }

    fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }
}
