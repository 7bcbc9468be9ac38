//! Answers the door.

use std::convert::Infallible;
use std::sync::Arc;

use alloy_primitives::Address;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use futures::Stream;
use pouw_data::Slots;
use pouw_types::contracts::Stop;
use pouw_types::signing::Signed;
use pouw_types::{Amount, Offer, RentalId, SpecHash};
use serde::de::DeserializeOwned;

use crate::agent::Shared;
use crate::door::{
    ErrorBody, Event, Health, MAX_BODY_BYTES, MAX_SKEW_S, QuoteReply, QuoteRequest, RentalStatus,
    Resume, SIGNATURE_HEADER, StopRequest, TIME_HEADER, TaskRequest, message, signed_by,
};
use crate::journal::RESULTS;
use crate::quote::{self, QuoteError, Terms, price_task};
use crate::receipt;
use crate::rental::Rental;
use crate::step::{End, Step};

mod ports;

/// Most bytes of a log that is sent at once.
const MAX_LOG_BYTES: u64 = 128 << 20;
/// Events sent in one go.
const BATCH: usize = 100;

/// A refusal.
#[derive(Debug)]
struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: String,
    hint: &'static str,
}

impl Refusal {
    #[expect(clippy::needless_pass_by_value, reason = "texts and errors alike")]
    fn new(
        status: StatusCode,
        code: &'static str,
        message: impl ToString,
        hint: &'static str,
    ) -> Self {
        Self { status, code, message: message.to_string(), hint }
    }

    fn internal(message: impl ToString) -> Self {
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        Self::new(status, "internal", message, "the host's operator finds more in the agent's log")
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = ErrorBody {
            code: self.code.to_owned(),
            message: self.message,
            hint: self.hint.to_owned(),
        };
        (self.status, Json(body)).into_response()
    }
}

type Reply<T> = Result<T, Refusal>;
type Door = State<Arc<Shared>>;

/// Answers until the agent ends.
pub(crate) async fn serve(shared: &Arc<Shared>, listener: tokio::net::TcpListener) {
    let router = Router::new()
        .route("/v1/health", get(health))
        .route("/v1/offer", get(offer))
        .route("/v1/quotes", post(quotes))
        .route("/v1/rentals/{id}", get(status))
        .route("/v1/rentals/{id}/task", put(put_task))
        .route("/v1/rentals/{id}/slots", put(put_slots))
        .route("/v1/rentals/{id}/events", get(events))
        .route("/v1/rentals/{id}/log", get(log))
        .route("/v1/rentals/{id}/manifest", get(manifest))
        .route("/v1/rentals/{id}/results/{index}", get(result))
        .route("/v1/rentals/{id}/stop", post(stop))
        .route("/v1/rentals/{id}/ports/{port}/{protocol}", get(ports::open))
        .fallback(nothing)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(Arc::clone(shared));
    if let Err(error) = axum::serve(listener, router).await {
        tracing::error!(%error, "the door is closed");
    }
}

async fn nothing(uri: Uri) -> Refusal {
    let text = format!("there is nothing at {}", uri.path());
    Refusal::new(StatusCode::NOT_FOUND, "not-found", text, "the agent's door answers under /v1")
}

async fn health(State(shared): Door) -> Json<Health> {
    Json(shared.health())
}

