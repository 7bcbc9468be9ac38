//! The chain by lanes, from the chain's words to those of the doors.

use alloy_primitives::Address;
use pouw_api::backend::BackendError;
use pouw_api::lanes::{
    BlockLine, BlockList, EffortView, EpochView, LaneView, LanesView, MachineLanes, MiningView,
    RewardsView, ShareReason, SharesOverTime, SharesView, VestingView,
};
use pouw_chain::{
    Chain, Effort, EpochRewards, EpochShares, HeaderView, LaneSurvey, Mine, minted_at_once,
};
use pouw_consensus::reward::{VESTING_EPOCHS, VestingEpoch};
use pouw_consensus::share::{LAG, Steps, WINDOW};
use pouw_consensus::{Claim, Lane, Shares};
use pouw_types::{Amount, Network};

use super::views;
use super::{Mining, power};

/// The most blocks that a list of one lane looks through.
const SCAN_BLOCKS: u64 = 10_000;
/// The whole, of which shares are parts.
const WHOLE: u64 = 65_536;

const fn name(lane: Lane) -> &'static str {
    match lane {
        Lane::Hash => "hash",
        Lane::Matmul => "matmul",
        Lane::Credit => "credit",
    }
}

const fn unit(lane: Lane) -> &'static str {
    match lane {
        Lane::Hash => "tickets",
        Lane::Matmul => "MAC",
        Lane::Credit => "atto-FLUX",
    }
}

pub(super) fn block_list(chain: &Chain, list: BlockList) -> Result<Vec<BlockLine>, BackendError> {
    let lane = list.lane.and_then(|lane| Lane::from_byte(lane).ok());
    let limit = usize::try_from(list.limit).unwrap_or(usize::MAX);
    let found = chain.headers_below(list.below, limit, SCAN_BLOCKS, lane).map_err(views::store)?;
    Ok(found.iter().map(line).collect())
}

fn line(view: &HeaderView) -> BlockLine {
    let core = &view.header.core;
    let (product, machine) = match &view.header.claim {
        Claim::Matmul(claim) => {
            let shape = claim.opened.shape;
            (Some([shape.m(), shape.k(), shape.n()]), None)
        }
        Claim::Credit(claim) => (None, Some(claim.machine)),
        _ => (None, None),
    };
    BlockLine {
        height: core.height,
        hash: view.id,
        lane: core.lane.byte(),
        time_ms: core.time_ms,
        spacing_ms: view.spacing_ms,
        difficulty: view.difficulty,
        miner: core.miner,
        minted: view.minted,
        machine,
        product,
    }
}

pub(super) fn lanes(chain: &Chain, window: u64) -> Result<LanesView, BackendError> {
    let survey = chain.survey(window).map_err(views::store)?;
    let block_ms = chain.network().block_ms;
    let lanes = survey.lanes.iter().map(|lane| view(lane, block_ms, survey.elapsed_ms));
    Ok(LanesView {
        window_blocks: survey.blocks,
        window_ms: survey.elapsed_ms,
        lanes: lanes.collect(),
        rewards: Some(rewards(chain)?),
    })
}

fn rewards(chain: &Chain) -> Result<RewardsView, BackendError> {
    let won = chain.rewards().map_err(views::read)?;
    let sum = |part: fn(&EpochRewards) -> u128| {
        Amount::from_atto(won.iter().map(part).fold(0, u128::saturating_add))
    };
    let burns = chain.recent_burns().map_err(views::read)?;
    Ok(RewardsView {
        epochs: VESTING_EPOCHS.saturating_add(1),
        at_once: sum(|one| one.at_once),
        vested: sum(|one| one.vested),
        unvested: sum(|one| one.waiting),
        floor_price: Amount::from_atto(chain.floor_price().map_err(views::read)?),
        credit_epochs: LAG.saturating_add(WINDOW),
        burned_for_credit: Amount::from_atto(burns.credit_burn),
        minted_for_credit: Amount::from_atto(burns.credit_rewards),
        credit: Amount::from_atto(chain.counting_credit().map_err(views::read)?),
    })
}

