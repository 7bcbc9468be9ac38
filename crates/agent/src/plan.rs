//! What to do next with a rental: pure functions of its record and of what is observed.
//!
//! [`decide`] moves the record along (steps, reasons to end); [`plan`] says which actions bring the
//! world to where the record wants it; `apply` (in [`outcome`](crate::outcome)) writes an action's
//! outcome back. Nothing here reads a clock or touches the world, so any moment can be replayed.

use alloy_primitives::Address;
use pouw_types::contracts::Earns;
use pouw_types::contracts::IRentals::{Notice, Phase, Reason, Rental};
use pouw_types::{Amount, RentalRules};

use crate::config::Tuning;
use crate::contract::Head;
use crate::engine::Exit;
use crate::meter::Totals;
use crate::receipt;
use crate::record::Record;
use crate::step::{End, Step};

/// blocks off the best chain after which a rental ends.
pub const REORG_BLOCKS: u64 = 10;
/// blocks from the opening until client code may run.
pub const RUN_DEPTH: u64 = 2;
/// the same for deposits above [`Rules::deep_above`].
pub const DEEP_RUN_DEPTH: u64 = 6;
/// How long before a limit the task is frozen: freezing takes a moment, and what runs on is unpaid.
pub const MARGIN_MS: u64 = 250;
/// seconds between two receipts while data is kept.
const KEPT_RECEIPT_S: u64 = 600;
/// how long data is kept without a co-signature, seconds: less than the day that can be
/// claimed.
const MAX_ALONE_S: u64 = 86_000;
/// The longest Closing of which a part is left for the final receipt, seconds.
const MAX_FINAL_S: u64 = 600;
/// Tries of a step that may succeed later.
pub const MAX_ATTEMPTS: u32 = 5;

/// What holds for all rentals of an agent.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// The network's windows and shares.
    pub rental: RentalRules,
    /// The host's own delays.
    pub tuning: Tuning,
    /// Whose transactions the agent sends.
    pub operator: Address,
    /// Deposits above this wait for [`DEEP_RUN_DEPTH`] blocks.
    pub deep_above: Amount,
}

/// A container as the agent last saw it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Container {
    /// Nobody has looked, or the engine does not answer.
    #[default]
    Unknown,
    /// There is none.
    Absent,
    /// Made, never started.
    Created,
    /// Running.
    Running,
    /// Frozen.
    Paused,
    /// Ended.
    Exited(Exit),
}

/// The chain as the agent last saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainView {
    /// The top.
    pub head: Head,
    /// The rental at the top; phase `None` when its opening is not in the best chain.
    pub rental: Rental,
}

impl ChainView {
    /// Blocks since the opening, 1 for its own; 0 when it is not in the best chain.
    #[must_use]
    pub const fn depth(&self) -> u64 {
        if matches!(self.rental.phase, Phase::None) {
            0
        } else {
            (self.head.height + 1).saturating_sub(self.rental.times.openedBlock)
        }
    }
}

/// The firewall around a task's network, as the agent last saw it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Guard {
    /// Nobody has looked yet.
    #[default]
    Unseen,
    /// As it was loaded.
    Up,
    /// Gone or changed, or it can't be seen.
    Down,
}

/// What is observed of the world.
#[derive(Clone, Debug)]
pub struct Observed {
    /// Unix seconds.
    pub now_s: u64,
    /// The chain; `None` until it was seen once.
    pub chain: Option<ChainView>,
    /// The task's container.
    pub container: Container,
    /// The firewall around its network, where it has one.
    pub guard: Guard,
    /// The meter's reading.
    pub totals: Totals,
    /// whether the rental that continues this one has taken over what is kept.
    pub is_taken: bool,
    /// Whether the journal could be written when it was last tried.
    pub writable: bool,
}

/// What can be done at the same time: at most one action a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// The machine.
    Work,
    /// Transactions.
    Chain,
    /// The signer.
    Sign,
    /// Waiting for the task's end.
    Wait,
    /// Reading the task's output.
    Logs,
    /// Watching for parts.
    Parts,
    /// Bringing a checkpoint out.
    Checkpoint,
    /// Serving the mining socket.
    Mine,
    /// Watching the task's network.
    Network,
}

