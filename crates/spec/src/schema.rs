//! The JSON Schema of `task.yaml`, for editors.
//!
//! The structures describe what may be typed; reading goes by [`TaskDocument`](crate::TaskDocument),
//! whose messages are better than a schema's. A test holds the names of both together.

use std::collections::BTreeMap;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};

/// A number or a text: quantities may be written either way.
#[derive(Debug, JsonSchema)]
#[serde(untagged)]
pub enum Quantity {
    /// Without a unit.
    Number(f64),
    /// With a unit.
    Text(String),
}

/// A command: a list of words, or a text for the shell.
#[derive(Debug, JsonSchema)]
#[serde(untagged)]
pub enum Command {
    /// For `/bin/sh -c`.
    Shell(String),
    /// Program and arguments.
    Words(Vec<Word>),
}

/// A word of a command, a value of the environment.
#[derive(Debug, JsonSchema)]
#[serde(untagged)]
pub enum Word {
    /// A text.
    Text(String),
    /// A number, taken as it is written.
    Number(f64),
    /// A truth, taken as it is written.
    Bool(bool),
}

/// What `run` may be.
#[derive(Debug, JsonSchema)]
#[serde(untagged)]
pub enum Run {
    /// Command and working directory.
    Full(RunFields),
    /// The command alone.
    Command(Command),
}

