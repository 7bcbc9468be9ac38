//! What leaves a task: parts while it runs, the rest when it has ended.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use pouw_data::archive::{self, ArchiveLimits};
use pouw_data::{Manifest, ManifestEntry, OutputSlot, Transferred};
use pouw_spec::{Output, OutputMode};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};

use super::prepare::{scratch_of, task_of};
use super::run::read_logs;
use super::{Report, Scene, Trouble, in_full};
use crate::door::{EventKind, Part, Progress, TaskRequest};
use crate::engine::Scratch;
use crate::outcome::{Failure, Outcome};
use crate::plan::MAX_ATTEMPTS;
use crate::sandbox;
use crate::step::Step;

/// Between two looks for parts.
const LOOK: Duration = Duration::from_secs(1);

/// A file of the task, opened without following any link: the task is not trusted.
pub(super) struct Opened {
    fd: OwnedFd,
    size_bytes: u64,
}

impl Opened {
    /// Its size when it was opened.
    pub(super) const fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Its path as long as it is open.
    pub(super) fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.fd.as_raw_fd()))
    }
}

pub(super) fn open_below(root: &Path, name: &str, directory: bool) -> std::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let below = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let root = rustix::fs::openat(CWD, root, flags | OFlags::DIRECTORY, Mode::empty())?;
    let flags = if directory { flags | OFlags::DIRECTORY } else { flags };
    Ok(rustix::fs::openat2(root, name, flags, Mode::empty(), below)?)
}

/// Opens a regular file below `root`; `None` where there is none.
pub(super) fn open_file(root: &Path, name: &str) -> Option<Opened> {
    let fd = open_below(root, name, false).ok()?;
    let file = File::from(fd);
    let metadata = file.metadata().ok()?;
    let size_bytes = metadata.is_file().then_some(metadata.len())?;
    Some(Opened { fd: file.into(), size_bytes })
}

pub(super) async fn watch_parts(scene: Scene<'_>, report: &Report) -> Result<Outcome, Trouble> {
    let request = task_of(scene)?;
    if request.task.parts.is_none() {
        std::future::pending::<()>().await;
    }
    let scratch = scratch_of(scene, &request.task).await?;
    let mut request = request;
    let mut until_s = rental_slots(scene);
    loop {
        // The client may have renewed the addresses.
        if rental_slots(scene) != until_s {
            (request, until_s) = (task_of(scene)?, rental_slots(scene));
        }
        upload_parts(scene, report, &request, &scratch).await?;
        crate::time::sleep(LOOK).await;
    }
}

fn rental_slots(scene: Scene<'_>) -> Option<u64> {
    scene.rental.record().slots_until_s
}

/// Uploads the parts that are in place and not yet counted, in the order of their names.
async fn upload_parts(
    scene: Scene<'_>,
    report: &Report,
    request: &TaskRequest,
    scratch: &Scratch,
) -> Result<Vec<Part>, Trouble> {
    let Some(parts) = &request.task.parts else { return Ok(Vec::new()) };
    let Scene { context, rental } = scene;
    let known: BTreeSet<String> = rental.record().parts.into_iter().map(|part| part.path).collect();
    let mut found = Vec::new();
    for (path, slot) in parts.files().zip(&request.slots.parts) {
        if known.contains(&path) {
            continue;
        }
        let Some(file) = open_file(&scratch.work(), &path) else { continue };
        // What is in place now took no more than the time measured until now.
        let active_s = rental.meter(|meter| meter.read(context.clock.monotonic_ms())).active_s();
        if file.size_bytes > parts.max_bytes {
            let size = file.size_bytes;
            let text = format!("{path} has {size} bytes, {} are allowed", parts.max_bytes);
            return Err(Trouble::client(text));
        }
        let moved = send_file(scene, &file, &path, slot).await?;
        let part = Part {
            path,
            size_bytes: moved.size_bytes,
            blake3: alloy_primitives::hex::encode(moved.blake3),
            active_s,
        };
        found.push(part.clone());
        report.also(Outcome::Part(part)).await;
        let done = u64::try_from(known.len() + found.len()).unwrap_or(u64::MAX);
        let (name, total) = (request.task.name.clone(), parts.count.into());
        rental.emit(context, EventKind::Progress { what: Progress::Parts, name, done, total });
    }
    Ok(found)
}

pub(super) async fn send_file(
    scene: Scene<'_>,
    file: &Opened,
    name: &str,
    slot: &OutputSlot,
) -> Result<Transferred, Trouble> {
    let Scene { context, rental } = scene;
    let progress = |done: u64, total: Option<u64>| {
        let (name, total) = (name.to_owned(), total.unwrap_or(0));
        rental.emit(context, EventKind::Progress { what: Progress::Upload, name, done, total });
    };
    let moved = context.mover.upload(&file.path(), &slot.url, &progress).await?;
    rental.meter(|meter| meter.moved(moved.size_bytes));
    Ok(moved)
}

