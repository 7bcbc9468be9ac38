//! The handle of a node's chain.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

use alloy_primitives::Address;
use pouw_consensus::share::{Steps, at_genesis, check_move};
use pouw_consensus::{
    BlockId, Candidate, Claim, Core, HashClaim, Header, Lane, Pace, STATE_KEY, Standing,
    receipts_root, replaces, tx_root,
};
use pouw_ledger::{Transaction, account, decode_transaction, genesis};
use pouw_types::Network;
use redb::StorageBackend;
use tokio::sync::broadcast;

use crate::block::{Block, Checked, Decoded};
use crate::credit::evidence_at_hand;
use crate::epochs;
use crate::error::{ImportError, OpenError, StoreError};
use crate::event::{Event, Head};
use crate::import::{
    AtHand, Branch, BranchError, Imported, Known, ancestors_needed, base_fee_after, check, execute,
    reorg,
};
use crate::mempool::{Mempool, MempoolLimits};
use crate::store::{LAYOUT, Reading, Store, Writing, corrupt};

/// How many events a slow subscriber may be behind before it loses some.
const EVENTS: usize = 1_024;

/// Name of the database in the data folder.
const FILE: &str = "chain.redb";

/// Where the time comes from.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> u64 + Send + Sync>);

impl Clock {
    /// A clock of one's own, in Unix milliseconds.
    pub fn new(now_ms: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(now_ms))
    }

    /// Unix milliseconds.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        (self.0)()
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new(|| {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        })
    }
}

impl core::fmt::Debug for Clock {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Clock")
    }
}

/// What a node chooses for its chain.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which network.
    pub network: &'static Network,
    /// How much may wait in the mempool.
    pub mempool: MempoolLimits,
    /// Where the time comes from.
    pub clock: Clock,
}

impl Options {
    /// A network's, with the defaults.
    #[must_use]
    pub fn new(network: &'static Network) -> Self {
        Self { network, mempool: MempoolLimits::default(), clock: Clock::default() }
    }
}

/// A node's chain: store, import, fork tree, mempool. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub struct Chain {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) network: &'static Network,
    pub(crate) clock: Clock,
    pub(crate) store: Store,
    /// Held while the head moves.
    writer: Mutex<()>,
    head: RwLock<Arc<Head>>,
    mempool: Mutex<Mempool>,
    events: broadcast::Sender<Event>,
    failure: OnceLock<Arc<str>>,
}

