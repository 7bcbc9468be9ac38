//! Saves of a task's checkpoint, what they are worth, and going on from one.

use pouw_data::{Checkpoint, InputSlot, Packing, PresignedUrl};
use pouw_types::RentalId;
use pouw_types::contracts::IRentals::Reason;

use super::world::{World, task};
use crate::door::{Event, EventKind, Resume};
use crate::engine::Phase as Container;
use crate::mover::MoveError;
use crate::step::End;

const SAVED: &str =
    "checkpoint: {path: state, interval: 60s, max_size: 1MiB}\nlimits:\n  time: 1h\n";

async fn running(extra: &str) -> (World, RentalId) {
    let world = World::new().await;
    let task = task(extra);
    let id = world.open(&task, None, |_| ());
    world.hand_over(id, &task).await;
    world.running(id).await;
    (world, id)
}

fn address(name: &str) -> String {
    format!("http://store/{name}?sig=s3cret")
}

fn stored(world: &World, name: &str) -> Option<Vec<u8>> {
    world.store.0.lock().unwrap().get(&address(name)).cloned()
}

fn latest(world: &World) -> Checkpoint {
    Checkpoint::from_json(&stored(world, Checkpoint::LATEST).unwrap()).unwrap()
}

fn state(world: &World, id: RentalId, content: &str) {
    let folder = world.work(id).join("state");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("step"), content).unwrap();
}

fn number(world: &World, id: RentalId) -> u64 {
    world.status(id).checkpoint.map_or(0, |saved| saved.number)
}

/// A slot that reads what the word says.
fn slot(saved: &Checkpoint) -> InputSlot {
    InputSlot {
        name: "state".to_owned(),
        url: PresignedUrl::parse(&address(&saved.name)).unwrap(),
        packing: Packing::Tar,
        size_bytes: Some(saved.size_bytes),
        blake3: Some(saved.blake3),
    }
}

/// frozen for the copy, unbilled; two archives in turn; receipts say what is covered.
#[tokio::test]
async fn a_checkpoint_is_saved_each_interval_while_the_task_stands_still() {
    let (world, id) = running(SAVED).await;
    world.sleep(65).await;
    assert_eq!(number(&world, id), 0, "nothing is there yet");
    state(&world, id, "one");
    world.wait("the first save", || number(&world, id) == 1).await;
    let first = stored(&world, "checkpoint/1.tar").unwrap();
    assert_eq!(latest(&world).active_s, 120);
    world.sleep(70).await;
    assert_eq!(number(&world, id), 1, "an unchanged folder is not saved again");
    state(&world, id, "two");
    world.wait("the second save", || number(&world, id) == 2).await;
    assert_eq!(stored(&world, "checkpoint/1.tar").unwrap(), first, "the last good one stays");
    assert_eq!(latest(&world).name, "checkpoint/2.tar");
    world
        .wait("a receipt says so", || {
            world.status(id).signed.is_some_and(|signed| signed.done_s == 240)
        })
        .await;
    let calls = world.engine.calls();
    let of = |name: &str| calls.iter().filter(|call| call.starts_with(name)).count();
    assert_eq!((of("pause "), of("unpause ")), (4, 4), "frozen for each copy: {calls:?}");
    world.finish(0, false);
    world.done(id).await;
    assert_eq!(world.rental(id).best.doneS, 240);
    let manifest = String::from_utf8(stored(&world, "manifest.json").unwrap()).unwrap();
    assert!(manifest.contains("checkpoint/2.tar"), "{manifest}");
    assert_eq!(world.refused(), Vec::<String>::new());
}

/// what breaks in between leaves the last good save, and what it covers, as they were.
#[tokio::test]
async fn a_torn_save_never_replaces_the_last_good_one() {
    let (world, id) = running(SAVED).await;
    state(&world, id, "one");
    world.wait("the first save", || number(&world, id) == 1).await;
    let broken = MoveError::Permanent("the store is full".to_owned());
    *world.store.1.lock().unwrap() = Some(("checkpoint/latest.json", broken));
    state(&world, id, "two");
    world
        .wait("the second archive is there", || stored(&world, "checkpoint/2.tar").is_some())
        .await;
    world
        .wait("it is told", || {
            world.status(id).remarks.iter().any(|remark| remark.contains("the store is full"))
        })
        .await;
    assert_eq!((latest(&world).number, number(&world, id)), (1, 1));
    assert_eq!(world.status(id).meter.done_s, 60);
    *world.store.1.lock().unwrap() = None;
    state(&world, id, "three");
    world.wait("the next save", || number(&world, id) == 2).await;
    assert_eq!(latest(&world).name, "checkpoint/2.tar");
}

