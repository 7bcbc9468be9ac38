//! The words of pouw: what every other room says to its neighbours.
//!
//! Amounts, identities, the system contracts with what their parties sign, offers, resources, and
//! the parameters of each network. No behaviour beyond validity: rules live in `consensus` and
//! `ledger`, prices in the agent and the market.
//!
//! # Entry points
//! [`Amount`] for money, [`MachineId`] and [`RentalId`] for identities, [`contracts`] for the ABI,
//! [`signing`] for EIP-712 digests and signatures, [`Network`] for parameters, [`Offer`].
//!
//! # Invariants
//! Pure: no clock, no file, no randomness. Money is atto-FLUX in a checked `u128`; nothing here
//! rounds except where its documentation says so.
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::float_arithmetic,
        clippy::indexing_slicing,
        clippy::iter_over_hash_type,
        clippy::wildcard_enum_match_arm
    )
)]

mod amount;
pub mod contracts;
mod id;
mod network;
mod offer;
pub mod signing;

pub use amount::{Amount, AmountError, ParseAmountError};
pub use id::{MachineId, RentalId, SpecHash};
pub use network::{Funded, LaneZero, Network, RentalRules, UnknownNetwork, UsefulLanes};
pub use offer::{Floor, Gpu, Isolation, Offer, OfferError, Resources, Score, UseCase};
