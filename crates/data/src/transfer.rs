//! Bytes between slots and files.

mod client;
mod download;
mod error;
mod list;
mod upload;

pub use client::{RetryPolicy, Transfers};
pub use error::TransferError;
pub use list::{ListError, ListLimits, Listed};

use alloy_primitives::B256;

/// Told how far a transfer is; called often, so it must be quick.
pub trait Progress: Send + Sync {
    /// `done_bytes` of `total_bytes` (if known) have moved; `done_bytes` falls when a try restarts.
    fn advanced(&self, done_bytes: u64, total_bytes: Option<u64>);
}

/// Nobody is watching.
impl Progress for () {
    fn advanced(&self, _done_bytes: u64, _total_bytes: Option<u64>) {}
}

impl<F: Fn(u64, Option<u64>) + Send + Sync> Progress for F {
    fn advanced(&self, done_bytes: u64, total_bytes: Option<u64>) {
        self(done_bytes, total_bytes);
    }
}

/// What was moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transferred {
    /// Its size in bytes.
    pub size_bytes: u64,
    /// Its BLAKE3 digest.
    pub blake3: B256,
}
