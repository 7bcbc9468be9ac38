//! ready, receipts and what they pay, calls and answers.

use alloy_primitives::{Address, B256};
use pouw_types::Amount;
use pouw_types::contracts::IRentals::{self, Call, Phase};
use pouw_types::contracts::Receipt;
use pouw_types::signing::{Signable, recover};

use super::super::Native;
use super::super::hosts::not_registered;
use super::{CLOCK_S, EARNS_VESTING, Loaded};
use crate::flaw::{self, Flaw};
use crate::record::Until;
use crate::revert::{Fault, Revert, require};
use crate::settlement::Settlement;
use crate::split::{Payment, ahead_s, settled};
use crate::state::{State, StateError, key};

impl<S: State + ?Sized> Native<'_, '_, S> {
    pub(super) fn ready(&mut self, id: B256) -> Result<(), Fault> {
        self.unpaid()?;
        let mut loaded = self.load(id, &[Phase::Open])?;
        self.operated(loaded.quote.machine)?;
        let (now, start_by) = (self.now_s(), loaded.quote.startBy);
        require!(now < start_by, "R-4", "ready at {now}, it was due before {start_by}");
        let times = &mut loaded.rental.shown.times;
        require!(times.readyAt == 0, "R-4", "ready was posted at {}", times.readyAt);
        times.readyAt = now;
        self.store(&loaded)?;
        self.emit(&IRentals::MadeReady { rental: id });
        Ok(())
    }

    /// with `answers`, R-9.
    pub(super) fn settle(
        &mut self,
        receipt: Receipt,
        machine_signature: &[u8],
        signer_signature: &[u8],
        answers: bool,
    ) -> Result<(), Fault> {
        self.unpaid()?;
        let mut loaded = self.load(receipt.rental, &[Phase::Open, Phase::Closing])?;
        self.check_receipt(&loaded, &receipt)?;
        self.check_signatures(&loaded, &receipt, machine_signature, signer_signature)?;
        let shown = &mut loaded.rental.shown;
        let answered = !shown.hostCall.by.is_zero() && receipt.at > shown.hostCall.at;
        require!(
            answered || !answers,
            "R-9",
            "the operator didn't call, or called at {}, after this receipt",
            shown.hostCall.at
        );
        if answered {
            shown.hostCall = Call::default();
        }
        if receipt.isFinal && shown.phase == Phase::Closing {
            shown.times.closingEndsAt = self.env.time_s();
            shown.times.closingEndsBlock = self.env.height;
        }
        shown.best = receipt;
        let (id, client) = (loaded.id, loaded.rental.shown.client);
        let payment = settled(&self.terms(&loaded), loaded.best(), loaded.rental.shown.reason);
        self.pay_out(&mut loaded, &payment)?;
        self.store(&loaded)?;
        let money = &loaded.rental.shown.money;
        let event = IRentals::Settled {
            rental: id,
            seq: loaded.rental.shown.best.seq,
            paid: money.paid,
            burned: money.burned,
            foundation: money.foundation,
        };
        self.emit(&event);
        if answered {
            self.emit(&IRentals::Answered { rental: id, by: client });
        }
        Ok(())
    }

    /// R-5, all but the signatures.
    fn check_receipt(&self, loaded: &Loaded, receipt: &Receipt) -> Result<(), Fault> {
        let shown = &loaded.rental.shown;
        let (best, caps, issued_at) = (&shown.best, &shown.caps, loaded.quote.issuedAt);
        require!(!best.isFinal, "R-5", "receipt {} was the final one", best.seq);
        let (seq, now) = (receipt.seq, self.now_s());
        require!(seq > best.seq, "R-5", "receipt {seq} isn't newer than {}", best.seq);
        let latest = now.saturating_add(CLOCK_S);
        require!(receipt.at <= latest, "R-5", "receipt of {}, in the future: {now}", receipt.at);
        let Some(elapsed) = receipt.at.checked_sub(issued_at) else {
            let text = format!("receipt of {}, before the quote of {issued_at}", receipt.at);
            return Err(Revert { rule: "R-5", text }.into());
        };
        for (name, new, old) in falling(best, receipt) {
            require!(
                new >= old || flaw::is(Flaw::MetersFall),
                "R-5",
                "{name} {new} below {old} of the receipt before"
            );
        }
        let (active, done) = (receipt.activeS, receipt.doneS);
        require!(active <= elapsed, "R-5", "active {active} s in {elapsed} s");
        require!(done <= active, "R-5", "done {done} s of active {active} s");
        require!(active <= caps.activeS, "R-5", "active {active} s above the cap {}", caps.activeS);
        let traffic = receipt.trafficB;
        require!(traffic <= caps.trafficB, "R-5", "traffic {traffic} above {}", caps.trafficB);
        let storage = u128::from(caps.storageGib).saturating_mul(elapsed.into());
        require!(
            receipt.storageGibS <= storage,
            "R-5",
            "storage {} GiB·s above the cap {storage} after {elapsed} s",
            receipt.storageGibS
        );
        Ok(())
    }

    fn check_signatures(
        &mut self,
        loaded: &Loaded,
        receipt: &Receipt,
        machine_signature: &[u8],
        signer_signature: &[u8],
    ) -> Result<(), Fault> {
        let digest = receipt.digest(self.env.network.chain_id);
        let machine = loaded.quote.machine;
        require!(
            recover(digest, machine_signature) == Ok(machine),
            "R-5",
            "machine {machine} didn't sign this receipt"
        );
        let signer = loaded.rental.shown.signer;
        let by = recover(digest, signer_signature).unwrap_or(Address::ZERO);
        if by == signer {
            return Ok(());
        }
        let until: Option<Until> = self.book.get(&key::earlier_signer(loaded.id, by))?;
        require!(
            until.is_some_and(|Until(until)| receipt.at <= until),
            "R-5",
            "signer {signer} didn't sign this receipt"
        );
        Ok(())
    }

