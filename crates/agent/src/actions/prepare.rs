//! Save, provision, load, reset.

use std::path::Path;
use std::time::Duration;

use pouw_data::archive::{self, ArchiveLimits};
use pouw_data::{InputSlot, Packing, Transferred};
use pouw_spec::{InputMode, Network as TaskNetwork, Task};
use pouw_types::RentalId;

use super::{Scene, Trouble, in_full};
use crate::door::{EventKind, Progress, Resume, TaskRequest};
use crate::engine::{NetworkMode, Owner, PullStatus, Scope, Scratch, ScratchRequest};
use crate::mover::MoveError;
use crate::outcome::{Failure, Outcome};
use crate::record::Fetched;
use crate::sandbox::{self, Place};

type Done = Result<Outcome, Trouble>;

impl From<MoveError> for Trouble {
    fn from(error: MoveError) -> Self {
        match error {
            MoveError::Transient(text) => Self(Failure::Transient, text),
            MoveError::Permanent(text) => Self(Failure::Store, text),
        }
    }
}

pub(super) async fn save(scene: Scene<'_>) -> Done {
    let state = scene.context.engine.snapshot(Scope::Rental(scene.rental.id)).await?;
    Ok(Outcome::Saved(Box::new(state)))
}

/// What the client handed over.
pub(super) fn task_of(scene: Scene<'_>) -> Result<TaskRequest, Trouble> {
    scene.context.journal.load_task(scene.rental.id).map_err(|error| Trouble::host(in_full(&error)))
}

/// The rental's file system; making it again is harmless.
pub(super) async fn scratch_of(scene: Scene<'_>, task: &Task) -> Result<Scratch, Trouble> {
    let request = ScratchRequest {
        owner: scene.owner(),
        size_bytes: task.resources.disk_bytes,
        user: scene.context.engine_info.task_user,
    };
    Ok(scene.context.engine.create_scratch(&request).await?)
}

pub(super) async fn provision(scene: Scene<'_>) -> Done {
    let Scene { context, rental } = scene;
    let request = task_of(scene)?;
    let task = &request.task;
    let reference = sandbox::image_of(task).map_err(Trouble::client)?;
    let name = reference.to_string();
    let progress = |status: PullStatus| {
        rental.emit(
            context,
            EventKind::Progress {
                what: Progress::Image,
                name: name.clone(),
                done: status.done_bytes,
                total: status.total_bytes,
            },
        );
    };
    let limit = Duration::from_secs(rental.record().quote.caps.preparationS.max(1));
    let image =
        crate::time::timeout(limit, context.engine.pull(&reference, &progress)).await.map_err(
            |_| Trouble::client("the image took longer than the quote's free preparation"),
        )??;
    let network = match task.network {
        TaskNetwork::None => NetworkMode::None,
        TaskNetwork::Egress => {
            NetworkMode::Egress(context.engine.create_network(&scene.owner()).await?)
        }
    };
    let scratch = scratch_of(scene, task).await?;
    let user = context.engine_info.task_user;
    sandbox::prepare(&scratch, task, &request.secrets, user)
        .map_err(|error| Trouble::host(in_full(&error)))?;
    let place = Place { owner: scene.owner(), image: &image, scratch: &scratch, user, network };
    let workload = sandbox::task_workload(&place, task)?;
    let created = context.engine.create(&workload).await?;
    Ok(Outcome::Provisioned(created.id))
}

pub(super) async fn load(scene: Scene<'_>) -> Done {
    let request = task_of(scene)?;
    let scratch = scratch_of(scene, &request.task).await?;
    let user = scene.context.engine_info.task_user;
    let mut fetched = Vec::new();
    let kept = request.resume == Some(Resume::Kept);
    for (index, input) in request.task.inputs.iter().enumerate() {
        // The task's own copies are among what is kept, as it left them.
        if kept && input.mode == InputMode::ReadWrite {
            continue;
        }
        let name = input.to.as_str();
        let target = match input.mode {
            InputMode::ReadOnly => sandbox::input_path(&scratch, index),
            InputMode::ReadWrite => scratch.work().join(name),
        };
        let slots = request.slots_of(input);
        if slots.is_empty() {
            return Err(Trouble::client(format!("input {name} has no slot")));
        }
        // The cap is for all objects of a prefix together.
        let mut left_bytes = input.max_bytes;
        for slot in slots {
            let slot = InputSlot { blake3: input.blake3.or(slot.blake3), ..slot.clone() };
            let below = slot.name.strip_prefix(name).unwrap_or_default().trim_start_matches('/');
            let file = if below.is_empty() { target.clone() } else { target.join(below) };
            if let Some(folder) = file.parent() {
                std::fs::create_dir_all(folder).map_err(|error| Trouble::host(in_full(&error)))?;
            }
            let moved = fetch(scene, &scratch, &slot, &file, left_bytes).await?;
            left_bytes = left_bytes.saturating_sub(moved.size_bytes);
            let Transferred { size_bytes, blake3 } = moved;
            fetched.push(Fetched { name: slot.name.clone(), size_bytes, blake3 });
        }
        if input.mode == InputMode::ReadWrite {
            own_all(&target, user).map_err(|error| Trouble::host(in_full(&error)))?;
        }
    }
    resume(scene, &request, &scratch).await?;
    Ok(Outcome::Loaded(fetched))
}

