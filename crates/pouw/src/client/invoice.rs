//! The invoice of a rental, read from the chain alone.

use alloy_primitives::{Address, B256, Log, U64};
use alloy_sol_types::{SolEvent, SolEventInterface};
use pouw_types::contracts::{IRentals, Quote, RENTALS};
use pouw_types::{Amount, RentalId};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::rpc::{LoggedEvent, Rpc, RpcError};

/// What a rental cost, and where each part went.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Invoice {
    /// Which.
    pub rental: RentalId,
    /// `Open`, `Closing` or `Closed`: only then nothing changes any more.
    pub phase: String,
    /// Why it ended, as the ledger says it.
    pub reason: String,
    /// Who pays.
    pub client: Address,
    /// The machine.
    pub machine: Address,
    /// What was used, each with its price.
    pub lines: Vec<Line>,
    /// The host's part: the sum of the lines.
    pub price: Amount,
    /// Burned on top.
    pub burned: Amount,
    /// The foundation's part on top.
    pub foundation: Amount,
    /// What went into escrow.
    pub deposited: Amount,
    /// What came back.
    pub refunded: Amount,
    /// What the host lost from its bond.
    pub forfeited: Amount,
    /// What still lies in escrow.
    pub escrow: Amount,
    /// Until when usage can still be settled, Unix seconds; none while it is open, after a final
    /// receipt, and once it is closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closing_ends_at: Option<u64>,
    /// The transactions that made it so, oldest first.
    pub transactions: Vec<Step>,
}

/// One meter with its price.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Line {
    /// What was used.
    pub what: String,
    /// How much of it.
    pub quantity: u128,
    /// Such as `s`, `GiB·s`, `B`.
    pub unit: String,
    /// Price of one.
    pub rate: Amount,
    /// Price of all.
    pub amount: Amount,
}

/// One transaction in a rental's life.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Step {
    /// What happened.
    pub event: String,
    /// In which block.
    pub block: u64,
    /// By which transaction.
    pub transaction: B256,
}

/// One event with its place in the chain.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Placed {
    block_number: U64,
    transaction_hash: B256,
    #[serde(flatten)]
    event: LoggedEvent,
}

impl Invoice {
    /// Reads a rental's invoice at the head.
    ///
    /// # Errors
    /// [`RpcError`].
    pub async fn read(rpc: &Rpc, id: RentalId) -> Result<Self, RpcError> {
        let call = IRentals::rentalOfCall { rental: id.get() };
        let rental = rpc.view(RENTALS, &call).await?;
        // An opening that left the best chain takes its quote along.
        let quote = match rental.phase {
            IRentals::Phase::None => Quote::default(),
            _ => rpc.view(RENTALS, &IRentals::quoteOfCall { rental: id.get() }).await?,
        };
        let transactions = steps(rpc, id, rental.times.openedBlock).await?;
        Ok(Self::of(id, &rental, &quote, transactions))
    }

    /// What the client paid so far: price, burn and fee.
    #[must_use]
    pub fn spent(&self) -> Amount {
        let fees = self.burned.checked_add(self.foundation);
        fees.and_then(|fees| fees.checked_add(self.price)).unwrap_or(Amount::MAX)
    }

    fn of(id: RentalId, rental: &IRentals::Rental, quote: &Quote, transactions: Vec<Step>) -> Self {
        let money = &rental.money;
        Self {
            rental: id,
            phase: format!("{:?}", rental.phase),
            reason: format!("{:?}", rental.reason),
            client: rental.client,
            machine: rental.machine,
            lines: lines(rental, quote),
            price: Amount::from_atto(money.paid),
            burned: Amount::from_atto(money.burned),
            foundation: Amount::from_atto(money.foundation),
            deposited: Amount::from_atto(money.deposited),
            refunded: Amount::from_atto(money.refunded),
            forfeited: Amount::from_atto(money.forfeited),
            escrow: Amount::from_atto(money.escrow),
            closing_ends_at: (rental.phase == IRentals::Phase::Closing && !rental.best.isFinal)
                .then_some(rental.times.closingEndsAt),
            transactions,
        }
    }

    /// Whether every atto of the deposit is accounted for (I-2).
    #[must_use]
    pub fn balances(&self) -> bool {
        let parts = [self.price, self.burned, self.foundation, self.refunded, self.escrow];
        let sum = parts.into_iter().try_fold(Amount::ZERO, Amount::checked_add);
        sum == Ok(self.deposited)
    }

