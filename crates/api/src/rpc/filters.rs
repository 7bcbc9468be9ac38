//! Logs, and the filters that web3.py polls: bounded in number, dropped when nobody asks.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use alloy_eips::{BlockId, BlockNumberOrTag};
use alloy_primitives::{B256, U128};
use alloy_rpc_types_eth::{Filter, FilterBlockOption};
use serde_json::{Value, json};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::TryRecvError;

use super::chain::{resolve, to_json};
use super::error::RpcError;
use super::ethereum;
use super::params::Params;
use crate::backend::{BlockRef, Event, LogQuery, LogView};
use crate::server::Node;

/// Most addresses of a filter, and most topics at one position.
const CHOICES: usize = 1_000;
/// Blocks that a filter remembers having told of, to see a reorg.
const REMEMBERED: usize = 64;

/// The filters of all clients.
#[derive(Debug, Default)]
pub(crate) struct Filters(Mutex<BTreeMap<U128, Entry>>);

#[derive(Debug)]
struct Entry {
    polled: Instant,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Blocks(Seen),
    Logs(Seen, Box<Filter>),
    Pending(Receiver<Event>),
}

/// The newest blocks that a filter told of, oldest first.
type Seen = VecDeque<(u64, B256)>;

impl Filters {
    fn insert(&self, node: &Node, kind: Kind) -> Result<Value, RpcError> {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.retain(|_, entry| entry.polled.elapsed() < node.config.filter_ttl);
        if entries.len() >= node.config.filters {
            let limit = node.config.filters;
            return Err(RpcError::limit(format!(
                "this node holds {limit} filters, which is its limit: use eth_getLogs, or \
                 eth_subscribe over WebSocket"
            )));
        }
        let id = U128::from(rand::random::<u128>());
        entries.insert(id, Entry { polled: Instant::now(), kind });
        Ok(json!(id))
    }

    /// Takes a filter out; who polls puts it back, so that no lock is held while the chain answers.
    fn take(&self, node: &Node, id: U128) -> Result<Kind, RpcError> {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match entries.remove(&id) {
            Some(entry) if entry.polled.elapsed() < node.config.filter_ttl => Ok(entry.kind),
            Some(_) | None => Err(RpcError::server("filter not found")),
        }
    }

    fn put_back(&self, id: U128, kind: Kind) {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.insert(id, Entry { polled: Instant::now(), kind });
    }
}

pub(super) async fn call(node: &Node, method: &str, mut params: Params) -> Result<Value, RpcError> {
    match method {
        "eth_getLogs" => {
            let filter: Filter = params.required("filter")?;
            params.end()?;
            to_json(logs(node, &filter).await?)
        }
        "eth_newFilter" => {
            let filter: Filter = params.required("filter")?;
            params.end()?;
            check(&filter)?;
            let seen = seen_now(node).await?;
            node.filters.insert(node, Kind::Logs(seen, Box::new(filter)))
        }
        "eth_newBlockFilter" => {
            params.end()?;
            let seen = seen_now(node).await?;
            node.filters.insert(node, Kind::Blocks(seen))
        }
        "eth_newPendingTransactionFilter" => {
            let full: bool = params.optional("full transactions")?.unwrap_or_default();
            params.end()?;
            if full {
                return Err(RpcError::params("only hashes of pending transactions are told"));
            }
            node.filters.insert(node, Kind::Pending(node.backend.subscribe()))
        }
        _ => {
            let id: U128 = params.required("filter id")?;
            params.end()?;
            by_id(node, method, id).await
        }
    }
}

async fn by_id(node: &Node, method: &str, id: U128) -> Result<Value, RpcError> {
    if method == "eth_uninstallFilter" {
        return Ok(json!(node.filters.take(node, id).is_ok()));
    }
    let mut kind = node.filters.take(node, id)?;
    let answer = match (&mut kind, method) {
        (Kind::Logs(_, filter), "eth_getFilterLogs") => logs(node, filter).await.and_then(to_json),
        (_, "eth_getFilterLogs") => Err(RpcError::server("filter not found: not one of logs")),
        (Kind::Blocks(seen), _) => fresh(node, seen)
            .await
            .map(|blocks| json!(blocks.into_iter().map(|(_, hash)| hash).collect::<Vec<_>>())),
        (Kind::Logs(seen, filter), _) => new_logs(node, seen, filter).await,
        (Kind::Pending(events), _) => Ok(json!(drain(events))),
    };
    node.filters.put_back(id, kind);
    answer
}

fn drain(events: &mut Receiver<Event>) -> Vec<B256> {
    let mut hashes = Vec::new();
    loop {
        match events.try_recv() {
            Ok(Event::Pending(hash)) => hashes.push(hash),
            // Who polls too rarely misses some; the queue has a bound.
            Ok(Event::Adopted { .. } | Event::Dropped { .. }) | Err(TryRecvError::Lagged(_)) => {}
            Err(TryRecvError::Empty | TryRecvError::Closed) => return hashes,
        }
    }
}

