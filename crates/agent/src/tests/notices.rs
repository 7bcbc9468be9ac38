//! a host that gives notice, and what its client and its task see of it.

use pouw_types::RentalId;
use pouw_types::contracts::IRentals::{Notice, Reason};

use super::world::{World, task};
use crate::door::NoticeReason;
use crate::step::End;

const TASK: &str = "checkpoint: {path: state, interval: 10m, max_size: 1MiB}\n\
                    limits:\n  time: 48h\n";

async fn running() -> (World, RentalId) {
    let world = World::new().await;
    let task = task(TASK);
    let id = world.open(&task, None, |_| ());
    world.hand_over(id, &task).await;
    world.running(id).await;
    (world, id)
}

fn give(world: &World, id: RentalId, notice: Notice, ago_s: u64) {
    let at = world.clock.now_s() - ago_s;
    let mut ledger = world.chain.lock();
    let (_, rental) = ledger.rentals.get_mut(&id).unwrap();
    (rental.notice, rental.times.noticeAt) = (notice, at);
}

/// 120 s to run on, SIGTERM, a last save, everything paid.
#[tokio::test]
async fn a_preempted_task_runs_two_minutes_on_is_saved_and_is_paid_in_full() {
    let (world, id) = running().await;
    world.sleep(60).await;
    std::fs::create_dir_all(world.work(id).join("state")).unwrap();
    std::fs::write(world.work(id).join("state/step"), "7").unwrap();
    give(&world, id, Notice::Preempt, 0);
    world.wait("the client sees it", || world.status(id).notice.is_some()).await;
    let notice = world.status(id).notice.unwrap();
    assert_eq!(notice.why, NoticeReason::Preempt);
    assert!(notice.ends_at >= world.clock.now_s() + 110, "{notice:?}");
    let paid = world.done(id).await;
    let rental = world.rental(id);
    assert_eq!((world.status(id).end, rental.reason), (Some(End::Preempted), Reason::Preempted));
    assert!((178..=186).contains(&rental.best.activeS), "{:?}", rental.best);
    assert_eq!(rental.best.doneS, rental.best.activeS, "what ran is saved");
    assert!(!paid.is_zero());
    assert_eq!(world.refused(), Vec::<String>::new());
    let stops = world.engine.calls().iter().filter(|call| call.starts_with("stop ")).count();
    assert_eq!(stops, 1, "it hears SIGTERM");
}

/// The day between notice and end, of which all but five minutes have passed.
#[tokio::test]
async fn a_repriced_task_runs_a_day_on() {
    let (world, id) = running().await;
    give(&world, id, Notice::Reprice, 86_400 - 300);
    world.sleep(290).await;
    assert_eq!(world.status(id).end, None);
    world.done(id).await;
    assert_eq!(world.rental(id).reason, Reason::Repriced);
    assert_eq!(world.status(id).end, Some(End::Repriced));
    assert!((298..=306).contains(&world.rental(id).best.activeS), "{:?}", world.rental(id).best);
}

/// A task that ends by itself after the notice has completed.
#[tokio::test]
async fn a_task_that_completes_within_its_notice_has_completed() {
    let (world, id) = running().await;
    give(&world, id, Notice::Preempt, 0);
    world.sleep(50).await;
    world.finish(0, false);
    world.done(id).await;
    assert_eq!(world.status(id).end, Some(End::Completed));
}