    /// Raises what was paid so far to this payment; never lowers it.
    pub(super) fn pay_out(&mut self, loaded: &mut Loaded, payment: &Payment) -> Result<(), Fault> {
        let Some(machine) = self.machine(loaded.quote.machine)? else {
            return Err(not_registered(loaded.quote.machine));
        };
        let money = &mut loaded.rental.shown.money;
        let paid = payment.paid.saturating_sub(Amount::from_atto(money.paid));
        let (burned, foundation) = if flaw::is(Flaw::FeesPerSettlement) {
            let rules = &self.env.network.rental;
            (paid.ppm(rules.burn_ppm), paid.ppm(rules.foundation_ppm))
        } else {
            (
                payment.burned.saturating_sub(Amount::from_atto(money.burned)),
                payment.foundation.saturating_sub(Amount::from_atto(money.foundation)),
            )
        };
        let used = payment.from_fund.atto().saturating_sub(money.successorUsed);
        let unbalanced = || StateError::Unbalanced("a rental pays more than it holds");
        let leaves = Payment { paid, burned, foundation, ..Payment::default() }.total();
        money.successorFund = money.successorFund.checked_sub(used).ok_or_else(unbalanced)?;
        money.successorUsed = money.successorUsed.saturating_add(used);
        let escrow = money.escrow.checked_add(used).and_then(|sum| sum.checked_sub(leaves.atto()));
        money.escrow = escrow.ok_or_else(unbalanced)?;
        money.paid = money.paid.saturating_add(paid.atto());
        money.burned = money.burned.saturating_add(burned.atto());
        money.foundation = money.foundation.saturating_add(foundation.atto());
        self.book.move_total(|totals| &mut totals.escrows, Amount::ZERO, leaves)?;
        self.book.move_total(|totals| &mut totals.burned, burned, Amount::ZERO)?;
        let vests = loaded.quote.earns == EARNS_VESTING;
        if vests || !burned.is_zero() {
            self.settlements.push(Settlement {
                rental: loaded.id,
                machine: loaded.quote.machine,
                miner: machine.miner,
                vests,
                burned,
                active_paid: payment.active,
                work: loaded.rental.shown.best.workMacs,
                is_last: false,
            });
        }
        self.book.credit(machine.payout, paid)?;
        self.book.credit(self.env.network.foundation, foundation)?;
        Ok(())
    }

    pub(super) fn call(&mut self, id: B256) -> Result<(), Fault> {
        let mut loaded = self.load(id, &[Phase::Open])?;
        let (at, at_block, by) = (self.now_s(), self.env.height, self.caller);
        let fresh = Call { by, at, atBlock: at_block, stake: 0 };
        let event = if by == loaded.rental.shown.client {
            let stake = self.stake(&loaded)?;
            let pending = &mut loaded.rental.shown.call;
            require!(
                pending.by.is_zero(),
                "R-9",
                "the call of {} waits for its answer",
                pending.at
            );
            *pending = Call { stake: stake.atto(), ..fresh };
            IRentals::Called { rental: id, by, stake: stake.atto() }
        } else {
            self.unpaid()?;
            require!(
                self.is_operator(loaded.quote.machine)?,
                "R-9",
                "only the client or the operator may call"
            );
            let pending = &mut loaded.rental.shown.hostCall;
            require!(
                pending.by.is_zero(),
                "R-9",
                "the call of {} waits for its answer",
                pending.at
            );
            *pending = fresh;
            IRentals::Called { rental: id, by, stake: 0 }
        };
        self.store(&loaded)?;
        self.emit(&event);
        Ok(())
    }

    /// takes the client's stake out of the value and gives the rest back.
    fn stake(&mut self, loaded: &Loaded) -> Result<Amount, Fault> {
        let ahead = ahead_s(loaded.rental.shown.best.activeS);
        let stake = Amount::from_atto(loaded.quote.rates.activeSecond).checked_mul(ahead.into());
        let stake = stake.unwrap_or(Amount::MAX);
        require!(
            self.value >= stake,
            "R-9",
            "stake {} FLUX below {stake} FLUX, the price of {ahead} s",
            self.value
        );
        self.book.credit(self.caller, self.value.saturating_sub(stake))?;
        self.book.move_total(|totals| &mut totals.stakes, stake, Amount::ZERO)?;
        Ok(stake)
    }

    pub(super) fn answer(&mut self, id: B256) -> Result<(), Fault> {
        self.unpaid()?;
        let mut loaded = self.load(id, &[Phase::Open])?;
        let machine = self.operated(loaded.quote.machine)?;
        let call = core::mem::take(&mut loaded.rental.shown.call);
        require!(!call.by.is_zero(), "R-9", "the client didn't call");
        let stake = Amount::from_atto(call.stake);
        self.book.move_total(|totals| &mut totals.stakes, Amount::ZERO, stake)?;
        self.book.credit(machine.payout, stake)?;
        self.store(&loaded)?;
        self.emit(&IRentals::Answered { rental: id, by: self.caller });
        Ok(())
    }
}

/// the fields that never fall, as (name, new, old).
fn falling(old: &Receipt, new: &Receipt) -> [(&'static str, u128, u128); 6] {
    [
        ("time", new.at.into(), old.at.into()),
        ("active_s", new.activeS.into(), old.activeS.into()),
        ("storage_gib_s", new.storageGibS, old.storageGibS),
        ("traffic_b", new.trafficB.into(), old.trafficB.into()),
        ("done_s", new.doneS.into(), old.doneS.into()),
        ("work_macs", new.workMacs, old.workMacs),
    ]
}
