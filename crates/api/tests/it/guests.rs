//! Who may knock: hosts, origins, content types, odd HTTP.

use pouw_api::Config;
use serde_json::json;

use crate::client::Server;

fn guests() -> Config {
    Config {
        hosts: vec!["node.example".to_owned()],
        origins: vec!["https://wallet.example".to_owned()],
        ..Config::default()
    }
}

const CHAIN_ID: &[u8] = br#"{"jsonrpc":"2.0","id":1,"method":"eth_chainId"}"#;
const JSON: (&str, &str) = ("content-type", "application/json");

#[tokio::test]
async fn a_foreign_host_finds_nothing_at_any_door() {
    let server = Server::with(guests()).await;
    for (host, expected) in [("127.0.0.1:1", 200), ("node.example", 200), ("evil.example", 403)] {
        let reply = server.request("POST", "/rpc", &[("host", host), JSON], CHAIN_ID).await;
        assert_eq!(reply.status, expected, "{host}");
        let reply = server.request("GET", "/v1/status", &[("host", host)], b"").await;
        assert_eq!(reply.status, expected, "{host}");
    }
    let reply = server.request("GET", "/health", &[("host", "evil.example")], b"").await;
    assert_eq!(reply.json()["error"]["code"], "host");
    let answer = server.raw(b"GET /health HTTP/1.0\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.0 403"), "no host at all: {answer}");
}

#[tokio::test]
async fn a_page_needs_to_be_listed_and_then_may_ask_first() {
    let server = Server::with(guests()).await;
    let ask = async |origin: &str| {
        let headers = [
            ("origin", origin),
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", "content-type"),
        ];
        server.request("OPTIONS", "/rpc", &headers, b"").await
    };
    let listed = ask("https://wallet.example").await;
    assert_eq!(listed.status, 200);
    assert!(listed.head.contains("access-control-allow-origin: https://wallet.example"));
    assert!(listed.head.contains("access-control-allow-headers: content-type"));
    let foreign = ask("https://evil.example").await;
    assert_eq!(foreign.status, 403);
    assert!(!foreign.head.contains("access-control-allow-origin"));
    let headers = [("origin", "https://wallet.example"), JSON];
    let reply = server.request("POST", "/rpc", &headers, CHAIN_ID).await;
    assert_eq!(reply.status, 200);
    assert!(reply.head.contains("access-control-allow-origin: https://wallet.example"));
    for origin in ["https://evil.example", "null"] {
        let reply = server.request("POST", "/rpc", &[("origin", origin), JSON], CHAIN_ID).await;
        assert_eq!(reply.status, 403, "{origin}");
    }
    let extension = ("origin", "chrome-extension://nkbihfbeogaeaoehlefnkodbefgpgknn");
    let reply = server.request("POST", "/rpc", &[extension, JSON], CHAIN_ID).await;
    assert_eq!(reply.status, 200);
}

#[tokio::test]
async fn a_body_must_be_declared_as_json() {
    let server = Server::start().await;
    for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"] {
        for path in ["/rpc", "/", "/v1/offers"] {
            let reply = server.request("POST", path, &[("content-type", kind)], CHAIN_ID).await;
            assert_eq!(reply.status, 415, "{kind} {path}");
        }
    }
    let reply = server.request("POST", "/rpc", &[], CHAIN_ID).await;
    assert_eq!(reply.status, 415, "undeclared");
    let headers = [("content-type", "Application/JSON; charset=utf-8")];
    let reply = server.request("POST", "/rpc", &headers, CHAIN_ID).await;
    assert_eq!(reply.status, 200);
}

#[tokio::test]
async fn odd_http_is_refused_and_the_server_goes_on() {
    let server = Server::start().await;
    let many = "a: b\r\n".repeat(10_000);
    let requests = [
        "\0\0\0\0\r\n\r\n".to_owned(),
        "GET /health HTTP/9.9\r\n\r\n".to_owned(),
        format!("GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\n{many}\r\n"),
        format!("GET /{} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n", "x".repeat(100_000)),
        "POST /rpc HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: -1\r\n\r\n".to_owned(),
    ];
    for request in requests {
        let answer = server.raw(request.as_bytes()).await;
        let shown: String = request.chars().take(40).collect();
        assert!(answer.starts_with("HTTP/1.1 4") || answer.is_empty(), "{shown:?}: {answer}");
    }
    assert_eq!(server.rpc("eth_chainId", json!([])).await, Ok(json!("0xbbb86")));
}

#[tokio::test]
async fn json_rpc_by_get_is_pointed_to_the_right_door() {
    let server = Server::start().await;
    let reply = server.get("/rpc").await;
    assert_eq!(reply.status, 405);
    assert!(reply.json()["error"]["message"].as_str().unwrap().contains("POST"));
}
