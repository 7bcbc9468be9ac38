//! The records that the state is made of, and their encoding.
//!
//! Machines, rentals and quotes are kept as the ABI shows them; `docs/spec/ledger.md` lists the
//! fields. A test pins the bytes of each.

use alloy_primitives::{Address, B256, hex};
use pouw_types::Amount;
use pouw_types::contracts::{Caps, Factor, IHosts, IRentals, Quote, Rates, Receipt, Term};

use crate::codec::{Field, Reader, Writer, fields};
use crate::state::StateError;

/// A value under a key of the state.
pub(crate) trait Record: Field {
    /// For messages.
    const WHAT: &'static str;

    fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(64);
        writer.put(self);
        writer.finish()
    }

    fn decode_stored(key: &[u8], bytes: &[u8]) -> Result<Self, StateError> {
        let mut reader = Reader::new(bytes);
        match reader.take() {
            Some(record) if reader.is_empty() => Ok(record),
            Some(_) | None => Err(StateError::Corrupt { what: Self::WHAT, key: hex::encode(key) }),
        }
    }
}

/// An account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// How many transactions it has sent.
    pub nonce: u64,
    /// What it can spend.
    pub balance: Amount,
}

fields!(Account { nonce, balance });
impl Record for Account {
    const WHAT: &'static str = "account";
}

/// The terms of the supply equation I-1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) genesis_supply: Amount,
    pub(crate) subsidies: Amount,
    pub(crate) immature: Amount,
    pub(crate) burned: Amount,
    pub(crate) escrows: Amount,
    pub(crate) bonds: Amount,
    pub(crate) stakes: Amount,
    pub(crate) pool: Amount,
    /// What all accounts hold together.
    pub(crate) balances: Amount,
}

impl Totals {
    /// I-1: what was made and not burned is what is held.
    pub(crate) fn balance(&self) -> bool {
        let held = [self.balances, self.escrows, self.bonds, self.stakes, self.pool, self.immature];
        let held = held.into_iter().try_fold(Amount::ZERO, Amount::checked_add);
        let made = self.genesis_supply.checked_add(self.subsidies);
        let supply = made.and_then(|made| made.checked_sub(self.burned));
        matches!((held, supply), (Ok(held), Ok(supply)) if held == supply)
    }
}

fields!(Totals {
    genesis_supply,
    subsidies,
    immature,
    burned,
    escrows,
    bonds,
    stakes,
    pool,
    balances
});
impl Record for Totals {
    const WHAT: &'static str = "network totals";
}

/// A subsidy that waits for its maturity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Subsidy {
    pub(crate) payout: Address,
    pub(crate) amount: Amount,
    /// How many others of the same block were vested.
    pub(crate) vested: u32,
}

fields!(Subsidy { payout, amount, vested });
impl Record for Subsidy {
    const WHAT: &'static str = "subsidy";
}

/// what counts for or against a party.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Marks {
    pub(crate) ended: u64,
    pub(crate) half_failures: u64,
}

fields!(Marks { ended, half_failures });
impl Record for Marks {
    const WHAT: &'static str = "marks";
}

/// A machine, as `machineOf` shows it.
pub(crate) type Machine = IHosts::Machine;

fields!(Machine {
    operator,
    payout,
    miner,
    laneKey,
    units,
    openUnits,
    bond,
    lockedBond,
    offerHash,
    registeredAt,
    retired,
});
impl Record for Machine {
    const WHAT: &'static str = "machine";
}

/// A rental: what `rentalOf` shows, and what only the rules need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rental {
    pub(crate) shown: IRentals::Rental,
    /// the successor was opened during Closing and may receive a part of the forfeit.
    pub(crate) successor_in_closing: bool,
    /// by how much an active second costs more than in the predecessor that paid the fund.
    pub(crate) fund_rate: u128,
}

fields!(Rental { shown, successor_in_closing, fund_rate });
impl Default for Rental {
    fn default() -> Self {
        let shown = IRentals::Rental {
            phase: IRentals::Phase::None,
            reason: IRentals::Reason::None,
            notice: IRentals::Notice::None,
            client: Address::ZERO,
            signer: Address::ZERO,
            machine: Address::ZERO,
            units: 0,
            keepS: 0,
            predecessor: B256::ZERO,
            successor: B256::ZERO,
            times: IRentals::Times::default(),
            money: IRentals::Money::default(),
            best: Receipt::default(),
            claim: IRentals::Claim::default(),
            call: IRentals::Call::default(),
            hostCall: IRentals::Call::default(),
            caps: Caps::default(),
            extensions: 0,
        };
        Self { shown, successor_in_closing: false, fund_rate: 0 }
    }
}
impl Record for Rental {
    const WHAT: &'static str = "rental";
}

impl Record for Quote {
    const WHAT: &'static str = "quote";
}

/// Until when an earlier signer's receipts count, Unix seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Until(pub(crate) u64);

impl Field for Until {
    fn write(&self, to: &mut Writer) {
        to.put(&self.0);
    }
    fn read(from: &mut Reader<'_>) -> Option<Self> {
        from.take().map(Self)
    }
}
impl Record for Until {
    const WHAT: &'static str = "earlier signer";
}

fields!(Rates { activeSecond, storageGibSecond, trafficByte });
fields!(Caps { activeS, storageGib, trafficB, preparationS, uploadS });
fields!(Term { lengthS, activeSecond });
fields!(Factor { name, ppm });
fields!(Quote {
    nonce,
    client,
    machine,
    units,
    specHash,
    imageDigest,
    issuedAt,
    expires,
    startBy,
    endBy,
    model,
    earns,
    rates,
    caps,
    term,
    refundWindowS,
    bond,
    continues,
    factors,
});
fields!(Receipt {
    rental,
    seq,
    at,
    activeS,
    storageGibS,
    trafficB,
    doneS,
    workMacs,
    manifestRoot,
    isFinal,
});
fields!(IRentals::Times {
    openedAt,
    openedBlock,
    readyAt,
    endBy,
    closeAt,
    closeBlock,
    closingEndsAt,
    closingEndsBlock,
    noticeAt,
});
fields!(IRentals::Money {
    deposited,
    escrow,
    paid,
    burned,
    foundation,
    refunded,
    forfeited,
    bond,
    successorFund,
    successorUsed,
});
fields!(IRentals::Claim { made, activeS, storageGibS });
fields!(IRentals::Call { by, at, atBlock, stake });
fields!(IRentals::Rental {
    phase,
    reason,
    notice,
    client,
    signer,
    machine,
    units,
    keepS,
    predecessor,
    successor,
    times,
    money,
    best,
    claim,
    call,
    hostCall,
    caps,
    extensions,
});

macro_rules! codes {
    ($($type:ty),*) => {$(
        impl Field for $type {
            fn write(&self, to: &mut Writer) {
                to.put(&u8::from(*self));
            }
            fn read(from: &mut Reader<'_>) -> Option<Self> {
                Self::try_from(from.take::<u8>()?).ok()
            }
        }
    )*};
}

codes!(IRentals::Phase, IRentals::Reason, IRentals::Notice);
