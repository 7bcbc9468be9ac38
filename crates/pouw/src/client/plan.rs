//! From a task and the offers to the contract that is proposed to a client.

use alloy_primitives::{Address, B256};
use pouw_agent::door::{Client, QuoteReply, QuoteRequest};
use pouw_spec::{Mineable, Network as TaskNetwork, Task};
use pouw_types::contracts::{Earns, Quote};
use pouw_types::{Amount, Network, Offer, RentalId};
use serde::Serialize;

use crate::exit::Refused;
use crate::output::{bytes, duration};

/// A task with the machine that would run it and what that costs at most.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// What would be run, its image by digest.
    pub task: Task,
    /// Where.
    pub offer: Offer,
    /// How many shares of the machine.
    pub units: u32,
    /// For how much.
    pub quote: QuoteReply,
    /// What goes into escrow; what isn't used comes back.
    pub deposit: Amount,
}

/// How many quotes are asked for: the cheapest by their floors.
const QUOTES: usize = 5;

/// How many shares of an offer's machine a task needs, or what speaks against the machine.
///
/// # Errors
/// Each reason, as a person reads it.
pub fn units_for(task: &Task, offer: &Offer, now_s: u64) -> Result<u32, Vec<String>> {
    let mut against = Vec::new();
    let (asked, unit) = (&task.resources, &offer.unit);
    let mut units = 1;
    let pairs = [
        ("cpu", asked.cpu_millis, unit.cpu_millis),
        ("memory", asked.memory_bytes, unit.memory_bytes),
        ("disk", asked.disk_bytes, unit.disk_bytes),
        ("gpus", asked.gpus.into(), unit.gpus.into()),
    ];
    for (what, asked, unit) in pairs {
        let needed = if asked == 0 {
            Some(1)
        } else {
            asked.checked_add(unit.saturating_sub(1)).and_then(|sum| sum.checked_div(unit))
        };
        match needed.and_then(|needed| u32::try_from(needed).ok()) {
            Some(needed) if needed <= offer.units => units = units.max(needed),
            Some(_) | None => {
                let has = unit.saturating_mul(offer.units.into());
                against.push(format!("{what}: {asked} asked for, it has {has}"));
            }
        }
    }
    if !offer.isolation.contains(&task.isolation) {
        against.push(format!("isolation {:?} is not offered", task.isolation).to_lowercase());
    }
    if task.network == TaskNetwork::Egress && !offer.egress {
        against.push("its tasks cannot reach the internet".to_owned());
    }
    let machines = &task.scope.machines;
    if !machines.is_empty() && !machines.contains(&offer.machine) {
        against.push("the task names other machines".to_owned());
    }
    if !task.scope.countries.is_empty() {
        against.push("it doesn't prove in which country it is".to_owned());
    }
    if offer.available_until < now_s.saturating_add(task.limits.time_s) {
        against.push(format!(
            "it leaves in {}",
            duration(offer.available_until.saturating_sub(now_s))
        ));
    }
    if against.is_empty() { Ok(units) } else { Err(against) }
}

/// Asks the cheapest fitting machines for quotes and takes the best.
///
/// # Errors
/// [`Refused`] with what speaks against each machine, or with the price limit that was passed.
pub async fn choose(
    task: Task,
    offers: Vec<Offer>,
    client: Address,
    continues: Option<RentalId>,
    network: &Network,
    now_s: u64,
) -> anyhow::Result<Plan> {
    let mut fitting = Vec::new();
    let mut against = Vec::new();
    for offer in offers {
        match units_for(&task, &offer, now_s) {
            Ok(units) => fitting.push((units, offer)),
            Err(reasons) => against.push(format!("{}: {}", offer.machine, reasons.join("; "))),
        }
    }
    let price = |(units, offer): &(u32, Offer)| {
        (offer.floor.active_second.atto().saturating_mul((*units).into()), offer.machine)
    };
    fitting.sort_by_key(price);
    fitting.truncate(QUOTES);
    let mut best: Option<Plan> = None;
    for (units, offer) in fitting {
        let request = QuoteRequest { task: task.clone(), client, units, continues };
        match quote(request, &offer, network, now_s).await {
            Ok(plan) if best.as_ref().is_none_or(|best| plan.cost() < best.cost()) => {
                best = Some(plan);
            }
            Ok(_) => {}
            Err(error) => against.push(format!("{}: {error:#}", offer.machine)),
        }
    }
    best.ok_or_else(|| {
        let reasons = if against.is_empty() {
            "nobody offers a machine: `pouw host run` or `pouw devnet start` would".to_owned()
        } else {
            against.join("\n  ")
        };
        Refused(format!("no machine fits {}\n  {reasons}", task.name)).into()
    })
}

async fn quote(
    request: QuoteRequest,
    offer: &Offer,
    network: &Network,
    now_s: u64,
) -> anyhow::Result<Plan> {
    let door = Client::new(&offer.endpoint, None)?;
    let reply = door.quote(&request).await?;
    check_quote(&request, offer, network, &reply, now_s).map_err(Refused)?;
    let QuoteRequest { task, units, .. } = request;
    let whole = reply.max_price.checked_add(reply.max_fees)?;
    // The ledger asks for a day of storage whatever the task's own limit.
    let whole = whole.max(reply.min_deposit);
    let deposit = task.limits.cost.map_or(whole, |limit| limit.min(whole));
    if deposit < reply.min_deposit {
        return Err(Refused(format!(
            "its least deposit is {} FLUX, above the limit of {deposit}: raise limits.cost",
            reply.min_deposit.rounded(6)
        ))
        .into());
    }
    Ok(Plan { task, offer: offer.clone(), units, quote: reply, deposit })
}