/// Brings back what the task goes on from.
async fn resume(scene: Scene<'_>, request: &TaskRequest, scratch: &Scratch) -> Result<(), Trouble> {
    let io = |error: std::io::Error| Trouble::host(in_full(&error));
    let user = scene.context.engine_info.task_user;
    match (&request.resume, &request.task.checkpoint) {
        (None, _) => Ok(()),
        (Some(Resume::Kept), _) => take_over(scene, scratch).await,
        (Some(Resume::Checkpoint(_)), None) => {
            Err(Trouble::client("the task declares no checkpoint to go on from"))
        }
        (Some(Resume::Checkpoint(slot)), Some(checkpoint)) => {
            let target = scratch.work().join(checkpoint.path.as_str());
            if let Some(parent) = target.parent() {
                sandbox::make_owned(&scratch.work(), parent, user).map_err(io)?;
            }
            fetch(scene, scratch, slot, &target, checkpoint.max_bytes).await?;
            own_all(&target, user).map_err(io)
        }
    }
}

/// Brings one object to where it belongs; its size and digest.
async fn fetch(
    scene: Scene<'_>,
    scratch: &Scratch,
    slot: &InputSlot,
    target: &Path,
    max_bytes: u64,
) -> Result<Transferred, Trouble> {
    let Scene { context, rental } = scene;
    let name = slot.name.clone();
    let progress = |done: u64, total: Option<u64>| {
        let (name, total) = (name.clone(), total.unwrap_or(0));
        rental.emit(context, EventKind::Progress { what: Progress::Download, name, done, total });
    };
    let landing = match slot.packing {
        Packing::File => target.to_owned(),
        Packing::Tar => sandbox::staging_path(scratch).join("input.tar"),
    };
    // what would be beyond the cap is not fetched.
    let used = rental.meter(|meter| meter.read(context.clock.monotonic_ms())).traffic_bytes;
    let left_bytes = rental.record().quote.caps.trafficB.saturating_sub(used);
    let most = max_bytes.min(left_bytes);
    let moved = context.mover.download(slot, &landing, most, &progress).await;
    let moved = moved.map_err(Trouble::from).map_err(|Trouble(failure, text)| {
        let short = left_bytes < max_bytes && failure == Failure::Store;
        let hint = if short { "; limits.traffic leaves no more for it" } else { "" };
        Trouble(failure, format!("{text}{hint}"))
    })?;
    rental.meter(|meter| meter.moved(moved.size_bytes));
    if slot.packing == Packing::Tar {
        let io = |error: std::io::Error| Trouble::host(in_full(&error));
        // A broken-off unpacking is begun anew: an archive goes into an empty folder only.
        if target.exists() {
            std::fs::remove_dir_all(target).map_err(io)?;
        }
        let file = std::fs::File::open(&landing).map_err(io)?;
        let limits = ArchiveLimits { size_bytes: max_bytes, ..ArchiveLimits::default() };
        archive::unpack(file, target, limits).map_err(|error| Trouble::client(in_full(&error)))?;
        std::fs::remove_file(&landing).map_err(io)?;
    }
    Ok(moved)
}

fn own_all(path: &Path, user: crate::engine::User) -> std::io::Result<()> {
    sandbox::own(path, user)?;
    // What was unpacked holds no links out of itself; links are not followed here either.
    if std::fs::symlink_metadata(path)?.is_dir() {
        for entry in std::fs::read_dir(path)? {
            let entry = entry?;
            if !entry.file_type()?.is_symlink() {
                own_all(&entry.path(), user)?;
            }
        }
    }
    Ok(())
}

/// takes over the folder of the rental that this one continues.
async fn take_over(scene: Scene<'_>, scratch: &Scratch) -> Result<(), Trouble> {
    let Scene { context, rental } = scene;
    let before = RentalId::new(rental.record().quote.continues);
    let gone = |why: &str| Trouble::client(format!("nothing of rental {before} is kept: {why}"));
    let record = context.journal.load(before).map_err(|_| gone("it was not run here"))?;
    // The ledger lets nobody continue another's rental; its data is worth a second look.
    if record.quote.client != rental.record().quote.client {
        return Err(gone("it is another client's"));
    }
    if !record.is_kept() {
        return Err(gone("its time is over"));
    }
    let owner = Owner { machine: context.machine.id(), rental: before };
    let task = context.journal.load_task(before);
    let task = task.map_err(|error| Trouble::host(in_full(&error)))?.task;
    let request = ScratchRequest {
        owner,
        size_bytes: task.resources.disk_bytes,
        user: context.engine_info.task_user,
    };
    let old = context.engine.create_scratch(&request).await?;
    // A computer that was started anew has lost it: nobody is given an empty folder for a full one.
    if !sandbox::kept_mark(&old).exists() {
        return Err(Trouble::host(format!("what was kept of rental {before} is lost")));
    }
    let (from, to, user) = (old.work(), scratch.work(), context.engine_info.task_user);
    let copied = tokio::task::spawn_blocking(move || sandbox::copy_tree(&from, &to, user)).await;
    copied
        .map_err(|error| Trouble::host(error.to_string()))?
        .map_err(|error| Trouble::client(format!("what was kept does not fit: {error}")))
}

pub(super) async fn reset(scene: Scene<'_>) -> Done {
    let Some(saved) = scene.rental.record().saved else { return Ok(Outcome::Reset) };
    let engine = &scene.context.engine;
    engine.reset_to(&saved).await?;
    let state = engine.snapshot(saved.scope).await?;
    if state.digest() == saved.digest() {
        return Ok(Outcome::Reset);
    }
    let (left, gone) = state.difference(&saved);
    Err(Trouble::host(format!(
        "the machine is not as it was saved; left over {left:?}, gone {gone:?}"
    )))
}
