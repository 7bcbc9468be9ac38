//! A task's inputs and results: found, packed, and opened to the host slot by slot.

use std::path::{Path, PathBuf};

use anyhow::Context;
use pouw_data::archive::{self, ArchiveLimits};
use pouw_data::{
    InputRequest, ListError, ListLimits, MAX_INPUTS, OutputSlot, Packing, PresignedUrl, Progress,
    S3Location, SlotRequest, Slots, presign_get, presign_put,
};
use pouw_spec::{Input, Location, Output, Parts, Task};

use super::bucket::{Bucket, now_s};
use crate::exit::WrongInput;

/// One input of a task, ready to be handed over.
#[derive(Debug)]
pub struct Found {
    /// Where the task finds it.
    pub name: String,
    /// Its size as it travels, where it is known.
    pub size_bytes: Option<u64>,
    source: Source,
}

#[derive(Debug)]
enum Source {
    /// A file of this computer: goes into the bucket first.
    File(PathBuf),
    /// A folder of this computer, packed; the file goes with this value.
    Folder(tempfile::NamedTempFile),
    /// An object or address that the host reads itself.
    Address(PresignedUrl),
}

/// How long results and inputs can be moved after the task's time limit, seconds.
const GRACE_S: u64 = 86_400;

/// Finds all inputs; `folder` is where relative paths begin.
///
/// # Errors
/// [`WrongInput`] for a file that isn't there, is no regular file, or is larger than the task says,
/// and for a prefix below which is nothing, too much, or what can't be a file.
pub async fn find(task: &Task, folder: &Path, bucket: &Bucket) -> anyhow::Result<Vec<Found>> {
    let life_s = task.limits.time_s.saturating_add(GRACE_S);
    let mut found = Vec::new();
    for input in &task.inputs {
        match &input.from {
            Location::S3 { bucket: other, key } if input.from.is_directory() => {
                found.extend(find_below(input, other, key, bucket, life_s).await?);
            }
            _ => found.push(find_one(input, folder, bucket, life_s)?),
        }
    }
    Ok(found)
}

/// Each object below a prefix, as the store lists them now, with an address of its own.
async fn find_below(
    input: &Input,
    other: &str,
    prefix: &str,
    bucket: &Bucket,
    life_s: u64,
) -> anyhow::Result<Vec<Found>> {
    let own = &bucket.location;
    let at = S3Location::new(own.endpoint(), own.region(), other, "")?;
    let limits = ListLimits { objects: MAX_INPUTS, size_bytes: input.max_bytes };
    let listed = bucket.transfers.list(&at, &bucket.credentials, prefix, limits, now_s()).await;
    let listed = listed.map_err(|error| {
        WrongInput(format!("input {}: {:#}", input.from, anyhow::Error::from(error)))
    })?;
    let mut found = Vec::new();
    for object in listed {
        let url = presign_get(&at, &bucket.credentials, &object.key, now_s(), life_s)?;
        found.push(Found {
            name: format!("{}/{}", input.to, object.name),
            size_bytes: Some(object.size_bytes),
            source: Source::Address(url),
        });
    }
    Ok(found)
}

fn find_one(input: &Input, folder: &Path, bucket: &Bucket, life_s: u64) -> anyhow::Result<Found> {
    let name = input.to.to_string();
    let wrong = |what: String| WrongInput(format!("input {}: {what}", input.from));
    match &input.from {
        Location::Http(address) => {
            let source = Source::Address(PresignedUrl::parse(address)?);
            Ok(Found { name, size_bytes: None, source })
        }
        Location::S3 { bucket: other, key } => {
            let own = &bucket.location;
            let at = S3Location::new(own.endpoint(), own.region(), other, "")?;
            let url = presign_get(&at, &bucket.credentials, key, now_s(), life_s)?;
            Ok(Found { name, size_bytes: None, source: Source::Address(url) })
        }
        Location::File(path) => {
            let path = folder.join(path);
            // A link could lead out of what the person meant to hand over.
            let metadata = std::fs::symlink_metadata(&path).map_err(|e| wrong(e.to_string()))?;
            let source = if metadata.is_dir() {
                Source::Folder(pack(&path, input.max_bytes).map_err(|e| wrong(e.to_string()))?)
            } else if metadata.is_file() {
                Source::File(path)
            } else {
                return Err(wrong("is neither a file nor a folder".to_owned()).into());
            };
            let size = std::fs::metadata(source.path().unwrap_or(folder))?.len();
            if matches!(source, Source::File(_)) && size > input.max_bytes {
                let limit = input.max_bytes;
                return Err(wrong(format!("{size} bytes, max_size is {limit}")).into());
            }
            Ok(Found { name, size_bytes: Some(size), source })
        }
    }
}

