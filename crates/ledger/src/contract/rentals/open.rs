//! opening, topping up, extending, the signer.

use alloy_primitives::{Address, B256};
use pouw_types::Amount;
use pouw_types::contracts::IRentals::{self, Phase};
use pouw_types::contracts::{Caps, Model, Quote};
use pouw_types::signing::{Signable, recover};

use super::super::Native;
use super::super::hosts::{free_bond, not_registered};
use super::{CLOCK_S, EARNS_VESTING, Loaded};
use crate::list::{self, Kind};
use crate::record::{Rental, Until};
use crate::revert::{Fault, require};
use crate::split::{Terms, minimum_deposit};
use crate::state::{State, StateError, key};

/// longest life of a quote, seconds.
const QUOTE_LIFE_S: u64 = 300;
/// how long after its end a quote still opens, for re-inclusion after a reorg, seconds.
const REINCLUSION_S: u64 = 900;
const MAX_FACTORS: usize = 32;
const MAX_FACTOR_NAME_BYTES: usize = 64;
/// the bond of a rental with a term is at least the tenth part of the term's price.
const TERM_BOND_DIVISOR: u128 = 10;

impl<S: State + ?Sized> Native<'_, '_, S> {
    pub(super) fn open(&mut self, call: IRentals::openCall) -> Result<(), Fault> {
        let IRentals::openCall { quote, signature, signer } = call;
        let chain_id = self.env.network.chain_id;
        let id = quote.digest(chain_id);
        require!(self.rental(id)?.is_none(), "R-2", "this quote opened rental {id} before");
        require!(
            self.caller == quote.client,
            "R-3",
            "the quote is for client {}, not for {}",
            quote.client,
            self.caller
        );
        check_quote(&quote)?;
        self.check_quote_here(&quote)?;
        require!(
            recover(id, &signature) == Ok(quote.machine),
            "R-2",
            "machine {} didn't sign this quote",
            quote.machine
        );
        check_signer(signer, quote.machine)?;
        let terms = Terms::new(&quote, &self.env.network.rental);
        let minimum = minimum_deposit(&terms);
        require!(
            self.value >= minimum,
            "R-3",
            "deposit {} FLUX below the minimum {minimum} FLUX",
            self.value
        );
        self.take_from_machine(&quote)?;
        let mut rental = Rental::default();
        self.continue_from(&quote, id)?;
        let shown = &mut rental.shown;
        shown.phase = Phase::Open;
        shown.client = quote.client;
        shown.signer = signer;
        shown.machine = quote.machine;
        shown.units = quote.units;
        shown.predecessor = quote.continues;
        shown.caps = quote.caps.clone();
        shown.times.openedAt = self.now_s();
        shown.times.openedBlock = self.env.height;
        shown.times.endBy = quote.endBy;
        shown.money.deposited = self.value.atto();
        shown.money.escrow = self.value.atto();
        shown.money.bond = quote.bond;
        self.book.move_total(|totals| &mut totals.escrows, self.value, Amount::ZERO)?;
        for party in [quote.client, quote.machine] {
            list::append(self.book, Kind::Rentals, party, id)?;
        }
        let event = IRentals::Opened {
            rental: id,
            client: quote.client,
            machine: quote.machine,
            deposit: self.value.atto(),
        };
        self.book.put(key::quote(id), &quote)?;
        self.book.put(key::rental(id), &rental)?;
        self.emit(&event);
        Ok(())
    }

    /// What of depends on block and network.
    fn check_quote_here(&self, quote: &Quote) -> Result<(), Fault> {
        let now = self.now_s();
        let last = quote.expires.saturating_add(REINCLUSION_S);
        require!(now <= last, "R-3", "the quote expired at {}, it is {now}", quote.expires);
        require!(
            quote.issuedAt <= now.saturating_add(CLOCK_S),
            "R-2",
            "issued at {}, in the future: it is {now}",
            quote.issuedAt
        );
        let longest = self.env.network.rental.refund_window_s;
        require!(
            quote.refundWindowS <= longest,
            "R-2",
            "refund window {} s above {longest} s",
            quote.refundWindowS
        );
        Ok(())
    }

