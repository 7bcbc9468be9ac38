//! The agent's HTTP door: what clients say to a host, and what it answers.
//!
//! | request | who | what |
//! |---|---|---|
//! | `GET /v1/health` | anyone | whether the agent works |
//! | `GET /v1/offer` | anyone | the signed [`Offer`](pouw_types::Offer) |
//! | `POST /v1/quotes` | anyone | [`QuoteRequest`] → [`QuoteReply`] |
//! | `PUT /v1/rentals/{id}/task` | client | [`TaskRequest`]: task, slots, secrets |
//! | `PUT /v1/rentals/{id}/slots` | client | fresh addresses for what is still to be written |
//! | `GET /v1/rentals/{id}` | client | [`RentalStatus`] |
//! | `GET /v1/rentals/{id}/events` | client | server-sent [`Event`]s, resumable by `Last-Event-ID` |
//! | `GET /v1/rentals/{id}/log` | client | the task's output so far, as text |
//! | `GET /v1/rentals/{id}/manifest` | client | the manifest, as JSON |
//! | `GET /v1/rentals/{id}/results/{n}` | client | one of the results that stay on the host |
//! | `POST /v1/rentals/{id}/stop` | client | [`StopRequest`] |
//! | `GET /v1/rentals/{id}/ports/{port}/{protocol}` | client | an upgrade to [`UPGRADE`]: a connection to the task's port |
//!
//! "Client" means: the headers `pouw-time` (Unix seconds) and `pouw-signature` carry the rental's
//! client's EIP-191 signature over [`message`].

mod client;
mod dto;
mod sse;
mod tunnel;

pub use client::{Client, ClientError};
pub use dto::{
    ErrorBody, Event, EventKind, Gate, GateProbe, Health, MeterView, NoticeReason, NoticeView,
    Part, Progress, QuoteReply, QuoteRequest, RentalStatus, Resume, Secret, StepBegan, StopRequest,
    TaskRequest,
};

pub use tunnel::{NONCE_HEADER, ParsePortError, PortName, UPGRADE, datagram};

use alloy_primitives::Address;
use alloy_signer::SignerSync;
use alloy_signer_local::PrivateKeySigner;
use pouw_types::RentalId;

/// The header with the time of a signed request, Unix seconds.
pub const TIME_HEADER: &str = "pouw-time";
/// The header with the signature of a signed request, hex.
pub const SIGNATURE_HEADER: &str = "pouw-signature";
/// How far a signed request's time may be from the agent's clock, seconds.
pub const MAX_SKEW_S: u64 = 300;
/// Most bytes of a request's body.
pub const MAX_BODY_BYTES: usize = 18 << 20;

/// The text that a client signs (EIP-191) so that the door answers it.
#[must_use]
pub fn message(method: &str, path: &str, rental: RentalId, body: &[u8], time_s: u64) -> String {
    let digest = blake3::hash(body).to_hex();
    format!("pouw door v1\n{method} {path}\nrental {rental}\nbody blake3 {digest}\ntime {time_s}")
}

/// Signs a request to the door: the value of [`SIGNATURE_HEADER`].
///
/// # Errors
/// The key's own error, which a key in memory never gives.
pub fn sign(key: &PrivateKeySigner, message: &str) -> Result<String, alloy_signer::Error> {
    let signature = key.sign_message_sync(message.as_bytes())?;
    Ok(alloy_primitives::hex::encode_prefixed(signature.as_bytes()))
}

/// Who signed a request.
///
/// # Errors
/// [`pouw_types::signing::BadSignature`].
pub fn signed_by(
    message: &str,
    signature: &str,
) -> Result<Address, pouw_types::signing::BadSignature> {
    let bytes =
        alloy_primitives::hex::decode(signature).map_err(|_| pouw_types::signing::BadSignature)?;
    let digest = alloy_primitives::eip191_hash_message(message.as_bytes());
    pouw_types::signing::recover(digest, &bytes)
}
