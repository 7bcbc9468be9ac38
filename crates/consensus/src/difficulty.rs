//! Difficulty of three lanes, by one clock and one level a lane.
//!
//! After each block the common clock G moves by how early or late it was, and the lanes trade
//! level: the winner's rises, the others' fall in proportion to their shares, so that over time
//! each wins its share. A lane from which nothing is heard for 8 of its own spacings is *quiet*:
//! its share of blocks is expected from the others, and it sinks until it is found again.
//!
//! # Units
//! Logarithms to base 2 in units of 2^-32. Every product floors.

use pouw_types::Network;

use crate::codec::{DecodeError, Reader};
use crate::fixed::{ONE, exp2, log2};
use crate::header::Shares;
use crate::lane::Lane;

/// How far a quiet lane sinks at most: 20, on the logarithmic scale (docs/adr/0009). A branch without
/// it loses weight as long as it sinks.
const MAX_DROP: i64 = 20 * ONE;
/// A lane is quiet after this many of its own spacings without a block.
const QUIET_SPACINGS: i64 = 8 * ONE;
/// A late block counts as at most this many spacings.
const MAX_SPACINGS: u64 = 240;
/// And a hard one, as [`MAX_SPACINGS`].
const MAX_SILENCE: i64 = 240 * ONE;
/// Over how many of its half-lives the clock's mean runs: a day on the main network.
const MEAN_HALF_LIVES: i64 = 24;
/// 1/κ: what a block moves its lane's level by, inverted.
const INVERSE_KAPPA: i128 = 8;
/// Lowest difficulty of each lane, as a logarithm: 1, 2^18 (one ticket), 1.
const FLOORS: [i64; 3] = [0, 18 * ONE, 0];
/// Every difficulty is below 2^128.
const CEILING: i64 = 128 * ONE - 1;

/// What a network chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// T, milliseconds.
    pub block_ms: u64,
    /// How many T the clock takes for one step of two.
    pub half_life_blocks: u64,
    /// Levels at which the lanes open.
    pub start_levels: [i64; 3],
}

impl Pace {
    /// A network's.
    #[must_use]
    pub fn of(network: &Network) -> Self {
        let level = |whole: u32| i64::from(whole).saturating_mul(ONE);
        Self {
            block_ms: network.block_ms.max(1),
            half_life_blocks: network.half_life_blocks.max(1),
            start_levels: [
                level(network.lane_zero.genesis_level),
                level(network.lanes.matmul_level),
                level(network.lanes.credit_level),
            ],
        }
    }
}

/// One lane's part of the difficulty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LaneState {
    /// L.
    pub level: i64,
    /// Whether nothing was heard for 8 of its spacings.
    pub quiet: bool,
    /// Whether it opened and has not won a block since.
    pub fresh: bool,
    /// Spacings since its last block.
    pub since: i64,
    /// How far it sank since it became quiet.
    pub drop: i64,
    /// D of the next block, or 0 where the lane has never been open.
    pub difficulty: u128,
}

/// What difficulty depends on after a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Difficulty {
    /// G: the common clock.
    pub clock: i64,
    /// Ḡ: its mean over 24 half-lives.
    pub mean_clock: i64,
    /// The lanes, by number.
    pub lanes: [LaneState; 3],
}

/// How many usual spacings a block stands for, at least one.
#[derive(Clone, Copy)]
struct Spacings {
    /// By its timestamp.
    by_time: i64,
    /// By its timestamp or its work, whichever says more.
    silent: i64,
}

/// `⌊a·b/c⌋`, saturating.
fn mul_div(a: i64, b: i64, c: i64) -> i64 {
    let product = i128::from(a).saturating_mul(i128::from(b));
    narrow(product.checked_div_euclid(i128::from(c.max(1))).unwrap_or_default())
}

fn narrow(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}

/// Like [`log2`] for a sum of shares: relative to the whole of 65,536.
fn log2_share(units: u32) -> i64 {
    log2(u128::from(units)).saturating_sub(16 * ONE)
}