/// Something to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Record the machine's state.
    Save,
    /// Make image, network, scratch and container.
    Provision,
    /// Prove the machine's speed.
    Gate,
    /// Bring the inputs in.
    Load,
    /// Look at the container.
    Inspect,
    /// Start the task.
    Start,
    /// Freeze it.
    Pause,
    /// Let it go on.
    Unpause,
    /// End it.
    Terminate,
    /// Bring log, outputs and manifest out.
    Upload,
    /// Note the run in the machine's history.
    Note,
    /// Bring the machine back to its saved state.
    Reset,
    /// Send a transaction.
    Send(Call),
    /// Get a receipt signed.
    Cosign {
        /// Whether it is the last one.
        is_final: bool,
    },
    /// Wait for the task's end.
    Wait,
    /// Read the task's output.
    Logs,
    /// Upload parts as they appear.
    Parts,
    /// Freeze the task, copy its checkpoint, let it go on.
    Copy,
    /// Bring the copy of the checkpoint out.
    Checkpoint,
    /// Serve the task's mining socket.
    Mine,
    /// Count what passes the task's network, and see that its firewall stands.
    Network,
}

/// A transaction to send; its content follows from the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    ///
    Ready,
    ///
    Settle,
    /// R-9, by us.
    Call,
    /// R-9, to the client's call.
    Answer,
    /// R-10, by the signer's order.
    Stop,
    ///
    Close(Reason),
    ///
    Claim,
    ///
    Finalize,
}

impl Action {
    /// Where it runs.
    #[must_use]
    pub const fn lane(self) -> Lane {
        match self {
            Self::Send(_) => Lane::Chain,
            Self::Cosign { .. } => Lane::Sign,
            Self::Wait => Lane::Wait,
            Self::Logs => Lane::Logs,
            Self::Parts => Lane::Parts,
            Self::Checkpoint => Lane::Checkpoint,
            Self::Mine => Lane::Mine,
            Self::Network => Lane::Network,
            Self::Save
            | Self::Provision
            | Self::Gate
            | Self::Load
            | Self::Inspect
            | Self::Start
            | Self::Pause
            | Self::Unpause
            | Self::Copy
            | Self::Terminate
            | Self::Upload
            | Self::Note
            | Self::Reset => Lane::Work,
        }
    }

    /// Whether it may be dropped half-way when it is no longer wanted.
    #[must_use]
    pub const fn is_droppable(self) -> bool {
        !matches!(
            self,
            Self::Start
                | Self::Pause
                | Self::Unpause
                | Self::Copy
                | Self::Terminate
                | Self::Reset
                | Self::Save
                | Self::Note
                | Self::Cosign { .. }
                | Self::Send(_)
        )
    }
}

/// Why a task that should run stands still, unbilled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// The opening is not in the best chain.
    OffChain,
    /// The firewall that keeps the task off this machine's own network is not there.
    Unguarded,
    /// The last co-signed receipt is too far behind.
    Ahead,
    /// The escrow covers no more.
    Funds,
    /// The journal can't be written: what would run on could be neither billed nor ended.
    Unwritten,
}

impl Hold {
    /// In words.
    #[must_use]
    pub const fn why(self) -> &'static str {
        match self {
            Self::OffChain => "the payment left the best chain",
            Self::Unguarded => "the firewall around the task is being put up again",
            Self::Ahead => "the signer does not sign receipts",
            Self::Funds => "the deposit is used up: top it up to go on",
            Self::Unwritten => "the host can't write its journal, its disk may be full",
        }
    }
}

