//! A task's inputs, found, measured and made readable for the host.

use std::path::{Path, PathBuf};

use anyhow::Context;
use pouw_agent::door::{InputSlot, OutputSlot, Slot, Slots};
use pouw_data::{PresignedUrl, Progress, presign_get, presign_put};
use pouw_spec::{Location, Task};

use super::bucket::{Bucket, now_s};
use crate::exit::WrongInput;

/// One file that a task needs.
#[derive(Clone, Debug)]
pub struct Found {
    /// Where the task finds it.
    pub path: String,
    /// Its size.
    pub size_bytes: u64,
    /// BLAKE3, hex.
    pub blake3: String,
    source: Source,
}

#[derive(Clone, Debug)]
enum Source {
    /// A file of this computer: goes into the bucket first.
    File(PathBuf),
    /// An object or address that the host can read itself.
    Address(PresignedUrl),
}

/// Most files of one task: each takes an address.
const MAX_FILES: usize = 1_000;
/// How long results and inputs can be moved after the task's time limit, seconds.
const GRACE_S: u64 = 86_400;

/// Finds and measures all inputs; `folder` is where relative paths begin.
///
/// # Errors
/// [`WrongInput`] for a file that isn't there, is no regular file or is larger than the task says.
pub async fn find(task: &Task, folder: &Path, bucket: &Bucket) -> anyhow::Result<Vec<Found>> {
    let mut found = Vec::new();
    for input in &task.inputs {
        let to = input.to.to_string();
        let before = found.len();
        match &input.from {
            Location::File(path) => find_files(&folder.join(path), &to, &mut found)?,
            Location::S3 { bucket: name, key } => {
                if key.is_empty() || key.ends_with('/') {
                    let text = format!("input {}: name one object, not a prefix", input.from);
                    return Err(WrongInput(text).into());
                }
                let at = bucket.location.clone();
                let at =
                    pouw_data::S3Location::new(at.endpoint(), at.region(), name, "")?;
                let life = task.limits.time_s.saturating_add(GRACE_S);
                let url = presign_get(&at, &bucket.credentials, key, now_s(), life)?;
                found.push(measure(url, to, input.max_bytes, bucket).await?);
            }
            Location::Http(address) => {
                let url = PresignedUrl::parse(address)?;
                found.push(measure(url, to, input.max_bytes, bucket).await?);
            }
        }
        let added = found.get(before..).unwrap_or_default();
        let size = added.iter().map(|one| one.size_bytes).fold(0, u64::saturating_add);
        if size > input.max_bytes {
            let limit = input.max_bytes;
            let text = format!("input {} has {size} bytes, max_size is {limit}", input.from);
            return Err(WrongInput(text).into());
        }
        if let (Some(expected), [one]) = (input.blake3, added)
            && expected.to_string().trim_start_matches("0x") != one.blake3
        {
            let text = format!("input {} has BLAKE3 {}, not {expected}", input.from, one.blake3);
            return Err(WrongInput(text).into());
        }
        if found.len() > MAX_FILES {
            let text = format!("inputs are more than {MAX_FILES} files: pack them into one");
            return Err(WrongInput(text).into());
        }
    }
    Ok(found)
}

fn find_files(path: &Path, to: &str, found: &mut Vec<Found>) -> anyhow::Result<()> {
    let wrong = |what: &str| WrongInput(format!("input {}: {what}", path.display()));
    // A link could lead out of what the person meant to hand over.
    let metadata = std::fs::symlink_metadata(path).map_err(|error| wrong(&error.to_string()))?;
    if metadata.is_file() {
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(std::fs::File::open(path)?)?;
        found.push(Found {
            path: to.to_owned(),
            size_bytes: metadata.len(),
            blake3: hasher.finalize().to_hex().to_string(),
            source: Source::File(path.to_owned()),
        });
        return Ok(());
    }
    if !metadata.is_dir() {
        return Err(wrong("is neither a file nor a folder").into());
    }
    let mut names = Vec::new();
    for entry in std::fs::read_dir(path).map_err(|error| wrong(&error.to_string()))? {
        let name = entry.map_err(|error| wrong(&error.to_string()))?.file_name();
        let name = name.into_string().map_err(|_| wrong("holds a name that is not UTF-8"))?;
        names.push(name);
    }
    names.sort();
    for name in names {
        find_files(&path.join(&name), &format!("{}/{name}", to.trim_end_matches('/')), found)?;
    }
    Ok(())
}

/// Reads what is elsewhere once, to tell the host how large it is and what its digest must be.
async fn measure(
    url: PresignedUrl,
    path: String,
    limit_bytes: u64,
    bucket: &Bucket,
) -> anyhow::Result<Found> {
    let scratch = tempfile::tempdir()?;
    let slot = pouw_data::InputSlot {
        name: "input".to_owned(),
        url: url.clone(),
        packing: pouw_data::Packing::File,
        size_bytes: None,
        blake3: None,
    };
    let to = scratch.path().join("input");
    let got = bucket.transfers.download(&slot, &to, limit_bytes, &()).await?;
    let blake3 = got.blake3.to_string().trim_start_matches("0x").to_owned();
    Ok(Found { path, size_bytes: got.size_bytes, blake3, source: Source::Address(url) })
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
    let life = task.limits.time_s.saturating_add(GRACE_S);
    let location = &bucket.location;
    let write = |name: &str| -> anyhow::Result<Slot> {
        let key = location.key(name)?;
        let url = presign_put(location, &bucket.credentials, &key, now_s(), life)
            .with_context(|| format!("cannot presign {name}"))?;
        Ok(Slot::new(url.expose().to_owned()))
    };
    let mut inputs = Vec::new();
    for one in found {
        let url = match &one.source {
            Source::Address(url) => url.expose().to_owned(),
            Source::File(file) => {
                let name = format!("inputs/{}", one.path);
                bucket.put(file, &name, progress(&one.path).as_ref()).await?;
                let key = location.key(&name)?;
                let url = presign_get(location, &bucket.credentials, &key, now_s(), life)?;
                url.expose().to_owned()
            }
        };
        inputs.push(InputSlot {
            path: one.path.clone(),
            url: Slot::new(url),
            size_bytes: one.size_bytes,
            blake3: one.blake3.clone(),
        });
    }
    let mut outputs = Vec::new();
    for (path, max_bytes) in outputs_of(task) {
        outputs.push(OutputSlot { url: write(&path)?, path, max_bytes });
    }
    Ok(Slots { inputs, outputs, log: write("log.txt")?, manifest: write("manifest.json")? })
}

/// Every object that a task may leave, with its largest size: its parts, then its outputs; a
/// folder is one archive.
pub fn outputs_of(task: &Task) -> Vec<(String, u64)> {
    let parts = task.parts.iter().flat_map(|parts| {
        parts.files().map(|file| (file, parts.max_bytes)).collect::<Vec<_>>()
    });
    let outputs = task.outputs.iter().map(|output| {
        let path = output.path.to_string();
        let path = if output.directory { format!("{path}.tar") } else { path };
        (path, output.max_bytes)
    });
    parts.chain(outputs).collect()
}
