//! Constant parameters of each network.

use core::fmt;
use core::str::FromStr;

use alloy_primitives::{Address, address};

use crate::Amount;

/// A network's parameters. No environment variable or feature changes a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// `mainnet`, `testnet` or `devnet`.
    pub name: &'static str,
    /// EIP-155.
    pub chain_id: u64,
    /// What the money is called.
    pub symbol: &'static str,
    /// Time of the genesis block, Unix milliseconds.
    pub genesis_ms: u64,
    /// T: the aimed time between blocks, milliseconds.
    pub block_ms: u64,
    /// How long difficulty takes to halve when blocks come infinitely late, in units of T.
    pub half_life_blocks: u64,
    /// Blocks in an epoch.
    pub epoch_blocks: u64,
    /// H: credit maturity, openings kept, deepest automatic reorg.
    pub horizon_blocks: u64,
    /// How many blocks of old state a node keeps: H more than the deepest reorg it can follow, as a
    /// block of lane 2 is judged by the state of H blocks before it.
    pub kept_states: u64,
    /// Lane 0.
    pub lane_zero: LaneZero,
    /// Lanes 1 and 2.
    pub lanes: UsefulLanes,
    /// What a block's miner gets beside tips.
    pub subsidy: Amount,
    /// Blocks before a subsidy can be spent.
    pub maturity_blocks: u64,
    /// Accounts that genesis funds.
    pub genesis: &'static [Funded],
    /// Where the foundation's part of rental fees goes.
    pub foundation: Address,
    /// Gas in a block.
    pub block_gas: u64,
    /// Lowest base fee, atto-FLUX a gas.
    pub min_base_fee: u64,
    /// Windows and shares of the rental protocol.
    pub rental: RentalRules,
}

/// Parameters of the hash lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneZero {
    /// Equihash n.
    pub n: u32,
    /// Equihash k.
    pub k: u32,
    /// Whole part of log2 of the first difficulty.
    pub genesis_level: u32,
}

/// Parameters of the matmul and the credit lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UsefulLanes {
    /// What lane 1 keeps of the blocks without any demand, 1/65,536; it starts with it. Where it is
    /// 0, lane 1 opens with the first share that burned fees give it.
    pub matmul_floor: u16,
    /// What lane 2 keeps without any demand, 1/65,536; it starts with it, and falls silent as long as
    /// nobody has credit.
    pub credit_floor: u16,
    /// The most that lane 2 may have, 1/65,536.
    pub credit_cap: u16,
    /// The least that 2^40 multiplications have to cost for a receipt's to count, as long as no
    /// receipt has shown a price, atto-FLUX.
    pub floor_price: u128,
    /// Whole part of log2 of the level at which lane 1 opens, multiplications.
    pub matmul_level: u32,
    /// Whole part of log2 of the level at which lane 2 opens, atto-FLUX of credit.
    pub credit_level: u32,
    /// How far a lane's share rises at most in an epoch, 1/65,536.
    pub share_rise: u16,
    /// How far it falls at most in an epoch, 1/65,536.
    pub share_fall: u16,
}

/// An account of the genesis block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Funded {
    /// Whose.
    pub address: Address,
    /// How much.
    pub amount: Amount,
}

/// What the rental protocol lets a network choose (`docs/SPECIFICATION.md`, R-1 to R-16).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RentalRules {
    /// Burned on top of the price, parts in a million.
    pub burn_ppm: u32,
    /// The foundation's part on top of the price, parts in a million.
    pub foundation_ppm: u32,
    /// blocks in which a call can be answered.
    pub call_blocks: u64,
    /// seconds in which a call can be answered; both must pass.
    pub call_s: u64,
    /// blocks of Closing.
    pub closing_blocks: u64,
    /// seconds of Closing; both must pass.
    pub closing_s: u64,
    /// the refund window with declared checkpoints, seconds.
    pub refund_window_s: u32,
    /// the refund window without declared checkpoints, seconds.
    pub refund_window_plain_s: u32,
}

/// No network has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no network `{0}`: mainnet, testnet and devnet exist")]
pub struct UnknownNetwork(String);

const FOUNDATION: Address = address!("0000000000000000000000000000000000706fff");

const RENTAL: RentalRules = RentalRules {
    burn_ppm: 50_000,
    foundation_ppm: 10_000,
    call_blocks: 15,
    call_s: 900,
    closing_blocks: 1_440,
    closing_s: 86_400,
    refund_window_s: 3_600,
    refund_window_plain_s: 600,
};

const MAINNET: Network = Network {
    name: "mainnet",
    chain_id: 768_900,
    symbol: "FLUX",
    genesis_ms: 1_800_000_000_000,
    block_ms: 60_000,
    half_life_blocks: 60,
    epoch_blocks: 1_440,
    horizon_blocks: 2_880,
    kept_states: 5_760,
    lane_zero: LaneZero { n: 144, k: 5, genesis_level: 16 },
    // A level that is too high costs the lane days until its first block, one that is too low a
    // burst of eight blocks for each bit. At a share of 1 %: 200 TMAC/s, and 1,000 FLUX of credit.
    lanes: UsefulLanes {
        matmul_floor: 0,
        credit_floor: 0,
        // 30 %, rounded down.
        credit_cap: 19_660,
        // A machine of 100 TMAC/s that is rented for 1 FLUX an hour gets 3·10^12 for them.
        floor_price: 1_000_000_000_000,
        matmul_level: 60,
        credit_level: 82,
        share_rise: 655,
        share_fall: 1_966,
    },
    subsidy: Amount::from_flux(40),
    maturity_blocks: 100,
    genesis: &[],
    foundation: FOUNDATION,
    block_gas: 60_000_000,
    min_base_fee: 1_000_000_000,
    rental: RENTAL,
};

