//! One rental at work: a loop that decides, plans, and keeps at most one action a lane going.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::time::Instant;
use alloy_primitives::B256;
use pouw_mining::Tally;
use pouw_types::RentalId;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;

use crate::actions;
use crate::context::Context;
use crate::door::{EventKind, MeterView, NoticeView, RentalStatus};
use crate::events::EventLog;
use crate::meter::Meter;
use crate::outcome::{Failure, Outcome, apply, begin};
use crate::plan::{self, Action, ChainView, Container, Guard, Lane, Observed};
use crate::record::Record;
use crate::step::Step;
use crate::tasklog::TaskLog;
use crate::tunnel::Tunnels;
use crate::watcher::Snapshot;

/// How long nothing may happen before the loop looks again by itself.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// The first wait after a failure; it doubles with each further one.
const FIRST_BACKOFF: Duration = Duration::from_millis(500);
/// The longest wait after a failure.
const MAX_BACKOFF: Duration = Duration::from_secs(20);
/// The same for a signer: while it is away the task may stand still.
const MAX_SIGN_BACKOFF: Duration = Duration::from_secs(3);
/// Between two tries to write a journal that could not be written.
const UNWRITTEN: Duration = Duration::from_secs(2);
/// Outcomes that wait for the loop.
const QUEUE: usize = 64;

/// What can be seen of a rental from outside its loop.
#[derive(Debug)]
pub(crate) struct Rental {
    /// Which.
    pub id: RentalId,
    /// What happened.
    pub events: EventLog,
    /// What the task wrote.
    pub log: TaskLog,
    /// Its client's connections to its ports.
    pub tunnels: Tunnels,
    record: Mutex<Record>,
    meter: Mutex<Meter>,
    container: Mutex<Container>,
    tally: Tally,
    counted: Mutex<u128>,
    guard: Mutex<Guard>,
    /// Whether the journal could be written when it was last tried.
    writable: AtomicBool,
    wake: Notify,
}