    /// units and bond have to be free, and are taken.
    fn take_from_machine(&mut self, quote: &Quote) -> Result<(), Fault> {
        let Some(mut machine) = self.machine(quote.machine)? else {
            return Err(not_registered(quote.machine));
        };
        require!(!machine.retired, "H-5", "machine {} is retired", quote.machine);
        let free = machine.units.saturating_sub(machine.openUnits);
        require!(quote.units <= free, "R-3", "{} units asked, {free} are free", quote.units);
        let bond = Amount::from_atto(quote.bond);
        let free = free_bond(&machine);
        require!(bond <= free, "R-3", "bond {bond} FLUX, {free} FLUX are free");
        machine.openUnits = machine.openUnits.saturating_add(quote.units);
        machine.lockedBond = machine.lockedBond.saturating_add(quote.bond);
        self.put_machine(quote.machine, &machine)?;
        Ok(())
    }

    /// links a rental to the one that it continues.
    fn continue_from(&mut self, quote: &Quote, id: B256) -> Result<(), Fault> {
        if quote.continues.is_zero() {
            return Ok(());
        }
        let mut before = self.load(quote.continues, &[Phase::Open, Phase::Closing])?;
        let shown = &mut before.rental.shown;
        require!(
            shown.client == quote.client,
            "R-8",
            "the rental to be continued is another client's"
        );
        require!(
            shown.successor.is_zero(),
            "R-8",
            "{} continues that rental already",
            shown.successor
        );
        shown.successor = id;
        before.rental.successor_in_closing = shown.phase == Phase::Closing;
        self.store(&before)?;
        Ok(())
    }

    pub(super) fn top_up(&mut self, id: B256) -> Result<(), Fault> {
        let mut loaded = self.load(id, &[Phase::Open, Phase::Closing])?;
        require!(!self.value.is_zero(), "R-8", "nothing was sent");
        let money = &mut loaded.rental.shown.money;
        let amount = self.value.atto();
        let overflow = || StateError::Unbalanced("an escrow above the supply");
        money.deposited = money.deposited.checked_add(amount).ok_or_else(overflow)?;
        money.escrow = money.escrow.checked_add(amount).ok_or_else(overflow)?;
        self.book.move_total(|totals| &mut totals.escrows, self.value, Amount::ZERO)?;
        self.store(&loaded)?;
        self.emit(&IRentals::ToppedUp { rental: id, from: self.caller, amount });
        Ok(())
    }

    pub(super) fn extend(&mut self, call: &IRentals::extendCall) -> Result<(), Fault> {
        self.unpaid()?;
        let extension = &call.extension;
        let mut loaded = self.load(extension.rental, &[Phase::Open])?;
        self.by_client(&loaded)?;
        let shown = &mut loaded.rental.shown;
        let next = shown.extensions.saturating_add(1);
        require!(
            extension.seq == next,
            "R-8",
            "extension {} where {next} is the next",
            extension.seq
        );
        let now = self.now_s();
        require!(
            now <= extension.expires,
            "R-8",
            "the extension expired at {}, it is {now}",
            extension.expires
        );
        require!(
            extension.endBy >= shown.times.endBy,
            "R-8",
            "end {} before the present end {}",
            extension.endBy,
            shown.times.endBy
        );
        require!(
            covers(&extension.caps, &shown.caps),
            "R-8",
            "a cap of the extension is below the present one"
        );
        let digest = extension.digest(self.env.network.chain_id);
        require!(
            recover(digest, &call.signature) == Ok(shown.machine),
            "R-8",
            "machine {} didn't sign this extension",
            shown.machine
        );
        shown.extensions = next;
        shown.times.endBy = extension.endBy;
        shown.caps = extension.caps.clone();
        self.store(&loaded)?;
        self.emit(&IRentals::Extended { rental: extension.rental, endBy: extension.endBy });
        Ok(())
    }

