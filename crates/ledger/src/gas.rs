//! What transactions cost: a published schedule, because native calls have no byte code to meter.
//!
//! | what | gas |
//! |---|---|
//! | any transaction | 21,000 |
//! | a zero byte of call data | 4 |
//! | another byte of call data | 16 |
//! | an address in an access list | 2,400 |
//! | a storage key in an access list | 1,900 |
//! | a native call | by function: [`native_gas`] |
//!
//! A native call costs the same whether it succeeds or reverts. One whose limit is too low uses
//! all of it, as in Ethereum.

use alloy_eips::eip2930::AccessList;
use alloy_primitives::Address;
use alloy_sol_types::SolCall;
use pouw_types::Network;
use pouw_types::contracts::{HOSTS, IHosts, IRentals, RENTALS};

use crate::transaction::access_list_counts;

const TRANSACTION: u64 = 21_000;
const ZERO_BYTE: u64 = 4;
const OTHER_BYTE: u64 = 16;
const LISTED_ADDRESS: u64 = 2_400;
const LISTED_KEY: u64 = 1_900;

// Parts of a native call. A record costs what Ethereum asks for writing a slot, a signature what
// its ecrecover costs.
const CALL: u64 = 5_000;
const WRITE: u64 = 5_000;
const CREATE: u64 = 20_000;
const SIGNATURE: u64 = 3_000;
const UNKNOWN: u64 = CALL;

/// EIP-1559: the base fee moves by at most an eighth a block.
const BASE_FEE_CHANGE_DENOMINATOR: u64 = 8;
/// EIP-1559: blocks aim at half of their limit.
const ELASTICITY: u64 = 2;

/// Gas of a transaction before it does anything.
#[must_use]
pub fn intrinsic_gas(input: &[u8], access_list: Option<&AccessList>) -> u64 {
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    let zeros = count(input.iter().filter(|byte| **byte == 0).count());
    let others = count(input.len()).saturating_sub(zeros);
    let (addresses, keys) = access_list_counts(access_list);
    [
        zeros.saturating_mul(ZERO_BYTE),
        others.saturating_mul(OTHER_BYTE),
        count(addresses).saturating_mul(LISTED_ADDRESS),
        count(keys).saturating_mul(LISTED_KEY),
    ]
    .into_iter()
    .fold(TRANSACTION, u64::saturating_add)
}

/// Gas of a call of a system contract beside the intrinsic gas; 0 for any other account.
#[must_use]
pub fn native_gas(to: Address, input: &[u8]) -> u64 {
    let selector = input.first_chunk::<4>().copied();
    let (signatures, creates, writes) = match (to, selector) {
        (HOSTS, Some(selector)) => match hosts_work(selector) {
            Some(work) => work,
            None => return UNKNOWN,
        },
        (RENTALS, Some(selector)) => match rentals_work(selector) {
            Some(work) => work,
            None => return UNKNOWN,
        },
        (HOSTS | RENTALS, None) => return UNKNOWN,
        _ => return 0,
    };
    [(signatures, SIGNATURE), (creates, CREATE), (writes, WRITE)]
        .into_iter()
        .fold(CALL, |sum, (count, price): (u64, u64)| {
            sum.saturating_add(count.saturating_mul(price))
        })
}

/// Signatures recovered, records created, records written.
type Work = (u64, u64, u64);

const fn hosts_work(selector: [u8; 4]) -> Option<Work> {
    Some(match selector {
        IHosts::registerCall::SELECTOR => (1, 2, 3),
        IHosts::setOperatorCall::SELECTOR => (0, 1, 4),
        IHosts::setUnitsCall::SELECTOR
        | IHosts::setPayoutCall::SELECTOR
        | IHosts::setMinerCall::SELECTOR
        | IHosts::setLaneKeyCall::SELECTOR
        | IHosts::setOfferCall::SELECTOR
        | IHosts::retireCall::SELECTOR => (0, 0, 1),
        IHosts::addBondCall::SELECTOR | IHosts::withdrawBondCall::SELECTOR => (0, 0, 3),
        _ => return None,
    })
}

const fn rentals_work(selector: [u8; 4]) -> Option<Work> {
    Some(match selector {
        IRentals::openCall::SELECTOR => (1, 4, 6),
        IRentals::settleCall::SELECTOR => (2, 0, 4),
        IRentals::answerWithReceiptCall::SELECTOR => (2, 0, 5),
        IRentals::extendCall::SELECTOR => (1, 0, 1),
        IRentals::stopCall::SELECTOR => (1, 0, 4),
        IRentals::setSignerCall::SELECTOR => (0, 1, 1),
        IRentals::callCall::SELECTOR | IRentals::answerCall::SELECTOR => (0, 0, 3),
        IRentals::topUpCall::SELECTOR => (0, 0, 3),
        IRentals::closeCall::SELECTOR => (0, 0, 4),
        IRentals::finalizeCall::SELECTOR => (0, 2, 10),
        IRentals::readyCall::SELECTOR
        | IRentals::giveNoticeCall::SELECTOR
        | IRentals::claimCall::SELECTOR => (0, 0, 1),
        _ => return None,
    })
}

/// The base fee of a block, from its parent's (EIP-1559), never below the network's lowest.
///
/// # Units
/// atto-FLUX a gas.
#[must_use]
pub fn next_base_fee(parent_base_fee: u64, parent_gas_used: u64, network: &Network) -> u64 {
    let target = network.block_gas.checked_div(ELASTICITY).unwrap_or_default().max(1);
    let change = |distance: u64| {
        let product = u128::from(parent_base_fee).saturating_mul(distance.into());
        let change = product
            .checked_div(u128::from(target).saturating_mul(BASE_FEE_CHANGE_DENOMINATOR.into()));
        u64::try_from(change.unwrap_or_default()).unwrap_or(u64::MAX)
    };
    let next = match parent_gas_used.checked_sub(target) {
        Some(0) => parent_base_fee,
        Some(above) => parent_base_fee.saturating_add(change(above).max(1)),
        None => parent_base_fee.saturating_sub(change(target.saturating_sub(parent_gas_used))),
    };
    next.max(network.min_base_fee)
}
