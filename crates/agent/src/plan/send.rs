//! The transaction that is due.

use alloy_primitives::Address;
use pouw_types::contracts::IRentals::{Phase, Reason};

use super::action::Call;
use super::decide::{call_is_answered, call_is_unanswered};
use super::view::{ChainView, Container, Observed, Rules};
use crate::receipt;
use crate::record::Record;
use crate::step::{End, Step};

/// The transaction that is due.
pub(super) fn send(record: &Record, observed: &Observed, rules: &Rules) -> Option<Call> {
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