/// The active milliseconds at which the task is frozen, and why then.
#[must_use]
pub fn freeze_at(record: &Record, observed: &Observed, rules: &Rules) -> (u64, Hold) {
    let signed = record.signed_active_s();
    let ahead = (signed + receipt::ahead_s(signed)) * 1_000;
    let covered = observed.chain.as_ref().map_or(u64::MAX, |chain| {
        let deposit = Amount::from_atto(chain.rental.money.deposited);
        let storage = observed.totals.storage_gib_s(record.quote.caps.storageGib);
        let traffic = observed.totals.traffic_bytes;
        receipt::covered_s(&rules.rental, &record.quote, deposit, storage, traffic) * 1_000
    });
    // Where the escrow reaches as far as the cap, the time limit ends the task, not the money.
    let covered = if covered >= cap_ms(record) { u64::MAX } else { covered };
    if covered <= ahead { (covered, Hold::Funds) } else { (ahead, Hold::Ahead) }
}

/// The active milliseconds that the quote sells.
#[must_use]
pub const fn cap_ms(record: &Record) -> u64 {
    record.quote.caps.activeS.saturating_mul(1_000)
}

/// Why the task should stand still right now, if it should.
#[must_use]
pub fn hold(record: &Record, observed: &Observed, rules: &Rules) -> Option<Hold> {
    if !observed.writable {
        return Some(Hold::Unwritten);
    }
    match &observed.chain {
        None => return Some(Hold::OffChain),
        Some(chain) if chain.rental.phase == Phase::None => return Some(Hold::OffChain),
        Some(_) => {}
    }
    if record.egress && observed.guard == Guard::Down {
        return Some(Hold::Unguarded);
    }
    let (at, why) = freeze_at(record, observed, rules);
    (observed.totals.active_ms.saturating_add(MARGIN_MS) >= at).then_some(why)
}

/// Moves the record along as far as what is known allows; `true` where anything changed.
pub fn decide(record: &mut Record, observed: &Observed, rules: &Rules) -> bool {
    let before = record.clone();
    follow_chain(record, observed);
    if record.end.is_none() {
        record.end = reason_to_end(record, observed, rules);
    }
    record.keep_over |= record.keep_s > 0 && is_keep_over(record, observed, rules);
    loop {
        let step = next_step(record, observed, rules);
        if step == record.step {
            break;
        }
        record.step = step;
        record.attempts = 0;
    }
    if record.step == Step::Done && record.done_at_s.is_none() {
        record.done_at_s = Some(observed.now_s);
    }
    *record != before
}

fn follow_chain(record: &mut Record, observed: &Observed) {
    let Some(chain) = &observed.chain else { return };
    match chain.rental.phase {
        Phase::None => {
            record.off_since.get_or_insert(chain.head.height);
        }
        _ => record.off_since = None,
    }
    // an extension raises the caps.
    let caps = &chain.rental.caps;
    if chain.rental.phase == Phase::Open && caps.activeS > record.quote.caps.activeS {
        record.quote.caps = caps.clone();
    }
    if record.end.is_none() && matches!(chain.rental.phase, Phase::Closing | Phase::Closed) {
        record.end = Some(End::ClosedOnChain { by: chain.rental.reason });
        // the client told the chain alone.
        record.keep_s = chain.rental.keepS;
    }
}

/// between a notice and the end that it announces, seconds.
#[must_use]
pub const fn notice_s(notice: Notice) -> Option<u64> {
    match notice {
        Notice::Preempt => Some(120),
        Notice::Reprice => Some(86_400),
        Notice::None | Notice::__Invalid => None,
    }
}

/// when the host takes the machine back, Unix seconds; `None` without notice.
#[must_use]
pub fn notice_ends_at(rental: &Rental) -> Option<u64> {
    notice_s(rental.notice).map(|wait_s| rental.times.noticeAt.saturating_add(wait_s))
}

