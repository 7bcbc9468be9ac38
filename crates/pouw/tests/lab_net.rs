//! Nodes as processes: in network namespaces that are cut, slowed and joined again, and one that is
//! killed while it catches up.
//!
//! Needs root, the Debian packages iproute2, util-linux and python3, and the kernel's veth and TAP devices.
#![cfg(test)]

#[path = "net_lab/namespaces.rs"]
mod namespaces;
#[path = "net_lab/partition.rs"]
mod partition;
#[path = "net_lab/process.rs"]
mod process;
#[path = "net_lab/resume.rs"]
mod resume;
