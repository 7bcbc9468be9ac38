//! `Rentals`: rules. The arithmetic is in [`crate::split`].

mod close;
mod finalize;
mod open;
mod usage;

use alloy_primitives::{Address, B256, Bytes};
use pouw_types::Amount;
use pouw_types::contracts::IRentals::{Call, Phase, Reason};
use pouw_types::contracts::{IRentals, Quote, Receipt};

use super::{Mode, Native, returns};
use crate::list::{self, Kind};
use crate::record::{Marks, Rental};
use crate::revert::{Fault, Revert, require};
use crate::split::{Close, Meters, Terms};
use crate::state::{State, StateError, key};

/// How far a clock may be ahead of the block's, seconds.
const CLOCK_S: u64 = 60;
/// what a quote writes when its receipts earn vesting (lane 1), not credit (lane 2).
const EARNS_VESTING: u8 = 1;

/// A rental with its quote, loaded for a change.
pub(super) struct Loaded {
    pub(super) id: B256,
    pub(super) quote: Quote,
    pub(super) rental: Rental,
}

impl Loaded {
    pub(super) fn best(&self) -> Option<&Receipt> {
        best(&self.rental)
    }

    pub(super) fn claim(&self) -> Option<Meters> {
        let claim = &self.rental.shown.claim;
        claim.made.then_some(Meters {
            active_s: claim.activeS,
            storage_gib_s: claim.storageGibS,
            traffic_b: 0,
        })
    }

    pub(super) fn close(&self) -> Close {
        let (times, reason) = (&self.rental.shown.times, self.rental.shown.reason);
        Close { reason, at: times.closeAt, ends_at: times.closingEndsAt }
    }
}

/// The last receipt, if there is one: they count from 1.
pub(crate) fn best(rental: &Rental) -> Option<&Receipt> {
    Some(&rental.shown.best).filter(|best| best.seq > 0)
}

/// What the split needs of a rental's present state.
pub(crate) fn terms(rental: &Rental, quote: &Quote, rules: &pouw_types::RentalRules) -> Terms {
    let money = &rental.shown.money;
    let fund = money.successorFund.saturating_add(money.successorUsed);
    Terms {
        caps: rental.shown.caps.clone(),
        ready: rental.shown.times.readyAt > 0,
        deposited: Amount::from_atto(money.deposited),
        fund: Amount::from_atto(fund),
        fund_rate: Amount::from_atto(rental.fund_rate),
        ..Terms::new(quote, rules)
    }
}

impl<S: State + ?Sized> Native<'_, '_, S> {
    pub(super) fn rentals(
        &mut self,
        call: IRentals::IRentalsCalls,
        mode: Mode,
    ) -> Result<Bytes, Fault> {
        use IRentals::IRentalsCalls as C;
        match call {
            C::open(call) => self.open(call)?,
            C::ready(call) => self.ready(call.rental)?,
            C::settle(call) => {
                self.settle(call.receipt, &call.machineSignature, &call.signerSignature, false)?;
            }
            C::topUp(call) => self.top_up(call.rental)?,
            C::extend(call) => self.extend(&call)?,
            C::setSigner(call) => self.set_signer(call.rental, call.signer)?,
            C::call(call) => self.call(call.rental)?,
            C::answer(call) => self.answer(call.rental)?,
            C::answerWithReceipt(call) => {
                self.settle(call.receipt, &call.machineSignature, &call.signerSignature, true)?;
            }
            C::giveNotice(call) => self.give_notice(call.rental, call.notice)?,
            C::close(call) => self.close(call.rental, call.reason, call.keepS)?,
            C::stop(call) => self.stop(&call)?,
            C::claim(call) => self.claim(call.rental, call.activeS, call.storageGibS)?,
            C::finalize(call) => self.finalize(call.rental)?,
            C::rentalOf(_) | C::quoteOf(_) | C::activeOf(_) | C::marksOf(_) | C::totals(_) => {
                self.view(mode)?;
                return self.rentals_view(call);
            }
        }
        Ok(Bytes::new())
    }

