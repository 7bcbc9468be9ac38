//! What a block's settlements and its own winning earn: credit of lane 2 (C-25), vesting of lane 1
//! (C-29), and what both burned and minted, for the shares (C-19).
//!
//! Everything is kept in the state under keys that begin with 0xff, which no key of the ledger does.
//! A block without settlement writes nothing here unless a useful lane won it, and the cost of one
//! with settlements grows with them alone.
//!
//! | key | value |
//! |---|---|
//! | `credit` machine | fees burned by its credit receipts, eight epochs |
//! | `credits` | the same of all machines |
//! | `vesting` miner | rewards of lane 1 that wait for paid work, at most 31 epochs |
//! | `work` rental | how much of its work counted so far, until it is closed |
//! | `prices` epoch modulo 32 | what vesting receipts paid for work in that epoch, by steps |
//! | `floor` | the floor price of the running epoch |
//! | `rewards` epoch modulo 32 | what lane 1 won in that epoch, and what of it has vested |

mod sheet;

use std::collections::BTreeMap;

use alloy_primitives::Address;
use pouw_consensus::reward::{
    PaidPrice, VESTING_EPOCHS, Vesting, counted_work, floor_price, matmul_reward, price_at_step,
    price_of, price_step,
};
use pouw_consensus::share::{EpochSums, epoch_of};
use pouw_consensus::{CreditSums, Lane, Standing};
use pouw_ledger::{Execution, Minted, Settlement, State, StateError, Writes};
use pouw_types::{Amount, Network};

pub use self::sheet::EpochRewards;
use self::sheet::{Floor, PriceSteps, Sheet, Work};

/// How a block was won.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Win {
    pub(crate) height: u64,
    pub(crate) lane: Lane,
    pub(crate) miner: Address,
}

/// What it earned.
#[derive(Debug)]
struct Earned {
    /// To be minted for vested work, one entry an account.
    vested: Vec<Minted>,
    writes: Writes,
    sums: EpochSums,
}

/// Ends a block's execution: credit and vesting of its settlements are counted, and what vests is
/// minted. What it burned and minted for the shares comes beside it.
pub(crate) fn finish<S: State>(
    network: &Network,
    state: &S,
    parent: &Standing,
    win: Win,
    execution: Execution<'_, S>,
) -> Result<(pouw_ledger::Executed, EpochSums), StateError> {
    let minted = execution.env().subsidy;
    let earned = count(network, state, parent, (win, minted), execution.settlements())?;
    let mut done = execution.finish(&earned.vested)?;
    done.writes.extend(earned.writes);
    Ok((done, earned.sums))
}

fn count<S: State>(
    network: &Network,
    state: &S,
    parent: &Standing,
    (win, minted): (Win, Amount),
    settlements: &[Settlement],
) -> Result<Earned, StateError> {
    let epoch = epoch_of(win.height, network.epoch_blocks);
    let mut books = Books { network, sheet: Sheet::new(state), epoch, vested: BTreeMap::new() };
    let mut sums = EpochSums::default();
    for settlement in settlements {
        let burned = settlement.burned.atto();
        if settlement.vests {
            sums.vesting_burn = sums.vesting_burn.saturating_add(burned);
            books.vest(settlement)?;
        } else {
            sums.credit_burn = sums.credit_burn.saturating_add(burned);
            books.credit(settlement.machine, burned)?;
        }
    }
    match win.lane {
        Lane::Hash => {}
        Lane::Matmul => books.won(win.miner, parent.difficulty.of(Lane::Matmul))?,
        Lane::Credit => sums.credit_rewards = minted.atto(),
    }
    let vested = books.vested.into_iter().filter(|(_, amount)| *amount > 0);
    let vested = vested.map(|(miner, atto)| (miner, Amount::from_atto(atto))).collect();
    Ok(Earned { vested, writes: books.sheet.into_writes(), sums })
}

struct Books<'a, S> {
    network: &'a Network,
    sheet: Sheet<'a, S>,
    epoch: u64,
    /// Minted in this block, by miner.
    vested: BTreeMap<Address, u128>,
}

