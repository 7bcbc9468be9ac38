//! Keys at rest.
//!
//! Two kinds: a person's key lies in a password-protected [`Keystore`] (Web3 Secret Storage,
//! version 3, as every Ethereum wallet reads it); the key of something unattended (a machine, a
//! signer) lies in a [`keyfile`](load_or_create) that only its owner can read.
//!
//! # Not here
//! Asking a person for a password: that is the command line's part. Signing rules: each signed
//! structure is in `types`.
//!
//! # Invariants
//! Every file is written whole or not at all, with mode 0600. The cost and the lengths a keystore
//! asks for are bounded before any of them is used. Secrets are wiped when dropped and never
//! appear in `Debug` or in an error.
#![forbid(unsafe_code)]

mod file;
mod keyfile;
mod keystore;
mod password;

pub use file::write_private;
pub use keyfile::{KeyFileError, load_or_create};
pub use keystore::{Keystore, KeystoreError, ScryptCost};
pub use password::{Password, PasswordError};
