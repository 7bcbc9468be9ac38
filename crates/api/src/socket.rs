//! JSON-RPC over a WebSocket: one request at a time, answers and notifications in order.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::backend::Event;
use crate::rpc::{self, Door, Subscriptions};
use crate::server::{Node, stop_of};

/// How often a silent client is asked for a sign of life.
const PING: Duration = Duration::from_secs(30);
/// How long a client may be silent.
const SILENCE: Duration = Duration::from_secs(90);

/// Why a connection ends.
enum End {
    /// The client left, or cannot be reached.
    Gone,
    /// We end it, and say why.
    Close(u16, &'static str),
}

/// Talks until one side ends it.
pub(crate) async fn talk(node: Arc<Node>, mut socket: WebSocket) {
    let End::Close(code, reason) = converse(&node, &mut socket).await else { return };
    let frame = CloseFrame { code, reason: reason.into() };
    let _unreachable = timeout(PING, socket.send(Message::Close(Some(frame)))).await;
}

async fn converse(node: &Node, socket: &mut WebSocket) -> End {
    let mut subscriptions = Subscriptions::default();
    let mut events: Option<Receiver<Event>> = None;
    let mut stopping = node.stopping.clone();
    let mut heard = Instant::now();
    let mut ticks = interval(PING);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let end = tokio::select! {
            message = socket.recv() => {
                heard = Instant::now();
                // Subscribed before the answer is made, so that nothing falls between.
                let fresh = node.backend.subscribe();
                let end = hear(node, socket, message, &mut subscriptions).await;
                match (subscriptions.is_empty(), &events) {
                    (true, _) => events = None,
                    (false, None) => events = Some(fresh),
                    (false, Some(_)) => {}
                }
                end
            }
            event = next(&mut events) => tell(node, socket, &subscriptions, event).await,
            _ = ticks.tick() => {
                if heard.elapsed() > SILENCE {
                    return End::Gone;
                }
                send(node, socket, Message::Ping(Vec::new().into())).await
            }
            () = stop_of(&mut stopping) => {
                return End::Close(close_code::AWAY, "the node stops");
            }
        };
        if let Err(end) = end {
            return end;
        }
    }
}

async fn next(events: &mut Option<Receiver<Event>>) -> Result<Event, RecvError> {
    match events {
        Some(events) => events.recv().await,
        None => std::future::pending().await,
    }
}

async fn hear(
    node: &Node,
    socket: &mut WebSocket,
    message: Option<Result<Message, axum::Error>>,
    subscriptions: &mut Subscriptions,
) -> Result<(), End> {
    let body = match message {
        Some(Ok(Message::Text(text))) => text.into(),
        Some(Ok(Message::Binary(bytes))) => bytes,
        Some(Ok(Message::Ping(_) | Message::Pong(_))) => return Ok(()),
        Some(Ok(Message::Close(_))) | None => return Err(End::Gone),
        Some(Err(_)) => {
            let reason = "not a WebSocket message, or longer than this node takes";
            return Err(End::Close(close_code::SIZE, reason));
        }
    };
    let mut door = Door::Socket(subscriptions);
    let limit = node.config.request_timeout;
    let answer = match timeout(limit, rpc::answer(node, &body, &mut door)).await {
        Ok(Some(answer)) => answer,
        Ok(None) => return Ok(()),
        Err(_) => rpc::timed_out(),
    };
    let text = String::from_utf8_lossy(&answer).into_owned();
    send(node, socket, Message::Text(text.into())).await
}

async fn tell(
    node: &Node,
    socket: &mut WebSocket,
    subscriptions: &Subscriptions,
    event: Result<Event, RecvError>,
) -> Result<(), End> {
    let event = match event {
        Ok(event) => event,
        // To leave something out in silence would be worse.
        Err(RecvError::Lagged(_)) => {
            let reason = "too slow: notifications were missed, subscribe again";
            return Err(End::Close(close_code::AGAIN, reason));
        }
        Err(RecvError::Closed) => return Err(End::Close(close_code::AWAY, "the node stops")),
    };
    for notice in subscriptions.notices(&event) {
        send(node, socket, Message::Text(notice.into())).await?;
    }
    Ok(())
}

/// A client that does not read is let go.
async fn send(node: &Node, socket: &mut WebSocket, message: Message) -> Result<(), End> {
    match timeout(node.config.request_timeout, socket.send(message)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(End::Gone),
    }
}
