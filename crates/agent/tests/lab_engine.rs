//! The engine against a real Docker engine: hardened runs, limits, logs, save and reset, networks.
//!
//! Needs a Docker engine (`DOCKER_HOST`, else the default socket), root, and the Debian packages
//! busybox-static, e2fsprogs, mount, util-linux, nftables, iproute2, docker-registry and docker.io, and
//! on x86-64 gVisor's `runsc` on `PATH` (`scripts/setup test` builds it); what is missing fails the
//! test that needs it, by name. Each test has a machine of its own and removes
//! all that carries its label, even when it fails.

#[path = "engine_lab/benchmarks.rs"]
mod benchmarks;
#[path = "engine_lab/containers.rs"]
mod containers;
#[path = "engine_lab/guard.rs"]
mod guard;
#[cfg(target_arch = "x86_64")]
#[path = "engine_lab/gvisor.rs"]
mod gvisor;
#[path = "engine_lab/laboratory.rs"]
mod laboratory;
#[path = "engine_lab/networks.rs"]
mod networks;
#[path = "engine_lab/outages.rs"]
mod outages;
#[path = "engine_lab/own.rs"]
mod own;
#[path = "engine_lab/states.rs"]
mod states;
