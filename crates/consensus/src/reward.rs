//! What a block earns, by lane (C-28, C-29).
//!
//! Lane 0 earns the subsidy at once. Lane 1 earns a tenth of it at once; the rest becomes money only
//! against products that somebody paid the same host for. Lane 2 gets back at most half of what
//! was burned for it. What is not earned is never minted.
//!
//! # Units
//! Money: atto-FLUX. Work: multiplications (MACs). Prices of work: atto-FLUX for 2^40 of them.

use alloy_primitives::U256;

use crate::header::Shares;
use crate::share::WINDOW;

/// Epochs within which a reward of lane 1 vests, and that the floor price looks back.
pub const VESTING_EPOCHS: u64 = 30;
/// The part of lane 1's reward that is paid at once, inverted: a tenth.
const AT_ONCE: u128 = 10;
/// Work that prices are quoted for, as a logarithm.
const PRICE_BITS: usize = 40;

/// The two parts of a lane-1 reward.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MatmulReward {
    /// Minted with the block.
    pub at_once: u128,
    /// Minted as receipts vest it.
    pub vesting: u128,
}

/// Divides a subsidy.
#[must_use]
pub const fn matmul_reward(subsidy: u128) -> MatmulReward {
    let at_once = subsidy / AT_ONCE;
    MatmulReward { at_once, vesting: subsidy.saturating_sub(at_once) }
}

/// What a lane-2 block mints: min(subsidy, `C/(2·s_2·blocks of 7 epochs)`), C the sum of all
/// credits.
#[must_use]
pub fn credit_reward(subsidy: u128, credits: u128, shares: Shares, epoch_blocks: u64) -> u128 {
    let blocks = U256::from(epoch_blocks).saturating_mul(U256::from(WINDOW));
    let expected = blocks.saturating_mul(U256::from(2_u32.saturating_mul(shares.credit.into())));
    let whole = U256::from(credits).saturating_mul(U256::from(65_536));
    let fair = whole.checked_div(expected).unwrap_or_default();
    u128::try_from(fair).unwrap_or(u128::MAX).min(subsidy)
}

/// The blocks of lane 1 that one host won in one epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VestingEpoch {
    /// Which.
    pub epoch: u64,
    /// What may vest.
    pub reward: u128,
    /// The work that they stand for: the sum of their `D_1`.
    pub work: u128,
    /// How much of it receipts have covered.
    pub covered: u128,
    /// What was minted for that.
    pub minted: u128,
}

impl VestingEpoch {
    /// What the covered part is worth, ⌊reward·covered/work⌋: whatever the steps it came in.
    #[must_use]
    pub fn earned(&self) -> u128 {
        if self.covered >= self.work {
            return self.reward;
        }
        let product = U256::from(self.reward).saturating_mul(U256::from(self.covered));
        let part = product.checked_div(U256::from(self.work)).unwrap_or_default();
        u128::try_from(part).unwrap_or(u128::MAX)
    }
}

/// The vesting rewards of one host, at most 31 epochs, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vesting {
    epochs: Vec<VestingEpoch>,
}

impl Vesting {
    /// From what [`Vesting::epochs`] gave, oldest first.
    #[must_use]
    pub const fn of(epochs: Vec<VestingEpoch>) -> Self {
        Self { epochs }
    }

    /// What is waiting, oldest first.
    #[must_use]
    pub fn epochs(&self) -> &[VestingEpoch] {
        &self.epochs
    }

    /// After the host won a block of lane 1.
    pub fn won(&mut self, epoch: u64, reward: u128, difficulty: u128) {
        self.expire(epoch);
        match self.epochs.last_mut().filter(|last| last.epoch == epoch) {
            Some(last) => {
                last.reward = last.reward.saturating_add(reward);
                last.work = last.work.saturating_add(difficulty);
            }
            None => self.epochs.push(VestingEpoch {
                epoch,
                reward,
                work: difficulty,
                ..VestingEpoch::default()
            }),
        }
    }

    /// After a receipt of the host was settled: the oldest work is covered first; gives back what is
    /// minted. Work that covers nothing is not kept for later.
    pub fn settled(&mut self, epoch: u64, counted: u128) -> u128 {
        let minted = self.settled_by_epoch(epoch, counted);
        minted.into_iter().map(|(_, minted)| minted).fold(0, u128::saturating_add)
    }

