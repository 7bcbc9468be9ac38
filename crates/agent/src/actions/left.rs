//! What can't be brought out stays here for a day: the store refuses it, its slots have
//! expired, or it takes longer than the quote's cap.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use alloy_primitives::B256;
use pouw_data::{Manifest, ManifestEntry};

use super::outputs::{Opened, file_or_archive, open_file, part_entries};
use super::{Scene, Trouble, in_full};
use crate::door::TaskRequest;
use crate::engine::Scratch;
use crate::journal::RESULTS;
use crate::outcome::Outcome;
use crate::record::Record;

/// Bytes copied at once.
const CHUNK: usize = 1 << 16;

/// Copies outputs, the log and the parts that are not out beside the journal, with a manifest.
pub(super) async fn keep(
    scene: Scene<'_>,
    request: &TaskRequest,
    scratch: &Scratch,
    why: String,
) -> Result<Outcome, Trouble> {
    let Scene { context, rental } = scene;
    let record = rental.record();
    let folder = context.journal.folder(rental.id).join(RESULTS);
    let mut problems = Vec::new();
    let mut kept = Vec::new();
    for (name, part, file) in found(scene, request, scratch, &record, &mut problems).await {
        let to = folder.join(&name);
        let copied = tokio::task::spawn_blocking(move || copy(&file, &to)).await;
        match copied.map_err(|error| Trouble::host(error.to_string()))? {
            Ok((size_bytes, blake3)) => {
                kept.push(ManifestEntry { path: name, size_bytes, blake3, part });
            }
            Err(error) => problems.push(format!("{name} can't be kept: {error}")),
        }
    }
    let names: Vec<String> = kept.iter().map(|entry| entry.path.clone()).collect();
    kept.extend(part_entries(request, record.parts.into_iter()));
    let manifest = Manifest::new(kept).map_err(|error| Trouble::host(in_full(&error)))?;
    context
        .journal
        .write(rental.id, "manifest.json", &manifest.to_json())
        .map_err(|error| Trouble::host(in_full(&error)))?;
    let note = |record: &mut Record| problems.iter().for_each(|problem| record.remark(problem));
    rental.update(context, note).map_err(Trouble::host)?;
    Ok(Outcome::Left { root: manifest.root(), names, why })
}

/// Everything that is to be kept, by the name of its slot.
async fn found(
    scene: Scene<'_>,
    request: &TaskRequest,
    scratch: &Scratch,
    record: &Record,
    problems: &mut Vec<String>,
) -> Vec<(String, Option<u32>, Opened)> {
    let mut found = Vec::new();
    if let Some(parts) = &request.task.parts {
        for (number, (path, slot)) in (1..).zip(parts.files().zip(&request.slots.parts)) {
            let out = record.parts.iter().any(|part| part.path == path);
            match open_file(&scratch.work(), &path).filter(|_| !out) {
                Some(file) if file.size_bytes() <= parts.max_bytes => {
                    found.push((slot.name.clone(), Some(number), file));
                }
                Some(_) | None => {}
            }
        }
    }
    for (index, output) in request.task.outputs.iter().enumerate() {
        match file_or_archive(scene, request, scratch, index, output).await {
            Ok(Some((slot, file))) => found.push((slot.name.clone(), None, file)),
            Ok(None) => {}
            Err(Trouble(_, detail)) => problems.push(format!("output {}: {detail}", output.path)),
        }
    }
    let journal = scene.context.journal.folder(scene.rental.id);
    let log = open_file(&journal, "log");
    found.extend(log.map(|log| (request.slots.log.name.clone(), None, log)));
    found
}

/// Size and digest of what was copied.
fn copy(file: &Opened, to: &Path) -> io::Result<(u64, B256)> {
    if let Some(folder) = to.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let (mut from, mut out) = (File::open(file.path())?, File::create(to)?);
    let (mut hasher, mut size_bytes) = (blake3::Hasher::new(), 0u64);
    let mut buffer = vec![0; CHUNK];
    loop {
        let got = from.read(&mut buffer)?;
        let Some(bytes) = buffer.get(..got).filter(|bytes| !bytes.is_empty()) else { break };
        out.write_all(bytes)?;
        hasher.update(bytes);
        size_bytes = size_bytes.saturating_add(bytes.len() as u64);
    }
    out.sync_all()?;
    Ok((size_bytes, B256::from(*hasher.finalize().as_bytes())))
}
