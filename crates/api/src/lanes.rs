//! The chain by lanes, as outsiders see it: what the backend answers and what the HTTP API shows.

use alloy_primitives::{Address, B256};
use pouw_types::Amount;
use schemars::JsonSchema;
use serde::{Serialize, Serializer};

use crate::backend::BackendError;

/// One lane over some recent blocks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct LaneView {
    /// 0 hash, 1 matmul, 2 credit.
    pub lane: u8,
    /// `hash`, `matmul` or `credit`.
    pub name: &'static str,
    /// Its share of the blocks, in 65,536ths. Without share a lane is closed.
    pub share: u32,
    /// What a block takes on average, in the lane's own unit; decimal. 0 before it first opens.
    #[serde(serialize_with = "decimal")]
    #[schemars(with = "String")]
    pub difficulty: u128,
    /// The unit of `difficulty` and `rate`: `tickets`, `MAC` or `atto-FLUX`.
    pub unit: &'static str,
    /// Whether nothing was heard of it for eight of its spacings: the others make its blocks.
    pub quiet: bool,
    /// Expected time between its blocks; null without share.
    pub expected_spacing_ms: Option<u64>,
    /// Measured; null without blocks in the window.
    pub spacing_ms: Option<u64>,
    /// Blocks that it won in the window.
    pub blocks: u64,
    /// Work a second that its blocks stand for: of lane 1 the network's multiplications a second.
    /// Decimal; null for lane 2 and where there is nothing to tell from.
    #[serde(serialize_with = "decimal_option")]
    #[schemars(with = "Option<String>")]
    pub rate: Option<u128>,
}

/// What the useful lanes were promised, and what of it somebody paid for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RewardsView {
    /// How many epochs the sums of lane 1 are of, the running one included.
    pub epochs: u64,
    /// Lane 1: minted with its blocks, a tenth.
    #[schemars(with = "String")]
    pub at_once: Amount,
    /// Lane 1: minted since, for work of the same hosts that settled receipts paid for.
    #[schemars(with = "String")]
    pub vested: Amount,
    /// Lane 1: not minted; what no paid work covers within thirty epochs never will be.
    #[schemars(with = "String")]
    pub unvested: Amount,
    /// What 2^40 multiplications of a receipt have to cost to count.
    #[schemars(with = "String")]
    pub floor_price: Amount,
    /// How many epochs the next two sums are of, the running one included.
    pub credit_epochs: u64,
    /// Lane 2: burned by receipts that earn credit.
    #[schemars(with = "String")]
    pub burned_for_credit: Amount,
    /// Lane 2: minted with its blocks.
    #[schemars(with = "String")]
    pub minted_for_credit: Amount,
    /// Lane 2: the credit of all machines that counts in the next block.
    #[schemars(with = "String")]
    pub credit: Amount,
}

/// A machine in the useful lanes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct MachineLanes {
    /// Which.
    #[schemars(with = "String")]
    pub machine: Address,
    /// Who is paid for its blocks; zero where nobody is.
    #[schemars(with = "String")]
    pub miner: Address,
    /// Its lane key; zero where it has none.
    #[schemars(with = "String")]
    pub lane_key: B256,
    /// Its credit in the next block: what counts was burned in the seven epochs before the one that
    /// ended a horizon ago.
    #[schemars(with = "String")]
    pub credit: Amount,
    /// The credit of all machines in the next block.
    #[schemars(with = "String")]
    pub all_credit: Amount,
    /// Burned by its credit receipts: in the running epoch, and in the seven before it.
    #[schemars(with = "Vec<String>")]
    pub burned: Vec<Amount>,
    /// Its miner's rewards of lane 1 that wait for paid work, the oldest first.
    pub vesting: Vec<VestingView>,
}

/// Rewards of one epoch that vest together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct VestingView {
    /// When they were won.
    pub epoch: u64,
    /// All of them.
    #[schemars(with = "String")]
    pub reward: Amount,
    /// What of it was minted.
    #[schemars(with = "String")]
    pub minted: Amount,
    /// Multiplications that have to be paid for; decimal.
    #[serde(serialize_with = "decimal")]
    #[schemars(with = "String")]
    pub work: u128,
    /// Those that were; decimal.
    #[serde(serialize_with = "decimal")]
    #[schemars(with = "String")]
    pub covered: u128,
}

/// All lanes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct LanesView {
    /// How many of the last blocks were looked at.
    pub window_blocks: u64,
    /// How long they took.
    pub window_ms: u64,
    /// By number.
    pub lanes: Vec<LaneView>,
    /// What lanes 1 and 2 earned; null where that state is no longer kept.
    pub rewards: Option<RewardsView>,
}

/// Shares of three lanes, in 65,536ths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SharesView {
    /// `s_0`.
    pub hash: u32,
    /// `s_1`.
    pub matmul: u32,
    /// `s_2`.
    pub credit: u32,
}

/// Why the shares of an epoch are what they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ShareReason {
    /// The first epoch: what the network starts with.
    Start,
    /// They are where the burned fees put them.
    AtTarget,
    /// On the way up, by at most a step an epoch.
    Rising,
    /// On the way down, by at most a step an epoch.
    Falling,
    /// The state that says so is no longer kept here.
    Pruned,
}

