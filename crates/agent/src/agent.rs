//! The agent: offers a machine, follows its rentals, answers its door.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use alloy_primitives::B256;
use alloy_signer_local::PrivateKeySigner;
use pouw_data::{TransferError, Transfers};
use pouw_types::contracts::IRentals::Phase;
use pouw_types::{Amount, Isolation, Network, Offer, RentalId};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::clock::{Clock, SystemClock};
use crate::config::{ConfigError, HostConfig};
use crate::context::Context;
use crate::contract::{Contract, ContractError, Head};
use crate::door::{Health, RentalStatus};
use crate::engine::{Engine, EngineError};
use crate::journal::{Journal, JournalError};
use crate::lane_one::LaneOne;
use crate::machine::{KeyError, Machine};
use crate::mover::Mover;
use crate::offer;
use crate::plan::Rules;
use crate::probe::{CpuProbe, Probe};
use crate::record::Record;
use crate::rental::{Rental, drive};
use crate::selftest::SelfTest;
use crate::server;
use crate::signer::Signer;
use crate::step::Step;
use crate::tester;
use crate::watcher::{self, Snapshot};

/// How long a finished rental can still be asked about.
const KEPT_S: u64 = 86_400;
/// Between tries to reach a node.
const RETRY: Duration = Duration::from_secs(2);
/// Deposits above this wait for six blocks.
const DEEP_ABOVE: Amount = Amount::from_flux(10_000);

/// The agent can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// `host.toml`.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The engine.
    #[error("the container engine can't be used")]
    Engine(#[from] EngineError),
    /// The data folder.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// TLS.
    #[error("transfers can't be set up")]
    Transfers(#[from] TransferError),
    /// The door.
    #[error("the door can't listen on {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The data folder's other files.
    #[error("cannot write {}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The chain.
    #[error("the machine can't be announced")]
    Contract(#[from] ContractError),
}

/// What the agent is given of the world.
#[derive(Clone)]
pub struct Outside {
    /// The container engine.
    pub engine: Arc<dyn Engine>,
    /// The chain.
    pub contract: Arc<dyn Contract>,
    /// Work for tasks that mine.
    pub lane_one: Arc<dyn LaneOne>,
    /// The signers.
    pub signer: Arc<dyn Signer>,
    /// The clocks.
    pub clock: Arc<dyn Clock>,
    /// The way of bytes.
    pub mover: Arc<dyn Mover>,
    /// The machine's speed.
    pub probe: Arc<dyn Probe>,
}

impl core::fmt::Debug for Outside {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Outside").finish_non_exhaustive()
    }
}

impl Outside {
    /// With the machine's own clocks, network and processor.
    ///
    /// # Errors
    /// [`StartError::Transfers`].
    pub fn new(
        engine: Arc<dyn Engine>,
        contract: Arc<dyn Contract>,
        lane_one: Arc<dyn LaneOne>,
        signer: Arc<dyn Signer>,
    ) -> Result<Self, StartError> {
        Ok(Self {
            engine,
            contract,
            lane_one,
            signer,
            clock: Arc::new(SystemClock::new()),
            mover: Arc::new(Transfers::new()?),
            probe: Arc::new(CpuProbe),
        })
    }
}

/// Runs a host's side of the market.
#[derive(Clone, Copy, Debug)]
pub struct Agent;

/// A running agent. Dropping it stops it where it stands; its rentals go on when it starts again.
#[derive(Debug)]
pub struct AgentHandle {
    shared: Arc<Shared>,
    address: SocketAddr,
    stop: watch::Sender<bool>,
    main: JoinHandle<()>,
}

/// The agent as its tasks share it.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) context: Arc<Context>,
    pub(crate) config: HostConfig,
    address: SocketAddr,
    data_dir: PathBuf,
    offer: watch::Sender<Offer>,
    rentals: Mutex<BTreeMap<RentalId, Arc<Rental>>>,
    chain: watch::Sender<Snapshot>,
    problem: Mutex<Option<String>>,
}

