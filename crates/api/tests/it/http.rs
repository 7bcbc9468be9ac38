//! The HTTP API.

use std::time::{SystemTime, UNIX_EPOCH};

use alloy_primitives::{Address, Bytes, keccak256};
use alloy_signer::SignerSync as _;
use alloy_signer_local::PrivateKeySigner;
use alloy_sol_types::SolCall as _;
use pouw_types::contracts::{IRentals, RENTALS};
use pouw_types::{Floor, Isolation, MachineId, Offer, Resources};
use serde_json::{Value, json};

use crate::client::{Server, account};

const BOB: Address = Address::repeat_byte(0xb0);

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn offer(key: &PrivateKeySigner, change: impl FnOnce(&mut Offer)) -> Offer {
    let mut offer = Offer {
        version: 1,
        machine: MachineId::new(key.address()),
        chain_id: 768_902,
        seq: 1,
        issued_at: now_s(),
        available_until: now_s() + 3_600,
        endpoint: "http://127.0.0.1:7101".to_owned(),
        units: 1,
        unit: Resources::default(),
        arch: "amd64".to_owned(),
        gpus: Vec::new(),
        isolation: vec![Isolation::Runc],
        egress: false,
        floor: Floor::default(),
        scores: Vec::new(),
        signature: Bytes::new(),
    };
    change(&mut offer);
    let signature = key.sign_hash_sync(&offer.hash()).unwrap();
    offer.signature = signature.as_bytes().to_vec().into();
    offer
}

#[tokio::test]
async fn status_says_where_the_money_is() {
    let server = Server::start().await;
    let call = IRentals::topUpCall { rental: keccak256("rental") }.abi_encode();
    server.send(0, RENTALS, call.into()).await;
    server.node.mine();
    server.node.mine();
    server.send(1, BOB, Bytes::new()).await;
    let status = server.get("/v1/status").await.json();
    assert_eq!(status["network"], "devnet");
    assert_eq!(status["symbol"], "dFLUX");
    assert_eq!(status["head"]["height"], 2);
    assert_eq!(status["head"]["base_fee"], "0.000000001");
    assert_eq!((&status["block_ms"], &status["spacing_ms"]), (&json!(2_000), &json!(2_000)));
    assert_eq!(status["mempool"], 1);
    assert_eq!(status["supply"]["subsidies"], "80");
    assert_eq!(status["supply"]["total"], "10000079.99994999995");
    assert_eq!(status["supply"]["holds"], true);
    assert_eq!(status["supply"]["escrows"], "0.000000000000001");
    assert_eq!(status["supply"]["immature"], "80");
    assert_eq!(status["supply"]["accounts"], "9999999.999949999949999");
    assert_eq!(server.get("/health").await.json(), json!({"status": "ok", "height": 2}));
}