/// when data that is kept goes, Unix seconds: as the client wanted, while Closing lasts.
#[must_use]
pub fn kept_until(record: &Record, observed: &Observed, rules: &Rules) -> Option<u64> {
    if !record.is_kept() {
        return None;
    }
    let rental = observed.chain.as_ref().map(|chain| &chain.rental)?;
    match rental.phase {
        Phase::Closing => {
            // The final receipt has to be there before anybody finalizes.
            let last = rules.rental.closing_s.min(MAX_FINAL_S) / 4;
            let ends = rental.times.closingEndsAt.saturating_sub(last);
            Some(rental.times.closeAt.saturating_add(record.keep_s).min(ends))
        }
        _ => Some(observed.now_s.saturating_add(record.keep_s)),
    }
}

/// whether nothing has to be kept any longer, or nobody would pay for it.
fn is_keep_over(record: &Record, observed: &Observed, rules: &Rules) -> bool {
    let Some(chain) = &observed.chain else { return false };
    match chain.rental.phase {
        // The order is on its way to the chain, or the chain refuses it.
        Phase::Open => return record.refusals > 0,
        Phase::Closing => {}
        Phase::None | Phase::Closed | Phase::__Invalid => return true,
    }
    let until = kept_until(record, observed, rules);
    // Alone, without a co-signature, a day of storage can be claimed at most.
    let signed_at = record.signed.as_ref().map_or(0, |signed| signed.receipt.at);
    let alone = observed.now_s >= signed_at.saturating_add(MAX_ALONE_S);
    let gib = record.quote.caps.storageGib;
    let totals = &observed.totals;
    let storage = totals.storage_gib_s(gib);
    let price = receipt::price(&record.quote, totals.active_s(), storage, totals.traffic_bytes);
    let deposit = Amount::from_atto(chain.rental.money.deposited);
    let unpaid = receipt::total(&rules.rental, price) > deposit;
    observed.is_taken
        || alone
        || unpaid
        || until.is_none_or(|until| observed.now_s.max(chain.head.time_s) >= until)
}

fn reason_to_end(record: &Record, observed: &Observed, rules: &Rules) -> Option<End> {
    let chain = observed.chain.as_ref()?;
    if record.off_since.is_some_and(|since| chain.head.height >= since + REORG_BLOCKS) {
        return Some(End::PaymentReorged);
    }
    if chain.rental.phase == Phase::None {
        return None;
    }
    let (times, now) = (&chain.rental.times, observed.now_s.max(chain.head.time_s));
    if now >= times.endBy.max(record.quote.endBy) {
        return Some(End::EndBy);
    }
    if record.step < Step::Run {
        let not_prepared = |detail: &str| Some(End::NotPrepared { detail: detail.to_owned() });
        if !record.has_task && now >= record.seen_at_s + rules.tuning.task_s {
            return not_prepared("the client handed over no task");
        }
        let cap_s = record.quote.caps.preparationS;
        let late = |at: u64| !record.loaded && now >= at.saturating_add(cap_s);
        if record.task_at_s.is_some_and(late) {
            return not_prepared(&format!(
                "image and inputs took longer than the {cap_s} s that the quote gives for them"
            ));
        }
        if times.readyAt == 0 && now >= record.quote.startBy {
            return not_prepared("it took longer than the quote allows");
        }
        return None;
    }
    if !record.started {
        return None;
    }
    if call_is_unanswered(record, chain, rules) {
        return Some(End::ClientSilent);
    }
    let is_due = |at| chain.head.time_s >= at;
    let ended = run_ended(record, observed, rules);
    if ended.is_none() && notice_ends_at(&chain.rental).is_some_and(is_due) {
        return Some(match chain.rental.notice {
            Notice::Reprice => End::Repriced,
            Notice::None | Notice::Preempt | Notice::__Invalid => End::Preempted,
        });
    }
    ended
}

