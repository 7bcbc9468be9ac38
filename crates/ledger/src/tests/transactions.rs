use alloy_consensus::{SignableTransaction, TxEip1559, TxEip2930, TxLegacy};
use alloy_eips::eip2718::Encodable2718;
use alloy_eips::eip2930::{AccessList, AccessListItem};
use alloy_primitives::{Address, B256, Bytes, Signature, TxKind, U256, hex};
use alloy_signer::SignerSync;
use alloy_signer_local::PrivateKeySigner;
use alloy_sol_types::SolCall;
use pouw_types::contracts::{HOSTS, IHosts, IRentals, RENTALS};
use pouw_types::{Amount, Network};
use proptest::prelude::*;

use super::world::{FLUX, World, party};
use crate::execution::{BlockEnv, Executed, Execution, TxError};
use crate::record::Record;
use crate::state::key;
use crate::transaction::Envelope;
use crate::{
    CallError, MAX_TRANSACTION_BYTES, Transaction, account, call, decode_transaction, estimate_gas,
    native_gas, next_base_fee,
};

const GWEI: u128 = 1_000_000_000;

fn chain_id() -> u64 {
    Network::devnet().chain_id
}

fn transfer(nonce: u64, to: Address, value: u128) -> TxEip1559 {
    TxEip1559 {
        chain_id: chain_id(),
        nonce,
        gas_limit: 21_000,
        max_fee_per_gas: 3 * GWEI,
        max_priority_fee_per_gas: GWEI,
        to: TxKind::Call(to),
        value: U256::from(value),
        access_list: AccessList::default(),
        input: Bytes::new(),
    }
}

fn raw(key: &PrivateKeySigner, tx: impl SignableTransaction<Signature> + Into<Typed>) -> Vec<u8> {
    let signature = key.sign_hash_sync(&tx.signature_hash()).unwrap();
    let envelope = match tx.into() {
        Typed::Legacy(tx) => Envelope::from(tx.into_signed(signature)),
        Typed::Eip2930(tx) => Envelope::from(tx.into_signed(signature)),
        Typed::Eip1559(tx) => Envelope::from(tx.into_signed(signature)),
    };
    envelope.encoded_2718()
}

enum Typed {
    Legacy(TxLegacy),
    Eip2930(TxEip2930),
    Eip1559(TxEip1559),
}

impl From<TxLegacy> for Typed {
    fn from(tx: TxLegacy) -> Self {
        Self::Legacy(tx)
    }
}
impl From<TxEip2930> for Typed {
    fn from(tx: TxEip2930) -> Self {
        Self::Eip2930(tx)
    }
}
impl From<TxEip1559> for Typed {
    fn from(tx: TxEip1559) -> Self {
        Self::Eip1559(tx)
    }
}

fn decoded(key: &PrivateKeySigner, tx: TxEip1559) -> Transaction {
    decode_transaction(&raw(key, tx), chain_id()).unwrap()
}

fn legacy(nonce: u64, to: Address) -> TxLegacy {
    TxLegacy {
        chain_id: Some(chain_id()),
        nonce,
        gas_price: 2 * GWEI,
        gas_limit: 30_000,
        to: TxKind::Call(to),
        value: U256::from(5),
        input: Bytes::new(),
    }
}

#[test]
fn the_three_kinds_of_transaction_decode_to_their_sender_and_hash() {
    let key = party(1);
    let list = AccessList(vec![AccessListItem {
        address: HOSTS,
        storage_keys: vec![B256::ZERO, B256::repeat_byte(1)],
    }]);
    let eip2930 = TxEip2930 {
        chain_id: chain_id(),
        nonce: 3,
        gas_price: GWEI,
        gas_limit: 50_000,
        to: TxKind::Call(HOSTS),
        value: U256::from(9),
        access_list: list,
        input: vec![0, 1].into(),
    };
    let check = |raw: &[u8], nonce, value, intrinsic| {
        let tx = decode_transaction(raw, chain_id()).unwrap();
        assert_eq!(tx.sender(), key.address());
        assert_eq!((tx.nonce(), tx.value().atto()), (nonce, value));
        assert_eq!(tx.intrinsic_gas(), intrinsic);
        assert_eq!(tx.raw(), raw);
        assert_eq!(tx.length_bytes(), raw.len());
        assert_eq!(tx.hash(), alloy_primitives::keccak256(raw));
        assert_eq!(tx.hash(), *tx.envelope().tx_hash());
    };
    check(&raw(&key, legacy(1, HOSTS)), 1, 5, 21_000);
    check(&raw(&key, eip2930), 3, 9, 21_000 + 20 + 2_400 + 3_800);
    check(&raw(&key, transfer(2, HOSTS, 7)), 2, 7, 21_000);
}

