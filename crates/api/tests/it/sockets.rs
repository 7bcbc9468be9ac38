//! JSON-RPC over a WebSocket, with a client of its own.

use alloy_primitives::{Address, Bytes, keccak256};
use alloy_sol_types::SolCall as _;
use futures::{SinkExt as _, StreamExt as _};
use pouw_api::Config;
use pouw_types::contracts::{IRentals, RENTALS};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::client::{DEADLINE, Server};

struct Client(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Client {
    async fn open(server: &Server) -> Self {
        let url = format!("ws://{}/rpc", server.address);
        Self(connect_async(url).await.unwrap().0)
    }

    async fn read(&mut self) -> Value {
        loop {
            let message = timeout(DEADLINE, self.0.next()).await.expect("a message in time");
            match message.expect("open").expect("a message") {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                Message::Ping(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    async fn send(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.unwrap();
    }

    async fn call(&mut self, method: &str, params: Value) -> Value {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        self.send(&body.to_string()).await;
        self.read().await
    }

    async fn subscribe(&mut self, params: Value) -> Value {
        self.call("eth_subscribe", params).await["result"].take()
    }

    /// The close code; messages before it are passed over.
    async fn closed(&mut self) -> Option<u16> {
        loop {
            match timeout(DEADLINE, self.0.next()).await.expect("an end in time") {
                Some(Ok(Message::Close(frame))) => return frame.map(|frame| frame.code.into()),
                Some(Ok(_)) => {}
                None | Some(Err(_)) => return None,
            }
        }
    }
}

fn top_up() -> Bytes {
    IRentals::topUpCall { rental: keccak256("rental") }.abi_encode().into()
}

#[tokio::test]
async fn new_heads_logs_and_pending_transactions_are_told() {
    let server = Server::start().await;
    let mut client = Client::open(&server).await;
    let heads = client.subscribe(json!(["newHeads"])).await;
    let logs = client.subscribe(json!(["logs", {"address": RENTALS}])).await;
    let waiting = client.subscribe(json!(["newPendingTransactions"])).await;
    let hash = server.send(0, RENTALS, top_up()).await;
    let told = client.read().await;
    assert_eq!(told["method"], "eth_subscription");
    assert_eq!(told["params"], json!({"subscription": waiting, "result": hash}));
    let block = server.node.mine();
    let mut told = [client.read().await, client.read().await];
    told.sort_by_key(|notice| notice["params"]["subscription"] != heads);
    assert_eq!(told[0]["params"]["result"]["hash"], json!(block));
    assert_eq!(told[1]["params"]["subscription"], logs);
    assert_eq!(told[1]["params"]["result"]["removed"], false);
    // A reorg takes the log back, and the next block brings it again.
    server.node.unmine();
    let gone = client.read().await;
    assert_eq!(gone["params"]["result"]["removed"], true);
    assert_eq!(client.call("eth_unsubscribe", json!([heads])).await["result"], true);
    assert_eq!(client.call("eth_unsubscribe", json!([heads])).await["result"], false);
    server.node.mine();
    let again = client.read().await;
    assert_eq!(again["params"]["subscription"], logs);
    assert_eq!(again["params"]["result"]["transactionHash"], json!(hash));
}

#[tokio::test]
async fn a_socket_answers_all_that_http_does() {
    let server = Server::start().await;
    let mut client = Client::open(&server).await;
    assert_eq!(client.call("eth_chainId", json!([])).await["result"], "0xbbb86");
    client.send("{").await;
    assert_eq!(client.read().await["error"]["code"], -32700);
    let one = json!({"jsonrpc": "2.0", "id": 1, "method": "eth_blockNumber"});
    client.send(&json!([one, one]).to_string()).await;
    assert_eq!(client.read().await.as_array().map(Vec::len), Some(2));
    let over_http = server.rpc("eth_subscribe", json!(["newHeads"])).await.unwrap_err();
    assert!(over_http["message"].as_str().unwrap().contains("WebSocket"));
}

#[tokio::test]
async fn subscriptions_have_a_limit_and_known_names() {
    let server = Server::with(Config { subscriptions: 2, ..Config::default() }).await;
    let mut client = Client::open(&server).await;
    let code = async |client: &mut Client, params: Value| {
        client.call("eth_subscribe", params).await["error"]["code"].take()
    };
    assert_eq!(code(&mut client, json!(["syncing"])).await, -32602);
    assert_eq!(code(&mut client, json!([])).await, -32602);
    assert_eq!(code(&mut client, json!(["logs", {"fromBlock": "0x0"}])).await, -32602);
    assert_eq!(code(&mut client, json!(["newPendingTransactions", true])).await, -32602);
    for _ in 0..2 {
        assert!(client.subscribe(json!(["newHeads"])).await.is_string());
    }
    assert_eq!(code(&mut client, json!(["newHeads"])).await, -32005);
}

#[tokio::test]
async fn who_does_not_keep_up_is_let_go_rather_than_misled() {
    let server = Server::start().await;
    let mut client = Client::open(&server).await;
    client.subscribe(json!(["newHeads"])).await;
    // More than the channel holds, before the connection's task can run: this runtime has one
    // thread, and making a block never waits.
    for _ in 0..300 {
        server.node.mine();
    }
    assert_eq!(client.closed().await, Some(1013));
}

#[tokio::test]
async fn an_oversized_message_ends_the_connection_with_a_reason() {
    let server = Server::with(Config { body_bytes: 1_000, ..Config::default() }).await;
    let mut client = Client::open(&server).await;
    let _refused = client.0.send(Message::text(" ".repeat(5_000))).await;
    assert!(matches!(client.closed().await, Some(1009) | None));
    assert_eq!(server.rpc("eth_chainId", json!([])).await, Ok(json!("0xbbb86")));
}

#[tokio::test]
async fn a_foreign_page_cannot_open_a_socket() {
    let server = Server::start().await;
    let open = async |origin: &str| {
        let mut request = format!("ws://{}/rpc", server.address).into_client_request().unwrap();
        request.headers_mut().insert("origin", origin.parse().unwrap());
        connect_async(request).await
    };
    match open("https://evil.example").await {
        Err(Error::Http(response)) => assert_eq!(response.status(), 403),
        other => panic!("{other:?}"),
    }
    assert!(open(&format!("http://{}", server.address)).await.is_ok(), "our own page");
}

#[tokio::test]
async fn connections_wait_when_there_are_too_many() {
    let server = Server::with(Config { connections: 1, ..Config::default() }).await;
    let mut first = Client::open(&server).await;
    let second = server.rpc("eth_chainId", json!([]));
    tokio::pin!(second);
    assert!(futures::poll!(&mut second).is_pending());
    assert_eq!(first.call("eth_chainId", json!([])).await["result"], "0xbbb86");
    first.0.close(None).await.unwrap();
    drop(first);
    assert_eq!(timeout(DEADLINE, second).await.unwrap(), Ok(json!("0xbbb86")));
}

#[tokio::test]
async fn a_stopping_node_says_goodbye() {
    let server = Server::start().await;
    let mut client = Client::open(&server).await;
    client.subscribe(json!(["newHeads"])).await;
    server.send(0, Address::repeat_byte(1), Bytes::new()).await;
    server.stop().await;
    assert_eq!(client.closed().await, Some(1001));
}
