//! notice, close, stop, claim.

use alloy_primitives::B256;
use pouw_types::Amount;
use pouw_types::contracts::IRentals::{self, Call, Notice, Phase, Reason};
use pouw_types::contracts::Model;
use pouw_types::signing::{Signable, recover};

use super::super::Native;
use super::{CLOCK_S, Loaded, reason_name};
use crate::flaw::{self, Flaw};
use crate::revert::{Fault, require};
use crate::split::{DAY_S, Meters, claim_limit, is_out_of_funds};
use crate::state::{State, StateError};

/// between the notice and a spot rental's end, seconds.
const PREEMPT_S: u64 = 120;
/// between the notice and the end of an on-demand rental, seconds.
const REPRICE_S: u64 = DAY_S;

impl<S: State + ?Sized> Native<'_, '_, S> {
    pub(super) fn give_notice(&mut self, id: B256, notice: Notice) -> Result<(), Fault> {
        self.unpaid()?;
        let mut loaded = self.load(id, &[Phase::Open])?;
        self.operated(loaded.quote.machine)?;
        let spot = loaded.quote.model == Model::Spot.code();
        let repriceable =
            loaded.quote.model == Model::OnDemand.code() && loaded.quote.term.lengthS == 0;
        match notice {
            Notice::Preempt => require!(spot, "R-10", "only spot rentals are preempted"),
            Notice::Reprice => {
                require!(repriceable, "R-14", "only on-demand rentals without a term are repriced");
            }
            Notice::None | Notice::__Invalid => require!(false, "R-10", "a notice of nothing"),
        }
        let now = self.now_s();
        let shown = &mut loaded.rental.shown;
        require!(
            shown.notice == Notice::None,
            "R-10",
            "notice was given at {}",
            shown.times.noticeAt
        );
        shown.notice = notice;
        shown.times.noticeAt = now;
        self.store(&loaded)?;
        self.emit(&IRentals::Noticed { rental: id, notice });
        Ok(())
    }

    pub(super) fn close(&mut self, id: B256, reason: Reason, keep_s: u64) -> Result<(), Fault> {
        self.unpaid()?;
        let loaded = self.load(id, &[Phase::Open])?;
        self.check_reason(&loaded, reason)?;
        let stops = matches!(reason, Reason::ClientStop | Reason::Completed);
        let by_client = self.caller == loaded.rental.shown.client;
        require!(keep_s == 0 || (stops && by_client), "R-13", "only the client's stop keeps data");
        self.start_closing(loaded, reason, keep_s)
    }

    pub(super) fn stop(&mut self, call: &IRentals::stopCall) -> Result<(), Fault> {
        self.unpaid()?;
        let order = &call.order;
        let loaded = self.load(order.rental, &[Phase::Open])?;
        let latest = self.now_s().saturating_add(CLOCK_S);
        require!(order.at <= latest, "R-10", "a stop of {}, in the future", order.at);
        let signer = loaded.rental.shown.signer;
        let digest = order.digest(self.env.network.chain_id);
        require!(
            recover(digest, &call.signerSignature) == Ok(signer),
            "R-10",
            "signer {signer} didn't sign this stop"
        );
        self.start_closing(loaded, Reason::ClientStop, order.keepS)
    }

    /// R-10's table: who may close with which reason, and when.
    fn check_reason(&mut self, loaded: &Loaded, reason: Reason) -> Result<(), Fault> {
        let (now, name) = (self.now_s(), reason_name(reason));
        let shown = &loaded.rental.shown;
        let by_client = self.caller == shown.client;
        let by_operator = self.is_operator(loaded.quote.machine)?;
        let started = loaded.best().is_some();
        let (who, may, when, holds) = match reason {
            Reason::ClientStop => ("the client", by_client, "any time", true),
            Reason::Completed => {
                let last = shown.best.isFinal;
                ("the client, or anyone after the final receipt", by_client || last, "", true)
            }
            Reason::Limit => ("anyone", true, "at a cap", is_at_limit(loaded)),
            Reason::OutOfFunds => {
                let short = is_out_of_funds(&self.terms(loaded), &shown.best);
                ("anyone", true, "when the escrow doesn't cover a minute", short)
            }
            Reason::EndBy => ("anyone", true, "from end_by on", now >= shown.times.endBy),
            Reason::ClientSilent => {
                let unanswered = self.is_unanswered(&shown.hostCall);
                ("the operator", by_operator, "after its unanswered call", unanswered)
            }
            Reason::Preempted => {
                let due = shown.times.noticeAt.saturating_add(PREEMPT_S);
                let due = shown.notice == Notice::Preempt && now >= due;
                ("the operator", by_operator, "120 s after notice", due)
            }
            Reason::Repriced => {
                let due = shown.times.noticeAt.saturating_add(REPRICE_S);
                let due = shown.notice == Notice::Reprice && now >= due;
                ("the operator", by_operator, "24 h after notice", due)
            }
            Reason::GateFailed => {
                ("the operator", by_operator, "before the first receipt", !started)
            }
            Reason::NotStarted => {
                let late = now >= loaded.quote.startBy;
                let who = "the client, or anyone from start_by on";
                (who, by_client || late, "before the first receipt", !started)
            }
            Reason::HostStop => ("the operator", by_operator, "any time", true),
            Reason::HostFault => {
                // Who has signed the final receipt has nothing left to answer.
                let unanswered = self.is_unanswered(&shown.call) && !shown.best.isFinal;
                ("anyone", true, "after the client's unanswered call", unanswered)
            }
            Reason::None | Reason::__Invalid => ("nobody", false, "", false),
        };
        require!(may, "R-10", "{name} is for {who}");
        require!(holds, "R-10", "{name} is for {who}, {when}");
        Ok(())
    }

