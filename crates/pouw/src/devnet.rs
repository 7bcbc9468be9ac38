//! A whole network in one process.

pub mod folder;
