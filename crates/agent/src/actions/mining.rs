//! a mineable task's socket, its work from the node, its certificates to the node.

use std::sync::Arc;
use std::time::Duration;

use pouw_mining::Work;
use pouw_mining::server::{self, Win};
use tokio::net::UnixListener;
use tokio::sync::{mpsc, watch};

use super::{Scene, Trouble, in_full, prepare};
use crate::door::EventKind;
use crate::lane_one::HandedIn;
use crate::outcome::{Failure, Outcome};
use crate::sandbox;

/// Between two looks at the node's work: a part of the time between two blocks, but no less than this.
const SHORTEST: Duration = Duration::from_millis(250);
/// And no more than this.
const LONGEST: Duration = Duration::from_secs(5);
/// Looks in the time between two blocks.
const LOOKS: u32 = 8;
/// Certificates that wait for the node.
const MAX_WINS: usize = 16;

/// Serves the task's socket until it is no longer wanted. A task that can't mine runs all the same.
pub(super) async fn serve(scene: Scene<'_>) -> Outcome {
    if let Err(Trouble(_, detail)) = listen(scene).await {
        let text = format!("the task cannot mine for now: {detail}");
        scene.rental.emit(scene.context, EventKind::Remark { text });
    }
    Outcome::Nothing
}

async fn listen(scene: Scene<'_>) -> Result<(), Trouble> {
    let io = |error: std::io::Error| Trouble(Failure::Transient, in_full(&error));
    let task = prepare::task_of(scene)?.task;
    let scratch = prepare::scratch_of(scene, &task).await?;
    let listener = sandbox::mining_socket(&scratch).map_err(io)?;
    listener.set_nonblocking(true).map_err(io)?;
    let listener = UnixListener::from_std(listener).map_err(io)?;
    let (say, work) = watch::channel(None);
    let (sender, wins) = mpsc::channel(MAX_WINS);
    let served = server::serve(listener, work, sender, scene.rental.tally().clone());
    tokio::select! {
        ended = served => ended.map_err(io)?,
        () = feed(scene, say) => {}
        () = hand_in(scene, wins) => {}
    }
    Ok(())
}

/// Says the node's work for as long as a task listens, and counts what mined.
async fn feed(scene: Scene<'_>, say: watch::Sender<Option<Arc<Work>>>) {
    let Scene { context, rental } = scene;
    let mut connections = rental.tally().connections();
    let block = Duration::from_millis(context.network.block_ms);
    let pause = (block / LOOKS).clamp(SHORTEST, LONGEST);
    loop {
        let listened = *connections.borrow_and_update() > 0;
        let work = if listened {
            context.lane_one.work(context.machine.id()).await.unwrap_or_else(|error| {
                tracing::debug!(rental = %rental.id, %error, "no work for the task");
                None
            })
        } else {
            None
        };
        say.send_if_modified(|said| {
            let changed = said.as_deref() != work.as_ref();
            *said = work.map(Arc::new);
            changed
        });
        rental.count_mined();
        tokio::select! {
            changed = connections.changed() => if changed.is_err() { return },
            () = crate::time::sleep(pause) => {}
        }
    }
}

/// Brings certificates to the node, one after the other.
async fn hand_in(scene: Scene<'_>, mut wins: mpsc::Receiver<Win>) {
    let Scene { context, rental } = scene;
    while let Some(Win { work, certificate }) = wins.recv().await {
        let text = match context.lane_one.hand_in(work.id, certificate).await {
            Ok(HandedIn::Block(block)) => format!("the task's work won block {block} of lane 1"),
            Ok(HandedIn::Stale) => "the task's work won a block that came too late".to_owned(),
            Err(error) => format!("the task's work won a block in vain: {error}"),
        };
        tracing::info!(rental = %rental.id, text, "mining");
        rental.emit(context, EventKind::Remark { text });
    }
}
