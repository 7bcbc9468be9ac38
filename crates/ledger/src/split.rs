//! How a rental's money is divided: pure arithmetic over the quote, the best receipt, the claim
//! and the close (R-6, R-7, R-11, R-12).
//!
//! ```text
//!             settle(receipt)…            finalize
//!  escrow ──► prefix of the split ──────► the split
//!             max(done, active − W)       reason pays all:  full meters, claim
//!             + storage + traffic         reason is a fault: the prefix, and a forfeit
//! ```
//!
//! What settling pays is a part of what any close would pay, so when and how often somebody
//! settles changes nothing in the end (I-4).

use alloy_primitives::U256;
use pouw_types::contracts::IRentals::Reason;
use pouw_types::contracts::{Caps, Quote, Rates, Receipt, Term};
use pouw_types::{Amount, RentalRules};

use crate::flaw::{self, Flaw};

/// R-12: the span that a forfeit looks at and a successor's price difference is paid for, seconds.
pub const DAY_S: u64 = 86_400;
/// R-10: what a machine that was ready gets although nobody started, seconds.
const READY_S: u64 = 60;
/// R-12: the forfeit is the fifth part.
const FORFEIT_DIVISOR: u128 = 5;
const MILLION: u128 = 1_000_000;

/// What a rental's split depends on beside its receipts and its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Prices.
    pub rates: Rates,
    /// The price for a promised length, if any.
    pub term: Term,
    /// The caps in force.
    pub caps: Caps,
    /// Seconds since which everything counts.
    pub issued_at: u64,
    /// W, seconds.
    pub refund_window_s: u64,
    /// What the host can forfeit.
    pub bond: Amount,
    /// Burned on top of the price.
    pub burn_ppm: u32,
    /// The foundation's, on top of the price.
    pub foundation_ppm: u32,
    /// Whether ready was posted.
    pub ready: bool,
    /// All deposits.
    pub deposited: Amount,
    /// What a predecessor's forfeit brought (R-12).
    pub fund: Amount,
    /// By how much an active second costs more than in that predecessor.
    pub fund_rate: Amount,
}

impl Terms {
    /// Of a fresh rental: nothing deposited, not ready, no fund.
    #[must_use]
    pub fn new(quote: &Quote, rules: &RentalRules) -> Self {
        Self {
            rates: quote.rates.clone(),
            term: quote.term.clone(),
            caps: quote.caps.clone(),
            issued_at: quote.issuedAt,
            refund_window_s: quote.refundWindowS.into(),
            bond: Amount::from_atto(quote.bond),
            burn_ppm: rules.burn_ppm,
            foundation_ppm: rules.foundation_ppm,
            ready: false,
            deposited: Amount::ZERO,
            fund: Amount::ZERO,
            fund_rate: Amount::ZERO,
        }
    }
}

/// How and when a rental began to close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Close {
    /// Why.
    pub reason: Reason,
    /// Unix seconds.
    pub at: u64,
    /// When Closing ends if no final receipt ends it before, Unix seconds.
    pub ends_at: u64,
}

/// What is billed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Meters {
    /// Seconds.
    pub active_s: u64,
    /// GiB·s.
    pub storage_gib_s: u128,
    /// Bytes.
    pub traffic_b: u64,
}

/// Cumulative payments of a rental.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Payment {
    /// To the host.
    pub paid: Amount,
    /// The part of it for active time; where funds are short, that is paid first.
    pub active: Amount,
    /// Burned.
    pub burned: Amount,
    /// To the foundation.
    pub foundation: Amount,
    /// How much of the sum the successor's fund carries, in the client's place.
    pub from_fund: Amount,
}

impl Payment {
    /// What leaves escrow and fund.
    #[must_use]
    pub fn total(&self) -> Amount {
        let total =
            self.paid.checked_add(self.burned).and_then(|sum| sum.checked_add(self.foundation));
        total.unwrap_or(Amount::MAX)
    }
}

/// The end of a rental's money.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Split {
    /// What is billed.
    pub meters: Meters,
    /// Who gets what of it.
    pub payment: Payment,
    /// Back to the client.
    pub refund: Amount,
    /// From the host's bond.
    pub forfeited: Amount,
}

/// What a reason pays (R-10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pays {
    /// The full meters, and a claim.
    All,
    /// Nothing.
    Nothing,
    /// Nothing, or a minute where ready was posted; a receipt proves more.
    NotStarted,
    /// To the last durable checkpoint, with a forfeit.
    Fault,
}

/// R-10's last column.
#[must_use]
pub const fn pays(reason: Reason) -> Pays {
    match reason {
        Reason::GateFailed => Pays::Nothing,
        Reason::NotStarted => Pays::NotStarted,
        Reason::HostStop | Reason::HostFault => Pays::Fault,
        Reason::ClientStop
        | Reason::Completed
        | Reason::Limit
        | Reason::OutOfFunds
        | Reason::EndBy
        | Reason::ClientSilent
        | Reason::Preempted
        | Reason::Repriced
        | Reason::None
        | Reason::__Invalid => Pays::All,
    }
}