/// within the quote's time for it; what is not out then, or what the store refuses, stays here.
pub(super) async fn upload(scene: Scene<'_>, report: &Report) -> Result<Outcome, Trouble> {
    let Scene { context, rental } = scene;
    let record = rental.record();
    let began_ms = record.steps.iter().rev().find(|began| began.step == Step::Upload);
    let began_ms = began_ms.map_or_else(|| context.clock.unix_ms(), |began| began.at_ms);
    let cap_s = record.quote.caps.uploadS;
    let ends_ms = began_ms.saturating_add(cap_s.saturating_mul(1_000));
    let left = Duration::from_millis(ends_ms.saturating_sub(context.clock.unix_ms()));
    let why = match crate::time::timeout(left, upload_all(scene, report)).await {
        Ok(Ok(outcome)) => return Ok(outcome),
        Ok(Err(Trouble(Failure::Transient, why)))
            if record.attempts.saturating_add(1) < MAX_ATTEMPTS =>
        {
            return Err(Trouble(Failure::Transient, why));
        }
        Ok(Err(Trouble(_, why))) => why,
        Err(_) => format!("the upload took longer than the {cap_s} s that the quote gives for it"),
    };
    let request = task_of(scene)?;
    let scratch = scratch_of(scene, &request.task).await?;
    super::left::keep(scene, &request, &scratch, why).await
}

async fn upload_all(scene: Scene<'_>, report: &Report) -> Result<Outcome, Trouble> {
    let Scene { context, rental } = scene;
    let request = task_of(scene)?;
    let scratch = scratch_of(scene, &request.task).await?;
    super::network::count_last(scene).await;
    read_logs(scene, false).await;
    let late = upload_parts(scene, report, &request, &scratch).await?;
    let mut entries = part_entries(&request, rental.record().parts.into_iter().chain(late));
    let saved = super::checkpoint::last(scene, report, &request, &scratch).await?;
    entries.extend(saved.map(|saved| ManifestEntry {
        path: saved.name,
        size_bytes: saved.size_bytes,
        blake3: saved.blake3,
        part: None,
    }));
    let mut problems = Vec::new();
    for (index, output) in request.task.outputs.iter().enumerate() {
        match upload_output(scene, &request, &scratch, index, output).await {
            Ok(entry) => entries.extend(entry),
            Err(Trouble(failure @ (Failure::Transient | Failure::Store), detail)) => {
                return Err(Trouble(failure, detail));
            }
            Err(Trouble(_, detail)) => problems.push(format!("output {}: {detail}", output.path)),
        }
    }
    if let Some(log) = open_file(&context.journal.folder(rental.id), "log") {
        let moved = send_file(scene, &log, "log", &request.slots.log).await?;
        entries.push(entry(&request.slots.log.name, moved, None));
    }
    entries.extend(upload_fetched(scene, &request).await?);
    let manifest = Manifest::new(entries).map_err(|error| Trouble::host(in_full(&error)))?;
    let json = manifest.to_json();
    context
        .journal
        .write(rental.id, "manifest.json", &json)
        .map_err(|error| Trouble::host(in_full(&error)))?;
    context.mover.upload_bytes(Bytes::from(json), &request.slots.manifest.url).await?;
    if !problems.is_empty() {
        let note = |record: &mut crate::record::Record| {
            problems.iter().for_each(|problem| record.remark(problem));
        };
        rental.update(context, note).map_err(Trouble::host)?;
    }
    Ok(Outcome::Uploaded(manifest.root()))
}

/// The list of what was fetched, with the digest of each object: the manifest's root covers it.
async fn upload_fetched(
    scene: Scene<'_>,
    request: &TaskRequest,
) -> Result<Option<ManifestEntry>, Trouble> {
    let fetched = scene.rental.record().fetched;
    let Some(slot) = request.slots.fetched.as_ref().filter(|_| !fetched.is_empty()) else {
        return Ok(None);
    };
    let json = serde_json::to_vec_pretty(&fetched).map_err(Trouble::host)?;
    let moved = scene.context.mover.upload_bytes(json.into(), &slot.url).await?;
    scene.rental.meter(|meter| meter.moved(moved.size_bytes));
    Ok(Some(entry(&slot.name, moved, None)))
}

fn entry(name: &str, moved: Transferred, part: Option<u32>) -> ManifestEntry {
    ManifestEntry {
        path: name.to_owned(),
        size_bytes: moved.size_bytes,
        blake3: moved.blake3,
        part,
    }
}