async fn offer(State(shared): Door) -> Json<Offer> {
    Json(shared.offer())
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Reply<T> {
    serde_json::from_slice(body).map_err(|error| {
        // The message of serde may repeat what was sent, and that may be a secret.
        let place = format!("line {}, column {}", error.line(), error.column());
        let text = match error.classify() {
            serde_json::error::Category::Data => format!("the body holds a wrong value at {place}"),
            _ => format!("the body is no JSON at {place}"),
        };
        let hint = "send what this version of pouw sends; `pouw plan` checks a task";
        Refusal::new(StatusCode::BAD_REQUEST, "malformed", text, hint)
    })
}

async fn quotes(State(shared): Door, body: Bytes) -> Reply<Json<QuoteReply>> {
    let request: QuoteRequest = read(&body)?;
    let context = &shared.context;
    let snapshot = shared.snapshot();
    let machine = snapshot.machine.ok_or_else(|| {
        let hint = "try again in a few seconds";
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "no-chain", "the chain is not seen", hint)
    })?;
    let offer = shared.offer();
    let terms = Terms {
        offer: &offer,
        bond: shared.config.bond,
        tuning: &context.rules.tuning,
        rules: &context.rules.rental,
        free_units: machine.units.saturating_sub(machine.openUnits),
        free_bond: Amount::from_atto(machine.bond.saturating_sub(machine.lockedBond)),
    };
    let (now, nonce) = (context.clock.unix_s(), rand::random());
    let QuoteRequest { task, client, units, continues } = request;
    let quote = price_task(&terms, &task, client, units, continues, now, nonce)
        .map_err(|error| quote_refusal(&error))?;
    let max_price = quote::max_price(&quote);
    let reply = QuoteReply {
        max_price,
        max_fees: receipt::fees(&context.rules.rental, max_price),
        min_deposit: quote::min_deposit(&context.rules.rental, &quote),
        quote: context.machine.sign(quote).map_err(Refusal::internal)?,
        rental: RentalId::default(),
    };
    let rental = reply.quote.rental(context.machine.chain_id());
    Ok(Json(QuoteReply { rental, ..reply }))
}

fn quote_refusal(error: &QuoteError) -> Refusal {
    let (code, hint) = match error {
        QuoteError::ImageNotFixed(_) => ("image-not-fixed", "resolve the name to a digest first"),
        QuoteError::TooLarge { .. } => ("too-large", "take more units or ask for less"),
        QuoteError::NotOffered(_) => ("not-offered", "take another machine"),
        QuoteError::Busy { .. } => ("busy", "take another machine or try later"),
        QuoteError::BondBound { .. } => ("bond-bound", "take another machine or try later"),
        QuoteError::TooDear { .. } => ("too-dear", "raise the limit or shorten the task"),
        QuoteError::TooLong { .. } => ("too-long", "shorten limits.time or take another machine"),
        QuoteError::Overflow => ("overflow", "shorten limits.time or take fewer units"),
    };
    Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, code, error, hint)
}

/// The rental, if its client signed the request.
fn admit(
    shared: &Shared,
    id: &str,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    body: &[u8],
) -> Reply<Arc<Rental>> {
    let unknown = || {
        let hint = "the agent sees an opening one block after it; ask again";
        Refusal::new(StatusCode::NOT_FOUND, "unknown-rental", "no such rental here", hint)
    };
    let id: RentalId = id.parse().map_err(|_| unknown())?;
    let denied = |text: &str| {
        let hint = "sign the request with the key of the rental's client";
        Refusal::new(StatusCode::UNAUTHORIZED, "not-the-client", text, hint)
    };
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let time_s: u64 = header(TIME_HEADER)
        .and_then(|time| time.parse().ok())
        .ok_or_else(|| denied("the request has no time"))?;
    let signature = header(SIGNATURE_HEADER).ok_or_else(|| denied("the request isn't signed"))?;
    if shared.context.clock.unix_s().abs_diff(time_s) > MAX_SKEW_S {
        return Err(denied("the request was signed at another time; check the clock"));
    }
    let signed = message(method.as_str(), uri.path(), id, body, time_s);
    let who = signed_by(&signed, signature).map_err(|_| denied("the signature is none"))?;
    let rental = shared.rental(id).ok_or_else(unknown)?;
    let client: Address = rental.record().quote.client;
    if who == client { Ok(rental) } else { Err(denied("somebody else signed the request")) }
}