impl<S: State> Books<'_, S> {
    /// A receipt burned this for credit.
    fn credit(&mut self, machine: Address, burned: u128) -> Result<(), StateError> {
        for key in [sheet::credit(machine), sheet::credits()] {
            let sums: CreditSums = self.sheet.get(&key)?.unwrap_or_default();
            self.sheet.put(key, &sums.burned(self.epoch, burned));
        }
        Ok(())
    }

    /// A block of lane 1 was won: all but a tenth of its reward waits.
    fn won(&mut self, miner: Address, difficulty: u128) -> Result<(), StateError> {
        let reward = matmul_reward(self.network.subsidy.atto());
        let key = sheet::vesting(miner);
        let mut vesting: Vesting = self.sheet.get(&key)?.unwrap_or_default();
        vesting.won(self.epoch, reward.vesting, difficulty);
        self.sheet.put(key, &vesting);
        self.rewards(self.epoch, |rewards| {
            rewards.at_once = rewards.at_once.saturating_add(reward.at_once);
            rewards.waiting = rewards.waiting.saturating_add(reward.vesting);
        })
    }

    /// A rental that chose vesting was paid: as much of its work as that paid for counts, for
    /// whoever is paid for its machine's blocks.
    fn vest(&mut self, settlement: &Settlement) -> Result<(), StateError> {
        let key = sheet::work(settlement.rental);
        let before = self.sheet.get(&key)?.map_or(0, |Work(counted)| counted);
        let (paid, floor) = (settlement.active_paid.atto(), self.floor()?);
        // The floor may have risen since: what counted has counted.
        let counted = counted_work(settlement.work, paid, floor).max(before);
        if settlement.is_last {
            if before > 0 {
                self.sheet.delete(key);
            }
        } else if counted > before {
            self.sheet.put(key, &Work(counted));
        }
        if !settlement.miner.is_zero() {
            self.cover(settlement.miner, counted.saturating_sub(before))?;
        }
        self.remember_price(price_of(paid, counted), settlement.burned.atto())
    }

    /// Work of a host was paid for: its waiting rewards vest, the oldest first.
    fn cover(&mut self, miner: Address, work: u128) -> Result<(), StateError> {
        let key = sheet::vesting(miner);
        let waiting: Option<Vesting> = if work > 0 { self.sheet.get(&key)? } else { None };
        let Some(mut vesting) = waiting else { return Ok(()) };
        for (epoch, minted) in vesting.settled_by_epoch(self.epoch, work) {
            let sum = self.vested.entry(miner).or_default();
            *sum = sum.saturating_add(minted);
            self.rewards(epoch, |rewards| {
                rewards.vested = rewards.vested.saturating_add(minted);
                rewards.waiting = rewards.waiting.saturating_sub(minted);
            })?;
        }
        if vesting.epochs().is_empty() {
            self.sheet.delete(key);
        } else {
            self.sheet.put(key, &vesting);
        }
        Ok(())
    }

    fn rewards(
        &mut self,
        epoch: u64,
        change: impl FnOnce(&mut EpochRewards),
    ) -> Result<(), StateError> {
        let key = sheet::rewards(epoch);
        let found: Option<EpochRewards> = self.sheet.get(&key)?;
        let fresh = EpochRewards { epoch, ..EpochRewards::default() };
        let mut rewards = found.filter(|rewards| rewards.epoch == epoch).unwrap_or(fresh);
        change(&mut rewards);
        self.sheet.put(key, &rewards);
        Ok(())
    }

    /// The floor of the running epoch: looked up once, from the prices of the thirty before it, so
    /// that it does not depend on the order of receipts.
    fn floor(&mut self) -> Result<u128, StateError> {
        let known: Option<Floor> = self.sheet.get(&sheet::floor())?;
        if let Some(floor) = known.filter(|floor| floor.epoch == self.epoch) {
            return Ok(floor.price);
        }
        let price = floor_at(&self.sheet, self.network, self.epoch)?;
        self.sheet.put(sheet::floor(), &Floor { epoch: self.epoch, price });
        Ok(price)
    }

    fn remember_price(&mut self, price: Option<u128>, burned: u128) -> Result<(), StateError> {
        let Some(price) = price.filter(|_| burned > 0) else { return Ok(()) };
        let key = sheet::prices(self.epoch);
        let found: Option<PriceSteps> = self.sheet.get(&key)?;
        let fresh = PriceSteps { epoch: self.epoch, steps: BTreeMap::new() };
        let mut prices = found.filter(|prices| prices.epoch == self.epoch).unwrap_or(fresh);
        let sum = prices.steps.entry(price_step(price)).or_default();
        *sum = sum.saturating_add(burned);
        self.sheet.put(key, &prices);
        Ok(())
    }
}

fn floor_at<S: State>(
    sheet: &Sheet<'_, S>,
    network: &Network,
    epoch: u64,
) -> Result<u128, StateError> {
    let mut paid = Vec::new();
    for epoch in epoch.saturating_sub(VESTING_EPOCHS)..epoch {
        let found: Option<PriceSteps> = sheet.get(&sheet::prices(epoch))?;
        let steps = found.filter(|prices| prices.epoch == epoch).map(|prices| prices.steps);
        let each = steps.into_iter().flatten();
        paid.extend(each.map(|(step, burned)| PaidPrice { price: price_at_step(step), burned }));
    }
    Ok(floor_price(&paid, network.lanes.floor_price))
}

/// What a machine's credit receipts burned.
pub(crate) fn credit_of<S: State>(state: &S, machine: Address) -> Result<CreditSums, StateError> {
    Ok(Sheet::new(state).get(&sheet::credit(machine))?.unwrap_or_default())
}

/// What all credit receipts burned.
pub(crate) fn credits<S: State>(state: &S) -> Result<CreditSums, StateError> {
    Ok(Sheet::new(state).get(&sheet::credits())?.unwrap_or_default())
}

/// What waits for paid work of a miner's machines.
pub(crate) fn vesting_of<S: State>(state: &S, miner: Address) -> Result<Vesting, StateError> {
    Ok(Sheet::new(state).get(&sheet::vesting(miner))?.unwrap_or_default())
}

/// How much of a rental's work has counted.
#[cfg(test)]
pub(crate) fn counted_of<S: State>(
    state: &S,
    rental: alloy_primitives::B256,
) -> Result<u128, StateError> {
    Ok(Sheet::new(state).get(&sheet::work(rental))?.map_or(0, |Work(counted)| counted))
}

/// The floor price in an epoch.
pub(crate) fn floor_of<S: State>(
    network: &Network,
    state: &S,
    epoch: u64,
) -> Result<u128, StateError> {
    floor_at(&Sheet::new(state), network, epoch)
}

/// What lane 1 won in the epochs that may still vest, the newest first.
pub(crate) fn rewards_of<S: State>(state: &S, epoch: u64) -> Result<Vec<EpochRewards>, StateError> {
    let sheet = Sheet::new(state);
    let mut found = Vec::new();
    for epoch in (epoch.saturating_sub(VESTING_EPOCHS)..=epoch).rev() {
        let rewards: Option<EpochRewards> = sheet.get(&sheet::rewards(epoch))?;
        found.extend(rewards.filter(|rewards| rewards.epoch == epoch));
    }
    Ok(found)
}
