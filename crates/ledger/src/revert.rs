//! Why a native call was refused.

use core::fmt;

use alloy_primitives::Bytes;
use alloy_sol_types::{Revert as SolidityRevert, SolError};

use crate::state::StateError;

/// A native call broke a rule; nothing of it took place.
///
/// Reads as the rule's number and what would be right:
/// `R-3: deposit 5 FLUX below the minimum 7 FLUX`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revert {
    /// The rule's number, as in `docs/spec/ledger.md`.
    pub rule: &'static str,
    /// What is wrong and what would be right.
    pub text: String,
}

impl fmt::Display for Revert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule, self.text)
    }
}

impl core::error::Error for Revert {}

/// What a call returns where it reverts: the ABI encoding of `Error(string)`.
#[must_use]
pub fn revert_data(reason: &str) -> Bytes {
    SolidityRevert::from(reason).abi_encode().into()
}

/// A native call's way out: refused, or the state failed.
#[derive(Debug)]
pub(crate) enum Fault {
    Revert(Revert),
    State(StateError),
}

impl From<StateError> for Fault {
    fn from(error: StateError) -> Self {
        Self::State(error)
    }
}

impl From<Revert> for Fault {
    fn from(revert: Revert) -> Self {
        Self::Revert(revert)
    }
}

/// Refuses unless the condition holds: `require!(cond, "R-3", "deposit {} below …", …)`.
macro_rules! require {
    ($condition:expr, $rule:literal, $($text:tt)+) => {
        if !$condition {
            return Err($crate::revert::Revert { rule: $rule, text: format!($($text)+) }.into());
        }
    };
}
pub(crate) use require;
