//! The rules that a task keeps, whoever made it.

use std::collections::BTreeSet;

use pouw_types::Isolation;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::location::Location;
use crate::parts::Parts;
use crate::path::TaskPath;
use crate::task::{Mineable, Network, PricingModel, Task};

/// A rule that a task breaks, at a field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct Violation {
    /// The field as a spec names it, such as `inputs[0].to`.
    pub field: String,
    /// What is wrong with it and what would be right.
    pub reason: String,
}

/// Longest text of a command, a value of the environment: bytes.
const MAX_TEXT_BYTES: usize = 64 * 1_024;
/// Most entries of a list.
const MAX_LIST: usize = 256;
/// An execution of `execve` takes 2 MiB of words on Linux; a spec needs far less.
const MAX_WORDS: usize = 1_024;
const MAX_CPU_MILLIS: u64 = 1_024_000;
const MIN_CPU_MILLIS: u64 = 10;
/// Below it not even an empty container starts.
const MIN_MEMORY_BYTES: u64 = 6 << 20;
const MAX_BYTES: u64 = 1 << 50;
const MAX_GPUS: u32 = 64;
const MAX_TIME_S: u64 = 366 * 86_400;
const MAX_GRACE_S: u64 = 3_600;
const MIN_INTERVAL_S: u64 = 10;
/// R-2 with declared checkpoints.
const REFUND_WINDOW_S: u32 = 3_600;
/// R-2 without.
const REFUND_WINDOW_PLAIN_S: u32 = 600;

struct Check(Vec<Violation>);

impl Check {
    fn that(&mut self, holds: bool, field: impl Into<String>, reason: impl Into<String>) {
        if !holds {
            self.0.push(Violation { field: field.into(), reason: reason.into() });
        }
    }
}

impl Task {
    /// Checks every bound and every rule between fields.
    ///
    /// # Errors
    /// All [`Violation`]s, in the order of the fields.
    pub fn check(&self) -> Result<(), Vec<Violation>> {
        let mut check = Check(Vec::new());
        check.that(self.version == Self::VERSION, "version", "this program reads version 1");
        check.that(
            name_is_valid(&self.name),
            "name",
            "write 1 to 63 of a-z, 0-9 and `-`, with a letter or digit at both ends",
        );
        resources(self, &mut check);
        commands(self, &mut check);
        environment(self, &mut check);
        transfers(self, &mut check);
        if let Some(parts) = &self.parts {
            part_rules(parts, self, &mut check);
        }
        time(self, &mut check);
        scope(self, &mut check);
        check.that(
            self.mineable == Mineable::None || self.isolation == Isolation::Runc,
            "mineable",
            "opening needs isolation runc: gVisor lets a task reach no socket of its host",
        );
        if check.0.is_empty() { Ok(()) } else { Err(check.0) }
    }
}

fn name_is_valid(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let edges = [name.bytes().next(), name.bytes().last()];
    (1..=63).contains(&name.len())
        && name.bytes().all(|b| plain(b) || b == b'-')
        && edges.into_iter().flatten().all(plain)
}

fn resources(task: &Task, check: &mut Check) {
    let asked = &task.resources;
    check.that(
        (MIN_CPU_MILLIS..=MAX_CPU_MILLIS).contains(&asked.cpu_millis),
        "resources.cpu",
        "write 10m to 1024 threads",
    );
    check.that(
        (MIN_MEMORY_BYTES..=MAX_BYTES).contains(&asked.memory_bytes),
        "resources.memory",
        "write 6MiB to 1024TiB",
    );
    check.that(
        (1..=MAX_BYTES).contains(&asked.disk_bytes),
        "resources.disk",
        "write 1B to 1024TiB",
    );
    check.that(asked.gpus <= MAX_GPUS, "resources.gpus", "write 0 to 64");
}

fn commands(task: &Task, check: &mut Check) {
    check.that(task.setup.len() <= MAX_LIST, "setup", "at most 256 commands");
    for (index, command) in task.setup.iter().enumerate() {
        command_rules(command, &format!("setup[{index}]"), check);
        check.that(!command.is_empty(), format!("setup[{index}]"), "is empty: write a command");
    }
    command_rules(&task.run.command, "run.command", check);
}