impl Difficulty {
    /// After the genesis block.
    #[must_use]
    pub fn genesis(pace: &Pace, shares: Shares) -> Self {
        let mut lanes = [LaneState::default(); 3];
        for ((lane, start), share) in lanes.iter_mut().zip(pace.start_levels).zip(shares.by_lane())
        {
            if share > 0 {
                lane.level = start;
            }
        }
        let mut genesis = Self { clock: 0, mean_clock: 0, lanes };
        let live = shares.by_lane().into_iter().sum();
        genesis.price(live, shares.by_lane());
        genesis
    }

    /// After one more block, won by `lane`, `spacing_ms` after its parent; `shares` are those of
    /// the block that follows.
    #[must_use]
    pub fn after(self, pace: &Pace, lane: Lane, spacing_ms: u64, shares: Shares) -> Self {
        self.after_silence(pace, lane, spacing_ms, self.silence_by_work(), shares)
    }

    /// In how many usual spacings this much work is done: 2^(G − Ḡ), from 1 to 240. A branch can't
    /// hide by its timestamps how long its other lanes won nothing.
    fn silence_by_work(&self) -> i64 {
        let harder = self.clock.saturating_sub(self.mean_clock).clamp(0, 8 * ONE);
        let spacings = exp2(harder.saturating_add(32 * ONE));
        i64::try_from(spacings).unwrap_or(MAX_SILENCE).min(MAX_SILENCE)
    }

    /// [`Difficulty::after`] where the block counts as at least `silence` spacings in which the
    /// other lanes won nothing (units of 2^-32).
    ///
    /// For the simulator, which asks what other ways to count would change.
    #[must_use]
    pub fn after_silence(
        mut self,
        pace: &Pace,
        lane: Lane,
        spacing_ms: u64,
        silence: i64,
        shares: Shares,
    ) -> Self {
        let shares = shares.by_lane();
        let spacing = spacing_ms.min(pace.block_ms.saturating_mul(MAX_SPACINGS));
        // The bounds above keep these within i64.
        let spacing = i64::try_from(spacing).unwrap_or(i64::MAX);
        let block = i64::try_from(pace.block_ms).unwrap_or(i64::MAX);
        let half_life = i64::try_from(pace.half_life_blocks).unwrap_or(i64::MAX);

        // 1. The clock, and its mean until the parent.
        let away = self.clock.saturating_sub(self.mean_clock);
        let blocks = half_life.saturating_mul(MEAN_HALF_LIVES);
        self.mean_clock = self.mean_clock.saturating_add(mul_div(away, 1, blocks));
        let early = block.saturating_sub(spacing);
        let step = mul_div(early, ONE, block.saturating_mul(half_life));
        self.clock = self.clock.saturating_add(step);
        let by_time = mul_div(spacing, ONE, block).max(ONE);
        let spacings = Spacings { by_time, silent: by_time.max(silence) };

        self.open(pace, shares);
        self.hear(lane, spacings.silent, shares);
        let live = self.silence(shares);
        self.trade(lane, spacings, shares, live);
        self.price(live, shares);
        self
    }

    /// A lane whose share rises from nothing for the first time starts quiet.
    fn open(&mut self, pace: &Pace, shares: [u32; 3]) {
        for ((state, start), share) in self.lanes.iter_mut().zip(pace.start_levels).zip(shares) {
            if share > 0 && state.difficulty == 0 {
                let level = start.saturating_sub(self.clock);
                *state = LaneState { level, quiet: true, fresh: true, ..LaneState::default() };
            }
        }
    }

    /// 2. The winner is heard again; the others grow silent.
    fn hear(&mut self, lane: Lane, spacings: i64, shares: [u32; 3]) {
        for (index, (state, share)) in self.lanes.iter_mut().zip(shares).enumerate() {
            if index == lane.index() {
                if state.quiet {
                    state.level = state.level.saturating_add(state.drop);
                    state.drop = 0;
                    state.quiet = false;
                    state.fresh = false;
                }
                state.since = 0;
            } else if share > 0 {
                state.since = state.since.saturating_add(spacings);
            }
        }
    }