fn run_ended(record: &Record, observed: &Observed, rules: &Rules) -> Option<End> {
    match observed.container {
        Container::Exited(_) if record.engine_lost_s.is_some() => {
            return Some(End::HostFault { detail: "the engine ended under the task".to_owned() });
        }
        Container::Exited(exit) if exit.oom_killed => return Some(End::OutOfMemory),
        Container::Exited(exit) if exit.code == 0 => return Some(End::Completed),
        Container::Exited(exit) => return Some(End::ExitCode { code: exit.code }),
        Container::Absent => {
            return Some(End::HostFault { detail: "the container vanished".to_owned() });
        }
        Container::Unknown | Container::Created | Container::Running | Container::Paused => {}
    }
    let lost =
        record.engine_lost_s.is_some_and(|since| observed.now_s >= since + rules.tuning.patience_s);
    if lost {
        return Some(End::HostFault { detail: "the engine does not answer".to_owned() });
    }
    let open = record
        .unguarded_since_s
        .is_some_and(|since| observed.now_s >= since + rules.tuning.patience_s);
    if open {
        let detail = "the firewall around the task can't be put up again".to_owned();
        return Some(End::HostFault { detail });
    }
    if observed.totals.active_ms >= cap_ms(record) {
        return Some(End::TimeLimit);
    }
    if record.egress && observed.totals.traffic_bytes >= record.quote.caps.trafficB {
        return Some(End::TrafficLimit);
    }
    let held = hold(record, observed, rules) == Some(Hold::Funds);
    let signed_all = record.signed_active_s() + 1 >= observed.totals.active_s();
    (held && signed_all && observed.container == Container::Paused).then_some(End::OutOfFunds)
}

/// a receipt that was signed after our call, whether the ledger has seen it or not.
fn call_is_answered(record: &Record, chain: &ChainView) -> bool {
    record.signed.as_ref().is_some_and(|signed| signed.receipt.at > chain.rental.hostCall.at)
}

/// our call's window is over and the client did not answer.
fn call_is_unanswered(record: &Record, chain: &ChainView, rules: &Rules) -> bool {
    let call = &chain.rental.hostCall;
    call.by == rules.operator
        && !call_is_answered(record, chain)
        && chain.head.height >= call.atBlock + rules.rental.call_blocks
        && chain.head.time_s >= call.at + rules.rental.call_s
}

fn next_step(record: &Record, observed: &Observed, rules: &Rules) -> Step {
    let phase = observed.chain.as_ref().map(|chain| chain.rental.phase);
    if record.end.is_some() && record.step < Step::End {
        return Step::End;
    }
    match record.step {
        Step::Save if record.saved.is_some() => Step::Provision,
        Step::Provision if record.container.is_some() => Step::Gate,
        Step::Gate if record.gate.is_some() => Step::Load,
        Step::Load if is_ready(record, observed) => Step::Run,
        Step::End if is_stopped(record, observed) => Step::Upload,
        Step::Upload if record.uploaded || !has_results(record) => Step::Score,
        Step::Score if record.is_kept() => Step::Score,
        Step::Score if record.noted && is_final_settled(record, observed, rules) => Step::Reset,
        Step::Reset if record.reset => Step::Dismount,
        Step::Dismount => match (phase, &record.end) {
            (Some(Phase::Closed), _) | (Some(Phase::None), Some(End::PaymentReorged)) => Step::Done,
            _ => Step::Dismount,
        },
        step => step,
    }
}

fn is_ready(record: &Record, observed: &Observed) -> bool {
    let ready = observed.chain.as_ref().is_some_and(|chain| chain.rental.times.readyAt > 0);
    record.loaded && ready
}

/// Whether no code of the client runs any more.
const fn is_stopped(record: &Record, observed: &Observed) -> bool {
    if !record.started {
        return true;
    }
    matches!(observed.container, Container::Absent | Container::Created | Container::Exited(_))
}

/// Whether there can be anything to bring out.
const fn has_results(record: &Record) -> bool {
    record.started && !matches!(record.end, Some(End::PaymentReorged))
}

/// Whether the final receipt is signed, or the reset need not wait for it any longer.
fn is_final_settled(record: &Record, observed: &Observed, rules: &Rules) -> bool {
    let silent = record
        .silent_since_s
        .is_some_and(|since| observed.now_s >= since + rules.tuning.patience_s);
    !wants_final(record, observed) || silent
}

