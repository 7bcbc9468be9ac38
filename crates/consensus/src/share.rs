//! How the share of useful work moves: by what rentals paid, late and slowly.
//!
//! Once an epoch each useful lane's share is set anew. Its target follows from the fees that were
//! burned by settled receipts in seven epochs that lie far enough back to be final; the share
//! moves to it by at most a step. A header check knows the step, the body check the exact value.
//!
//! # Units
//! Shares and targets: 1/65,536 of the blocks. Money: atto-FLUX.

use alloy_primitives::U256;
use pouw_types::Network;

use crate::header::Shares;

/// The whole.
const WHOLE: u32 = 65_536;
/// What lane 0 keeps: 1 %, rounded up. With none, nobody could mine once both useful lanes die.
pub const FLOOR: u32 = 656;
/// The most of lane 2: 30 %, rounded down.
pub const CREDIT_CAP: u32 = 19_660;
/// Epochs that the mean is taken over.
pub const WINDOW: u64 = 7;
/// The youngest epoch that counts is this many before the one whose share is set.
pub const LAG: u64 = 3;
/// 1/K: the useful lanes have all of the blocks when burned fees reach a quarter of the subsidy.
const INVERSE_K: u64 = 4;

/// What one epoch burned and paid, as far as shares depend on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EpochSums {
    /// Burned by receipts of rentals that chose vesting (R-7; the base fee never counts).
    pub vesting_burn: u128,
    /// Burned by receipts of rentals that chose credit.
    pub credit_burn: u128,
    /// Minted as rewards of lane 2.
    pub credit_rewards: u128,
}

/// How far a share moves at most in one epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steps {
    /// Upward.
    pub rise: u16,
    /// Downward; not less than upward, so that lane 0 keeps its floor.
    pub fall: u16,
}

impl Steps {
    /// A network's.
    #[must_use]
    pub const fn of(network: &Network) -> Self {
        Self { rise: network.lanes.share_rise, fall: network.lanes.share_fall }
    }
}

/// A header's shares cannot follow its parent's (C-18).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShareError {
    /// Within an epoch.
    #[error("shares move from {before:?} to {after:?} within an epoch")]
    WithinEpoch {
        /// The parent's.
        before: Shares,
        /// The header's.
        after: Shares,
    },
    /// At its start, by too much.
    #[error(
        "shares move from {before:?} to {after:?}, an epoch allows +{}/-{} units of each",
        steps.rise,
        steps.fall
    )]
    Step {
        /// The parent's.
        before: Shares,
        /// The header's.
        after: Shares,
        /// What is allowed.
        steps: Steps,
    },
    /// Lane 0 keeps less than the floor, or lane 2 has more than its cap.
    #[error("shares {0:?} leave lane 0 less than {FLOOR} or give lane 2 more than {CREDIT_CAP}")]
    Bounds(Shares),
}

/// The epoch of a height: block `length · e` is the first of epoch e.
#[must_use]
pub const fn epoch_of(height: u64, length: u64) -> u64 {
    match height.checked_div(length) {
        Some(epoch) => epoch,
        None => 0,
    }
}

/// The epochs whose sums set the shares of `epoch`: the seven from nine to three before it, oldest
/// first; those before the first epoch are absent.
pub fn window(epoch: u64) -> impl Iterator<Item = u64> {
    let oldest = LAG.saturating_add(WINDOW).saturating_sub(1);
    (LAG..=oldest).rev().filter_map(move |back| epoch.checked_sub(back))
}

