//! What a block weighs, chained from block to block so that no rate of exchange between lanes is
//! needed (C-16, C-30).

use crate::difficulty::Difficulty;
use crate::fixed::{ONE, log2};
use crate::header::Shares;
use crate::lane::Lane;

/// Weight of the first block after genesis, as a logarithm.
pub const GENESIS_LOG2: i64 = 64 * ONE;

/// `Σ e_i·(log2 D_i(n+1) − log2 D_i(n))` over lanes 0 and 1, `e_i = s_i/(s_0 + s_1)`, with the
/// shares of block n + 1.
///
/// A lane that opens with this block had no difficulty before and moves nothing: else the opening
/// alone would lift every later block.
///
/// # Units
/// 2^-32 of a doubling; each product floors.
#[must_use]
pub fn step(shares: Shares, before: &Difficulty, after: &Difficulty) -> i64 {
    let [hash, matmul, _] = shares.by_lane();
    let whole = i128::from(hash.saturating_add(matmul).max(1));
    let lanes = [(Lane::Hash, hash), (Lane::Matmul, matmul)];
    lanes.into_iter().filter(|(lane, share)| *share > 0 && before.of(*lane) > 0).fold(
        0,
        |sum: i64, (lane, share)| {
            let moved = log2(after.of(lane)).saturating_sub(log2(before.of(lane)));
            let part = i128::from(moved).saturating_mul(i128::from(share));
            let part = part.checked_div_euclid(whole).unwrap_or_default();
            sum.saturating_add(i64::try_from(part).unwrap_or_default())
        },
    )
}
