//! The task's network: what passes it is counted, and its firewall has to stand.

use std::time::Duration;

use super::{Report, Scene, Trouble};
use crate::outcome::Outcome;
use crate::plan::Guard;

/// Between two looks where nothing is heard of a change.
const LOOK: Duration = Duration::from_secs(1);

/// Looks at each change of the firewall, and each second: counts, tells when the firewall is not
/// there, puts it up again, and tells when it is.
///
/// The loop holds the task as long as it is down. A look or a repair that fails ends the action,
/// which says "down" as well, and is done again.
pub(super) async fn watch(scene: Scene<'_>, report: &Report) -> Result<Outcome, Trouble> {
    let Scene { context, rental } = scene;
    let owner = scene.owner();
    let mut changes = context.engine.firewall_changes();
    let mut told = rental.guard();
    let mut repaired = false;
    loop {
        // What changes from here on is looked at again.
        changes.mark_unchanged();
        let seen = context.engine.watch_network(&owner).await?;
        if let Some(bytes) = seen.bytes {
            count(scene, bytes);
        }
        let now = if seen.guarded { Guard::Up } else { Guard::Down };
        if told != now {
            told = now;
            report.also(Outcome::Guarded(seen.guarded)).await;
        }
        if !seen.guarded {
            if repaired {
                // Somebody else is at it again and again.
                crate::time::sleep(LOOK).await;
            }
            context.engine.guard_network(&owner).await?;
            repaired = true;
            continue;
        }
        repaired = false;
        tokio::select! {
            () = crate::time::sleep(LOOK) => {}
            () = changed(&mut changes) => {}
        }
    }
}

async fn changed(changes: &mut tokio::sync::watch::Receiver<()>) {
    if changes.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Takes a reading into the meter; what uses up the traffic ends the rental at once.
fn count(scene: Scene<'_>, bytes: u64) {
    let Scene { context, rental } = scene;
    let now = context.clock.monotonic_ms();
    let total = rental.meter(|meter| {
        meter.counted(bytes);
        meter.read(now).traffic_bytes
    });
    if total >= rental.traffic_cap() {
        rental.wake();
    }
}

/// The last reading, after the task's end.
pub(super) async fn count_last(scene: Scene<'_>) {
    if !scene.rental.record().egress {
        return;
    }
    match scene.context.engine.watch_network(&scene.owner()).await {
        Ok(seen) => seen.bytes.into_iter().for_each(|bytes| count(scene, bytes)),
        // What can't be read is not billed.
        Err(error) => tracing::warn!(rental = %scene.rental.id, %error, "traffic is not counted"),
    }
}
