//! The invariants I-1 to I-10, with arithmetic that shares nothing with the rules.

use std::collections::BTreeMap;

use alloy_primitives::{Address, B256};
use pouw_types::contracts::IRentals::{self, Phase, Reason};
use pouw_types::contracts::{Quote, RENTALS, Receipt};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use super::Play;
use crate::tests::world::World;

/// A rental as the play knows it.
#[derive(Clone, Debug)]
pub(super) struct Played {
    pub(super) id: B256,
    pub(super) quote: Quote,
    pub(super) signer: u8,
    /// Every receipt that both sides signed, in order.
    pub(super) signed: Vec<Receipt>,
    /// Reason, the rental before, time and height of its close.
    pub(super) closed_after: Option<(Reason, IRentals::Rental, u64, u64)>,
    seen: Option<IRentals::Rental>,
}

impl Played {
    pub(super) fn new(id: B256, quote: Quote) -> Self {
        Self { id, quote, signer: 102, signed: Vec::new(), closed_after: None, seen: None }
    }
}

pub(super) fn check(play: &mut Play) -> Result<(), TestCaseError> {
    let world = play.scene.world.clone();
    let mut shown = Vec::new();
    for played in &mut play.rentals {
        let rental = world.rental(played.id);
        one_rental(played, &rental, &world)?;
        if let Some(seen) = &played.seen {
            compared(seen, &rental)?;
        }
        played.seen = Some(rental.clone());
        shown.push(rental);
    }
    supply(&world, play, &shown)?;
    machines(&world, play, &shown)?;
    marks(&world, &shown)
}

/// I-1, in total and sum by sum.
fn supply(world: &World, play: &Play, rentals: &[IRentals::Rental]) -> Result<(), TestCaseError> {
    let totals = world.totals();
    let machines = play.machines.iter().map(|key| world.machine(key.address()).bond);
    let bonds: u128 = machines.sum();
    let escrows = rentals.iter().map(|one| one.money.escrow + one.money.successorFund);
    prop_assert_eq!(totals.bonds.atto(), bonds, "I-1, I-7: bonds");
    prop_assert_eq!(totals.escrows.atto(), escrows.sum::<u128>(), "I-1: escrows");
    let stakes: u128 = rentals.iter().map(|one| one.call.stake).sum();
    prop_assert_eq!(totals.stakes.atto(), stakes, "I-1: stakes");
    let supply = totals.genesis_supply.atto() + totals.subsidies.atto() - totals.burned.atto();
    let held = world.balances()
        + totals.escrows.atto()
        + totals.bonds.atto()
        + totals.stakes.atto()
        + totals.pool.atto()
        + totals.immature.atto();
    prop_assert_eq!(supply, held, "I-1: supply");
    prop_assert_eq!(totals.balances.atto(), world.balances(), "I-1: balances");
    Ok(())
}

/// I-8, and the bond that open rentals hold.
fn machines(world: &World, play: &Play, rentals: &[IRentals::Rental]) -> Result<(), TestCaseError> {
    for key in &play.machines {
        let machine = world.machine(key.address());
        let of_machine = || rentals.iter().filter(|one| one.machine == key.address());
        let open = of_machine().filter(|one| one.phase == Phase::Open);
        prop_assert_eq!(machine.openUnits, open.map(|one| one.units).sum::<u32>(), "I-8: open");
        prop_assert!(machine.openUnits <= machine.units, "I-8: above what is registered");
        let locked: u128 = of_machine().map(|one| one.money.bond).sum();
        prop_assert_eq!(machine.lockedBond, locked, "I-7: locked bond");
        prop_assert!(machine.lockedBond <= machine.bond, "I-7: more locked than there is");
        let listed = world.view(RENTALS, &IRentals::activeOfCall { party: key.address() });
        let active = of_machine().filter(|one| one.phase != Phase::Closed).count();
        prop_assert_eq!(listed.len(), active, "the machine's list");
    }
    Ok(())
}

/// each rental ends once.
fn marks(world: &World, rentals: &[IRentals::Rental]) -> Result<(), TestCaseError> {
    let mut ended: BTreeMap<Address, u64> = BTreeMap::new();
    for rental in rentals {
        let closed = u64::from(rental.phase == Phase::Closed);
        *ended.entry(rental.client).or_default() += closed;
        *ended.entry(rental.machine).or_default() += closed;
    }
    for (party, ended) in ended {
        let marks = world.view(RENTALS, &IRentals::marksOfCall { party });
        prop_assert_eq!(marks.ended, ended, "R-12, R-15: Closed is final");
    }
    Ok(())
}

/// I-2, I-5, I-6, I-7, R-7's fees, R-9's windows, and at the end I-4.
fn one_rental(
    played: &Played,
    rental: &IRentals::Rental,
    world: &World,
) -> Result<(), TestCaseError> {
    let money = &rental.money;
    let fees = money.burned + money.foundation;
    prop_assert_eq!(
        money.deposited + money.successorUsed,
        money.paid + fees + money.refunded + money.escrow,
        "I-2"
    );
    prop_assert_eq!(money.burned, money.paid * 50_000 / 1_000_000, "R-7: burn");
    prop_assert_eq!(money.foundation, money.paid * 10_000 / 1_000_000, "R-7: foundation");
    let best = &rental.best;
    prop_assert!(best.seq == 0 || best.activeS <= best.at - played.quote.issuedAt, "I-6");
    prop_assert!(money.forfeited <= played.quote.bond, "I-7: forfeit above the bond");
    if rental.claim.made {
        let ahead = (30 + best.activeS / 10).min(120);
        prop_assert!(rental.claim.activeS <= best.activeS + ahead, "I-5: claim");
        let fault = matches!(rental.reason, Reason::HostStop | Reason::HostFault);
        prop_assert!(!fault, "R-11: a claim on a fault");
    }
    if let Some((reason, before, now, height)) = &played.closed_after {
        let call = match reason {
            Reason::HostFault => Some(&before.call),
            Reason::ClientSilent => Some(&before.hostCall),
            _ => None,
        };
        if let Some(call) = call {
            let rules = &world.network.rental;
            prop_assert!(*height > call.atBlock + rules.call_blocks, "R-9: blocks");
            prop_assert!(*now > call.at + rules.call_s, "R-9: seconds");
        }
    }
    if rental.phase == Phase::Closed { ended(played, rental) } else { open(played, rental) }
}

