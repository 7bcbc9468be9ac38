//! A world in memory: a ledger that checks what it is told, a signer, a store.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use crate::time::Instant;
use alloy_primitives::{Address, B256};
use alloy_signer::SignerSync;
use alloy_signer_local::PrivateKeySigner;
use async_trait::async_trait;
use bytes::Bytes;
use pouw_data::{
    Checkpoint, CheckpointSlots, InputSlot, OutputSlot, Packing, PresignedUrl, Progress, Slots,
    Transferred,
};
use pouw_mining::Work;
use pouw_spec::Task;
use pouw_types::contracts::IRentals::{self, Notice, Phase, Reason, Rental};
use pouw_types::contracts::{IHosts, Quote, Receipt, Stop};
use pouw_types::signing::{Signable, Signed, recover};
use pouw_types::{Amount, Floor, Isolation, MachineId, Network, RentalId, Resources};

use crate::clock::Clock;
use crate::contract::{Contract, ContractError, Head, HostCall, Inclusion};
use crate::engine::fake::FakeEngine;
use crate::engine::{ImageRef, Phase as ContainerPhase};
use crate::lane_one::{HandedIn, LaneOne, LaneOneError};
use crate::mover::{MoveError, Mover};
use crate::probe::Probe;
use crate::quote::{Terms, price_task};
use crate::receipt;
use crate::signer::{Signer, SignerError};
use crate::step::Step;
use crate::{Agent, AgentHandle, HostConfig, Outside, Tuning};

pub(super) const START_S: u64 = 1_800_000_000;
pub(super) const BLOCK: Duration = Duration::from_secs(2);

/// The test's time.
#[derive(Clone, Copy, Debug)]
pub(super) struct VirtualClock(Instant, u64);

impl VirtualClock {
    pub(super) fn now_s(self) -> u64 {
        self.unix_s()
    }
}

impl Clock for VirtualClock {
    fn unix_ms(&self) -> u64 {
        self.1 * 1_000 + self.monotonic_ms()
    }
    fn monotonic_ms(&self) -> u64 {
        crate::clock::millis(self.0.elapsed())
    }
}

impl crate::engine::fake::Clock for VirtualClock {
    fn now_ms(&self) -> u64 {
        self.unix_ms()
    }
}

/// The ledger's part that agents touch, with its rules.
#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) height: u64,
    pub(super) branch: u64,
    pub(super) rentals: BTreeMap<RentalId, (Quote, Rental)>,
    pub(super) off: bool,
    pub(super) down: bool,
    /// Calls in order, with why they failed.
    pub(super) calls: Vec<(&'static str, Result<(), String>)>,
    pub(super) paid: BTreeMap<RentalId, Amount>,
    pending: Vec<(B256, HostCall)>,
    included: BTreeMap<B256, Inclusion>,
    pub(super) machine: IHosts::Machine,
    operator: Address,
    clock: VirtualClock,
}

#[derive(Clone, Debug)]
pub(super) struct FakeChain(pub(super) Arc<Mutex<Ledger>>);

pub(super) fn empty_rental() -> Rental {
    let zeros = vec![0; 128 * 32];
    <Rental as alloy_sol_types::SolValue>::abi_decode(&zeros).unwrap()
}

macro_rules! must {
    ($holds:expr, $($text:tt)*) => {
        if !$holds {
            return Err(format!($($text)*));
        }
    };
}

impl Ledger {
    fn block(&mut self) {
        self.height += 1;
        for (hash, call) in std::mem::take(&mut self.pending) {
            let name = call.name();
            let done = self.apply(call);
            self.included.insert(
                hash,
                Inclusion {
                    height: self.height,
                    succeeded: done.is_ok(),
                    reason: done.clone().err().unwrap_or_default(),
                },
            );
            self.calls.push((name, done));
        }
    }

