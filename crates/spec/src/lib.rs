//! Task and image specifications: as typed, validated, hashed.
//!
//! A person writes `task.yaml`; [`TaskDocument`] is what was typed, with the position of every
//! value; [`Task`] is what was meant, with quantities in one unit and every default filled in;
//! [`SpecHash`](pouw_types::SpecHash) names it. A host reads a [`Task`] from JSON and trusts nothing: reading checks.
//!
//! Not here: resolving an image to a digest, reading secrets and inputs, prices.
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::float_arithmetic,
        clippy::indexing_slicing,
        clippy::iter_over_hash_type,
        clippy::wildcard_enum_match_arm
    )
)]

mod canonical;
mod check;
mod document;
mod fields;
mod image;
mod location;
mod parts;
mod path;
mod problem;
pub mod quantity;
mod read;
pub mod schema;
mod task;
mod tree;
mod walk;
mod words;

pub use canonical::TaskError;
pub use check::Violation;
pub use document::{TaskDocument, ValidTask};
pub use image::{ImageError, ImageRef, ImageSpec, LabelError};
pub use location::{Location, LocationError};
pub use parts::{PartPattern, Parts, PatternError};
pub use path::{PathError, TaskPath};
pub use problem::{Problem, Problems};
pub use task::{
    Checkpoint, Input, InputMode, Limits, Mineable, Network, Output, OutputMode, Port, Pricing,
    PricingModel, Protocol, Run, Scope, Task,
};
