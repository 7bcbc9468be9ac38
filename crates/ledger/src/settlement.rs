//! What a settled rental tells whoever counts credit and vesting: the ledger pays it, and how blocks
//! are won by it is none of its business.

use alloy_primitives::{Address, B256};
use pouw_types::Amount;

/// One payment of a rental.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// Which rental.
    pub rental: B256,
    /// The machine that did the work.
    pub machine: Address,
    /// Who is paid for that machine's blocks, as registered when this was settled; zero where
    /// nobody is.
    pub miner: Address,
    /// Whether the receipts vest rewards of lane 1, or else earn credit.
    pub vests: bool,
    /// Burned by this payment.
    pub burned: Amount,
    /// Paid for active time so far, all payments of the rental together.
    pub active_paid: Amount,
    /// Multiplications of the rental's best receipt: all of them so far.
    pub work: u128,
    /// Whether the rental is closed by it: no other will follow.
    pub is_last: bool,
}
