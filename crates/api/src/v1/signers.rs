//! The signer's door over HTTP.

use std::sync::Arc;

use alloy_primitives::{Address, Bytes};
use axum::Json;
use axum::extract::{Request, State};
use http::StatusCode;
use pouw_types::RentalId;
use pouw_types::contracts::{Receipt, Stop};
use pouw_types::signing::Signed;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use super::{Piece, Problem, parse, read};
use crate::server::{Node, now_s};
use crate::signer::{EndRental, NewSigner, OrderError, SignerError, verify_order};

/// A signer was made.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Made {
    /// Its address: what `Rentals.open` takes as signer.
    #[schemars(with = "String")]
    signer: Address,
}

/// A receipt was co-signed.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Cosigned {
    /// 65 bytes r, s, v.
    #[schemars(with = "String")]
    signature: Bytes,
}

impl From<OrderError> for Problem {
    fn from(error: OrderError) -> Self {
        let code = match error {
            OrderError::Signature(_) => "signature",
            OrderError::Stale { .. } => "stale",
        };
        Self::new(StatusCode::UNAUTHORIZED, code, error.to_string())
    }
}

impl From<SignerError> for Problem {
    fn from(error: SignerError) -> Self {
        let (status, code) = match error {
            SignerError::Disabled => (StatusCode::NOT_IMPLEMENTED, "disabled"),
            SignerError::Unknown(_) => (StatusCode::NOT_FOUND, "not_found"),
            SignerError::Foreign { .. } => (StatusCode::FORBIDDEN, "foreign"),
            SignerError::Refused(_) => (StatusCode::UNPROCESSABLE_ENTITY, "refused"),
            SignerError::Full(_) => (StatusCode::SERVICE_UNAVAILABLE, "full"),
            SignerError::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        };
        Self::new(status, code, error.to_string())
    }
}

pub(super) async fn create(
    State(node): State<Arc<Node>>,
    request: Request,
) -> Result<Json<Made>, Problem> {
    let order: Signed<NewSigner> = read(&node, request).await?;
    verify_order(&order, node.backend.network().chain_id, now_s())?;
    let rental = RentalId::new(order.value.rental);
    let signer = node.signer.create(order.value.client, rental).await?;
    Ok(Json(Made { signer }))
}

pub(super) async fn cosign(
    State(node): State<Arc<Node>>,
    Piece(signer): Piece,
    request: Request,
) -> Result<Json<Cosigned>, Problem> {
    let signer: Address = parse("an address, 0x and 40 digits", &signer)?;
    let receipt: Signed<Receipt> = read(&node, request).await?;
    let signature = node.signer.cosign(signer, receipt).await?;
    Ok(Json(Cosigned { signature }))
}

pub(super) async fn stop(
    State(node): State<Arc<Node>>,
    Piece(signer): Piece,
    request: Request,
) -> Result<Json<Signed<Stop>>, Problem> {
    let signer: Address = parse("an address, 0x and 40 digits", &signer)?;
    let order: Signed<EndRental> = read(&node, request).await?;
    verify_order(&order, node.backend.network().chain_id, now_s())?;
    if order.value.signer != signer {
        let message = format!("the order is to signer {}, not {signer}", order.value.signer);
        return Err(Problem::new(StatusCode::BAD_REQUEST, "signer", message));
    }
    Ok(Json(node.signer.stop(order.value).await?))
}

/// Something signed, as it travels: ABI bytes and signature.
pub(super) fn signed_schema() -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["value", "signature"],
        "properties": {
            "value": { "type": "string", "description": "ABI encoding, hex; at most 64 KiB" },
            "signature": { "type": "string", "description": "65 bytes r, s, v, hex" },
        },
    })
}