/// Whether a final receipt is still missing.
fn wants_final(record: &Record, observed: &Observed) -> bool {
    let phase = observed.chain.as_ref().map(|chain| chain.rental.phase);
    has_results(record) && !record.is_final_signed() && !matches!(phase, Some(Phase::Closed))
}

/// The actions that should be going on now, at most one a lane.
#[must_use]
pub fn plan(record: &Record, observed: &Observed, rules: &Rules) -> Vec<Action> {
    let mut actions = Vec::with_capacity(6);
    actions.extend(work(record, observed, rules));
    if record.step == Step::Run && record.started {
        if matches!(observed.container, Container::Running | Container::Paused) {
            actions.push(Action::Wait);
        }
        if record.container.is_some() {
            actions.extend([Action::Logs, Action::Parts]);
        }
        actions.extend(record.saves.copied.is_some().then_some(Action::Checkpoint));
    }
    if record.step == Step::End && record.started && record.container.is_some() {
        actions.push(Action::Logs);
    }
    if is_mineable(record, observed) {
        actions.push(Action::Mine);
    }
    let made = record.container.is_some() && (Step::Load..=Step::End).contains(&record.step);
    if record.egress && made && !(record.step == Step::End && is_stopped(record, observed)) {
        actions.push(Action::Network);
    }
    actions.extend(sign(record, observed, rules));
    actions.extend(send(record, observed, rules).map(Action::Send));
    actions
}

/// the client consented, and the task's container is there and has not ended.
fn is_mineable(record: &Record, observed: &Observed) -> bool {
    let consented = Earns::from_code(record.quote.earns) == Some(Earns::Vesting);
    let alive = match record.step {
        Step::Load => true,
        Step::Run | Step::End => {
            !matches!(observed.container, Container::Absent | Container::Exited(_))
        }
        _ => false,
    };
    consented && alive && record.container.is_some()
}

fn work(record: &Record, observed: &Observed, rules: &Rules) -> Option<Action> {
    let opened = observed.chain.as_ref().is_some_and(|chain| chain.depth() >= 1);
    match record.step {
        Step::Save => opened.then_some(Action::Save),
        Step::Provision => (opened && record.has_task).then_some(Action::Provision),
        Step::Gate => opened.then_some(Action::Gate),
        Step::Load => (opened && !record.loaded).then_some(Action::Load),
        Step::Run => run(record, observed, rules),
        Step::End => match observed.container {
            _ if !record.started => None,
            Container::Unknown => Some(Action::Inspect),
            Container::Running | Container::Paused => Some(Action::Terminate),
            Container::Absent | Container::Created | Container::Exited(_) => None,
        },
        Step::Upload => (!record.uploaded).then_some(Action::Upload),
        Step::Score => (!record.noted).then_some(Action::Note),
        Step::Reset => (!record.reset).then_some(Action::Reset),
        Step::Dismount | Step::Done => None,
    }
}

fn run(record: &Record, observed: &Observed, rules: &Rules) -> Option<Action> {
    let held = hold(record, observed, rules).is_some();
    match observed.container {
        Container::Unknown => Some(Action::Inspect),
        Container::Created => {
            let chain = observed.chain.as_ref()?;
            let deposit = Amount::from_atto(chain.rental.money.deposited);
            let needed = if deposit > rules.deep_above { DEEP_RUN_DEPTH } else { RUN_DEPTH };
            let accepted = record.signed.is_some() && !held;
            let guarded = !record.egress || observed.guard == Guard::Up;
            (chain.depth() >= needed && accepted && guarded).then_some(Action::Start)
        }
        Container::Running if held => Some(Action::Pause),
        Container::Running if is_copy_due(record, observed) => Some(Action::Copy),
        Container::Paused if !held => Some(Action::Unpause),
        Container::Running | Container::Paused | Container::Absent | Container::Exited(_) => None,
    }
}

/// Whether the checkpoint's folder is to be copied now.
fn is_copy_due(record: &Record, observed: &Observed) -> bool {
    record.saves.due_at_ms().is_some_and(|due| observed.totals.active_ms >= due)
}

