//! Rentals that go well.

use pouw_types::contracts::IRentals::Reason;

use super::world::{FRAMES, World, task};
use crate::receipt;
use crate::step::{End, Step};

#[tokio::test]
async fn a_rental_goes_through_the_ten_steps_and_is_paid_to_the_second() {
    let world = World::new().await;
    let task = task("limits:\n  time: 1h\n");
    let id = world.open(&task, None, |_| ());
    world.hand_over(id, &task).await;
    world.running(id).await;
    world.sleep(100).await;
    world.finish(0, false);
    let paid = world.done(id).await;
    let rental = world.rental(id);
    assert_eq!(rental.reason, Reason::Completed);
    assert!(rental.best.isFinal);
    assert!((99..=101).contains(&rental.best.activeS), "{}", rental.best.activeS);
    let quote = world.chain.lock().rentals[&id].0.clone();
    let best = &rental.best;
    assert_eq!(paid, receipt::price(&quote, best.activeS, best.storageGibS, best.trafficB));
    let status = world.status(id);
    assert_eq!(status.end, Some(End::Completed));
    assert_eq!(world.refused(), Vec::<String>::new());
    let signed = world.signer.state.lock().unwrap().signed.len();
    assert!((11..=13).contains(&signed), "one each ten seconds, zero and final: {signed}");
    let store = world.store.0.lock().unwrap();
    assert!(store.keys().any(|name| name.contains("manifest.json")));
}

#[tokio::test]
async fn the_lane_key_is_registered_and_renewed() {
    let world = World::new().await;
    let ours = super::world::config().lane_key;
    world.wait("the key is there", || world.chain.lock().machine.laneKey == ours).await;
    world.chain.lock().machine.laneKey = !ours;
    world.wait("and back", || world.chain.lock().machine.laneKey == ours).await;
}

#[tokio::test]
async fn parts_count_once_renamed_and_uploaded() {
    let world = World::new().await;
    let task = task(FRAMES);
    let id = world.open(&task, None, |_| ());
    world.hand_over(id, &task).await;
    world.running(id).await;
    for frame in 1..=12 {
        world.sleep(10).await;
        world.write_part(id, &format!("frames/{frame:04}.png"));
    }
    world.wait("parts are out", || world.status(id).parts.len() == 12).await;
    world.finish(0, false);
    world.done(id).await;
    let best = world.rental(id).best;
    assert!((119..=122).contains(&best.doneS), "{}", best.doneS);
    assert_eq!(world.store.0.lock().unwrap().keys().filter(|k| k.contains("frames/")).count(), 12);
}

#[tokio::test]
async fn the_time_limit_ends_a_task_that_ignores_sigterm_and_bills_no_second_more() {
    let world = World::new().await;
    let script = crate::engine::fake::Script { ignores_stop: true, ..Default::default() };
    world.engine.on_start("run", script);
    let task = task("limits:\n  time: 90s\n");
    let id = world.open(&task, None, |_| ());
    world.hand_over(id, &task).await;
    world.done(id).await;
    let rental = world.rental(id);
    assert_eq!((rental.reason, rental.best.activeS), (Reason::Limit, 90));
    assert_eq!(world.status(id).end, Some(End::TimeLimit));
}

#[tokio::test]
async fn a_client_that_is_gone_for_the_whole_run_pays() {
    // Its signer is in its node: nothing of the client itself is asked after the task came.
    let world = World::new().await;
    let task = task("limits:\n  time: 2h\n");
    let id = world.open(&task, None, |_| ());
    world.hand_over(id, &task).await;
    world.running(id).await;
    world.sleep(3_600).await;
    world.finish(0, false);
    let paid = world.done(id).await;
    assert!(!paid.is_zero());
    assert!((3_599..=3_601).contains(&world.rental(id).best.activeS));
}

#[tokio::test]
async fn a_long_rental_is_settled_as_often_as_the_host_says() {
    let world = World::new().await;
    let task = task("limits:\n  time: 4h\n");
    let id = world.open(&task, None, |_| ());
    world.hand_over(id, &task).await;
    world.running(id).await;
    world.sleep(2 * 3_600 + 600).await;
    assert!(world.rental(id).best.activeS >= 3_600);
    let settled = world.chain.lock().calls.iter().filter(|(name, _)| *name == "settle").count();
    assert_eq!(settled, 2);
    assert_eq!(world.status(id).step, Step::Run);
}

/// what a client may get back when its host fails is bounded by what the task can lose, also
/// for a task that no walk has checked.
#[tokio::test]
async fn without_checkpoints_the_refund_window_is_ten_minutes_whatever_is_asked() {
    let world = World::new().await;
    let kept = "checkpoint: {path: saved}\n";
    for (extra, asked, expected) in [
        ("", None, 600),
        ("", Some(60), 60),
        ("", Some(3_600), 600),
        (kept, None, 3_600),
        (kept, Some(1_800), 1_800),
        (kept, Some(u32::MAX), 3_600),
    ] {
        let mut task = task(&format!("{extra}limits:\n  time: 1h\n"));
        task.refund_window_s = asked;
        let id = world.open(&task, None, |_| ());
        let quoted = world.chain.lock().rentals[&id].0.refundWindowS;
        assert_eq!(quoted, expected, "{extra}{asked:?}");
    }
}
