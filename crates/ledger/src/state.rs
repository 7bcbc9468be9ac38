//! What the ledger needs of a store, and the keys under which it keeps its records.
//!
//! | key | value |
//! |---|---|
//! | `a` address | account |
//! | `t` | sums over the whole network |
//! | `y` height | the subsidy of that block, until it matures |
//! | `y` height index | what that block minted for vested work, until it matures |
//! | `m` machine | machine |
//! | `r` rental | rental |
//! | `q` rental | its quote |
//! | `w` rental signer | until when an earlier signer's receipts count |
//! | `k` party | marks (R-15) |
//! | `l` list owner | head, tail and length of a list |
//! | `n` list owner item | an item's neighbours in it |

use std::collections::BTreeMap;

use alloy_primitives::{Address, B256};
use pouw_types::Network;
use pouw_types::contracts::IHosts;

use crate::record::{Account, Record, Totals};

/// Reads the state that a block builds on.
///
/// # Errors
/// [`StateError`] means that the store failed, which is fatal; what is absent is `None`.
pub trait State {
    /// The value under a key.
    ///
    /// # Errors
    /// [`StateError`] where the store failed.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StateError>;
}

impl<S: State + ?Sized> State for &S {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        (**self).get(key)
    }
}

/// A state in memory.
impl State for BTreeMap<Vec<u8>, Vec<u8>> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        Ok(Self::get(self, key).cloned())
    }
}

/// What a block changes: `None` deletes.
pub type Writes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// The state can't be read; the node has to stop.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The store failed.
    #[error("the state store failed")]
    Store(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A stored record can't be one.
    #[error("the state holds no valid {what} under key {key}: restore the data folder")]
    Corrupt {
        /// Which kind of record was expected.
        what: &'static str,
        /// Where, in hex.
        key: String,
    },
    /// The books don't balance, which no input can cause.
    #[error("the state's books don't balance: {0}")]
    Unbalanced(&'static str),
}

/// The state before the first block.
#[must_use]
pub fn genesis(network: &Network) -> Writes {
    let mut writes = Writes::new();
    for funded in network.genesis {
        let account = Account { nonce: 0, balance: funded.amount };
        writes.insert(key::account(funded.address), Some(account.encode()));
    }
    let supply = network.genesis_supply();
    let totals = Totals { genesis_supply: supply, balances: supply, ..Totals::default() };
    writes.insert(key::totals(), Some(totals.encode()));
    writes
}

/// An account; one that was never used is empty.
///
/// # Errors
/// [`StateError`] where the store failed.
pub fn account(state: &impl State, address: Address) -> Result<Account, StateError> {
    let key = key::account(address);
    state
        .get(&key)?
        .map_or_else(|| Ok(Account::default()), |bytes| Account::decode_stored(&key, &bytes))
}

/// A machine, as `Hosts.machineOf` shows it; `None` where it was never registered.
///
/// # Errors
/// [`StateError`] where the store failed.
pub fn machine(
    state: &impl State,
    machine: Address,
) -> Result<Option<IHosts::Machine>, StateError> {
    let key = key::machine(machine);
    state.get(&key)?.map(|bytes| IHosts::Machine::decode_stored(&key, &bytes)).transpose()
}

/// The keys of the table above.
pub(crate) mod key {
    use super::{Address, B256};

    fn join(table: u8, parts: &[&[u8]]) -> Vec<u8> {
        let length = parts.iter().map(|part| part.len()).fold(1usize, usize::saturating_add);
        let mut key = Vec::with_capacity(length);
        key.push(table);
        for part in parts {
            key.extend_from_slice(part);
        }
        key
    }

    pub(crate) fn account(address: Address) -> Vec<u8> {
        join(b'a', &[address.as_slice()])
    }

    pub(crate) fn totals() -> Vec<u8> {
        join(b't', &[])
    }

    pub(crate) fn subsidy(height: u64) -> Vec<u8> {
        join(b'y', &[&height.to_be_bytes()])
    }

    pub(crate) fn vested(height: u64, index: u32) -> Vec<u8> {
        join(b'y', &[&height.to_be_bytes(), &index.to_be_bytes()])
    }

    pub(crate) fn machine(machine: Address) -> Vec<u8> {
        join(b'm', &[machine.as_slice()])
    }

    pub(crate) fn rental(id: B256) -> Vec<u8> {
        join(b'r', &[id.as_slice()])
    }

    pub(crate) fn quote(id: B256) -> Vec<u8> {
        join(b'q', &[id.as_slice()])
    }

    pub(crate) fn earlier_signer(id: B256, signer: Address) -> Vec<u8> {
        join(b'w', &[id.as_slice(), signer.as_slice()])
    }

    pub(crate) fn marks(party: Address) -> Vec<u8> {
        join(b'k', &[party.as_slice()])
    }

    pub(crate) fn list(kind: u8, owner: Address) -> Vec<u8> {
        join(b'l', &[&[kind], owner.as_slice()])
    }

    pub(crate) fn list_item(kind: u8, owner: Address, item: B256) -> Vec<u8> {
        join(b'n', &[&[kind], owner.as_slice(), item.as_slice()])
    }
}
