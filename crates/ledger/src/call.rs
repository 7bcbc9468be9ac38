//! What wallets ask without a transaction: views, dry runs, the gas of a call.

use alloy_primitives::{Address, Bytes};
use pouw_types::Amount;

use crate::book::Book;
use crate::contract::{self, Mode, Native};
use crate::execution::BlockEnv;
use crate::gas::{intrinsic_gas, native_gas};
use crate::revert::{Fault, Revert, revert_data};
use crate::state::{State, StateError};

/// A call that didn't go through.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// A rule refuses it.
    #[error("{0}")]
    Revert(Revert),
    /// The state can't be read.
    #[error("the state failed")]
    State(#[from] StateError),
}

impl CallError {
    /// What an Ethereum node returns as the revert's data.
    #[must_use]
    pub fn data(&self) -> Bytes {
        match self {
            Self::Revert(revert) => revert_data(&revert.to_string()),
            Self::State(_) => Bytes::new(),
        }
    }
}

/// Answers a view, or tries a call as if it were in the block of `env`, and forgets its changes.
///
/// # Errors
/// [`CallError::Revert`] with the reason that a transaction would get.
pub fn call<S: State + ?Sized>(
    state: &S,
    env: &BlockEnv,
    from: Address,
    to: Address,
    value: Amount,
    data: &[u8],
) -> Result<Bytes, CallError> {
    let mut book = Book::open(state)?;
    if !contract::is_contract(to) {
        if book.account(from)?.balance < value {
            let text = format!("the sender has less than the value {value} FLUX");
            return Err(CallError::Revert(Revert { rule: "G-1", text }));
        }
        return Ok(Bytes::new());
    }
    match Native::new(&mut book, env, from, value).run(to, data, Mode::View) {
        Ok(output) => Ok(output),
        Err(Fault::Revert(revert)) => Err(CallError::Revert(revert)),
        Err(Fault::State(error)) => Err(CallError::State(error)),
    }
}

/// The gas limit that a transaction without access list needs: exact, because gas is by schedule.
///
/// # Errors
/// [`CallError::Revert`] where the transaction would be refused.
pub fn estimate_gas<S: State + ?Sized>(
    state: &S,
    env: &BlockEnv,
    from: Address,
    to: Address,
    value: Amount,
    data: &[u8],
) -> Result<u64, CallError> {
    call(state, env, from, to, value, data)?;
    Ok(intrinsic_gas(data, None).saturating_add(native_gas(to, data)))
}
