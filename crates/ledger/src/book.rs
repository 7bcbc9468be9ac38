//! The state while a block is applied: each record read once, changes kept in memory and undone
//! where a call reverts.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use alloy_primitives::Address;
use pouw_types::Amount;

use crate::record::{Account, Record, Totals};
use crate::state::{State, StateError, Writes, key};

#[derive(Clone, Copy, Debug)]
struct Cached {
    account: Account,
    changed: bool,
}

#[derive(Clone, Debug)]
struct Slot {
    value: Option<Vec<u8>>,
    changed: bool,
}

#[derive(Debug)]
enum Undo {
    Account(Address, Cached),
    Slot(Vec<u8>, Slot),
    Totals(Totals),
}

/// A state with changes on top.
pub(crate) struct Book<'a, S: ?Sized> {
    state: &'a S,
    accounts: BTreeMap<Address, Cached>,
    slots: BTreeMap<Vec<u8>, Slot>,
    totals: Totals,
    totals_at_start: Totals,
    undo: Vec<Undo>,
    journaling: bool,
}

impl<S: ?Sized> core::fmt::Debug for Book<'_, S> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Book")
            .field("accounts", &self.accounts.len())
            .field("slots", &self.slots.len())
            .field("totals", &self.totals)
            .finish_non_exhaustive()
    }
}

impl<'a, S: State + ?Sized> Book<'a, S> {
    pub(crate) fn open(state: &'a S) -> Result<Self, StateError> {
        let key = key::totals();
        let totals = state.get(&key)?.map(|bytes| Totals::decode_stored(&key, &bytes));
        let totals = totals.transpose()?.unwrap_or_default();
        Ok(Self {
            state,
            accounts: BTreeMap::new(),
            slots: BTreeMap::new(),
            totals,
            totals_at_start: totals,
            undo: Vec::new(),
            journaling: false,
        })
    }

    /// From here on changes can be undone.
    pub(crate) fn start(&mut self) {
        self.undo.clear();
        self.undo.push(Undo::Totals(self.totals));
        self.journaling = true;
    }

    /// Keeps the changes since [`Book::start`].
    pub(crate) fn keep(&mut self) {
        self.undo.clear();
        self.journaling = false;
    }

    /// Takes the changes since [`Book::start`] back.
    pub(crate) fn revert(&mut self) {
        while let Some(undo) = self.undo.pop() {
            match undo {
                Undo::Account(address, cached) => {
                    self.accounts.insert(address, cached);
                }
                Undo::Slot(key, slot) => {
                    self.slots.insert(key, slot);
                }
                Undo::Totals(totals) => self.totals = totals,
            }
        }
        self.journaling = false;
    }

    pub(crate) fn account(&mut self, address: Address) -> Result<Account, StateError> {
        match self.accounts.entry(address) {
            Entry::Occupied(entry) => Ok(entry.get().account),
            Entry::Vacant(entry) => {
                let account = crate::state::account(&self.state, address)?;
                entry.insert(Cached { account, changed: false });
                Ok(account)
            }
        }
    }

    /// Replaces an account that was read; its balance changes by [`Book::credit`] and
    /// [`Book::debit`] alone, which keep the sum of all.
    pub(crate) fn set_account(&mut self, address: Address, account: Account) {
        let old = self.accounts.insert(address, Cached { account, changed: true });
        if self.journaling {
            let untouched = Cached { account: Account::default(), changed: false };
            self.undo.push(Undo::Account(address, old.unwrap_or(untouched)));
        }
    }

    /// Adds to a balance.
    pub(crate) fn credit(&mut self, address: Address, amount: Amount) -> Result<(), StateError> {
        if amount.is_zero() {
            return Ok(());
        }
        let mut account = self.account(address)?;
        account.balance = account
            .balance
            .checked_add(amount)
            .map_err(|_| StateError::Unbalanced("a balance above the supply"))?;
        self.set_account(address, account);
        self.move_total(|totals| &mut totals.balances, amount, Amount::ZERO)
    }

    /// Takes from a balance; false where it holds less.
    pub(crate) fn debit(&mut self, address: Address, amount: Amount) -> Result<bool, StateError> {
        if amount.is_zero() {
            return Ok(true);
        }
        let mut account = self.account(address)?;
        let Ok(balance) = account.balance.checked_sub(amount) else { return Ok(false) };
        account.balance = balance;
        self.set_account(address, account);
        self.move_total(|totals| &mut totals.balances, Amount::ZERO, amount)?;
        Ok(true)
    }

    pub(crate) const fn totals(&self) -> &Totals {
        &self.totals
    }

    /// Changes one of the sums.
    pub(crate) fn move_total(
        &mut self,
        sum: impl FnOnce(&mut Totals) -> &mut Amount,
        plus: Amount,
        minus: Amount,
    ) -> Result<(), StateError> {
        let sum = sum(&mut self.totals);
        *sum = sum
            .checked_add(plus)
            .and_then(|sum| sum.checked_sub(minus))
            .map_err(|_| StateError::Unbalanced("a network total out of range"))?;
        Ok(())
    }

    pub(crate) fn get<R: Record>(&mut self, key: &[u8]) -> Result<Option<R>, StateError> {
        if !self.slots.contains_key(key) {
            let value = self.state.get(key)?;
            self.slots.insert(key.to_vec(), Slot { value, changed: false });
        }
        let slot = self.slots.get(key).and_then(|slot| slot.value.as_deref());
        slot.map(|bytes| R::decode_stored(key, bytes)).transpose()
    }

    pub(crate) fn put<R: Record>(&mut self, key: Vec<u8>, record: &R) -> Result<(), StateError> {
        self.replace(key, Some(record.encode()))
    }

    pub(crate) fn delete(&mut self, key: Vec<u8>) -> Result<(), StateError> {
        self.replace(key, None)
    }

    fn replace(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) -> Result<(), StateError> {
        let slot = Slot { value, changed: true };
        if !self.journaling {
            self.slots.insert(key, slot);
            return Ok(());
        }
        let old = match self.slots.insert(key.clone(), slot) {
            Some(old) => old,
            None => Slot { value: self.state.get(&key)?, changed: false },
        };
        self.undo.push(Undo::Slot(key, old));
        Ok(())
    }

    /// What changed against the state.
    pub(crate) fn into_writes(self) -> Writes {
        let mut writes = Writes::new();
        for (address, cached) in self.accounts {
            if cached.changed {
                writes.insert(key::account(address), Some(cached.account.encode()));
            }
        }
        for (key, slot) in self.slots {
            if slot.changed {
                writes.insert(key, slot.value);
            }
        }
        if self.totals != self.totals_at_start {
            writes.insert(key::totals(), Some(self.totals.encode()));
        }
        writes
    }
}