pub(super) fn machine(
    chain: &Chain,
    machine: Address,
) -> Result<Option<MachineLanes>, BackendError> {
    let Some(found) = chain.machine_survey(machine).map_err(views::read)? else {
        return Ok(None);
    };
    let vesting = |one: &VestingEpoch| VestingView {
        epoch: one.epoch,
        reward: Amount::from_atto(one.reward),
        minted: Amount::from_atto(one.minted),
        work: one.work,
        covered: one.covered,
    };
    Ok(Some(MachineLanes {
        machine,
        miner: found.miner,
        lane_key: found.lane_key.into(),
        credit: Amount::from_atto(found.credit),
        all_credit: Amount::from_atto(chain.counting_credit().map_err(views::read)?),
        burned: found.burned.sums.into_iter().map(Amount::from_atto).collect(),
        vesting: found.vesting.iter().map(vesting).collect(),
    }))
}

fn view(survey: &LaneSurvey, block_ms: u64, elapsed_ms: u64) -> LaneView {
    let LaneSurvey { lane, share, difficulty, quiet, blocks, work } = *survey;
    // Credit is no work: nothing is done a second.
    let rate = match lane {
        Lane::Hash | Lane::Matmul => work.saturating_mul(1_000).checked_div(elapsed_ms.into()),
        Lane::Credit => None,
    };
    LaneView {
        lane: lane.byte(),
        name: name(lane),
        share,
        difficulty,
        unit: unit(lane),
        quiet: quiet && share > 0,
        expected_spacing_ms: block_ms.saturating_mul(WHOLE).checked_div(share.into()),
        spacing_ms: elapsed_ms.checked_div(blocks),
        blocks,
        rate,
    }
}

fn shares_view(shares: Shares) -> SharesView {
    let [hash, matmul, credit] = shares.by_lane();
    SharesView { hash, matmul, credit }
}

pub(super) fn shares(chain: &Chain, epochs: u64) -> Result<SharesOverTime, BackendError> {
    let network = chain.network();
    let found = chain.shares(epochs).map_err(views::read)?;
    let steps = Steps::of(network);
    let blocks = network.epoch_blocks.saturating_mul(WINDOW);
    Ok(SharesOverTime {
        epoch_blocks: network.epoch_blocks,
        subsidies: Amount::from_atto(network.subsidy.atto().saturating_mul(blocks.into())),
        steps: [steps.rise, steps.fall],
        epochs: found.iter().map(epoch_view).collect(),
    })
}

fn epoch_view(one: &EpochShares) -> EpochView {
    let useful = |shares: Shares| {
        let [_, matmul, credit] = shares.by_lane();
        matmul.saturating_add(credit)
    };
    let reason = match one.cause {
        None if one.epoch == 0 => ShareReason::Start,
        None => ShareReason::Pruned,
        Some(cause) if cause.target == one.shares => ShareReason::AtTarget,
        Some(cause) if useful(cause.target) > useful(one.shares) => ShareReason::Rising,
        Some(_) => ShareReason::Falling,
    };
    EpochView {
        epoch: one.epoch,
        first_height: one.first_height,
        shares: shares_view(one.shares),
        before: shares_view(one.before),
        target: one.cause.map(|cause| shares_view(cause.target)),
        reason,
        burned_for_matmul: one.cause.map(|cause| Amount::from_atto(cause.sums.vesting_burn)),
        burned_for_credit: one.cause.map(|cause| Amount::from_atto(cause.sums.credit_burn)),
        minted_for_credit: one.cause.map(|cause| Amount::from_atto(cause.sums.credit_rewards)),
    }
}

/// The word for a mode on the command line.
pub(crate) const fn mode(mine: Mine) -> &'static str {
    match mine {
        Mine::Hash => "hash",
        Mine::Matmul => "matmul",
        Mine::Both => "both",
        Mine::Credit => "credit",
        Mine::All => "all",
        Mine::Auto => "auto",
    }
}

pub(super) fn mining(network: &Network, mining: &Mining) -> MiningView {
    let report = mining.reporter.read();
    let effort = |lane: Lane, effort: &Effort| {
        let minted = minted_at_once(network, lane).atto().saturating_mul(effort.blocks.into());
        let minted = if lane == Lane::Credit { report.credit_minted } else { minted };
        EffortView {
            blocks: effort.blocks,
            busy_ms: effort.busy_ns / 1_000_000,
            unit: if lane == Lane::Credit { "slots" } else { unit(lane) },
            rate: effort.rate(),
            income: Amount::from_atto(minted),
        }
    };
    MiningView {
        mode: mode(mining.mine),
        payout: mining.payout,
        hash: effort(Lane::Hash, &report.hash),
        matmul: effort(Lane::Matmul, &report.matmul),
        credit: effort(Lane::Credit, &report.credit),
        power: power::view(&mining.meter),
    }
}