    fn hash(&self) -> B256 {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&self.height.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.branch.to_be_bytes());
        B256::from(bytes)
    }

    #[expect(clippy::too_many_lines, reason = "one arm a call")]
    fn apply(&mut self, call: HostCall) -> Result<(), String> {
        let (now, height, operator) = (self.clock.now_s(), self.height, self.operator);
        let id = match &call {
            HostCall::Register { units, bond, offer_hash, payout, .. } => {
                self.machine = IHosts::Machine {
                    operator,
                    payout: *payout,
                    units: *units,
                    bond: bond.atto(),
                    offerHash: *offer_hash,
                    ..self.machine.clone()
                };
                return Ok(());
            }
            HostCall::SetOffer { offer_hash, .. } => {
                self.machine.offerHash = *offer_hash;
                return Ok(());
            }
            HostCall::SetLaneKey { lane_key, .. } => {
                self.machine.laneKey = *lane_key;
                return Ok(());
            }
            HostCall::AddBond { amount, .. } => {
                self.machine.bond += amount.atto();
                return Ok(());
            }
            HostCall::Settle(cosigned) => RentalId::new(cosigned.receipt.rental),
            HostCall::Stop { order, .. } => RentalId::new(order.rental),
            HostCall::Ready(id)
            | HostCall::Call(id)
            | HostCall::Answer(id)
            | HostCall::Finalize(id)
            | HostCall::Close { rental: id, .. }
            | HostCall::Claim { rental: id, .. }
            | HostCall::GiveNotice { rental: id, .. } => *id,
        };
        must!(!self.off, "no such rental on this branch");
        let (quote, rental) = self.rentals.get_mut(&id).ok_or("no such rental")?;
        let open = rental.phase == Phase::Open;
        let closing = rental.phase == Phase::Closing;
        match call {
            HostCall::Ready(_) => {
                must!(open && rental.times.readyAt == 0, "ready twice");
                rental.times.readyAt = now;
            }
            HostCall::Settle(cosigned) => {
                must!(open || closing, "not open");
                check_receipt(quote, rental, &cosigned.receipt, now)?;
                let digest = cosigned.receipt.digest(Network::devnet().chain_id);
                let machine = recover(digest, &cosigned.machine_signature);
                must!(machine == Ok(quote.machine), "machine signature");
                let signer = recover(digest, &cosigned.signer_signature);
                must!(signer == Ok(rental.signer), "signer signature");
                if cosigned.receipt.at > rental.hostCall.at {
                    rental.hostCall = IRentals::Call::default();
                }
                if closing && cosigned.receipt.isFinal {
                    rental.times.closingEndsAt = now;
                    rental.times.closingEndsBlock = height;
                }
                rental.best = cosigned.receipt;
            }
            HostCall::Call(_) => {
                must!(open && rental.hostCall.by == Address::ZERO, "called twice");
                rental.hostCall =
                    IRentals::Call { by: operator, at: now, atBlock: height, stake: 0 };
            }
            HostCall::Answer(_) => {
                must!(open && rental.call.by != Address::ZERO, "nobody called");
                rental.call = IRentals::Call::default();
            }
            HostCall::Close { reason, .. } => {
                must!(open, "not open");
                check_reason(quote, rental, reason, now, height)?;
                start_closing(rental, reason, now, height);
            }
            HostCall::Stop { order, .. } => {
                must!(open, "not open");
                must!(order.keepS == 0 || !rental.best.isFinal, "nothing is kept");
                start_closing(rental, Reason::ClientStop, now, height);
                let ends_at = rental.times.closingEndsAt;
                let kept = (ends_at + order.keepS).min(rental.times.endBy).max(ends_at);
                rental.keepS = kept - ends_at;
                rental.times.closingEndsAt = kept;
            }
            HostCall::Claim { active_s, storage_gib_s, .. } => {
                must!(closing && !rental.claim.made, "claimed twice");
                let ahead = receipt::ahead_s(rental.best.activeS);
                let room = rental.times.closeAt.saturating_sub(rental.best.at).min(ahead);
                must!(active_s <= rental.best.activeS + room, "claims more than passed");
                rental.claim =
                    IRentals::Claim { made: true, activeS: active_s, storageGibS: storage_gib_s };
            }
            HostCall::Finalize(_) => {
                must!(closing, "not closing");
                must!(now >= rental.times.closingEndsAt, "closing lasts");
                must!(height >= rental.times.closingEndsBlock, "closing lasts blocks");
                let paid = payment(quote, rental);
                must!(self.paid.insert(id, paid).is_none(), "paid twice");
                rental.phase = Phase::Closed;
            }
            HostCall::GiveNotice { notice, .. } => {
                must!(open && rental.notice == Notice::None, "noticed twice");
                (rental.notice, rental.times.noticeAt) = (notice, now);
            }
            HostCall::Register { .. }
            | HostCall::AddBond { .. }
            | HostCall::SetOffer { .. }
            | HostCall::SetLaneKey { .. } => {}
        }
        Ok(())
    }
}

