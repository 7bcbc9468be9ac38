//! What the useful lanes owe and hold, for people.

use alloy_primitives::Address;
use pouw_consensus::CreditSums;
use pouw_consensus::reward::VestingEpoch;
use pouw_consensus::share::{EpochSums, epoch_of};
use pouw_ledger::machine;

use crate::chain::Chain;
use crate::credit::{judging, record};
use crate::earnings::{EpochRewards, credit_of, credits, floor_of, rewards_of, vesting_of};
use crate::epochs::Epochs;
use crate::error::ReadError;
use crate::store::StateAt;
use crate::survey::tip;

/// A machine in the useful lanes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachineSurvey {
    /// Who is paid for its blocks; zero where nobody is.
    pub miner: Address,
    /// As registered; zero where it has none.
    pub lane_key: [u8; 32],
    /// What counts in the next block: by the state of H blocks before it.
    pub credit: u128,
    /// Burned by its receipts.
    pub burned: CreditSums,
    /// What waits for paid work, the oldest first.
    pub vesting: Vec<VestingEpoch>,
}

impl Chain {
    fn tip_state(&self) -> Result<(StateAt, u64), ReadError> {
        let reading = self.inner.store.read()?;
        let height = tip(&reading)?.0.height;
        Ok((reading.state(height)?, height))
    }

    /// What lane 1 won in the epochs that may still vest, the newest first; epochs in which it won
    /// nothing are left out.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn rewards(&self) -> Result<Vec<EpochRewards>, ReadError> {
        let (state, height) = self.tip_state()?;
        Ok(rewards_of(&state, epoch_of(height, self.network().epoch_blocks))?)
    }

    /// The rewards of lane 1 that wait for paid work of a miner's machines, the oldest first.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn vesting(&self, miner: Address) -> Result<Vec<VestingEpoch>, ReadError> {
        let (state, _) = self.tip_state()?;
        Ok(vesting_of(&state, miner)?.epochs().to_vec())
    }

    /// What 2^40 multiplications of a receipt have to cost in the next block to count, atto-FLUX.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn floor_price(&self) -> Result<u128, ReadError> {
        let (state, height) = self.tip_state()?;
        let epoch = epoch_of(height.saturating_add(1), self.network().epoch_blocks);
        Ok(floor_of(self.network(), &state, epoch)?)
    }

    /// What a machine's receipts burned for credit, by epoch.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn credit(&self, machine: Address) -> Result<CreditSums, ReadError> {
        let (state, height) = self.tip_state()?;
        let epoch = epoch_of(height, self.network().epoch_blocks);
        Ok(credit_of(&state, machine)?.at(epoch))
    }

    /// What all machines' receipts burned for credit, by epoch.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn credits(&self) -> Result<CreditSums, ReadError> {
        let (state, height) = self.tip_state()?;
        Ok(credits(&state)?.at(epoch_of(height, self.network().epoch_blocks)))
    }

    /// The credit of all machines that counts in the next block.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn counting_credit(&self) -> Result<u128, ReadError> {
        let network = self.network();
        let reading = self.inner.store.read()?;
        let next = tip(&reading)?.0.height.saturating_add(1);
        let Some(height) = judging(network, next) else { return Ok(0) };
        let state = reading.state(height)?;
        Ok(credits(&state)?.credit(epoch_of(height, network.epoch_blocks)))
    }

    /// What the last ten epochs burned and lane 2 minted in them, the running one included.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn recent_burns(&self) -> Result<EpochSums, ReadError> {
        let (state, _) = self.tip_state()?;
        Ok(Epochs::read(&state)?.all())
    }

    /// A machine's credit and vesting rewards; none where it was never registered.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn machine_survey(&self, address: Address) -> Result<Option<MachineSurvey>, ReadError> {
        let network = self.network();
        let reading = self.inner.store.read()?;
        let height = tip(&reading)?.0.height;
        let state = reading.state(height)?;
        let Some(found) = machine(&state, address)? else { return Ok(None) };
        let counts = match judging(network, height.saturating_add(1)) {
            Some(height) => record(network, (&reading.state(height)?, height), address)?,
            None => None,
        };
        Ok(Some(MachineSurvey {
            miner: found.miner,
            lane_key: found.laneKey.0,
            credit: counts.map_or(0, |record| record.credit),
            burned: credit_of(&state, address)?.at(epoch_of(height, network.epoch_blocks)),
            vesting: vesting_of(&state, found.miner)?.epochs().to_vec(),
        }))
    }
}
