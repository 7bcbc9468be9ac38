//! the end of a rental's money, and what it says about its parties.

use alloy_primitives::{Address, B256};
use pouw_types::Amount;
use pouw_types::contracts::IRentals::{self, Phase, Reason};
use pouw_types::contracts::Quote;

use super::super::Native;
use super::Loaded;
use crate::flaw::{self, Flaw};
use crate::list::{self, Kind};
use crate::record::Marks;
use crate::revert::{Fault, require};
use crate::split::{DAY_S, split};
use crate::state::{State, StateError, key};

impl<S: State + ?Sized> Native<'_, '_, S> {
    pub(super) fn finalize(&mut self, id: B256) -> Result<(), Fault> {
        self.unpaid()?;
        let phases: &[Phase] = if flaw::is(Flaw::ClosedReopens) {
            &[Phase::Closing, Phase::Closed]
        } else {
            &[Phase::Closing]
        };
        let mut loaded = self.load(id, phases)?;
        let times = &loaded.rental.shown.times;
        let (now, height) = (self.now_s(), self.env.height);
        require!(
            now >= times.closingEndsAt && height >= times.closingEndsBlock,
            "R-12",
            "closing lasts until {} and block {}, it is {now} and block {height}",
            times.closingEndsAt,
            times.closingEndsBlock
        );
        let claim = loaded.claim();
        let end = split(&self.terms(&loaded), loaded.best(), claim.as_ref(), &loaded.close());
        self.pay_out(&mut loaded, &end.payment)?;
        if let Some(settlement) = self.settlements.last_mut() {
            settlement.is_last = true;
        }
        let money = &mut loaded.rental.shown.money;
        let (refund, unused) = (Amount::from_atto(money.escrow), money.successorFund);
        money.escrow = 0;
        money.refunded = money.refunded.saturating_add(refund.atto());
        money.forfeited = end.forfeited.atto();
        money.successorFund = 0;
        let bond = core::mem::take(&mut money.bond);
        loaded.rental.shown.phase = Phase::Closed;
        let client = loaded.rental.shown.client;
        self.book.move_total(|totals| &mut totals.escrows, Amount::ZERO, refund)?;
        self.book.credit(client, refund)?;
        self.give_unused(Amount::from_atto(unused))?;
        self.release_bond(loaded.quote.machine, bond, end.forfeited)?;
        self.store(&loaded)?;
        self.give_forfeit(&loaded, end.forfeited)?;
        for party in [client, loaded.quote.machine] {
            list::remove(self.book, Kind::Rentals, party, id)?;
        }
        self.mark(&loaded)?;
        let money = &loaded.rental.shown.money;
        let event = IRentals::Finalized {
            rental: id,
            paid: money.paid,
            burned: money.burned,
            foundation: money.foundation,
            refunded: money.refunded,
            forfeited: money.forfeited,
        };
        self.emit(&event);
        Ok(())
    }

    /// Moves a successor's unused fund from the escrows to the pool.
    fn give_unused(&mut self, unused: Amount) -> Result<(), StateError> {
        self.book.move_total(|totals| &mut totals.escrows, Amount::ZERO, unused)?;
        if flaw::is(Flaw::FundVanishes) {
            return Ok(());
        }
        self.book.move_total(|totals| &mut totals.pool, unused, Amount::ZERO)
    }

    fn release_bond(
        &mut self,
        address: Address,
        bond: u128,
        forfeited: Amount,
    ) -> Result<(), StateError> {
        if let Some(mut machine) = self.machine(address)? {
            machine.lockedBond = machine.lockedBond.saturating_sub(bond);
            machine.bond = machine.bond.saturating_sub(forfeited.atto());
            self.put_machine(address, &machine)?;
        }
        self.book.move_total(|totals| &mut totals.bonds, Amount::ZERO, forfeited)
    }

    /// a forfeit pays a day of the successor's higher price; the rest goes to the pool.
    fn give_forfeit(&mut self, loaded: &Loaded, forfeited: Amount) -> Result<(), StateError> {
        if forfeited.is_zero() {
            return Ok(());
        }
        let fund = self.fund_successor(loaded, forfeited)?;
        self.book.move_total(|totals| &mut totals.escrows, fund, Amount::ZERO)?;
        let rest = forfeited.saturating_sub(fund);
        self.book.move_total(|totals| &mut totals.pool, rest, Amount::ZERO)
    }

    fn fund_successor(&mut self, loaded: &Loaded, most: Amount) -> Result<Amount, StateError> {
        if !loaded.rental.successor_in_closing {
            return Ok(Amount::ZERO);
        }
        let id: B256 = loaded.rental.shown.successor;
        let quote: Option<Quote> = self.book.get(&key::quote(id))?;
        let (Some(mut successor), Some(quote)) = (self.rental(id)?, quote) else {
            return Ok(Amount::ZERO);
        };
        if successor.shown.phase == Phase::Closed {
            return Ok(Amount::ZERO);
        }
        let dearer = quote.rates.activeSecond.saturating_sub(loaded.quote.rates.activeSecond);
        let fund = Amount::from_atto(dearer.saturating_mul(DAY_S.into())).min(most);
        successor.fund_rate = dearer;
        successor.shown.money.successorFund = fund.atto();
        self.book.put(key::rental(id), &successor)?;
        Ok(fund)
    }

    /// R-15, in halves of a failure.
    fn mark(&mut self, loaded: &Loaded) -> Result<(), StateError> {
        let (client, machine) = match loaded.rental.shown.reason {
            Reason::ClientSilent | Reason::NotStarted => (1, 1),
            Reason::HostStop | Reason::HostFault => (0, 2),
            Reason::ClientStop
            | Reason::Completed
            | Reason::Limit
            | Reason::OutOfFunds
            | Reason::EndBy
            | Reason::Preempted
            | Reason::Repriced
            | Reason::GateFailed
            | Reason::None
            | Reason::__Invalid => (0, 0),
        };
        let parties = [(loaded.rental.shown.client, client), (loaded.quote.machine, machine)];
        for (party, halves) in parties {
            let key = key::marks(party);
            let mut marks: Marks = self.book.get(&key)?.unwrap_or_default();
            marks.ended = marks.ended.saturating_add(1);
            marks.half_failures = marks.half_failures.saturating_add(halves);
            self.book.put(key, &marks)?;
        }
        Ok(())
    }
}