fn pack(folder: &Path, max_bytes: u64) -> anyhow::Result<tempfile::NamedTempFile> {
    let mut packed = tempfile::NamedTempFile::new()?;
    let limits = ArchiveLimits { size_bytes: max_bytes, ..ArchiveLimits::default() };
    archive::pack(folder, packed.as_file_mut(), limits)?;
    Ok(packed)
}

impl Source {
    /// The file of this computer that goes into the bucket.
    fn path(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Folder(packed) => Some(packed.path()),
            Self::Address(_) => None,
        }
    }
}

/// Puts inputs of this computer into the bucket, then presigns everything the host may read and
/// write: nothing else of the bucket is open to it.
///
/// # Errors
/// What the transfer says, or for a time limit longer than an address can live.
pub async fn hand_over(
    task: &Task,
    found: &[Found],
    bucket: &Bucket,
    progress: impl Fn(&str) -> Box<dyn Progress>,
) -> anyhow::Result<Slots> {
    let mut inputs = Vec::new();
    for one in found {
        let packing = match one.source {
            Source::Folder(_) => Packing::Tar,
            Source::File(_) | Source::Address(_) => Packing::File,
        };
        let mut request = InputRequest {
            name: one.name.clone(),
            url: None,
            packing,
            size_bytes: one.size_bytes,
            blake3: None,
        };
        match &one.source {
            Source::Address(url) => request.url = Some(url.clone()),
            Source::File(_) | Source::Folder(_) => {
                let path = one.source.path().context("an input without a file")?;
                let name = format!("inputs/{}", one.name);
                let moved = bucket.put(path, &name, progress(&one.name).as_ref()).await?;
                request.blake3 = Some(moved.blake3);
            }
        }
        inputs.push(request);
    }
    presign(task, inputs, bucket)
}

/// Presigns everything that a task writes, and these inputs.
///
/// # Errors
/// For a time limit longer than an address can live, or a name that is there twice.
pub fn presign(task: &Task, inputs: Vec<InputRequest>, bucket: &Bucket) -> anyhow::Result<Slots> {
    let parts = task.parts.iter().flat_map(|parts| parts.files().collect::<Vec<_>>()).collect();
    let request = SlotRequest {
        inputs,
        parts,
        archives: 0,
        checkpoint: task.checkpoint.is_some(),
        now_s: now_s(),
        time_limit_s: task.limits.time_s,
    };
    let mut slots = Slots::presign(&bucket.location, &bucket.credentials, &request)?;
    let life_s = task.limits.time_s.saturating_add(GRACE_S);
    let address = |name: &str| {
        let (location, key) = place_of(task, bucket, name)?;
        anyhow::Ok(presign_put(&location, &bucket.credentials, &key, request.now_s, life_s)?)
    };
    if task.parts.as_ref().is_some_and(|parts| parts.to.is_some()) {
        for part in &mut slots.parts {
            part.url = address(&part.name)?;
        }
    }
    for output in &task.outputs {
        let name = output_name(output);
        let url = address(&name)?;
        slots.archives.push(OutputSlot { name, url });
    }
    slots.check()?;
    Ok(slots)
}

