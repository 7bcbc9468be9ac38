//! Rentals in which something fails: a typed reason, money settled right, the machine reset.

use pouw_types::Amount;
use pouw_types::contracts::IRentals::Reason;

use super::world::{FRAMES, World, task};
use crate::engine::Phase as Container;
use crate::receipt;
use crate::step::{End, Step};

const HOUR: &str = "limits:\n  time: 1h\n";

async fn running(extra: &str) -> (World, pouw_types::RentalId) {
    let world = World::new().await;
    let task = task(extra);
    let id = world.open(&task, None, |_| ());
    world.hand_over(id, &task).await;
    world.running(id).await;
    (world, id)
}

#[tokio::test]
async fn exit_codes_and_memory_are_told_apart_and_paid() {
    for (code, oom, expected) in
        [(3, false, End::ExitCode { code: 3 }), (137, true, End::OutOfMemory)]
    {
        let (world, id) = running(HOUR).await;
        world.sleep(30).await;
        world.finish(code, oom);
        let paid = world.done(id).await;
        assert_eq!(world.status(id).end, Some(expected));
        assert_eq!(world.rental(id).reason, Reason::Completed);
        assert!(!paid.is_zero());
    }
}

/// what the engine's end takes with it is the host's fault.
#[tokio::test]
async fn an_engine_that_ends_under_the_task_is_the_hosts_fault_and_uploaded_parts_count() {
    let world = World::new().await;
    let task = task(FRAMES);
    let id = world.open(&task, None, |quote| quote.refundWindowS = 0);
    world.hand_over(id, &task).await;
    world.running(id).await;
    for frame in 1..=6 {
        world.sleep(10).await;
        world.write_part(id, &format!("frames/{frame:04}.png"));
    }
    world.wait("six parts are out", || world.status(id).parts.len() == 6).await;
    world.sleep(5).await;
    world.finish(137, false);
    world.engine.set_down(true);
    world.sleep(20).await;
    world.engine.set_down(false);
    world.done(id).await;
    let rental = world.rental(id);
    assert!(matches!(world.status(id).end, Some(End::HostFault { .. })));
    assert_eq!(rental.reason, Reason::HostStop);
    assert!((59..=62).contains(&rental.best.doneS), "six frames: {}", rental.best.doneS);
}

#[tokio::test]
async fn an_engine_that_comes_back_with_the_task_alive_costs_nobody_anything() {
    let (world, id) = running(HOUR).await;
    world.sleep(50).await;
    world.engine.set_down(true);
    world.sleep(20).await;
    world.engine.set_down(false);
    world.sleep(60).await;
    world.finish(0, false);
    world.done(id).await;
    assert_eq!(world.status(id).end, Some(End::Completed));
    assert!(world.rental(id).best.activeS <= 131);
}

/// an opening that leaves the best chain stops the task at once, and its return resumes it.
#[tokio::test]
async fn an_opening_that_is_reorganized_away_and_back_pauses_the_task_unbilled() {
    let (world, id) = running(HOUR).await;
    world.sleep(40).await;
    {
        let mut ledger = world.chain.lock();
        ledger.off = true;
        ledger.branch += 1;
    }
    world.wait("the task stands still", || world.phase() == Some(Container::Paused)).await;
    world.sleep(10).await;
    world.chain.lock().off = false;
    world.wait("the task goes on", || world.phase() == Some(Container::Running)).await;
    world.sleep(20).await;
    world.finish(0, false);
    world.done(id).await;
    assert!((56..=66).contains(&world.rental(id).best.activeS), "{:?}", world.rental(id).best);
}

/// ten blocks off the best chain end the rental, and the machine is reset.
#[tokio::test]
async fn an_opening_that_stays_away_ends_the_rental() {
    let (world, id) = running(HOUR).await;
    world.chain.lock().off = true;
    world.chain.lock().branch += 1;
    let paid = world.done(id).await;
    assert_eq!(world.status(id).end, Some(End::PaymentReorged));
    assert!(paid.is_zero());
    assert_eq!(world.refused(), Vec::<String>::new(), "nothing is sent on that branch");
}