#[test]
fn ethereums_published_example_of_eip_155_decodes() {
    // EIP-155, "Example": chain 1, nonce 9, key 0x4646…46.
    let raw = hex!(
        "f86c098504a817c800825208943535353535353535353535353535353535353535880de0b6b3a76400008025
         a028ef61340bd939bc2195fe537567866003e1a15d3c71ff63e1590620aa636276
         a067cbe9d8997f761aecb703304b3800ccf555c9f3dc64214b297fb1966a3b6d83"
    );
    let tx = decode_transaction(&raw, 1).unwrap();
    let key = PrivateKeySigner::from_bytes(&B256::repeat_byte(0x46)).unwrap();
    assert_eq!(tx.sender(), key.address());
    assert_eq!((tx.nonce(), tx.value().atto()), (9, FLUX));
}

#[test]
fn what_is_no_transaction_of_this_chain_is_refused_by_name() {
    let key = party(1);
    let check = |raw: &[u8], part: &str| {
        let error = decode_transaction(raw, chain_id()).unwrap_err().to_string();
        assert!(error.contains(part), "expected `{part}` in `{error}`");
    };
    check(&[], "empty");
    check(&vec![0xc0; MAX_TRANSACTION_BYTES + 1], "at most 131072");
    check(&[3, 0xc0], "type 3 isn't supported");
    check(&[4, 0xc0], "type 4 isn't supported");
    check(&[0, 0xc0], "type 0 isn't supported");
    check(&[0x7f], "type 127 isn't supported");
    check(&[0x80], "malformed");
    check(&[2, 0xc0], "malformed");
    check(&[0xff; 9], "malformed");
    let good = raw(&key, transfer(0, HOSTS, 1));
    check(&[good.as_slice(), &[0]].concat(), "malformed");
    check(&good[..good.len() - 1], "malformed");
    check(&raw(&key, TxLegacy { chain_id: None, ..legacy(0, HOSTS) }), "EIP-155");
    check(&raw(&key, TxEip1559 { chain_id: 1, ..transfer(0, HOSTS, 1) }), "for chain 1");
    let wide = TxEip1559 { value: U256::from(u128::MAX) + U256::from(1), ..transfer(0, HOSTS, 1) };
    check(&raw(&key, wide), "above 2^128 - 1");
    check(&raw(&key, transfer(0, HOSTS, u128::MAX)), "plus value is above 2^128 - 1");
    let costly = TxEip1559 { max_fee_per_gas: u128::MAX, ..transfer(0, HOSTS, 1) };
    check(&raw(&key, costly), "gas limit times price");
    let tip = TxEip1559 { max_priority_fee_per_gas: 4 * GWEI, ..transfer(0, HOSTS, 1) };
    check(&raw(&key, tip), "above the maximum fee");
    check(&raw(&key, TxEip1559 { to: TxKind::Create, ..transfer(0, HOSTS, 1) }), "be created");
}

#[test]
fn a_second_form_of_the_same_signature_is_refused() {
    let key = party(1);
    let tx = transfer(0, HOSTS, 1);
    let signature = key.sign_hash_sync(&tx.signature_hash()).unwrap();
    let order = hex!("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141");
    let order = U256::from_be_bytes(order);
    let high = Signature::new(signature.r(), order - signature.s(), !signature.v());
    let raw = Envelope::from(tx.into_signed(high)).encoded_2718();
    let error = decode_transaction(&raw, chain_id()).unwrap_err();
    assert_eq!(error.to_string(), "invalid transaction signature");
}

