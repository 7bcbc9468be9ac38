//! Inputs, outputs, parts and the checkpoint.

use super::{Transfers, last_name, optional};
use crate::fields;
use crate::parts::Parts;
use crate::problem::Problem;
use crate::quantity::{bytes, seconds};
use crate::task::{Checkpoint, Input, Output};
use crate::walk::{Field, Fields, Walk};
use crate::words;

/// Where a size isn't given: this much, or the whole disk where that is smaller.
const MAX_BYTES: u64 = 1 << 30;
const PART_BYTES: u64 = 64 << 20;
const INTERVAL_S: u64 = 600;

/// Reads what the file says about data.
pub(super) fn read(walk: &mut Walk, all: &Fields<'_>, disk_bytes: u64) -> Transfers {
    let list = |walk: &mut Walk, name| match all.get(name) {
        Some(field) => walk.list(&field),
        None => Vec::new(),
    };
    let inputs = list(walk, "inputs");
    let inputs = inputs.iter().filter_map(|one| input(walk, one, disk_bytes)).collect();
    let outputs = list(walk, "outputs");
    let outputs = outputs.iter().filter_map(|one| output(walk, one, disk_bytes)).collect();
    let parts = optional(walk, all, "parts", |walk, field| parts(walk, field, disk_bytes));
    let checkpoint =
        optional(walk, all, "checkpoint", |walk, field| checkpoint(walk, field, disk_bytes));
    Transfers { inputs, outputs, parts, checkpoint }
}

fn max_size(walk: &mut Walk, fields: &Fields<'_>, default: u64) -> u64 {
    optional(walk, fields, "max_size", |w, f| w.quantity(f, bytes)).unwrap_or(default)
}

fn input(walk: &mut Walk, field: &Field<'_>, disk_bytes: u64) -> Option<Input> {
    let fields = walk.mapping(field, &fields::INPUT)?;
    let from = walk.required(&fields, "from", "from: data.txt");
    let from = from.and_then(|field| walk.location(&field));
    let to = match fields.get("to") {
        Some(to) => walk.parsed(&to),
        None => {
            let named =
                from.as_ref().map(|from| last_name(from).and_then(|name| name.parse().ok()));
            if let Some(None) = named {
                let message = "is missing, and the location has no name: write `to: data`";
                walk.report(Problem::new(fields.place, &fields.path_of("to"), message));
            }
            named.flatten()
        }
    };
    let mode = optional(walk, &fields, "mode", |w, f| w.word(f, words::INPUT_MODES));
    let max_bytes = max_size(walk, &fields, MAX_BYTES.min(disk_bytes));
    let blake3 = optional(walk, &fields, "blake3", |w, f| w.parsed(f));
    Some(Input { from: from?, to: to?, mode: mode.unwrap_or_default(), max_bytes, blake3 })
}

fn output(walk: &mut Walk, field: &Field<'_>, disk_bytes: u64) -> Option<Output> {
    let fields = walk.mapping(field, &fields::OUTPUT)?;
    let written = walk.required(&fields, "path", "path: out/result.txt");
    let path = written.as_ref().and_then(|field| walk.parsed(field));
    let directory = written.and_then(|field| walk.text(&field)).is_some_and(|p| p.ends_with('/'));
    let to = optional(walk, &fields, "to", |w, f| w.location(f));
    let mode = optional(walk, &fields, "mode", |w, f| w.word(f, words::OUTPUT_MODES));
    let max_bytes = max_size(walk, &fields, MAX_BYTES.min(disk_bytes));
    Some(Output { path: path?, directory, to, mode: mode.unwrap_or_default(), max_bytes })
}

fn parts(walk: &mut Walk, field: &Field<'_>, disk_bytes: u64) -> Option<Parts> {
    let fields = walk.mapping(field, &fields::PARTS)?;
    let path = walk.required(&fields, "path", "path: frames/{part:04}.png");
    let path = path.and_then(|field| walk.parsed(&field));
    let numbers = match fields.get("range") {
        Some(range) => {
            for name in ["first", "count"] {
                if let Some(beside) = fields.get(name) {
                    let message = "stands beside range: write one of them";
                    walk.report(Problem::new(beside.node.place, &beside.path, message));
                }
            }
            range_of(walk, &range)
        }
        None => {
            let first = optional(walk, &fields, "first", |w, f| w.whole(f, "0 or more"));
            let count = walk.required(&fields, "count", "count: 12");
            let count = count.and_then(|field| walk.whole(&field, "1 to 100000"));
            count.map(|count| (first.unwrap_or(1), count))
        }
    };
    let max_bytes = max_size(walk, &fields, PART_BYTES.min(disk_bytes));
    let to = optional(walk, &fields, "to", |w, f| w.location(f));
    let (first, count) = numbers?;
    Some(Parts { path: path?, first, count, max_bytes, to })
}

/// `1-12`: the first and the last number.
fn range_of(walk: &mut Walk, field: &Field<'_>) -> Option<(u32, u32)> {
    let text = walk.text(field)?;
    let numbers = text.split_once('-').and_then(|(first, last)| {
        let (first, last) = (first.trim().parse::<u32>().ok()?, last.trim().parse::<u32>().ok()?);
        Some((first, last.checked_sub(first)?.checked_add(1)?))
    });
    if numbers.is_none() {
        let message = "is no range: write the first and the last number, such as 1-12";
        walk.report(Problem::new(field.node.place, &field.path, message).with_value(text));
    }
    numbers
}

fn checkpoint(walk: &mut Walk, field: &Field<'_>, disk_bytes: u64) -> Option<Checkpoint> {
    let fields = walk.mapping(field, &fields::CHECKPOINT)?;
    let path = walk.required(&fields, "path", "path: checkpoint/");
    let path = path.and_then(|field| walk.parsed(&field));
    let interval_s = optional(walk, &fields, "interval", |w, f| w.quantity(f, seconds));
    let max_bytes = max_size(walk, &fields, MAX_BYTES.min(disk_bytes));
    Some(Checkpoint { path: path?, interval_s: interval_s.unwrap_or(INTERVAL_S), max_bytes })
}