impl Rental {
    /// From its journal entry.
    #[must_use]
    pub(crate) fn new(record: Record, context: &Context) -> Self {
        let folder = context.journal.folder(record.rental);
        Self {
            id: record.rental,
            events: EventLog::default(),
            log: TaskLog::new(&folder, context.rules.tuning.log_bytes),
            tunnels: Tunnels::default(),
            meter: Mutex::new(Meter::from_totals(record.totals)),
            record: Mutex::new(record),
            container: Mutex::default(),
            tally: Tally::default(),
            counted: Mutex::default(),
            guard: Mutex::default(),
            writable: AtomicBool::new(true),
            wake: Notify::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The record as it is now.
    #[must_use]
    pub(crate) fn record(&self) -> Record {
        self.lock().clone()
    }

    /// Whether the task was started and nothing ends it yet.
    #[must_use]
    pub(crate) fn is_running(&self) -> bool {
        let record = self.lock();
        record.step == Step::Run && record.started && record.end.is_none()
    }

    /// The bytes of traffic that the quote sells.
    #[must_use]
    pub(crate) fn traffic_cap(&self) -> u64 {
        self.lock().quote.caps.trafficB
    }

    /// Uses the meter.
    pub(crate) fn meter<T>(&self, with: impl FnOnce(&mut Meter) -> T) -> T {
        with(&mut self.meter.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What mined through the task's socket.
    pub(crate) const fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Brings what mined since the last time into the meter.
    pub(crate) fn count_mined(&self) {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        let macs = self.tally.macs();
        self.meter(|meter| meter.mined(macs.saturating_sub(*counted)));
        *counted = macs;
    }

    fn container(&self) -> Container {
        *self.container.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_container(&self, container: Container) {
        *self.container.lock().unwrap_or_else(PoisonError::into_inner) = container;
    }

    /// The firewall around the task's network, as it was last seen.
    pub(crate) fn guard(&self) -> Guard {
        *self.guard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_guard(&self, guard: Guard) {
        *self.guard.lock().unwrap_or_else(PoisonError::into_inner) = guard;
    }

    /// Makes the loop look again.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Changes the record, and writes it to the disk before anybody can act on the change.
    ///
    /// # Errors
    /// The journal's, in words; the change is then undone.
    pub(crate) fn update(
        &self,
        context: &Context,
        change: impl FnOnce(&mut Record),
    ) -> Result<(), String> {
        let mut record = self.lock();
        let mut changed = record.clone();
        change(&mut changed);
        changed.totals = self.meter(|meter| meter.read(context.clock.monotonic_ms()));
        let writable = self.writable.load(Ordering::Relaxed);
        if changed == *record && writable {
            return Ok(());
        }
        let stored = context.journal.store(&changed);
        self.writable.store(stored.is_ok(), Ordering::Relaxed);
        match stored {
            Ok(()) if !writable => {
                tracing::info!(rental = %self.id, "the journal is written again");
            }
            Ok(()) => {}
            Err(error) => {
                let error = crate::actions::in_full(&error);
                tracing::error!(rental = %self.id, %error, "the journal can't be written");
                return Err(error);
            }
        }
        *record = changed;
        Ok(())
    }

    /// Notes an event.
    pub(crate) fn emit(&self, context: &Context, kind: EventKind) {
        self.events.push(context.clock.unix_ms(), kind);
    }

    /// Where it stands.
    #[must_use]
    pub(crate) fn status(&self, context: &Context, chain: Option<&ChainView>) -> RentalStatus {
        let record = self.record();
        let observed = self.observed(context, chain.cloned());
        let paused = (record.step == Step::Run && record.started && record.end.is_none())
            .then(|| plan::hold(&record, &observed, &context.rules))
            .flatten();
        let totals = observed.totals;
        RentalStatus {
            rental: self.id,
            step: record.step,
            steps: record.steps.clone(),
            has_task: record.has_task,
            ports: record.ports.clone(),
            paused: paused.map(|hold| hold.why().to_owned()),
            depth: chain.map(ChainView::depth).filter(|depth| *depth > 0),
            meter: MeterView {
                seq: 0,
                at: observed.now_s,
                active_s: totals.active_s(),
                storage_gib_s: u64::try_from(totals.storage_gib_s(record.quote.caps.storageGib))
                    .unwrap_or(u64::MAX),
                traffic_bytes: totals.traffic_bytes,
                done_s: record.done_s(),
                work_macs: u64::try_from(totals.work_macs).unwrap_or(u64::MAX),
                is_final: false,
            },
            signed: record.signed_view(),
            gate: record.gate,
            parts: record.parts.clone(),
            parts_total: record.parts_total,
            checkpoint: record.saves.durable.clone(),
            notice: chain.and_then(|chain| NoticeView::of(&chain.rental)),
            kept_until: plan::kept_until(&record, &observed, &context.rules),
            slots_until: record.slots_until_s,
            left: record.left.clone(),
            end: record.end.clone(),
            remarks: record.remarks.clone(),
            transactions: record.transactions,
        }
    }

    /// whether the rental that continues this one has its data.
    fn is_taken(&self, context: &Context, chain: &ChainView) -> bool {
        let successor = RentalId::new(chain.rental.successor);
        self.lock().is_kept()
            && chain.rental.successor != B256::ZERO
            && context.journal.load(successor).is_ok_and(|next| next.loaded)
    }

    fn observed(&self, context: &Context, chain: Option<ChainView>) -> Observed {
        let now = context.clock.monotonic_ms();
        let is_taken = chain.as_ref().is_some_and(|chain| self.is_taken(context, chain));
        Observed {
            is_taken,
            now_s: context.clock.unix_s(),
            chain,
            container: self.container(),
            guard: self.guard(),
            totals: self.meter(|meter| meter.read(now)),
            writable: self.writable.load(Ordering::Relaxed),
        }
    }
}

struct Running {
    action: Action,
    task: JoinHandle<()>,
}

/// What the loop keeps beside the record: it may be lost at any moment.
struct Shell {
    context: Arc<Context>,
    rental: Arc<Rental>,
    chain: watch::Receiver<Snapshot>,
    lanes: BTreeMap<Lane, Running>,
    not_before: BTreeMap<Lane, (Instant, u32)>,
    outcomes: mpsc::Sender<(Action, Outcome, bool)>,
    shown: Option<Step>,
    noticed: bool,
}

impl Drop for Shell {
    fn drop(&mut self) {
        for running in self.lanes.values() {
            running.task.abort();
        }
    }
}

/// Takes a rental from where its record stands to the end of its steps.
pub(crate) async fn drive(
    context: Arc<Context>,
    rental: Arc<Rental>,
    chain: watch::Receiver<Snapshot>,
) {
    let (outcomes, mut inbox) = mpsc::channel(QUEUE);
    let mut shell = Shell {
        context,
        rental,
        chain,
        lanes: BTreeMap::new(),
        not_before: BTreeMap::new(),
        outcomes,
        shown: None,
        noticed: false,
    };
    shell.adopt();
    while let Some(sleep) = shell.turn() {
        let rental = Arc::clone(&shell.rental);
        tokio::select! {
            Some((action, outcome, last)) = inbox.recv() => shell.take(action, outcome, last),
            () = rental.wake.notified() => {}
            changed = shell.chain.changed() => if changed.is_err() { break },
            () = crate::time::sleep(sleep) => {}
        }
    }
}

impl Shell {
    /// Goes on where a killed agent left off: what may exist is looked for, not made again.
    fn adopt(&self) {
        let record = self.rental.record();
        let unknown = record.container.is_some() && record.step >= Step::Run;
        self.rental.set_container(if unknown { Container::Unknown } else { Container::Created });
        let kept = record.started && record.step > Step::Run && !record.reset;
        if kept {
            let now = self.context.clock.monotonic_ms();
            self.rental.meter(|meter| meter.keep(now));
        }
    }

    fn view(&mut self) -> Option<ChainView> {
        let snapshot = self.chain.borrow_and_update();
        snapshot.view(self.rental.id)
    }

    /// Decides, starts and drops actions; returns how long to sleep, `None` when all is done.
    fn turn(&mut self) -> Option<Duration> {
        let chain = self.view();
        let mut observed = self.rental.observed(&self.context, chain);
        let rules = self.context.rules;
        let mut done = false;
        let now_ms = self.context.clock.unix_ms();
        // A journal that can't be written stops everything: what isn't written may not happen.
        let written = self.rental.update(&self.context, |record| {
            record.step_began(now_ms);
            plan::decide(record, &observed, &rules);
            record.step_began(now_ms);
        });
        if written.is_err() {
            self.stand_still();
            return Some(UNWRITTEN);
        }
        observed.writable = true;
        let record = self.rental.record();
        if self.shown != Some(record.step) {
            self.shown = Some(record.step);
            tracing::info!(rental = %record.rental, step = %record.step, "step");
            self.rental.emit(&self.context, EventKind::Step { step: record.step });
            if record.step == Step::End
                && let Some(end) = record.end.clone()
            {
                self.rental.emit(&self.context, EventKind::Ended { end });
            }
            done = record.step == Step::Done;
        }
        if done || record.step == Step::Done {
            self.context.journal.drop_task(record.rental);
            return None;
        }
        self.show_notice(&record, &observed);
        let wanted = plan::plan(&record, &observed, &rules);
        self.drop_unwanted(&wanted);
        for action in wanted {
            self.start(action);
        }
        let timer = plan::wake_in_ms(&record, &observed, &rules).map(Duration::from_millis);
        let now = Instant::now();
        let retry = self.not_before.values().map(|(at, _)| at.saturating_duration_since(now));
        let retry = retry.filter(|wait| !wait.is_zero()).min();
        Some([timer, retry].into_iter().flatten().fold(HEARTBEAT, Duration::min))
    }

    /// tells a notice once, while it can still be of use.
    fn show_notice(&mut self, record: &Record, observed: &Observed) {
        let notice = observed.chain.as_ref().and_then(|chain| NoticeView::of(&chain.rental));
        if let Some(notice) = notice.filter(|_| !self.noticed && record.end.is_none()) {
            self.noticed = true;
            self.rental.emit(&self.context, EventKind::Notice(notice));
        }
    }

    /// Freezes a running task, for which nothing has to be written down first: what runs on could
    /// be neither billed nor ended.
    fn stand_still(&mut self) {
        let record = self.rental.record();
        let running = self.rental.container() == Container::Running;
        let running = running && record.step == Step::Run && record.end.is_none();
        if running && !self.lanes.contains_key(&Action::Pause.lane()) {
            self.before(Action::Pause);
            self.spawn(Action::Pause);
        }
    }

    fn drop_unwanted(&mut self, wanted: &[Action]) {
        self.lanes.retain(|_, running| {
            let keep = wanted.contains(&running.action) || !running.action.is_droppable();
            if !keep {
                running.task.abort();
            }
            keep
        });
    }

    fn start(&mut self, action: Action) {
        let lane = action.lane();
        let waits = self.not_before.get(&lane).is_some_and(|(at, _)| Instant::now() < *at);
        if waits || self.lanes.contains_key(&lane) {
            return;
        }
        let written = self.rental.update(&self.context, |record| {
            begin(record, action);
        });
        if written.is_err() {
            return;
        }
        self.before(action);
        self.spawn(action);
    }

    fn spawn(&mut self, action: Action) {
        let lane = action.lane();
        let (context, rental) = (Arc::clone(&self.context), Arc::clone(&self.rental));
        let (outcomes, chain) = (self.outcomes.clone(), self.chain.clone());
        let task = tokio::spawn(async move {
            let report = actions::Report::new(action, outcomes);
            let outcome = actions::perform(&context, &rental, chain, action, &report).await;
            report.last(outcome).await;
        });
        self.lanes.insert(lane, Running { action, task });
    }

    /// The meter stops before the task does, and starts after it: what is doubtful is unbilled.
    fn before(&self, action: Action) {
        let now = self.context.clock.monotonic_ms();
        match action {
            Action::Pause => {
                self.rental.meter(|meter| meter.pause(now));
                let record = self.rental.record();
                let chain = self.chain.borrow().view(self.rental.id);
                let observed = self.rental.observed(&self.context, chain);
                let why = plan::hold(&record, &observed, &self.context.rules);
                let why = why.map_or("held", plan::Hold::why).to_owned();
                self.rental.emit(&self.context, EventKind::Paused { why });
            }
            // It stands still for the copy.
            Action::Copy => self.rental.meter(|meter| meter.pause(now)),
            Action::Terminate => self.rental.meter(|meter| meter.keep(now)),
            Action::Reset => self.rental.meter(|meter| meter.stop(now)),
            _ => {}
        }
    }

    fn take(&mut self, action: Action, outcome: Outcome, last: bool) {
        let lane = action.lane();
        if last {
            self.lanes.remove(&lane);
        }
        self.after(&outcome);
        self.back_off(lane, &outcome);
        let chain = self.view();
        let observed = self.rental.observed(&self.context, chain);
        self.show(&outcome);
        // Not written is not happened: the action is tried again.
        drop(self.rental.update(&self.context, |record| apply(record, outcome, &observed)));
    }

    fn after(&self, outcome: &Outcome) {
        let now = self.context.clock.monotonic_ms();
        let started = self.rental.record().started;
        let meter = |change: fn(&mut Meter, u64)| self.rental.meter(|meter| change(meter, now));
        match outcome {
            Outcome::Seen(container) => {
                let before = self.rental.container();
                self.rental.set_container(*container);
                match container {
                    Container::Running if !self.rental.meter(|meter| meter.is_active()) => {
                        meter(Meter::resume);
                        if before == Container::Paused {
                            self.rental.emit(&self.context, EventKind::Resumed);
                        }
                    }
                    Container::Paused | Container::Exited(_) => meter(Meter::keep),
                    Container::Absent => meter(Meter::stop),
                    Container::Running | Container::Created | Container::Unknown => {}
                }
            }
            Outcome::Lost(_) => {
                self.rental.set_container(Container::Unknown);
                meter(Meter::stop);
            }
            Outcome::Guarded(true) => self.rental.set_guard(Guard::Up),
            Outcome::Guarded(false) | Outcome::Failed(Action::Network, ..) => {
                self.rental.set_guard(Guard::Down);
            }
            Outcome::Provisioned(_) => self.rental.set_container(Container::Created),
            Outcome::Failed(
                Action::Pause | Action::Unpause | Action::Copy | Action::Terminate,
                ..,
            ) => {
                self.rental.set_container(Container::Unknown);
            }
            Outcome::Failed(Action::Start, ..) if started => {
                self.rental.set_container(Container::Unknown);
            }
            _ => {}
        }
    }

    fn back_off(&mut self, lane: Lane, outcome: &Outcome) {
        let failed = matches!(
            outcome,
            Outcome::Failed(..)
                | Outcome::Refused(..)
                | Outcome::Unsigned(_)
                | Outcome::Silent(_)
                | Outcome::Lost(_)
        );
        let again = matches!(outcome, Outcome::Nothing);
        if !failed && !again {
            self.not_before.remove(&lane);
            return;
        }
        let tries = self.not_before.get(&lane).map_or(0, |(_, tries)| *tries);
        let factor = 2u32.saturating_pow(tries.min(10));
        let longest = if lane == Lane::Sign { MAX_SIGN_BACKOFF } else { MAX_BACKOFF };
        let wait = FIRST_BACKOFF.saturating_mul(factor).min(longest);
        self.not_before.insert(lane, (Instant::now() + wait, tries.saturating_add(1)));
        if matches!(
            outcome,
            Outcome::Failed(_, Failure::Host | Failure::Store | Failure::Client, _)
        ) {
            tracing::warn!(rental = %self.rental.id, ?outcome, "failed");
        }
    }

    fn show(&self, outcome: &Outcome) {
        let emit = |kind| self.rental.emit(&self.context, kind);
        match outcome {
            Outcome::Gated(gate) => emit(EventKind::Gate(*gate)),
            Outcome::Part(part) => emit(EventKind::Part(part.clone())),
            Outcome::Durable(saved) => emit(EventKind::Checkpoint(saved.clone())),
            Outcome::NotCopied(Some(why)) | Outcome::Undurable(why) => {
                emit(EventKind::Remark { text: why.clone() });
            }
            Outcome::Cosigned(_) => {
                let proposal = self.rental.record().proposal;
                if let Some(proposal) = proposal {
                    emit(EventKind::Receipt(crate::record::view(&proposal.value)));
                }
            }
            Outcome::Left { why, .. } => {
                let text = format!("results stay on the host for a day: {why}");
                emit(EventKind::Remark { text });
            }
            Outcome::Refused(call, reason) => emit(EventKind::Remark {
                text: format!("the ledger refuses {}: {reason}", call.name()),
            }),
            Outcome::Unsigned(reason) => {
                emit(EventKind::Remark { text: format!("the signer refuses: {reason}") });
            }
            Outcome::Silent(reason) | Outcome::Lost(reason) | Outcome::Failed(_, _, reason) => {
                emit(EventKind::Remark { text: reason.clone() });
            }
            _ => {}
        }
    }
}
