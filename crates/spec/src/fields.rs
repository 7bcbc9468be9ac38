//! The names of all fields, by the mapping that holds them.

/// A mapping of the specification: its name and its fields.
pub(crate) struct Shape {
    /// What it is called in a message.
    pub(crate) name: &'static str,
    pub(crate) fields: &'static [&'static str],
}

pub(crate) const TASK: Shape = Shape {
    name: "the task itself",
    fields: &[
        "version",
        "name",
        "use_case",
        "image",
        "resources",
        "setup",
        "run",
        "env",
        "secrets",
        "inputs",
        "outputs",
        "parts",
        "checkpoint",
        "refund_window",
        "limits",
        "pricing",
        "scope",
        "network",
        "ports",
        "isolation",
        "mineable",
    ],
};
pub(crate) const RESOURCES: Shape =
    Shape { name: "resources", fields: &["cpu", "memory", "disk", "gpus"] };
pub(crate) const RUN: Shape = Shape { name: "run", fields: &["command", "workdir"] };
pub(crate) const INPUT: Shape =
    Shape { name: "an input", fields: &["from", "to", "mode", "max_size", "blake3"] };
pub(crate) const OUTPUT: Shape =
    Shape { name: "an output", fields: &["path", "to", "mode", "max_size"] };
pub(crate) const PARTS: Shape =
    Shape { name: "parts", fields: &["path", "first", "count", "range", "max_size", "to"] };
pub(crate) const CHECKPOINT: Shape =
    Shape { name: "checkpoint", fields: &["path", "interval", "max_size"] };
pub(crate) const LIMITS: Shape =
    Shape { name: "limits", fields: &["time", "cost", "traffic", "grace"] };
pub(crate) const PRICING: Shape = Shape { name: "pricing", fields: &["model", "max_price"] };
pub(crate) const SCOPE: Shape =
    Shape { name: "scope", fields: &["countries", "exclude_countries", "machines"] };
pub(crate) const PORT: Shape = Shape { name: "a port", fields: &["port", "protocol"] };

pub(crate) const SHAPES: [&Shape; 11] = [
    &TASK,
    &RESOURCES,
    &RUN,
    &INPUT,
    &OUTPUT,
    &PARTS,
    &CHECKPOINT,
    &LIMITS,
    &PRICING,
    &SCOPE,
    &PORT,
];
