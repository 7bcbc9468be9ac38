//! The chain by lanes: blocks, difficulty, shares over time.

use std::sync::Arc;

use alloy_primitives::Address;
use axum::Json;
use axum::extract::{Query, State, rejection::QueryRejection};
use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Piece, Problem, parse};
use crate::lanes::{BlockLine, BlockList, LanesView, MachineLanes, SharesOverTime};
use crate::server::Node;

/// The most blocks of one list.
const MAX_BLOCKS: u32 = 500;
/// The most blocks that a survey looks at.
const MAX_WINDOW: u64 = 2_000;
/// The most epochs of one answer.
const MAX_EPOCHS: u64 = 200;

/// Which blocks.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    below: Option<u64>,
    limit: Option<u32>,
    lane: Option<u8>,
}

/// How many blocks back.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Window {
    window: Option<u64>,
}

/// How many epochs back.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Epochs {
    epochs: Option<u64>,
}

/// A list of blocks, newest first.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Blocks {
    blocks: Vec<BlockLine>,
}

fn asked<T>(query: Result<Query<T>, QueryRejection>) -> Result<T, Problem> {
    let bad =
        |error: QueryRejection| Problem::new(StatusCode::BAD_REQUEST, "query", error.body_text());
    query.map(|Query(asked)| asked).map_err(bad)
}

fn bounded<T: Copy + PartialOrd + std::fmt::Display>(
    what: &str,
    value: T,
    least: T,
    most: T,
) -> Result<T, Problem> {
    if value >= least && value <= most {
        return Ok(value);
    }
    let message = format!("{what} is {value}: from {least} to {most}");
    Err(Problem::new(StatusCode::BAD_REQUEST, "query", message))
}

pub(super) async fn blocks(
    State(node): State<Arc<Node>>,
    query: Result<Query<Which>, QueryRejection>,
) -> Result<Json<Blocks>, Problem> {
    let Which { below, limit, lane } = asked(query)?;
    let limit = bounded("limit", limit.unwrap_or(20), 1, MAX_BLOCKS)?;
    let lane = lane.map(|lane| bounded("lane", lane, 0, 2)).transpose()?;
    let list = BlockList { below: below.unwrap_or(u64::MAX), limit, lane };
    Ok(Json(Blocks { blocks: node.backend.block_list(list).await? }))
}

pub(super) async fn lanes(
    State(node): State<Arc<Node>>,
    query: Result<Query<Window>, QueryRejection>,
) -> Result<Json<LanesView>, Problem> {
    let window = asked(query)?.window.unwrap_or(100);
    let window = bounded("window", window, 1, MAX_WINDOW)?;
    Ok(Json(node.backend.lanes(window).await?))
}

pub(super) async fn machine(
    State(node): State<Arc<Node>>,
    Piece(machine): Piece,
) -> Result<Json<MachineLanes>, Problem> {
    let address: Address = parse("an address, 0x and 40 digits", &machine)?;
    let found = node.backend.machine_lanes(address).await?;
    found.map(Json).ok_or_else(|| Problem::missing("machine", &machine))
}

pub(super) async fn shares(
    State(node): State<Arc<Node>>,
    query: Result<Query<Epochs>, QueryRejection>,
) -> Result<Json<SharesOverTime>, Problem> {
    let epochs = asked(query)?.epochs.unwrap_or(20);
    let epochs = bounded("epochs", epochs, 1, MAX_EPOCHS)?;
    Ok(Json(node.backend.shares(epochs).await?))
}
