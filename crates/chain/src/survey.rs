//! The chain by lanes: who wins blocks, how hard each lane is, and why shares moved.

use pouw_consensus::share::{EpochSums, epoch_of, targets_of};
use pouw_consensus::{BlockId, Header, Lane, Shares, Standing};
use pouw_types::{Amount, Network};

use crate::chain::Chain;
use crate::credit::{judging, minted};
use crate::epochs::Epochs;
use crate::error::{ReadError, StoreError};
use crate::import::minted_at_once;
use crate::store::{Reading, corrupt};

/// One block's header, and how hard it was.
#[derive(Clone, Debug)]
pub struct HeaderView {
    /// The block's name.
    pub id: BlockId,
    /// The header.
    pub header: Header,
    /// D of its lane when it was won.
    pub difficulty: u128,
    /// Since its parent, milliseconds.
    pub spacing_ms: u64,
    /// Minted at once for winning it; none where the state that says so is no longer kept (lane 2).
    pub minted: Option<Amount>,
}

/// What one lane did in some recent blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneSurvey {
    /// Which.
    pub lane: Lane,
    /// Its share of the next block, 1/65,536.
    pub share: u32,
    /// D of the next block: expected tickets (lane 0), multiplications (lane 1), credit (lane 2).
    pub difficulty: u128,
    /// Whether nothing was heard of it for eight of its spacings.
    pub quiet: bool,
    /// Blocks that it won.
    pub blocks: u64,
    /// Sum of D over them: the work that they stand for.
    pub work: u128,
}

/// What happened in some recent blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survey {
    /// How many blocks.
    pub blocks: u64,
    /// From the first one's parent to the last one, milliseconds.
    pub elapsed_ms: u64,
    /// By lane.
    pub lanes: [LaneSurvey; 3],
}

/// The shares of one epoch and where they came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochShares {
    /// Which.
    pub epoch: u64,
    /// Its first height.
    pub first_height: u64,
    /// What they are.
    pub shares: Shares,
    /// What they were before.
    pub before: Shares,
    /// Where they tended, and the sums of the seven epochs that say so; none where that state is no
    /// longer kept, and for the first epoch.
    pub cause: Option<Cause>,
}

/// Why shares moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cause {
    /// What the sums ask for.
    pub target: Shares,
    /// Seven epochs together.
    pub sums: EpochSums,
}

impl Chain {
    /// Headers of the best chain below a height, newest first: at most `limit` of this lane, among at
    /// most `scan` blocks.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn headers_below(
        &self,
        below: u64,
        limit: usize,
        scan: u64,
        lane: Option<Lane>,
    ) -> Result<Vec<HeaderView>, StoreError> {
        headers_below(self.network(), &self.inner.store.read()?, below, limit, scan, lane)
    }

    /// The last blocks by lane, at most `blocks` of them. The first block's spacing is from the
    /// network's date and says nothing, so it is left out.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn survey(&self, blocks: u64) -> Result<Survey, StoreError> {
        let reading = self.inner.store.read()?;
        let (standing, _) = tip(&reading)?;
        let count = blocks.min(standing.height.saturating_sub(1));
        let limit = usize::try_from(count).unwrap_or(usize::MAX);
        let headers = headers_below(self.network(), &reading, u64::MAX, limit, count, None)?;
        let shares = standing.shares.by_lane();
        let lanes = Lane::ALL.map(|lane| {
            let won = headers.iter().filter(|view| view.header.core.lane == lane);
            let (blocks, work) = won.fold((0u64, 0u128), |(blocks, work), view| {
                (blocks.saturating_add(1), work.saturating_add(view.difficulty))
            });
            let state = standing.difficulty.lanes.get(lane.index()).copied();
            LaneSurvey {
                lane,
                share: shares.get(lane.index()).copied().unwrap_or_default(),
                difficulty: standing.difficulty.of(lane),
                quiet: state.is_some_and(|state| state.quiet),
                blocks,
                work,
            }
        });
        let elapsed_ms = headers.iter().map(|view| view.spacing_ms).fold(0, u64::saturating_add);
        Ok(Survey { blocks: u64::try_from(headers.len()).unwrap_or(u64::MAX), elapsed_ms, lanes })
    }

    /// The shares of the last epochs, the newest first; the newest is the one of the next block.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn shares(&self, epochs: u64) -> Result<Vec<EpochShares>, ReadError> {
        let reading = self.inner.store.read()?;
        let length = self.network().epoch_blocks;
        let newest = epoch_of(tip(&reading)?.0.height.saturating_add(1), length);
        let oldest = reading.oldest()?;
        let mut found = Vec::new();
        for epoch in (newest.saturating_sub(epochs.saturating_sub(1))..=newest).rev() {
            let first_height = epoch.saturating_mul(length);
            // The last block of the epoch before knows the shares of this one.
            let (after, header) = at(&reading, first_height.saturating_sub(1))?;
            let (shares, before) = (after.shares, header.core.shares);
            let known = epoch > 0 && first_height.saturating_sub(1) >= oldest;
            let cause = if known {
                let state = reading.state(first_height.saturating_sub(1))?;
                let sums = Epochs::read(&state)?.behind(epoch);
                let target = targets_of(self.network(), &sums);
                Some(Cause { target, sums: sums.iter().fold(EpochSums::default(), add) })
            } else {
                None
            };
            found.push(EpochShares { epoch, first_height, shares, before, cause });
        }
        Ok(found)
    }
}

