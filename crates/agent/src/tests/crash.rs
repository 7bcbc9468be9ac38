//! Killed at any moment and started again: the rental goes on or ends cleanly, and nobody pays
//! twice.

use proptest::prelude::*;

use super::world::{FRAMES, World, task};
use crate::step::{End, Step};

/// killed in every step once, the rental still completes, is paid once, and leaves nothing.
#[tokio::test]
async fn a_rental_survives_a_kill_in_each_of_its_steps() {
    for step in Step::ALL.into_iter().filter(|step| *step != Step::Done) {
        let mut world = World::new().await;
        let task = task(FRAMES);
        let id = world.open(&task, None, |_| ());
        world.hand_over(id, &task).await;
        if step <= Step::Run {
            world.reach(id, step).await;
            world.kill().await;
            world.start().await;
        }
        world.running(id).await;
        world.sleep(20).await;
        world.write_part(id, "frames/0001.png");
        world.finish(0, false);
        if step > Step::Run {
            world.reach(id, step).await;
            world.kill().await;
            world.start().await;
        }
        world.done(id).await;
        assert_eq!(world.status(id).end, Some(End::Completed), "{step}");
        assert_eq!(world.chain.lock().paid.len(), 1, "{step}");
        assert!(world.rental(id).best.activeS <= 25, "{step}: {:?}", world.rental(id).best);
        let starts = world.engine.calls().iter().filter(|c| c.starts_with("start ")).count();
        assert_eq!(starts, 1, "{step}: the task is started once");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// A-40 at arbitrary moments, several times.
    #[test]
    fn kills_at_any_moments_never_charge_twice(
        kills in proptest::collection::vec(0u64..40_000, 0..5),
        down in proptest::collection::vec(0u64..5_000, 5),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut world = World::new().await;
            let task = task("limits:\n  time: 20s\n");
            let id = world.open(&task, None, |_| ());
            world.hand_over(id, &task).await;
            for (kill_ms, down_ms) in kills.into_iter().zip(down) {
                crate::time::sleep(std::time::Duration::from_millis(kill_ms)).await;
                world.kill().await;
                crate::time::sleep(std::time::Duration::from_millis(down_ms)).await;
                world.start().await;
            }
            world.done(id).await;
            assert_eq!(world.chain.lock().paid.len(), 1);
            assert!(world.rental(id).best.activeS <= 20);
            let starts = world.engine.calls().iter().filter(|c| c.starts_with("start ")).count();
            assert!(starts <= 1, "{starts}");
        });
    }
}
