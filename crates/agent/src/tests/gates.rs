//! Gates by an image's own benchmark, and the self-test that lists it.

use std::collections::BTreeMap;

use pouw_types::{Amount, RentalId, Score, UseCase};

use super::world::{IMAGE, World, task};
use crate::door::GateProbe;
use crate::engine::fake::Script;
use crate::engine::{Channel, Exit, ImageRef, LogLine, Stats};
use crate::step::{End, Step};

const BENCH: &str = r#"["bench", "--short"]"#;

/// A run of two seconds of processor time; the machine is as fast as the reference.
fn run(code: i64, elapsed_ms: u64, stats: Stats) -> Script {
    let text =
        format!(r#"{{"bench":"b","samples":400000,"elapsed_ms":{elapsed_ms},"cpu_ms":2000}}"#);
    let line = |text| LogLine { channel: Channel::Stdout, time_ns: 1, text };
    Script {
        exit: Some(Exit { code, oom_killed: false, signal: None, started_ms: 0, finished_ms: 0 }),
        lines: vec![line("starting".to_owned()), line(text)],
        stats,
        ..Script::default()
    }
}

/// What a container uses that nothing held back.
const FREE: Stats = Stats {
    cpu_ns: 2_000_000_000,
    throttled_ns: 0,
    quota_millis: Some(1_000),
    memory_bytes: 0,
    memory_peak_bytes: 0,
    memory_limit_bytes: 0,
    pids: 1,
    oom_kills: 0,
    received_bytes: 0,
    sent_bytes: 0,
};

async fn rent(world: &World) -> RentalId {
    let task = task("limits:\n  time: 1h\n");
    let id = world.open(&task, None, |_| ());
    world.hand_over(id, &task).await;
    id
}

/// A machine that had this image once, and has measured it since.
async fn tested() -> World {
    let world = World::new().await;
    let labels = [("pouw.bench", BENCH), ("pouw.use-case", "rendering")];
    let labels: BTreeMap<String, String> =
        labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    world.engine.add_plain_image(&IMAGE.parse::<ImageRef>().unwrap(), labels);
    world.engine.on_start("self-test", run(0, 2_000, FREE));
    let before = world.agent().offer();

    let id = rent(&world).await;
    world.running(id).await;
    let gate = world.status(id).gate.unwrap();
    assert_eq!(gate.probe, GateProbe::ProcessorForWantOfATest, "nothing is listed yet");
    assert_eq!(world.agent().offer(), before, "no self-test beside a rental");
    world.finish(0, false);
    world.done(id).await;

    world.wait("the score is listed", || world.agent().offer() != before).await;
    let offer = world.agent().offer();
    assert!(offer.seq > before.seq && offer.verify().is_ok());
    assert!(offer.scores.contains(&Score { use_case: UseCase::Rendering, value: 1_000 }));
    assert_eq!(world.engine.containers().len(), 0, "the self-test leaves nothing");
    let runs = world.engine.calls().iter().filter(|call| call.contains("self-test")).count();
    assert_eq!(runs, 7);
    world
        .wait("the new offer is on the chain", || {
            world.chain.lock().calls.iter().any(|(name, done)| *name == "setOffer" && done.is_ok())
        })
        .await;
    world
}

#[tokio::test]
async fn a_gate_runs_the_image_s_own_benchmark_once_it_is_listed() {
    let mut world = tested().await;
    world.engine.on_start("gate-1", run(0, 2_000, FREE));
    // What was measured is kept.
    world.kill().await;
    world.start().await;
    let id = rent(&world).await;
    world.running(id).await;
    let gate = world.status(id).gate.unwrap();
    assert_eq!((gate.probe, gate.score, gate.runs), (GateProbe::ImageBench, 1_000, 1));
    world.sleep(30).await;
    world.finish(0, false);
    assert!(!world.done(id).await.is_zero());
}

/// Other load makes the bench take long by the clock on the wall, and takes none of its time.
#[tokio::test]
async fn a_loaded_machine_passes_its_image_s_benchmark() {
    let world = tested().await;
    world.engine.on_start("gate-1", run(0, 9_000, FREE));
    let id = rent(&world).await;
    world.running(id).await;
    assert_eq!(world.status(id).gate.unwrap().score, 1_000);
}

async fn fails(script: Script, score: u32) {
    let world = tested().await;
    for step in ["gate-1", "gate-2", "gate-3"] {
        world.engine.on_start(step, script.clone());
    }
    let id = rent(&world).await;
    let paid = world.done(id).await;
    assert_eq!(world.status(id).end, Some(End::GateFailed { score, needed: 900 }));
    assert_eq!(world.status(id).gate.unwrap().probe, GateProbe::ImageBench);
    assert_eq!(paid, Amount::ZERO);
}

#[tokio::test]
async fn a_halved_quota_fails_the_image_s_benchmark_unbilled() {
    fails(run(0, 4_000, Stats { quota_millis: Some(500), ..FREE }), 500).await;
}

/// The container's own quota says nothing; what was taken from it does.
#[tokio::test]
async fn a_throttled_container_fails_the_image_s_benchmark_unbilled() {
    let stats = Stats { throttled_ns: 6_000_000_000, quota_millis: None, ..FREE };
    fails(run(0, 4_000, stats), 500).await;
}

#[tokio::test]
async fn an_image_that_cannot_run_its_benchmark_any_more_fails_its_gate() {
    fails(run(1, 2_000, FREE), 0).await;
}

/// A benchmark without a result is given up, and said to be.
#[tokio::test]
async fn an_image_whose_benchmark_gives_no_result_is_gated_by_the_processor() {
    let world = World::new().await;
    let labels = BTreeMap::from([("pouw.bench".to_owned(), BENCH.to_owned())]);
    world.engine.add_plain_image(&IMAGE.parse::<ImageRef>().unwrap(), labels);
    world.engine.on_start("self-test", run(7, 2_000, FREE));
    let before = world.agent().offer();
    for _ in 0..2 {
        let id = rent(&world).await;
        world.running(id).await;
        assert_eq!(world.status(id).gate.unwrap().probe, GateProbe::ProcessorForWantOfATest);
        world.finish(0, false);
        world.reach(id, Step::Done).await;
        world.sleep(60).await;
    }
    let tried = world.engine.calls().iter().filter(|call| call.contains("self-test")).count();
    assert_eq!(tried, 1);
    assert_eq!(world.agent().offer(), before);
}
