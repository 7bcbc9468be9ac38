//! One file a command, or a few that belong together.

pub(crate) mod chain;
pub(crate) mod rentals;
pub(crate) mod run;
pub(crate) mod wallet;
pub(crate) mod watch;
