//! One file a command, or a few that belong together.

pub(crate) mod chain;
pub(crate) mod devnet;
pub(crate) mod doctor;
pub(crate) mod forward;
pub(crate) mod host;
mod lanes;
pub(crate) mod node;
pub(crate) mod rentals;
pub(crate) mod run;
pub(crate) mod sim;
pub(crate) mod wallet;
pub(crate) mod watch;