/// Where the shares tend, from the sums of [`window`] (absent epochs left out) and the subsidy of
/// one epoch.
///
/// t = min(1 − floor, F/(K·S)), `t_2 = min(0.30, t·F_other/F)`, `t_1 = t·F_matmul/F`; every quotient
/// floors. With no subsidy t is the most; with nothing burned both are 0.
#[must_use]
pub fn targets(sums: &[EpochSums], epoch_subsidy: u128) -> Shares {
    let (matmul, other) = sums.iter().fold((U256::ZERO, U256::ZERO), |(matmul, other), sum| {
        let net = sum.credit_burn.saturating_sub(sum.credit_rewards);
        (matmul.saturating_add(U256::from(sum.vesting_burn)), other.saturating_add(U256::from(net)))
    });
    let all = matmul.saturating_add(other);
    if all.is_zero() {
        return Shares::HASH_ONLY;
    }
    let most = WHOLE.saturating_sub(FLOOR);
    // F/(K·S) with F a mean over the window: 4·ΣF/(7·S).
    let scaled = all.saturating_mul(U256::from(u64::from(WHOLE).saturating_mul(INVERSE_K)));
    let whole = U256::from(epoch_subsidy).saturating_mul(U256::from(WINDOW));
    let total =
        scaled.checked_div(whole).and_then(|units| u32::try_from(units).ok()).unwrap_or(most);
    let total = U256::from(total.min(most));
    let part = |of: U256| {
        let units = total.saturating_mul(of).checked_div(all).unwrap_or_default();
        u16::try_from(units).unwrap_or(u16::MAX)
    };
    let cap = u16::try_from(CREDIT_CAP).unwrap_or(u16::MAX);
    Shares { matmul: part(matmul), credit: part(other).min(cap) }
}

/// [`targets`] within what a network allows: both useful lanes have at least their floors, lane 2 at
/// most its cap.
#[must_use]
pub fn targets_of(network: &Network, sums: &[EpochSums]) -> Shares {
    let subsidy = network.subsidy.atto().saturating_mul(network.epoch_blocks.into());
    let free = targets(sums, subsidy);
    let credit = free.credit.min(network.lanes.credit_cap).max(network.lanes.credit_floor);
    // What a floor gives lane 2 is not lane 0's to give.
    let left = WHOLE.saturating_sub(FLOOR).saturating_sub(credit.into());
    let left = u16::try_from(left).unwrap_or(u16::MAX);
    Shares { matmul: free.matmul.max(network.lanes.matmul_floor).min(left), credit }
}

/// The shares of the first blocks.
#[must_use]
pub const fn at_genesis(network: &Network) -> Shares {
    Shares { matmul: network.lanes.matmul_floor, credit: network.lanes.credit_floor }
}

/// The shares of an epoch, from the epoch before and the [`targets`] (C-19).
#[must_use]
pub fn moved(before: Shares, target: Shares, steps: Steps) -> Shares {
    let toward = |from: u16, to: u16| {
        if to > from {
            from.saturating_add(steps.rise).min(to)
        } else {
            from.saturating_sub(steps.fall).max(to)
        }
    };
    Shares {
        matmul: toward(before.matmul, target.matmul),
        credit: toward(before.credit, target.credit),
    }
}

/// What a header alone can show: shares rest within an epoch, move by at most a step at its start,
/// and keep their bounds (C-18).
///
/// # Errors
/// [`ShareError`].
pub fn check_move(
    before: Shares,
    after: Shares,
    starts_epoch: bool,
    steps: Steps,
) -> Result<(), ShareError> {
    if before == after {
        return Ok(());
    }
    if !starts_epoch {
        return Err(ShareError::WithinEpoch { before, after });
    }
    let within = |from: u16, to: u16| {
        to <= from.saturating_add(steps.rise) && to >= from.saturating_sub(steps.fall)
    };
    if !within(before.matmul, after.matmul) || !within(before.credit, after.credit) {
        return Err(ShareError::Step { before, after, steps });
    }
    let useful = u32::from(after.matmul).saturating_add(u32::from(after.credit));
    if useful > WHOLE.saturating_sub(FLOOR) || u32::from(after.credit) > CREDIT_CAP {
        return Err(ShareError::Bounds(after));
    }
    Ok(())
}
