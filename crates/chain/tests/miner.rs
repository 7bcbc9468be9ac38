//! The miner on a thread of its own.
#![expect(clippy::unwrap_used, reason = "the functions beside a test panic for it")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use alloy_primitives::Address;
use pouw_chain::{Chain, Clock, Event, Mine, Miner, MinerOptions, Options};
use pouw_types::Network;
use tokio::sync::broadcast::error::TryRecvError;

const DEADLINE: Duration = Duration::from_secs(60);

/// A chain whose time runs this much faster than the wall clock, from a moment that can be moved.
fn fast(speed: u64) -> (Chain, Arc<AtomicU64>) {
    let start = Instant::now();
    let offset = Arc::new(AtomicU64::new(Network::devnet().genesis_ms));
    let moved = Arc::clone(&offset);
    let clock = Clock::new(move || {
        let ms = u64::try_from(start.elapsed().as_millis()).unwrap();
        moved.load(Ordering::SeqCst) + ms * speed
    });
    let chain = Chain::in_memory(Options { clock, ..Options::new(Network::devnet()) }).unwrap();
    (chain, offset)
}

fn wait_for_blocks(chain: &Chain, count: usize) -> Vec<u64> {
    let mut events = chain.subscribe();
    let mut times = Vec::new();
    let started = Instant::now();
    while times.len() < count {
        assert!(started.elapsed() < DEADLINE, "{} of {count} blocks", times.len());
        match events.try_recv() {
            Ok(Event::NewHead(head)) => times.push(head.time_ms()),
            Ok(other) => panic!("{other:?}"),
            Err(TryRecvError::Empty) => std::thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    }
    times
}

#[test]
fn blocks_come_at_most_once_a_second_even_after_a_sleep_of_hours() {
    let (chain, offset) = fast(100);
    let options = MinerOptions { duty_percent: 50, ..MinerOptions::gentle(Address::ZERO) };
    let miner = Miner::start(chain.clone(), options).unwrap();
    let mut times = wait_for_blocks(&chain, 5);
    offset.fetch_add(8 * 3_600_000, Ordering::SeqCst);
    times.extend(wait_for_blocks(&chain, 10));
    miner.stop();
    for pair in times.windows(2) {
        assert!(pair[1] >= pair[0] + 1_000, "{times:?}");
    }
    let height = chain.head().height();
    assert!(height >= 15);
    assert_eq!(chain.head().height(), height, "a stopped miner makes nothing");
}

#[test]
fn a_miner_leaves_lane_1_to_the_tasks_beside_it() {
    let (chain, _) = fast(1_000);
    let options = MinerOptions {
        duty_percent: 50,
        min_spacing_ms: 0,
        mine: Mine::Both,
        ..MinerOptions::gentle(Address::ZERO)
    };
    let miner = Miner::start(chain.clone(), options).unwrap();
    miner.yields().until(u64::MAX);
    // What it began before it was told is done within a block.
    wait_for_blocks(&chain, 2);
    let before = miner.report();
    wait_for_blocks(&chain, 5);
    let after = miner.report();
    assert_eq!(after.matmul.units, before.matmul.units, "{after:?}");
    assert!(after.hash.units > before.hash.units, "{after:?}");
}

#[test]
fn a_miner_stops_at_once_while_it_waits() {
    let (chain, _) = fast(1);
    let options =
        MinerOptions { min_spacing_ms: u64::MAX / 2, ..MinerOptions::gentle(Address::ZERO) };
    let miner = Miner::start(chain.clone(), options).unwrap();
    let started = Instant::now();
    drop(miner);
    // Its wait would be of centuries.
    assert!(started.elapsed() < DEADLINE);
    assert_eq!(chain.head().height(), 0);
}
