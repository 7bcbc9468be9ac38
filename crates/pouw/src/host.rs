//! The host's role: an agent that follows a node through its public doors.

mod contract;
mod cosigner;

pub use contract::NodeContract;
pub use cosigner::NodeSigner;
