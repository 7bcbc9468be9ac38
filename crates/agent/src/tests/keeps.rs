//! data that stays after a stop, what it costs, and going on with it.

use pouw_types::RentalId;
use pouw_types::contracts::IRentals::{Phase, Reason};

use super::world::{World, task};
use crate::door::Resume;
use crate::step::{End, Step};

const TASK: &str = "limits:\n  time: 1h\n";

/// A rental that was stopped after a minute with a file in its folder, kept for so long.
async fn kept(keep_s: u64) -> (World, RentalId) {
    let world = World::new().await;
    let task = task(TASK);
    let id = world.open(&task, None, |_| ());
    world.hand_over(id, &task).await;
    world.running(id).await;
    world.sleep(60).await;
    world.write_part(id, "deep/model.bin");
    world.stop(id, keep_s);
    world.wait("it is closing", || world.rental(id).phase == Phase::Closing).await;
    (world, id)
}

fn has_file(world: &World, id: RentalId) -> bool {
    world.work(id).join("deep/model.bin").exists()
}

/// the data stays, only storage is billed, and the end comes by itself.
#[tokio::test]
async fn what_is_kept_costs_its_storage_and_goes_when_its_time_is_over() {
    let (world, id) = kept(1_800).await;
    let active_s = world.rental(id).best.activeS;
    world.sleep(1_700).await;
    assert!(has_file(&world, id), "it is kept");
    assert_eq!(world.status(id).step, Step::Score);
    assert!(world.status(id).kept_until.is_some());
    world.done(id).await;
    let rental = world.rental(id);
    assert_eq!(rental.reason, Reason::ClientStop);
    assert!(rental.best.isFinal);
    assert!(rental.best.activeS <= active_s + 10, "no run time: {:?}", rental.best);
    let stored = u64::try_from(rental.best.storageGibS).unwrap();
    assert!((1_850..=1_890).contains(&stored), "one GiB for so long: {stored}");
    assert_eq!(world.status(id).end, Some(End::ClientStop));
    assert_eq!(world.refused(), Vec::<String>::new());
}

/// the successor on the same machine finds the folder as it was, and what was kept goes then.
#[tokio::test]
async fn the_rental_that_continues_a_kept_one_finds_its_folder() {
    let (world, id) = kept(1_800).await;
    let task = task(TASK);
    let next = world.open(&task, None, |quote| {
        quote.continues = id.get();
        quote.nonce = 8;
    });
    world.hand_over_with(next, &task, Some(Resume::Kept)).await;
    world.reach(next, Step::Run).await;
    assert!(has_file(&world, next));
    world.reach(id, Step::Done).await;
    assert!(!has_file(&world, id), "nothing is kept twice");
    let stored = u64::try_from(world.rental(id).best.storageGibS).unwrap();
    assert!(stored < 300, "{stored}");
    world.wait("it runs", || !world.engine.containers().is_empty()).await;
    world.sleep(5).await;
    world.finish(0, false);
    world.done(next).await;
    assert_eq!(world.status(next).end, Some(End::Completed));
}

#[tokio::test]
async fn what_is_no_longer_kept_ends_the_rental_that_wants_it_unbilled() {
    let (world, id) = kept(600).await;
    world.done(id).await;
    let task = task(TASK);
    let next = world.open(&task, None, |quote| {
        quote.continues = id.get();
        quote.nonce = 8;
    });
    world.hand_over_with(next, &task, Some(Resume::Kept)).await;
    assert!(world.done(next).await.is_zero());
    let Some(End::NotPrepared { detail }) = world.status(next).end else { panic!() };
    assert!(detail.contains("its time is over"), "{detail}");
}

/// a second order ends the keep; none begins one.
#[tokio::test]
async fn a_second_stop_lets_go_of_what_is_kept() {
    let (world, id) = kept(1_800).await;
    world.stop(id, 0);
    world.done(id).await;
    let stored = u64::try_from(world.rental(id).best.storageGibS).unwrap();
    assert!(stored < 200, "{stored}");
    let (world, id) = kept(0).await;
    world.stop(id, 1_800);
    world.done(id).await;
}

/// A-40 beside R-13.
#[tokio::test]
async fn a_kill_while_data_is_kept_loses_nothing_and_bills_nothing_for_the_time_away() {
    let (mut world, id) = kept(1_800).await;
    world.sleep(300).await;
    world.kill().await;
    world.sleep(600).await;
    world.start().await;
    world.wait("it is kept", || world.status(id).kept_until.is_some()).await;
    assert!(has_file(&world, id));
    world.done(id).await;
    let stored = u64::try_from(world.rental(id).best.storageGibS).unwrap();
    assert!((1_240..=1_290).contains(&stored), "without the ten minutes: {stored}");
}

/// without a signer the host claims the storage, and no run time.
#[tokio::test]
async fn without_a_signer_the_host_claims_the_storage_of_what_it_kept() {
    let (world, id) = kept(1_800).await;
    world.signer.state.lock().unwrap().down = true;
    world.done(id).await;
    let rental = world.rental(id);
    assert!(rental.claim.made && !rental.best.isFinal);
    let stored = u64::try_from(rental.claim.storageGibS).unwrap();
    assert!((1_800..=1_890).contains(&stored), "{stored}");
}

#[tokio::test]
async fn a_client_that_tells_the_chain_alone_has_its_data_kept_too() {
    let world = World::new().await;
    let task = task(TASK);
    let id = world.open(&task, None, |_| ());
    world.hand_over(id, &task).await;
    world.running(id).await;
    world.sleep(60).await;
    world.write_part(id, "deep/model.bin");
    world.stop_on_chain(id, 900);
    world.sleep(600).await;
    assert!(has_file(&world, id));
    world.done(id).await;
    assert_eq!(world.rental(id).reason, Reason::ClientStop);
}

/// what the ledger would not let happen, the host does not either.
#[tokio::test]
async fn what_is_kept_is_for_its_own_client() {
    let (world, id) = kept(1_800).await;
    let task = task(TASK);
    let next = world.open(&task, None, |quote| {
        quote.continues = id.get();
        quote.client = alloy_primitives::Address::repeat_byte(7);
    });
    world.hand_over_with(next, &task, Some(Resume::Kept)).await;
    world.reach(next, Step::Done).await;
    let Some(End::NotPrepared { detail }) = world.status(next).end else { panic!() };
    assert!(detail.contains("another client's"), "{detail}");
    assert!(has_file(&world, id));
}