fn start_closing(rental: &mut Rental, reason: Reason, now: u64, height: u64) {
    let rules = Network::devnet().rental;
    let last = rental.best.isFinal;
    rental.phase = Phase::Closing;
    rental.reason = reason;
    rental.times.closeAt = now;
    rental.times.closingEndsAt = if last { now } else { now + rules.closing_s };
    rental.times.closingEndsBlock = if last { height } else { height + rules.closing_blocks };
}

fn check_receipt(quote: &Quote, rental: &Rental, new: &Receipt, now: u64) -> Result<(), String> {
    let old = &rental.best;
    must!(new.seq > old.seq, "seq {} after {}", new.seq, old.seq);
    must!(new.activeS >= old.activeS && new.at >= old.at, "falls");
    must!(new.storageGibS >= old.storageGibS && new.trafficB >= old.trafficB, "falls");
    must!(new.doneS >= old.doneS && new.doneS <= new.activeS, "done falls");
    must!(new.activeS <= new.at - quote.issuedAt, "more than passed");
    must!(new.at <= now + 60, "from the future");
    must!(new.activeS <= quote.caps.activeS && new.trafficB <= quote.caps.trafficB, "caps");
    Ok(())
}

fn check_reason(
    quote: &Quote,
    rental: &Rental,
    reason: Reason,
    now: u64,
    height: u64,
) -> Result<(), String> {
    let (rules, best) = (Network::devnet().rental, &rental.best);
    let holds = match reason {
        Reason::Completed => best.isFinal,
        Reason::Limit => best.activeS >= quote.caps.activeS || best.trafficB >= quote.caps.trafficB,
        Reason::OutOfFunds => {
            let storage = best.storageGibS + u128::from(quote.caps.storageGib) * 60;
            let active = (best.activeS + 60).min(quote.caps.activeS);
            let price = receipt::price(quote, active, storage, best.trafficB);
            receipt::total(&rules, price) > Amount::from_atto(rental.money.deposited)
        }
        Reason::EndBy => now >= rental.times.endBy,
        Reason::ClientSilent => {
            rental.hostCall.by != Address::ZERO
                && height >= rental.hostCall.atBlock + rules.call_blocks
                && now >= rental.hostCall.at + rules.call_s
        }
        Reason::GateFailed => best.seq == 0,
        Reason::NotStarted => best.seq == 0 && now >= quote.startBy,
        Reason::HostStop => true,
        Reason::Preempted => rental.notice == Notice::Preempt && now >= rental.times.noticeAt + 120,
        Reason::Repriced => {
            rental.notice == Notice::Reprice && now >= rental.times.noticeAt + 86_400
        }
        _ => false,
    };
    must!(holds, "{reason:?} does not hold");
    Ok(())
}

/// What the host gets: full meters where the reason pays all, else the durable part.
fn payment(quote: &Quote, rental: &Rental) -> Amount {
    let (best, claim) = (&rental.best, &rental.claim);
    match rental.reason {
        Reason::GateFailed | Reason::NotStarted => Amount::ZERO,
        Reason::HostStop | Reason::HostFault => {
            let window = u64::from(quote.refundWindowS);
            let active = best.doneS.max(best.activeS.saturating_sub(window));
            receipt::price(quote, active, best.storageGibS, best.trafficB)
        }
        _ => {
            let active = best.activeS.max(claim.activeS);
            let storage = best.storageGibS.max(claim.storageGibS);
            receipt::price(quote, active, storage, best.trafficB)
        }
    }
}

impl FakeChain {
    pub(super) fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.0.lock().unwrap()
    }

    fn reach(&self) -> Result<MutexGuard<'_, Ledger>, ContractError> {
        let ledger = self.lock();
        if ledger.down {
            return Err(ContractError::Unreachable("the test stopped the node".to_owned()));
        }
        Ok(ledger)
    }
}

