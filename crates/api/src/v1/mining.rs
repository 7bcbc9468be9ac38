//! Lane 1 for the tasks of a host: what they may win, and what they won.

use std::sync::Arc;

use alloy_primitives::{Address, B256, Bytes};
use axum::Json;
use axum::extract::{Query, Request, State, rejection::QueryRejection};
use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Problem, read};
use crate::lanes::{LaneOneError, LaneOneWork};
use crate::server::Node;

/// The longest certificate, in bytes: M-8 allows no more.
const MAX_CERTIFICATE_BYTES: usize = 34_500;

/// For which machine.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    machine: Address,
}

/// What may be won.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Work {
    /// Null while lane 1 has no share.
    work: Option<LaneOneWork>,
}

/// A product that won.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Certificate {
    /// Of the work.
    number: u64,
    /// The certificate, `0x` and hexadecimal digits.
    #[schemars(with = "String")]
    certificate: Bytes,
}

/// What it won.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Won {
    /// The block; null where it came too late.
    #[schemars(with = "Option<String>")]
    block: Option<B256>,
}

impl From<LaneOneError> for Problem {
    fn from(error: LaneOneError) -> Self {
        match error {
            LaneOneError::Unregistered(_) => {
                Self::new(StatusCode::NOT_FOUND, "not_found", error.to_string())
                    .hint("`pouw host run` registers it")
            }
            LaneOneError::Certificate { .. } => {
                Self::new(StatusCode::BAD_REQUEST, "certificate", error.to_string())
            }
            LaneOneError::Backend(error) => error.into(),
        }
    }
}

pub(super) async fn work(
    State(node): State<Arc<Node>>,
    query: Result<Query<Which>, QueryRejection>,
) -> Result<Json<Work>, Problem> {
    let bad =
        |error: QueryRejection| Problem::new(StatusCode::BAD_REQUEST, "query", error.body_text());
    let Query(Which { machine }) = query.map_err(bad)?;
    Ok(Json(Work { work: node.backend.lane_one_work(machine).await? }))
}

pub(super) async fn win(
    State(node): State<Arc<Node>>,
    request: Request,
) -> Result<Json<Won>, Problem> {
    let Certificate { number, certificate } = read(&node, request).await?;
    if certificate.len() > MAX_CERTIFICATE_BYTES {
        let length = certificate.len();
        let message = format!("{length} bytes: a certificate has at most {MAX_CERTIFICATE_BYTES}");
        return Err(Problem::new(StatusCode::BAD_REQUEST, "certificate", message));
    }
    Ok(Json(Won { block: node.backend.lane_one_win(number, certificate).await? }))
}