/// what can't be written down is not run, not billed, and goes on once it can be.
#[tokio::test]
async fn a_task_stands_still_unbilled_while_its_journal_cannot_be_written() {
    let (world, id) = running(HOUR).await;
    world.sleep(40).await;
    let in_the_way = world.journal_of(id).join("record.json.new");
    std::fs::create_dir(&in_the_way).unwrap();
    world.wait("the task stands still", || world.phase() == Some(Container::Paused)).await;
    assert!(world.status(id).paused.unwrap().contains("journal"));
    let stood = world.status(id).meter.active_s;
    world.sleep(120).await;
    assert_eq!(world.status(id).meter.active_s, stood);
    std::fs::remove_dir(in_the_way).unwrap();
    world.wait("the task goes on", || world.phase() == Some(Container::Running)).await;
    world.sleep(20).await;
    world.finish(0, false);
    world.done(id).await;
    assert_eq!(world.status(id).end, Some(End::Completed));
    assert!((56..=76).contains(&world.rental(id).best.activeS), "{:?}", world.rental(id).best);
}

/// a task that ended meanwhile is paid for what it ran, once that can be written down.
#[tokio::test]
async fn a_task_that_ends_while_its_journal_cannot_be_written_is_paid_when_it_can_be() {
    let (world, id) = running(HOUR).await;
    world.sleep(40).await;
    let in_the_way = world.journal_of(id).join("record.json.new");
    std::fs::create_dir(&in_the_way).unwrap();
    world.finish(0, false);
    world.sleep(120).await;
    assert_eq!(world.status(id).step, Step::Run);
    std::fs::remove_dir(in_the_way).unwrap();
    world.done(id).await;
    assert_eq!(world.status(id).end, Some(End::Completed));
    assert!((40..=50).contains(&world.rental(id).best.activeS), "{:?}", world.rental(id).best);
}

/// without a signer the task runs at most AHEAD, and goes on when it is back.
#[tokio::test]
async fn a_lost_signer_freezes_the_task_and_its_return_resumes_it() {
    let (world, id) = running(HOUR).await;
    world.sleep(25).await;
    world.signer.state.lock().unwrap().down = true;
    world.wait("the task stands still", || world.phase() == Some(Container::Paused)).await;
    let (status, signed) = (world.status(id), world.status(id).signed.unwrap());
    assert!(status.meter.active_s <= signed.active_s + receipt::ahead_s(signed.active_s));
    assert!(status.paused.unwrap().contains("signer"));
    world.sleep(20).await;
    world.signer.state.lock().unwrap().down = false;
    world.wait("the task goes on", || world.phase() == Some(Container::Running)).await;
    world.finish(0, false);
    world.done(id).await;
    assert_eq!(world.status(id).end, Some(End::Completed));
}

/// a signer that stays away is called; the host is paid up to the claim's bound.
#[tokio::test]
async fn a_signer_that_stays_away_ends_the_rental_and_the_host_claims_no_more_than_passed() {
    let (world, id) = running(HOUR).await;
    world.sleep(100).await;
    world.signer.state.lock().unwrap().down = true;
    let paid = world.done(id).await;
    let rental = world.rental(id);
    assert_eq!(rental.reason, Reason::ClientSilent, "{:?}", world.status(id));
    assert!(rental.claim.made);
    let ahead = rental.claim.activeS - rental.best.activeS;
    assert!((30..=receipt::ahead_s(rental.best.activeS)).contains(&ahead), "{ahead}");
    assert!(!paid.is_zero());
    assert_eq!(world.refused(), Vec::<String>::new());
}

