//! `pouw chain`: looking into the chain.

use alloy_primitives::{Address, B256};
use anyhow::Context;
use pouw_types::Amount;
use serde::Serialize;
use serde_json::{Value, json};

use crate::cli::ChainCommand;
use crate::exit::WrongInput;
use crate::session::Session;

/// Does what was asked.
///
/// # Errors
/// With what failed and what would mend it.
pub(crate) async fn run(session: &Session, command: ChainCommand) -> anyhow::Result<()> {
    match command {
        ChainCommand::Status => anyhow::bail!("not built yet"),
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
