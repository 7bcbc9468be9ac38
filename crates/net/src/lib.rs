//! Peers: how nodes find, greet, check and feed each other.
//!
//! The decisions are pure machines over values, with time as an argument: [`wire`] turns messages
//! into bytes within limits, [`Engine`] is told what happened and says what to do, [`Book`] and
//! [`score`] remember whom to call and whom to ban. Sockets, a thread and a file are in
//! [`Net`] alone. What a block or transaction is, this room does not know: it asks a [`Chain`].
//!
//! # Entry points
//! [`Net::start`] with a [`Chain`] and [`NetOptions`]; [`Engine`] for tests in virtual time.
//!
//! # Invariants
//! - Memory is bounded whatever peers send: a frame is judged before it is read, an answer is read
//!   only if it was asked for, nothing is kept of a block whose parent or header is not known.
//! - No third party: no relay, no name service and no discovery but what the operator names.
#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::as_conversions, clippy::float_arithmetic))]

pub mod book;
pub mod chain;
mod contact;
pub mod engine;
mod net;
pub mod origin;
mod recent;
pub mod score;
mod trust;
mod window;
pub mod wire;

pub use book::Book;
pub use chain::{Broken, Chain};
pub use contact::{Contact, ContactError, MAX_ADDRESSES, PeerId, may_tell};
pub use engine::{Engine, PeerView};
pub use net::{Net, NetError, NetHandle, NetOptions, new_key};
pub use trust::{Trust, TrustError};