impl Chain {
    /// Opens the chain in a data folder, or starts it there with the network's genesis.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(folder: &Path, options: Options) -> Result<Self, OpenError> {
        std::fs::create_dir_all(folder)
            .map_err(|error| OpenError::Folder(folder.display().to_string(), error))?;
        Self::start(Store::open(&folder.join(FILE))?, options)
    }

    /// Opens the chain on storage of one's own, such as memory.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open_on(backend: impl StorageBackend, options: Options) -> Result<Self, OpenError> {
        Self::start(Store::with_backend(backend)?, options)
    }

    /// A chain in memory that ends with the process, for tests and trials.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn in_memory(options: Options) -> Result<Self, OpenError> {
        Self::open_on(redb::backends::InMemoryBackend::new(), options)
    }

    fn start(store: Store, options: Options) -> Result<Self, OpenError> {
        let Options { network, mempool, clock } = options;
        match store.read()?.layout()? {
            None => write_genesis(&store, network)?,
            Some(LAYOUT) => {}
            Some(found) => return Err(OpenError::Layout { expected: LAYOUT, found }),
        }
        let reading = store.read()?;
        let expected = genesis_header(network, genesis_root(network)?).id();
        let found = reading.at_height(0)?.ok_or_else(|| corrupt("genesis block", 0))?;
        if found != expected {
            return Err(OpenError::OtherGenesis { expected, found });
        }
        let head = Arc::new(read_head(&reading, network)?);
        let mempool = Mempool::new(network, mempool, head.next_base_fee);
        let inner = Inner {
            network,
            clock,
            store,
            writer: Mutex::new(()),
            head: RwLock::new(head),
            mempool: Mutex::new(mempool),
            events: broadcast::Sender::new(EVENTS),
            failure: OnceLock::new(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The network's parameters.
    #[must_use]
    pub fn network(&self) -> &'static Network {
        self.inner.network
    }

    /// Unix milliseconds, by the chain's clock.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.inner.clock.now_ms()
    }

    /// The best block.
    #[must_use]
    pub fn head(&self) -> Arc<Head> {
        Arc::clone(&self.inner.head.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// What happens from now on; a receiver that falls behind loses events and is told so.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.inner.events.subscribe()
    }

    /// Why the process has to end, once a write failed.
    #[must_use]
    pub fn failure(&self) -> Option<Arc<str>> {
        self.inner.failure.get().cloned()
    }

    pub(crate) fn mempool(&self) -> MutexGuard<'_, Mempool> {
        self.inner.mempool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn send(&self, event: Event) {
        // Nobody listening is no error.
        let _ = self.inner.events.send(event);
    }

    /// Takes a block's bytes; see [`Chain::import_block`].
    ///
    /// # Errors
    /// [`ImportError`].
    pub fn import(&self, bytes: &[u8]) -> Result<Imported, ImportError> {
        self.import_block(Block::decode(bytes)?)
    }

    /// Takes a block, whoever made it: checks everything, keeps it, and follows its branch if that
    /// weighs more. When this returns, what it says is durable.
    ///
    /// # Errors
    /// [`ImportError`]; ask [`ImportError::is_fatal`] and [`ImportError::is_transient`].
    pub fn import_block(&self, block: Block) -> Result<Imported, ImportError> {
        self.import_checked(block, false)
    }

    /// [`Chain::import_block`] of a block that leads to one that the operator trusts: of lane 1, it
    /// may come without its certificate, when nobody has that any more.
    ///
    /// # Errors
    /// As there.
    pub fn import_vouched(&self, block: Block) -> Result<Imported, ImportError> {
        self.import_checked(block, true)
    }

    fn import_checked(&self, block: Block, vouched: bool) -> Result<Imported, ImportError> {
        if let Some(why) = self.failure() {
            return Err(StoreError::Failed(why.to_string()).into());
        }
        let result = self.take(block, vouched);
        if let Err(error) = &result
            && error.is_fatal()
        {
            self.fail(error);
        }
        result
    }

    /// Remembers that a write failed, and tells everybody.
    fn fail(&self, error: &ImportError) {
        let mut why = error.to_string();
        let mut source = std::error::Error::source(error);
        while let Some(error) = source {
            why = format!("{why}: {error}");
            source = error.source();
        }
        tracing::error!(%why, "the chain can't go on");
        let why: Arc<str> = why.into();
        if self.inner.failure.set(Arc::clone(&why)).is_ok() {
            self.send(Event::Failed(why));
        }
    }

    fn take(&self, block: Block, vouched: bool) -> Result<Imported, ImportError> {
        let network = self.inner.network;
        let decoded = Decoded { id: block.id(), block };
        let (id, parent) = (decoded.id, decoded.block.header.core.parent);
        let reading = self.inner.store.read()?;
        if reading.header(id)?.is_some() {
            return Ok(Imported::Known);
        }
        if reading.is_invalid(id)? {
            return Err(ImportError::KnownInvalid(id));
        }
        if reading.is_invalid(parent)? {
            return Err(ImportError::InvalidAncestor(parent));
        }
        let Some((standing, header)) = reading.header(parent)? else {
            return Err(ImportError::UnknownParent(parent));
        };
        let core = &decoded.block.header.core;
        let standing = follow(network, &reading, standing, &header, core)?;
        let claimed = &decoded.block.header;
        let needed = ancestors_needed(&claimed.claim);
        let ancestors = if needed > 0 { reading.lineage(parent, needed)? } else { Vec::new() };
        let credit = evidence_at_hand(network, &reading, &standing, claimed)?;
        let at_hand = AtHand { ancestors, credit };
        let now_ms = self.now_ms();
        let waiting: Known<'_> = &|hash| self.mempool().get(hash);
        let known = (self.mempool().len() > 0).then_some(waiting);
        let checked =
            check(network, (&standing, &header), &at_hand, decoded, vouched, now_ms, known)
                .map_err(|error| self.blame(id, error))?;
        drop(reading);
        let _writer = self.inner.writer.lock().unwrap_or_else(PoisonError::into_inner);
        self.adopt(checked)
    }

    /// Remembers a block whose body can never be valid; the header's root binds its transactions.
    fn blame(&self, id: BlockId, error: ImportError) -> ImportError {
        let lasting =
            matches!(error, ImportError::Transaction { .. } | ImportError::Execution { .. });
        let lasting =
            lasting || matches!(error, ImportError::Shares { .. } | ImportError::Credit(_));
        let lasting = lasting || matches!(&error, ImportError::Body(error) if !is_form(error));
        if !lasting {
            return error;
        }
        match self.inner.store.write(|writing| writing.put_invalid(id)) {
            Ok(()) => error,
            Err(failed) => failed.into(),
        }
    }

    /// Decides what becomes of a checked block; the writer's lock is held.
    fn adopt(&self, checked: Checked) -> Result<Imported, ImportError> {
        let network = self.inner.network;
        let head = self.head();
        let (id, core) = (checked.standing.id, &checked.block.header.core);
        let extends_head = core.parent == head.id;
        let branch = {
            let reading = self.inner.store.read()?;
            if reading.header(id)?.is_some() {
                return Ok(Imported::Known);
            }
            if extends_head { None } else { Some(find_branch(network, &reading, core)?) }
        };
        let total_weight = checked.standing.total_weight;
        if !replaces(head.standing.total_weight, Candidate { total_weight, extends_head }) {
            let put =
                |writing: &mut Writing<'_>| writing.put_block(&checked.standing, &checked.block);
            self.inner.store.write::<_, StoreError>(put)?;
            return Ok(Imported::Side);
        }
        match branch {
            None => self.extend(checked),
            Some(branch) => self.switch(&head, &branch, checked),
        }
    }

    fn extend(&self, checked: Checked) -> Result<Imported, ImportError> {
        let network = self.inner.network;
        let id = checked.standing.id;
        let step = |writing: &mut Writing<'_>| {
            let executed = execute(network, writing, checked)?;
            prune(network, writing, executed.checked.standing.height)?;
            Ok(executed)
        };
        let executed = self.inner.store.write(step).map_err(|error| self.blame(id, error))?;
        let head = self.move_head(executed.checked.standing, executed.checked.block.header);
        let senders = executed.checked.transactions.iter().map(|tx| tx.sender()).collect();
        self.settle_mempool(&head, senders, Vec::new())?;
        tracing::debug!(height = head.height(), transactions = executed.receipts.len(), "new head");
        self.send(Event::NewHead(head));
        Ok(Imported::Extended)
    }

    fn switch(
        &self,
        old: &Head,
        branch: &Branch,
        checked: Checked,
    ) -> Result<Imported, ImportError> {
        let network = self.inner.network;
        let step = |writing: &mut Writing<'_>| {
            let done = reorg(network, writing, (old.id, old.height()), branch, checked)?;
            let height = done.added.last().map_or(0, |block| block.checked.standing.height);
            prune(network, writing, height)?;
            Ok(done)
        };
        let done = match self.inner.store.write(step) {
            Ok(done) => done,
            Err(BranchError { block: None, error }) => return Err(*error),
            Err(BranchError { block: Some(block), error }) => return Err(self.blame(block, *error)),
        };
        let mut senders = BTreeSet::new();
        let mut added = Vec::with_capacity(done.added.len());
        let mut last = None;
        for block in done.added {
            added.push(block.checked.standing.id);
            senders.extend(block.checked.transactions.iter().map(|tx| tx.sender()));
            last = Some((block.checked.standing, block.checked.block.header));
        }
        let Some((standing, header)) = last else { return Ok(Imported::Known) };
        let head = self.move_head(standing, header);
        let dropped_txs: Vec<_> = done
            .dropped_raw
            .iter()
            .filter_map(|raw| decode_transaction(raw, network.chain_id).ok())
            .map(Arc::new)
            .collect();
        self.settle_mempool(&head, senders, dropped_txs)?;
        let dropped = done.dropped.len();
        tracing::info!(height = head.height(), dropped, added = added.len(), "reorg");
        self.send(Event::Reorg { dropped: done.dropped.into(), added: added.into(), head });
        Ok(Imported::Reorged { dropped })
    }

    fn move_head(&self, standing: Standing, header: Header) -> Arc<Head> {
        let next_base_fee = base_fee_after(self.inner.network, &header);
        let head = Arc::new(Head { id: standing.id, header, standing, next_base_fee });
        *self.inner.head.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&head);
        head
    }

    /// Drops what was included, takes back what left the chain.
    fn settle_mempool(
        &self,
        head: &Head,
        mut senders: BTreeSet<Address>,
        dropped: Vec<Arc<Transaction>>,
    ) -> Result<(), ImportError> {
        {
            // Only whoever has something waiting can have it used up.
            let mempool = self.mempool();
            senders.retain(|sender| mempool.has(*sender));
        }
        senders.extend(dropped.iter().map(|tx| tx.sender()));
        let state = self.inner.store.read()?.state(head.height())?;
        let mut accounts = BTreeMap::new();
        for sender in senders {
            accounts.insert(sender, account(&state, sender)?);
        }
        let mut mempool = self.mempool();
        mempool.advance(head.next_base_fee, &accounts);
        for tx in dropped {
            if let Some(account) = accounts.get(&tx.sender()) {
                // One that is on the new branch too, or can't pay any more, is not taken back.
                let _ = mempool.insert(tx, account);
            }
        }
        Ok(())
    }
}

