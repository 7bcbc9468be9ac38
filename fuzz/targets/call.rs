//! Call data of the system contracts, by anybody, with any value, on the genesis state.
#![no_main]

use std::collections::BTreeMap;
use std::sync::LazyLock;

use alloy_primitives::Address;
use libfuzzer_sys::fuzz_target;
use pouw_ledger::{BlockEnv, call, estimate_gas, genesis};
use pouw_types::contracts::{HOSTS, RENTALS};
use pouw_types::{Amount, Network};

static STATE: LazyLock<BTreeMap<Vec<u8>, Vec<u8>>> = LazyLock::new(|| {
    let writes = genesis(Network::devnet());
    writes.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
});

// The first byte chooses contract and value, the rest is call data.
fuzz_target!(|bytes: &[u8]| {
    let Some((choice, data)) = bytes.split_first() else { return };
    let network = Network::devnet();
    let env = BlockEnv {
        network,
        height: 100,
        time_ms: network.genesis_ms + 1_000_000,
        payout: Address::ZERO,
        base_fee: network.min_base_fee,
        subsidy: network.subsidy,
    };
    let to = if choice & 1 == 0 { HOSTS } else { RENTALS };
    let value = if choice & 2 == 0 { Amount::ZERO } else { Amount::from_flux(u64::from(*choice)) };
    let from = network.genesis.first().map_or(Address::ZERO, |funded| funded.address);
    let answer = call(&*STATE, &env, from, to, value, data);
    let state_failed =
        |error: &pouw_ledger::CallError| matches!(error, pouw_ledger::CallError::State(_));
    assert!(!answer.is_err_and(|error| state_failed(&error)), "no input makes the state fail");
    let gas = estimate_gas(&*STATE, &env, from, to, value, data);
    assert!(!gas.is_err_and(|error| state_failed(&error)), "no input makes the state fail");
});
