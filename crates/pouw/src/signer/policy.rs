//! Which receipts a signer signs for its client. Pure: time and what the chain says are arguments.
//!
//! The ledger checks that a receipt is well-formed; the signer checks what only somebody
//! who was there can: that no more time was charged than has passed since it last looked.

use pouw_types::contracts::{Earns, IRentals, MAX_UNIT_MACS_A_SECOND, Quote, Receipt};
use pouw_types::signing::{Signable, Signed};

/// How far a host's clock may differ from ours, seconds.
const CLOCK_TOLERANCE_S: u64 = 5;

/// What is known of a rental when a receipt comes in.
#[derive(Clone, Debug)]
pub(super) struct Known<'a> {
    /// EIP-155.
    pub(super) chain_id: u64,
    /// The contract's terms.
    pub(super) quote: &'a Quote,
    /// The contract's state at the head.
    pub(super) rental: &'a IRentals::Rental,
    /// What was signed last, with the time of signing (Unix seconds).
    pub(super) last: Option<(&'a Receipt, u64)>,
    /// When the client ordered the end, if it did.
    pub(super) stopped_at: Option<u64>,
}

/// Why a receipt isn't signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// Not the machine's, or altered.
    #[error("the receipt is not signed by the rental's machine")]
    Signature,
    /// The rental is over, or not on the best chain.
    #[error("the rental is not open on the best chain")]
    NotOpen,
    /// A number went back or too far.
    #[error("{field} is {got}, expected {expected}")]
    Field {
        /// Which.
        field: &'static str,
        /// What it is.
        got: u128,
        /// What it may be.
        expected: String,
    },
    /// The client has ended the rental.
    #[error("the client ended the rental at {0}: no later usage is accepted")]
    Stopped(u64),
}

/// Decides on one receipt at time `now` (Unix seconds).
///
/// # Errors
/// [`Refusal`] with the first thing that is wrong.
pub(super) fn check(known: &Known<'_>, receipt: &Signed<Receipt>, now: u64) -> Result<(), Refusal> {
    match receipt.signer(known.chain_id) {
        Ok(signer) if signer == known.quote.machine => {}
        Ok(_) | Err(_) => return Err(Refusal::Signature),
    }
    if receipt.value.rental != known.quote.digest(known.chain_id) {
        return Err(Refusal::Signature);
    }
    let receipt = &receipt.value;
    match known.rental.phase {
        IRentals::Phase::Open | IRentals::Phase::Closing => {}
        IRentals::Phase::None | IRentals::Phase::Closed | IRentals::Phase::__Invalid => {
            return Err(Refusal::NotOpen);
        }
    }
    check_caps(known.quote, receipt)?;
    check_work(known.quote, receipt)?;
    at_most("at", receipt.at, now.saturating_add(CLOCK_TOLERANCE_S))?;
    let zero = Receipt { at: known.quote.issuedAt, ..Receipt::default() };
    let (last, last_seen) = known.last.unwrap_or((&zero, known.rental.times.openedAt));
    check_order(receipt, last)?;
    check_growth(known.quote, receipt, last, now.saturating_sub(last_seen))?;
    match known.stopped_at {
        // Run time counts up to the stop, and never again once something was signed after it.
        // Results still go out, and what is kept costs its storage.
        Some(stop) => {
            let room_s = stop.checked_sub(last_seen).map_or(0, |ran_s| ran_s + CLOCK_TOLERANCE_S);
            let most_s = last.activeS.saturating_add(room_s);
            if receipt.activeS > most_s { Err(Refusal::Stopped(stop)) } else { Ok(()) }
        }
        None => Ok(()),
    }
}

fn check_caps(quote: &Quote, receipt: &Receipt) -> Result<(), Refusal> {
    at_most("activeS", receipt.activeS, quote.caps.activeS)?;
    at_most("trafficB", receipt.trafficB, quote.caps.trafficB)?;
    at_most("doneS", receipt.doneS, receipt.activeS)
}

/// Work counts for rentals whose receipts vest, and as far as any machine could do it. That it was paid
/// for is the chain's to check (C-29).
fn check_work(quote: &Quote, receipt: &Receipt) -> Result<(), Refusal> {
    let vests = Earns::from_code(quote.earns) == Some(Earns::Vesting);
    let seconds = if vests { u128::from(receipt.activeS) } else { 0 };
    let most = MAX_UNIT_MACS_A_SECOND.saturating_mul(seconds).saturating_mul(quote.units.into());
    at_most("workMacs", receipt.workMacs, most)
}

