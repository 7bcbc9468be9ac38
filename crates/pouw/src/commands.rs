//! One file a command.

pub(crate) mod chain;
pub(crate) mod wallet;
