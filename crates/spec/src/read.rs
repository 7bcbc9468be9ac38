//! From the tree of a file to a task.

use std::collections::BTreeMap;

use pouw_types::{Isolation, Resources, UseCase};

use crate::fields;
use crate::location::Location;
use crate::parts::Parts;
use crate::problem::Problem;
use crate::quantity::{amount, bytes, cpu_millis, hourly, seconds};
use crate::task::{Checkpoint, Limits, Network, Port, Pricing, Protocol, Run, Scope, Task};
use crate::tree::{Kind, Node};
use crate::walk::{Field, Fields, Walk};
use crate::words;

mod transfers;

const GIB: u64 = 1 << 30;
/// What a task gets where the specification says nothing.
const DEFAULT: Resources =
    Resources { cpu_millis: 1_000, memory_bytes: GIB, disk_bytes: GIB, gpus: 0 };
/// Beside what inputs and outputs may take, for a task that reaches the internet.
const EGRESS_BYTES: u64 = 10 * GIB;
/// What `docker stop` waits.
const GRACE_S: u64 = 10;

/// Reads a task and the files of its secrets, or every problem of the fields.
pub(crate) fn task(root: &Node) -> Result<(Task, BTreeMap<String, String>), Vec<Problem>> {
    let mut walk = Walk::default();
    let field = Field { node: root, path: String::new() };
    let read = walk.mapping(&field, &fields::TASK).and_then(|all| whole(&mut walk, &all));
    match read {
        Some(read) if walk.problems.is_empty() => Ok(read),
        Some(_) | None => Err(walk.into_problems()),
    }
}

fn whole(walk: &mut Walk, all: &Fields<'_>) -> Option<(Task, BTreeMap<String, String>)> {
    // Everything is read before anything missing ends it, so that all problems are found.
    let version = walk.required(all, "version", "version: 1");
    let version = version.and_then(|field| walk.whole(&field, "1"));
    let name = walk.required(all, "name", "name: my-task");
    let name = name.and_then(|field| walk.text(&field)).map(str::to_owned);
    let use_case = optional(walk, all, "use_case", |w, f| w.word(f, words::USE_CASES));
    let image = walk.required(all, "image", "image: hello").and_then(|f| walk.parsed(&f));
    let resources = all.get("resources").map_or(DEFAULT, |field| resources(walk, &field));
    let setup = optional(walk, all, "setup", setup).unwrap_or_default();
    let run = optional(walk, all, "run", run);
    let env = optional(walk, all, "env", texts).unwrap_or_default();
    let secret_files = optional(walk, all, "secrets", texts).unwrap_or_default();
    let transfers = transfers::read(walk, all, resources.disk_bytes);
    let refund_window_s = optional(walk, all, "refund_window", |w, f| w.quantity(f, seconds));
    let network = optional(walk, all, "network", |w, f| w.word(f, words::NETWORKS));
    let network = network.unwrap_or_default();
    let limits = walk.required(all, "limits", "limits: {time: 1h}");
    let beside = if network == Network::Egress { EGRESS_BYTES } else { 0 };
    let traffic = |time_s| transfers.max_bytes(time_s).saturating_add(beside);
    let limits = limits.and_then(|field| limits_of(walk, &field, traffic));
    let pricing = optional(walk, all, "pricing", pricing).unwrap_or_default();
    let scope = optional(walk, all, "scope", scope).unwrap_or_default();
    let ports = optional(walk, all, "ports", ports).unwrap_or_default();
    let isolation = optional(walk, all, "isolation", |w, f| w.word(f, words::ISOLATIONS));
    let mineable = optional(walk, all, "mineable", |w, f| w.word(f, words::MINEABLE));
    let task = Task {
        version: version?,
        name: name?,
        use_case: use_case.unwrap_or(UseCase::General),
        image: image?,
        resources,
        setup,
        run: run.unwrap_or(Run { command: Vec::new(), workdir: None }),
        env,
        secrets: secret_files.keys().cloned().collect(),
        inputs: transfers.inputs,
        outputs: transfers.outputs,
        parts: transfers.parts,
        checkpoint: transfers.checkpoint,
        refund_window_s: refund_window_s.map(|s| u32::try_from(s).unwrap_or(u32::MAX)),
        limits: limits?,
        pricing,
        scope,
        network,
        ports,
        isolation: isolation.unwrap_or(Isolation::Runc),
        mineable: mineable.unwrap_or_default(),
    };
    Some((task, secret_files))
}