fn command_rules(command: &[String], field: &str, check: &mut Check) {
    check.that(command.len() <= MAX_WORDS, field, "at most 1,024 words");
    check.that(
        command.iter().map(String::len).fold(0, usize::saturating_add) <= MAX_TEXT_BYTES,
        field,
        "at most 64 KiB",
    );
    check.that(!command.iter().any(|word| word.contains('\0')), field, "holds a NUL byte");
    check.that(
        command.first().is_none_or(|program| !program.trim().is_empty()),
        field,
        "starts with an empty word: the first word is the program",
    );
}

fn variable_is_valid(name: &str) -> bool {
    let start = |b: u8| b.is_ascii_alphabetic() || b == b'_';
    (1..=128).contains(&name.len())
        && name.bytes().next().is_some_and(start)
        && name.bytes().all(|b| start(b) || b.is_ascii_digit())
}

fn environment(task: &Task, check: &mut Check) {
    check.that(task.env.len() <= MAX_LIST, "env", "at most 256 variables");
    let sizes = task.env.iter().map(|(name, value)| name.len().saturating_add(value.len()));
    let size = sizes.fold(0, usize::saturating_add);
    check.that(size <= MAX_TEXT_BYTES, "env", "at most 64 KiB");
    for (name, value) in &task.env {
        let field = format!("env.{name}");
        let rule = "write names of A-Z, a-z, 0-9 and `_` that don't start with a digit";
        check.that(variable_is_valid(name), &field, rule);
        check.that(!name.starts_with("POUW_"), &field, "names with POUW_ are set by the host");
        check.that(!value.contains('\0'), &field, "holds a NUL byte");
    }
    check.that(task.secrets.len() <= MAX_LIST, "secrets", "at most 256 secrets");
    let mut seen = BTreeSet::new();
    for name in &task.secrets {
        let field = format!("secrets.{name}");
        let rule = "write names of A-Z, a-z, 0-9 and `_` that don't start with a digit";
        check.that(variable_is_valid(name), &field, rule);
        check.that(seen.insert(name), field, "is there twice");
    }
}

fn size_rules(max_bytes: u64, field: String, task: &Task, check: &mut Check) {
    check.that(max_bytes > 0, &field, "write at least 1B");
    check.that(
        max_bytes <= task.resources.disk_bytes,
        field,
        "is more than resources.disk: it would never fit",
    );
}

/// Records a place in the task's directory; two of them may not overlap.
fn place(path: &TaskPath, field: String, places: &mut Vec<(TaskPath, String)>, check: &mut Check) {
    let clash = places.iter().find(|(other, _)| other.contains(path) || path.contains(other));
    if let Some((_, other)) = clash {
        check.that(false, field.clone(), format!("overlaps with {other}: name places apart"));
    }
    places.push((path.clone(), field));
}

fn transfers(task: &Task, check: &mut Check) {
    check.that(task.inputs.len() <= MAX_LIST, "inputs", "at most 256 inputs");
    check.that(task.outputs.len() <= MAX_LIST, "outputs", "at most 256 outputs");
    let mut places = Vec::new();
    for (index, input) in task.inputs.iter().enumerate().take(MAX_LIST) {
        let field = |name: &str| format!("inputs[{index}].{name}");
        place(&input.to, field("to"), &mut places, check);
        size_rules(input.max_bytes, field("max_size"), task, check);
        check.that(
            !(input.from.is_directory() && input.blake3.is_some()),
            field("blake3"),
            "a directory has no hash: leave it out",
        );
    }
    places.clear();
    for (index, output) in task.outputs.iter().enumerate().take(MAX_LIST) {
        let field = |name: &str| format!("outputs[{index}].{name}");
        place(&output.path, field("path"), &mut places, check);
        size_rules(output.max_bytes, field("max_size"), task, check);
        destination(output.to.as_ref(), output.directory, field("to"), check);
    }
    if let Some(checkpoint) = &task.checkpoint {
        place(&checkpoint.path, "checkpoint.path".to_owned(), &mut places, check);
        size_rules(checkpoint.max_bytes, "checkpoint.max_size".to_owned(), task, check);
    }
}

fn destination(to: Option<&Location>, directory: bool, field: String, check: &mut Check) {
    let Some(to) = to else { return };
    check.that(
        !matches!(to, Location::Http(_)),
        &field,
        "results cannot go to an http address: write a path, file:// or s3://",
    );
    check.that(
        !directory || to.is_directory(),
        field,
        "a directory goes to a directory: end it with /",
    );
}

