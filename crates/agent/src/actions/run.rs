//! The container: look, start, freeze, end; its output.

use futures::StreamExt;

use super::{Scene, Trouble, in_full};
use crate::door::EventKind;
use crate::engine::{Channel, ContainerId, EngineError, LogLine, Phase};
use crate::outcome::{Failure, Outcome};
use crate::plan::{Container, Guard};

type Done = Result<Outcome, Trouble>;

pub(super) fn id_of(scene: Scene<'_>) -> Result<ContainerId, Trouble> {
    scene.rental.record().container.ok_or_else(|| Trouble::host("there is no container"))
}

async fn look(scene: Scene<'_>, id: &ContainerId) -> Result<Container, EngineError> {
    match scene.context.engine.inspect(id).await {
        Ok(seen) => Ok(match (seen.phase, seen.exit) {
            (Phase::Created, _) => Container::Created,
            (Phase::Running, _) => Container::Running,
            (Phase::Paused, _) => Container::Paused,
            (Phase::Exited, Some(exit)) => Container::Exited(exit),
            (Phase::Exited, None) => Container::Unknown,
        }),
        Err(EngineError::NotFound { .. }) => Ok(Container::Absent),
        Err(error) => Err(error),
    }
}

pub(super) async fn inspect(scene: Scene<'_>) -> Done {
    match look(scene, &id_of(scene)?).await {
        Ok(container) => Ok(Outcome::Seen(container)),
        Err(error) if error.is_transient() => Ok(Outcome::Lost(in_full(&error))),
        Err(error) => Err(error.into()),
    }
}

pub(super) async fn start(scene: Scene<'_>) -> Done {
    let id = id_of(scene)?;
    match scene.context.engine.start(&id).await {
        // A command that can't be executed is what the client wrote.
        Err(EngineError::Refused { status: 400, message, .. }) => {
            Err(Trouble(Failure::Client, message))
        }
        Err(error) => Err(error.into()),
        // What ends at once is seen by waiting for its end.
        Ok(()) => Ok(Outcome::Seen(Container::Running)),
    }
}

pub(super) async fn pause(scene: Scene<'_>) -> Done {
    let id = id_of(scene)?;
    match scene.context.engine.pause(&id).await {
        Ok(()) => Ok(Outcome::Seen(Container::Paused)),
        // It may have ended meanwhile.
        Err(EngineError::Conflict { .. } | EngineError::NotFound { .. }) => inspect(scene).await,
        Err(error) => Err(error.into()),
    }
}

pub(super) async fn unpause(scene: Scene<'_>) -> Done {
    let id = id_of(scene)?;
    match scene.context.engine.unpause(&id).await {
        Ok(()) => Ok(Outcome::Seen(Container::Running)),
        Err(EngineError::Conflict { .. } | EngineError::NotFound { .. }) => inspect(scene).await,
        Err(error) => Err(error.into()),
    }
}

pub(super) async fn terminate(scene: Scene<'_>) -> Done {
    let id = id_of(scene)?;
    let engine = &scene.context.engine;
    // A frozen process hears no signal. One without its firewall gets no moment more.
    if scene.rental.record().egress && scene.rental.guard() == Guard::Down {
        engine.kill(&id).await?;
    } else if look(scene, &id).await? == Container::Paused {
        engine.unpause(&id).await?;
    }
    let grace = super::prepare::task_of(scene)
        .map_or(scene.context.rules.tuning.grace_s, |request| request.task.limits.grace_s)
        .min(scene.context.rules.tuning.grace_s);
    match engine.stop(&id, u32::try_from(grace).unwrap_or(u32::MAX)).await {
        Ok(()) | Err(EngineError::NotFound { .. } | EngineError::Conflict { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    match look(scene, &id).await? {
        Container::Running | Container::Paused => {
            engine.kill(&id).await?;
            Ok(Outcome::Seen(look(scene, &id).await?))
        }
        ended => Ok(Outcome::Seen(ended)),
    }
}

pub(super) async fn wait(scene: Scene<'_>) -> Outcome {
    let id = match id_of(scene) {
        Ok(id) => id,
        Err(Trouble(_, detail)) => return Outcome::Lost(detail),
    };
    match scene.context.engine.wait(&id).await {
        Ok(exit) => Outcome::Seen(Container::Exited(exit)),
        Err(EngineError::NotFound { .. }) => Outcome::Seen(Container::Absent),
        Err(error) => Outcome::Lost(in_full(&error)),
    }
}

pub(super) async fn logs(scene: Scene<'_>) -> Outcome {
    read_logs(scene, true).await;
    Outcome::Nothing
}

/// Reads what the container wrote and nobody has read; with `follow`, until it ends.
pub(super) async fn read_logs(scene: Scene<'_>, follow: bool) {
    let Ok(id) = id_of(scene) else { return };
    let Scene { context, rental } = scene;
    let Ok(mut lines) = context.engine.logs(&id, follow, rental.log.last_ns()).await else {
        return;
    };
    while let Some(Ok(line)) = lines.next().await {
        let LogLine { channel, text, .. } = &line;
        let stream = match channel {
            Channel::Stdout => "stdout",
            Channel::Stderr => "stderr",
        };
        let (stream, text) = (stream.to_owned(), text.clone());
        if let Err(error) = rental.log.push(&line) {
            tracing::warn!(rental = %rental.id, %error, "the task's log can't be written");
        }
        rental.emit(context, EventKind::Log { stream, line: text });
    }
}
