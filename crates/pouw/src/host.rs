//! The host's role: an agent that follows a node through its public doors.

mod contract;
mod cosigner;
mod lane_one;
mod running;
mod setup;

pub use contract::NodeContract;
pub use cosigner::NodeSigner;
pub use lane_one::NodeLaneOne;
pub use running::Host;
pub use setup::Setup;
