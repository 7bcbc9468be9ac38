//! Measures the benchmarks of the images on this machine while nobody rents it, so that gates can
//! be held by them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::agent::Shared;
use crate::engine::{EngineError, ImageRef};
use crate::selftest::{ImageTest, ImageTestError, NO_RENTAL, SelfTest};
use crate::time::Instant;

/// How long nobody must have rented the machine: who starts one often rents it at once.
const IDLE: Duration = Duration::from_secs(30);
/// Between two looks for an image that is not tested.
const LOOK: Duration = Duration::from_secs(5);

/// Tests what is not tested, for as long as the agent lives.
pub(crate) async fn keep_tested(shared: &Arc<Shared>) {
    let mut tester = Tester::default();
    while let Err(error) = clear(shared).await {
        tracing::warn!(%error, "what an earlier self-test left can't be removed");
        crate::time::sleep(LOOK).await;
    }
    let mut idle_since = Instant::now();
    loop {
        if shared.is_rented() {
            idle_since = Instant::now();
        }
        if idle_since.elapsed() < IDLE || !tester.step(shared).await {
            crate::time::sleep(LOOK).await;
        }
    }
}

/// Removes what a self-test left that was broken off.
pub(crate) async fn clear(shared: &Shared) -> Result<(), EngineError> {
    let engine = &shared.context.engine;
    for left in engine.list_ours().await? {
        if left.rental == NO_RENTAL {
            engine.remove(&left.id).await?;
        }
    }
    Ok(())
}

#[derive(Debug, Default)]
struct Tester {
    begun: BTreeMap<ImageRef, ImageTest>,
    given_up: BTreeSet<ImageRef>,
}

impl Tester {
    /// One run of one benchmark. Whether there was one to be made.
    async fn step(&mut self, shared: &Arc<Shared>) -> bool {
        // An engine that is away is the rentals' matter; this waits.
        let Ok(images) = shared.context.engine.benchmarked_images().await else { return false };
        let tests = shared.context.self_test();
        let unit = &shared.context.unit;
        let mut untested = images.into_iter().filter(|image| {
            tests.of_image(image, unit).is_none() && !self.given_up.contains(image)
        });
        let Some(image) = untested.next() else { return false };
        match self.run(shared, tests, &image).await {
            Ok(()) => true,
            Err(ImageTestError::Engine(error)) if error.is_transient() => false,
            Err(error) => {
                tracing::warn!(%error, %image, "gates of this image take the processor's probe");
                self.begun.remove(&image);
                self.given_up.insert(image);
                true
            }
        }
    }

    async fn run(
        &mut self,
        shared: &Arc<Shared>,
        mut tests: SelfTest,
        image: &ImageRef,
    ) -> Result<(), ImageTestError> {
        let context = &shared.context;
        let engine = context.engine.as_ref();
        let mut test = match self.begun.remove(image) {
            Some(test) => test,
            None => ImageTest::new(engine, image).await?,
        };
        let (machine, info) = (context.machine.id(), &context.engine_info);
        match test.step(engine, info, machine, &context.unit, context.isolation).await? {
            None => {
                self.begun.insert(image.clone(), test);
            }
            Some(score) => {
                tracing::info!(%image, score = score.score, "listed");
                tests.images.insert(image.digest(), score);
                shared.listed(tests);
            }
        }
        Ok(())
    }
}