/// a host's fault costs the client what no save covers, and nothing after it is saved.
#[tokio::test]
async fn a_host_fault_pays_to_the_last_save_and_another_rental_goes_on_from_it() {
    let (world, id) = running(SAVED).await;
    state(&world, id, "step 7");
    world.wait("a save", || number(&world, id) == 1).await;
    world.sleep(40).await;
    state(&world, id, "step 8, lost");
    world.finish(137, false);
    world.engine.set_down(true);
    world.sleep(20).await;
    world.engine.set_down(false);
    world.done(id).await;
    assert!(matches!(world.status(id).end, Some(End::HostFault { .. })));
    let rental = world.rental(id);
    assert_eq!((rental.reason, rental.best.doneS), (Reason::HostStop, 60));
    let saved = latest(&world);
    assert_eq!((saved.number, saved.active_s), (1, 60));

    let task = task(SAVED);
    let next = world.open(&task, None, |quote| quote.nonce = 8);
    world.hand_over_with(next, &task, Some(Resume::Checkpoint(slot(&saved)))).await;
    world.running(next).await;
    assert_eq!(std::fs::read(world.work(next).join("state/step")).unwrap(), b"step 7");
    world.finish(0, false);
    world.done(next).await;
    assert_eq!(world.status(next).end, Some(End::Completed));
}

#[tokio::test]
async fn a_checkpoint_that_is_not_what_the_client_names_ends_unbilled() {
    let (world, id) = running(SAVED).await;
    state(&world, id, "step 7");
    world.wait("a save", || number(&world, id) == 1).await;
    let mut altered = latest(&world);
    altered.blake3 = alloy_primitives::B256::ZERO;
    world.finish(0, false);
    world.done(id).await;
    let task = task(SAVED);
    let next = world.open(&task, None, |quote| quote.nonce = 8);
    world.hand_over_with(next, &task, Some(Resume::Checkpoint(slot(&altered)))).await;
    assert!(world.done(next).await.is_zero());
    assert!(matches!(world.status(next).end, Some(End::NotPrepared { .. })));
}

/// a task that is ended is saved a last time.
#[tokio::test]
async fn a_task_that_reaches_its_limit_is_saved_a_last_time() {
    let (world, id) = running(&SAVED.replace("1h", "100s")).await;
    state(&world, id, "one");
    world.wait("a save", || number(&world, id) == 1).await;
    state(&world, id, "at the end");
    world.done(id).await;
    assert_eq!(world.status(id).end, Some(End::TimeLimit));
    assert_eq!((latest(&world).number, latest(&world).active_s), (2, 100));
}

#[tokio::test]
async fn saves_that_are_too_large_or_beyond_the_traffic_are_told_and_the_task_goes_on() {
    let (world, id) = running(&SAVED.replace("1MiB", "1KiB")).await;
    state(&world, id, &"x".repeat(2_000));
    world
        .wait("it is told", || {
            world.status(id).remarks.iter().any(|remark| remark.starts_with("checkpoint: "))
        })
        .await;
    assert_eq!(number(&world, id), 0);
    let (world, id) = running(&format!("{SAVED}  traffic: 1KiB\n")).await;
    state(&world, id, "small");
    world
        .wait("it is told", || {
            world.status(id).remarks.iter().any(|remark| remark.contains("traffic"))
        })
        .await;
    assert_eq!((number(&world, id), stored(&world, "checkpoint/1.tar")), (0, None));
    assert_eq!(world.phase(), Some(Container::Running));
}

/// killed while it stands still for a copy, or while the copy is on its way, it goes on.
#[tokio::test]
async fn a_kill_around_a_save_loses_neither_the_task_nor_the_save() {
    for after_ms in [60_000, 60_050, 60_500, 61_000] {
        let (mut world, id) = running(SAVED).await;
        state(&world, id, "one");
        crate::time::sleep(std::time::Duration::from_millis(after_ms)).await;
        world.kill().await;
        world.start().await;
        world.wait("the save", || number(&world, id) == 1).await;
        world.wait("the task runs", || world.phase() == Some(Container::Running)).await;
        world.finish(0, false);
        world.done(id).await;
        assert_eq!(world.status(id).end, Some(End::Completed));
    }
}

#[test]
fn events_about_saves_and_notices_are_read_as_they_were_written() {
    let saved =
        Checkpoint::new(1, "checkpoint/1.tar".to_owned(), 60, 7, alloy_primitives::B256::ZERO);
    let notice = crate::door::NoticeView { why: crate::door::NoticeReason::Preempt, ends_at: 5 };
    for kind in [EventKind::Checkpoint(saved), EventKind::Notice(notice)] {
        let event = Event { id: 1, at_ms: 2, kind };
        let json = serde_json::to_string(&event).unwrap();
        assert_eq!(serde_json::from_str::<Event>(&json).unwrap(), event, "{json}");
    }
}
