//! Envelopes, batches, limits, and bytes that mean nothing.

use pouw_api::Config;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::client::Server;

async fn code_of(server: &Server, body: &[u8]) -> Value {
    let reply = server.post("/rpc", body).await;
    reply.json()["error"]["code"].take()
}

#[tokio::test]
async fn malformed_requests_have_their_codes() {
    let server = Server::start().await;
    let check = async |body: &str, expected: i64| {
        assert_eq!(code_of(&server, body.as_bytes()).await, expected, "{body}");
    };
    check("{", -32700).await;
    check("nonsense", -32700).await;
    check("\"text\"", -32600).await;
    check("42", -32600).await;
    check("[]", -32600).await;
    check(r#"{"id":1,"method":"eth_chainId"}"#, -32600).await;
    check(r#"{"jsonrpc":"1.0","id":1,"method":"eth_chainId"}"#, -32600).await;
    check(r#"{"jsonrpc":"2.0","id":{},"method":"eth_chainId"}"#, -32600).await;
    check(r#"{"jsonrpc":"2.0","id":1,"method":7}"#, -32600).await;
    check(r#"{"jsonrpc":"2.0","id":1}"#, -32600).await;
    check(r#"{"jsonrpc":"2.0","id":1,"method":"eth_chainId","params":{}}"#, -32602).await;
    check(r#"{"jsonrpc":"2.0","id":1,"method":"eth_chainId","params":[1]}"#, -32602).await;
    check(r#"{"jsonrpc":"2.0","id":1,"method":"eth_getBalance","params":[]}"#, -32602).await;
    check(r#"{"jsonrpc":"2.0","id":1,"method":"eth_getBalance","params":["0x12"]}"#, -32602).await;
    check(r#"{"jsonrpc":"2.0","id":1,"method":"eth_what"}"#, -32601).await;
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    check(&deep, -32700).await;
}

#[tokio::test]
async fn a_misspelt_method_is_told_the_nearest() {
    let server = Server::start().await;
    let error = server.rpc("eth_getBalence", json!([])).await.unwrap_err();
    assert_eq!(error["code"], -32601);
    assert!(error["message"].as_str().unwrap().ends_with("did you mean eth_getBalance?"));
    let long = "x".repeat(500_000);
    let error = server.rpc(&long, json!([])).await.unwrap_err();
    assert!(error["message"].as_str().unwrap().len() < 200, "long names are not repeated");
}

#[tokio::test]
async fn methods_that_need_a_key_are_refused_with_a_hint() {
    let server = Server::start().await;
    let named =
        ["eth_sendTransaction", "eth_sign", "eth_signTypedData_v4", "personal_unlockAccount"];
    for method in named {
        let error = server.rpc(method, json!([])).await.unwrap_err();
        assert_eq!(error["code"], -32004, "{method}");
        assert!(error["message"].as_str().unwrap().contains("eth_sendRawTransaction"));
    }
}

#[tokio::test]
async fn a_batch_is_answered_in_order_without_notifications() {
    let server = Server::start().await;
    let batch = json!([
        {"jsonrpc": "2.0", "id": "a", "method": "eth_chainId"},
        {"jsonrpc": "2.0", "method": "eth_chainId"},
        {"jsonrpc": "2.0", "id": null, "method": "eth_nothing"},
        7,
    ]);
    let answers = server.post("/rpc", batch.to_string().as_bytes()).await.json();
    assert_eq!(answers.as_array().map(Vec::len), Some(3));
    assert_eq!((&answers[0]["id"], &answers[0]["result"]), (&json!("a"), &json!("0xbbb86")));
    assert_eq!(answers[1]["error"]["code"], -32601);
    assert_eq!(answers[2]["error"]["code"], -32600);
    let only = json!([{"jsonrpc": "2.0", "method": "eth_chainId"}]).to_string();
    let reply = server.post("/", only.as_bytes()).await;
    assert_eq!((reply.status, reply.body.as_str()), (204, ""), "nothing to say");
}

#[tokio::test]
async fn batches_bodies_and_answers_have_limits() {
    let config = Config { batch: 3, body_bytes: 2_000, response_bytes: 900, ..Config::default() };
    let server = Server::with(config).await;
    let one = json!({"jsonrpc": "2.0", "id": 1, "method": "eth_chainId"});
    let batch = |count: usize| Value::Array(vec![one.clone(); count]).to_string();
    let answers = server.post("/rpc", batch(3).as_bytes()).await.json();
    assert_eq!(answers.as_array().map(Vec::len), Some(3));
    assert_eq!(code_of(&server, batch(4).as_bytes()).await, -32600);
    let long = " ".repeat(2_001);
    let reply = server.post("/rpc", long.as_bytes()).await;
    assert_eq!(reply.status, 413);
    assert!(reply.json()["error"]["message"].as_str().unwrap().contains("2000 bytes"));
    let block =
        json!({"jsonrpc": "2.0", "id": 5, "method": "eth_getBlockByNumber", "params": ["0x0"]});
    let answer = server.post("/rpc", block.to_string().as_bytes()).await.json();
    assert_eq!((&answer["error"]["code"], &answer["id"]), (&json!(-32003), &json!(5)));
    let batch = json!([block, one]).to_string();
    let answers = server.post("/rpc", batch.as_bytes()).await.json();
    assert_eq!(answers[0]["error"]["code"], -32003);
}

#[tokio::test]
async fn slow_requests_end() {
    let config =
        Config { request_timeout: std::time::Duration::from_millis(50), ..Config::default() };
    let server = Server::with(config).await;
    // Promises a body and never sends it.
    let head = "POST /rpc HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\
        content-type: application/json\r\ncontent-length: 10\r\n\r\n";
    let answer = server.raw(head.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 504"), "{answer}");
}

/// Bytes that look like requests, so that the search goes deeper than the parser.
fn requests() -> impl Strategy<Value = Vec<u8>> {
    let method = prop_oneof![
        prop::sample::select(pouw_api::RPC_METHODS.to_vec()).prop_map(str::to_owned),
        ".{0,20}",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "0x[0-9a-f]{0,80}".prop_map(Value::from),
        "(latest|pending|earliest|safe|finalized|newHeads|logs|0x0|0xffffffffffffffff)"
            .prop_map(Value::from),
        Just(json!("0x00000000000000000000000000000000000706f02")),
    ];
    let names = "(from|to|data|input|value|gas|fromBlock|toBlock|blockHash|address|topics)";
    let value = leaf.prop_recursive(3, 16, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(names, inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    });
    let params = prop::collection::vec(value, 0..4);
    let like = (method, params).prop_map(|(method, params)| {
        json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
            .to_string()
            .into_bytes()
    });
    prop_oneof![
        3 => like.clone(),
        1 => prop::collection::vec(any::<u8>(), 1..200),
        1 => (like, any::<prop::sample::Index>(), any::<u8>()).prop_map(|(mut bytes, at, byte)| {
            let at = at.index(bytes.len());
            bytes[at] = byte;
            bytes
        }),
    ]
}

#[test]
fn whatever_comes_the_answer_is_json_rpc() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let server = runtime.block_on(Server::start());
    server.node.mine();
    let config = ProptestConfig { cases: 300, failure_persistence: None, ..Default::default() };
    proptest!(config, |(body in requests())| {
        let reply = runtime.block_on(server.post("/rpc", &body));
        prop_assert!([200, 204].contains(&reply.status), "{}", reply.head);
        if reply.status == 200 {
            let answer: Value = serde_json::from_str(&reply.body).unwrap();
            let answers = answer.as_array().cloned().unwrap_or_else(|| vec![answer]);
            for answer in answers {
                prop_assert_eq!(&answer["jsonrpc"], "2.0");
                let (result, error) = (answer.get("result"), answer.get("error"));
                prop_assert!(result.is_some() != error.is_some(), "{}", answer);
                if let Some(error) = error {
                    prop_assert!(error["code"].is_i64() && error["message"].is_string());
                    prop_assert_ne!(&error["code"], -32603, "nothing sent breaks a node");
                }
            }
        }
    });
}
