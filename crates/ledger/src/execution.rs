//! Applying a block: the matured subsidy, the transactions in order, the new subsidy.

use alloy_primitives::Address;
use pouw_types::{Amount, Network};

use crate::book::Book;
use crate::contract::{self, Native};
use crate::gas::native_gas;
use crate::record::{Account, Subsidy};
use crate::revert::{Fault, Revert};
use crate::settlement::Settlement;
use crate::state::{State, StateError, Writes, key};
use crate::transaction::Transaction;

/// An event of a system contract, as Ethereum's logs have it.
pub type Log = alloy_primitives::Log;

/// What a block tells its transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockEnv {
    /// The network's parameters.
    pub network: &'static Network,
    /// Of the block; genesis is 0.
    pub height: u64,
    /// Of the block, Unix milliseconds.
    pub time_ms: u64,
    /// Who gets tips and subsidy.
    pub payout: Address,
    /// What is burned, atto-FLUX a gas.
    pub base_fee: u64,
    /// What the block mints at once; how it was won decides that.
    pub subsidy: Amount,
}

impl BlockEnv {
    /// The time that rules see: Unix seconds, rounded down.
    #[must_use]
    pub const fn time_s(&self) -> u64 {
        self.time_ms / 1_000
    }
}

/// Why a transaction can't be a part of this block; the state is as before.
#[derive(Debug, thiserror::Error)]
pub enum TxError {
    /// Its place is taken.
    #[error("nonce {got} was used already, the next is {expected}")]
    NonceTooLow {
        /// The account's.
        expected: u64,
        /// The transaction's.
        got: u64,
    },
    /// An earlier one is missing.
    #[error("nonce {got} leaves a gap, the next is {expected}")]
    NonceTooHigh {
        /// The account's.
        expected: u64,
        /// The transaction's.
        got: u64,
    },
    /// The account can never send again (EIP-2681).
    #[error("the account's nonces are used up")]
    NonceExhausted,
    /// It doesn't cover what it may use.
    #[error("gas limit {limit} below the {need} that the transaction's bytes cost")]
    IntrinsicGas {
        /// The transaction's.
        limit: u64,
        /// What its form costs.
        need: u64,
    },
    /// It doesn't fit any more.
    #[error("gas limit {limit} above the {left} that are left in the block")]
    BlockGas {
        /// The transaction's.
        limit: u64,
        /// The block's.
        left: u64,
    },
    /// It pays less than what is burned.
    #[error("maximum fee {max} a gas below the base fee {base_fee}")]
    FeeBelowBase {
        /// The transaction's.
        max: u128,
        /// The block's.
        base_fee: u64,
    },
    /// The sender has too little.
    #[error("the sender has {have} FLUX, gas and value may take {need}")]
    InsufficientFunds {
        /// Its balance.
        have: Amount,
        /// Gas limit times maximum fee, and the value.
        need: Amount,
    },
    /// The state can't be read: fatal, and no fault of the transaction.
    #[error("the state failed")]
    State(#[from] StateError),
}

/// What became of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TxReceipt {
    /// `None` where it succeeded; else why it was refused, gas being charged all the same.
    pub revert: Option<String>,
    /// Used by it.
    pub gas_used: u64,
    /// Used by it and all before it in the block.
    pub cumulative_gas_used: u64,
    /// What it paid, atto-FLUX a gas.
    pub effective_gas_price: u128,
    /// Its events, none where it was refused.
    pub logs: Vec<Log>,
}

impl TxReceipt {
    /// Whether it did what it says.
    #[must_use]
    pub const fn success(&self) -> bool {
        self.revert.is_none()
    }
}

/// The result of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Executed {
    /// What changes in the state.
    pub writes: Writes,
    /// One a transaction, in order.
    pub receipts: Vec<TxReceipt>,
    /// By all transactions.
    pub gas_used: u64,
    /// Base fees and rental fees burned in this block.
    pub burned: Amount,
}

/// What a block mints at once or for vested work, for one account.
pub type Minted = (Address, Amount);

