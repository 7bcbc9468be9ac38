//! The store's door.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HeaderValue};
use http::{Method, Request};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use s3s::config::{S3Config, StaticConfigProvider};
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{Body, HttpError, HttpResponse, S3Error, S3ErrorCode};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::Store;
use super::error::message;
use super::ingest::read_on;

/// How many connections may be open at once.
const MAX_CONNECTIONS: usize = 256;
/// How long a client may take to send a request's head, and stay idle between requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// How long running requests may go on after shutdown was asked for.
const DRAIN: Duration = Duration::from_secs(10);
/// The largest XML document read, in bytes; a thousand keys to delete are some 1.2 MiB.
const MAX_XML_BYTES: usize = 2 << 20;

/// Why serving ended before it was asked to.
#[derive(Debug, thiserror::Error)]
#[error("the store cannot accept connections")]
pub struct ServeError(#[source] std::io::Error);

/// Serves `store` on `listener` until `shutdown` is done, then lets running requests finish.
///
/// # Errors
/// [`ServeError`] if the listener fails for good.
pub async fn serve(
    listener: TcpListener,
    store: Store,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), ServeError> {
    let service = Arc::new(service(store));
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let mut connections = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        let place = tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => continue,
            place = Arc::clone(&places).acquire_owned() => place,
        };
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let (service, stopped) = (Arc::clone(&service), stopped.clone());
                connections.spawn(async move {
                    connection(stream, service, stopped).await;
                    drop(place);
                });
            }
            Err(error) if is_passing(&error) => {
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Err(error) => return Err(ServeError(error)),
        }
    }
    stop.send_replace(true);
    let drained = async { while connections.join_next().await.is_some() {} };
    drop(tokio::time::timeout(DRAIN, drained).await);
    Ok(())
}

/// Whether the next accept may well succeed: the client left, or descriptors are short.
fn is_passing(error: &std::io::Error) -> bool {
    use std::io::ErrorKind;
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionRefused
            | ErrorKind::Interrupted
            | ErrorKind::WouldBlock
            | ErrorKind::OutOfMemory
    ) || matches!(error.raw_os_error(), Some(23 | 24))
}

fn service(store: Store) -> S3Service {
    let mut builder = S3ServiceBuilder::new(store.clone());
    builder.set_auth(store);
    let mut config = S3Config::default();
    config.xml_max_body_size = MAX_XML_BYTES;
    builder.set_config(Arc::new(StaticConfigProvider::new(Arc::new(config))));
    builder.build()
}

async fn connection(
    stream: TcpStream,
    service: Arc<S3Service>,
    mut stopped: tokio::sync::watch::Receiver<bool>,
) {
    // Small answers should not wait for more to send.
    drop(stream.set_nodelay(true));
    let handler = service_fn(move |request| answer(Arc::clone(&service), request));
    let serving = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(1 << 20)
        .serve_connection(TokioIo::new(stream), handler);
    tokio::pin!(serving);
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = stopping(&mut stopped) => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection broke off");
    }
}

async fn stopping(stopped: &mut tokio::sync::watch::Receiver<bool>) {
    // An error means that `serve` itself is gone, which is the same.
    drop(stopped.wait_for(|&stopped| stopped).await);
}

async fn answer(
    service: Arc<S3Service>,
    request: Request<Incoming>,
) -> Result<HttpResponse, Infallible> {
    let head = request.method() == Method::HEAD;
    let id = format!("{:016X}", rand::random::<u64>());
    let called = match too_long(&request) {
        Some(refusal) => {
            read_on(&mut Body::from(request.into_body())).await;
            refusal.to_http_response().map_err(|error| HttpError::new(Box::new(error)))
        }
        None => service.call(request.map(Body::from)).await,
    };
    let mut response = called.unwrap_or_else(|error| {
        tracing::error!(?error, "a request could not be answered");
        let mut response = HttpResponse::new(Body::empty());
        *response.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR;
        response
    });
    if response.status().is_client_error() || response.status().is_server_error() {
        explain(&mut response, &id, head);
    }
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert("x-amz-request-id", value);
    }
    Ok(response)
}

/// Refuses a document too long to be read, which every POST carries.
fn too_long(request: &Request<Incoming>) -> Option<S3Error> {
    let length = request.headers().get(CONTENT_LENGTH)?.to_str().ok()?.parse::<u64>().ok()?;
    let refused = request.method() == Method::POST && length > MAX_XML_BYTES as u64;
    refused.then(|| S3ErrorCode::MaxMessageLengthExceeded.into())
}

/// Completes an error's document: its sentence, if it has none, and the request's id.
fn explain(response: &mut HttpResponse, id: &str, head: bool) {
    let Some(body) = response.body().bytes() else { return };
    if head {
        *response.body_mut() = Body::empty();
        return;
    }
    let Ok(text) = std::str::from_utf8(&body) else { return };
    let Some((before, after)) = text.split_once("</Code>") else { return };
    let code = before.rsplit_once("<Code>").map_or("", |(_, code)| code);
    let sentence = if after.contains("<Message>") {
        String::new()
    } else {
        format!("<Message>{}</Message>", message(code))
    };
    let text = format!("{before}</Code>{sentence}{after}").replacen(
        "</Error>",
        &format!("<RequestId>{id}</RequestId></Error>"),
        1,
    );
    if response.headers().contains_key(CONTENT_LENGTH) {
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(text.len()));
    }
    *response.body_mut() = Body::from(Bytes::from(text));
}
