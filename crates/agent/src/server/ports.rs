//! Opens connections to the ports of tasks.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use pouw_spec::Port;

use super::{Door, Refusal, Reply, admit};
use crate::door::{MAX_SKEW_S, NONCE_HEADER, PortName, UPGRADE};
use crate::rental::Rental;
use crate::tunnel::{self, Full};

/// Answers a request for a tunnel: everything is checked and the task's port connected before the
/// connection is the task's.
pub(super) async fn open(
    State(shared): Door,
    Path((id, port, protocol)): Path<(String, String, String)>,
    mut request: Request,
) -> Reply<Response> {
    let nonce = nonce(request.headers())?;
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let rental = admit(&shared, &id, &method, &uri, request.headers(), &nonce)?;
    let wanted: PortName =
        format!("{port}/{protocol}").parse().map_err(|error: crate::door::ParsePortError| {
            Refusal::new(StatusCode::NOT_FOUND, "unknown-port", error, "ask for a port of the task")
        })?;
    let upgrade = wanted_upgrade(&mut request)?;
    if !rental.is_running() {
        let text = format!("the task does not run: the rental is in step {}", rental.record().step);
        let hint = "wait until it runs; a port is there as long as its task";
        return Err(Refusal::new(StatusCode::CONFLICT, "not-running", text, hint));
    }
    check_port(&rental, wanted.0)?;
    let now = shared.context.clock.unix_s();
    let place = rental.tunnels.enter(nonce, now, now + 2 * MAX_SKEW_S).map_err(full)?;
    let inner = connect(&shared, &rental, wanted).await?;
    let weak = Arc::downgrade(&shared);
    tokio::spawn(async move {
        match upgrade.await {
            Ok(outer) => tunnel::carry(weak, rental, place, TokioIo::new(outer), inner).await,
            Err(error) => tracing::debug!(%error, "a client went before its tunnel was there"),
        }
    });
    let answer = Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(header::CONNECTION, "upgrade")
        .header(header::UPGRADE, UPGRADE);
    answer.body(Body::empty()).map_err(Refusal::internal)
}

fn nonce(headers: &HeaderMap) -> Reply<[u8; 16]> {
    let text = headers.get(NONCE_HEADER).and_then(|value| value.to_str().ok());
    let mut nonce = [0; 16];
    let read = text.map(|text| hex::decode_to_slice(text, &mut nonce));
    if matches!(read, Some(Ok(()))) {
        return Ok(nonce);
    }
    let text = format!("the header {NONCE_HEADER} is missing or no 32 hexadecimal digits");
    let hint = "send 16 fresh random bytes as hex, and sign them as the body";
    Err(Refusal::new(StatusCode::BAD_REQUEST, "no-nonce", text, hint))
}

fn wanted_upgrade(request: &mut Request) -> Reply<OnUpgrade> {
    let asked = request.headers().get(header::UPGRADE).and_then(|value| value.to_str().ok());
    let asked = asked.is_some_and(|value| value.eq_ignore_ascii_case(UPGRADE));
    let upgrade = request.extensions_mut().remove::<OnUpgrade>();
    upgrade.filter(|_| asked).ok_or_else(|| {
        let text = "a port is reached by an upgraded HTTP/1.1 connection";
        let hint = "send `connection: upgrade` and `upgrade: pouw-tunnel`";
        Refusal::new(StatusCode::UPGRADE_REQUIRED, "no-upgrade", text, hint)
    })
}

/// Only what the task names is reached, whatever else listens beside it.
fn check_port(rental: &Rental, wanted: Port) -> Reply<()> {
    let ports = rental.record().ports;
    if ports.contains(&wanted) {
        return Ok(());
    }
    let named: Vec<String> = ports.iter().map(|port| PortName(*port).to_string()).collect();
    let text = match named.as_slice() {
        [] => "the task has no ports".to_owned(),
        named => {
            format!("the task has no port {}, it has {}", PortName(wanted), named.join(", "))
        }
    };
    let hint = "name the port under `ports:` in the task";
    Err(Refusal::new(StatusCode::NOT_FOUND, "unknown-port", text, hint))
}

fn full(full: Full) -> Refusal {
    let status = StatusCode::TOO_MANY_REQUESTS;
    match full {
        Full::Replayed => Refusal::new(
            StatusCode::UNAUTHORIZED,
            "replayed",
            "this request was sent before",
            "send a fresh nonce with each request",
        ),
        Full::Open => Refusal::new(
            status,
            "too-many-connections",
            format!("{} connections to the task are open", tunnel::MAX_OPEN),
            "close some first",
        ),
        Full::Often => Refusal::new(
            status,
            "too-many-connections",
            format!("{} connections were opened within ten minutes", tunnel::MAX_REMEMBERED),
            "keep connections open and use them again",
        ),
    }
}

async fn connect(
    shared: &crate::agent::Shared,
    rental: &Rental,
    wanted: PortName,
) -> Reply<tunnel::Inner> {
    let gone = |text: String| {
        let hint = "try again when the task listens; it has to listen on all addresses, not on \
                    127.0.0.1 alone";
        Refusal::new(StatusCode::BAD_GATEWAY, "nobody-listens", text, hint)
    };
    let container = rental.record().container;
    let container = container.ok_or_else(|| gone("the task has no container".to_owned()))?;
    let seen = shared.context.engine.inspect(&container).await;
    let address = seen.map_err(|error| gone(error.to_string()))?.address;
    let address = address.ok_or_else(|| gone("the task has no address".to_owned()))?;
    tunnel::connect(address, wanted.0)
        .await
        .map_err(|error| gone(format!("nobody answers on port {wanted} of the task: {error}")))
}