/// Whether an error is of the form, which other transactions under the same header may not have.
const fn is_form(error: &pouw_consensus::BodyError) -> bool {
    use pouw_consensus::BodyError as E;
    match error {
        E::Bytes { .. } => true,
        E::Root { what, .. } => matches!(what.as_bytes(), b"transaction root"),
        E::GasUsed { .. } | E::GasLimit { .. } | E::BaseFee { .. } => false,
    }
}

/// The parent's standing as its child sees it. Where the parent ends an epoch and was never
/// executed, its state's shares are not known: the child's are believed as far as a step goes
/// (C-18), until the branch is executed (C-19).
fn follow(
    network: &Network,
    reading: &Reading,
    parent: Standing,
    header: &Header,
    child: &Core,
) -> Result<Standing, ImportError> {
    let starts = epochs::starts(network, child.height);
    if !starts || child.shares == parent.shares || reading.is_executed(parent.id)? {
        return Ok(parent);
    }
    check_move(parent.shares, child.shares, starts, Steps::of(network))?;
    let before = header.core.parent;
    let (before, _) = reading.header(before)?.ok_or_else(|| corrupt("header", before))?;
    let moved = before.after_core_moving(&Pace::of(network), &header.core, child.shares);
    Ok(Standing { id: parent.id, ..moved })
}

