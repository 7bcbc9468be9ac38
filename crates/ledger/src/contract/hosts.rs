//! `Hosts`: who operates which machine, what it has at stake.

use alloy_primitives::{Address, B256, Bytes};
use pouw_types::Amount;
use pouw_types::contracts::{IHosts, Registration};
use pouw_types::signing::{Signable, recover};

use super::{Mode, Native, returns};
use crate::list::{self, Kind};
use crate::record::Machine;
use crate::revert::{Fault, require};
use crate::state::{State, StateError, key};

impl<S: State + ?Sized> Native<'_, '_, S> {
    pub(super) fn hosts(&mut self, call: IHosts::IHostsCalls, mode: Mode) -> Result<Bytes, Fault> {
        use IHosts::IHostsCalls as C;
        match call {
            C::register(call) => self.register(&call)?,
            C::setUnits(call) => {
                self.change(call.machine, |machine| {
                    require!(call.units > 0, "H-3", "0 units, a machine has at least 1");
                    let open = machine.openUnits;
                    require!(call.units >= open, "H-3", "{} units, {open} are rented", call.units);
                    machine.units = call.units;
                    Ok(())
                })?;
            }
            C::setOperator(call) => self.set_operator(call.machine, call.operator)?,
            C::setPayout(call) => {
                self.change(call.machine, |machine| {
                    require!(!call.payout.is_zero(), "H-2", "the payout address is zero");
                    machine.payout = call.payout;
                    Ok(())
                })?;
            }
            C::setMiner(call) => self.change(call.machine, |machine| {
                machine.miner = call.miner;
                Ok(())
            })?,
            C::setLaneKey(call) => self.change(call.machine, |machine| {
                machine.laneKey = call.laneKey;
                Ok(())
            })?,
            C::setOffer(call) => self.change(call.machine, |machine| {
                machine.offerHash = call.offerHash;
                Ok(())
            })?,
            C::addBond(call) => self.add_bond(call.machine)?,
            C::withdrawBond(call) => {
                self.withdraw_bond(call.machine, Amount::from_atto(call.amount))?;
            }
            C::retire(call) => self.retire(call.machine)?,
            C::machineOf(call) => {
                self.view(mode)?;
                let machine = self.machine(call.machine)?.unwrap_or_default();
                return Ok(returns::<IHosts::machineOfCall>(&machine));
            }
            C::machinesOf(call) => {
                self.view(mode)?;
                let found = list::entries(self.book, Kind::Machines, call.operator)?;
                let found = found.into_iter().map(Address::from_word).collect();
                return Ok(returns::<IHosts::machinesOfCall>(&found));
            }
        }
        Ok(Bytes::new())
    }

    pub(crate) fn machine(&mut self, machine: Address) -> Result<Option<Machine>, StateError> {
        self.book.get(&key::machine(machine))
    }

    pub(crate) fn put_machine(
        &mut self,
        address: Address,
        machine: &Machine,
    ) -> Result<(), StateError> {
        self.book.put(key::machine(address), machine)
    }

    /// The machine, if the caller operates it.
    pub(crate) fn operated(&mut self, machine: Address) -> Result<Machine, Fault> {
        let Some(found) = self.machine(machine)? else {
            return Err(not_registered(machine));
        };
        let operator = found.operator;
        require!(self.caller == operator, "H-2", "only its operator {operator} may do that");
        Ok(found)
    }

    fn change(
        &mut self,
        address: Address,
        edit: impl FnOnce(&mut Machine) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        self.unpaid()?;
        let mut machine = self.operated(address)?;
        edit(&mut machine)?;
        self.put_machine(address, &machine)?;
        self.emit(&IHosts::Changed { machine: address });
        Ok(())
    }

    fn register(&mut self, call: &IHosts::registerCall) -> Result<(), Fault> {
        let address = call.machine;
        require!(self.machine(address)?.is_none(), "H-1", "machine {address} is registered");
        require!(call.units > 0, "H-3", "0 units, a machine has at least 1");
        require!(!call.payout.is_zero(), "H-2", "the payout address is zero");
        let consent = Registration { machine: address, operator: self.caller };
        let signer = recover(consent.digest(self.env.network.chain_id), &call.signature);
        require!(
            signer == Ok(address),
            "H-1",
            "the machine key {address} didn't sign that {} operates it",
            self.caller
        );
        let machine = Machine {
            operator: self.caller,
            payout: call.payout,
            miner: call.miner,
            units: call.units,
            bond: self.value.atto(),
            offerHash: call.offerHash,
            registeredAt: self.now_s(),
            ..Machine::default()
        };
        self.book.move_total(|totals| &mut totals.bonds, self.value, Amount::ZERO)?;
        self.put_machine(address, &machine)?;
        list::append(self.book, Kind::Machines, self.caller, item(address))?;
        let (units, bond) = (machine.units, machine.bond);
        self.emit(&IHosts::Registered { machine: address, operator: self.caller, units, bond });
        Ok(())
    }

    fn set_operator(&mut self, address: Address, operator: Address) -> Result<(), Fault> {
        self.unpaid()?;
        let machine = self.operated(address)?;
        require!(!operator.is_zero(), "H-2", "the new operator is zero");
        list::remove(self.book, Kind::Machines, machine.operator, item(address))?;
        list::append(self.book, Kind::Machines, operator, item(address))?;
        self.put_machine(address, &Machine { operator, ..machine })?;
        self.emit(&IHosts::Changed { machine: address });
        Ok(())
    }

    fn add_bond(&mut self, address: Address) -> Result<(), Fault> {
        let Some(mut machine) = self.machine(address)? else {
            return Err(not_registered(address));
        };
        let bond = Amount::from_atto(machine.bond).checked_add(self.value);
        machine.bond = bond.map_err(|_| StateError::Unbalanced("a bond above the supply"))?.atto();
        self.book.move_total(|totals| &mut totals.bonds, self.value, Amount::ZERO)?;
        self.put_machine(address, &machine)?;
        self.emit(&IHosts::BondChanged { machine: address, bond: machine.bond });
        Ok(())
    }

    fn withdraw_bond(&mut self, address: Address, amount: Amount) -> Result<(), Fault> {
        self.unpaid()?;
        let mut machine = self.operated(address)?;
        let free = free_bond(&machine);
        require!(amount <= free, "H-4", "{amount} FLUX above the free bond of {free} FLUX");
        machine.bond = machine.bond.saturating_sub(amount.atto());
        self.book.move_total(|totals| &mut totals.bonds, Amount::ZERO, amount)?;
        self.book.credit(machine.operator, amount)?;
        self.put_machine(address, &machine)?;
        self.emit(&IHosts::BondChanged { machine: address, bond: machine.bond });
        Ok(())
    }

    fn retire(&mut self, address: Address) -> Result<(), Fault> {
        self.unpaid()?;
        let machine = self.operated(address)?;
        require!(!machine.retired, "H-5", "machine {address} is retired already");
        self.put_machine(address, &Machine { retired: true, ..machine })?;
        self.emit(&IHosts::Retired { machine: address });
        Ok(())
    }
}

/// What no rental holds.
pub(crate) const fn free_bond(machine: &Machine) -> Amount {
    Amount::from_atto(machine.bond.saturating_sub(machine.lockedBond))
}

pub(crate) fn not_registered(machine: Address) -> Fault {
    let text = format!("machine {machine} isn't registered");
    crate::revert::Revert { rule: "H-1", text }.into()
}

fn item(address: Address) -> B256 {
    address.into_word()
}