/// A block being applied.
#[derive(Debug)]
pub struct Execution<'a, S: ?Sized> {
    book: Book<'a, S>,
    env: BlockEnv,
    receipts: Vec<TxReceipt>,
    gas_used: u64,
    burned_before: Amount,
    settlements: Vec<Settlement>,
}

impl<'a, S: State + ?Sized> Execution<'a, S> {
    /// Starts a block on its parent's state: pays the subsidy that matures with it.
    ///
    /// # Errors
    /// [`StateError`] where the store failed.
    pub fn begin(state: &'a S, env: BlockEnv) -> Result<Self, StateError> {
        let mut book = Book::open(state)?;
        let burned_before = book.totals().burned;
        if let Some(height) = env.height.checked_sub(env.network.maturity_blocks) {
            let key = key::subsidy(height);
            if let Some(Subsidy { payout, amount, vested }) = book.get(&key)? {
                mature(&mut book, key, (payout, amount))?;
                for index in 0..vested {
                    let key = key::vested(height, index);
                    if let Some(Subsidy { payout, amount, .. }) = book.get(&key)? {
                        mature(&mut book, key, (payout, amount))?;
                    }
                }
            }
        }
        Ok(Self {
            book,
            env,
            receipts: Vec::new(),
            gas_used: 0,
            burned_before,
            settlements: Vec::new(),
        })
    }

    /// The block that is applied.
    #[must_use]
    pub const fn env(&self) -> &BlockEnv {
        &self.env
    }

    /// Gas used so far.
    #[must_use]
    pub const fn gas_used(&self) -> u64 {
        self.gas_used
    }

    /// What rentals paid in this block so far, in order.
    #[must_use]
    pub fn settlements(&self) -> &[Settlement] {
        &self.settlements
    }

    /// Applies the next transaction. One that a system contract refuses is a part of the block: it
    /// pays its gas, and its receipt says why.
    ///
    /// # Errors
    /// [`TxError`] where it can't be a part of the block; then nothing has changed.
    pub fn apply(&mut self, tx: &Transaction) -> Result<(), TxError> {
        let price = self.admit(tx)?;
        let mut sender = self.book.account(tx.sender())?;
        sender.nonce = sender.nonce.saturating_add(1);
        self.book.set_account(tx.sender(), sender);

        let native = native_gas(tx.to(), tx.input());
        let needed = tx.intrinsic_gas().saturating_add(native);
        let (gas_used, result) = if needed > tx.gas_limit() {
            let text = format!("gas limit {} below the {needed} of this call", tx.gas_limit());
            (tx.gas_limit(), Err(Revert { rule: "G-2", text }))
        } else {
            (needed, self.transact(tx)?)
        };
        self.charge(tx.sender(), gas_used, price)?;
        let (revert, logs) = match result {
            Ok(logs) => (None, logs),
            Err(revert) => (Some(revert.to_string()), Vec::new()),
        };
        self.gas_used = self.gas_used.saturating_add(gas_used);
        self.receipts.push(TxReceipt {
            revert,
            gas_used,
            cumulative_gas_used: self.gas_used,
            effective_gas_price: price,
            logs,
        });
        Ok(())
    }

    /// Ends the block: the subsidy, and what was vested by its settlements, start to mature.
    ///
    /// # Errors
    /// [`StateError`] where the store failed.
    pub fn finish(mut self, vested: &[Minted]) -> Result<Executed, StateError> {
        let height = self.env.height;
        for (index, (payout, amount)) in (0u32..).zip(vested) {
            self.mint(key::vested(height, index), *payout, *amount, 0)?;
        }
        let (payout, subsidy) = (self.env.payout, self.env.subsidy);
        if !subsidy.is_zero() || !vested.is_empty() {
            let count = u32::try_from(vested.len()).unwrap_or(u32::MAX);
            self.mint(key::subsidy(height), payout, subsidy, count)?;
        }
        // I-1, whatever the block did: a node that would make or lose money stops.
        if !self.book.totals().balance() {
            return Err(StateError::Unbalanced("I-1: what is held is not what was made"));
        }
        let burned = self.book.totals().burned.saturating_sub(self.burned_before);
        Ok(Executed {
            burned,
            writes: self.book.into_writes(),
            receipts: self.receipts,
            gas_used: self.gas_used,
        })
    }

