//! What epochs burned, kept in the state, and the shares that follow from it (C-18, C-19).
//!
//! A row a block would be too many: the sums change only with a block in which a rental was
//! settled or that lane 2 won, and are read only where an epoch ends.

use pouw_consensus::share::{EpochSums, LAG, Steps, WINDOW, epoch_of, moved, targets_of, window};
use pouw_consensus::{Core, Shares, Standing};
use pouw_ledger::{State, StateError, Writes};
use pouw_types::Network;

/// Key of the sums; no key of the ledger begins with 0xff.
pub(crate) const EPOCHS_KEY: &[u8] = b"\xffepochs";

/// Epochs that a record keeps: the running one and those that may still count.
const KEPT: u64 = LAG + WINDOW;

/// Bytes of one epoch: number, three sums.
const ROW_BYTES: usize = 8 + 3 * 16;

/// Sums of the epochs that burned anything, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Epochs(Vec<(u64, EpochSums)>);

/// Whether the block at a height is the first of its epoch.
pub(crate) const fn starts(network: &Network, height: u64) -> bool {
    height > 0 && height.is_multiple_of(network.epoch_blocks)
}

impl Epochs {
    /// As a state holds them.
    pub(crate) fn read<S: State>(state: &S) -> Result<Self, StateError> {
        let Some(bytes) = state.get(EPOCHS_KEY)? else { return Ok(Self::default()) };
        Self::decode(&bytes).ok_or_else(|| StateError::Corrupt {
            what: "sums of epochs",
            key: alloy_primitives::hex::encode(EPOCHS_KEY),
        })
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (rows, rest) = bytes.as_chunks::<ROW_BYTES>();
        let number = |row: &[u8], at: usize| {
            let bytes = row.get(at..)?.first_chunk()?;
            Some(u128::from_le_bytes(*bytes))
        };
        let rows = rows.iter().map(|row| {
            let sums = EpochSums {
                vesting_burn: number(row, 8)?,
                credit_burn: number(row, 24)?,
                credit_rewards: number(row, 40)?,
            };
            Some((u64::from_le_bytes(*row.first_chunk()?), sums))
        });
        rest.is_empty().then(|| rows.collect::<Option<Vec<_>>>().map(Self))?
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.0.len() * ROW_BYTES);
        for (epoch, EpochSums { vesting_burn, credit_burn, credit_rewards }) in &self.0 {
            out.extend_from_slice(&epoch.to_le_bytes());
            for sum in [vesting_burn, credit_burn, credit_rewards] {
                out.extend_from_slice(&sum.to_le_bytes());
            }
        }
        out
    }

    fn add(&mut self, epoch: u64, more: EpochSums) {
        self.0.retain(|(old, _)| epoch.saturating_sub(*old) < KEPT);
        if self.0.last().is_none_or(|(last, _)| *last != epoch) {
            self.0.push((epoch, EpochSums::default()));
        }
        if let Some((_, sums)) = self.0.last_mut() {
            sums.vesting_burn = sums.vesting_burn.saturating_add(more.vesting_burn);
            sums.credit_burn = sums.credit_burn.saturating_add(more.credit_burn);
            sums.credit_rewards = sums.credit_rewards.saturating_add(more.credit_rewards);
        }
    }

    /// All that is kept, together.
    pub(crate) fn all(&self) -> EpochSums {
        let mut all = EpochSums::default();
        for (_, sums) in &self.0 {
            all.vesting_burn = all.vesting_burn.saturating_add(sums.vesting_burn);
            all.credit_burn = all.credit_burn.saturating_add(sums.credit_burn);
            all.credit_rewards = all.credit_rewards.saturating_add(sums.credit_rewards);
        }
        all
    }

    /// The sums that set an epoch's shares.
    pub(crate) fn behind(&self, epoch: u64) -> Vec<EpochSums> {
        let kept =
            |wanted| self.0.iter().find(|(epoch, _)| *epoch == wanted).map(|(_, sums)| *sums);
        window(epoch).filter_map(kept).collect()
    }
}

/// Adds what a block burned, and minted by lane 2, to its epoch; the shares of the block after it.
pub(crate) fn after<S: State>(
    network: &Network,
    state: &S,
    parent: &Standing,
    core: &Core,
    sums: EpochSums,
    writes: &mut Writes,
) -> Result<Shares, StateError> {
    let nothing = sums == EpochSums::default();
    let next = core.height.saturating_add(1);
    let ends = starts(network, next);
    if nothing && !ends {
        return Ok(parent.shares);
    }
    let mut epochs = Epochs::read(state)?;
    if !nothing {
        epochs.add(epoch_of(core.height, network.epoch_blocks), sums);
        writes.insert(EPOCHS_KEY.to_vec(), Some(epochs.encode()));
    }
    if !ends {
        return Ok(parent.shares);
    }
    let sums = epochs.behind(epoch_of(next, network.epoch_blocks));
    Ok(moved(parent.shares, targets_of(network, &sums), Steps::of(network)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_read_as_they_were_written_and_old_ones_go() {
        let mut epochs = Epochs::default();
        for epoch in 0..20 {
            let sums = EpochSums { credit_burn: 5, credit_rewards: 2, ..EpochSums::default() };
            epochs.add(epoch, EpochSums { vesting_burn: u128::from(epoch) + 1, ..sums });
            epochs.add(epoch, sums);
        }
        assert_eq!(Epochs::decode(&epochs.encode()), Some(epochs.clone()));
        assert_eq!(epochs.0.len(), 10);
        let burns: Vec<u128> = epochs.behind(20).iter().map(|sums| sums.vesting_burn).collect();
        assert_eq!(burns, [12, 13, 14, 15, 16, 17, 18]);
        let others = |sums: &EpochSums| (sums.credit_burn, sums.credit_rewards) == (10, 4);
        assert!(epochs.behind(20).iter().all(others));
        let bytes = epochs.encode();
        assert_eq!(Epochs::decode(&bytes[1..]), None);
    }
}
