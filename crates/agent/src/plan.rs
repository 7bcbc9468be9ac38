//! What to do next with a rental: pure functions of its record and of what is observed.
//!
//! [`decide`] moves the record along (steps, reasons to end); [`plan`] says which actions bring the
//! world to where the record wants it; `apply` (in [`outcome`](crate::outcome)) writes an action's
//! outcome back. Nothing here reads a clock or touches the world, so any moment can be replayed.

mod action;
mod decide;
mod hold;
mod send;
mod view;

use pouw_types::Amount;
use pouw_types::contracts::Earns;
use pouw_types::contracts::IRentals::Phase;

pub use self::action::{Action, Call, Lane};
pub use self::decide::{REORG_BLOCKS, decide, kept_until, notice_ends_at, notice_s};
use self::decide::{is_stopped, wants_final};
pub use self::hold::{Hold, MARGIN_MS, cap_ms, freeze_at, hold};
pub use self::send::claimable;
use self::send::send;
pub use self::view::{ChainView, Container, Guard, Observed, Rules};
use crate::receipt;
use crate::record::Record;
use crate::step::Step;

/// blocks from the opening until client code may run.
pub const RUN_DEPTH: u64 = 2;
/// the same for deposits above [`Rules::deep_above`].
pub const DEEP_RUN_DEPTH: u64 = 6;
/// seconds between two receipts while data is kept.
const KEPT_RECEIPT_S: u64 = 600;
/// Tries of a step that may succeed later.
pub const MAX_ATTEMPTS: u32 = 5;

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
