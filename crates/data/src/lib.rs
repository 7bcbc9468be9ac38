//! Getting data in and out: the built-in S3 store, presigned slots, transfers, manifests.
//!
//! Four parts. [`store`] is an S3 service on one folder: any S3 client speaks to it, and nothing
//! it was told becomes a path. [`Slots`] are the presigned places a client hands to a host, so
//! that the host never holds the client's keys. [`Transfers`] moves bytes between slots and files,
//! hashed by BLAKE3, resumed and retried. A [`Manifest`] names every object that left a task; its
//! root goes into receipts.
//!
//! # Entry points
//! [`store::Store::open`] and [`store::serve`]; [`Slots::presign`]; [`Transfers::download`] and
//! [`Transfers::upload`]; [`Manifest::new`], [`Manifest::root`] and [`Manifest::verify_dir`];
//! [`archive::pack`] and [`archive::unpack`] for inputs that are directories.
//!
//! # Not here
//! Which inputs and parts a task has (`spec`), when they move (the agent's steps), and keys at
//! rest (`vault`).
//!
//! # Invariants
//! A presigned URL or a secret key never reaches a log, an error or `Debug`. A file appears under
//! its name only when it is whole and its digest is right. An object is visible only after it is
//! on disk. Everything decoded from outside has a bound. `docs/spec/data.md` numbers the rules.
#![forbid(unsafe_code)]

pub mod archive;
mod checkpoint;
mod credentials;
mod location;
mod manifest;
mod presign;
mod slots;
pub mod store;
mod transfer;
mod url;

pub use checkpoint::{Checkpoint, CheckpointError, CheckpointSlots};
pub use credentials::{CredentialsError, S3Credentials};
pub use location::{LocationError, S3Location};
pub use manifest::{Manifest, ManifestEntry, ManifestError, VerifyError};
pub use presign::{MAX_PRESIGN_S, PresignError, presign_get, presign_put};
pub use slots::{
    InputRequest, InputSlot, MAX_ARCHIVES, MAX_INPUTS, MAX_PARTS, OutputSlot, Packing, SlotError,
    SlotRequest, Slots,
};
pub use transfer::{
    ListError, ListLimits, Listed, Progress, RetryPolicy, TransferError, Transferred, Transfers,
};
pub use url::{PresignedUrl, UrlError};