/// a receipt after the call is its answer, and the ledger is told at once.
#[tokio::test]
async fn a_signer_that_comes_back_after_the_call_answers_it_and_the_task_goes_on() {
    let (world, id) = running(HOUR).await;
    world.sleep(100).await;
    world.signer.state.lock().unwrap().down = true;
    world.wait("the host calls", || !world.rental(id).hostCall.by.is_zero()).await;
    world.signer.state.lock().unwrap().down = false;
    world.wait("the call is answered", || world.rental(id).hostCall.by.is_zero()).await;
    world.sleep(60).await;
    assert_eq!(world.status(id).end, None);
    world.finish(0, false);
    world.done(id).await;
    assert_eq!(world.status(id).end, Some(End::Completed));
}

#[tokio::test]
async fn a_node_that_restarts_in_the_middle_is_waited_for() {
    let (world, id) = running(HOUR).await;
    world.sleep(20).await;
    world.chain.lock().down = true;
    world.sleep(60).await;
    world.chain.lock().down = false;
    world.sleep(20).await;
    world.finish(0, false);
    world.done(id).await;
    assert_eq!(world.status(id).end, Some(End::Completed));
}

/// a slower machine than listed is not rented, and costs nothing.
#[tokio::test]
async fn a_halved_machine_fails_its_gate_unbilled() {
    let world = World::new().await;
    *world.probe.0.lock().unwrap() = 500;
    let task = task(HOUR);
    let id = world.open(&task, None, |_| ());
    world.hand_over(id, &task).await;
    let paid = world.done(id).await;
    assert_eq!(world.status(id).end, Some(End::GateFailed { score: 500, needed: 900 }));
    assert_eq!(world.rental(id).reason, Reason::GateFailed);
    assert!(paid.is_zero());
    assert!(world.signer.state.lock().unwrap().signed.is_empty());
}

#[tokio::test]
async fn a_task_that_never_comes_ends_unbilled() {
    let world = World::new().await;
    let id = world.open(&task(HOUR), None, |_| ());
    world.wait("the agent sees it", || !world.agent().rentals().is_empty()).await;
    let paid = world.done(id).await;
    assert!(matches!(world.status(id).end, Some(End::NotPrepared { .. })));
    assert!(paid.is_zero());
}

#[tokio::test]
async fn an_image_that_does_not_exist_ends_unbilled_and_names_it() {
    let world = World::new().await;
    let mut task = task(HOUR);
    task.image = format!("nowhere@sha256:{}", "22".repeat(32)).parse().unwrap();
    let id = world.open(&task, None, |_| ());
    world.hand_over(id, &task).await;
    assert!(world.done(id).await.is_zero());
    let Some(End::NotPrepared { detail }) = world.status(id).end else { panic!() };
    assert!(detail.contains("nowhere"), "{detail}");
}

/// the task stands still before the escrow is used up, and ends there.
#[tokio::test]
async fn a_deposit_that_covers_less_than_the_limit_ends_the_task_within_it() {
    let world = World::new().await;
    let task = task(HOUR);
    // 600 s at 1,000,000 and fees of 6 %, beside a day of storage of one GiB.
    let deposit = Amount::from_atto((600 * 1_000_000 + 86_400 * 10) * 106 / 100);
    let id = world.open(&task, Some(deposit), |_| ());
    world.hand_over(id, &task).await;
    let paid = world.done(id).await;
    assert_eq!(world.status(id).end, Some(End::OutOfFunds));
    assert!(receipt::total(&pouw_types::Network::devnet().rental, paid) <= deposit);
    assert!(world.rental(id).best.activeS > 500);
}

#[tokio::test]
async fn a_call_of_the_client_is_answered() {
    let (world, id) = running(HOUR).await;
    world.sleep(20).await;
    {
        let mut ledger = world.chain.lock();
        let call = pouw_types::contracts::IRentals::Call {
            by: world.client.address(),
            at: world.clock.now_s(),
            atBlock: ledger.height,
            stake: 1,
        };
        ledger.rentals.get_mut(&id).unwrap().1.call = call;
    }
    world.wait("the answer", || world.rental(id).call.by.is_zero()).await;
    assert_eq!(world.status(id).step, Step::Run);
}

