//! I-1 with all that lanes 1 and 2 mint: any order of blocks and rentals, on two nodes.

use pouw_types::Network;
use proptest::prelude::*;

use super::fixture::{Node, easy_lanes, miner, small_products};
use super::market::{Host, Rental, host};

fn network() -> &'static Network {
    easy_lanes(|network| {
        network.epoch_blocks = 4;
        network.horizon_blocks = 6;
        network.lanes.credit_floor = 6_553;
        network.lanes.credit_level = 62;
    })
}

#[derive(Clone, Copy, Debug)]
enum Play {
    Mine,
    Multiply,
    Draw,
    /// Of which rental, seconds, and a thousandth of `D_1` multiplications.
    Settle(usize, u64, u128),
}

fn play() -> impl Strategy<Value = Play> {
    prop_oneof![
        2 => Just(Play::Mine),
        3 => Just(Play::Multiply),
        3 => Just(Play::Draw),
        4 => (0usize..3, 1u64..200, 0u128..3_000)
            .prop_map(|(which, seconds, work)| Play::Settle(which, seconds, work)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    #[test]
    fn supply_holds_to_the_atto_whatever_is_won_vested_and_drawn(
        plays in proptest::collection::vec(play(), 20..60)
    ) {
        let node = Node::on(network());
        let ours = Host { miner: miner(), ..host(1) };
        node.register(&ours);
        let mut rentals: Vec<Rental> =
            [(1, 1), (0, 2), (1, 3)].map(|(earns, nonce)| node.rent(&ours, earns, nonce)).into();
        let mut work = small_products(1);
        for play in plays {
            match play {
                Play::Mine => drop(node.mine(2_000)),
                Play::Multiply => drop(node.multiply(&mut work, 2_000)),
                Play::Draw => drop(node.draw(&ours, 2_000)),
                Play::Settle(which, seconds, work) => {
                    let difficulty = node.chain.head().standing.difficulty.lanes[1].difficulty;
                    node.settle(&mut rentals[which], seconds, difficulty * work / 1_000);
                }
            }
            node.supply();
            // What was won is minted, waits, or lapsed; never more than that.
            let rewards = node.chain.rewards().unwrap();
            for one in &rewards {
                prop_assert_eq!(one.vested + one.waiting, one.at_once * 9);
            }
            let waiting: u128 = node
                .chain
                .vesting(miner())
                .unwrap()
                .iter()
                .map(|one| one.reward - one.minted)
                .sum();
            let shown: u128 = rewards.iter().map(|one| one.waiting).sum();
            prop_assert!(waiting <= shown, "{} {}", waiting, shown);
        }
        // Another node finds the same by the blocks alone.
        let other = Node::on(node.chain.network());
        for height in 1..=node.chain.head().height() {
            other.take(&node.chain.block_at(height).unwrap().unwrap().block).unwrap();
        }
        prop_assert_eq!(&*other.chain.head(), &*node.chain.head());
        prop_assert_eq!(other.chain.rows().unwrap(), node.chain.rows().unwrap());
    }
}
