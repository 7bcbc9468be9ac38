//! The server: one listener, one router, limits around everything.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::Body;
use axum::extract::{FromRequestParts, Request, State, WebSocketUpgrade};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use axum::{Router, middleware};
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, StatusCode};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::guard::guard;
use crate::rpc::{self, Door, Filters};
use crate::socket::talk;
use crate::v1::{self, Problem};
use crate::{Backend, Board, Config, SignerDoor};

/// What stands behind the doors.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "trait objects")]
pub struct Doors {
    /// The node.
    pub backend: Arc<dyn Backend>,
    /// The offers it knows.
    pub board: Arc<Board>,
    /// Its signer.
    pub signer: Arc<dyn SignerDoor>,
}

/// All that a request can reach.
pub(crate) struct Node {
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) board: Arc<Board>,
    pub(crate) signer: Arc<dyn SignerDoor>,
    pub(crate) config: Config,
    pub(crate) filters: Filters,
    pub(crate) stopping: watch::Receiver<bool>,
}

impl Node {
    fn new(doors: Doors, config: Config, stopping: watch::Receiver<bool>) -> Self {
        let Doors { backend, board, signer } = doors;
        Self { backend, board, signer, config, filters: Filters::default(), stopping }
    }
}

/// How long a client may take to say what it wants; also how long an idle connection is kept.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of a request's head.
const HEAD_BYTES: usize = 32 * 1024;
/// How long open requests may take when the node stops.
const GRACE: Duration = Duration::from_secs(3);
/// How long to wait when no connection can be accepted, such as for lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Unix seconds.
pub(crate) fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Resolves when the node stops.
pub(crate) async fn stop_of(stopping: &mut watch::Receiver<bool>) {
    // Without a sender the server is gone, which is a stop as well.
    let _stopped = stopping.wait_for(|stop| *stop).await;
}

/// Answers on a listener until `shutdown` resolves, then lets open requests finish for a moment.
pub async fn serve(
    listener: TcpListener,
    doors: Doors,
    config: Config,
    shutdown: impl Future<Output = ()> + Send,
) {
    let (stop, stopping) = watch::channel(false);
    let permits = Arc::new(Semaphore::new(config.connections));
    let router = router(Arc::new(Node::new(doors, config, stopping.clone())));
    let mut connections = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => continue,
            accepted = accept(&listener, &permits) => accepted,
        };
        let Some((stream, permit)) = accepted else { continue };
        let (router, stopping) = (router.clone(), stopping.clone());
        connections.spawn(async move {
            connection(stream, router, stopping).await;
            drop(permit);
        });
    }
    drop(listener);
    let _nobody_listens = stop.send(true);
    let all = async { while connections.join_next().await.is_some() {} };
    if timeout(GRACE, all).await.is_err() {
        tracing::debug!(open = connections.len(), "connections cut at shutdown");
    }
}

/// Answers one JSON-RPC body as the HTTP door does, without a socket; `None` where nothing is to
/// be said. Filters end with the call.
pub async fn answer(doors: Doors, config: Config, body: &[u8]) -> Option<Vec<u8>> {
    let (_stop, stopping) = watch::channel(false);
    rpc::answer(&Node::new(doors, config, stopping), body, &mut Door::Http).await
}

type Permit = tokio::sync::OwnedSemaphorePermit;

async fn accept(listener: &TcpListener, permits: &Arc<Semaphore>) -> Option<(TcpStream, Permit)> {
    let permit = Arc::clone(permits).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => Some((stream, permit)),
        Err(error) => {
            tracing::warn!(%error, "no connection could be accepted");
            sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

async fn connection(stream: TcpStream, router: Router, mut stopping: watch::Receiver<bool>) {
    let _best_effort = stream.set_nodelay(true);
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .with_upgrades();
    tokio::pin!(serving);
    let outcome = tokio::select! {
        outcome = &mut serving => outcome,
        () = stop_of(&mut stopping) => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(%error, "connection ended");
    }
}

fn router(node: Arc<Node>) -> Router {
    let origins = node.config.origins.iter().filter_map(|o| HeaderValue::from_str(o).ok());
    let cors = CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins))
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([CONTENT_TYPE])
        .allow_private_network(true)
        .max_age(Duration::from_secs(600));
    let api = v1::routes()
        .into_iter()
        .fold(Router::new(), |router, (route, handler)| router.route(route.path, handler));
    api.route("/", any(json_rpc))
        .route("/rpc", any(json_rpc))
        .fallback(v1::not_found)
        .method_not_allowed_fallback(v1::method_not_allowed)
        .layer(cors)
        .layer(middleware::from_fn_with_state(Arc::clone(&node), guard))
        .layer(middleware::from_fn_with_state(Arc::clone(&node), in_time))
        .with_state(node)
}

/// Ends requests that take too long. An upgrade to WebSocket is over when the socket begins.
async fn in_time(
    State(node): State<Arc<Node>>,
    request: Request,
    next: middleware::Next,
) -> Response {
    match timeout(node.config.request_timeout, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem {
            status: StatusCode::GATEWAY_TIMEOUT,
            code: "timeout",
            message: "the request took too long".to_owned(),
            hint: Some("ask for less at once".to_owned()),
        }
        .into_response(),
    }
}

/// JSON-RPC: a POST, or the start of a WebSocket.
async fn json_rpc(State(node): State<Arc<Node>>, request: Request) -> Response {
    if request.method() == Method::POST {
        return post(&node, request).await;
    }
    let (mut parts, _body) = request.into_parts();
    match WebSocketUpgrade::from_request_parts(&mut parts, &()).await {
        Ok(upgrade) => {
            let limit = node.config.body_bytes;
            let upgrade = upgrade.max_message_size(limit).max_frame_size(limit);
            upgrade.on_upgrade(move |socket| talk(node, socket)).into_response()
        }
        Err(_) => Problem {
            status: StatusCode::METHOD_NOT_ALLOWED,
            code: "method",
            message: "JSON-RPC is asked by POST or over a WebSocket".to_owned(),
            hint: Some("the HTTP API is at /v1, described by /v1/openapi.json".to_owned()),
        }
        .into_response(),
    }
}

async fn post(node: &Node, request: Request) -> Response {
    let reply = |status: StatusCode, body: Vec<u8>| {
        let json = [(CONTENT_TYPE, HeaderValue::from_static("application/json"))];
        (status, json, Body::from(body)).into_response()
    };
    match json_body(request, node.config.body_bytes).await {
        Ok(body) => match rpc::answer(node, &body, &mut Door::Http).await {
            Some(answer) => reply(StatusCode::OK, answer),
            None => StatusCode::NO_CONTENT.into_response(),
        },
        Err(problem) => reply(problem.status, rpc::refusal(problem.message)),
    }
}

/// A body that is declared as JSON and within the limit.
pub(crate) async fn json_body(
    request: Request,
    limit_bytes: usize,
) -> Result<bytes::Bytes, Problem> {
    let declared = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = declared.and_then(|value| value.split(';').next()).unwrap_or_default();
    if !kind.trim().eq_ignore_ascii_case("application/json") {
        return Err(Problem {
            status: StatusCode::UNSUPPORTED_MEDIA_TYPE,
            code: "content_type",
            message: "the body must be declared as content-type: application/json".to_owned(),
            hint: None,
        });
    }
    axum::body::to_bytes(request.into_body(), limit_bytes).await.map_err(|_| Problem {
        status: StatusCode::PAYLOAD_TOO_LARGE,
        code: "too_large",
        message: format!("the body ends early or is longer than {limit_bytes} bytes"),
        hint: None,
    })
}