#[async_trait]
impl Contract for FakeChain {
    async fn head(&self) -> Result<Head, ContractError> {
        let ledger = self.reach()?;
        let time_s = ledger.clock.now_s();
        Ok(Head { height: ledger.height, hash: ledger.hash(), time_s })
    }

    async fn active_of(&self, _machine: MachineId) -> Result<Vec<RentalId>, ContractError> {
        let ledger = self.reach()?;
        let open = ledger.rentals.iter().filter(|(_, (_, r))| r.phase != Phase::Closed);
        Ok(if ledger.off { Vec::new() } else { open.map(|(id, _)| *id).collect() })
    }

    async fn rental(&self, rental: RentalId) -> Result<Rental, ContractError> {
        let ledger = self.reach()?;
        let found = ledger.rentals.get(&rental).filter(|_| !ledger.off);
        Ok(found.map_or_else(empty_rental, |(_, rental)| rental.clone()))
    }

    async fn quote(&self, rental: RentalId) -> Result<Quote, ContractError> {
        let ledger = self.reach()?;
        let found = ledger.rentals.get(&rental).map(|(quote, _)| quote.clone());
        found.ok_or_else(|| ContractError::Refused("no such rental".to_owned()))
    }

    async fn machine(&self, _machine: MachineId) -> Result<IHosts::Machine, ContractError> {
        Ok(self.reach()?.machine.clone())
    }

    fn operator(&self) -> Address {
        self.lock().operator
    }

    async fn submit(&self, call: HostCall) -> Result<B256, ContractError> {
        let mut ledger = self.reach()?;
        let hash = alloy_primitives::keccak256(
            [
                call.input().as_ref(),
                &ledger.height.to_be_bytes(),
                &ledger.pending.len().to_be_bytes(),
            ]
            .concat(),
        );
        ledger.pending.push((hash, call));
        Ok(hash)
    }

    async fn inclusion(&self, transaction: B256) -> Result<Option<Inclusion>, ContractError> {
        Ok(self.reach()?.included.get(&transaction).cloned())
    }
}

/// The client's node's signer: signs what can be true.
#[derive(Debug)]
pub(super) struct FakeSigner {
    key: PrivateKeySigner,
    clock: VirtualClock,
    pub(super) state: Mutex<SignerState>,
}

#[derive(Debug, Default)]
pub(super) struct SignerState {
    pub(super) down: bool,
    pub(super) signed: Vec<Receipt>,
    last_at: BTreeMap<B256, u64>,
}

#[async_trait]
impl Signer for FakeSigner {
    async fn cosign(
        &self,
        _rental: RentalId,
        _signer: Address,
        receipt: Signed<Receipt>,
    ) -> Result<alloy_primitives::Bytes, SignerError> {
        let now = self.clock.now_s();
        let mut state = self.state.lock().unwrap();
        if state.down {
            return Err(SignerError::Unreachable("the test stopped it".to_owned()));
        }
        let new = &receipt.value;
        let zero = Receipt::default();
        let last = state.signed.iter().rev().find(|last| last.rental == new.rental);
        let last = last.unwrap_or(&zero);
        let last_at = state.last_at.get(&new.rental);
        let passed = last_at.map_or(u64::MAX, |last_at| now - last_at + 5);
        let fair = new.seq > last.seq
            && new.activeS >= last.activeS
            && new.activeS - last.activeS <= passed
            && new.at <= now + 5;
        if !fair {
            return Err(SignerError::Refused(format!("{new:?} after {last:?}")));
        }
        state.last_at.insert(new.rental, now);
        state.signed.push(new.clone());
        let digest = new.digest(Network::devnet().chain_id);
        Ok(self.key.sign_hash_sync(&digest).unwrap().as_bytes().to_vec().into())
    }
}

/// A node's work of lane 1, and what was handed in for it.
#[derive(Debug, Default)]
pub(super) struct FakeLaneOne {
    pub(super) work: Mutex<Option<Work>>,
    pub(super) asked: Mutex<u64>,
    pub(super) won: Mutex<Vec<(u64, Vec<u8>)>>,
}

