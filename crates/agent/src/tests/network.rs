//! Tasks with a network: what passes it is counted, and its firewall has to stand.

use pouw_types::RentalId;
use pouw_types::contracts::IRentals::Reason;

use super::world::{World, task};
use crate::engine::{EngineError, Owner, Phase as Container};
use crate::step::{End, Step};

const EGRESS: &str = "network: egress\nlimits:\n  time: 1h\n  traffic: 1MiB\n";

fn owner(world: &World, rental: RentalId) -> Owner {
    Owner { machine: world.agent().offer().machine, rental }
}

async fn running() -> (World, RentalId) {
    let world = World::new().await;
    let task = task(EGRESS);
    let id = world.open(&task, None, |_| ());
    world.hand_over(id, &task).await;
    world.running(id).await;
    (world, id)
}

fn broken() -> EngineError {
    EngineError::Tool { tool: "nft".to_owned(), status: "1".to_owned(), message: "no".to_owned() }
}

/// what passes the bridge is billed once, also over a restart of the agent, and the last
/// bytes before the end are not missed.
#[tokio::test]
async fn the_bytes_of_a_tasks_network_are_in_its_receipts_over_a_restart_of_the_agent() {
    let (mut world, id) = running().await;
    world.engine.set_traffic(&owner(&world, id), 100_000);
    world.sleep(30).await;
    assert_eq!(world.status(id).signed.unwrap().traffic_bytes, 100_000);
    world.kill().await;
    world.start().await;
    world.engine.set_traffic(&owner(&world, id), 150_000);
    world.wait("it is counted", || world.status(id).meter.traffic_bytes == 150_000).await;
    // Moved between the last look and the end.
    world.engine.set_traffic(&owner(&world, id), 200_000);
    world.finish(0, false);
    world.done(id).await;
    let (best, outputs) = (world.rental(id).best, world.store.0.lock().unwrap().clone());
    let log: usize =
        outputs.iter().filter(|(name, _)| name.contains("log")).map(|o| o.1.len()).sum();
    assert_eq!(best.trafficB, 200_000 + u64::try_from(log).unwrap());
    assert_eq!(world.status(id).end, Some(End::Completed));
    assert_eq!(world.refused(), Vec::<String>::new());
}

/// counters that another program took away were not the task's: nothing falls.
#[tokio::test]
async fn counters_that_start_anew_are_counted_on() {
    let (world, id) = running().await;
    world.engine.set_traffic(&owner(&world, id), 100_000);
    world.wait("it is counted", || world.status(id).meter.traffic_bytes == 100_000).await;
    world.engine.flush_firewall(true);
    let repaired = || world.engine.calls().iter().any(|call| call.starts_with("guard_network"));
    world.wait("it is up again", repaired).await;
    world.engine.set_traffic(&owner(&world, id), 7_000);
    world.wait("it is counted on", || world.status(id).meter.traffic_bytes == 107_000).await;
}

/// the traffic that was sold ends the rental, and no byte more is billed.
#[tokio::test]
async fn traffic_that_is_used_up_ends_the_rental_at_its_limit() {
    let (world, id) = running().await;
    world.sleep(20).await;
    world.engine.set_traffic(&owner(&world, id), (1 << 20) + 12_345);
    world.done(id).await;
    let rental = world.rental(id);
    assert_eq!(world.status(id).end, Some(End::TrafficLimit));
    assert_eq!(rental.reason, Reason::Limit);
    assert_eq!(rental.best.trafficB, 1 << 20);
    assert!(rental.best.activeS < 30, "{:?}", rental.best);
    assert_eq!(world.refused(), Vec::<String>::new());
}

/// a task stands still, unbilled, as long as its firewall is down, whether the agent hears of
/// the change or looks by itself.
#[tokio::test]
async fn a_flushed_firewall_is_put_up_again_and_the_task_stands_still_until_it_is() {
    for told in [true, false] {
        let (world, id) = running().await;
        for _ in 0..3 {
            world.engine.fail("guard_network", broken());
        }
        world.engine.flush_firewall(told);
        world.wait("the task stands still", || world.phase() == Some(Container::Paused)).await;
        assert!(world.status(id).paused.unwrap().contains("firewall"), "{told}");
        world.wait("the task goes on", || world.phase() == Some(Container::Running)).await;
        let calls = world.engine.calls();
        let at = |call: &str| calls.iter().rposition(|one| one.starts_with(call)).unwrap();
        assert!(at("unpause") > at("guard_network"), "{calls:?}");
        world.sleep(20).await;
        world.finish(0, false);
        world.done(id).await;
        assert_eq!(world.status(id).end, Some(End::Completed));
    }
}

/// what can't be put up again is the host's fault, and the task never runs on.
#[tokio::test]
async fn a_firewall_that_stays_down_is_the_hosts_fault() {
    let (world, id) = running().await;
    for _ in 0..200 {
        world.engine.fail("guard_network", broken());
    }
    world.engine.flush_firewall(true);
    world.wait("the task stands still", || world.phase() == Some(Container::Paused)).await;
    world.done(id).await;
    assert!(matches!(world.status(id).end, Some(End::HostFault { .. })));
    assert_eq!(world.rental(id).reason, Reason::HostStop);
    let calls = world.engine.calls();
    assert!(!calls.iter().any(|call| call.starts_with("unpause")), "{calls:?}");
}

/// no code of the client runs before its firewall was seen.
#[tokio::test]
async fn a_task_with_a_network_starts_only_inside_its_firewall() {
    let world = World::new().await;
    for _ in 0..4 {
        world.engine.fail("watch_network", broken());
    }
    let task = task(EGRESS);
    let id = world.open(&task, None, |_| ());
    world.hand_over(id, &task).await;
    world.running(id).await;
    let calls = world.engine.calls();
    let at = |call: &str| calls.iter().position(|one| one.starts_with(call)).unwrap();
    let looks = calls.iter().take(at("start fake")).filter(|c| c.starts_with("watch_network"));
    assert!(looks.count() >= 5, "{calls:?}");
    assert_eq!(world.status(id).step, Step::Run);
}