fn sign(record: &Record, observed: &Observed, rules: &Rules) -> Option<Action> {
    let chain = observed.chain.as_ref()?;
    let open = matches!(chain.rental.phase, Phase::Open | Phase::Closing);
    if !open {
        return None;
    }
    match record.step {
        // The zero receipt accepts the gate; it waits for nothing but the inputs.
        Step::Load | Step::Run if record.loaded && record.signed.is_none() => {
            Some(Action::Cosign { is_final: false })
        }
        Step::Run if record.started => {
            let due = observed.totals.active_ms >= receipt::due_at_ms(record.signed_active_s());
            let frozen = hold(record, observed, rules).is_some()
                && observed.totals.active_s() > record.signed_active_s();
            (due || frozen).then_some(Action::Cosign { is_final: false })
        }
        Step::Score if record.is_kept() => {
            let at = record.signed.as_ref().map_or(0, |signed| signed.receipt.at);
            let due = observed.now_s >= at.saturating_add(KEPT_RECEIPT_S);
            due.then_some(Action::Cosign { is_final: false })
        }
        Step::Score | Step::Reset | Step::Dismount => {
            wants_final(record, observed).then_some(Action::Cosign { is_final: true })
        }
        Step::Save
        | Step::Provision
        | Step::Gate
        | Step::Load
        | Step::Run
        | Step::End
        | Step::Upload
        | Step::Done => None,
    }
}

/// The transaction that is due.
fn send(record: &Record, observed: &Observed, rules: &Rules) -> Option<Call> {
    let chain = observed.chain.as_ref()?;
    let newer = record
        .signed
        .as_ref()
        .is_some_and(|signed| record.started && signed.receipt.seq > chain.rental.best.seq);
    match chain.rental.phase {
        Phase::Open => send_open(record, observed, rules, chain, newer),
        Phase::Closing if record.is_kept() => {
            let daily = observed.now_s >= record.settled_at_s + rules.tuning.settle_s;
            (newer && daily).then_some(Call::Settle)
        }
        Phase::Closing if newer => Some(Call::Settle),
        Phase::Closing => {
            if is_claim_due(record, chain, rules) {
                return Some(Call::Claim);
            }
            let times = &chain.rental.times;
            let over = chain.rental.best.isFinal
                || (chain.head.height >= times.closingEndsBlock
                    && chain.head.time_s >= times.closingEndsAt);
            over.then_some(Call::Finalize)
        }
        Phase::None | Phase::Closed | Phase::__Invalid => None,
    }
}

fn send_open(
    record: &Record,
    observed: &Observed,
    rules: &Rules,
    chain: &ChainView,
    newer: bool,
) -> Option<Call> {
    let call_by = chain.rental.hostCall.by;
    let called_by_client = chain.rental.call.by != Address::ZERO;
    if called_by_client && record.step <= Step::Upload {
        return Some(if newer { Call::Settle } else { Call::Answer });
    }
    let lost = observed.container == Container::Unknown
        && matches!(record.end, Some(End::HostFault { .. }));
    if record.step < Step::Score && !lost {
        if record.step == Step::Load && record.loaded && chain.rental.times.readyAt == 0 {
            return Some(Call::Ready);
        }
        let daily = observed.now_s >= record.settled_at_s + rules.tuning.settle_s;
        let call = wants_call(record, observed, rules) && call_by == Address::ZERO;
        let daily = daily || (call_by == rules.operator && call_is_answered(record, chain));
        return match (newer && (daily || call), call) {
            (true, _) => Some(Call::Settle),
            (false, true) => Some(Call::Call),
            (false, false) => None,
        };
    }
    if newer {
        return Some(Call::Settle);
    }
    if record.stop_order.is_some() && record.refusals == 0 {
        return Some(Call::Stop);
    }
    let reasons = closing_reasons(record, observed, rules, chain);
    let tries = usize::try_from(record.refusals).unwrap_or(usize::MAX);
    match reasons.get(tries % reasons.len().max(1)) {
        Some(reason) => Some(Call::Close(*reason)),
        None => {
            (wants_call(record, observed, rules) && call_by == Address::ZERO).then_some(Call::Call)
        }
    }
}

