//! Nodes as processes: in network namespaces that are cut, slowed and joined again, and one that is
//! killed while it catches up.
//!
//! Needs root and the Debian packages iproute2 and util-linux. Slowing needs the kernel's `netem`;
//! where the kernel has none, that step is left out and said so.
#![cfg(test)]

#[path = "net_lab/namespaces.rs"]
mod namespaces;
#[path = "net_lab/partition.rs"]
mod partition;
#[path = "net_lab/process.rs"]
mod process;
#[path = "net_lab/resume.rs"]
mod resume;
