//! The client's side of the doors: talking to a node, signing transactions.

pub mod rpc;
pub mod sender;