/// The parts under the names of their slots; a part that came twice counts once.
pub(super) fn part_entries(
    request: &TaskRequest,
    parts: impl Iterator<Item = Part>,
) -> Vec<ManifestEntry> {
    let Some(pattern) = &request.task.parts else { return Vec::new() };
    let mut seen = BTreeSet::new();
    let entries = parts.filter(|part| seen.insert(part.path.clone())).filter_map(|part| {
        let index = pattern.index(&part.path)?;
        let slot = request.slots.parts.get(usize::try_from(index).ok()?)?;
        Some(ManifestEntry {
            path: slot.name.clone(),
            size_bytes: part.size_bytes,
            blake3: part.blake3.parse().ok()?,
            part: Some(index + 1),
        })
    });
    entries.collect()
}

async fn upload_output(
    scene: Scene<'_>,
    request: &TaskRequest,
    scratch: &Scratch,
    index: usize,
    output: &Output,
) -> Result<Option<ManifestEntry>, Trouble> {
    let found = file_or_archive(scene, request, scratch, index, output).await?;
    let Some((slot, file)) = found else { return Ok(None) };
    let moved = send_file(scene, &file, output.path.as_str(), slot).await?;
    Ok(Some(entry(&slot.name, moved, None)))
}

/// A file goes to the slot that has its name; everything else into a numbered archive. `None` for
/// an output that isn't kept after such an end.
pub(super) async fn file_or_archive<'a>(
    scene: Scene<'_>,
    request: &'a TaskRequest,
    scratch: &Scratch,
    index: usize,
    output: &Output,
) -> Result<Option<(&'a OutputSlot, Opened)>, Trouble> {
    let succeeded = scene.rental.record().exit.is_some_and(|exit| exit.code == 0);
    if output.mode == OutputMode::OnSuccess && !succeeded {
        return Ok(None);
    }
    let (slots, name) = (&request.slots, output.path.as_str());
    let own = slots.parts.iter().chain(&slots.archives).find(|slot| slot.name == name);
    if let (false, Some(slot)) = (output.directory, own) {
        let file = open_file(&scratch.work(), name);
        let file = file.ok_or_else(|| Trouble::client("the task left no such file"))?;
        if file.size_bytes > output.max_bytes {
            let (size, max) = (file.size_bytes, output.max_bytes);
            return Err(Trouble::client(format!("it has {size} bytes, {max} are allowed")));
        }
        return Ok(Some((slot, file)));
    }
    let slot = slots.archives.get(index);
    let slot = slot.ok_or_else(|| Trouble::client("there is no slot for it"))?;
    Ok(Some((slot, pack(scratch, output).await?)))
}

async fn pack(scratch: &Scratch, output: &Output) -> Result<Opened, Trouble> {
    let (work, staging) = (scratch.work(), sandbox::staging_path(scratch));
    let (name, max_bytes) = (output.path.as_str().to_owned(), output.max_bytes);
    let directory = output.directory;
    let work = tokio::task::spawn_blocking(move || {
        let io = |error: std::io::Error| Trouble::host(in_full(&error));
        let gone = |_| Trouble::client("the task left no such file or folder");
        let out = staging.join("output.tar");
        let source = if directory {
            let fd = open_below(&work, &name, true).map_err(gone)?;
            let path = PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()));
            (path, Some(fd))
        } else {
            let file = open_file(&work, &name)
                .ok_or_else(|| Trouble::client("the task left no such file"))?;
            let folder = staging.join("output");
            drop(std::fs::remove_dir_all(&folder));
            std::fs::create_dir_all(&folder).map_err(io)?;
            let base = name.rsplit('/').next().unwrap_or("output");
            std::fs::copy(file.path(), folder.join(base)).map_err(io)?;
            (folder, None)
        };
        let limits = ArchiveLimits { size_bytes: max_bytes, ..ArchiveLimits::default() };
        let mut file = File::create(&out).map_err(io)?;
        archive::pack(&source.0, &mut file, limits)
            .map_err(|error| Trouble::client(in_full(&error)))?;
        open_file(&staging, "output.tar").ok_or_else(|| Trouble::host("the archive vanished"))
    });
    work.await.map_err(|error| Trouble::host(error.to_string()))?
}

/// One line a run in the machine's history; what is kept is marked as whole.
pub(super) async fn note(scene: Scene<'_>) -> Result<Outcome, Trouble> {
    let Scene { context, rental } = scene;
    let record = rental.record();
    if record.is_kept() {
        let scratch = scratch_of(scene, &task_of(scene)?.task).await?;
        let mark = std::fs::write(sandbox::kept_mark(&scratch), b"");
        mark.map_err(|error| Trouble::host(in_full(&error)))?;
    }
    let line = serde_json::json!({
        "rental": record.rental,
        "at": context.clock.unix_s(),
        "active_ms": record.totals.active_ms,
        "parts": record.parts.len(),
        "gate": record.gate,
        "end": record.end,
    });
    if let Err(error) = context.journal.note(&line.to_string()) {
        tracing::warn!(rental = %rental.id, %error, "the machine's history can't be written");
    }
    Ok(Outcome::Noted)
}
