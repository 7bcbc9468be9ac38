//! A server of one's own for each test, and a client that can also say what no client would.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use alloy_consensus::{SignableTransaction as _, TxEip1559, TxEnvelope};
use alloy_eips::eip2718::Encodable2718 as _;
use alloy_primitives::{Address, Bytes, TxKind, U256};
use alloy_signer::SignerSync as _;
use alloy_signer_local::coins_bip39::English;
use alloy_signer_local::{MnemonicBuilder, PrivateKeySigner};
use pouw_api::{Board, Config, Doors, NoSigner, SignerDoor, serve};
use pouw_types::Network;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::node::MemoryNode;

/// No test waits longer for one thing.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

pub(crate) struct Server {
    pub(crate) node: Arc<MemoryNode>,
    pub(crate) address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {:?}", self.body))
    }
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::with(Config::default()).await
    }

    pub(crate) async fn with(config: Config) -> Self {
        Self::full(config, Arc::new(NoSigner)).await
    }

    pub(crate) async fn full(config: Config, signer: Arc<dyn SignerDoor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let node = MemoryNode::new();
        let board = Arc::new(Board::new(Network::devnet().chain_id, 3));
        let doors = Doors { backend: Arc::clone(&node) as _, board, signer };
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(serve(listener, doors, config, async {
            let _dropped = stopped.await;
        }));
        Self { node, address, stop: Some(stop), task }
    }

    /// Stops, and shows that it does.
    pub(crate) async fn stop(mut self) {
        let _gone = self.stop.take().unwrap().send(());
        timeout(DEADLINE, self.task).await.expect("the server stops").unwrap();
    }

    /// Sends bytes as they are; reads until the server closes.
    pub(crate) async fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        // The server may answer and close before it has read everything.
        let _closed = stream.write_all(bytes).await;
        let mut answer = Vec::new();
        let _reset = timeout(DEADLINE, stream.read_to_end(&mut answer)).await.expect("an answer");
        String::from_utf8_lossy(&answer).into_owned()
    }

    pub(crate) async fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Reply {
        let mut head = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n");
        if !headers.iter().any(|(name, _)| *name == "host") {
            head.push_str(&format!("host: {}\r\n", self.address));
        }
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() {
            head.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        let answer = self.raw(&[head.as_bytes(), b"\r\n", body].concat()).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no status: {head:?}"));
        Reply { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.request("GET", path, &[], b"").await
    }

    pub(crate) async fn post(&self, path: &str, body: &[u8]) -> Reply {
        self.request("POST", path, &[("content-type", "application/json")], body).await
    }

    /// One JSON-RPC request: `Ok` is the result, `Err` the error member.
    pub(crate) async fn rpc(&self, method: &str, params: Value) -> Result<Value, Value> {
        let body = json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params });
        let reply = self.post("/rpc", body.to_string().as_bytes()).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        let mut answer = reply.json();
        assert_eq!((&answer["jsonrpc"], &answer["id"]), (&json!("2.0"), &json!(7)), "{answer}");
        match answer.get("error") {
            Some(error) => Err(error.clone()),
            None => Ok(answer["result"].take()),
        }
    }

    /// Sends a transfer from account 0 and returns its hash.
    pub(crate) async fn send(&self, nonce: u64, to: Address, input: Bytes) -> String {
        let raw = signed(&account(0), nonce, to, 1_000, input);
        let hash = self.rpc("eth_sendRawTransaction", json!([raw])).await.unwrap();
        hash.as_str().unwrap().to_owned()
    }
}

/// An account of the well-known mnemonic.
pub(crate) fn account(index: u32) -> PrivateKeySigner {
    let phrase = "test test test test test test test test test test test junk";
    let builder = MnemonicBuilder::<English>::default().phrase(phrase);
    builder.index(index).unwrap().build().unwrap()
}

pub(crate) fn transfer(nonce: u64, to: Address, value: u128, input: Bytes) -> TxEip1559 {
    TxEip1559 {
        chain_id: Network::devnet().chain_id,
        nonce,
        gas_limit: 100_000,
        max_fee_per_gas: 2_000_000_000,
        max_priority_fee_per_gas: 1_000,
        to: TxKind::Call(to),
        value: U256::from(value),
        input,
        ..TxEip1559::default()
    }
}

pub(crate) fn sign(key: &PrivateKeySigner, tx: TxEip1559) -> Bytes {
    let signature = key.sign_hash_sync(&tx.signature_hash()).unwrap();
    TxEnvelope::from(tx.into_signed(signature)).encoded_2718().into()
}

pub(crate) fn signed(
    key: &PrivateKeySigner,
    nonce: u64,
    to: Address,
    value: u128,
    input: Bytes,
) -> Bytes {
    sign(key, transfer(nonce, to, value, input))
}