fn part_rules(parts: &Parts, task: &Task, check: &mut Check) {
    check.that((1..=Parts::MAX_COUNT).contains(&parts.count), "parts.count", "write 1 to 100000");
    check.that(
        parts.first.checked_add(parts.count).is_some(),
        "parts.first",
        "is too large: the last number would be above 4294967295",
    );
    size_rules(parts.max_bytes, "parts.max_size".to_owned(), task, check);
    destination(parts.to.as_ref(), true, "parts.to".to_owned(), check);
    for (index, output) in task.outputs.iter().enumerate().take(MAX_LIST) {
        let inside = |file: &str| file.parse().is_ok_and(|file| output.path.contains(&file));
        let ends = [parts.first, parts.first.saturating_add(parts.count).saturating_sub(1)];
        let clash = ends.iter().any(|number| inside(&parts.path.file(*number)))
            || parts.path.number(output.path.as_str()).is_some();
        check.that(
            !clash,
            format!("outputs[{index}].path"),
            "overlaps with parts.path: a part is kept already",
        );
    }
}

fn time(task: &Task, check: &mut Check) {
    if let Some(checkpoint) = &task.checkpoint {
        check.that(
            (MIN_INTERVAL_S..=MAX_TIME_S).contains(&checkpoint.interval_s),
            "checkpoint.interval",
            "write 10s to 366d",
        );
    }
    let (longest, rule) = match task.checkpoint {
        Some(_) => (REFUND_WINDOW_S, "write 0 to 1h"),
        None => (REFUND_WINDOW_PLAIN_S, "write 0 to 10m, or declare a checkpoint for up to 1h"),
    };
    let asked = task.refund_window_s.unwrap_or(0);
    check.that(asked <= longest, "refund_window", rule);
    check.that((1..=MAX_TIME_S).contains(&task.limits.time_s), "limits.time", "write 1s to 366d");
    check.that(
        task.limits.cost.is_none_or(|cost| !cost.is_zero()),
        "limits.cost",
        "is nothing: write the most that the task may cost, in FLUX",
    );
    check.that(task.limits.grace_s <= MAX_GRACE_S, "limits.grace", "write 0 to 1h");
    check.that(task.limits.traffic_bytes <= MAX_BYTES, "limits.traffic", "write 0 to 1024TiB");
}

fn scope(task: &Task, check: &mut Check) {
    let lists = [
        ("scope.countries", &task.scope.countries),
        ("scope.exclude_countries", &task.scope.exclude_countries),
    ];
    for (field, countries) in lists {
        check.that(countries.len() <= MAX_LIST, field, "at most 256 entries");
        for (index, country) in countries.iter().enumerate() {
            check.that(
                country.len() == 2 && country.bytes().all(|b| b.is_ascii_uppercase()),
                format!("{field}[{index}]"),
                "write a country's two capital letters (ISO 3166-1), such as DE",
            );
        }
    }
    for (index, country) in task.scope.exclude_countries.iter().enumerate() {
        check.that(
            !task.scope.countries.contains(country),
            format!("scope.exclude_countries[{index}]"),
            "is in scope.countries too",
        );
    }
    check.that(task.scope.machines.len() <= MAX_LIST, "scope.machines", "at most 256 entries");
    check.that(
        task.pricing.model != PricingModel::Spot || task.pricing.max_hour.is_some(),
        "pricing.max_price",
        "spot needs a bid: write the highest price, such as 0.3/h",
    );
    check.that(task.ports.len() <= MAX_LIST, "ports", "at most 256 ports");
    let mut seen = BTreeSet::new();
    for (index, port) in task.ports.iter().enumerate() {
        let field = format!("ports[{index}]");
        check.that(port.port > 0, &field, "write 1 to 65535");
        check.that(seen.insert(port), field, "is there twice");
    }
    check.that(
        task.ports.is_empty() || task.network == Network::Egress,
        "ports",
        "need a network: write network: egress",
    );
}

impl Serialize for Task {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for Task {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let task = Self::deserialize(deserializer)?;
        match task.check() {
            Ok(()) => Ok(task),
            Err(violations) => {
                let texts: Vec<String> = violations.iter().map(ToString::to_string).collect();
                Err(serde::de::Error::custom(texts.join("; ")))
            }
        }
    }
}