fn optional<'a, T>(
    walk: &mut Walk,
    fields: &Fields<'a>,
    name: &str,
    read: impl FnOnce(&mut Walk, &Field<'a>) -> Option<T>,
) -> Option<T> {
    fields.get(name).and_then(|field| read(walk, &field))
}

fn resources(walk: &mut Walk, field: &Field<'_>) -> Resources {
    let Some(fields) = walk.mapping(field, &fields::RESOURCES) else { return DEFAULT };
    let cpu_millis = optional(walk, &fields, "cpu", |w, f| w.quantity(f, cpu_millis));
    let memory_bytes = optional(walk, &fields, "memory", |w, f| w.quantity(f, bytes));
    let disk_bytes = optional(walk, &fields, "disk", |w, f| w.quantity(f, bytes));
    let gpus = optional(walk, &fields, "gpus", |w, f| w.whole(f, "0 to 64"));
    Resources {
        cpu_millis: cpu_millis.unwrap_or(DEFAULT.cpu_millis),
        memory_bytes: memory_bytes.unwrap_or(DEFAULT.memory_bytes),
        disk_bytes: disk_bytes.unwrap_or(DEFAULT.disk_bytes),
        gpus: gpus.unwrap_or(DEFAULT.gpus),
    }
}

/// A command: a list of words, or a text for the shell.
fn command(walk: &mut Walk, field: &Field<'_>) -> Option<Vec<String>> {
    if let Kind::Scalar { text, .. } = &field.node.kind {
        return Some(["/bin/sh", "-c", text].map(str::to_owned).to_vec());
    }
    let words = walk.list(field);
    let words = words.iter().filter_map(|word| walk.text(word).map(str::to_owned)).collect();
    Some(words)
}

fn setup(walk: &mut Walk, field: &Field<'_>) -> Option<Vec<Vec<String>>> {
    let commands = walk.list(field);
    Some(commands.iter().filter_map(|one| command(walk, one)).collect())
}

fn run(walk: &mut Walk, field: &Field<'_>) -> Option<Run> {
    let Kind::Mapping(_) = &field.node.kind else {
        return Some(Run { command: command(walk, field)?, workdir: None });
    };
    let fields = walk.mapping(field, &fields::RUN)?;
    let command = optional(walk, &fields, "command", command).unwrap_or_default();
    let workdir = fields.get("workdir").filter(|field| {
        // The task's directory itself is no path below it.
        !matches!(&field.node.kind, Kind::Scalar { text, .. } if text == "." || text == "./")
    });
    Some(Run { command, workdir: workdir.and_then(|field| walk.parsed(&field)) })
}

fn texts(walk: &mut Walk, field: &Field<'_>) -> Option<BTreeMap<String, String>> {
    let fields = walk.entries(field)?;
    let mut texts = BTreeMap::new();
    for (key, field) in fields.all() {
        if let Some(text) = walk.text(&field) {
            texts.insert(key.text.clone(), text.to_owned());
        }
    }
    Some(texts)
}

fn limits_of(
    walk: &mut Walk,
    field: &Field<'_>,
    traffic_bytes: impl Fn(u64) -> u64,
) -> Option<Limits> {
    let fields = walk.mapping(field, &fields::LIMITS)?;
    let time_s = walk.required(&fields, "time", "time: 1h");
    let time_s = time_s.and_then(|field| walk.quantity(&field, seconds));
    let cost = optional(walk, &fields, "cost", |w, f| w.quantity(f, amount));
    let traffic = optional(walk, &fields, "traffic", |w, f| w.quantity(f, bytes));
    let grace_s = optional(walk, &fields, "grace", |w, f| w.quantity(f, seconds));
    Some(Limits {
        time_s: time_s?,
        cost,
        traffic_bytes: traffic.unwrap_or_else(|| traffic_bytes(time_s.unwrap_or_default())),
        grace_s: grace_s.unwrap_or(GRACE_S),
    })
}