    fn start_closing(
        &mut self,
        mut loaded: Loaded,
        reason: Reason,
        keep_s: u64,
    ) -> Result<(), Fault> {
        let (id, now, height) = (loaded.id, self.now_s(), self.env.height);
        let rules = &self.env.network.rental;
        let last = loaded.rental.shown.best.isFinal;
        require!(keep_s == 0 || !last, "R-13", "nothing is kept after the final receipt");
        let shown = &mut loaded.rental.shown;
        shown.phase = Phase::Closing;
        shown.reason = reason;
        shown.times.closeAt = now;
        shown.times.closeBlock = height;
        let ends_at = now.saturating_add(rules.closing_s);
        // a keep prolongs Closing, at most to end_by.
        let kept = ends_at.saturating_add(keep_s).min(shown.times.endBy).max(ends_at);
        shown.keepS = kept.saturating_sub(ends_at);
        shown.times.closingEndsAt = if last { now } else { kept };
        let blocks = if last { 0 } else { rules.closing_blocks };
        shown.times.closingEndsBlock = height.saturating_add(blocks);
        // A call that waits no longer has a meaning; its stake goes back.
        let stake = Amount::from_atto(core::mem::take(&mut shown.call).stake);
        shown.hostCall = Call::default();
        let (client, keep_s, units) = (shown.client, shown.keepS, shown.units);
        self.book.move_total(|totals| &mut totals.stakes, Amount::ZERO, stake)?;
        self.book.credit(client, stake)?;
        if !flaw::is(Flaw::UnitsKept) {
            self.free_units(&loaded, units)?;
        }
        self.store(&loaded)?;
        self.emit(&IRentals::ClosingStarted { rental: id, reason, keepS: keep_s });
        Ok(())
    }

    fn free_units(&mut self, loaded: &Loaded, units: u32) -> Result<(), StateError> {
        let address = loaded.quote.machine;
        if let Some(mut machine) = self.machine(address)? {
            machine.openUnits = machine.openUnits.saturating_sub(units);
            self.put_machine(address, &machine)?;
        }
        Ok(())
    }

    pub(super) fn claim(
        &mut self,
        id: B256,
        active_s: u64,
        storage_gib_s: u128,
    ) -> Result<(), Fault> {
        self.unpaid()?;
        let mut loaded = self.load(id, &[Phase::Closing])?;
        self.operated(loaded.quote.machine)?;
        require!(!loaded.rental.shown.claim.made, "R-11", "a claim was made, there is one only");
        let close = loaded.close();
        let Some(limit) = claim_limit(&self.terms(&loaded), loaded.best(), &close) else {
            let reason = reason_name(close.reason);
            return Err(crate::revert::Revert {
                rule: "R-11",
                text: format!("no claim after {reason}, without a receipt or after the final one"),
            }
            .into());
        };
        let Meters { active_s: most, storage_gib_s: most_storage, .. } = limit;
        require!(active_s <= most, "R-11", "claim of {active_s} active s above {most} s");
        require!(
            storage_gib_s <= most_storage,
            "R-11",
            "claim of {storage_gib_s} GiB·s above {most_storage} GiB·s"
        );
        loaded.rental.shown.claim =
            IRentals::Claim { made: true, activeS: active_s, storageGibS: storage_gib_s };
        self.store(&loaded)?;
        let event =
            IRentals::ClaimMade { rental: id, activeS: active_s, storageGibS: storage_gib_s };
        self.emit(&event);
        Ok(())
    }
}

/// Whether the ledger sees a used-up cap.
const fn is_at_limit(loaded: &Loaded) -> bool {
    let shown = &loaded.rental.shown;
    let (best, caps) = (&shown.best, &shown.caps);
    let traffic = best.trafficB > 0 && best.trafficB >= caps.trafficB;
    best.seq > 0 && (best.activeS >= caps.activeS || traffic)
}
