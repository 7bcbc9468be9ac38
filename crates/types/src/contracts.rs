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
