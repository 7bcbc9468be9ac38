//! What to pay: base fee, tips, their history. Estimates for people; no rule depends on them.

use alloy_eips::{BlockId, BlockNumberOrTag};
use alloy_rpc_types_eth::FeeHistory;
use serde_json::{Value, json};

use super::chain::{resolve, to_json};
use super::error::RpcError;
use super::params::{Params, Quantity};
use crate::backend::{BlockFees, BlockRef};
use crate::server::Node;

/// Most blocks in a history, as geth.
const HISTORY_BLOCKS: u64 = 1_024;
/// Most percentiles in a history, as geth.
const PERCENTILES: usize = 100;
/// Blocks that a suggested tip looks at.
const TIP_BLOCKS: u64 = 20;
/// The suggested tip covers this part of the transactions, in percent.
const TIP_PERCENTILE: f64 = 60.0;
/// The least suggested tip is the network's least base fee divided by this.
const LEAST_TIP_DIVISOR: u64 = 10;
/// The most that is suggested, atto-FLUX a gas.
const MOST_TIP: u128 = 500_000_000_000;

pub(super) async fn call(node: &Node, method: &str, params: Params) -> Result<Value, RpcError> {
    if method == "eth_feeHistory" {
        return history(node, params).await;
    }
    params.end()?;
    let head = node.backend.head().await?;
    let mut price = suggested_tip(node, head.height).await?;
    if method == "eth_gasPrice" {
        price = price.saturating_add(u128::from(head.next_base_fee));
    }
    Ok(json!(format!("{price:#x}")))
}

async fn suggested_tip(node: &Node, newest: u64) -> Result<u128, RpcError> {
    let blocks = node.backend.fees(newest, TIP_BLOCKS).await?;
    let least = u128::from(node.backend.network().min_base_fee / LEAST_TIP_DIVISOR).max(1);
    let tips: Vec<_> = blocks.into_iter().flat_map(|block| block.tips).collect();
    Ok(percentile(tips, &[TIP_PERCENTILE])
        .first()
        .copied()
        .unwrap_or(least)
        .clamp(least, MOST_TIP.max(least)))
}

/// The tips that these parts (percent) of the gas paid at most.
fn percentile(mut tips: Vec<(u128, u64)>, percents: &[f64]) -> Vec<u128> {
    tips.sort_unstable();
    let total: u64 = tips.iter().fold(0, |sum, (_, gas)| sum.saturating_add(*gas));
    let reward = |percent: &f64| {
        let threshold = ratio(total, 100) * percent;
        let mut sum = 0_u64;
        let found = tips.iter().find(|(_, gas)| {
            sum = sum.saturating_add(*gas);
            ratio(sum, 1) >= threshold
        });
        found.or(tips.last()).map_or(0, |(tip, _)| *tip)
    };
    percents.iter().map(reward).collect()
}

fn ratio(part: u64, whole: u64) -> f64 {
    let (part, whole) = (part as f64, whole as f64);
    if whole > 0.0 { part / whole } else { 0.0 }
}

async fn history(node: &Node, mut params: Params) -> Result<Value, RpcError> {
    let Quantity(count) = params.required("block count")?;
    let newest: BlockNumberOrTag = params.required("newest block")?;
    let percents: Option<Vec<f64>> = params.optional("reward percentiles")?;
    params.end()?;
    if let Some(percents) = &percents {
        check_percentiles(percents)?;
    }
    let head = node.backend.head().await?;
    let newest = match resolve(node, BlockId::Number(newest)).await? {
        BlockRef::Height(height) => height,
        BlockRef::Latest | BlockRef::Hash(_) => head.height,
    };
    if newest > head.height {
        let message = format!("request beyond head block: {newest}, head {}", head.height);
        return Err(RpcError::server(message));
    }
    let count = count.min(HISTORY_BLOCKS).min(newest.saturating_add(1));
    let blocks = if count == 0 { Vec::new() } else { node.backend.fees(newest, count).await? };
    let next = if newest == head.height {
        head.next_base_fee
    } else {
        let after = node.backend.fees(newest.saturating_add(1), 1).await?;
        after.first().map_or(head.next_base_fee, |block| block.base_fee)
    };
    to_json(history_of(blocks, next, newest, percents.as_deref()))
}

fn check_percentiles(percents: &[f64]) -> Result<(), RpcError> {
    if percents.len() > PERCENTILES {
        return Err(RpcError::params(format!("at most {PERCENTILES} percentiles")));
    }
    let in_range = percents.iter().all(|percent| (0.0..=100.0).contains(percent));
    let rising = percents.windows(2).all(|pair| pair.first() <= pair.last());
    if in_range && rising {
        return Ok(());
    }
    Err(RpcError::params("percentiles rise from 0 to 100"))
}

fn history_of(
    blocks: Vec<BlockFees>,
    next_base_fee: u64,
    newest: u64,
    percents: Option<&[f64]>,
) -> FeeHistory {
    let mut base_fees: Vec<u128> = blocks.iter().map(|block| block.base_fee.into()).collect();
    if !base_fees.is_empty() {
        base_fees.push(next_base_fee.into());
    }
    FeeHistory {
        oldest_block: blocks.first().map_or(newest, |block| block.height),
        base_fee_per_gas: base_fees,
        gas_used_ratio: blocks.iter().map(|b| ratio(b.gas_used, b.gas_limit)).collect(),
        reward: percents.map(|percents| {
            blocks.into_iter().map(|block| percentile(block.tips, percents)).collect()
        }),
        ..FeeHistory::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_counts_gas_not_transactions() {
        let tips = vec![(30, 10), (10, 80), (20, 10)];
        let got = percentile(tips, &[0.0, 50.0, 80.0, 81.0, 95.0, 100.0]);
        assert_eq!(got, [10, 10, 10, 20, 30, 30]);
        assert_eq!(percentile(Vec::new(), &[50.0]), [0], "an empty block");
    }

    #[test]
    fn percentiles_must_rise_and_stay_in_range() {
        for good in [vec![], vec![0.0, 0.0, 100.0], vec![25.0, 75.0]] {
            assert_eq!(check_percentiles(&good), Ok(()), "{good:?}");
        }
        for bad in [vec![-1.0], vec![101.0], vec![50.0, 25.0], vec![1.0; 101]] {
            assert!(check_percentiles(&bad).is_err(), "{bad:?}");
        }
    }
}