fn headers_below(
    network: &Network,
    reading: &Reading,
    below: u64,
    limit: usize,
    scan: u64,
    lane: Option<Lane>,
) -> Result<Vec<HeaderView>, StoreError> {
    let top = below.min(tip(reading)?.0.height.saturating_add(1));
    let mut found = Vec::new();
    let mut child: Option<(Standing, Header)> = None;
    for height in (top.saturating_sub(scan)..top).rev() {
        let (standing, header) = match child.take() {
            Some(known) => known,
            None => at(reading, height)?,
        };
        if height == 0 {
            break;
        }
        let parent = at(reading, height.saturating_sub(1))?;
        if lane.is_none_or(|lane| lane == header.core.lane) {
            found.push(HeaderView {
                id: standing.id,
                difficulty: parent.0.difficulty.of(header.core.lane),
                spacing_ms: standing.time_ms.saturating_sub(parent.0.time_ms),
                minted: minted_with(network, reading, &header)?,
                header,
            });
        }
        if found.len() >= limit {
            break;
        }
        child = Some(parent);
    }
    Ok(found)
}

fn add(all: EpochSums, one: &EpochSums) -> EpochSums {
    EpochSums {
        vesting_burn: all.vesting_burn.saturating_add(one.vesting_burn),
        credit_burn: all.credit_burn.saturating_add(one.credit_burn),
        credit_rewards: all.credit_rewards.saturating_add(one.credit_rewards),
    }
}

fn minted_with(
    network: &Network,
    reading: &Reading,
    header: &Header,
) -> Result<Option<Amount>, StoreError> {
    let core = &header.core;
    if core.lane != Lane::Credit {
        return Ok(Some(minted_at_once(network, core.lane)));
    }
    let height = judging(network, core.height)
        .filter(|height| reading.oldest().is_ok_and(|oldest| *height >= oldest));
    let Some(height) = height else { return Ok(None) };
    let state = reading.state(height)?;
    // A record that can't be read stops the node where it is needed, not where it is shown.
    Ok(minted(network, (&state, height), core.shares).ok())
}

fn at(reading: &Reading, height: u64) -> Result<(Standing, Header), StoreError> {
    let broken = || corrupt("header", height);
    let id = reading.at_height(height)?.ok_or_else(broken)?;
    reading.header(id)?.ok_or_else(broken)
}

/// The best block of this snapshot.
pub(crate) fn tip(reading: &Reading) -> Result<(Standing, Header), StoreError> {
    let id = reading.head()?;
    reading.header(id)?.ok_or_else(|| corrupt("header", id))
}