proptest! {
    #[test]
    fn decoding_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = decode_transaction(&bytes, chain_id());
        for first in [1, 2, 0xf8, 0xc1] {
            let mut bytes = bytes.clone();
            bytes.insert(0, first);
            let _ = decode_transaction(&bytes, chain_id());
        }
    }

    #[test]
    fn a_damaged_transaction_never_panics_and_a_whole_one_round_trips(
        nonce: u64, value: u128, input in proptest::collection::vec(any::<u8>(), 0..200),
        at: usize, flip in 1..=255u8,
    ) {
        let tx = TxEip1559 { input: input.into(), ..transfer(nonce, HOSTS, value >> 1) };
        let mut bytes = raw(&party(1), tx);
        let whole = decode_transaction(&bytes, chain_id()).unwrap();
        prop_assert_eq!(whole.raw(), bytes.clone());
        let at = at % bytes.len();
        bytes[at] ^= flip;
        if let Ok(other) = decode_transaction(&bytes, chain_id()) {
            prop_assert_eq!(other.raw(), bytes);
            prop_assert_ne!(other.hash(), whole.hash());
        }
    }

    #[test]
    fn call_data_never_panics(
        selector in proptest::sample::select(vec![
            IRentals::openCall::SELECTOR,
            IRentals::settleCall::SELECTOR,
            IRentals::extendCall::SELECTOR,
            IRentals::stopCall::SELECTOR,
            IHosts::registerCall::SELECTOR,
        ]),
        words in proptest::collection::vec(prop_oneof![0u64..2_000, any::<u64>()], 0..60),
    ) {
        let mut data = selector.to_vec();
        for word in words {
            data.extend(U256::from(word).to_be_bytes::<32>());
        }
        let mut world = World::new();
        let by = party(1).address();
        for to in [HOSTS, RENTALS] {
            prop_assert!(world.send_raw(by, to, 0, &data).is_err());
        }
    }
}

fn env(world: &World) -> BlockEnv {
    world.env()
}

/// Applies transactions as one block and checks that the supply is conserved.
fn block(world: &mut World, transactions: &[Transaction]) -> Executed {
    let mut execution = Execution::begin(&world.memory, env(world)).unwrap();
    for tx in transactions {
        execution.apply(tx).unwrap();
    }
    let executed = execution.finish(&[]).unwrap();
    world.write(executed.writes.clone());
    let totals = world.totals();
    let supply = totals.genesis_supply.atto() + totals.subsidies.atto() - totals.burned.atto();
    let held = world.balances()
        + totals.escrows.atto()
        + totals.bonds.atto()
        + totals.stakes.atto()
        + totals.pool.atto()
        + totals.immature.atto();
    assert_eq!(supply, held, "I-1");
    assert_eq!(totals.balances.atto(), world.balances(), "I-1");
    world.height += 1;
    executed
}

#[test]
fn a_transfer_moves_its_value_burns_the_base_fee_and_tips_the_miner() {
    let mut world = World::new();
    let (key, to) = (party(1), party(50).address());
    let before = world.balance(key.address());
    let executed = block(&mut world, &[decoded(&key, transfer(0, to, FLUX))]);
    let receipt = &executed.receipts[0];
    assert!(receipt.success(), "{receipt:?}");
    assert_eq!((receipt.gas_used, receipt.effective_gas_price), (21_000, 2 * GWEI));
    assert_eq!(world.balance(to), FLUX);
    assert_eq!(world.balance(key.address()), before - FLUX - 21_000 * 2 * GWEI);
    assert_eq!(executed.burned.atto(), 21_000 * GWEI);
    assert_eq!(world.balance(party(200).address()), 21_000 * GWEI);
    assert_eq!(account(&world.memory, key.address()).unwrap().nonce, 1);
}