/// R-6: how far a host may run ahead of a receipt with this many active seconds.
#[must_use]
pub fn ahead_s(active_s: u64) -> u64 {
    if flaw::is(Flaw::AheadUnlimited) {
        return u64::MAX;
    }
    active_s.checked_div(10).unwrap_or_default().saturating_add(30).min(120)
}

/// R-7: the price of this many active seconds, the term's discount included.
#[must_use]
pub fn active_cost(rates: &Rates, term: &Term, active_s: u64) -> U256 {
    let plain = product(active_s.into(), rates.activeSecond);
    if term.lengthS == 0 {
        return plain;
    }
    plain.min(product(active_s.max(term.lengthS).into(), term.activeSecond))
}

/// The price of what was metered, without fees.
#[must_use]
pub fn price(terms: &Terms, meters: &Meters) -> U256 {
    active_cost(&terms.rates, &terms.term, meters.active_s)
        .saturating_add(product(meters.storage_gib_s, terms.rates.storageGibSecond))
        .saturating_add(product(meters.traffic_b.into(), terms.rates.trafficByte))
}

/// R-3: the smallest deposit that opens a rental.
#[must_use]
pub fn minimum_deposit(terms: &Terms) -> Amount {
    let meters = Meters {
        active_s: terms.caps.activeS.min(600),
        storage_gib_s: product(terms.caps.storageGib.into(), DAY_S.into()).saturating_to(),
        traffic_b: 0,
    };
    with_fees(terms, amount(price(terms, &meters)))
}

/// A price with its fees on top.
#[must_use]
pub fn with_fees(terms: &Terms, price: Amount) -> Amount {
    let fees = price.ppm(terms.burn_ppm).checked_add(price.ppm(terms.foundation_ppm));
    fees.and_then(|fees| fees.checked_add(price)).unwrap_or(Amount::MAX)
}

/// Whether deposits and fund no longer cover the next minute, one receipt's period (R-10).
#[must_use]
pub fn is_out_of_funds(terms: &Terms, best: &Receipt) -> bool {
    const PERIOD_S: u64 = 60;
    let storage = product(terms.caps.storageGib.into(), PERIOD_S.into()).saturating_to();
    let meters = Meters {
        active_s: best.activeS.saturating_add(PERIOD_S).min(terms.caps.activeS),
        storage_gib_s: best.storageGibS.saturating_add(storage),
        traffic_b: best.trafficB,
    };
    let fund = from_fund(terms, meters.active_s);
    let available = terms.deposited.checked_add(fund).unwrap_or(Amount::MAX);
    with_fees(terms, amount(price(terms, &meters))) > available
}

/// What settling pays before anybody knows how the rental ends (R-7).
#[must_use]
pub fn settled(terms: &Terms, best: Option<&Receipt>, reason: Reason) -> Payment {
    match (best, pays(reason)) {
        (None, _) | (_, Pays::Nothing) => Payment::default(),
        (Some(best), Pays::All | Pays::NotStarted | Pays::Fault) => {
            pay(terms, &durable(terms, best))
        }
    }
}

/// How a rental ends.
#[must_use]
pub fn split(
    terms: &Terms,
    best: Option<&Receipt>,
    claim: Option<&Meters>,
    close: &Close,
) -> Split {
    let full = best.map(full).unwrap_or_default();
    let meters = match pays(close.reason) {
        Pays::Nothing => Meters::default(),
        Pays::NotStarted => {
            let ready = if terms.ready { READY_S.min(terms.caps.activeS) } else { 0 };
            Meters { active_s: full.active_s.max(ready), ..full }
        }
        Pays::Fault if flaw::is(Flaw::ClaimOnFault) => claimed(terms, best, claim, close),
        Pays::Fault => best.map(|best| durable(terms, best)).unwrap_or_default(),
        Pays::All => claimed(terms, best, claim, close),
    };
    let payment = pay(terms, &meters);
    let available = terms.deposited.checked_add(payment.from_fund).unwrap_or(Amount::MAX);
    let forfeited = match pays(close.reason) {
        Pays::Fault => forfeit(terms, &meters, payment.paid),
        Pays::All | Pays::Nothing | Pays::NotStarted => Amount::ZERO,
    };
    Split { meters, payment, refund: available.saturating_sub(payment.total()), forfeited }
}