async fn seen_now(node: &Node) -> Result<Seen, RpcError> {
    let head = node.backend.head().await?;
    Ok(Seen::from([(head.height, head.hash)]))
}

/// The blocks since the last poll, oldest first; those that a reorg replaced are told of again.
async fn fresh(node: &Node, seen: &mut Seen) -> Result<Vec<(u64, B256)>, RpcError> {
    let head = node.backend.head().await?;
    while let Some((height, hash)) = seen.back().copied() {
        let now = node.backend.block(BlockRef::Height(height)).await?;
        if now.is_some_and(|block| block.hash == hash) {
            break;
        }
        seen.pop_back();
    }
    let first = seen.back().map_or(head.height, |(height, _)| height.saturating_add(1));
    // Who slept through more than a query may span gets the newest.
    let first = first.max(head.height.saturating_sub(node.config.log_blocks.saturating_sub(1)));
    let mut blocks = Vec::new();
    for height in first..=head.height {
        let Some(block) = node.backend.block(BlockRef::Height(height)).await? else { break };
        blocks.push((height, block.hash));
    }
    seen.extend(blocks.iter().copied());
    seen.drain(..seen.len().saturating_sub(REMEMBERED));
    Ok(blocks)
}

async fn new_logs(node: &Node, seen: &mut Seen, filter: &Filter) -> Result<Value, RpcError> {
    let mut next = seen.clone();
    let blocks = fresh(node, &mut next).await?;
    let (Some((from, _)), Some((to, _))) = (blocks.first().copied(), blocks.last().copied()) else {
        return Ok(json!([]));
    };
    let query = LogQuery { from, to, ..choices(filter) };
    let found = node.backend.logs(query, node.config.logs).await?;
    // Only now: a poll that failed can be asked again.
    *seen = next;
    to_json(found.iter().map(|log| ethereum::log(log, false)).collect::<Vec<_>>())
}

/// Refuses a filter that is too long to hold or to search for.
pub(super) fn check(filter: &Filter) -> Result<(), RpcError> {
    let longest = filter.topics.iter().map(|topic| topic.len()).max().unwrap_or_default();
    if longest.max(filter.address.len()) > CHOICES {
        return Err(RpcError::limit(format!("a filter names at most {CHOICES} of a kind")));
    }
    Ok(())
}

/// Addresses and topics of a filter.
pub(super) fn choices(filter: &Filter) -> LogQuery {
    let topics = filter.topics.each_ref().map(|topic| topic.iter().copied().collect());
    LogQuery { addresses: filter.address.iter().copied().collect(), topics, ..LogQuery::default() }
}

async fn logs(node: &Node, filter: &Filter) -> Result<Vec<alloy_rpc_types_eth::Log>, RpcError> {
    check(filter)?;
    let found = match filter.block_option {
        FilterBlockOption::AtBlockHash(hash) => logs_of_block(node, hash, filter).await?,
        FilterBlockOption::Range { from_block, to_block } => {
            logs_of_range(node, from_block, to_block, filter).await?
        }
    };
    Ok(found.iter().map(|log| ethereum::log(log, false)).collect())
}

async fn logs_of_range(
    node: &Node,
    from: Option<BlockNumberOrTag>,
    to: Option<BlockNumberOrTag>,
    filter: &Filter,
) -> Result<Vec<LogView>, RpcError> {
    let head = node.backend.head().await?;
    let height = |tag: Option<BlockNumberOrTag>| async move {
        let at = resolve(node, BlockId::Number(tag.unwrap_or_default())).await?;
        Ok::<u64, RpcError>(match at {
            BlockRef::Height(height) => height,
            BlockRef::Latest | BlockRef::Hash(_) => head.height,
        })
    };
    let (from, to) = (height(from).await?, height(to).await?);
    if from > to {
        return Err(RpcError::params(format!("invalid block range: from {from} to {to}")));
    }
    let to = to.min(head.height);
    if from > to {
        return Ok(Vec::new());
    }
    let limit = node.config.log_blocks;
    if to.saturating_sub(from) >= limit {
        let message =
            format!("block range {from} to {to} is too wide: at most {limit} blocks in a query");
        return Err(RpcError::limit(message));
    }
    let query = LogQuery { from, to, ..choices(filter) };
    Ok(node.backend.logs(query, node.config.logs).await?)
}

async fn logs_of_block(node: &Node, hash: B256, filter: &Filter) -> Result<Vec<LogView>, RpcError> {
    let Some(receipts) = node.backend.receipts(BlockRef::Hash(hash)).await? else {
        return Err(RpcError::server("unknown block"));
    };
    let query = choices(filter);
    let mut found = Vec::new();
    for receipt in receipts {
        let Some(place) = receipt.tx.place else { continue };
        for (index, log) in (receipt.first_log_index..).zip(receipt.logs) {
            if query.matches(&log) {
                found.push(LogView { log, place, tx: receipt.tx.hash, index });
            }
        }
    }
    if found.len() > node.config.logs {
        return Err(crate::backend::BackendError::TooManyLogs(node.config.logs).into());
    }
    Ok(found)
}
