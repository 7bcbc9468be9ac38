//! What a WebSocket is told without asking again.

use std::collections::BTreeMap;

use alloy_primitives::U128;
use alloy_rpc_types_eth::{Filter, FilterBlockOption};
use serde::Serialize;
use serde_json::{Value, json};

use super::error::RpcError;
use super::filters::{check, choices};
use super::params::Params;
use super::{Door, ethereum};
use crate::backend::{Event, LogQuery};
use crate::server::Node;

/// The subscriptions of one connection.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions(BTreeMap<U128, Kind>);

#[derive(Debug)]
enum Kind {
    Heads,
    Logs(Box<LogQuery>),
    Pending,
}

/// One notification, as text.
pub(crate) type Notice = String;

impl Subscriptions {
    /// Whether nobody listens.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What to tell of an event.
    pub(crate) fn notices(&self, event: &Event) -> Vec<Notice> {
        let mut notices = Vec::new();
        for (id, kind) in &self.0 {
            match (kind, event) {
                (Kind::Heads, Event::Adopted { block, .. }) => {
                    notices.push(notice(*id, &ethereum::header(block)));
                }
                (Kind::Logs(query), Event::Adopted { logs, .. }) => {
                    let matching = logs.iter().filter(|log| query.matches(&log.log));
                    notices.extend(matching.map(|log| notice(*id, &ethereum::log(log, false))));
                }
                (Kind::Logs(query), Event::Dropped { logs, .. }) => {
                    let matching = logs.iter().rev().filter(|log| query.matches(&log.log));
                    notices.extend(matching.map(|log| notice(*id, &ethereum::log(log, true))));
                }
                (Kind::Pending, Event::Pending(hash)) => notices.push(notice(*id, hash)),
                (Kind::Heads, Event::Dropped { .. } | Event::Pending(_))
                | (Kind::Logs(_), Event::Pending(_))
                | (Kind::Pending, Event::Adopted { .. } | Event::Dropped { .. }) => {}
            }
        }
        notices
    }
}

fn notice(id: U128, result: &impl Serialize) -> Notice {
    json!({
        "jsonrpc": "2.0",
        "method": "eth_subscription",
        "params": { "subscription": id, "result": result },
    })
    .to_string()
}

fn over_websocket<'a>(door: &'a mut Door<'_>) -> Result<&'a mut Subscriptions, RpcError> {
    match door {
        Door::Socket(subscriptions) => Ok(subscriptions),
        Door::Http => {
            Err(RpcError::server("notifications not supported: subscribe over WebSocket"))
        }
    }
}

pub(super) fn subscribe(
    node: &Node,
    mut params: Params,
    door: &mut Door<'_>,
) -> Result<Value, RpcError> {
    let subscriptions = over_websocket(door)?;
    let name: String = params.required("subscription")?;
    let kind = match name.as_str() {
        "newHeads" => Kind::Heads,
        "logs" => {
            let filter: Filter = params.optional("filter")?.unwrap_or_default();
            check(&filter)?;
            if filter.block_option != FilterBlockOption::default() {
                return Err(RpcError::params("a subscription is to what comes: no blocks"));
            }
            Kind::Logs(Box::new(choices(&filter)))
        }
        "newPendingTransactions" => {
            if params.optional("full transactions")?.unwrap_or_default() {
                return Err(RpcError::params("only hashes of pending transactions are told"));
            }
            Kind::Pending
        }
        other => {
            let shown: String = other.chars().take(32).collect();
            return Err(RpcError::params(format!(
                "no \"{shown}\" subscription: newHeads, logs and newPendingTransactions exist"
            )));
        }
    };
    params.end()?;
    if subscriptions.0.len() >= node.config.subscriptions {
        let limit = node.config.subscriptions;
        return Err(RpcError::limit(format!("a connection has at most {limit} subscriptions")));
    }
    let id = U128::from(rand::random::<u128>());
    subscriptions.0.insert(id, kind);
    Ok(json!(id))
}

pub(super) fn unsubscribe(mut params: Params, door: &mut Door<'_>) -> Result<Value, RpcError> {
    let subscriptions = over_websocket(door)?;
    let id: U128 = params.required("subscription id")?;
    params.end()?;
    Ok(json!(subscriptions.0.remove(&id).is_some()))
}
