//! The system contracts: their ABI, read from `sol/Pouw.sol`, and their addresses.
//!
//! They are executed natively by `ledger`; there is no byte code. The `.sol` file is the source:
//! a test compiles it with `solc` and compares the ABI with the one generated here.

use alloy_primitives::{Address, address};

pub use self::abi::{
    Caps, Extension, Factor, IHosts, IRentals, Quote, Rates, Receipt, Registration, Stop, Term,
};

#[expect(missing_docs, reason = "generated; documented in the .sol source")]
mod abi {
    alloy_sol_types::sol! {
        #![sol(all_derives)]
        "sol/Pouw.sol"
    }
}

/// Where [`IHosts`] answers.
pub const HOSTS: Address = address!("0000000000000000000000000000000000706f01");
/// Where [`IRentals`] answers.
pub const RENTALS: Address = address!("0000000000000000000000000000000000706f02");

/// How a rental is priced: [`Quote::model`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Model {
    /// A machine is rented; the host may reprice after notice.
    OnDemand = 0,
    /// Tasks are submitted and priced when they start.
    PayAsYouGo = 1,
    /// A bid; the host may preempt after notice.
    Spot = 2,
}

/// What a rental's receipts earn: [`Quote::earns`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Earns {
    /// Credit for lane 2.
    Credit = 0,
    /// Vesting of what the host's blocks of lane 1 still owe it.
    Vesting = 1,
}

impl Earns {
    /// As [`Quote::earns`] has it; `None` for a number that names nothing.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Credit),
            1 => Some(Self::Vesting),
            _ => None,
        }
    }

    /// As [`Quote::earns`] wants it.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Credit => 0,
            Self::Vesting => 1,
        }
    }
}

/// More multiplications than any unit does in a second (a thousand of the fastest processor's cores, or
/// two of the fastest GPUs of 2026): no receipt is believed that claims more.
pub const MAX_UNIT_MACS_A_SECOND: u128 = 1 << 52;

impl Model {
    /// As [`Quote::model`] has it; `None` for a number that names no model.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::OnDemand),
            1 => Some(Self::PayAsYouGo),
            2 => Some(Self::Spot),
            _ => None,
        }
    }

    /// As [`Quote::model`] wants it.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::OnDemand => 0,
            Self::PayAsYouGo => 1,
            Self::Spot => 2,
        }
    }
}
