//! `pouw chain`: looking into the chain.

use core::time::Duration;

use alloy_primitives::{Address, B256};
use anyhow::Context;
use pouw_types::Amount;
use serde::Serialize;
use serde_json::{Value, json};

use super::lanes;
use crate::cli::ChainCommand;
use crate::client::node::Node;
use crate::exit::WrongInput;
use crate::session::Session;

const NODE_TIMEOUT: Duration = Duration::from_secs(10);

/// Does what was asked.
///
/// # Errors
/// With what failed and what would mend it.
pub(crate) async fn run(session: &Session, command: ChainCommand) -> anyhow::Result<()> {
    match command {
        ChainCommand::Status => status(session).await,
        ChainCommand::Peers => peers(session).await,
        ChainCommand::Blocks { lane, limit, below } => {
            lanes::blocks(session, lane, limit, below).await
        }
        ChainCommand::Lanes { window } => lanes::lanes(session, window).await,
        ChainCommand::Machine { machine } => lanes::machine(session, machine).await,
        ChainCommand::Share { epochs } => lanes::share(session, epochs).await,
        ChainCommand::Block { block } => {
            let rpc = session.rpc()?;
            let (method, id) = block_query(&block)?;
            show(session, &rpc.call(method, json!([id, false])).await?, "block", &block)
        }
        ChainCommand::Tx { hash } => transaction(session, hash).await,
        ChainCommand::Account { address } => account(session, address).await,
    }
}

/// Height, id or tag as the JSON-RPC takes them.
fn block_query(text: &str) -> Result<(&'static str, String), WrongInput> {
    if let Ok(height) = text.parse::<u64>() {
        return Ok(("eth_getBlockByNumber", format!("{height:#x}")));
    }
    if text.parse::<B256>().is_ok() {
        return Ok(("eth_getBlockByHash", text.to_owned()));
    }
    if matches!(text, "latest" | "earliest" | "pending") {
        return Ok(("eth_getBlockByNumber", text.to_owned()));
    }
    Err(WrongInput(format!(
        "`{text}` is no block: a height, an id (0x and 64 hex digits) or latest"
    )))
}

/// Shows an object of the chain, field by field.
fn show(session: &Session, value: &Value, what: &str, name: &str) -> anyhow::Result<()> {
    let fields = value.as_object().with_context(|| format!("no {what} {name}"))?;
    session.output.data(value, || {
        let width = fields.keys().map(String::len).max().unwrap_or(0);
        let line = |(key, value): (&String, &Value)| match value {
            Value::String(text) => format!("{key:<width$}  {}", readable(text)),
            other => format!("{key:<width$}  {other}"),
        };
        fields.iter().map(line).collect::<Vec<_>>().join("\n")
    });
    Ok(())
}

/// A quantity in hex with its decimal value beside it.
fn readable(text: &str) -> String {
    let number = text.strip_prefix("0x").filter(|digits| digits.len() <= 16);
    match number.and_then(|digits| u64::from_str_radix(digits, 16).ok()) {
        Some(number) => format!("{number}"),
        None => text.to_owned(),
    }
}

async fn transaction(session: &Session, hash: B256) -> anyhow::Result<()> {
    let rpc = session.rpc()?;
    let transaction: Value = rpc.call("eth_getTransactionByHash", json!([hash])).await?;
    let receipt: Value = rpc.call("eth_getTransactionReceipt", json!([hash])).await?;
    let mut merged =
        transaction.as_object().with_context(|| format!("no transaction {hash}"))?.clone();
    for (key, value) in receipt.as_object().into_iter().flatten() {
        merged.insert(key.clone(), value.clone());
    }
    show(session, &Value::Object(merged), "transaction", &hash.to_string())
}

/// The head, the pace, and where all the money is (I-1).
async fn status(session: &Session) -> anyhow::Result<()> {
    let rpc = session.rpc()?;
    let status = Node::new(rpc.url(), NODE_TIMEOUT).status().await?;
    session.output.data(&status, || status_text(&status));
    Ok(())
}