impl Agent {
    /// Starts an agent: its door answers when this returns, and its journalled rentals go on.
    ///
    /// `data_dir` is the agent's own. Without an earlier self-test a short one is taken. The
    /// machine is registered, and its offer announced, as soon as the chain answers.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(
        config: HostConfig,
        network: &'static Network,
        key: PrivateKeySigner,
        outside: Outside,
        data_dir: &Path,
    ) -> Result<AgentHandle, StartError> {
        config.check()?;
        let engine_info = outside.engine.prepare().await?;
        let journal = Journal::open(data_dir)?;
        let self_test = self_test(&outside, data_dir).await?;
        let address = config.listen;
        let listen = |source| StartError::Listen { address, source };
        let listener = tokio::net::TcpListener::bind(address).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let offered = |isolation: &&Isolation| engine_info.isolation.contains(isolation);
        let isolation = config.isolation.iter().find(offered).copied();
        let context = Context {
            network,
            rules: Rules {
                rental: network.rental,
                tuning: config.tuning,
                operator: outside.contract.operator(),
                deep_above: DEEP_ABOVE,
            },
            machine: Machine::new(key, network.chain_id),
            engine_info,
            engine: outside.engine,
            contract: outside.contract,
            lane_one: outside.lane_one,
            signer: outside.signer,
            clock: outside.clock,
            mover: outside.mover,
            probe: outside.probe,
            unit: config.unit,
            // Where none of them works, no task is taken, and no benchmark runs.
            isolation: isolation.unwrap_or(Isolation::Runc),
            self_test: Mutex::new(self_test),
            journal,
        };
        let offer = offer::build(&config, &context, address, 0)?;
        let shared = Arc::new(Shared {
            context: Arc::new(context),
            config,
            address,
            data_dir: data_dir.to_owned(),
            offer: watch::Sender::new(offer),
            rentals: Mutex::default(),
            chain: watch::Sender::default(),
            problem: Mutex::default(),
        });
        let (stop, stopped) = watch::channel(false);
        let mut rentals = JoinSet::new();
        adopt(&shared, &mut rentals);
        let main = tokio::spawn(main(Arc::clone(&shared), rentals, listener, stopped));
        Ok(AgentHandle { shared, address, stop, main })
    }
}

async fn self_test(outside: &Outside, data_dir: &Path) -> Result<SelfTest, StartError> {
    let path = data_dir.join(SelfTest::FILE);
    if let Some(found) = SelfTest::read(&path) {
        return Ok(found);
    }
    let taken = SelfTest::take(outside.probe.as_ref(), outside.clock.unix_s()).await;
    match taken.write(&path) {
        Ok(()) => Ok(taken),
        Err(source) => Err(StartError::File { path, source }),
    }
}

impl AgentHandle {
    /// Where the door answers.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What the machine offers.
    #[must_use]
    pub fn offer(&self) -> Offer {
        self.shared.offer()
    }

    /// What the machine offers, and each change of it.
    #[must_use]
    pub fn offers(&self) -> watch::Receiver<Offer> {
        self.shared.offer.subscribe()
    }

    /// Whether the agent works.
    #[must_use]
    pub fn health(&self) -> Health {
        self.shared.health()
    }

    /// Where each rental stands.
    #[must_use]
    pub fn rentals(&self) -> Vec<RentalStatus> {
        let rentals: Vec<_> = self.shared.lock_rentals().values().cloned().collect();
        rentals.iter().map(|rental| self.shared.status(rental)).collect()
    }

    /// Gives a rental its task, as the door does after checking who asks.
    #[cfg(test)]
    pub(crate) fn hand_over(
        &self,
        id: RentalId,
        request: &crate::door::TaskRequest,
    ) -> Result<(), String> {
        let rental = self.shared.rental(id).ok_or("no such rental")?;
        server::accept(&self.shared, &rental, request)
    }