const TESTNET: Network = Network {
    name: "testnet",
    chain_id: 768_901,
    symbol: "tFLUX",
    epoch_blocks: 144,
    horizon_blocks: 288,
    kept_states: 576,
    lane_zero: LaneZero { n: 96, k: 5, genesis_level: 8 },
    lanes: UsefulLanes { matmul_level: 50, ..MAINNET.lanes },
    ..MAINNET
};

const DEVNET: Network = Network {
    name: "devnet",
    chain_id: 768_902,
    symbol: "dFLUX",
    genesis_ms: 1_760_000_000_000,
    block_ms: 2_000,
    half_life_blocks: 10,
    epoch_blocks: 60,
    horizon_blocks: 120,
    kept_states: 10_120,
    lane_zero: LaneZero { n: 48, k: 5, genesis_level: 4 },
    // A fifth of the blocks each two minutes, so that a demonstration sees the share move.
    lanes: UsefulLanes {
        // One block in five is a matrix product's from the first on: both lanes are there to see.
        matmul_floor: 13_107,
        matmul_level: 32,
        // One in ten is lane 2's as soon as a rental's fees count, however little that is beside the
        // subsidy; it opens where a few seconds of this machine's price win.
        credit_floor: 6_553,
        credit_level: 48,
        share_rise: 13_107,
        share_fall: 13_107,
        ..MAINNET.lanes
    },
    maturity_blocks: 10,
    genesis: &DEVNET_ACCOUNTS,
    rental: RentalRules { call_s: 30, closing_blocks: 30, closing_s: 60, ..RENTAL },
    ..MAINNET
};

/// The first ten accounts of `test test test test test test test test test test test junk`, path
/// m/44'/60'/0'/0/i. Everybody knows their keys: a devnet listens on loopback only.
const DEVNET_ACCOUNTS: [Funded; 10] = [
    devnet(address!("f39Fd6e51aad88F6F4ce6aB8827279cffFb92266")),
    devnet(address!("70997970C51812dc3A010C7d01b50e0d17dc79C8")),
    devnet(address!("3C44CdDdB6a900fa2b585dd299e03d12FA4293BC")),
    devnet(address!("90F79bf6EB2c4f870365E785982E1f101E93b906")),
    devnet(address!("15d34AAf54267DB7D7c367839AAf71A00a2C6A65")),
    devnet(address!("9965507D1a55bcC2695C58ba16FB37d819B0A4dc")),
    devnet(address!("976EA74026E726554dB657fA54763abd0C3a0aa9")),
    devnet(address!("14dC79964da2C08b23698B3D3cc7Ca32193d9955")),
    devnet(address!("23618e81E3f5cdF7f54C3d65f7FBc0aBf5B21E8f")),
    devnet(address!("a0Ee7A142d267C1f36714E4a8F75612F20a79720")),
];

const fn devnet(address: Address) -> Funded {
    Funded { address, amount: Amount::from_flux(1_000_000) }
}

impl Network {
    /// The main network.
    #[must_use]
    pub const fn mainnet() -> &'static Self {
        &MAINNET
    }

    /// The public test network.
    #[must_use]
    pub const fn testnet() -> &'static Self {
        &TESTNET
    }

    /// A network of one's own, on one machine.
    #[must_use]
    pub const fn devnet() -> &'static Self {
        &DEVNET
    }

    /// The network with this EIP-155 chain id, if there is one.
    #[must_use]
    pub fn with_chain_id(chain_id: u64) -> Option<&'static Self> {
        let networks = [Self::mainnet(), Self::testnet(), Self::devnet()];
        networks.into_iter().find(|network| network.chain_id == chain_id)
    }

    /// The deepest reorg that a node follows.
    #[must_use]
    pub const fn reorg_blocks(&self) -> u64 {
        self.kept_states.saturating_sub(self.horizon_blocks)
    }

    /// The sum of the genesis accounts.
    #[must_use]
    pub fn genesis_supply(&self) -> Amount {
        let sum =
            self.genesis.iter().try_fold(Amount::ZERO, |sum, one| sum.checked_add(one.amount));
        sum.unwrap_or(Amount::MAX)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name)
    }
}

impl FromStr for &'static Network {
    type Err = UnknownNetwork;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        [&MAINNET, &TESTNET, &DEVNET]
            .into_iter()
            .find(|network| network.name == name)
            .ok_or_else(|| UnknownNetwork(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use alloy_signer_local::{MnemonicBuilder, coins_bip39::English};

    use super::*;

    #[test]
    fn devnet_funds_the_well_known_mnemonic() {
        let phrase = "test test test test test test test test test test test junk";
        for (index, funded) in (0u32..).zip(Network::devnet().genesis) {
            let key = MnemonicBuilder::<English>::default()
                .phrase(phrase)
                .index(index)
                .and_then(|builder| builder.build())
                .unwrap();
            assert_eq!(key.address(), funded.address, "account {index}");
        }
    }

    #[test]
    fn networks_are_found_by_name_and_have_chains_of_their_own() {
        for name in ["mainnet", "testnet", "devnet"] {
            assert_eq!(name.parse::<&Network>().unwrap().name, name);
        }
        assert!("main".parse::<&Network>().unwrap_err().to_string().contains("devnet exist"));
        let ids = [MAINNET.chain_id, TESTNET.chain_id, DEVNET.chain_id];
        assert!(ids.windows(2).all(|pair| pair[0] < pair[1]));
    }
}