/// Checks that a quote is for this task, this client, this machine and this chain.
fn check_quote(
    request: &QuoteRequest,
    offer: &Offer,
    network: &Network,
    reply: &QuoteReply,
    now_s: u64,
) -> Result<(), String> {
    let QuoteRequest { task, client, units, continues } = request;
    let quote: &Quote = &reply.quote.value;
    let differs = |what: &str| Err(format!("its quote is for another {what}"));
    match reply.quote.verify(network.chain_id) {
        Ok(machine) if machine == offer.machine => {}
        Ok(_) => return differs("machine"),
        Err(error) => return Err(error.to_string()),
    }
    if reply.rental != reply.quote.rental(network.chain_id) {
        return differs("rental");
    }
    if quote.client != *client {
        return differs("client");
    }
    if quote.specHash != task.hash().get() {
        return differs("task");
    }
    if Some(quote.imageDigest) != task.image.digest() {
        return differs("image");
    }
    if quote.units != *units || quote.continues != continues.map_or(B256::ZERO, RentalId::get) {
        return differs("contract");
    }
    if quote.expires <= now_s {
        return Err(format!("its quote ended {} s ago", now_s.saturating_sub(quote.expires)));
    }
    if Earns::from_code(quote.earns) != Some(earns(task)) {
        return Err(format!("its receipts earn {}, which this task's don't", quote.earns));
    }
    if quote.refundWindowS > task.refund_window_s(&network.rental) {
        return Err(format!("its refund window is {} s", quote.refundWindowS));
    }
    let active = Amount::from_atto(quote.rates.activeSecond);
    if !task.pricing.allows(active) {
        let max = task.pricing.max_hour.unwrap_or_default();
        let hour = active.checked_mul(3600).unwrap_or(Amount::MAX);
        return Err(format!("an hour costs {hour} FLUX, pricing.max_price is {max}"));
    }
    Ok(())
}

/// What receipts of a task earn: vesting where it mines, else credit.
const fn earns(task: &Task) -> Earns {
    match task.mineable {
        Mineable::None => Earns::Credit,
        Mineable::Opening => Earns::Vesting,
    }
}

/// What `mineable: opening` means, for whoever has to agree.
pub const OPENING: &str = "\
this task may mine (mineable: opening): its matrix products are tickets for blocks, which are its host's.
  A ticket that wins is published for ever, in the block's certificate: of the two matrices, 16 rows of
  the one and 16 columns of the other, 1,024 numbers of each; their sizes; and a salted digest of each
  matrix, by which blocks that were won with the same one in memory are seen to be. Numbers of a model's
  weights or of its users' data may be among them. Nothing else of the task leaves its container.";

impl Plan {
    /// Price and fees at most.
    fn cost(&self) -> Amount {
        self.quote.max_price.checked_add(self.quote.max_fees).unwrap_or(Amount::MAX)
    }

    /// As a person reads it.
    #[must_use]
    pub fn to_text(&self) -> String {
        let (task, quote) = (&self.task, &self.quote.quote.value);
        let unit = &self.offer.unit;
        let times = u64::from(self.units);
        let mut out = format!("task       {}\nimage      {}\n", task.name, task.image);
        out += &format!(
            "machine    {} ({} of {} units: {}.{} cores, {} memory, {} disk)\n",
            self.offer.machine,
            self.units,
            self.offer.units,
            unit.cpu_millis.saturating_mul(times) / 1000,
            unit.cpu_millis.saturating_mul(times) % 1000 / 100,
            bytes(unit.memory_bytes.saturating_mul(times)),
            bytes(unit.disk_bytes.saturating_mul(times)),
        );
        for input in &task.inputs {
            out += &format!("input      {} → {}\n", input.from, input.to);
        }
        if let Some(parts) = &task.parts {
            out += &format!("parts      {} × {}\n", parts.count, parts.path);
        }
        let rate = |name: &str, atto: u128, unit: &str| {
            format!("{name:<10} {} FLUX {unit}\n", Amount::from_atto(atto))
        };
        out += &rate("active", quote.rates.activeSecond, "a second");
        for factor in &quote.factors {
            let percent = (factor.ppm / 10_000, factor.ppm % 10_000 / 100);
            out += &format!("           × {:>3}.{:02} % {}\n", percent.0, percent.1, factor.name);
        }
        out += &rate("storage", quote.rates.storageGibSecond, "a GiB·s");
        out += &rate("traffic", quote.rates.trafficByte, "a byte");
        out += &format!(
            "at most    {} FLUX for {}, and {} FLUX burn and fee\n",
            self.quote.max_price.rounded(6),
            duration(quote.caps.activeS),
            self.quote.max_fees.rounded(6),
        );
        let earns = match earns(task) {
            Earns::Credit => "credit for lane 2",
            Earns::Vesting => "vesting of its blocks of lane 1",
        };
        out += &format!("receipts   earn the host {earns}\n");
        out += &format!("deposit    {} FLUX; what is not used comes back", self.deposit.rounded(6));
        out
    }
}