/// A port: its number, or number and protocol.
#[derive(Debug, JsonSchema)]
#[serde(untagged)]
pub enum Port {
    /// TCP.
    Number(#[schemars(range(min = 1))] u16),
    /// With its protocol.
    Full(PortFields),
}

macro_rules! words {
    ($($(#[$doc:meta])* $name:ident { $($(#[$word_doc:meta])* $word:ident = $text:literal,)* })*) => {
        $(
            $(#[$doc])*
            #[derive(Debug, JsonSchema)]
            pub enum $name { $($(#[$word_doc])* #[serde(rename = $text)] $word,)* }
        )*
    };
}

words! {
    /// Decides benchmark and score.
    UseCase {
        /// Training and inference.
        Ai = "ai",
        /// Images and animations.
        Rendering = "rendering",
        /// Headless gaming.
        Gaming = "gaming",
        /// Anything else.
        General = "general",
    }
    /// What a task may reach.
    Network {
        /// Nothing: the host's agent moves its data.
        None = "none",
        /// The internet, but neither the host nor private ranges.
        Egress = "egress",
    }
    /// How a task is kept apart from its host.
    Isolation {
        /// Namespaces and control groups.
        Runc = "runc",
        /// A kernel in user space.
        Gvisor = "gvisor",
    }
    /// How a rental is priced.
    Model {
        /// A machine for as long as it is wanted.
        OnDemand = "on-demand",
        /// A task at the price of the moment it starts.
        PayAsYouGo = "pay-as-you-go",
        /// A bid, with the risk of 120 s notice.
        Spot = "spot",
    }
    /// How an input may be used.
    InputMode {
        /// The task cannot change it.
        ReadOnly = "read-only",
        /// The task's own copy.
        ReadWrite = "read-write",
    }
    /// When an output is kept.
    OutputMode {
        /// However the task ends.
        Always = "always",
        /// If it ends with exit code 0.
        OnSuccess = "on-success",
    }
    /// The transport of a port.
    Protocol {
        /// Streams.
        Tcp = "tcp",
        /// Datagrams.
        Udp = "udp",
    }
    /// Whether a task's work may also win blocks.
    Mineable {
        /// No part of it.
        None = "none",
        /// Its matrix products. A block that one of them wins opens 16 rows and 16 columns of it, and its
        /// sizes, to everybody.
        Opening = "opening",
    }
}

macro_rules! shapes {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* })*) => {
        $(
            $(#[$doc])*
            #[derive(Debug, JsonSchema)]
            #[serde(deny_unknown_fields)]
            pub struct $name { $($(#[$field_doc])* pub $field: $type,)* }
        )*
    };
}

shapes! {
    /// A task for a rented machine.
    Task {
        /// The version of this format: 1.
        version: One,
        /// 1 to 63 of a-z, 0-9 and `-`.
        #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"))]
        name: String,
        /// Decides benchmark and score; general where nothing is said.
        use_case: Option<UseCase>,
        /// The image: a name such as `blender`, or a name with `@sha256:` and digest.
        image: String,
        /// What the task gets.
        resources: Option<Resources>,
        /// Commands before the run; billed.
        setup: Option<Vec<Command>>,
        /// The work itself; where nothing is said, what the image says.
        run: Option<Run>,
        /// Environment variables of setup and run.
        env: Option<BTreeMap<String, Word>>,
        /// Name and file of each secret; the task finds it below /run/secrets. Contents never leave
        /// for the chain, nor become a part of the task.
        secrets: Option<BTreeMap<String, String>>,
        /// What is there when the task starts.
        inputs: Option<Vec<Input>>,
        /// What is kept when the task ends.
        outputs: Option<Vec<Output>>,
        /// Files that are kept, and paid for, one by one.
        parts: Option<Parts>,
        /// Where the task can go on after an interruption.
        checkpoint: Option<Checkpoint>,
        /// What is refunded at most when the host fails: shorter than 10 minutes, or than 1 hour
        /// with a checkpoint; 0 asks for no refund of work done.
        refund_window: Option<Quantity>,
        /// Where the task ends in any case.
        limits: Limits,
        /// How it is paid.
        pricing: Option<Pricing>,
        /// Which machines may run it.
        scope: Option<Scope>,
        /// What it may reach; nothing where nothing is said.
        network: Option<Network>,
        /// Where it listens; needs a network.
        ports: Option<Vec<Port>>,
        /// How it is kept apart from the host.
        isolation: Option<Isolation>,
        /// Whether its work may also win blocks.
        mineable: Option<Mineable>,
    }
    /// What a task gets.
    Resources {
        /// Processor threads: 2, 0.5 or 500m.
        cpu: Option<Quantity>,
        /// Memory, such as 2GiB.
        memory: Option<Quantity>,
        /// Scratch disk, such as 10GiB.
        disk: Option<Quantity>,
        /// Whole GPUs.
        #[schemars(range(max = 64))]
        gpus: Option<u32>,
    }
    /// Command and working directory.
    RunFields {
        /// Program and arguments, or a text for the shell.
        command: Option<Command>,
        /// Directory below the task's.
        workdir: Option<String>,
    }
    /// What is there when the task starts.
    Input {
        /// A path, file://, s3:// or https://; a directory or prefix ends with /.
        from: String,
        /// Where it appears below the task's directory; its own name where nothing is said.
        to: Option<String>,
        /// How it may be used.
        mode: Option<InputMode>,
        /// Most bytes, such as 1GiB.
        max_size: Option<Quantity>,
        /// The BLAKE3 hash that it must have.
        #[schemars(regex(pattern = r"^(0x)?[0-9a-fA-F]{64}$"))]
        blake3: Option<String>,
    }
    /// What is kept when the task ends.
    Output {
        /// Where the task leaves it; a directory ends with /.
        path: String,
        /// A path, file:// or s3://; the client's own storage where nothing is said.
        to: Option<String>,
        /// When it is kept.
        mode: Option<OutputMode>,
        /// Most bytes, such as 1GiB.
        max_size: Option<Quantity>,
    }
    /// Files that are kept, and paid for, one by one, each renamed into place when complete.
    Parts {
        /// Such as `frames/{part:04}.png`.
        #[schemars(regex(pattern = r"^[^{}]*\{part(:0[1-9])?\}[^{}]*$"))]
        path: String,
        /// The first part's number; 1 where nothing is said.
        first: Option<u32>,
        /// How many; this or `range`.
        #[schemars(range(min = 1, max = 100_000))]
        count: Option<u32>,
        /// The first and the last number, such as 1-12.
        range: Option<String>,
        /// Most bytes of one part.
        max_size: Option<Quantity>,
        /// The directory or prefix that parts go to, ending with /.
        to: Option<String>,
    }
    /// Where a task can go on after an interruption.
    Checkpoint {
        /// The directory that is saved.
        path: String,
        /// Time between two saves, such as 10m.
        interval: Option<Quantity>,
        /// Most bytes of one save.
        max_size: Option<Quantity>,
    }
    /// Where a task ends in any case.
    Limits {
        /// Active time, such as 1h.
        time: Quantity,
        /// Price, fees and burn together, in FLUX.
        cost: Option<Quantity>,
        /// Traffic, such as 10GiB.
        traffic: Option<Quantity>,
        /// Time between SIGTERM and SIGKILL, such as 10s.
        grace: Option<Quantity>,
    }
    /// How a task is paid.
    Pricing {
        /// By which model.
        model: Option<Model>,
        /// The highest price, such as 0.5/h.
        max_price: Option<String>,
    }
    /// Which machines may run a task.
    Scope {
        /// Only in these countries (ISO 3166-1, two letters).
        countries: Option<Vec<String>>,
        /// Not in these countries.
        exclude_countries: Option<Vec<String>>,
        /// Only these machines.
        machines: Option<Vec<String>>,
    }
    /// A port with its protocol.
    PortFields {
        /// Its number.
        #[schemars(range(min = 1))]
        port: u16,
        /// Its transport.
        protocol: Option<Protocol>,
    }
}

/// The number 1.
#[derive(Debug, JsonSchema)]
#[schemars(transparent)]
pub struct One(#[schemars(range(min = 1, max = 1))] pub u32);

/// The JSON Schema (draft 2020-12) of `task.yaml`.
#[must_use]
pub fn task_schema() -> Schema {
    SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<Task>()
}

/// [`task_schema`] as a file: indented, with a line break at its end.
#[must_use]
pub fn task_schema_text() -> String {
    let text = serde_json::to_string_pretty(&task_schema()).unwrap_or_default();
    format!("{text}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields;

    fn properties(schema: &serde_json::Value) -> Vec<String> {
        let names = schema["properties"].as_object().expect("an object has properties");
        let mut names: Vec<String> = names.keys().cloned().collect();
        names.sort();
        names
    }

    #[test]
    fn the_schema_and_the_reader_know_the_same_fields() {
        let schema = task_schema().to_value();
        let check = |definition: Option<&str>, shape: &fields::Shape| {
            let found = definition.map_or(&schema, |name| &schema["$defs"][name]);
            let mut expected: Vec<&str> = shape.fields.to_vec();
            expected.sort_unstable();
            assert_eq!(properties(found), expected, "{}", shape.name);
            assert_eq!(found["additionalProperties"], false, "{}", shape.name);
        };
        check(None, &fields::TASK);
        check(Some("Resources"), &fields::RESOURCES);
        check(Some("RunFields"), &fields::RUN);
        check(Some("Input"), &fields::INPUT);
        check(Some("Output"), &fields::OUTPUT);
        check(Some("Parts"), &fields::PARTS);
        check(Some("Checkpoint"), &fields::CHECKPOINT);
        check(Some("Limits"), &fields::LIMITS);
        check(Some("Pricing"), &fields::PRICING);
        check(Some("Scope"), &fields::SCOPE);
        check(Some("PortFields"), &fields::PORT);
    }

    #[test]
    fn the_schema_and_the_reader_know_the_same_words() {
        use crate::words;
        fn names<T>(words: words::Words<T>) -> Vec<&'static str> {
            words.iter().map(|(name, _)| *name).collect()
        }
        let schema = task_schema().to_value();
        let check = |definition: &str, expected: Vec<&str>| {
            let variants =
                schema["$defs"][definition]["oneOf"].as_array().expect("a list of words");
            let found: Vec<&str> =
                variants.iter().filter_map(|one| one["const"].as_str()).collect();
            assert_eq!(found, expected, "{definition}");
        };
        check("UseCase", names(words::USE_CASES));
        check("Network", names(words::NETWORKS));
        check("Isolation", names(words::ISOLATIONS));
        check("Model", names(words::MODELS));
        check("InputMode", names(words::INPUT_MODES));
        check("OutputMode", names(words::OUTPUT_MODES));
        check("Protocol", names(words::PROTOCOLS));
        check("Mineable", names(words::MINEABLE));
    }
}