    /// As a person reads it.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut out = format!("invoice of rental {}\n", self.rental);
        for line in &self.lines {
            let Line { what, quantity, unit, rate, amount } = line;
            out += &format!("  {what:<10} {quantity:>14} {unit:<6} × {rate:<22} {amount:>24}\n");
        }
        let sums = [
            ("price, to the host", self.price),
            ("burned", self.burned),
            ("foundation", self.foundation),
            ("refunded", self.refunded),
            ("still in escrow", self.escrow),
            ("deposit", self.deposited),
        ];
        for (what, amount) in sums {
            out += &format!("  {what:<57} {amount:>24}\n");
        }
        if !self.forfeited.is_zero() {
            out += &format!("  {:<57} {:>24}\n", "the host lost from its bond", self.forfeited);
        }
        out += &match (self.phase.as_str(), self.reason.as_str()) {
            ("None", _) => "  its opening is not in the best chain\n".to_owned(),
            (phase, "None") => format!("  {}, FLUX\n", phase.to_lowercase()),
            (phase, reason) => format!("  {} ({reason}), FLUX\n", phase.to_lowercase()),
        };
        for step in &self.transactions {
            out += &format!("  block {:>7}  {:<15} {}\n", step.block, step.event, step.transaction);
        }
        out
    }
}

fn lines(rental: &IRentals::Rental, quote: &Quote) -> Vec<Line> {
    let (best, claim) = (&rental.best, &rental.claim);
    let storage = best.storageGibS.max(claim.storageGibS);
    let line = |what: &str, quantity: u128, unit: &str, rate: u128, amount: u128| Line {
        what: what.to_owned(),
        quantity,
        unit: unit.to_owned(),
        rate: Amount::from_atto(rate),
        amount: Amount::from_atto(amount),
    };
    let rates = &quote.rates;
    let active_rate = rates.activeSecond;
    let storage_amount = storage.saturating_mul(rates.storageGibSecond);
    let traffic_amount = u128::from(best.trafficB).saturating_mul(rates.trafficByte);
    // What was paid decides: a fault, a term or a gate that failed pays less than was used.
    let rest = rental.money.paid.saturating_sub(storage_amount).saturating_sub(traffic_amount);
    let active = best.activeS.max(claim.activeS);
    vec![
        line("active", active.into(), "s", active_rate, rest),
        line("storage", storage, "GiB·s", rates.storageGibSecond, storage_amount),
        line("traffic", best.trafficB.into(), "B", rates.trafficByte, traffic_amount),
    ]
}

async fn steps(rpc: &Rpc, id: RentalId, from: u64) -> Result<Vec<Step>, RpcError> {
    let filter = json!([{
        "address": RENTALS, "fromBlock": U64::from(from), "toBlock": "latest",
        "topics": [null, id.get()],
    }]);
    let found: Vec<Placed> = rpc.call("eth_getLogs", filter).await?;
    let step = |placed: Placed| Step {
        event: event_name(&Log::from(&placed.event)),
        block: placed.block_number.to(),
        transaction: placed.transaction_hash,
    };
    Ok(found.into_iter().map(step).collect())
}

/// What an event of the rentals contract is called, for people.
#[must_use]
pub fn event_name(log: &Log) -> String {
    type Events = IRentals::IRentalsEvents;
    let name = match Events::decode_log(log).map(|log| log.data) {
        Ok(Events::Opened(_)) => IRentals::Opened::SIGNATURE,
        Ok(Events::MadeReady(_)) => "Ready",
        Ok(Events::Settled(_)) => IRentals::Settled::SIGNATURE,
        Ok(Events::ToppedUp(_)) => IRentals::ToppedUp::SIGNATURE,
        Ok(Events::Extended(_)) => IRentals::Extended::SIGNATURE,
        Ok(Events::SignerChanged(_)) => IRentals::SignerChanged::SIGNATURE,
        Ok(Events::Called(_)) => IRentals::Called::SIGNATURE,
        Ok(Events::Answered(_)) => IRentals::Answered::SIGNATURE,
        Ok(Events::Noticed(_)) => IRentals::Noticed::SIGNATURE,
        Ok(Events::ClosingStarted(_)) => "Closing",
        Ok(Events::ClaimMade(_)) => "Claimed",
        Ok(Events::Finalized(_)) => IRentals::Finalized::SIGNATURE,
        Err(_) => "unknown event",
    };
    name.split('(').next().unwrap_or(name).to_lowercase()
}
