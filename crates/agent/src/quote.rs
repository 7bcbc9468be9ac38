//! What a task costs on this machine: pure.

use alloy_primitives::{Address, B256};
use pouw_spec::{Mineable, Network as TaskNetwork, PricingModel, Task};
use pouw_types::contracts::{Caps, Earns, Factor, Quote, Rates, Term};
use pouw_types::{Amount, Offer, RentalId, RentalRules, Resources};

use crate::config::Tuning;
use crate::receipt;

/// The factors of the active price, until the market moves them: each leaves it unchanged.
const FACTORS: [&str; 6] =
    ["score", "demand", "reputation", "availability", "verification", "model"];
/// A factor that leaves the price unchanged, parts per million.
const UNCHANGED_PPM: u32 = 1_000_000;
/// Seconds that a rental may last beside preparation, run and upload: pauses.
const SLACK_S: u64 = 3_600;
const GIB: u64 = 1 << 30;
const DAY_S: u64 = 86_400;

/// A task can't be quoted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuoteError {
    /// The image is named, not fixed.
    #[error("image {0} is not named by its digest")]
    ImageNotFixed(String),
    /// More than the units have.
    #[error("{units} units have {has} {what}, the task wants {wants}")]
    TooLarge {
        /// How many units were asked for.
        units: u32,
        /// Of what.
        what: &'static str,
        /// How much they have.
        has: u64,
        /// How much is wanted.
        wants: u64,
    },
    /// This machine does not do that.
    #[error("this machine does not offer {0}")]
    NotOffered(&'static str),
    /// Not so many units are free.
    #[error("{wanted} units are wanted, {free} are free")]
    Busy {
        /// How many were asked for.
        wanted: u32,
        /// How many are free.
        free: u32,
    },
    /// A rental that is closing still binds the bond.
    #[error("{wanted} FLUX are put at stake, {free} are free until a rental has closed")]
    BondBound {
        /// What a rental binds.
        wanted: Amount,
        /// What nothing binds.
        free: Amount,
    },
    /// The client wants to pay less.
    #[error("the task allows {allowed} {what}, this machine asks for {asked}")]
    TooDear {
        /// Of what.
        what: &'static str,
        /// What the client allows.
        allowed: Amount,
        /// What the host asks for.
        asked: Amount,
    },
    /// The offer ends before the task would.
    #[error("the task could last until {wanted}, the machine is offered until {until}")]
    TooLong {
        /// Unix seconds.
        wanted: u64,
        /// Unix seconds.
        until: u64,
    },
    /// The price has more digits than money.
    #[error("the price is out of range")]
    Overflow,
}

/// What a quote depends on beside the task.
#[derive(Clone, Debug)]
pub struct Terms<'a> {
    /// What the machine offers.
    pub offer: &'a Offer,
    /// At stake for one unit.
    pub bond: Amount,
    /// The host's delays.
    pub tuning: &'a Tuning,
    /// The network's windows.
    pub rules: &'a RentalRules,
    /// Units that no rental holds.
    pub free_units: u32,
    /// Bond that no rental binds.
    pub free_bond: Amount,
}

