//! Saves of a task's checkpoint: copied while the task stands still, brought out while it runs.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use alloy_primitives::B256;
use pouw_data::Checkpoint;
use pouw_data::archive::{self, ArchiveLimits};
use pouw_spec::Task;

use super::outputs::{open_below, open_file, send_file};
use super::prepare::{scratch_of, task_of};
use super::run::{id_of, inspect};
use super::{Report, Scene, Trouble, in_full};
use crate::door::TaskRequest;
use crate::engine::{EngineError, Scratch};
use crate::outcome::{Failure, Outcome};
use crate::plan::{Container, Guard};
use crate::sandbox;
use crate::step::End;

/// The copy in the staging folder.
const COPY: &str = "checkpoint.tar";

/// Freezes the task, copies its checkpoint, lets it go on: what is copied is of one moment.
pub(super) async fn copy(scene: Scene<'_>, report: &Report) -> Result<Outcome, Trouble> {
    let request = task_of(scene)?;
    let scratch = scratch_of(scene, &request.task).await?;
    let (id, engine) = (id_of(scene)?, &scene.context.engine);
    match engine.pause(&id).await {
        Ok(()) => {}
        // It ended just now.
        Err(EngineError::Conflict { .. } | EngineError::NotFound { .. }) => {
            return inspect(scene).await;
        }
        Err(error) => return Err(error.into()),
    }
    let taken = take(scene, &request.task, &scratch).await;
    let unguarded = scene.rental.record().egress && scene.rental.guard() == Guard::Down;
    let seen = if unguarded {
        // It goes on when its firewall is up.
        Outcome::Seen(Container::Paused)
    } else {
        match engine.unpause(&id).await {
            Ok(()) => Outcome::Seen(Container::Running),
            Err(EngineError::Conflict { .. } | EngineError::NotFound { .. }) => {
                inspect(scene).await?
            }
            Err(error) => return Err(error.into()),
        }
    };
    report.also(seen).await;
    Ok(match taken {
        Ok(Some(copy)) => Outcome::Copied(copy),
        Ok(None) => Outcome::NotCopied(None),
        Err(why) => Outcome::NotCopied(Some(why)),
    })
}

/// Packs the checkpoint's folder as it is now; `None` where there is nothing new to save.
async fn take(
    scene: Scene<'_>,
    task: &Task,
    scratch: &Scratch,
) -> Result<Option<Checkpoint>, String> {
    let Some(checkpoint) = &task.checkpoint else { return Ok(None) };
    let Scene { context, rental } = scene;
    let saves = rental.record().saves;
    // What lies there now took no more than the time measured until now.
    let active_s = rental.meter(|meter| meter.read(context.clock.monotonic_ms())).active_s();
    let (work, staging) = (scratch.work(), sandbox::staging_path(scratch));
    let (path, max_bytes) = (checkpoint.path.to_string(), checkpoint.max_bytes);
    let pack = move || pack(&work, &path, &staging, max_bytes);
    let packed = tokio::task::spawn_blocking(pack).await.map_err(|error| error.to_string())?;
    let Some((size_bytes, blake3)) = packed.map_err(|why| format!("checkpoint: {why}"))? else {
        return Ok(None);
    };
    if saves.durable.as_ref().is_some_and(|saved| saved.blake3 == blake3) {
        return Ok(None);
    }
    let staging = sandbox::staging_path(scratch);
    std::fs::rename(staging.join(format!("{COPY}.new")), staging.join(COPY))
        .map_err(|error| format!("checkpoint: {error}"))?;
    let number = saves.next_number();
    let [odd, even] = Checkpoint::archives();
    let name = if number.is_multiple_of(2) { even } else { odd }.to_owned();
    Ok(Some(Checkpoint::new(number, name, active_s, size_bytes, blake3)))
}