    fn mint(
        &mut self,
        key: Vec<u8>,
        payout: Address,
        amount: Amount,
        vested: u32,
    ) -> Result<(), StateError> {
        self.book.put(key, &Subsidy { payout, amount, vested })?;
        self.book.move_total(|totals| &mut totals.subsidies, amount, Amount::ZERO)?;
        self.book.move_total(|totals| &mut totals.immature, amount, Amount::ZERO)
    }

    /// Whether a transaction can be the next, and what a gas costs it.
    fn admit(&mut self, tx: &Transaction) -> Result<u128, TxError> {
        let Account { nonce, balance } = self.book.account(tx.sender())?;
        let (expected, got) = (nonce, tx.nonce());
        if got < expected {
            return Err(TxError::NonceTooLow { expected, got });
        }
        if got > expected {
            return Err(TxError::NonceTooHigh { expected, got });
        }
        if got == u64::MAX {
            return Err(TxError::NonceExhausted);
        }
        let (limit, need) = (tx.gas_limit(), tx.intrinsic_gas());
        if limit < need {
            return Err(TxError::IntrinsicGas { limit, need });
        }
        let left = self.env.network.block_gas.saturating_sub(self.gas_used);
        if limit > left {
            return Err(TxError::BlockGas { limit, left });
        }
        let base_fee = self.env.base_fee;
        let price = tx
            .effective_gas_price(base_fee)
            .ok_or_else(|| TxError::FeeBelowBase { max: tx.max_fee_per_gas(), base_fee })?;
        let need = tx.max_cost();
        if balance < need {
            return Err(TxError::InsufficientFunds { have: balance, need });
        }
        Ok(price)
    }

    /// Moves the value and runs the call, all of it or nothing.
    fn transact(&mut self, tx: &Transaction) -> Result<Result<Vec<Log>, Revert>, StateError> {
        if !contract::is_contract(tx.to()) {
            if self.book.debit(tx.sender(), tx.value())? {
                self.book.credit(tx.to(), tx.value())?;
            }
            return Ok(Ok(Vec::new()));
        }
        self.book.start();
        let mut native = Native::new(&mut self.book, &self.env, tx.sender(), tx.value());
        let result = native.run(tx.to(), tx.input(), contract::Mode::Transaction);
        let logs = core::mem::take(&mut native.logs);
        let settlements = core::mem::take(&mut native.settlements);
        match result {
            Ok(_) => {
                self.book.keep();
                self.settlements.extend(settlements);
                Ok(Ok(logs))
            }
            Err(Fault::Revert(revert)) => {
                self.book.revert();
                Ok(Err(revert))
            }
            Err(Fault::State(error)) => Err(error),
        }
    }

    /// Takes the gas from the sender: the base fee is burned, the tip goes to the miner.
    fn charge(&mut self, sender: Address, gas: u64, price: u128) -> Result<(), StateError> {
        let out_of_range = |_| StateError::Unbalanced("gas costs above the supply");
        let gas = u128::from(gas);
        let cost = Amount::from_atto(price).checked_mul(gas).map_err(out_of_range)?;
        let base =
            Amount::from_atto(self.env.base_fee.into()).checked_mul(gas).map_err(out_of_range)?;
        if !self.book.debit(sender, cost)? {
            return Err(StateError::Unbalanced("gas that was set aside is gone"));
        }
        self.book.move_total(|totals| &mut totals.burned, base, Amount::ZERO)?;
        self.book.credit(self.env.payout, cost.saturating_sub(base))
    }
}

/// Pays a subsidy whose time has come.
fn mature<S: State + ?Sized>(
    book: &mut Book<'_, S>,
    key: Vec<u8>,
    (payout, amount): Minted,
) -> Result<(), StateError> {
    book.credit(payout, amount)?;
    book.move_total(|totals| &mut totals.immature, Amount::ZERO, amount)?;
    book.delete(key)
}
