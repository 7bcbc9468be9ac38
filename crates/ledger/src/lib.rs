//! The state machine of pouw: accounts, transactions, machines, rentals and their money.
//!
//! A block's transactions are applied to a state that somebody else stores; the result is a set of
//! writes, a receipt for each transaction, and nothing else. The marketplace is two contracts at
//! fixed addresses, executed natively: there is no byte code and none can be created.
//! `docs/spec/ledger.md` states the rules with their numbers.
//!
//! Not here: storage, blocks and their validity (`chain`, `consensus`), prices (agent, market),
//! clocks, networks, keys.
//!
//! # Entry points
//! [`genesis`] for the first state; [`decode_transaction`] for what users send; [`Execution`] for
//! a block; [`call`] and [`estimate_gas`] for wallets; [`account`] and [`next_base_fee`] for the
//! mempool; [`split::split`] for how a rental's money is divided.
//!
//! # Invariants
//! Supply = genesis + subsidies − burned = balances + escrows + bonds + stakes + pool + immature
//! subsidies, to the atto, after every transaction. Nothing from outside can panic or allocate
//! more than a fixed multiple of its own length. A block costs in proportion to its transactions,
//! however many rentals exist.
#![forbid(unsafe_code)]
#![deny(
    clippy::as_conversions,
    clippy::float_arithmetic,
    clippy::iter_over_hash_type,
    clippy::wildcard_enum_match_arm
)]
#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects, clippy::indexing_slicing))]

mod book;
mod call;
mod codec;
mod contract;
mod execution;
mod flaw;
mod gas;
mod list;
mod record;
mod revert;
mod settlement;
pub mod split;
mod state;
mod transaction;

pub use call::{CallError, call, estimate_gas};
pub use contract::is_contract;
pub use execution::{BlockEnv, Executed, Execution, Log, Minted, TxError, TxReceipt};
pub use gas::{intrinsic_gas, native_gas, next_base_fee};
pub use record::Account;
pub use revert::{Revert, revert_data};
pub use settlement::Settlement;
pub use state::{State, StateError, Writes, account, genesis, machine};
pub use transaction::{
    DecodeError, Envelope, MAX_TRANSACTION_BYTES, Transaction, decode_transaction,
};

#[cfg(test)]
#[expect(clippy::wildcard_enum_match_arm, reason = "a test names the cases that it is about")]
mod tests;