    /// 3. Who is quiet; the sum of the shares of those who are not. Somebody is always live.
    fn silence(&mut self, shares: [u32; 3]) -> u32 {
        for (state, share) in self.lanes.iter_mut().zip(shares) {
            if share > 0 && mul_div(state.since, i64::from(share), 65_536) > QUIET_SPACINGS {
                state.quiet = true;
            }
        }
        let live = |lanes: &[LaneState; 3]| -> u32 {
            lanes.iter().zip(shares).filter(|(state, _)| !state.quiet).map(|(_, s)| s).sum()
        };
        if live(&self.lanes) == 0 {
            let largest = shares.into_iter().max().unwrap_or_default();
            if let Some((state, _)) =
                self.lanes.iter_mut().zip(shares).find(|(_, share)| *share == largest)
            {
                state.quiet = false;
            }
        }
        live(&self.lanes)
    }

    /// 4. Lanes trade level; quiet ones sink.
    fn trade(&mut self, lane: Lane, spacings: Spacings, shares: [u32; 3], live: u32) {
        let whole = i128::from(live.max(1));
        for (index, (state, share)) in self.lanes.iter_mut().zip(shares).enumerate() {
            if share == 0 {
                continue;
            }
            if state.quiet {
                // A lane that just opened has no place yet that work could tell of.
                let spacings = if state.fresh { spacings.by_time } else { spacings.silent };
                let sinks = mul_div(spacings, i64::from(share), 5 * 65_536);
                if state.fresh {
                    state.level = state.level.saturating_sub(sinks);
                } else {
                    let sinks = sinks.min(MAX_DROP.saturating_sub(state.drop));
                    state.level = state.level.saturating_sub(sinks);
                    state.drop = state.drop.saturating_add(sinks);
                }
            } else {
                let won = if index == lane.index() { whole } else { 0 };
                let gain = won.saturating_sub(i128::from(share)).saturating_mul(i128::from(ONE));
                let divisor = INVERSE_KAPPA.saturating_mul(whole);
                let gain = gain.checked_div_euclid(divisor).unwrap_or_default();
                state.level = state.level.saturating_add(narrow(gain));
            }
        }
    }

    /// 5. From levels to difficulties, within their bounds.
    fn price(&mut self, live: u32, shares: [u32; 3]) {
        let common = self.clock.saturating_add(log2_share(live));
        for ((state, floor), share) in self.lanes.iter_mut().zip(FLOORS).zip(shares) {
            if share == 0 {
                continue;
            }
            let x = state.level.saturating_add(common);
            let bounded = x.clamp(floor, CEILING);
            if bounded != x {
                state.level = bounded.saturating_sub(common);
                // A quiet lane that is as easy as can be did not sink: it must not rise by what it
                // did not sink once it is heard again.
                let lifted = bounded.saturating_sub(x).max(0);
                state.drop = state.drop.saturating_sub(lifted).max(0);
            }
            state.difficulty = u128::try_from(exp2(bounded)).unwrap_or(u128::MAX);
        }
    }

    /// D of a lane for the next block.
    #[must_use]
    pub fn of(&self, lane: Lane) -> u128 {
        let [hash, matmul, credit] = self.lanes;
        match lane {
            Lane::Hash => hash.difficulty,
            Lane::Matmul => matmul.difficulty,
            Lane::Credit => credit.difficulty,
        }
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.clock.to_le_bytes());
        out.extend_from_slice(&self.mean_clock.to_le_bytes());
        for lane in &self.lanes {
            out.extend_from_slice(&lane.level.to_le_bytes());
            out.push(u8::from(lane.quiet) | (u8::from(lane.fresh) << 1));
            out.extend_from_slice(&lane.since.to_le_bytes());
            out.extend_from_slice(&lane.drop.to_le_bytes());
            out.extend_from_slice(&lane.difficulty.to_le_bytes());
        }
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let clock = reader.i64("clock")?;
        let mean_clock = reader.i64("mean clock")?;
        let mut lanes = [LaneState::default(); 3];
        for lane in &mut lanes {
            lane.level = reader.i64("level")?;
            let flags = reader.u8("lane flags")?;
            if flags > 3 {
                return Err(DecodeError::Canonical("lane flags"));
            }
            lane.quiet = flags & 1 == 1;
            lane.fresh = flags & 2 == 2;
            lane.since = reader.i64("since")?;
            lane.drop = reader.i64("drop")?;
            lane.difficulty = u128::from_le_bytes(reader.array("difficulty")?);
        }
        Ok(Self { clock, mean_clock, lanes })
    }
}