/// Prices a task.
///
/// # Errors
/// [`QuoteError`] with the first reason why this machine can't run it.
pub fn price_task(
    terms: &Terms<'_>,
    task: &Task,
    client: Address,
    units: u32,
    continues: Option<RentalId>,
    now_s: u64,
    nonce: u64,
) -> Result<Quote, QuoteError> {
    let digest = task.image.digest();
    let digest = digest.ok_or_else(|| QuoteError::ImageNotFixed(task.image.to_string()))?;
    check_fit(terms, task, units)?;
    let times = |price: Amount| price.checked_mul(units.into()).map_err(|_| QuoteError::Overflow);
    let (wanted, free) = (times(terms.bond)?, terms.free_bond);
    if free < wanted {
        return Err(QuoteError::BondBound { wanted, free });
    }
    let floor = &terms.offer.floor;
    let rates = Rates {
        activeSecond: times(floor.active_second)?.atto(),
        storageGibSecond: times(floor.storage_gib_second)?.atto(),
        trafficByte: times(floor.traffic_byte)?.atto(),
    };
    let caps = Caps {
        activeS: task.limits.time_s,
        storageGib: task.resources.disk_bytes.div_ceil(GIB),
        trafficB: task.limits.traffic_bytes,
        preparationS: terms.tuning.preparation_s,
        uploadS: terms.tuning.upload_s,
    };
    let start_by = now_s + terms.tuning.start_s;
    let end_by =
        start_by.saturating_add(task.limits.time_s).saturating_add(terms.tuning.upload_s + SLACK_S);
    if end_by > terms.offer.available_until {
        return Err(QuoteError::TooLong { wanted: end_by, until: terms.offer.available_until });
    }
    let quote = Quote {
        nonce,
        client,
        machine: terms.offer.machine.get(),
        units,
        specHash: task.hash().get(),
        imageDigest: digest,
        issuedAt: now_s,
        expires: now_s + terms.tuning.quote_s.min(300),
        startBy: start_by,
        endBy: end_by,
        model: match task.pricing.model {
            PricingModel::OnDemand => 0,
            PricingModel::PayAsYouGo => 1,
            PricingModel::Spot => 2,
        },
        earns: match task.mineable {
            Mineable::None => Earns::Credit,
            Mineable::Opening => Earns::Vesting,
        }
        .code(),
        rates,
        caps,
        term: Term { lengthS: 0, activeSecond: 0 },
        refundWindowS: task.refund_window_s(terms.rules),
        bond: times(terms.bond)?.atto(),
        continues: continues.map_or(B256::ZERO, RentalId::get),
        factors: FACTORS.map(|name| Factor { name: name.to_owned(), ppm: UNCHANGED_PPM }).to_vec(),
    };
    check_price(terms.rules, task, &quote)?;
    Ok(quote)
}

fn check_fit(terms: &Terms<'_>, task: &Task, units: u32) -> Result<(), QuoteError> {
    if units == 0 || units > terms.free_units {
        return Err(QuoteError::Busy { wanted: units, free: terms.free_units });
    }
    let (unit, wants) = (&terms.offer.unit, &task.resources);
    let fits = |what, has: fn(&Resources) -> u64| {
        let has_all = has(unit).saturating_mul(units.into());
        if has(wants) <= has_all {
            return Ok(());
        }
        Err(QuoteError::TooLarge { units, what, has: has_all, wants: has(wants) })
    };
    fits("thousandths of a processor", |r| r.cpu_millis)?;
    fits("bytes of memory", |r| r.memory_bytes)?;
    fits("bytes of disk", |r| r.disk_bytes)?;
    fits("GPUs", |r| r.gpus.into())?;
    if !terms.offer.isolation.contains(&task.isolation) {
        return Err(QuoteError::NotOffered("the isolation that the task wants"));
    }
    if task.network == TaskNetwork::Egress && !terms.offer.egress {
        return Err(QuoteError::NotOffered("the internet to tasks"));
    }
    let only = &task.scope.machines;
    if !only.is_empty() && !only.contains(&terms.offer.machine) {
        return Err(QuoteError::NotOffered("itself: the task's scope names other machines"));
    }
    Ok(())
}

fn check_price(rules: &RentalRules, task: &Task, quote: &Quote) -> Result<(), QuoteError> {
    let second = Amount::from_atto(quote.rates.activeSecond);
    if !task.pricing.allows(second) {
        return Err(QuoteError::TooDear {
            what: "an hour",
            allowed: task.pricing.max_hour.unwrap_or_default(),
            asked: second.checked_mul(3_600).map_err(|_| QuoteError::Overflow)?,
        });
    }
    let least = min_deposit(rules, quote);
    match task.limits.cost {
        Some(allowed) if allowed < least => {
            Err(QuoteError::TooDear { what: "in all", allowed, asked: least })
        }
        _ => Ok(()),
    }
}

/// the least deposit that opens a rental.
#[must_use]
pub fn min_deposit(rules: &RentalRules, quote: &Quote) -> Amount {
    let active = quote.caps.activeS.min(600);
    let storage = u128::from(quote.caps.storageGib) * u128::from(DAY_S);
    receipt::total(rules, receipt::price(quote, active, storage, 0))
}

/// The most that a rental can cost the client, without fees: every cap used up.
#[must_use]
pub fn max_price(quote: &Quote) -> Amount {
    let storage =
        u128::from(quote.caps.storageGib) * u128::from(quote.endBy.saturating_sub(quote.issuedAt));
    receipt::price(quote, quote.caps.activeS, storage, quote.caps.trafficB)
}