#[tokio::test]
async fn the_chain_is_shown_by_lanes() {
    let server = Server::start().await;
    for _ in 0..3 {
        server.node.mine();
    }
    let heights = |answer: &serde_json::Value| {
        let blocks = answer["blocks"].as_array().unwrap().iter();
        blocks.map(|block| block["height"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(heights(&server.get("/v1/blocks").await.json()), [3, 2, 1]);
    assert_eq!(heights(&server.get("/v1/blocks?below=3&limit=1").await.json()), [2]);
    assert!(heights(&server.get("/v1/blocks?lane=1").await.json()).is_empty());
    let lanes = server.get("/v1/lanes?window=7").await.json();
    assert_eq!(lanes["window_blocks"], 7);
    assert_eq!(server.get("/v1/shares?epochs=2").await.json()["epochs"][1]["epoch"], 1);
    let status = server.get("/v1/status").await.json();
    assert_eq!((&status["mining"], &status["lanes"]["window_ms"]), (&json!(null), &json!(200_000)));
    for path in [
        "/v1/blocks?lane=3",
        "/v1/blocks?limit=0",
        "/v1/blocks?limit=501",
        "/v1/blocks?lanes=1",
        "/v1/blocks?below=x",
        "/v1/lanes?window=2001",
        "/v1/shares?epochs=-1",
    ] {
        let reply = server.get(path).await;
        assert_eq!(
            (reply.status, &reply.json()["error"]["code"]),
            (400, &json!("query")),
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_registered_machine_gets_work_of_lane_1_and_hands_in_what_won() {
    let server = Server::start().await;
    let work = |first: u8| format!("/v1/mining/work?machine={}", Address::repeat_byte(first));
    assert_eq!(server.get(&work(1)).await.json(), json!({ "work": null }));
    let given = server.get(&work(9)).await.json();
    assert_eq!(
        (&given["work"]["number"], &given["work"]["miner"]),
        (&json!(7), &json!(Address::repeat_byte(9)))
    );
    assert_eq!(given["work"]["difficulty"], "1267650600228229401496703205376");
    for (path, status, code) in [
        (work(0), 404, "not_found"),
        ("/v1/mining/work".to_owned(), 400, "query"),
        ("/v1/mining/work?machine=0x12".to_owned(), 400, "query"),
        (work(1) + "&number=1", 400, "query"),
    ] {
        let reply = server.get(&path).await;
        assert_eq!(
            (reply.status, &reply.json()["error"]["code"]),
            (status, &json!(code)),
            "{path}"
        );
    }
    let win = |number: u64, bytes: usize| json!({ "number": number, "certificate": Bytes::from(vec![1; bytes]) });
    let door = "/v1/mining/certificates";
    let won = server.post(door, win(7, 34_490).to_string().as_bytes()).await.json();
    assert_eq!(won["block"], json!(keccak256(vec![1; 34_490])));
    assert_eq!(
        server.post(door, win(6, 10).to_string().as_bytes()).await.json(),
        json!({ "block": null })
    );
    for (body, code) in [
        (win(7, 0), "certificate"),
        (win(7, 34_501), "certificate"),
        (json!({ "number": -1, "certificate": "0x" }), "body"),
        (json!({ "number": 7, "certificate": "0x", "miner": BOB }), "body"),
    ] {
        let reply = server.post(door, body.to_string().as_bytes()).await;
        assert_eq!((reply.status, &reply.json()["error"]["code"]), (400, &json!(code)));
    }
}

#[tokio::test]
async fn blocks_transactions_and_accounts_are_told() {
    let server = Server::start().await;
    let call = IRentals::topUpCall { rental: keccak256("rental") }.abi_encode();
    let good = server.send(0, RENTALS, call.into()).await;
    let bad = server.send(1, RENTALS, Bytes::from_static(&[1, 2, 3, 4])).await;
    let waiting = server.get(&format!("/v1/transactions/{good}")).await.json();
    assert_eq!((&waiting["status"], &waiting["inclusion"]), (&json!("pending"), &Value::Null));
    let hash = server.node.mine();
    server.node.mine();
    let block = server.get("/v1/blocks/1").await.json();
    assert_eq!(block["transactions"], json!([good, bad]));
    assert_eq!((&block["hash"], &block["lane"]), (&json!(hash), &json!(0)));
    assert_eq!(server.get(&format!("/v1/blocks/{hash}")).await.json(), block);
    assert_eq!(server.get("/v1/blocks/latest").await.json()["height"], 2);
    let tx = server.get(&format!("/v1/transactions/{good}")).await.json();
    assert_eq!(tx["status"], "success");
    assert_eq!(tx["inclusion"]["confirmations"], 2);
    assert_eq!(tx["inclusion"]["fee"], "0.00005000005");
    assert_eq!(tx["inclusion"]["logs"][0]["address"], json!(RENTALS));
    let tx = server.get(&format!("/v1/transactions/{bad}")).await.json();
    assert_eq!(tx["status"], "reverted");
    assert_eq!(tx["inclusion"]["revert_reason"], "unknown method");
    let receipt = server.rpc("eth_getTransactionReceipt", json!([bad])).await.unwrap();
    assert_eq!(receipt["status"], "0x0");
    assert_eq!(receipt["revertReason"], "unknown method");
    let sender = account(0).address();
    let account = server.get(&format!("/v1/accounts/{sender}")).await.json();
    assert_eq!((&account["nonce"], &account["contract"]), (&json!(2), &json!(false)));
    assert_eq!(account["balance"], "999999.999899999899999");
}

#[tokio::test]
async fn what_is_not_there_or_not_readable_is_named() {
    let server = Server::start().await;
    let check = async |path: &str, status: u16, code: &str| {
        let reply = server.get(path).await;
        assert_eq!(reply.status, status, "{path}");
        assert_eq!(reply.json()["error"]["code"], code, "{path}");
    };
    check("/v1/blocks/9", 404, "not_found").await;
    check(&format!("/v1/blocks/{}", keccak256("x")), 404, "not_found").await;
    check("/v1/blocks/-1", 400, "path").await;
    check("/v1/blocks/0x12", 400, "path").await;
    check(&format!("/v1/transactions/{}", keccak256("x")), 404, "not_found").await;
    check("/v1/transactions/x", 400, "path").await;
    check("/v1/accounts/bob", 400, "path").await;
    check("/v1/accounts/%ff", 400, "path").await;
    check("/v1/nothing", 404, "not_found").await;
    check("/../etc/passwd", 404, "not_found").await;
    let reply = server.request("DELETE", "/v1/offers", &[], b"").await;
    assert_eq!((reply.status, &reply.json()["error"]["code"]), (405, &json!("method")));
}

#[tokio::test]
async fn offers_are_taken_if_signed_newer_and_in_time() {
    let server = Server::start().await;
    let key = PrivateKeySigner::random();
    let post = async |offer: &Offer| {
        let reply = server.post("/v1/offers", &serde_json::to_vec(offer).unwrap()).await;
        (reply.status, reply.json()["error"]["code"].take())
    };
    let fine = (200, Value::Null);
    let first = offer(&key, |_| {});
    assert_eq!(post(&first).await, fine);
    assert_eq!(post(&first).await, fine, "again changes nothing");
    assert_eq!(post(&offer(&key, |offer| offer.units = 2)).await, (409, json!("seq")));
    let second = offer(&key, |offer| offer.seq = 2);
    assert_eq!(post(&second).await, fine);
    assert_eq!(post(&first).await, (409, json!("seq")), "replayed");
    let mut altered = offer(&key, |offer| offer.seq = 3);
    altered.units = 9;
    assert_eq!(post(&altered).await, (400, json!("offer")), "altered");
    let foreign = offer(&key, |offer| offer.machine = MachineId::new(BOB));
    assert_eq!(post(&foreign).await, (400, json!("offer")));
    let chain = offer(&key, |offer| offer.chain_id = 1);
    assert_eq!(post(&chain).await, (400, json!("chain")));
    let over = offer(&key, |offer| (offer.issued_at, offer.available_until) = (1, 2));
    assert_eq!(post(&over).await, (400, json!("time")));
    let early = offer(&key, |offer| offer.issued_at += 1_000);
    assert_eq!(post(&early).await, (400, json!("time")));
    let listed = server.get("/v1/offers").await.json();
    assert_eq!(listed["offers"], json!([second]));
    for _ in 0..2 {
        assert_eq!(post(&offer(&PrivateKeySigner::random(), |_| {})).await, fine);
    }
    assert_eq!(post(&offer(&PrivateKeySigner::random(), |_| {})).await, (503, json!("full")));
    assert_eq!(post(&offer(&key, |offer| offer.seq = 4)).await, fine, "a known machine has room");
}

#[tokio::test]
async fn malformed_bodies_are_told_what_is_wrong() {
    let server = Server::start().await;
    let mut unknown = serde_json::to_value(offer(&account(0), |_| {})).unwrap();
    unknown["surprise"] = json!(1);
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    for body in ["{", "[]", "{}", &unknown.to_string(), &deep] {
        let reply = server.post("/v1/offers", body.as_bytes()).await;
        assert_eq!(reply.status, 400, "{}", reply.body);
        assert_eq!(reply.json()["error"]["code"], "body");
    }
    let reply = server.post("/v1/offers", unknown.to_string().as_bytes()).await;
    assert!(reply.body.contains("surprise"), "{}", reply.body);
    let reply = server.post("/v1/offers", &vec![b' '; 1024 * 1024 + 1]).await;
    assert_eq!((reply.status, &reply.json()["error"]["code"]), (413, &json!("too_large")));
}

#[tokio::test]
async fn the_openapi_document_describes_what_answers() {
    let server = Server::start().await;
    let document = server.get("/v1/openapi.json").await.json();
    assert_eq!(document, pouw_api::openapi());
    assert_eq!(document["openapi"], "3.1.0");
    let paths = document["paths"].as_object().unwrap();
    let expected = [
        "/health",
        "/v1/accounts/{address}",
        "/v1/blocks",
        "/v1/blocks/{id}",
        "/v1/lanes",
        "/v1/machines/{machine}/lanes",
        "/v1/mining/certificates",
        "/v1/mining/work",
        "/v1/offers",
        "/v1/openapi.json",
        "/v1/peers",
        "/v1/shares",
        "/v1/signers",
        "/v1/signers/{address}/receipts",
        "/v1/signers/{address}/stop",
        "/v1/status",
        "/v1/transactions/{hash}",
    ];
    assert_eq!(paths.keys().collect::<Vec<_>>(), expected);
    for (path, methods) in paths {
        for (method, operation) in methods.as_object().unwrap() {
            let real = path.replace(['{', '}'], "");
            let reply = server.request(&method.to_uppercase(), &real, &[], b"").await;
            assert_ne!(reply.status, 405, "{method} {path}");
            let fallback = reply.status == 404 && reply.body.contains("nothing is at");
            assert!(!fallback, "{method} {path}");
            assert!(operation["summary"].is_string(), "{method} {path}");
            let answer = &operation["responses"]["200"]["content"]["application/json"]["schema"];
            assert_eq!(answer["type"], "object", "{method} {path}");
        }
    }
    // What is described is what is said.
    let described = &document["paths"]["/v1/status"]["get"]["responses"]["200"]["content"];
    let described = &described["application/json"]["schema"]["properties"];
    let status = server.get("/v1/status").await.json();
    let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(described), names(&status));
}
