//! The HTTP API: JSON in and out, errors as `{"error": {"code", "message", "hint"}}`.

mod chain;
mod lanes;
mod mining;
mod offers;
mod openapi;
mod signers;

use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequestParts, Path};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use http::request::Parts;
use http::{StatusCode, Uri};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use self::openapi::{Route, body, none};
use crate::backend::BackendError;
use crate::lanes::{LanesView, MachineLanes, SharesOverTime};
use crate::server::{Node, json_body};

/// Why a request was not answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Self { status, code, message, hint } = self;
        let mut error = json!({ "code": code, "message": message });
        if let (Some(hint), Some(fields)) = (hint, error.as_object_mut()) {
            fields.insert("hint".to_owned(), hint.into());
        }
        (status, Json(json!({ "error": error }))).into_response()
    }
}

impl Problem {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), hint: None }
    }

    fn hint(self, hint: &str) -> Self {
        Self { hint: Some(hint.to_owned()), ..self }
    }

    fn missing(what: &str, name: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", format!("no {what} `{name}` is known"))
    }
}

impl From<BackendError> for Problem {
    fn from(error: BackendError) -> Self {
        let (status, code) = match error {
            BackendError::NoBlock(_) => (StatusCode::NOT_FOUND, "not_found"),
            BackendError::Pruned { .. } => (StatusCode::GONE, "pruned"),
            BackendError::TooManyLogs(_) => (StatusCode::BAD_REQUEST, "limit"),
            BackendError::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        };
        Self::new(status, code, error.to_string())
    }
}

type Routes = Vec<(Route, MethodRouter<Arc<Node>>)>;

/// Each route with its description: the router and the `OpenAPI` document are made of this list.
pub(crate) fn routes() -> Routes {
    let mut routes = chain_routes();
    routes.extend(mining_routes());
    routes.extend(market_routes());
    routes
}

/// What `/v1/blocks` says of itself.
const LIST: &str = "Blocks, newest first (?lane=1&limit=20&below=HEIGHT)";

fn chain_routes() -> Routes {
    vec![
        (Route::get("/health", "Whether the node answers", none), get(chain::health)),
        (
            Route::get("/v1/openapi.json", "This description", none),
            get(|| async { Json(document()) }),
        ),
        (
            Route::get("/v1/status", "Network, head, mempool, money", body::<chain::Status>),
            get(chain::status),
        ),
        (
            Route::get("/v1/peers", "Who is connected with this node", body::<chain::Peers>),
            get(chain::peers),
        ),
        (
            Route::get("/v1/blocks/{id}", "By height, id, or `latest`", body::<chain::Block>),
            get(chain::block),
        ),
        (Route::get("/v1/blocks", LIST, body::<lanes::Blocks>), get(lanes::blocks)),
        (
            Route::get(
                "/v1/lanes",
                "Each lane's difficulty, spacing and work over the last blocks (?window=100)",
                body::<LanesView>,
            ),
            get(lanes::lanes),
        ),
        (
            Route::get(
                "/v1/machines/{machine}/lanes",
                "A machine's lane key, its credit, and its miner's rewards that wait for paid work",
                body::<MachineLanes>,
            ),
            get(lanes::machine),
        ),
        (
            Route::get(
                "/v1/shares",
                "The lanes' shares by epoch, and why they moved (?epochs=20)",
                body::<SharesOverTime>,
            ),
            get(lanes::shares),
        ),
        (
            Route::get(
                "/v1/transactions/{hash}",
                "A transaction and what became of it",
                body::<chain::Transaction>,
            ),
            get(chain::transaction),
        ),
        (
            Route::get("/v1/accounts/{address}", "An account", body::<chain::Account>),
            get(chain::account),
        ),
    ]
}

fn mining_routes() -> Routes {
    vec![
        (
            Route::get(
                "/v1/mining/work",
                "The block of lane 1 that a registered machine's tasks may win (?machine=ADDRESS)",
                body::<mining::Work>,
            ),
            get(mining::work),
        ),
        (
            Route::post(
                "/v1/mining/certificates",
                "Hand in a certificate that wins it",
                body::<mining::Certificate>,
                body::<mining::Won>,
            ),
            post(mining::win),
        ),
    ]
}

fn market_routes() -> Routes {
    vec![
        (
            Route::get("/v1/offers", "The offers that hold now", offers::list_schema),
            get(offers::list),
        ),
        (
            Route::post(
                "/v1/offers",
                "Announce a machine's offer; a later `seq` replaces the earlier",
                offers::schema,
                offers::posted_schema,
            ),
            post(offers::post),
        ),
        (
            Route::post(
                "/v1/signers",
                "Make a signer for a rental, by its client's NewSigner order",
                signers::signed_schema,
                body::<signers::Made>,
            ),
            post(signers::create),
        ),
        (
            Route::post(
                "/v1/signers/{address}/receipts",
                "Co-sign a receipt that its machine signed (R-5)",
                signers::signed_schema,
                body::<signers::Cosigned>,
            ),
            post(signers::cosign),
        ),
        (
            Route::post(
                "/v1/signers/{address}/stop",
                "Sign the end of a rental (R-10), by its client's EndRental order",
                signers::signed_schema,
                signers::signed_schema,
            ),
            post(signers::stop),
        ),
    ]
}

/// The `OpenAPI` document of the HTTP API.
#[must_use]
pub fn document() -> Value {
    openapi::document(routes().into_iter().map(|(route, _)| route))
}

pub(crate) async fn not_found(uri: Uri) -> Problem {
    let shown: String = uri.path().chars().take(100).collect();
    Problem::new(StatusCode::NOT_FOUND, "not_found", format!("nothing is at {shown}"))
        .hint("/v1/openapi.json lists what there is; JSON-RPC is at /rpc")
}

pub(crate) async fn method_not_allowed() -> Problem {
    let message = "this path does not answer this method";
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method", message)
        .hint("/v1/openapi.json lists what there is")
}

/// Reads a JSON body.
async fn read<T: DeserializeOwned>(
    node: &Node,
    request: axum::extract::Request,
) -> Result<T, Problem> {
    let bytes = json_body(request, node.config.body_bytes).await?;
    serde_json::from_slice(&bytes)
        .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, "body", error.to_string()))
}

/// The variable piece of a path.
pub(crate) struct Piece(String);

impl<S: Send + Sync> FromRequestParts<S> for Piece {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(piece)) => Ok(Self(piece)),
            Err(error) => Err(Problem::new(StatusCode::BAD_REQUEST, "path", error.body_text())),
        }
    }
}

/// Reads a piece of the path.
fn parse<T: std::str::FromStr>(what: &str, text: &str) -> Result<T, Problem> {
    text.parse().map_err(|_| {
        let shown: String = text.chars().take(100).collect();
        Problem::new(StatusCode::BAD_REQUEST, "path", format!("`{shown}` is not {what}"))
    })
}