async fn status(
    State(shared): Door,
    Path(id): Path<String>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Reply<Json<RentalStatus>> {
    let rental = admit(&shared, &id, &method, &uri, &headers, &[])?;
    Ok(Json(shared.status(&rental)))
}

async fn put_task(
    State(shared): Door,
    Path(id): Path<String>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Reply<Json<RentalStatus>> {
    let rental = admit(&shared, &id, &method, &uri, &headers, &body)?;
    let request: TaskRequest = read(&body)?;
    let record = rental.record();
    check_task(&request, SpecHash::new(record.quote.specHash))?;
    if record.has_task {
        // The same again changes nothing, another is none of this rental's: the hash is the same.
        return Ok(Json(shared.status(&rental)));
    }
    if record.end.is_some() || record.step > Step::Provision {
        let text = format!("the rental is in step {}", record.step);
        let hint = "open another rental";
        return Err(Refusal::new(StatusCode::CONFLICT, "too-late", text, hint));
    }
    accept(&shared, &rental, &request).map_err(Refusal::internal)?;
    Ok(Json(shared.status(&rental)))
}

async fn put_slots(
    State(shared): Door,
    Path(id): Path<String>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Reply<Json<RentalStatus>> {
    let rental = admit(&shared, &id, &method, &uri, &headers, &body)?;
    let fresh: Slots = read(&body)?;
    let journal = &shared.context.journal;
    let record = rental.record();
    if !record.has_task || record.uploaded {
        let text = "nothing is to be brought out any more, or no task came yet";
        let hint = "`pouw cp` gets what is there";
        return Err(Refusal::new(StatusCode::CONFLICT, "too-late", text, hint));
    }
    let mut request = journal.load_task(rental.id).map_err(Refusal::internal)?;
    request.slots = request.slots.renewed(fresh).map_err(|error| {
        let hint = "presign the slots of the same task";
        Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "bad-slots", error, hint)
    })?;
    journal.store_task(rental.id, &request).map_err(Refusal::internal)?;
    let until_s = request.slots.expires_at_s;
    rental
        .update(&shared.context, |record| record.slots_until_s = Some(until_s))
        .map_err(Refusal::internal)?;
    rental.wake();
    Ok(Json(shared.status(&rental)))
}

/// Writes a checked task down and lets its rental go on.
pub(crate) fn accept(
    shared: &Shared,
    rental: &Rental,
    request: &TaskRequest,
) -> Result<(), String> {
    let context = &shared.context;
    context.journal.store_task(rental.id, request).map_err(|error| error.to_string())?;
    let parts_total = request.task.parts.as_ref().map(|parts| u64::from(parts.count));
    let (now_s, until_s) = (context.clock.unix_s(), request.slots.expires_at_s);
    let interval_s = request.task.checkpoint.as_ref().map_or(0, |saved| saved.interval_s);
    rental.update(context, |record| {
        record.has_task = true;
        record.task_at_s.get_or_insert(now_s);
        record.slots_until_s = Some(until_s);
        record.parts_total = parts_total;
        record.saves.interval_s = interval_s;
        record.egress = request.task.network == pouw_spec::Network::Egress;
        record.ports.clone_from(&request.task.ports);
    })?;
    rental.wake();
    Ok(())
}

fn check_task(request: &TaskRequest, expected: SpecHash) -> Reply<()> {
    let bad = |code, message: String, hint| {
        Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, code, message, hint))
    };
    let got = request.task.hash();
    if got != expected {
        let text = format!("the task's hash is {got}, the quote is for {expected}");
        return bad("other-task", text, "send the task that was quoted");
    }
    if let Err(error) = request.slots.check() {
        return bad("bad-slots", error.to_string(), "presign the slots again");
    }
    for input in &request.task.inputs {
        if request.slots_of(input).is_empty() {
            let text = format!("input {} has no slot", input.to);
            let hint = "presign one slot an input, or one for each object of a prefix";
            return bad("missing-slot", text, hint);
        }
    }
    let parts = request.task.parts.as_ref().map_or(0, |parts| parts.count);
    if request.slots.parts.len() < usize::try_from(parts).unwrap_or(usize::MAX) {
        let text = format!("{} slots for {parts} parts", request.slots.parts.len());
        return bad("missing-slot", text, "presign one slot a part");
    }
    if request.task.checkpoint.is_some() != request.slots.checkpoint.is_some() {
        let text = "slots and task differ in whether a checkpoint is saved".to_owned();
        return bad("missing-slot", text, "presign the checkpoint's slots");
    }
    if matches!(request.resume, Some(Resume::Checkpoint(_))) && request.task.checkpoint.is_none() {
        let text = "the task declares no checkpoint to go on from".to_owned();
        return bad("no-checkpoint", text, "start it anew");
    }
    let names: std::collections::BTreeSet<_> = request.secrets.keys().collect();
    let wanted: std::collections::BTreeSet<_> = request.task.secrets.iter().collect();
    if names != wanted {
        let text = format!("{} secrets came, the task names {}", names.len(), wanted.len());
        return bad("other-secrets", text, "send exactly the secrets that the task names");
    }
    Ok(())
}

