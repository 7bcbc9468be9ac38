//! The whole thread with real parts: a devnet in its own process, the local Docker engine, the
//! `hello` image from the loopback registry, real receipts, real money; and everything that can go
//! wrong on the way.
//!
//! Needs root, `DOCKER_HOST` (or the default engine), the Debian packages docker.io,
//! docker-registry, bsdutils, util-linux and iproute2, and the image library's index with `hello`
//! and `python` in it: `scripts/images build hello python`; `scripts/test` sees to all of it.
#![cfg(test)]

#[path = "thread_lab/ctrl_c.rs"]
mod ctrl_c;
#[path = "thread_lab/devnet.rs"]
mod devnet;
#[path = "thread_lab/disk.rs"]
mod disk;
#[path = "thread_lab/docker.rs"]
mod docker;
#[path = "thread_lab/full_disk.rs"]
mod full_disk;
#[path = "thread_lab/hosts.rs"]
mod hosts;
#[path = "thread_lab/life.rs"]
mod life;
#[path = "thread_lab/mining.rs"]
mod mining;
#[path = "thread_lab/network.rs"]
mod network;
#[path = "thread_lab/quotes.rs"]
mod quotes;
#[path = "thread_lab/reorg.rs"]
mod reorg;
#[path = "thread_lab/tasks.rs"]
mod tasks;
#[path = "thread_lab/thread.rs"]
mod thread;
