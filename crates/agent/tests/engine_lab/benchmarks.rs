//! An image's own benchmark: what it scores alone, beside load, and under half a quota.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};

use bollard::models::ContainerUpdateBody;
use pouw_agent::engine::{Engine as _, EngineError, Phase};
use pouw_agent::{ImageScore, ImageTest, ImageTestError};
use pouw_bench::needed;
use pouw_types::{Isolation, Resources, UseCase};

use crate::laboratory::{Laboratory, import_bench, on_own_machine, until};

/// Ends the load, even when what ran beside it panicked.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

const UNIT: Resources =
    Resources { cpu_millis: 1_000, memory_bytes: 64 << 20, disk_bytes: 64 << 20, gpus: 0 };

async fn step(
    lab: &Laboratory,
    test: &mut ImageTest,
) -> Result<Option<ImageScore>, ImageTestError> {
    let info = lab.engine.describe().await.expect("described");
    test.step(&lab.engine, &info, lab.owner.machine, &UNIT, Isolation::Runc).await
}

/// One more run, and its score.
async fn run(lab: &Laboratory, test: &mut ImageTest) -> u32 {
    step(lab, test).await.expect("a run");
    *test.runs().last().expect("a score")
}

/// The score of a run whose quota is halved in its first half.
async fn halved_run(lab: &Laboratory, test: &mut ImageTest) -> u32 {
    for _ in 0..20 {
        let mut run = pin!(run(lab, test));
        let in_time = tokio::select! {
            _ = &mut run => continue,
            halved = halve(lab) => halved.unwrap_or(false),
        };
        let score = run.await;
        if in_time {
            return score;
        }
    }
    panic!("no run was halved before its end");
}

/// Halves the quota of the benchmark's container while it stands still. Whether more than half of
/// its second of work was still to come then; an error where it ended meanwhile.
async fn halve(lab: &Laboratory) -> Result<bool, EngineError> {
    until("the benchmark runs", || async {
        lab.engine.list_ours().await.expect("a list").iter().any(|one| one.phase == Phase::Running)
    })
    .await;
    let Some(one) = lab.engine.list_ours().await?.pop() else { return Ok(false) };
    lab.engine.pause(&one.id).await?;
    let used = lab.engine.stats(&one.id).await?;
    let half = ContainerUpdateBody { nano_cpus: Some(500_000_000), ..Default::default() };
    lab.docker.update_container(one.id.as_str(), half).await.expect("halved");
    lab.engine.unpause(&one.id).await?;
    Ok(used.cpu_ns < 400_000_000)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_s_benchmark_tells_a_halved_quota_from_load() {
    on_own_machine(|lab| async move {
        let image = import_bench(&lab.docker).await;
        let here = lab.engine.benchmarked_images().await.expect("a list");
        assert!(here.contains(&image), "{here:?}");
        let mut test = ImageTest::new(&lab.engine, &image).await.expect("an image with a bench");
        let listed = loop {
            if let Some(score) = step(&lab, &mut test).await.expect("a run") {
                break score;
            }
        };
        assert_eq!((listed.use_case, listed.unit), (UseCase::Rendering, UNIT));

        // Half a processor is below nine tenths even if the machine became half as fast again.
        let halved = halved_run(&lab, &mut test).await;
        assert!(halved < needed(listed.score), "{halved} of {listed:?}");

        // By the clock on the wall a run beside load had half of a processor or less. The machine
        // itself may have become slower too, but not by a third in each of several runs.
        let stop = AtomicBool::new(false);
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let beside_load = async {
            let mut best = 0;
            for _ in 0..5 {
                best = run(&lab, &mut test).await.max(best);
            }
            best
        };
        let best = std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        std::hint::spin_loop();
                    }
                });
            }
            let _stop = Stop(&stop);
            let handle = tokio::runtime::Handle::current();
            tokio::task::block_in_place(|| handle.block_on(beside_load))
        });
        assert!(best > listed.score / 3 * 2, "{best} of {listed:?}: {:?}", test.runs());
        assert_eq!(lab.engine.list_ours().await.expect("a list").len(), 0);
    })
    .await;
}

#[tokio::test]
async fn an_image_without_a_benchmark_says_so() {
    on_own_machine(|lab| async move {
        let error = ImageTest::new(&lab.engine, &lab.image).await.expect_err("no bench");
        assert!(matches!(error, ImageTestError::NoBench(..)), "{error}");
        let here = lab.engine.benchmarked_images().await.expect("a list");
        assert!(!here.contains(&lab.image), "{here:?}");
    })
    .await;
}
