//! The signer's door: who may ask for what.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use alloy_primitives::{Address, Bytes, keccak256};
use alloy_signer::SignerSync as _;
use alloy_signer_local::PrivateKeySigner;
use async_trait::async_trait;
use pouw_api::Config;
use pouw_api::signer::{EndRental, NewSigner, SignerDoor, SignerError};
use pouw_types::RentalId;
use pouw_types::contracts::{Receipt, Stop};
use pouw_types::signing::{Signable, Signed};
use serde_json::{Value, json};

use crate::client::{Server, account};

const CHAIN: u64 = 768_902;

/// Holds account 9 as the signer of one rental of account 0.
struct OneSigner;

fn rental() -> RentalId {
    RentalId::new(keccak256("rental"))
}

#[async_trait]
impl SignerDoor for OneSigner {
    async fn create(&self, _client: Address, wanted: RentalId) -> Result<Address, SignerError> {
        if wanted == rental() { Ok(account(9).address()) } else { Err(SignerError::Full(1)) }
    }

    async fn cosign(
        &self,
        signer: Address,
        receipt: Signed<Receipt>,
    ) -> Result<Bytes, SignerError> {
        if signer != account(9).address() {
            return Err(SignerError::Unknown(signer));
        }
        if receipt.value.rental != rental().get() {
            return Err(SignerError::Foreign { signer, what: "rental" });
        }
        if receipt.value.activeS > 60 {
            return Err(SignerError::Refused("active_s is beyond what has passed".to_owned()));
        }
        Ok(sign(&account(9), receipt.value).signature)
    }

    async fn stop(&self, order: EndRental) -> Result<Signed<Stop>, SignerError> {
        let stop = Stop { rental: order.rental, at: order.at, keepS: order.keepS };
        Ok(sign(&account(9), stop))
    }
}

fn sign<T: Signable>(key: &PrivateKeySigner, value: T) -> Signed<T> {
    let signature = key.sign_hash_sync(&value.digest(CHAIN)).unwrap();
    Signed { value, signature: signature.as_bytes().to_vec().into() }
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn new_signer(at: u64) -> NewSigner {
    NewSigner { client: account(0).address(), rental: rental().get(), at }
}

async fn post(server: &Server, path: &str, body: &impl serde::Serialize) -> (u16, Value) {
    let reply = server.post(path, &serde_json::to_vec(body).unwrap()).await;
    (reply.status, reply.json())
}

async fn server() -> Server {
    Server::full(Config::default(), Arc::new(OneSigner)).await
}

#[tokio::test]
async fn a_client_gets_a_signer_for_its_rental() {
    let server = server().await;
    let (status, answer) =
        post(&server, "/v1/signers", &sign(&account(0), new_signer(now_s()))).await;
    assert_eq!((status, answer), (200, json!({"signer": account(9).address()})));
    let other = sign(&account(0), NewSigner { rental: keccak256("x"), ..new_signer(now_s()) });
    let (status, answer) = post(&server, "/v1/signers", &other).await;
    assert_eq!((status, &answer["error"]["code"]), (503, &json!("full")));
}

#[tokio::test]
async fn orders_of_others_and_of_other_times_are_refused() {
    let server = server().await;
    let check = async |order: Signed<NewSigner>, code: &str| {
        let (status, answer) = post(&server, "/v1/signers", &order).await;
        assert_eq!((status, &answer["error"]["code"]), (401, &json!(code)), "{answer}");
    };
    check(sign(&account(1), new_signer(now_s())), "signature").await;
    check(sign(&account(0), new_signer(now_s() - 301)), "stale").await;
    check(sign(&account(0), new_signer(now_s() + 400)), "stale").await;
    let mut altered = sign(&account(0), new_signer(now_s()));
    altered.value.rental = keccak256("another");
    check(altered, "signature").await;
    let garbage = Signed { value: new_signer(now_s()), signature: vec![1; 65].into() };
    check(garbage, "signature").await;
    let (status, _) =
        post(&server, "/v1/signers", &json!({"value": "0x00", "signature": "0x"})).await;
    assert_eq!(status, 400);
    let long = json!({"value": "00".repeat(70_000), "signature": "0x"});
    assert_eq!(post(&server, "/v1/signers", &long).await.0, 400);
}

#[tokio::test]
async fn receipts_are_co_signed_or_refused_by_name() {
    let server = server().await;
    let machine = PrivateKeySigner::random();
    let receipt = |active_s: u64, rental: RentalId| {
        sign(&machine, Receipt { rental: rental.get(), activeS: active_s, ..Receipt::default() })
    };
    let path = format!("/v1/signers/{}/receipts", account(9).address());
    let (status, answer) = post(&server, &path, &receipt(10, rental())).await;
    assert_eq!(status, 200);
    let signature: Bytes = serde_json::from_value(answer["signature"].clone()).unwrap();
    let cosigned = Signed { value: receipt(10, rental()).value, signature };
    assert_eq!(cosigned.signer(CHAIN), Ok(account(9).address()));
    let code = async |path: &str, receipt: Signed<Receipt>| {
        let (status, answer) = post(&server, path, &receipt).await;
        (status, answer["error"]["code"].clone())
    };
    assert_eq!(code(&path, receipt(61, rental())).await, (422, json!("refused")));
    let foreign = receipt(1, RentalId::default());
    assert_eq!(code(&path, foreign).await, (403, json!("foreign")));
    let unknown = format!("/v1/signers/{}/receipts", account(8).address());
    assert_eq!(code(&unknown, receipt(1, rental())).await, (404, json!("not_found")));
    assert_eq!(code("/v1/signers/x/receipts", receipt(1, rental())).await, (400, json!("path")));
}

#[tokio::test]
async fn a_stop_needs_its_clients_order_to_that_signer() {
    let server = server().await;
    let order = EndRental {
        client: account(0).address(),
        rental: rental().get(),
        signer: account(9).address(),
        keepS: 60,
        at: now_s(),
    };
    let path = format!("/v1/signers/{}/stop", account(9).address());
    let (status, answer) = post(&server, &path, &sign(&account(0), order.clone())).await;
    assert_eq!(status, 200, "{answer}");
    let stop: Signed<Stop> = serde_json::from_value(answer).unwrap();
    assert_eq!(stop.signer(CHAIN), Ok(account(9).address()));
    assert_eq!(stop.value.keepS, 60);
    let (status, _) = post(&server, &path, &sign(&account(1), order.clone())).await;
    assert_eq!(status, 401, "somebody else");
    let elsewhere = format!("/v1/signers/{}/stop", account(8).address());
    let (status, answer) = post(&server, &elsewhere, &sign(&account(0), order)).await;
    assert_eq!((status, &answer["error"]["code"]), (400, &json!("signer")));
}

#[tokio::test]
async fn a_node_without_a_signer_says_so() {
    let server = Server::start().await;
    let order = sign(&account(0), new_signer(now_s()));
    let (status, answer) = post(&server, "/v1/signers", &order).await;
    assert_eq!((status, &answer["error"]["code"]), (501, &json!("disabled")));
}