async fn stop(
    State(shared): Door,
    Path(id): Path<String>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Reply<Json<RentalStatus>> {
    let rental = admit(&shared, &id, &method, &uri, &headers, &body)?;
    let request: StopRequest = read(&body)?;
    order_stop(&shared, &rental, request.order).map_err(Refusal::internal)?;
    Ok(Json(shared.status(&rental)))
}

/// Takes the client's order to end a rental.
pub(crate) fn order_stop(
    shared: &Shared,
    rental: &Rental,
    order: Option<Signed<Stop>>,
) -> Result<(), String> {
    let keep_s = order.as_ref().map_or(0, |order| order.value.keepS);
    rental.update(&shared.context, |record| {
        record.end.get_or_insert(End::ClientStop);
        // a later order only shortens what is kept: what is gone does not come back.
        let is_first = record.stop_order.is_none() && record.step <= Step::Upload;
        record.keep_s = if is_first { keep_s } else { record.keep_s.min(keep_s) };
        if record.stop_order.is_none() {
            record.stop_order = order;
        }
    })?;
    rental.wake();
    Ok(())
}

async fn log(
    State(shared): Door,
    Path(id): Path<String>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Reply<Response> {
    let rental = admit(&shared, &id, &method, &uri, &headers, &[])?;
    let text = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
    let Ok(file) = tokio::fs::File::open(rental.log.path()).await else {
        return Ok((text, Bytes::new()).into_response());
    };
    use tokio::io::AsyncReadExt;
    let stream = tokio_util::io::ReaderStream::new(file.take(MAX_LOG_BYTES));
    Ok((text, axum::body::Body::from_stream(stream)).into_response())
}

async fn result(
    State(shared): Door,
    Path((id, index)): Path<(String, usize)>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Reply<Response> {
    let rental = admit(&shared, &id, &method, &uri, &headers, &[])?;
    let missing = || {
        let hint = "results that are in the store are not here";
        Refusal::new(StatusCode::NOT_FOUND, "no-result", "no such result stays here", hint)
    };
    let name = rental.record().left.get(index).cloned().ok_or_else(missing)?;
    let path = shared.context.journal.folder(rental.id).join(RESULTS).join(name);
    let file = tokio::fs::File::open(path).await.map_err(|_| missing())?;
    let stream = tokio_util::io::ReaderStream::new(file);
    Ok(axum::body::Body::from_stream(stream).into_response())
}

async fn manifest(
    State(shared): Door,
    Path(id): Path<String>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Reply<Response> {
    let rental = admit(&shared, &id, &method, &uri, &headers, &[])?;
    let json = shared.context.journal.read(rental.id, "manifest.json").map_err(|_| {
        let hint = "it is written when the task has ended";
        Refusal::new(StatusCode::NOT_FOUND, "no-manifest", "there is no manifest yet", hint)
    })?;
    Ok(([(header::CONTENT_TYPE, "application/json")], json).into_response())
}

async fn events(
    State(shared): Door,
    Path(id): Path<String>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Reply<Sse<impl Stream<Item = Result<sse::Event, Infallible>>>> {
    let rental = admit(&shared, &id, &method, &uri, &headers, &[])?;
    let after = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let after = after.and_then(|id| id.parse().ok()).unwrap_or(0);
    let follow = rental.events.follow();
    let start = (rental, follow, after, Vec::new().into_iter());
    let stream =
        futures::stream::unfold(start, |(rental, mut follow, mut after, mut ready)| async move {
            loop {
                if let Some(event) = ready.next() {
                    let event: Event = event;
                    after = event.id;
                    let shown = shown(&event);
                    return Some((Ok(shown), (rental, follow, after, ready)));
                }
                follow.mark_unchanged();
                ready = rental.events.after(after, BATCH).into_iter();
                if ready.len() == 0 {
                    if rental.record().step == Step::Done {
                        return None;
                    }
                    follow.changed().await.ok()?;
                }
            }
        });
    Ok(Sse::new(stream).keep_alive(KeepAlive::default()))
}

fn shown(event: &Event) -> sse::Event {
    let json = serde_json::to_string(event).unwrap_or_default();
    sse::Event::default().id(event.id.to_string()).data(json)
}