/// a store that takes nothing any more leaves the results on the host for a day.
#[tokio::test]
async fn results_whose_slots_have_expired_stay_on_the_host_and_are_named() {
    let (world, id) = running(&format!(
        "{FRAMES}outputs:\n  - path: out.txt\n  - path: data/\n    max_size: 1MiB\n"
    ))
    .await;
    world.sleep(10).await;
    world.write_part(id, "frames/0001.png");
    world.wait("a part is out", || world.status(id).parts.len() == 1).await;
    let expired = crate::mover::MoveError::Permanent("Request has expired".to_owned());
    *world.store.1.lock().unwrap() = Some(("http", expired));
    for name in ["frames/0002.png", "out.txt", "data/deep/a.bin"] {
        world.write_part(id, name);
    }
    world.finish(0, false);
    world.done(id).await;
    let status = world.status(id);
    assert_eq!(status.end, Some(End::Completed));
    for name in ["frames/0002.png", "archive/0001.tar", "archive/0002.tar"] {
        assert!(status.left.iter().any(|left| left == name), "{name} in {:?}", status.left);
    }
    assert!(!status.left.iter().any(|left| left == "frames/0001.png"), "it is in the store");
    let told = "results stay on the host: Request has expired";
    assert!(status.remarks.iter().any(|remark| remark == told), "{:?}", status.remarks);
    let folder = world.folder.path().join(format!("agent/rentals/{:x}", id.get()));
    assert_eq!(std::fs::read(folder.join("results/frames/0002.png")).unwrap(), b"frames/0002.png");
    let manifest = std::fs::read(folder.join("manifest.json")).unwrap();
    let manifest = pouw_data::Manifest::from_json(&manifest).unwrap();
    assert_eq!(world.rental(id).best.manifestRoot, manifest.root());
    assert!(manifest.part(1).is_some() && manifest.part(2).is_some());
    world.sleep(86_400).await;
    world.wait("they are forgotten", || !folder.exists()).await;
}

/// an upload beyond the quote's cap ends, unbilled, and the results stay.
#[tokio::test]
async fn an_upload_that_takes_longer_than_the_quote_gives_ends_and_leaves_results_here() {
    let world = World::new().await;
    let task = task("outputs: [{path: out.txt}]\nlimits:\n  time: 1h\n");
    let id = world.open(&task, None, |quote| quote.caps.uploadS = 5);
    world.hand_over(id, &task).await;
    world.running(id).await;
    world.write_part(id, "out.txt");
    let busy = crate::mover::MoveError::Transient("the store is busy".to_owned());
    *world.store.1.lock().unwrap() = Some(("archive", busy));
    world.sleep(20).await;
    world.finish(0, false);
    world.done(id).await;
    assert!(world.rental(id).best.activeS <= 21);
    let status = world.status(id);
    assert!(status.left.iter().any(|left| left == "archive/0001.tar"), "{:?}", status.left);
}

/// preparation beyond the quote's cap ends the rental, unbilled.
#[tokio::test]
async fn preparation_that_takes_longer_than_the_quote_gives_ends_unbilled_and_says_so() {
    let world = World::new().await;
    let task = task("inputs: [{from: s3://data/a, to: a}]\nlimits:\n  time: 1h\n");
    let id = world.open(&task, None, |quote| quote.caps.preparationS = 60);
    let busy = crate::mover::MoveError::Transient("the store is busy".to_owned());
    *world.store.2.lock().unwrap() = Some(("sig", busy));
    world.hand_over(id, &task).await;
    assert!(world.done(id).await.is_zero());
    let Some(End::NotPrepared { detail }) = world.status(id).end else { panic!() };
    assert!(detail.contains("60 s that the quote gives") || detail.contains("busy"), "{detail}");
}