fn check_order(receipt: &Receipt, last: &Receipt) -> Result<(), Refusal> {
    at_least("seq", receipt.seq, last.seq)?;
    at_least("at", receipt.at, last.at)?;
    at_least("activeS", receipt.activeS, last.activeS)?;
    at_least("doneS", receipt.doneS, last.doneS)?;
    at_least("trafficB", receipt.trafficB, last.trafficB)?;
    at_least("storageGibS", receipt.storageGibS, last.storageGibS)?;
    at_least("workMacs", receipt.workMacs, last.workMacs)?;
    if receipt.seq == last.seq && receipt.seq > 0 && receipt != last {
        let expected = format!("above {} for a receipt that differs", last.seq);
        return Err(Refusal::Field { field: "seq", got: receipt.seq.into(), expected });
    }
    Ok(())
}

/// No more time than has passed since the last receipt was signed, by our own clock.
fn check_growth(
    quote: &Quote,
    receipt: &Receipt,
    last: &Receipt,
    passed_s: u64,
) -> Result<(), Refusal> {
    let room_s = passed_s.saturating_add(CLOCK_TOLERANCE_S);
    at_most("activeS", receipt.activeS, last.activeS.saturating_add(room_s))?;
    let storage = u128::from(room_s).saturating_mul(quote.caps.storageGib.into());
    at_most("storageGibS", receipt.storageGibS, last.storageGibS.saturating_add(storage))
}

fn at_most<T: Into<u128>>(field: &'static str, got: T, limit: T) -> Result<(), Refusal> {
    let (got, limit) = (got.into(), limit.into());
    if got > limit {
        return Err(Refusal::Field { field, got, expected: format!("at most {limit}") });
    }
    Ok(())
}

fn at_least<T: Into<u128>>(field: &'static str, got: T, limit: T) -> Result<(), Refusal> {
    let (got, limit) = (got.into(), limit.into());
    if got < limit {
        return Err(Refusal::Field { field, got, expected: format!("at least {limit}") });
    }
    Ok(())
}

/// What the contract says of a rental that isn't there: all zero.
#[cfg(test)]
pub(super) fn unopened() -> IRentals::Rental {
    let zeros = vec![0; 64 * 32];
    <IRentals::Rental as alloy_sol_types::SolValue>::abi_decode(&zeros).unwrap()
}

#[cfg(test)]
mod tests {
    use alloy_signer::SignerSync;
    use alloy_signer_local::PrivateKeySigner;
    use pouw_types::contracts::Caps;

    use super::*;

    struct Scene {
        machine: PrivateKeySigner,
        quote: Quote,
        rental: IRentals::Rental,
        last: Receipt,
    }

    const CHAIN: u64 = 768_902;

    fn scene() -> Scene {
        let machine = PrivateKeySigner::random();
        let caps = Caps { activeS: 3600, storageGib: 2, trafficB: 1000, ..Caps::default() };
        let quote = Quote {
            machine: machine.address(),
            issuedAt: 1000,
            units: 2,
            earns: Earns::Vesting.code(),
            caps,
            ..Quote::default()
        };
        let rental = IRentals::Rental {
            phase: IRentals::Phase::Open,
            times: IRentals::Times { openedAt: 1004, ..IRentals::Times::default() },
            ..unopened()
        };
        let last = Receipt {
            rental: quote.digest(CHAIN),
            seq: 3,
            at: 1100,
            activeS: 50,
            storageGibS: 120,
            trafficB: 10,
            doneS: 40,
            workMacs: 1 << 40,
            ..Receipt::default()
        };
        Scene { machine, quote, rental, last }
    }

    impl Scene {
        fn decide(
            &self,
            change: impl Fn(&mut Receipt),
            stopped_at: Option<u64>,
        ) -> Result<(), Refusal> {
            let mut value = self.last.clone();
            value.seq = 4;
            value.at = 1160;
            value.activeS = 110;
            value.storageGibS = 240;
            change(&mut value);
            let signature = self.machine.sign_hash_sync(&value.digest(CHAIN)).unwrap();
            let signed = Signed { value, signature: signature.as_bytes().to_vec().into() };
            let known = Known {
                chain_id: CHAIN,
                quote: &self.quote,
                rental: &self.rental,
                last: Some((&self.last, 1100)),
                stopped_at,
            };
            check(&known, &signed, 1160)
        }
    }