/// One epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct EpochView {
    /// Its number.
    pub epoch: u64,
    /// Its first block.
    pub first_height: u64,
    /// Its shares.
    pub shares: SharesView,
    /// Of the epoch before.
    pub before: SharesView,
    /// Where they tend; null where pruned.
    pub target: Option<SharesView>,
    /// Why.
    pub reason: ShareReason,
    /// Burned by rentals whose receipts vest lane 1, seven epochs together; null where pruned.
    #[schemars(with = "Option<String>")]
    pub burned_for_matmul: Option<Amount>,
    /// Burned by rentals whose receipts earn credit, the same.
    #[schemars(with = "Option<String>")]
    pub burned_for_credit: Option<Amount>,
    /// Minted by lane 2, the same: only what is burned beyond it moves its share.
    #[schemars(with = "Option<String>")]
    pub minted_for_credit: Option<Amount>,
}

/// The shares over time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SharesOverTime {
    /// Blocks of an epoch.
    pub epoch_blocks: u64,
    /// What seven epochs' subsidies are: a quarter of it burned gives all to the useful lanes.
    #[schemars(with = "String")]
    pub subsidies: Amount,
    /// How far a share rises and falls at most in an epoch, in 65,536ths.
    pub steps: [u16; 2],
    /// Newest first.
    pub epochs: Vec<EpochView>,
}

/// A block in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct BlockLine {
    /// Height.
    pub height: u64,
    /// Its name.
    #[schemars(with = "String")]
    pub hash: B256,
    /// 0 hash, 1 matmul, 2 credit.
    pub lane: u8,
    /// Unix milliseconds.
    pub time_ms: u64,
    /// Since its parent.
    pub spacing_ms: u64,
    /// When it was won, in the lane's unit; decimal.
    #[serde(serialize_with = "decimal")]
    #[schemars(with = "String")]
    pub difficulty: u128,
    /// Who is paid.
    #[schemars(with = "String")]
    pub miner: Address,
    /// Minted with it; null for a block of lane 2 whose credit is no longer known here.
    #[schemars(with = "Option<String>")]
    pub minted: Option<Amount>,
    /// Of lane 2: the machine whose credit won it.
    #[schemars(with = "Option<String>")]
    pub machine: Option<Address>,
    /// Of lane 1: rows of A, inner size, columns of B of the product that won it.
    pub product: Option<[u32; 3]>,
}

/// Which blocks to list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockList {
    /// Only below this height.
    pub below: u64,
    /// At most so many.
    pub limit: u32,
    /// Only of this lane.
    pub lane: Option<u8>,
}

/// What went into one lane since the node started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct EffortView {
    /// Blocks won.
    pub blocks: u64,
    /// Processor time.
    pub busy_ms: u64,
    /// `tickets`, `MAC` or `slots`.
    pub unit: &'static str,
    /// Units a second of processor time, decimal; null before the first try.
    #[serde(serialize_with = "decimal_option")]
    #[schemars(with = "Option<String>")]
    pub rate: Option<u128>,
    /// Minted for these blocks.
    #[schemars(with = "String")]
    pub income: Amount,
}

/// Energy, as far as the machine tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PowerView {
    /// What the processors' packages used since the node started, whoever used it; thousandths of
    /// Wh. Null where it can't be read.
    pub milliwatt_hours: Option<u64>,
    /// Why not.
    pub unreadable: Option<String>,
}

/// What this node's miner does and earns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct MiningView {
    /// `hash`, `matmul`, `both`, `credit`, `all` or `auto`.
    pub mode: &'static str,
    /// Who is paid.
    #[schemars(with = "String")]
    pub payout: Address,
    /// Lane 0.
    pub hash: EffortView,
    /// Lane 1, random products.
    pub matmul: EffortView,
    /// Lane 2, this node's machines.
    pub credit: EffortView,
    /// What it took.
    pub power: PowerView,
}

/// A block of lane 1 that products of a machine's tasks may win.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct LaneOneWork {
    /// A certificate names it.
    pub number: u64,
    /// Hash of the header's core.
    #[schemars(with = "String")]
    pub core: B256,
    /// `D_1`, decimal.
    #[serde(serialize_with = "decimal")]
    #[schemars(with = "String")]
    pub difficulty: u128,
    /// One to sixteen ancestors, the parent first.
    #[schemars(with = "Vec<String>")]
    pub ancestors: Vec<B256>,
    /// Who is paid for the block: the machine's registered miner.
    #[schemars(with = "String")]
    pub miner: Address,
}

/// No work is given, or a certificate is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LaneOneError {
    /// Nobody registered the machine.
    #[error("machine {0} is not registered on this chain")]
    Unregistered(Address),
    /// It proves nothing.
    #[error("the certificate does not win work {number}: {reason}")]
    Certificate {
        /// Which work.
        number: u64,
        /// Why.
        reason: String,
    },
    /// The node is in trouble, or has enough machines.
    #[error(transparent)]
    Backend(#[from] BackendError),
}

fn decimal<S: Serializer>(number: &u128, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(number)
}

#[expect(clippy::ref_option, reason = "serde's form")]
fn decimal_option<S: Serializer>(number: &Option<u128>, serializer: S) -> Result<S::Ok, S::Error> {
    match number {
        Some(number) => serializer.collect_str(number),
        None => serializer.serialize_none(),
    }
}