    /// [`Vesting::settled`], by the epoch in which it was won.
    pub fn settled_by_epoch(&mut self, epoch: u64, counted: u128) -> Vec<(u64, u128)> {
        self.expire(epoch);
        let (mut left, mut minted) = (counted, Vec::new());
        for waiting in &mut self.epochs {
            let covers = left.min(waiting.work.saturating_sub(waiting.covered));
            waiting.covered = waiting.covered.saturating_add(covers);
            left = left.saturating_sub(covers);
            // A block won since may have made the work dearer: what was minted stays minted.
            let due = waiting.earned().saturating_sub(waiting.minted);
            waiting.minted = waiting.minted.saturating_add(due);
            if due > 0 {
                minted.push((waiting.epoch, due));
            }
        }
        self.epochs.retain(|waiting| waiting.covered < waiting.work);
        minted
    }

    fn expire(&mut self, epoch: u64) {
        self.epochs.retain(|waiting| epoch.saturating_sub(waiting.epoch) <= VESTING_EPOCHS);
    }
}

/// The price of work that was paid for and counts; `None` where nothing counts.
#[must_use]
pub fn price_of(active_paid: u128, counted: u128) -> Option<u128> {
    let price = (U256::from(active_paid) << PRICE_BITS).checked_div(U256::from(counted))?;
    Some(u128::try_from(price).unwrap_or(u128::MAX))
}

/// Steps of a price's size in an octave, as a logarithm.
const STEP_BITS: u32 = 2;

/// The step of a price: four an octave, so that an epoch remembers few numbers, however many
/// receipts it has. Price 0 is in the step of 1.
#[must_use]
pub fn price_step(price: u128) -> u16 {
    let price = price.max(1);
    let octave = price.ilog2();
    // The two bits below the highest.
    let part = match octave.checked_sub(STEP_BITS) {
        Some(down) => price >> down,
        None => price << STEP_BITS.saturating_sub(octave),
    };
    let part = u16::try_from(part & 3).unwrap_or_default();
    u16::try_from(octave << STEP_BITS).unwrap_or_default() | part
}

/// The lowest price of a step, rounded down; at most a fifth below any other of it.
#[must_use]
pub fn price_at_step(step: u16) -> u128 {
    let (octave, part) = (step >> STEP_BITS, step & 3);
    let whole = 4_u128.saturating_add(part.into());
    match octave.checked_sub(2) {
        Some(up) => whole << up.min(125),
        None => whole >> 2_u16.saturating_sub(octave),
    }
}

/// The work of a receipt that counts: as much as was paid for at the floor price.
#[must_use]
pub fn counted_work(work: u128, active_paid: u128, floor_price: u128) -> u128 {
    let paid = U256::from(active_paid) << PRICE_BITS;
    match paid.checked_div(U256::from(floor_price)) {
        Some(affords) => u128::try_from(affords).unwrap_or(u128::MAX).min(work),
        None => work,
    }
}

/// A price that was paid, and the fee that was burned with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PaidPrice {
    /// Paid for 2^40 multiplications.
    pub price: u128,
    /// Burned.
    pub burned: u128,
}

/// Half of the burn-weighted median of the prices of the last 30 epochs; `otherwise` where there
/// are none. Each price counts by what was burned with it, so a price has to be paid for to move
/// the floor.
#[must_use]
pub fn floor_price(prices: &[PaidPrice], otherwise: u128) -> u128 {
    let mut prices = prices.to_vec();
    prices.sort_unstable();
    let sum = |items: &[PaidPrice]| {
        items.iter().fold(U256::ZERO, |sum, one| sum.saturating_add(U256::from(one.burned)))
    };
    let all = sum(&prices);
    let mut seen = U256::ZERO;
    // Never 0: at that price any work would be paid for.
    let median = prices.iter().find(|one| {
        seen = seen.saturating_add(U256::from(one.burned));
        seen.saturating_mul(U256::from(2)) >= all && !seen.is_zero()
    });
    median.map_or(otherwise, |one| (one.price / 2).max(1))
}