/// What settling paid is never more than a fault would pay.
fn open(played: &Played, rental: &IRentals::Rental) -> Result<(), TestCaseError> {
    let most = owed(played, rental, durable(played, rental));
    prop_assert!(rental.money.paid <= most, "I-4: settled {} of {most}", rental.money.paid);
    Ok(())
}

fn durable(played: &Played, rental: &IRentals::Rental) -> u64 {
    let window = u64::from(played.quote.refundWindowS);
    rental.best.doneS.max(rental.best.activeS.saturating_sub(window))
}

fn active_cost(quote: &Quote, active_s: u64) -> u128 {
    let plain = u128::from(active_s) * quote.rates.activeSecond;
    if quote.term.lengthS == 0 {
        return plain;
    }
    let promised = u128::from(active_s.max(quote.term.lengthS)) * quote.term.activeSecond;
    plain.min(promised)
}

/// The price of these active seconds and of the best receipt's other meters.
fn owed(played: &Played, rental: &IRentals::Rental, active_s: u64) -> u128 {
    let rates = &played.quote.rates;
    active_cost(&played.quote, active_s)
        + rental.best.storageGibS * rates.storageGibSecond
        + u128::from(rental.best.trafficB) * rates.trafficByte
}

/// I-4: the split of a closed rental from receipt, claim, close time and reason alone; and the
/// bounds of what the host can gain.
fn ended(played: &Played, rental: &IRentals::Rental) -> Result<(), TestCaseError> {
    let (best, times, money) = (&rental.best, &rental.times, &rental.money);
    let mut storage_claimed = 0;
    let mut active_s = best.activeS;
    match rental.reason {
        Reason::GateFailed => active_s = 0,
        Reason::NotStarted if times.readyAt > 0 => {
            active_s = active_s.max(rental.caps.activeS.min(60));
        }
        Reason::HostStop | Reason::HostFault => active_s = durable(played, rental),
        _ if rental.claim.made && !best.isFinal => {
            let ahead = (30 + best.activeS / 10).min(120);
            let ahead = ahead.min(times.closeAt.saturating_sub(best.at));
            let most = (best.activeS + ahead).min(rental.caps.activeS);
            active_s = active_s.max(rental.claim.activeS.min(most));
            let alone = times.closingEndsAt.saturating_sub(best.at).min(86_400);
            let most = u128::from(rental.caps.storageGib) * u128::from(alone);
            storage_claimed = rental.claim.storageGibS.saturating_sub(best.storageGibS).min(most);
        }
        _ => {}
    }
    prop_assert!(active_s <= best.activeS + 120, "over-payment of active time");
    let price = match rental.reason {
        Reason::GateFailed => 0,
        _ => owed(played, rental, active_s) + storage_claimed * played.quote.rates.storageGibSecond,
    };
    let available = money.deposited + money.successorUsed;
    let fees = |paid: u128| paid * 50_000 / 1_000_000 + paid * 10_000 / 1_000_000;
    if price + fees(price) <= available {
        prop_assert_eq!(money.paid, price, "I-4: paid");
    } else {
        prop_assert!(money.paid <= price, "I-4: paid above the price");
        let next = money.paid + 1;
        prop_assert!(next + fees(next) > available, "I-4: less than the escrow could pay");
    }
    prop_assert_eq!(money.refunded, available - money.paid - fees(money.paid), "I-4: refund");
    let forfeited = match rental.reason {
        Reason::HostStop | Reason::HostFault => {
            let last_day = active_cost(&played.quote, active_s)
                - active_cost(&played.quote, active_s.saturating_sub(86_400));
            (last_day.min(money.paid) / 5).min(played.quote.bond)
        }
        _ => 0,
    };
    prop_assert_eq!(money.forfeited, forfeited, "I-4, I-7: forfeit");
    prop_assert_eq!((money.escrow, money.bond, money.successorFund), (0, 0, 0));
    Ok(())
}

/// I-3: what never falls, and Closed is final.
fn compared(old: &IRentals::Rental, new: &IRentals::Rental) -> Result<(), TestCaseError> {
    if old.phase == Phase::Closed {
        prop_assert_eq!(old, new, "R-12: Closed is final");
    }
    let meters = |one: &IRentals::Rental| {
        let (best, money) = (&one.best, &one.money);
        [
            best.seq.into(),
            best.at.into(),
            best.activeS.into(),
            best.storageGibS,
            best.trafficB.into(),
            best.doneS.into(),
            money.deposited,
            money.paid,
            money.burned,
            money.foundation,
            money.refunded,
            money.successorUsed,
        ]
    };
    for (old, new) in meters(old).into_iter().zip(meters(new)) {
        prop_assert!(new >= old, "I-3: {new} after {old}");
    }
    prop_assert!(u8::from(new.phase) >= u8::from(old.phase), "I-3: the phase went back");
    Ok(())
}