    pub(super) fn set_signer(&mut self, id: B256, signer: Address) -> Result<(), Fault> {
        self.unpaid()?;
        let mut loaded = self.load(id, &[Phase::Open, Phase::Closing])?;
        self.by_client(&loaded)?;
        let shown = &mut loaded.rental.shown;
        check_signer(signer, shown.machine)?;
        require!(signer != shown.signer, "R-1", "{signer} is the signer already");
        // What the earlier signer signed so far keeps its worth, or a client could take it back.
        let until = Until(self.now_s().saturating_add(CLOCK_S));
        self.book.put(key::earlier_signer(id, shown.signer), &until)?;
        self.book.delete(key::earlier_signer(id, signer))?;
        shown.signer = signer;
        self.store(&loaded)?;
        self.emit(&IRentals::SignerChanged { rental: id, signer });
        Ok(())
    }

    pub(super) fn by_client(&self, loaded: &Loaded) -> Result<(), Fault> {
        let client = loaded.rental.shown.client;
        require!(self.caller == client, "R-1", "only the client {client} may do that");
        Ok(())
    }
}

/// What of R-2 a quote shows by itself.
fn check_quote(quote: &Quote) -> Result<(), Fault> {
    require!(quote.client != quote.machine, "R-1", "a machine key can't be its own client");
    require!(quote.units > 0, "R-2", "0 units, a rental has at least 1");
    let life = quote.expires.checked_sub(quote.issuedAt);
    require!(
        life.is_some_and(|life| life <= QUOTE_LIFE_S),
        "R-2",
        "valid from {} to {}, at most {QUOTE_LIFE_S} s are allowed",
        quote.issuedAt,
        quote.expires
    );
    require!(
        quote.issuedAt < quote.startBy && quote.startBy <= quote.endBy,
        "R-2",
        "issued at {}, start by {}, end by {}: not in this order",
        quote.issuedAt,
        quote.startBy,
        quote.endBy
    );
    require!(
        Model::from_code(quote.model).is_some(),
        "R-2",
        "pricing model {}, 0 to 2 exist",
        quote.model
    );
    require!(quote.earns <= EARNS_VESTING, "R-2", "earns {}, 0 and 1 exist", quote.earns);
    let factors = quote.factors.len();
    require!(factors <= MAX_FACTORS, "R-2", "{factors} factors, at most {MAX_FACTORS}");
    let longest = quote.factors.iter().map(|factor| factor.name.len()).max().unwrap_or_default();
    require!(
        longest <= MAX_FACTOR_NAME_BYTES,
        "R-2",
        "a factor's name of {longest} bytes, at most {MAX_FACTOR_NAME_BYTES}"
    );
    check_term(quote)
}

///
fn check_term(quote: &Quote) -> Result<(), Fault> {
    let term = &quote.term;
    if term.lengthS == 0 {
        require!(term.activeSecond == 0, "R-2", "a term price without a term");
        return Ok(());
    }
    require!(quote.model == Model::OnDemand.code(), "R-14", "only on-demand rentals have terms");
    let price = Amount::from_atto(term.activeSecond).checked_mul(term.lengthS.into());
    let Ok(price) = price else {
        return Err(crate::revert::Revert {
            rule: "R-14",
            text: "the term's price is above any amount".to_owned(),
        }
        .into());
    };
    let least = price.atto().div_ceil(TERM_BOND_DIVISOR);
    require!(
        quote.bond >= least,
        "R-14",
        "bond {} FLUX below {} FLUX, a tenth of the term's price",
        Amount::from_atto(quote.bond),
        Amount::from_atto(least)
    );
    Ok(())
}

fn check_signer(signer: Address, machine: Address) -> Result<(), Fault> {
    require!(!signer.is_zero(), "R-1", "the signer is zero");
    require!(signer != machine, "R-1", "the machine can't sign for its client");
    Ok(())
}

const fn covers(new: &Caps, old: &Caps) -> bool {
    new.activeS >= old.activeS
        && new.storageGib >= old.storageGib
        && new.trafficB >= old.trafficB
        && new.preparationS >= old.preparationS
        && new.uploadS >= old.uploadS
}