/// R-11: the most that a claim can say. `None` where there is nothing to claim: no receipt, the
/// final one, or a reason that doesn't pay all.
#[must_use]
pub fn claim_limit(terms: &Terms, best: Option<&Receipt>, close: &Close) -> Option<Meters> {
    let best = best.filter(|best| !best.isFinal)?;
    let allowed = pays(close.reason) == Pays::All
        || (flaw::is(Flaw::ClaimOnFault) && pays(close.reason) == Pays::Fault);
    if !allowed {
        return None;
    }
    let ahead = ahead_s(best.activeS).min(close.at.saturating_sub(best.at));
    let alone = close.ends_at.saturating_sub(best.at).min(DAY_S);
    let storage: u128 = product(terms.caps.storageGib.into(), alone.into()).saturating_to();
    Some(Meters {
        active_s: best.activeS.saturating_add(ahead).min(terms.caps.activeS),
        storage_gib_s: best.storageGibS.saturating_add(storage),
        traffic_b: best.trafficB,
    })
}

/// The full meters, raised by what is valid of a claim. A claim that was within its limit when it
/// was made is limited again here, so that a receipt settled later counts as if it had come first.
fn claimed(terms: &Terms, best: Option<&Receipt>, claim: Option<&Meters>, close: &Close) -> Meters {
    let full = best.map(full).unwrap_or_default();
    match (claim_limit(terms, best, close), claim) {
        (Some(limit), Some(claim)) => Meters {
            active_s: full.active_s.max(claim.active_s.min(limit.active_s)),
            storage_gib_s: full.storage_gib_s.max(claim.storage_gib_s.min(limit.storage_gib_s)),
            traffic_b: full.traffic_b,
        },
        (None, _) | (_, None) => full,
    }
}

const fn full(best: &Receipt) -> Meters {
    Meters { active_s: best.activeS, storage_gib_s: best.storageGibS, traffic_b: best.trafficB }
}

/// The active seconds that no fault can take back: what is durable, or older than W.
fn durable(terms: &Terms, best: &Receipt) -> Meters {
    if flaw::is(Flaw::SettlePaysAll) {
        return full(best);
    }
    let active_s = best.activeS.saturating_sub(terms.refund_window_s).max(best.doneS);
    Meters { active_s, ..full(best) }
}

/// Divides a price between host, burn and foundation, within what there is.
fn pay(terms: &Terms, meters: &Meters) -> Payment {
    let from_fund = from_fund(terms, meters.active_s);
    let available = terms.deposited.checked_add(from_fund).unwrap_or(Amount::MAX);
    let paid = amount(price(terms, meters)).min(affordable(terms, available));
    let active = amount(active_cost(&terms.rates, &terms.term, meters.active_s));
    let mut payment = Payment {
        paid,
        active: active.min(paid),
        burned: paid.ppm(terms.burn_ppm),
        foundation: paid.ppm(terms.foundation_ppm),
        from_fund,
    };
    payment.from_fund = from_fund.min(payment.total());
    payment
}

/// The greatest price whose fees fit beside it into what there is.
fn affordable(terms: &Terms, available: Amount) -> Amount {
    let parts =
        MILLION.saturating_add(terms.burn_ppm.into()).saturating_add(terms.foundation_ppm.into());
    let scaled = U256::from(available.atto()).saturating_mul(U256::from(MILLION));
    let mut best = amount(scaled.checked_div(U256::from(parts)).unwrap_or_default());
    // Each of the two fees is rounded down, which leaves room for at most two atto more.
    for _ in 0..2 {
        match best.checked_add(Amount::from_atto(1)) {
            Ok(next) if with_fees(terms, next) <= available => best = next,
            Ok(_) | Err(_) => break,
        }
    }
    best
}

/// R-12: the fund pays the price difference of a day's active seconds, no more than they cost.
fn from_fund(terms: &Terms, active_s: u64) -> Amount {
    if terms.fund.is_zero() {
        return Amount::ZERO;
    }
    let difference = product(active_s.min(DAY_S).into(), terms.fund_rate.atto());
    let cost = active_cost(&terms.rates, &terms.term, active_s);
    amount(difference.min(cost)).min(terms.fund)
}

/// R-12: a fifth of what the last paid day cost, at most the bond.
fn forfeit(terms: &Terms, meters: &Meters, paid: Amount) -> Amount {
    let cost = |active_s| active_cost(&terms.rates, &terms.term, active_s);
    let before = meters.active_s.saturating_sub(DAY_S);
    let last_day = cost(meters.active_s).saturating_sub(cost(before));
    // Where the escrow was short, less was paid than the seconds cost.
    let base = amount(last_day).min(paid);
    let part = base.atto().checked_div(FORFEIT_DIVISOR).unwrap_or_default();
    if flaw::is(Flaw::ForfeitAboveBond) {
        return Amount::from_atto(part);
    }
    Amount::from_atto(part).min(terms.bond)
}

fn product(count: u128, rate: u128) -> U256 {
    // Two 128-bit factors fit into 256 bits.
    U256::from(count).saturating_mul(U256::from(rate))
}

/// More than any amount is as good as the greatest: no deposit reaches it.
fn amount(value: U256) -> Amount {
    Amount::from_atto(value.saturating_to())
}