/// Who the node is connected with.
async fn peers(session: &Session) -> anyhow::Result<()> {
    let rpc = session.rpc()?;
    let peers = Node::new(rpc.url(), NODE_TIMEOUT).peers().await?;
    session.output.data(&peers, || peers_text(&peers));
    Ok(())
}

fn peers_text(answer: &Value) -> String {
    let Some(contact) = answer["contact"].as_str() else {
        return "this node talks to no peer".to_owned();
    };
    let peers = answer["peers"].as_array().map_or(&[][..], Vec::as_slice);
    let mut out = format!("contact   {contact}\npeers     {}", peers.len());
    for peer in peers {
        let text = |name: &str| peer[name].as_str().unwrap_or("relay").to_owned();
        let way = if peer["called"] == true { "called" } else { "caller" };
        out += &format!(
            "\n  {:.16}  {way}  {:<21}  height {:>8}  points {:>3}",
            text("peer"),
            text("address"),
            peer["height"],
            peer["points"],
        );
    }
    out
}

fn status_text(status: &Value) -> String {
    let at = |path: &str| match status.pointer(path) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => "?".to_owned(),
        Some(other) => other.to_string(),
    };
    let spacing = status.pointer("/spacing_ms").and_then(Value::as_u64);
    let spacing =
        spacing.map_or("?".to_owned(), |ms| format!("{}.{} s", ms / 1000, ms % 1000 / 100));
    let mut out = format!(
        "network   {} (chain id {})\nhead      {}  {}\nspacing   {spacing}\nwaiting   {} transactions\n",
        at("/network"),
        at("/chain_id"),
        at("/head/height"),
        at("/head/hash"),
        at("/mempool"),
    );
    if let Some(lanes) = status.get("lanes").filter(|lanes| lanes.is_object()) {
        out += &format!("\n{}\n\n", lanes::lanes_text(lanes));
    }
    if let Some(mining) = lanes::mining_text(status) {
        out += &format!("{mining}\n");
    }
    let Some(supply) = status.get("supply").and_then(Value::as_object) else { return out };
    let amount = |name: &str| {
        let text = supply.get(name).and_then(Value::as_str);
        text.and_then(|text| text.parse::<Amount>().ok()).unwrap_or_default()
    };
    let left = amount("genesis").checked_add(amount("subsidies"));
    let left = left.and_then(|sum| sum.checked_sub(amount("burned"))).unwrap_or_default();
    out += "supply, FLUX\n";
    for (sign, name) in [(" ", "genesis"), ("+", "subsidies"), ("−", "burned")] {
        out += &format!("  {sign} {name:<12} {:>32}\n", amount(name));
    }
    out += &format!("  = {:<12} {left:>32}\n", "supply");
    let parts: Vec<(&String, Amount)> = supply
        .iter()
        .filter(|(_, part)| part.is_string())
        .filter(|(name, _)| !["genesis", "subsidies", "burned", "total"].contains(&name.as_str()))
        .map(|(name, _)| (name, amount(name)))
        .collect();
    for (index, (name, part)) in parts.iter().enumerate() {
        let sign = if index == 0 { " " } else { "+" };
        out += &format!("  {sign} {name:<12} {part:>32}\n");
    }
    let sum = parts.iter().map(|(_, part)| *part).try_fold(Amount::ZERO, Amount::checked_add);
    let verdict = if sum == Ok(left) { "every atto is accounted for" } else { "DIFFERS" };
    out + &format!("  = {:<12} {:>32}  {verdict}\n", "sum", sum.unwrap_or_default())
}

#[derive(Serialize)]
struct AccountView {
    address: Address,
    balance: Amount,
    next_nonce: u64,
}

async fn account(session: &Session, address: Address) -> anyhow::Result<()> {
    let rpc = session.rpc()?;
    let view = AccountView {
        address,
        balance: rpc.balance(address).await?,
        next_nonce: rpc.next_nonce(address).await?,
    };
    session.output.data(&view, || {
        format!(
            "address     {address}\nbalance     {} FLUX\nnext nonce  {}",
            view.balance, view.next_nonce
        )
    });
    Ok(())
}
