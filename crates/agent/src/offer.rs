//! Offers: building, signing, announcing.

use std::net::SocketAddr;

use alloy_primitives::Address;
use pouw_types::contracts::IHosts;
use pouw_types::{Amount, Isolation, Offer};

use crate::agent::Shared;
use crate::config::HostConfig;
use crate::context::Context;
use crate::contract::{ContractError, HostCall};
use crate::machine::KeyError;

/// How long a registration may take to be in a block, in tries of one head each.
const MAX_HEADS: u32 = 60;

/// What this machine offers: what the host decided, less what the engine can't do.
///
/// `seq` is greater than that of any earlier offer.
///
/// # Errors
/// [`KeyError`].
pub(crate) fn build(
    config: &HostConfig,
    context: &Context,
    address: SocketAddr,
    seq: u64,
) -> Result<Offer, KeyError> {
    let now = context.clock.unix_s();
    let info = &context.engine_info;
    let isolation: Vec<Isolation> =
        config.isolation.iter().copied().filter(|one| info.isolation.contains(one)).collect();
    let endpoint = match config.endpoint.as_str() {
        "" => format!("http://{address}"),
        given => given.to_owned(),
    };
    context.machine.sign_offer(Offer {
        version: 1,
        machine: context.machine.id(),
        chain_id: context.network.chain_id,
        seq: seq.max(now),
        issued_at: now,
        available_until: now + config.available_s,
        endpoint,
        units: config.units,
        unit: config.unit,
        arch: arch().to_owned(),
        gpus: Vec::new(),
        isolation,
        egress: config.egress && info.egress,
        floor: config.floor,
        scores: context.listing().scores(),
        signature: alloy_primitives::Bytes::new(),
    })
}

/// The processor architecture as Debian names it.
const fn arch() -> &'static str {
    if cfg!(target_arch = "x86_64") {
        "amd64"
    } else if cfg!(target_arch = "aarch64") {
        "arm64"
    } else {
        std::env::consts::ARCH
    }
}

/// Registers the machine if it is not, and puts the offer's digest on the chain.
///
/// # Errors
/// [`ContractError`].
pub(crate) async fn announce(shared: &Shared, offer: &Offer) -> Result<(), ContractError> {
    let context = &shared.context;
    let (contract, config) = (&context.contract, &shared.config);
    let (machine, operator) = (context.machine.id(), contract.operator());
    let offer_hash = offer.hash();
    let known = contract.machine(machine).await?;
    let call = if known.operator == Address::ZERO {
        let consent = context.machine.consent(operator);
        let or = |address: Address, other| if address == Address::ZERO { other } else { address };
        let payout = or(config.payout, operator);
        let bond = config.bond.checked_mul(config.units.into());
        HostCall::Register {
            machine,
            units: config.units,
            payout,
            miner: or(config.miner, payout),
            offer_hash,
            signature: consent.map_err(|error| ContractError::Refused(error.to_string()))?,
            bond: bond.map_err(|error| ContractError::Refused(error.to_string()))?,
        }
    } else if known.operator != operator {
        let text = format!("machine {machine} is operated by {}, not {operator}", known.operator);
        return Err(ContractError::Refused(text));
    } else if known.offerHash == offer_hash {
        return Ok(());
    } else {
        HostCall::SetOffer { machine, offer_hash }
    };
    execute(shared, call).await
}

/// Brings the machine's bond back to what the host puts at stake, where a fault took from it:
/// without it nobody can rent.
///
/// # Errors
/// [`ContractError`].
pub(crate) async fn keep_bond(
    shared: &Shared,
    known: &IHosts::Machine,
) -> Result<(), ContractError> {
    let config = &shared.config;
    let refused = |error: pouw_types::AmountError| ContractError::Refused(error.to_string());
    // units of a kept rental are free, its bond is not: whoever goes on needs another.
    let wanted = config.bond.checked_mul(config.units.into()).map_err(refused)?;
    let wanted = wanted.checked_add(shared.kept_bond()).map_err(refused)?;
    let machine = shared.context.machine.id();
    match wanted.checked_sub(Amount::from_atto(known.bond)) {
        Ok(amount) if !amount.is_zero() && !known.operator.is_zero() && !known.retired => {
            tracing::warn!(%amount, "the bond is brought back to what is put at stake");
            execute(shared, HostCall::AddBond { machine, amount }).await
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Registers the machine's lane key where another is registered, or none.
///
/// # Errors
/// [`ContractError`].
pub(crate) async fn keep_lane_key(
    shared: &Shared,
    known: &IHosts::Machine,
) -> Result<(), ContractError> {
    let lane_key = shared.config.lane_key;
    if lane_key.is_zero() || known.laneKey == lane_key || known.operator.is_zero() || known.retired
    {
        return Ok(());
    }
    let machine = shared.context.machine.id();
    execute(shared, HostCall::SetLaneKey { machine, lane_key }).await
}

/// Sends a call and returns once it has done its work.
async fn execute(shared: &Shared, call: HostCall) -> Result<(), ContractError> {
    let contract = &shared.context.contract;
    let name = call.name();
    let hash = contract.submit(call).await?;
    let mut head = contract.head().await?;
    for _ in 0..MAX_HEADS {
        match contract.inclusion(hash).await? {
            Some(inclusion) if inclusion.succeeded => return Ok(()),
            Some(inclusion) => {
                return Err(ContractError::Refused(format!("{name}: {}", inclusion.reason)));
            }
            None => head = contract.next_head(head.hash).await?,
        }
    }
    Err(ContractError::Unreachable(format!("{name} {hash} is in no block yet")))
}
