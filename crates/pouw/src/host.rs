//! The host's role: an agent that follows a node through its public doors.

mod contract;
mod cosigner;
mod running;
mod setup;

pub use contract::NodeContract;
pub use cosigner::NodeSigner;
pub use running::Host;
pub use setup::Setup;
