//! Status, blocks, transactions, accounts.

use std::sync::Arc;

use alloy_consensus::{Transaction as _, TxEnvelope, Typed2718 as _};
use alloy_eips::eip2718::Decodable2718 as _;
use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_sol_types::SolCall as _;
use axum::Json;
use axum::extract::State;
use http::StatusCode;
use pouw_types::Amount;
use pouw_types::contracts::{HOSTS, IRentals, RENTALS};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use super::{Piece, Problem, parse};
use crate::backend::{BlockRef, BlockView, CallRequest, PeerView};
use crate::lanes::{LanesView, MiningView};
use crate::server::Node;

/// Blocks over which the measured spacing is an average.
const SPACING_BLOCKS: u64 = 100;

/// What a node says of itself.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Status {
    /// `mainnet`, `testnet` or `devnet`.
    network: &'static str,
    chain_id: u64,
    /// What the money is called.
    symbol: &'static str,
    /// Name and version of the program.
    client: String,
    head: Head,
    /// Aimed time between blocks.
    block_ms: u64,
    /// Average time between the last blocks, up to 100; null right after genesis.
    spacing_ms: Option<u64>,
    /// Transactions that wait.
    mempool: u64,
    /// The lanes over the last 100 blocks; null if they cannot be told.
    lanes: Option<LanesView>,
    /// What this node's miner does; null where it has none.
    mining: Option<MiningView>,
    /// Null if the contracts cannot be asked.
    supply: Option<Supply>,
    contracts: Contracts,
}

/// The best block.
#[derive(Debug, Serialize, JsonSchema)]
struct Head {
    height: u64,
    #[schemars(with = "String")]
    hash: B256,
    time_ms: u64,
    /// Of the next block, for a gas.
    #[schemars(with = "String")]
    base_fee: Amount,
}

/// Where the system contracts answer.
#[derive(Debug, Serialize, JsonSchema)]
struct Contracts {
    #[schemars(with = "String")]
    hosts: Address,
    #[schemars(with = "String")]
    rentals: Address,
}

/// The supply equation I-1: genesis + subsidies − burned = total = the sum of the rest.
#[derive(Debug, Serialize, JsonSchema)]
struct Supply {
    #[schemars(with = "String")]
    genesis: Amount,
    #[schemars(with = "String")]
    subsidies: Amount,
    #[schemars(with = "String")]
    burned: Amount,
    #[schemars(with = "String")]
    total: Amount,
    /// Whether the total is the sum of the rest.
    holds: bool,
    /// What accounts hold, as the state keeps it.
    #[schemars(with = "String")]
    accounts: Amount,
    #[schemars(with = "String")]
    escrows: Amount,
    #[schemars(with = "String")]
    bonds: Amount,
    #[schemars(with = "String")]
    stakes: Amount,
    #[schemars(with = "String")]
    pool: Amount,
    /// Subsidies that cannot be spent yet.
    #[schemars(with = "String")]
    immature: Amount,
}

/// A block.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Block {
    height: u64,
    #[schemars(with = "String")]
    hash: B256,
    #[schemars(with = "String")]
    parent: B256,
    #[schemars(with = "String")]
    state_root: B256,
    time_ms: u64,
    /// Which lane won it: 0 hash, 1 matmul, 2 credit.
    lane: u8,
    /// Decimal.
    #[schemars(with = "String")]
    difficulty: String,
    #[schemars(with = "String")]
    miner: Address,
    gas_used: u64,
    gas_limit: u64,
    /// For a gas.
    #[schemars(with = "String")]
    base_fee: Amount,
    size_bytes: u64,
    #[schemars(with = "Vec<String>")]
    transactions: Vec<B256>,
}

/// What became of a transaction.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Outcome {
    /// It waits.
    Pending,
    /// Done.
    Success,
    /// In a block, paid for, and refused by the contract.
    Reverted,
}

/// A transaction.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Transaction {
    #[schemars(with = "String")]
    hash: B256,
    status: Outcome,
    #[schemars(with = "String")]
    from: Address,
    #[schemars(with = "Option<String>")]
    to: Option<Address>,
    #[schemars(with = "String")]
    value: Amount,
    nonce: u64,
    /// EIP-2718 type.
    r#type: u8,
    gas_limit: u64,
    #[schemars(with = "String")]
    input: Bytes,
    /// Null while it waits.
    inclusion: Option<Inclusion>,
}