#[test]
fn a_miner_who_pays_itself_keeps_the_books() {
    let mut world = World::new();
    let key = party(1);
    let mut execution =
        Execution::begin(&world.memory, BlockEnv { payout: key.address(), ..env(&world) }).unwrap();
    execution.apply(&decoded(&key, transfer(0, key.address(), FLUX))).unwrap();
    let before = world.balance(key.address());
    world.write(execution.finish(&[]).unwrap().writes);
    assert_eq!(world.balance(key.address()), before - 21_000 * GWEI, "only the base fee is gone");
}

#[test]
fn a_subsidy_matures_after_as_many_blocks_as_the_network_says() {
    let mut world = World::new();
    let (network, miner) = (world.network, party(200).address());
    for height in 1..=network.maturity_blocks {
        assert_eq!(world.height, height);
        block(&mut world, &[]);
        assert_eq!(world.balance(miner), 0, "block {height}");
    }
    assert_eq!(world.totals().immature.atto(), 10 * network.subsidy.atto());
    block(&mut world, &[]);
    assert_eq!(world.balance(miner), network.subsidy.atto());
    assert_eq!(world.totals().immature.atto(), 10 * network.subsidy.atto());
}

#[test]
fn what_is_vested_matures_with_its_blocks_subsidy() {
    let mut world = World::new();
    let maturity = world.network.maturity_blocks;
    let (miner, one, two) = (party(200).address(), party(201).address(), party(202).address());
    let vested = [(one, Amount::from_atto(5)), (two, Amount::from_atto(7)), (one, Amount::ZERO)];
    // A block of lane 2 without reward mints nothing but what others vest in it.
    let env = BlockEnv { subsidy: Amount::ZERO, ..env(&world) };
    let executed = Execution::begin(&world.memory, env).unwrap().finish(&vested).unwrap();
    world.write(executed.writes);
    world.height += 1;
    assert_eq!(world.totals().subsidies.atto(), 12);
    for _ in 1..maturity {
        block(&mut world, &[]);
        assert_eq!((world.balance(one), world.balance(two)), (0, 0));
    }
    block(&mut world, &[]);
    assert_eq!((world.balance(one), world.balance(two), world.balance(miner)), (5, 7, 0));
    let left = world.memory.keys().filter(|key| key.starts_with(b"y")).count();
    assert_eq!(u64::try_from(left).unwrap(), maturity, "nothing of it is left behind");
}

#[test]
fn what_cant_be_in_the_block_changes_nothing() {
    let world = World::new();
    let (key, to) = (party(1), party(50).address());
    let check = |tx: TxEip1559, expected: fn(&TxError) -> bool| {
        let mut execution = Execution::begin(&world.memory, env(&world)).unwrap();
        let error = execution.apply(&decoded(&key, tx)).unwrap_err();
        assert!(expected(&error), "{error}");
        let executed = execution.finish(&[]).unwrap();
        assert!(executed.receipts.is_empty(), "{error}");
        assert_eq!(executed.writes.len(), 2, "subsidy and totals only: {error}");
    };
    check(transfer(1, to, 1), |error| matches!(error, TxError::NonceTooHigh { expected: 0, .. }));
    let low = TxEip1559 { gas_limit: 20_999, ..transfer(0, to, 1) };
    check(low, |error| matches!(error, TxError::IntrinsicGas { need: 21_000, .. }));
    let wide = TxEip1559 { gas_limit: 60_000_001, ..transfer(0, to, 1) };
    check(wide, |error| matches!(error, TxError::BlockGas { left: 60_000_000, .. }));
    let cheap =
        TxEip1559 { max_fee_per_gas: GWEI - 1, max_priority_fee_per_gas: 0, ..transfer(0, to, 1) };
    check(cheap, |error| matches!(error, TxError::FeeBelowBase { .. }));
    let poor = transfer(0, to, 1_000 * FLUX);
    check(poor, |error| matches!(error, TxError::InsufficientFunds { .. }));
    let last = transfer(u64::MAX, to, 1);
    check(last, |error| matches!(error, TxError::NonceTooHigh { .. }));

    let mut execution = Execution::begin(&world.memory, env(&world)).unwrap();
    let tx = decoded(&key, transfer(0, to, 1));
    execution.apply(&tx).unwrap();
    let again = execution.apply(&tx).unwrap_err();
    assert!(matches!(again, TxError::NonceTooLow { expected: 1, got: 0 }), "{again}");
}