    /// Orders a rental's end, as the door does after checking who asks.
    #[cfg(test)]
    pub(crate) fn order_stop(
        &self,
        id: RentalId,
        order: Option<pouw_types::signing::Signed<pouw_types::contracts::Stop>>,
    ) -> Result<(), String> {
        let rental = self.shared.rental(id).ok_or("no such rental")?;
        server::order_stop(&self.shared, &rental, order)
    }

    /// Stops the agent where it stands: rentals go on when it is started again.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        // It ends with an error only when it was aborted already.
        drop((&mut self.main).await);
    }
}

impl Drop for AgentHandle {
    fn drop(&mut self) {
        self.main.abort();
    }
}

impl Shared {
    fn lock_rentals(&self) -> MutexGuard<'_, BTreeMap<RentalId, Arc<Rental>>> {
        self.rentals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn offer(&self) -> Offer {
        self.offer.borrow().clone()
    }

    /// Whether any rental is not done yet.
    pub(crate) fn is_rented(&self) -> bool {
        self.lock_rentals().values().any(|rental| rental.record().step != Step::Done)
    }

    /// Takes what a self-test measured into the offer, and keeps it for the next start.
    pub(crate) fn listed(&self, tests: SelfTest) {
        let path = self.data_dir.join(SelfTest::FILE);
        if let Err(error) = tests.write(&path) {
            self.set_problem(Some(format!("cannot write {}: {error}", path.display())));
        }
        *self.context.self_test.lock().unwrap_or_else(PoisonError::into_inner) = tests;
        let seq = self.offer.borrow().seq.saturating_add(1);
        match offer::build(&self.config, &self.context, self.address, seq) {
            Ok(offer) => drop(self.offer.send_replace(offer)),
            Err(error) => self.set_problem(Some(error.to_string())),
        }
    }

    /// What is at stake for rentals whose data is kept though their units are free.
    pub(crate) fn kept_bond(&self) -> Amount {
        let kept = |rental: &Arc<Rental>| {
            let record = rental.record();
            let bond = Amount::from_atto(record.quote.bond);
            (record.is_kept() && record.step == Step::Score).then_some(bond)
        };
        let bonds: Vec<_> = self.lock_rentals().values().filter_map(kept).collect();
        bonds.into_iter().fold(Amount::ZERO, |sum, bond| sum.checked_add(bond).unwrap_or(sum))
    }

    pub(crate) fn rental(&self, id: RentalId) -> Option<Arc<Rental>> {
        self.lock_rentals().get(&id).cloned()
    }

    pub(crate) fn status(&self, rental: &Rental) -> RentalStatus {
        let view = self.chain.borrow().view(rental.id);
        rental.status(&self.context, view.as_ref())
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        self.chain.borrow().clone()
    }

    pub(crate) fn health(&self) -> Health {
        let snapshot = self.snapshot();
        let problem = self.problem.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let rentals = self.lock_rentals();
        let open = rentals.values().filter(|rental| rental.record().step != Step::Done).count();
        Health {
            ready: problem.is_none() && snapshot.machine.is_some(),
            machine: self.context.machine.id(),
            height: snapshot.head.map_or(0, |head| head.height),
            rentals: u64::try_from(open).unwrap_or(u64::MAX),
            problems: problem.into_iter().collect(),
        }
    }

    fn set_problem(&self, problem: Option<String>) {
        let mut known = self.problem.lock().unwrap_or_else(PoisonError::into_inner);
        if *known != problem {
            if let Some(problem) = &problem {
                tracing::warn!(problem, "the agent is hindered");
            }
            *known = problem;
        }
    }
}

async fn main(
    shared: Arc<Shared>,
    mut rentals: JoinSet<()>,
    listener: tokio::net::TcpListener,
    mut stopped: watch::Receiver<bool>,
) {
    let work = async {
        tokio::join!(
            server::serve(&shared, listener),
            follow(&shared, &mut rentals),
            tester::keep_tested(&shared),
        );
    };
    tokio::select! {
        () = work => {}
        _ = stopped.wait_for(|stop| *stop) => {}
    }
    // Rentals stay as they are; a self-test is no rental.
    if let Err(error) = tester::clear(&shared).await {
        tracing::warn!(%error, "a broken off self-test is cleared at the next start");
    }
}