/// Where a transaction is, and what it cost.
#[derive(Debug, Serialize, JsonSchema)]
struct Inclusion {
    height: u64,
    #[schemars(with = "String")]
    block: B256,
    index: u64,
    time_ms: u64,
    /// Blocks from its own to the best one, both counted.
    confirmations: u64,
    gas_used: u64,
    /// Gas used at the price paid.
    #[schemars(with = "String")]
    fee: Amount,
    /// Why the contract refused; null on success.
    revert_reason: Option<String>,
    logs: Vec<LogEntry>,
}

/// A log.
#[derive(Debug, Serialize, JsonSchema)]
struct LogEntry {
    #[schemars(with = "String")]
    address: Address,
    #[schemars(with = "Vec<String>")]
    topics: Vec<B256>,
    #[schemars(with = "String")]
    data: Bytes,
}

/// An account.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Account {
    #[schemars(with = "String")]
    address: Address,
    #[schemars(with = "String")]
    balance: Amount,
    nonce: u64,
    /// The nonce after what waits.
    pending_nonce: u64,
    /// Whether it is a system contract.
    contract: bool,
}

pub(super) async fn health(State(node): State<Arc<Node>>) -> Result<Json<Value>, Problem> {
    let head = node.backend.head().await?;
    Ok(Json(json!({ "status": "ok", "height": head.height })))
}

pub(super) async fn status(State(node): State<Arc<Node>>) -> Result<Json<Status>, Problem> {
    let network = node.backend.network();
    let head = node.backend.head().await?;
    let span = head.height.min(SPACING_BLOCKS);
    // Genesis has the time of the network, not of a block that was found.
    let earlier = head.height.saturating_sub(span).max(1);
    let earlier = node.backend.block(BlockRef::Height(earlier)).await?;
    let spacing_ms = earlier.and_then(|earlier| {
        let blocks = head.height.checked_sub(earlier.height)?;
        head.time_ms.checked_sub(earlier.time_ms)?.checked_div(blocks)
    });
    Ok(Json(Status {
        network: network.name,
        chain_id: network.chain_id,
        symbol: network.symbol,
        client: node.backend.client_version(),
        head: Head {
            height: head.height,
            hash: head.hash,
            time_ms: head.time_ms,
            base_fee: Amount::from_atto(head.next_base_fee.into()),
        },
        block_ms: network.block_ms,
        spacing_ms,
        mempool: node.backend.pending_count().await?,
        lanes: node.backend.lanes(SPACING_BLOCKS).await.ok(),
        mining: node.backend.mining(),
        supply: supply(&node, head.hash).await,
        contracts: Contracts { hosts: HOSTS, rentals: RENTALS },
    }))
}

/// Who is connected with a node.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(super) struct Peers {
    /// How others call this node, `PEER@IP:PORT`; none where it takes no part in a network.
    contact: Option<String>,
    peers: Vec<Peer>,
}

#[derive(Clone, Debug, Serialize, JsonSchema)]
struct Peer {
    /// Its key, in hex.
    peer: String,
    /// From where it is seen; none over a relay.
    address: Option<String>,
    /// Whether this node called, or the peer did.
    called: bool,
    /// Height of its best block, as it says.
    height: u64,
    /// Its best block, as it says.
    #[schemars(with = "String")]
    head: B256,
    /// Points for misdeeds; at 100 it is banned.
    points: u32,
    /// Since when, Unix milliseconds.
    since_ms: u64,
}

pub(super) async fn peers(State(node): State<Arc<Node>>) -> Json<Peers> {
    let Some(peering) = node.backend.peering() else {
        return Json(Peers { contact: None, peers: Vec::new() });
    };
    let peer = |one: PeerView| Peer {
        peer: one.peer,
        address: one.address.map(|address| address.to_string()),
        called: one.called,
        height: one.height,
        head: one.head,
        points: one.points,
        since_ms: one.since_ms,
    };
    let peers = peering.peers.into_iter().map(peer).collect();
    Json(Peers { contact: Some(peering.contact), peers })
}

