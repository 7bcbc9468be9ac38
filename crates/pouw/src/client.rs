//! The client's side of the doors: talking to a node, signing transactions.

pub mod bucket;
pub mod follow;
pub mod forward;
pub mod images;
pub mod inputs;
pub mod invoice;
pub mod node;
pub mod plan;
pub mod resume;
pub mod rpc;
pub mod runs;
pub mod sender;
pub mod support;
pub mod timing;