#[async_trait]
impl LaneOne for FakeLaneOne {
    async fn work(&self, _machine: MachineId) -> Result<Option<Work>, LaneOneError> {
        *self.asked.lock().unwrap() += 1;
        Ok(self.work.lock().unwrap().clone())
    }

    async fn hand_in(&self, work: u64, certificate: Vec<u8>) -> Result<HandedIn, LaneOneError> {
        self.won.lock().unwrap().push((work, certificate));
        Ok(HandedIn::Block(B256::repeat_byte(7)))
    }
}

/// Objects by address; what is put at an address with the second's text in it fails, and what is
/// read from one with the third's.
#[derive(Debug, Default)]
pub(super) struct FakeStore(
    pub(super) Mutex<BTreeMap<String, Vec<u8>>>,
    pub(super) Mutex<Option<(&'static str, MoveError)>>,
    pub(super) Mutex<Option<(&'static str, MoveError)>>,
);

fn moved(bytes: &[u8]) -> Transferred {
    Transferred {
        size_bytes: bytes.len() as u64,
        blake3: B256::from(*blake3::hash(bytes).as_bytes()),
    }
}

#[async_trait]
impl Mover for FakeStore {
    async fn download(
        &self,
        slot: &InputSlot,
        to: &Path,
        max_bytes: u64,
        _progress: &dyn Progress,
    ) -> Result<Transferred, MoveError> {
        if let Some((part, error)) = &*self.2.lock().unwrap()
            && slot.url.expose().contains(part)
        {
            return Err(error.clone());
        }
        let bytes = self.0.lock().unwrap().get(slot.url.expose()).cloned();
        let bytes = bytes.ok_or_else(|| MoveError::Permanent("no such object".to_owned()))?;
        if moved(&bytes).size_bytes > max_bytes {
            return Err(MoveError::Permanent("too large".to_owned()));
        }
        if slot.blake3.is_some_and(|expected| expected != moved(&bytes).blake3) {
            return Err(MoveError::Permanent("another digest".to_owned()));
        }
        std::fs::write(to, &bytes).unwrap();
        Ok(moved(&bytes))
    }

    async fn upload(
        &self,
        from: &Path,
        url: &PresignedUrl,
        _progress: &dyn Progress,
    ) -> Result<Transferred, MoveError> {
        let bytes = std::fs::read(from).map_err(|e| MoveError::Permanent(e.to_string()))?;
        self.upload_bytes(bytes.into(), url).await
    }

    async fn upload_bytes(
        &self,
        content: Bytes,
        url: &PresignedUrl,
    ) -> Result<Transferred, MoveError> {
        if let Some((part, error)) = &*self.1.lock().unwrap()
            && url.expose().contains(part)
        {
            return Err(error.clone());
        }
        self.0.lock().unwrap().insert(url.expose().to_owned(), content.to_vec());
        Ok(moved(&content))
    }
}

/// Always the same speed, until a test changes it.
#[derive(Debug)]
pub(super) struct FakeProbe(pub(super) Mutex<u32>);

#[async_trait]
impl Probe for FakeProbe {
    async fn cpu(&self) -> u32 {
        *self.0.lock().unwrap()
    }
}

/// Everything around one agent.
pub(super) struct World {
    pub(super) folder: tempfile::TempDir,
    pub(super) clock: VirtualClock,
    pub(super) chain: FakeChain,
    pub(super) signer: Arc<FakeSigner>,
    pub(super) store: Arc<FakeStore>,
    pub(super) lane_one: Arc<FakeLaneOne>,
    pub(super) probe: Arc<FakeProbe>,
    pub(super) engine: FakeEngine,
    pub(super) client: PrivateKeySigner,
    key: PrivateKeySigner,
    pub(super) agent: Option<AgentHandle>,
    blocks: tokio::task::JoinHandle<()>,
    time: tokio::task::JoinHandle<()>,
}

impl Drop for World {
    fn drop(&mut self) {
        self.blocks.abort();
        self.time.abort();
    }
}

pub(super) fn config() -> HostConfig {
    HostConfig {
        listen: ([127, 0, 0, 1], 0).into(),
        endpoint: String::new(),
        payout: Address::repeat_byte(9),
        miner: Address::ZERO,
        lane_key: B256::repeat_byte(0x1a),
        units: 2,
        unit: Resources { cpu_millis: 1_000, memory_bytes: 1 << 30, disk_bytes: 1 << 30, gpus: 0 },
        floor: Floor {
            active_second: Amount::from_atto(1_000_000),
            storage_gib_second: Amount::from_atto(10),
            traffic_byte: Amount::ZERO,
        },
        bond: Amount::ZERO,
        isolation: vec![Isolation::Runc],
        egress: true,
        available_s: 30 * 86_400,
        scratch: None,
        tuning: Tuning { patience_s: 60, settle_s: 3_600, ..Tuning::default() },
    }
}

pub(super) const IMAGE: &str =
    "127.0.0.1:5000/hello@sha256:1111111111111111111111111111111111111111111111111111111111111111";

pub(super) fn task(extra: &str) -> Task {
    let yaml = format!(
        "version: 1\nname: hello\nuse_case: general\nimage: {IMAGE}\n\
         resources:\n  cpu: 100m\n  memory: 32MiB\n  disk: 32MiB\n\
         run:\n  command: [sh, -c, work]\n{extra}"
    );
    Task::from_yaml("task.yaml", &yaml).unwrap_or_else(|problems| panic!("{problems}")).task
}

pub(super) const FRAMES: &str = "parts:\n  path: frames/{part:04}.png\n  count: 12\n  max_size: \
                                 1MiB\nlimits:\n  time: 1h\n";

impl World {
    /// In virtual time.
    pub(super) async fn new() -> Self {
        Self::build(false).await
    }

    /// In real time, for tests with sockets.
    pub(super) async fn real() -> Self {
        Self::build(true).await
    }

    async fn build(real: bool) -> Self {
        let time = tokio::spawn(super::time::drive(real));
        let folder = tempfile::tempdir().unwrap();
        // Clients sign with the time on the wall.
        let base = if real { crate::clock::SystemClock::new().unix_s() } else { START_S };
        let clock = VirtualClock(Instant::now(), base);
        let engine = FakeEngine::with_clock(folder.path().join("scratch"), Arc::new(clock));
        engine.add_plain_image(&IMAGE.parse::<ImageRef>().unwrap(), BTreeMap::new());
        let ledger = Ledger {
            height: 100,
            branch: 0,
            rentals: BTreeMap::new(),
            off: false,
            down: false,
            calls: Vec::new(),
            paid: BTreeMap::new(),
            pending: Vec::new(),
            included: BTreeMap::new(),
            machine: IHosts::Machine::default(),
            operator: Address::repeat_byte(1),
            clock,
        };
        let chain = FakeChain(Arc::new(Mutex::new(ledger)));
        let ticking = chain.clone();
        let blocks = tokio::spawn(async move {
            loop {
                crate::time::sleep(BLOCK).await;
                ticking.lock().block();
            }
        });
        let signer = FakeSigner { key: PrivateKeySigner::random(), clock, state: Mutex::default() };
        let mut world = Self {
            folder,
            clock,
            chain,
            signer: Arc::new(signer),
            store: Arc::default(),
            lane_one: Arc::default(),
            probe: Arc::new(FakeProbe(Mutex::new(1_000))),
            engine,
            client: PrivateKeySigner::random(),
            key: PrivateKeySigner::random(),
            agent: None,
            blocks,
            time,
        };
        world.start().await;
        world
    }

    pub(super) async fn start(&mut self) {
        let outside = Outside {
            engine: Arc::new(self.engine.clone()),
            contract: Arc::new(self.chain.clone()),
            lane_one: Arc::clone(&self.lane_one) as Arc<dyn LaneOne>,
            signer: Arc::clone(&self.signer) as Arc<dyn Signer>,
            clock: Arc::new(self.clock),
            mover: Arc::clone(&self.store) as Arc<dyn Mover>,
            probe: Arc::clone(&self.probe) as Arc<dyn Probe>,
        };
        let (key, data) = (self.key.clone(), self.folder.path().join("agent"));
        std::fs::create_dir_all(&data).unwrap();
        let started = Agent::start(config(), Network::devnet(), key, outside, &data).await;
        self.agent = Some(started.unwrap());
    }

    /// Ends the agent with nothing more said than kill -9 would.
    pub(super) async fn kill(&mut self) {
        drop(self.agent.take());
        tokio::task::yield_now().await;
    }

    pub(super) fn agent(&self) -> &AgentHandle {
        self.agent.as_ref().unwrap()
    }

    /// Opens a rental on the chain, as a client's transaction would.
    pub(super) fn open(
        &self,
        task: &Task,
        deposit: Option<Amount>,
        change: impl Fn(&mut Quote),
    ) -> RentalId {
        let (tuning, rules) = (Tuning::default(), Network::devnet().rental);
        let offer = self.agent().offer();
        let terms = Terms {
            offer: &offer,
            bond: Amount::ZERO,
            free_bond: Amount::ZERO,
            tuning: &tuning,
            rules: &rules,
            free_units: 2,
        };
        let now = self.clock.now_s();
        let client = self.client.address();
        let mut quote = price_task(&terms, task, client, 1, None, now, 7).unwrap();
        change(&mut quote);
        let id = RentalId::new(quote.digest(Network::devnet().chain_id));
        let most = receipt::total(&rules, crate::quote::max_price(&quote));
        let mut ledger = self.chain.lock();
        let mut rental = empty_rental();
        rental.phase = Phase::Open;
        rental.client = client;
        rental.signer = self.signer.key.address();
        rental.machine = quote.machine;
        rental.units = 1;
        rental.times.openedAt = now;
        rental.times.openedBlock = ledger.height + 1;
        rental.times.endBy = quote.endBy;
        rental.money.deposited = deposit.unwrap_or(most).atto();
        rental.caps = quote.caps.clone();
        ledger.block();
        if let Some((_, before)) = ledger.rentals.get_mut(&RentalId::new(quote.continues)) {
            before.successor = id.get();
        }
        ledger.rentals.insert(id, (quote, rental));
        id
    }

    pub(super) fn slots(&self, task: &Task) -> Slots {
        let url =
            |name: &str| PresignedUrl::parse(&format!("http://store/{name}?sig=s3cret")).unwrap();
        let output = |name: String| OutputSlot { url: url(&name), name };
        Slots {
            inputs: task
                .inputs
                .iter()
                .map(|input| InputSlot {
                    name: input.to.to_string(),
                    url: url(input.to.as_str()),
                    packing: Packing::File,
                    size_bytes: None,
                    blake3: None,
                })
                .collect(),
            parts: task.parts.iter().flat_map(pouw_spec::Parts::files).map(output).collect(),
            archives: (1..=task.outputs.len())
                .map(|n| output(format!("archive/{n:04}.tar")))
                .collect(),
            checkpoint: task.checkpoint.as_ref().map(|_| {
                let [odd, even] = Checkpoint::archives().map(str::to_owned);
                let latest = output(Checkpoint::LATEST.to_owned());
                CheckpointSlots { archives: [output(odd), output(even)], latest }
            }),
            fetched: Some(output("inputs.json".to_owned())),
            log: output("log.txt".to_owned()),
            manifest: output("manifest.json".to_owned()),
            expires_at_s: u64::MAX,
        }
    }

    /// Hands the task over as the door does once it has checked who asks.
    pub(super) async fn hand_over(&self, id: RentalId, task: &Task) {
        self.hand_over_with(id, task, None).await;
    }

    /// The same, to go on from something.
    pub(super) async fn hand_over_with(
        &self,
        id: RentalId,
        task: &Task,
        resume: Option<crate::door::Resume>,
    ) {
        self.wait("the agent sees the opening", || {
            self.agent().rentals().iter().any(|rental| rental.rental == id)
        })
        .await;
        let request = crate::door::TaskRequest {
            task: task.clone(),
            slots: self.slots(task),
            secrets: BTreeMap::new(),
            resume,
        };
        self.agent().hand_over(id, &request).unwrap();
    }

    /// Lets virtual time pass until something holds.
    pub(super) async fn wait(&self, what: &str, holds: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(7_200);
        while !holds() {
            let status: Vec<_> = self.agent.iter().flat_map(AgentHandle::rentals).collect();
            assert!(
                Instant::now() < deadline,
                "never: {what}; {status:#?}; {:?}",
                self.chain.lock().calls
            );
            crate::time::sleep(Duration::from_millis(100)).await;
        }
    }

    pub(super) fn status(&self, id: RentalId) -> crate::door::RentalStatus {
        let found = self.agent().rentals().into_iter().find(|rental| rental.rental == id);
        found.unwrap()
    }

    pub(super) async fn reach(&self, id: RentalId, step: Step) {
        self.wait(step.as_str(), || self.status(id).step >= step).await;
    }

    pub(super) async fn running(&self, id: RentalId) {
        self.reach(id, Step::Run).await;
        self.wait("the task runs", || self.phase() == Some(ContainerPhase::Running)).await;
    }

    /// Where the agent's journal keeps a rental.
    pub(super) fn journal_of(&self, id: RentalId) -> std::path::PathBuf {
        self.folder.path().join(format!("agent/rentals/{:x}", id.get()))
    }

    pub(super) fn phase(&self) -> Option<ContainerPhase> {
        self.engine.containers().into_iter().find(|(_, w, _)| w.step.as_str() == "run").map(|c| c.2)
    }

    pub(super) fn finish(&self, code: i64, oom: bool) {
        let (container, ..) = self.engine.containers().remove(0);
        self.engine.finish(&container, code, oom);
    }

    /// Writes a part as a task does: beside its place, then renamed.
    pub(super) fn write_part(&self, id: RentalId, name: &str) {
        let path = self.work(id).join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path.with_extension("tmp"), name).unwrap();
        std::fs::rename(path.with_extension("tmp"), path).unwrap();
    }

    /// The folder of a rental's task.
    pub(super) fn work(&self, id: RentalId) -> PathBuf {
        let stem = hex::encode(&id.get()[..8]);
        self.folder.path().join("scratch").join(stem).join("work")
    }

    pub(super) async fn sleep(&self, seconds: u64) {
        crate::time::sleep(Duration::from_secs(seconds)).await;
    }

    pub(super) fn rental(&self, id: RentalId) -> Rental {
        self.chain.lock().rentals[&id].1.clone()
    }

    /// After the end: the machine is as before, the money as the ledger's rules say, no receipt
    /// fell, and nothing was refused.
    pub(super) async fn done(&self, id: RentalId) -> Amount {
        self.reach(id, Step::Done).await;
        assert_eq!(self.engine.containers().len(), 0, "containers are left");
        let left = std::fs::read_dir(self.folder.path().join("scratch")).map_or(0, Iterator::count);
        assert_eq!(left, 0, "scratch is left");
        let signed = self.signer.state.lock().unwrap().signed.clone();
        let signed: Vec<_> = signed.iter().filter(|one| one.rental == id.get()).collect();
        assert!(signed.windows(2).all(|w| w[0].activeS <= w[1].activeS && w[0].seq < w[1].seq));
        let agent = self.folder.path().join("agent/rentals");
        let task = agent.join(format!("{:x}", id.get())).join("task.json");
        assert!(!task.exists(), "slots and secrets are left");
        self.chain.lock().paid.get(&id).copied().unwrap_or_default()
    }

    /// What the client's node answers to an order to stop, given to the agent as the door does.
    pub(super) fn stop(&self, id: RentalId, keep_s: u64) {
        let at = self.clock.now_s();
        let value = Stop { rental: id.get(), at, keepS: keep_s };
        let digest = value.digest(Network::devnet().chain_id);
        let signature = self.signer.key.sign_hash_sync(&digest).unwrap();
        let order = Signed { value, signature: signature.as_bytes().to_vec().into() };
        self.agent().order_stop(id, Some(order)).unwrap();
    }

    /// The same, sent by the client itself.
    pub(super) fn stop_on_chain(&self, id: RentalId, keep_s: u64) {
        let order = Stop { rental: id.get(), at: self.clock.now_s(), keepS: keep_s };
        let call = HostCall::Stop { order, signature: alloy_primitives::Bytes::new() };
        self.chain.lock().apply(call).unwrap();
    }

    pub(super) fn refused(&self) -> Vec<String> {
        let ledger = self.chain.lock();
        let refused = ledger
            .calls
            .iter()
            .filter_map(|(name, done)| Some(format!("{name}: {}", done.as_ref().err()?)));
        refused.collect()
    }
}