/// Goes on with what the journal holds.
fn adopt(shared: &Arc<Shared>, rentals: &mut JoinSet<()>) {
    let ids = match shared.context.journal.rentals() {
        Ok(ids) => ids,
        Err(error) => return shared.set_problem(Some(error.to_string())),
    };
    for id in ids {
        match shared.context.journal.load(id) {
            Ok(record) => take_up(shared, rentals, record),
            Err(error) => shared.set_problem(Some(error.to_string())),
        }
    }
}

fn take_up(shared: &Arc<Shared>, rentals: &mut JoinSet<()>, record: Record) {
    let done = record.step == Step::Done;
    let rental = Arc::new(Rental::new(record, &shared.context));
    shared.lock_rentals().insert(rental.id, Arc::clone(&rental));
    if !done {
        let context = Arc::clone(&shared.context);
        rentals.spawn(drive(context, rental, shared.chain.subscribe()));
    }
}

/// Follows the chain: each new head is looked at once, for all rentals.
async fn follow(shared: &Arc<Shared>, rentals: &mut JoinSet<()>) {
    let contract = &shared.context.contract;
    let mut announced = None;
    let mut seen = None;
    loop {
        let next = match seen {
            None => contract.head().await,
            Some(hash) => contract.next_head(hash).await,
        };
        let looked = match next {
            Ok(head) if seen == Some(head.hash) => continue,
            Ok(head) => look(shared, rentals, head, &mut announced).await.map(|()| head),
            Err(error) => Err(error),
        };
        match looked {
            Ok(head) => {
                seen = Some(head.hash);
                shared.set_problem(None);
            }
            Err(error) => {
                shared.set_problem(Some(error.to_string()));
                crate::time::sleep(RETRY).await;
            }
        }
        while rentals.try_join_next().is_some() {}
        forget_old(shared);
    }
}

async fn look(
    shared: &Arc<Shared>,
    rentals: &mut JoinSet<()>,
    head: Head,
    announced: &mut Option<B256>,
) -> Result<(), ContractError> {
    let context = &shared.context;
    let offer = shared.offer();
    if *announced != Some(offer.hash()) {
        offer::announce(shared, &offer).await?;
        *announced = Some(offer.hash());
    }
    let mine: Vec<RentalId> = {
        let rentals = shared.lock_rentals();
        let open = rentals.values().filter(|rental| rental.record().step != Step::Done);
        open.map(|rental| rental.id).collect()
    };
    let machine = context.machine.id();
    let snapshot = watcher::look(context.contract.as_ref(), machine, head, &mine).await?;
    for (id, rental) in snapshot.rentals.iter() {
        if rental.phase != Phase::Open || shared.rental(*id).is_some() {
            continue;
        }
        let quote = context.contract.quote(*id).await?;
        let record = Record::new(*id, quote, context.clock.unix_s());
        // A rental is begun when it is in the journal, not before.
        match context.journal.store(&record) {
            Ok(()) => take_up(shared, rentals, record),
            Err(error) => shared.set_problem(Some(error.to_string())),
        }
    }
    let machine = snapshot.machine.clone();
    shared.chain.send_replace(snapshot);
    match machine {
        Some(machine) => {
            offer::keep_bond(shared, &machine).await?;
            offer::keep_lane_key(shared, &machine).await
        }
        None => Ok(()),
    }
}

/// what is done can be asked about for a day.
fn forget_old(shared: &Shared) {
    let now = shared.context.clock.unix_s();
    shared.lock_rentals().retain(|id, rental| {
        let done_at = rental.record().done_at_s;
        let old = done_at.is_some_and(|at| now >= at.saturating_add(KEPT_S));
        // What can't be deleted now is tried again at the next head.
        !(old && shared.context.journal.forget(*id).is_ok())
    });
}