    #[test]
    fn an_honest_minute_is_signed() {
        assert_eq!(scene().decide(|_| (), None), Ok(()));
    }

    #[test]
    fn a_field_that_goes_back_or_too_far_is_refused_by_name() {
        let check = |change: fn(&mut Receipt), field: &str| {
            let refusal = scene().decide(change, None).unwrap_err();
            assert!(refusal.to_string().starts_with(field), "{refusal}, expected {field}");
        };
        check(|receipt| receipt.seq = 2, "seq");
        check(|receipt| receipt.seq = 3, "seq");
        check(|receipt| receipt.at = 1099, "at");
        check(|receipt| receipt.at = 1166, "at");
        check(|receipt| receipt.activeS = 49, "activeS");
        check(|receipt| receipt.activeS = 116, "activeS");
        check(|receipt| receipt.activeS = 3601, "activeS");
        check(|receipt| receipt.storageGibS = 251, "storageGibS");
        check(|receipt| receipt.trafficB = 1001, "trafficB");
        check(|receipt| receipt.trafficB = 9, "trafficB");
        check(|receipt| receipt.doneS = 39, "doneS");
        check(|receipt| receipt.doneS = 111, "doneS");
        check(|receipt| receipt.workMacs -= 1, "workMacs");
        check(|receipt| receipt.workMacs = 220 * MAX_UNIT_MACS_A_SECOND + 1, "workMacs");
    }

    #[test]
    fn work_is_signed_only_where_receipts_vest() {
        let most = |receipt: &mut Receipt| receipt.workMacs = 220 * MAX_UNIT_MACS_A_SECOND;
        assert_eq!(scene().decide(most, None), Ok(()));
        let mut credit = scene();
        credit.quote.earns = Earns::Credit.code();
        credit.last = Receipt { rental: credit.quote.digest(CHAIN), workMacs: 0, ..credit.last };
        assert_eq!(credit.decide(|_| (), None), Ok(()));
        let refusal = credit.decide(|receipt| receipt.workMacs = 1, None).unwrap_err();
        assert!(refusal.to_string().starts_with("workMacs"), "{refusal}");
    }

    #[test]
    fn only_the_machine_of_an_open_rental_gets_a_signature() {
        let mut other = scene();
        other.machine = PrivateKeySigner::random();
        assert_eq!(other.decide(|_| (), None), Err(Refusal::Signature));
        let foreign = scene().decide(|receipt| receipt.rental = [7; 32].into(), None);
        assert_eq!(foreign, Err(Refusal::Signature));
        let mut closed = scene();
        closed.rental.phase = IRentals::Phase::Closed;
        assert_eq!(closed.decide(|_| (), None), Err(Refusal::NotOpen));
    }

    #[test]
    fn after_a_stop_nothing_more_is_charged_but_the_last_word_can_be_signed() {
        assert_eq!(scene().decide(|_| (), Some(1120)), Err(Refusal::Stopped(1120)));
        assert_eq!(scene().decide(|_| (), Some(1158)), Ok(()));
        let same = |receipt: &mut Receipt| {
            receipt.activeS = 50;
            receipt.isFinal = true;
        };
        assert_eq!(scene().decide(same, Some(1120)), Ok(()));
        // What ran until the stop is paid, though its receipt comes after the grace.
        let ran = |active_s| scene().decide(|receipt| receipt.activeS = active_s, Some(1120));
        assert_eq!((ran(75), ran(76)), (Ok(()), Err(Refusal::Stopped(1120))));
        let again = scene().decide(|receipt| receipt.activeS = 51, Some(1099));
        assert_eq!(again, Err(Refusal::Stopped(1099)), "something was signed after the stop");
        // Results still go out, and what is kept costs its storage.
        let kept = |receipt: &mut Receipt| {
            (receipt.activeS, receipt.trafficB, receipt.storageGibS) = (50, 900, 240);
        };
        assert_eq!(scene().decide(kept, Some(1120)), Ok(()));
    }
}
