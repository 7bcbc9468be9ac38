//! Calls of the system contracts: from call data to functions, and their surroundings.

mod hosts;
mod rentals;

use alloy_primitives::{Address, Bytes, IntoLogData};
use alloy_sol_types::{SolCall, SolEvent, SolInterface};
use pouw_types::Amount;
use pouw_types::contracts::{HOSTS, IHosts, IRentals, RENTALS};

use crate::book::Book;
use crate::execution::{BlockEnv, Log};
use crate::revert::{Fault, Revert, require};
use crate::settlement::Settlement;
use crate::state::State;

/// Longest call data of a system contract, in bytes: an ABI decoder may copy one tail for each
/// of many offsets that point to it, so what it may allocate grows with the square of this.
const MAX_CALL_BYTES: usize = 8 * 1024;

/// Whether a system contract answers at this address.
#[must_use]
pub fn is_contract(address: Address) -> bool {
    address == HOSTS || address == RENTALS
}

/// What a call may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Views only by `eth_call`: their cost isn't in the gas schedule.
    Transaction,
    /// Views, and dry runs of everything else.
    View,
}

/// A native call.
pub(crate) struct Native<'b, 'a, S: ?Sized> {
    pub(crate) book: &'b mut Book<'a, S>,
    pub(crate) env: &'b BlockEnv,
    pub(crate) caller: Address,
    /// Taken from the caller already; the function that runs has to put it somewhere.
    pub(crate) value: Amount,
    pub(crate) contract: Address,
    pub(crate) logs: Vec<Log>,
    pub(crate) settlements: Vec<Settlement>,
}

impl<'b, 'a, S: State + ?Sized> Native<'b, 'a, S> {
    pub(crate) const fn new(
        book: &'b mut Book<'a, S>,
        env: &'b BlockEnv,
        caller: Address,
        value: Amount,
    ) -> Self {
        Self {
            book,
            env,
            caller,
            value,
            contract: Address::ZERO,
            logs: Vec::new(),
            settlements: Vec::new(),
        }
    }

    /// Decodes and runs; what changed has to be undone by the caller where this fails.
    pub(crate) fn run(&mut self, to: Address, data: &[u8], mode: Mode) -> Result<Bytes, Fault> {
        self.contract = to;
        let length = data.len();
        require!(
            length <= MAX_CALL_BYTES,
            "G-3",
            "{length} bytes of call data, at most {MAX_CALL_BYTES}"
        );
        let paid = self.book.debit(self.caller, self.value)?;
        require!(paid, "G-1", "the sender has less than the value {} FLUX", self.value);
        if to == HOSTS {
            let call = IHosts::IHostsCalls::abi_decode_validate(data).map_err(|_| malformed())?;
            self.hosts(call, mode)
        } else {
            let call =
                IRentals::IRentalsCalls::abi_decode_validate(data).map_err(|_| malformed())?;
            self.rentals(call, mode)
        }
    }

    /// Refuses money that a function doesn't take.
    pub(crate) fn unpaid(&self) -> Result<(), Fault> {
        require!(self.value.is_zero(), "G-3", "this function takes no value");
        Ok(())
    }

    /// Views are for `eth_call`.
    pub(crate) fn view(&self, mode: Mode) -> Result<(), Fault> {
        require!(mode == Mode::View, "G-3", "a view: read it by eth_call");
        self.unpaid()
    }

    pub(crate) fn now_s(&self) -> u64 {
        self.env.time_s()
    }

    pub(crate) fn emit(&mut self, event: &(impl SolEvent + IntoLogData)) {
        self.logs.push(Log { address: self.contract, data: event.to_log_data() });
    }
}

/// The ABI encoding of what a function returns.
pub(crate) fn returns<C: SolCall>(values: &C::Return) -> Bytes {
    C::abi_encode_returns(values).into()
}

fn malformed() -> Revert {
    let text = "no function of this contract, or malformed arguments".to_owned();
    Revert { rule: "G-3", text }
}