fn pricing(walk: &mut Walk, field: &Field<'_>) -> Option<Pricing> {
    let fields = walk.mapping(field, &fields::PRICING)?;
    let model = optional(walk, &fields, "model", |w, f| w.word(f, words::MODELS));
    let max_hour = optional(walk, &fields, "max_price", |w, f| w.quantity(f, hourly));
    Some(Pricing { model: model.unwrap_or_default(), max_hour })
}

fn scope(walk: &mut Walk, field: &Field<'_>) -> Option<Scope> {
    let fields = walk.mapping(field, &fields::SCOPE)?;
    let texts = |walk: &mut Walk, field: &Field<'_>| {
        let items = walk.list(field);
        Some(items.iter().filter_map(|item| walk.text(item).map(str::to_owned)).collect())
    };
    let countries = optional(walk, &fields, "countries", texts).unwrap_or_default();
    let exclude_countries = optional(walk, &fields, "exclude_countries", texts).unwrap_or_default();
    let machines = optional(walk, &fields, "machines", |walk, field| {
        let items = walk.list(field);
        Some(items.iter().filter_map(|item| walk.parsed(item)).collect())
    });
    Some(Scope { countries, exclude_countries, machines: machines.unwrap_or_default() })
}

fn ports(walk: &mut Walk, field: &Field<'_>) -> Option<Vec<Port>> {
    const RANGE: &str = "1 to 65535";
    let items = walk.list(field);
    let mut ports = Vec::new();
    for item in &items {
        let Kind::Mapping(_) = &item.node.kind else {
            let port = walk.whole(item, RANGE).map(|port| Port { port, protocol: Protocol::Tcp });
            ports.extend(port);
            continue;
        };
        let Some(fields) = walk.mapping(item, &fields::PORT) else { continue };
        let port = walk.required(&fields, "port", "port: 8080");
        let port = port.and_then(|field| walk.whole(&field, RANGE));
        let protocol = optional(walk, &fields, "protocol", |w, f| w.word(f, words::PROTOCOLS));
        let protocol = protocol.unwrap_or_default();
        ports.extend(port.map(|port| Port { port, protocol }));
    }
    Some(ports)
}

/// What the file says about data.
struct Transfers {
    inputs: Vec<crate::task::Input>,
    outputs: Vec<crate::task::Output>,
    parts: Option<Parts>,
    checkpoint: Option<Checkpoint>,
}

impl Transfers {
    /// What all of them may take together in this time: a checkpoint with each of its saves, once
    /// more when it is the last, and once when it is fetched.
    fn max_bytes(&self, time_s: u64) -> u64 {
        let inputs = self.inputs.iter().map(|input| input.max_bytes);
        let outputs = self.outputs.iter().map(|output| output.max_bytes);
        let parts = self.parts.iter().map(|p| p.max_bytes.saturating_mul(u64::from(p.count)));
        let saved = self.checkpoint.iter().map(|checkpoint| {
            let saves = time_s.checked_div(checkpoint.interval_s).unwrap_or_default();
            checkpoint.max_bytes.saturating_mul(saves.saturating_add(2))
        });
        let sizes = inputs.chain(outputs).chain(parts).chain(saved);
        // The greatest amount that a limit may say.
        sizes.fold(0, u64::saturating_add).min(1 << 49)
    }
}

/// A location's last name: where an input goes that doesn't say where.
fn last_name(location: &Location) -> Option<&str> {
    let path = match location {
        Location::S3 { key, .. } => key.as_str(),
        Location::Http(address) => {
            let (_, rest) = address.split_once("://")?;
            let path = rest.split(['?', '#']).next()?;
            path.split_once('/')?.1
        }
        Location::File(path) => path.as_str(),
    };
    path.trim_end_matches('/').rsplit('/').next().filter(|name| !name.is_empty())
}
