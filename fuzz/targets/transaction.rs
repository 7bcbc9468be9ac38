//! Bytes as a user sends them: what decodes has one encoding.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pouw_types::Network;

fuzz_target!(|raw: &[u8]| {
    let chain_id = Network::devnet().chain_id;
    if let Ok(tx) = pouw_ledger::decode_transaction(raw, chain_id) {
        assert_eq!(tx.raw(), raw, "a second encoding of one transaction");
        assert_eq!(tx.length_bytes(), raw.len());
        assert!(tx.max_cost() >= tx.value());
        assert!(tx.effective_gas_price(0).is_some_and(|price| price <= tx.max_fee_per_gas()));
    }
});
