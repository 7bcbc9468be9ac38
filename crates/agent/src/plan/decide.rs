//! How far a record moves: its step, and the reason to end.

use pouw_types::Amount;
use pouw_types::contracts::IRentals::{Notice, Phase, Rental};

use super::hold::{Hold, cap_ms, hold};
use super::view::{ChainView, Container, Observed, Rules};
use crate::receipt;
use crate::record::Record;
use crate::step::{End, Step};

/// blocks off the best chain after which a rental ends.
pub const REORG_BLOCKS: u64 = 10;
/// how long data is kept without a co-signature, seconds: less than the day that can be
/// claimed.
const MAX_ALONE_S: u64 = 86_000;
/// The longest Closing of which a part is left for the final receipt, seconds.
const MAX_FINAL_S: u64 = 600;

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
pub(super) fn is_keep_over(record: &Record, observed: &Observed, rules: &Rules) -> bool {
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
pub(super) fn call_is_answered(record: &Record, chain: &ChainView) -> bool {
    record.signed.as_ref().is_some_and(|signed| signed.receipt.at > chain.rental.hostCall.at)
}

/// our call's window is over and the client did not answer.
pub(super) fn call_is_unanswered(record: &Record, chain: &ChainView, rules: &Rules) -> bool {
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
pub(super) const fn is_stopped(record: &Record, observed: &Observed) -> bool {
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
pub(super) fn wants_final(record: &Record, observed: &Observed) -> bool {
    let phase = observed.chain.as_ref().map(|chain| chain.rental.phase);
    has_results(record) && !record.is_final_signed() && !matches!(phase, Some(Phase::Closed))
}