    fn rentals_view(&mut self, call: IRentals::IRentalsCalls) -> Result<Bytes, Fault> {
        use IRentals::IRentalsCalls as C;
        Ok(match call {
            C::rentalOf(call) => {
                let rental = self.rental(call.rental)?.unwrap_or_default();
                returns::<IRentals::rentalOfCall>(&rental.shown)
            }
            C::quoteOf(call) => {
                let quote: Option<Quote> = self.book.get(&key::quote(call.rental))?;
                returns::<IRentals::quoteOfCall>(&quote.unwrap_or_default())
            }
            C::activeOf(call) => {
                let ids = list::entries(self.book, Kind::Rentals, call.party)?;
                returns::<IRentals::activeOfCall>(&ids)
            }
            C::marksOf(call) => {
                let marks: Option<Marks> = self.book.get(&key::marks(call.party))?;
                let Marks { ended, half_failures } = marks.unwrap_or_default();
                let marks = IRentals::marksOfReturn { ended, halfFailures: half_failures };
                returns::<IRentals::marksOfCall>(&marks)
            }
            C::totals(_) => {
                let totals = self.book.totals();
                returns::<IRentals::totalsCall>(&IRentals::totalsReturn {
                    escrows: totals.escrows.to_u256(),
                    bonds: totals.bonds.to_u256(),
                    stakes: totals.stakes.to_u256(),
                    pool: totals.pool.to_u256(),
                    burned: totals.burned.to_u256(),
                    subsidies: totals.subsidies.to_u256(),
                    genesisSupply: totals.genesis_supply.to_u256(),
                    immature: totals.immature.to_u256(),
                    balances: totals.balances.to_u256(),
                })
            }
            C::open(_)
            | C::ready(_)
            | C::settle(_)
            | C::topUp(_)
            | C::extend(_)
            | C::setSigner(_)
            | C::call(_)
            | C::answer(_)
            | C::answerWithReceipt(_)
            | C::giveNotice(_)
            | C::close(_)
            | C::stop(_)
            | C::claim(_)
            | C::finalize(_) => Bytes::new(),
        })
    }

    pub(super) fn rental(&mut self, id: B256) -> Result<Option<Rental>, StateError> {
        self.book.get(&key::rental(id))
    }

    /// The rental in one of these phases.
    pub(super) fn load(&mut self, id: B256, phases: &[Phase]) -> Result<Loaded, Fault> {
        let found = (self.rental(id)?, self.book.get(&key::quote(id))?);
        let (Some(rental), Some(quote)) = found else {
            return Err(Revert { rule: "R-2", text: format!("no rental {id}") }.into());
        };
        let phase = rental.shown.phase;
        require!(phases.contains(&phase), "R-10", "the rental is {}", phase_name(phase));
        Ok(Loaded { id, quote, rental })
    }

    pub(super) fn store(&mut self, loaded: &Loaded) -> Result<(), StateError> {
        self.book.put(key::rental(loaded.id), &loaded.rental)
    }

    pub(super) fn terms(&self, loaded: &Loaded) -> Terms {
        terms(&loaded.rental, &loaded.quote, &self.env.network.rental)
    }

    pub(super) fn is_operator(&mut self, machine: Address) -> Result<bool, Fault> {
        let caller = self.caller;
        Ok(self.machine(machine)?.is_some_and(|machine| machine.operator == caller))
    }

    /// whether a call has waited for as many blocks and as many seconds as it must.
    pub(super) fn is_unanswered(&self, call: &Call) -> bool {
        let rules = &self.env.network.rental;
        let blocks = self.env.height > call.atBlock.saturating_add(rules.call_blocks);
        let seconds = self.now_s() > call.at.saturating_add(rules.call_s)
            || crate::flaw::is(crate::flaw::Flaw::WindowInBlocksOnly);
        !call.by.is_zero() && blocks && seconds
    }
}

const fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::None => "unknown",
        Phase::Open => "open, not closing",
        Phase::Closing => "closing",
        Phase::Closed => "closed",
        Phase::__Invalid => "invalid",
    }
}

/// The reason as the specification writes it.
pub(super) const fn reason_name(reason: Reason) -> &'static str {
    match reason {
        Reason::None | Reason::__Invalid => "none",
        Reason::ClientStop => "client_stop",
        Reason::Completed => "completed",
        Reason::Limit => "limit",
        Reason::OutOfFunds => "out_of_funds",
        Reason::EndBy => "end_by",
        Reason::ClientSilent => "client_silent",
        Reason::Preempted => "preempted",
        Reason::Repriced => "repriced",
        Reason::GateFailed => "gate_failed",
        Reason::NotStarted => "not_started",
        Reason::HostStop => "host_stop",
        Reason::HostFault => "host_fault",
    }
}