#[test]
fn a_refused_call_pays_its_gas_and_says_why() {
    let mut world = World::new();
    let key = party(1);
    let data = IRentals::topUpCall { rental: B256::repeat_byte(1) }.abi_encode();
    let tx =
        TxEip1559 { gas_limit: 200_000, input: data.clone().into(), ..transfer(0, RENTALS, FLUX) };
    let before = world.balance(key.address());
    let executed = block(&mut world, &[decoded(&key, tx)]);
    let receipt = &executed.receipts[0];
    assert!(receipt.revert.as_ref().is_some_and(|why| why.starts_with("R-2: no rental")));
    let gas = u128::from(receipt.gas_used);
    assert_eq!(world.balance(key.address()), before - gas * 2 * GWEI, "the value comes back");
    assert_eq!(receipt.gas_used, crate::intrinsic_gas(&data, None) + native_gas(RENTALS, &data));
    let short = TxEip1559 { gas_limit: 25_000, input: data.into(), ..transfer(1, RENTALS, 1) };
    let executed = block(&mut world, &[decoded(&key, short)]);
    let receipt = &executed.receipts[0];
    assert_eq!(receipt.gas_used, 25_000);
    assert!(receipt.revert.as_ref().is_some_and(|why| why.starts_with("G-2: gas limit 25000")));
}

#[test]
fn eth_call_tries_without_a_trace_and_estimates_exactly() {
    let world = World::new();
    let (by, to) = (party(1).address(), party(50).address());
    let estimate = |to, value, data: &[u8]| {
        estimate_gas(&world.memory, &env(&world), by, to, Amount::from_atto(value), data)
    };
    assert_eq!(estimate(to, 1, &[]).unwrap(), 21_000);
    assert!(estimate(to, 2_000 * FLUX, &[]).is_err());
    let data = IRentals::topUpCall { rental: B256::ZERO }.abi_encode();
    let error = call(&world.memory, &env(&world), by, RENTALS, Amount::ZERO, &data).unwrap_err();
    // Error(string), as Ethereum's clients decode it.
    assert_eq!(error.data()[..4], hex!("08c379a0"));
    assert!(matches!(error, CallError::Revert(_)), "{error}");
    let view = IRentals::totalsCall {}.abi_encode();
    let output = call(&world.memory, &env(&world), by, RENTALS, Amount::ZERO, &view).unwrap();
    let totals = IRentals::totalsCall::abi_decode_returns(&output).unwrap();
    assert_eq!(totals.genesisSupply, world.network.genesis_supply().to_u256());
}

#[test]
fn the_base_fee_follows_eip_1559_and_its_floor() {
    let network = Network::devnet();
    let check = |base, used, expected| {
        assert_eq!(next_base_fee(base, used, network), expected, "{base}, {used}");
    };
    check(8_000_000_000, 30_000_000, 8_000_000_000);
    check(8_000_000_000, 60_000_000, 9_000_000_000);
    check(8_000_000_000, 0, 7_000_000_000);
    check(8_000_000_000, 30_000_001, 8_000_000_033);
    check(1_000_000_000, 0, 1_000_000_000);
    check(u64::MAX, 60_000_000, u64::MAX);
}

#[test]
fn i_1_a_block_on_books_that_do_not_balance_is_not_made() {
    let mut world = World::new();
    block(&mut world, &[]);
    let mut totals = world.totals();
    totals.pool = totals.pool.checked_add(Amount::from_atto(1)).unwrap();
    world.write([(key::totals(), Some(totals.encode()))].into());
    let execution = Execution::begin(&world.memory, env(&world)).unwrap();
    let error = execution.finish(&[]).unwrap_err();
    assert!(error.to_string().contains("I-1"), "{error}");
}