/// Where a result is stored: bucket and key, by its name in the manifest.
///
/// # Errors
/// For a name that can't be a key.
pub(crate) fn place_of(
    task: &Task,
    bucket: &Bucket,
    name: &str,
) -> anyhow::Result<(S3Location, String)> {
    let own = &bucket.location;
    match elsewhere(task, name) {
        Some((other, key)) => Ok((S3Location::new(own.endpoint(), own.region(), other, "")?, key)),
        None => Ok((own.clone(), own.key(name)?)),
    }
}

/// Bucket and key of a result that the task sends elsewhere: below a folder by its own path.
fn elsewhere<'a>(task: &'a Task, name: &str) -> Option<(&'a str, String)> {
    let part = |parts: &&Parts| parts.index(name).is_some();
    let of_parts = task.parts.as_ref().filter(part).and_then(|parts| parts.to.as_ref());
    let output = task.outputs.iter().find(|output| output_name(output) == name);
    let to = of_parts.or_else(|| output.and_then(|output| output.to.as_ref()))?;
    match to {
        Location::S3 { bucket, key } if to.is_directory() => Some((bucket, format!("{key}{name}"))),
        Location::S3 { bucket, key } => Some((bucket, key.clone())),
        Location::Http(_) | Location::File(_) => None,
    }
}

/// Asks the store for every place to which the task sends results: a bucket that isn't there or
/// isn't the client's has to be known before money moves.
///
/// # Errors
/// [`WrongInput`] with the place and what the store says.
pub async fn check_places(task: &Task, bucket: &Bucket) -> anyhow::Result<()> {
    let own = &bucket.location;
    let outputs = task.outputs.iter().filter_map(|output| output.to.as_ref());
    for to in outputs.chain(task.parts.iter().filter_map(|parts| parts.to.as_ref())) {
        let Location::S3 { bucket: other, key } = to else { continue };
        let at = S3Location::new(own.endpoint(), own.region(), other, "")?;
        let limits = ListLimits { objects: 1, size_bytes: u64::MAX };
        let listed = bucket.transfers.list(&at, &bucket.credentials, key, limits, now_s()).await;
        // Whether something is there already is the client's matter.
        if let Err(error @ (ListError::Presign(_) | ListError::Transfer(_))) = listed {
            let error = anyhow::Error::from(error);
            return Err(WrongInput(format!("results to {to}: {error:#}")).into());
        }
    }
    Ok(())
}

/// Under which name an output is stored: a folder is one archive.
fn output_name(output: &Output) -> String {
    if output.directory { format!("{}.tar", output.path) } else { output.path.to_string() }
}

/// The name under which each result of a task is stored.
#[must_use]
pub fn results(task: &Task) -> Vec<String> {
    let parts = task.parts.iter().flat_map(|parts| parts.files().collect::<Vec<_>>());
    parts.chain(task.outputs.iter().map(output_name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_go_where_the_task_says_below_a_folder_by_their_own_path() {
        let text = "version: 1\nname: a\nimage: hello\nlimits: {time: 1h}\n\
                    parts: {path: \"frames/{part:04}.png\", count: 2, to: s3://films/new/}\n\
                    outputs:\n  - {path: log.txt, to: s3://films/logs/a.txt}\n  \
                    - {path: data/, to: s3://films}\n  - {path: own.txt}\n";
        let task = Task::from_yaml("task.yaml", text).expect("a valid task").task;
        for (name, expected) in [
            ("frames/0002.png", Some("new/frames/0002.png")),
            ("frames/0003.png", None),
            ("log.txt", Some("logs/a.txt")),
            ("data.tar", Some("data.tar")),
            ("own.txt", None),
            ("manifest.json", None),
        ] {
            let got = elsewhere(&task, name);
            assert_eq!(got.as_ref().map(|(_, key)| key.as_str()), expected, "{name}");
            assert!(got.is_none_or(|(bucket, _)| bucket == "films"));
        }
    }
}