async fn supply(node: &Node, at: B256) -> Option<Supply> {
    let data = IRentals::totalsCall {}.abi_encode().into();
    let call = CallRequest { to: Some(RENTALS), data, ..CallRequest::default() };
    let answer = node.backend.call(call, BlockRef::Hash(at)).await;
    let answer = answer.inspect_err(|error| tracing::warn!(%error, "no totals")).ok()?;
    let totals = IRentals::totalsCall::abi_decode_returns(&answer).ok()?;
    let amount = |word: U256| Amount::from_u256(word).ok();
    let (genesis, subsidies) = (amount(totals.genesisSupply)?, amount(totals.subsidies)?);
    let (burned, escrows) = (amount(totals.burned)?, amount(totals.escrows)?);
    let (bonds, stakes, pool) =
        (amount(totals.bonds)?, amount(totals.stakes)?, amount(totals.pool)?);
    let total = genesis.checked_add(subsidies).ok()?.checked_sub(burned).ok()?;
    let immature = amount(totals.immature)?;
    let accounts = amount(totals.balances)?;
    let parts = [accounts, escrows, bonds, stakes, pool, immature];
    let held = parts.into_iter().try_fold(Amount::ZERO, Amount::checked_add).ok()?;
    Some(Supply {
        genesis,
        subsidies,
        burned,
        total,
        holds: held == total,
        accounts,
        escrows,
        bonds,
        stakes,
        pool,
        immature,
    })
}

pub(super) async fn block(
    State(node): State<Arc<Node>>,
    Piece(id): Piece,
) -> Result<Json<Block>, Problem> {
    let at = match id.as_str() {
        "latest" => BlockRef::Latest,
        hash if hash.starts_with("0x") => BlockRef::Hash(parse("a block id, 32 bytes", hash)?),
        height => BlockRef::Height(parse("a height, a block id or `latest`", height)?),
    };
    let block = node.backend.block(at).await?.ok_or_else(|| Problem::missing("block", &id))?;
    Ok(Json(Block::from(block)))
}

impl From<BlockView> for Block {
    fn from(block: BlockView) -> Self {
        Self {
            height: block.height,
            hash: block.hash,
            parent: block.parent,
            state_root: block.state_root,
            time_ms: block.time_ms,
            lane: block.lane,
            difficulty: block.difficulty.to_string(),
            miner: block.miner,
            gas_used: block.gas_used,
            gas_limit: block.gas_limit,
            base_fee: Amount::from_atto(block.base_fee.into()),
            size_bytes: block.size_bytes,
            transactions: block.transactions,
        }
    }
}

pub(super) async fn transaction(
    State(node): State<Arc<Node>>,
    Piece(hash): Piece,
) -> Result<Json<Transaction>, Problem> {
    let wanted: B256 = parse("a transaction hash, 32 bytes", &hash)?;
    let receipt = node.backend.receipt(wanted).await?;
    let tx = match &receipt {
        Some(receipt) => receipt.tx.clone(),
        None => {
            let waiting = node.backend.transaction(wanted).await?;
            waiting.ok_or_else(|| Problem::missing("transaction", &hash))?
        }
    };
    let unreadable = |what: String| {
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "stored", format!("{wanted}: {what}"))
    };
    let envelope =
        TxEnvelope::decode_2718(&mut tx.raw.as_ref()).map_err(|e| unreadable(e.to_string()))?;
    let value = Amount::from_u256(envelope.value()).map_err(|e| unreadable(e.to_string()))?;
    let head = node.backend.head().await?;
    let status = match &receipt {
        None => Outcome::Pending,
        Some(receipt) if receipt.success => Outcome::Success,
        Some(_) => Outcome::Reverted,
    };
    let inclusion = receipt.and_then(|receipt| {
        let place = receipt.tx.place?;
        let price = envelope.effective_gas_price(Some(place.base_fee));
        let logs = receipt.logs.into_iter().map(|log| LogEntry {
            address: log.address,
            topics: log.topics().to_vec(),
            data: log.data.data,
        });
        Some(Inclusion {
            height: place.height,
            block: place.block,
            index: place.index,
            time_ms: place.time_ms,
            confirmations: head.height.saturating_sub(place.height).saturating_add(1),
            gas_used: receipt.gas_used,
            fee: Amount::from_atto(price.saturating_mul(receipt.gas_used.into())),
            revert_reason: receipt.revert_reason,
            logs: logs.collect(),
        })
    });
    Ok(Json(Transaction {
        hash: tx.hash,
        status,
        from: tx.sender,
        to: envelope.to(),
        value,
        nonce: envelope.nonce(),
        r#type: envelope.ty(),
        gas_limit: envelope.gas_limit(),
        input: envelope.input().clone(),
        inclusion,
    }))
}

pub(super) async fn account(
    State(node): State<Arc<Node>>,
    Piece(address): Piece,
) -> Result<Json<Account>, Problem> {
    let address: Address = parse("an address, 0x and 40 digits", &address)?;
    let account = node.backend.account(address, BlockRef::Latest).await?;
    Ok(Json(Account {
        address,
        balance: Amount::from_atto(account.balance),
        nonce: account.nonce,
        pending_nonce: node.backend.pending_nonce(address).await?,
        contract: node.backend.is_contract(address),
    }))
}