/// Where a block's branch leaves the best chain.
fn find_branch(network: &Network, reading: &Reading, core: &Core) -> Result<Branch, ImportError> {
    let mut below = Vec::new();
    let (mut id, mut height) = (core.parent, core.height.saturating_sub(1));
    let oldest = oldest_fork(network, reading.oldest()?);
    loop {
        if reading.at_height(height)? == Some(id) {
            break;
        }
        if height <= oldest {
            return Err(ImportError::ReorgTooDeep { fork: height.saturating_sub(1), oldest });
        }
        if reading.is_invalid(id)? {
            return Err(ImportError::InvalidAncestor(id));
        }
        let (_, header) = reading.header(id)?.ok_or_else(|| corrupt("header", id))?;
        below.push(id);
        (id, height) = (header.core.parent, height - 1);
    }
    if height < oldest {
        return Err(ImportError::ReorgTooDeep { fork: height, oldest });
    }
    below.reverse();
    Ok(Branch { fork: height, below })
}

/// The oldest height that a branch may leave the best chain at: a block of lane 2 after it is
/// judged by the state of H blocks before.
pub(crate) const fn oldest_fork(network: &Network, oldest_state: u64) -> u64 {
    if oldest_state == 0 { 0 } else { oldest_state.saturating_add(network.horizon_blocks) }
}

fn prune(network: &Network, writing: &mut Writing<'_>, height: u64) -> Result<(), StoreError> {
    let keep_from = height.saturating_sub(network.kept_states);
    for height in writing.oldest()? + 1..=keep_from {
        writing.prune(height)?;
    }
    // A certificate is kept as long as a reorg could still reach its block.
    writing.prune_certificates(height.saturating_sub(network.reorg_blocks()))
}

fn read_head(reading: &Reading, network: &Network) -> Result<Head, StoreError> {
    let id = reading.head()?;
    let (standing, header) = reading.header(id)?.ok_or_else(|| corrupt("header", id))?;
    let next_base_fee = base_fee_after(network, &header);
    Ok(Head { id, header, standing, next_base_fee })
}

fn genesis_writes(network: &Network) -> pouw_ledger::Writes {
    let mut writes = genesis(network);
    let standing = Standing::genesis(network, BlockId::ZERO);
    writes.insert(STATE_KEY.to_vec(), Some(standing.encode_state()));
    writes
}

fn genesis_root(network: &Network) -> Result<BlockId, OpenError> {
    let scratch = Store::with_backend(redb::backends::InMemoryBackend::new())?;
    scratch.write(|writing| Ok(writing.root_after(0, &genesis_writes(network))?.0))
}

fn genesis_header(network: &Network, state_root: BlockId) -> Header {
    let core = Core {
        parent: BlockId::ZERO,
        height: 0,
        time_ms: network.genesis_ms,
        tx_root: tx_root::<Vec<u8>>(&[]),
        receipts_root: receipts_root::<Vec<u8>>(&[]),
        state_root,
        shares: at_genesis(network),
        lane: Lane::Hash,
        miner: Address::ZERO,
        gas_used: 0,
        base_fee: network.min_base_fee,
    };
    let claim = HashClaim { nonce: BlockId::ZERO, solution: Vec::new() };
    Header { core, claim: Claim::Hash(claim) }
}

fn write_genesis(store: &Store, network: &Network) -> Result<(), OpenError> {
    store.write(|writing| {
        let (root, batch) = writing.root_after(0, &genesis_writes(network))?;
        let header = genesis_header(network, root);
        let standing = Standing::genesis(network, header.id());
        let id = standing.id;
        writing.put_layout()?;
        writing
            .put_block(&standing, &Block { header, certificate: None, transactions: Vec::new() })?;
        writing.put_receipts(id, &crate::block::encode_receipts(&[]))?;
        writing.extend(id, 0, &batch, &[], None)?;
        Ok(())
    })
}