/// the signer was silent for longer than this host bears.
fn wants_call(record: &Record, observed: &Observed, rules: &Rules) -> bool {
    record.started
        && record
            .silent_since_s
            .is_some_and(|since| observed.now_s >= since + rules.tuning.patience_s)
}

/// The reasons that the ledger should take, the most exact first.
fn closing_reasons(
    record: &Record,
    observed: &Observed,
    rules: &Rules,
    chain: &ChainView,
) -> Vec<Reason> {
    let mut reasons = Vec::new();
    let Some(end) = &record.end else { return reasons };
    if !record.started {
        reasons.push(Reason::GateFailed);
        if observed.now_s >= record.quote.startBy {
            reasons.push(Reason::NotStarted);
        }
        return reasons;
    }
    let is_final = chain.rental.best.isFinal;
    match end.ledger_reason() {
        // A payment that came back after the reset: nobody serves it any more.
        None => reasons.push(Reason::HostStop),
        Some(Reason::Completed) if !is_final => {}
        Some(Reason::Limit) if !is_at_cap(record, chain) => {}
        Some(Reason::OutOfFunds) if !is_final => {}
        Some(reason) => reasons.push(reason),
    }
    if end.pays_all() {
        if is_final && !reasons.contains(&Reason::Completed) {
            reasons.push(Reason::Completed);
        }
        if call_is_unanswered(record, chain, rules) && !reasons.contains(&Reason::ClientSilent) {
            reasons.push(Reason::ClientSilent);
        }
    }
    reasons
}

/// whether the ledger sees a cap used up.
const fn is_at_cap(record: &Record, chain: &ChainView) -> bool {
    let (best, caps) = (&chain.rental.best, &record.quote.caps);
    best.activeS >= caps.activeS || (best.trafficB > 0 && best.trafficB >= caps.trafficB)
}

/// What the operator may claim beyond the last receipt: active seconds and GiB·s.
#[must_use]
pub fn claimable(record: &Record, chain: &ChainView) -> (u64, u128) {
    let best = &chain.rental.best;
    let closed_at = chain.rental.times.closeAt;
    let ahead = receipt::ahead_s(best.activeS).min(closed_at.saturating_sub(best.at));
    let active = record.totals.active_s().min(best.activeS + ahead).max(best.activeS);
    let gib = record.quote.caps.storageGib;
    let storage = record.totals.storage_gib_s(gib).min(best.storageGibS + u128::from(gib) * 86_400);
    (active.min(record.quote.caps.activeS), storage.max(best.storageGibS))
}

fn is_claim_due(record: &Record, chain: &ChainView, _rules: &Rules) -> bool {
    let best = &chain.rental.best;
    let pays = End::ClosedOnChain { by: chain.rental.reason }.pays_all();
    let (active, storage) = claimable(record, chain);
    // After a keep the signer has the first word, and the host its own only where there is none.
    let alone = record.keep_s == 0 || record.silent_since_s.is_some();
    pays && alone
        && record.step >= Step::Score
        && record.signed.is_some()
        && !best.isFinal
        && !chain.rental.claim.made
        && (active > best.activeS || storage > best.storageGibS)
}

/// When something becomes due by the passing of active time alone: milliseconds from now.
#[must_use]
pub fn wake_in_ms(record: &Record, observed: &Observed, rules: &Rules) -> Option<u64> {
    if record.step != Step::Run || observed.container != Container::Running {
        return None;
    }
    let active = observed.totals.active_ms;
    let (freeze, _) = freeze_at(record, observed, rules);
    let due = receipt::due_at_ms(record.signed_active_s());
    let soonest = [freeze.saturating_sub(MARGIN_MS), due, cap_ms(record)]
        .into_iter()
        .chain(record.saves.due_at_ms())
        .filter(|at| *at > active)
        .min()?;
    Some(soonest - active)
}