/// Size and digest of the folder's archive, left beside the last one; `None` for an empty folder.
fn pack(
    work: &std::path::Path,
    path: &str,
    staging: &std::path::Path,
    max_bytes: u64,
) -> Result<Option<(u64, B256)>, String> {
    let Ok(folder) = open_below(work, path, true) else { return Ok(None) };
    let folder = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd())).canonicalize();
    let folder = folder.map_err(|error| error.to_string())?;
    let file = File::create(staging.join(format!("{COPY}.new")));
    let file = file.map_err(|error| error.to_string())?;
    let mut out = Hashing { file, hasher: blake3::Hasher::new(), size_bytes: 0 };
    let limits = ArchiveLimits { size_bytes: max_bytes, ..ArchiveLimits::default() };
    let stats = archive::pack(&folder, &mut out, limits).map_err(|error| in_full(&error))?;
    if stats.entries == 0 {
        return Ok(None);
    }
    if out.size_bytes > max_bytes {
        return Err(format!("a save of {} bytes, max_size is {max_bytes}", out.size_bytes));
    }
    Ok(Some((out.size_bytes, B256::from(*out.hasher.finalize().as_bytes()))))
}

/// Counts and hashes what goes into a file.
struct Hashing {
    file: File,
    hasher: blake3::Hasher,
    size_bytes: u64,
}

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(bytes.get(..written).unwrap_or_default());
        self.size_bytes = self.size_bytes.saturating_add(written as u64);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Brings the copy out that the record says is made.
pub(super) async fn bring_out(scene: Scene<'_>) -> Result<Outcome, Trouble> {
    let request = task_of(scene)?;
    let scratch = scratch_of(scene, &request.task).await?;
    match scene.rental.record().saves.copied {
        Some(copy) => save(scene, &request, &scratch, copy).await,
        None => Ok(Outcome::Nothing),
    }
}

/// First the archive that the last save did not write, then the word that it is whole.
async fn save(
    scene: Scene<'_>,
    request: &TaskRequest,
    scratch: &Scratch,
    copy: Checkpoint,
) -> Result<Outcome, Trouble> {
    let Some(slots) = &request.slots.checkpoint else {
        return Ok(Outcome::Undurable("checkpoint: there is no slot for it".to_owned()));
    };
    let Scene { context, rental } = scene;
    let used = rental.meter(|meter| meter.read(context.clock.monotonic_ms())).traffic_bytes;
    let cap = rental.record().quote.caps.trafficB;
    if used.saturating_add(copy.size_bytes) > cap {
        let text = format!("checkpoint: {used} of {cap} bytes of traffic are used up");
        return Ok(Outcome::Undurable(text));
    }
    let Some(file) = open_file(&sandbox::staging_path(scratch), COPY) else {
        return Ok(Outcome::Undurable("checkpoint: its copy is gone".to_owned()));
    };
    let done = async {
        let moved = send_file(scene, &file, &copy.name, slots.of(copy.number)).await?;
        if moved.blake3 != copy.blake3 {
            return Err(Trouble::host("its copy has changed"));
        }
        let word = copy.to_json();
        rental.meter(|meter| meter.moved(word.len() as u64));
        context.mover.upload_bytes(word.into(), &slots.latest.url).await?;
        Ok(())
    };
    match done.await {
        Ok(()) => Ok(Outcome::Durable(copy)),
        Err(Trouble(Failure::Transient, why)) => {
            Err(Trouble(Failure::Transient, format!("checkpoint: {why}")))
        }
        Err(Trouble(_, why)) => Ok(Outcome::Undurable(format!("checkpoint: {why}"))),
    }
}

/// What is saved when the task has ended, and the last save that is whole in storage then.
///
/// A task that completed needs no more saves; a fault of the host's machinery saves nothing more
/// than was copied before it.
pub(super) async fn last(
    scene: Scene<'_>,
    report: &Report,
    request: &TaskRequest,
    scratch: &Scratch,
) -> Result<Option<Checkpoint>, Trouble> {
    let record = scene.rental.record();
    let durable = record.saves.durable.clone();
    let copy = match &record.end {
        _ if request.task.checkpoint.is_none() => None,
        Some(End::Completed) | None => None,
        Some(End::HostFault { .. }) => record.saves.copied,
        Some(_) => match take(scene, &request.task, scratch).await {
            Ok(copy) => copy,
            Err(why) => {
                report.also(Outcome::NotCopied(Some(why))).await;
                record.saves.copied
            }
        },
    };
    let Some(copy) = copy else { return Ok(durable) };
    report.also(Outcome::Copied(copy.clone())).await;
    let saved = save(scene, request, scratch, copy).await?;
    report.also(saved.clone()).await;
    Ok(match saved {
        Outcome::Durable(saved) => Some(saved),
        _ => durable,
    })
}
