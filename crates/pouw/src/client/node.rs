//! A node's HTTP doors beside JSON-RPC: the offers board and the signer.

use core::time::Duration;

use alloy_primitives::{Address, B256, Bytes};
use pouw_api::signer::{EndRental, NewSigner};
use pouw_types::contracts::{Receipt, Stop};
use pouw_types::signing::Signed;
use pouw_types::{MachineId, Offer};
use reqwest::RequestBuilder;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};

use super::rpc::http_client;

/// A node's HTTP doors.
#[derive(Clone, Debug)]
pub struct Node {
    http: reqwest::Client,
    url: String,
}

/// A request to a node failed.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// Nobody answered.
    #[error("no node answers at {url}: is it running (`pouw devnet start`)?")]
    Unreachable {
        /// Where.
        url: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// The node said no.
    #[error("the node refuses: {message}{}", .hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default())]
    Refused {
        /// Why.
        message: String,
        /// What would mend it.
        hint: Option<String>,
    },
    /// The answer makes no sense.
    #[error("{url} answered with something that is not a node's: {detail}")]
    Malformed {
        /// Where.
        url: String,
        /// What was wrong.
        detail: String,
    },
}

#[derive(Deserialize)]
struct ErrorReply {
    error: ErrorText,
}

#[derive(Deserialize)]
struct ErrorText {
    message: String,
    hint: Option<String>,
}

#[derive(Deserialize)]
struct Offers {
    offers: Vec<Offer>,
}

#[derive(Deserialize)]
struct NewSignerReply {
    signer: Address,
}

#[derive(Deserialize)]
struct Cosignature {
    signature: Bytes,
}

#[derive(Deserialize)]
struct WorkReply {
    work: Option<LaneOneWork>,
}

#[derive(Deserialize)]
struct WonReply {
    block: Option<B256>,
}

/// A block of lane 1 that a machine's tasks may win, as the node tells it.
#[derive(Clone, Debug, Deserialize)]
pub struct LaneOneWork {
    /// A certificate names it.
    pub number: u64,
    /// Hash of the header's core.
    pub core: B256,
    /// `D_1`.
    #[serde(deserialize_with = "decimal")]
    pub difficulty: u128,
    /// The parent first.
    pub ancestors: Vec<B256>,
}

fn decimal<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u128, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(serde::de::Error::custom)
}

impl Node {
    /// Prepares for requests to a node's address; nothing is sent yet.
    #[must_use]
    pub fn new(url: &str, timeout: Duration) -> Self {
        Self { http: http_client(url, timeout), url: url.trim_end_matches('/').to_owned() }
    }

    /// The offers that the node knows, each with its machine's valid signature.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn offers(&self) -> Result<Vec<Offer>, NodeError> {
        let reply: Offers = self.read(self.http.get(self.at("/v1/offers"))).await?;
        let mut offers = reply.offers;
        offers.retain(|offer| offer.verify().is_ok());
        Ok(offers)
    }

    /// What the node says of itself: head, pace, supply.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn status(&self) -> Result<serde_json::Value, NodeError> {
        self.read(self.http.get(self.at("/v1/status"))).await
    }

    /// Who the node is connected with.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn peers(&self) -> Result<serde_json::Value, NodeError> {
        self.read(self.http.get(self.at("/v1/peers"))).await
    }

    /// What a path of the API answers, as it is.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn get(&self, path: &str) -> Result<serde_json::Value, NodeError> {
        self.read(self.http.get(self.at(path))).await
    }

    /// Puts an offer on the board.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn post_offer(&self, offer: &Offer) -> Result<(), NodeError> {
        let request = self.http.post(self.at("/v1/offers")).json(offer);
        self.read::<serde_json::Value>(request).await.map(|_| ())
    }

    /// Makes a signer for a rental.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn new_signer(&self, order: &Signed<NewSigner>) -> Result<Address, NodeError> {
        let request = self.http.post(self.at("/v1/signers")).json(order);
        Ok(self.read::<NewSignerReply>(request).await?.signer)
    }

    /// Gets a receipt co-signed.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn cosign(
        &self,
        signer: Address,
        receipt: &Signed<Receipt>,
    ) -> Result<Bytes, NodeError> {
        let url = self.at(&format!("/v1/signers/{signer}/receipts"));
        Ok(self.read::<Cosignature>(self.http.post(url).json(receipt)).await?.signature)
    }

    /// Gets the end of a rental signed.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn end_rental(&self, order: &Signed<EndRental>) -> Result<Signed<Stop>, NodeError> {
        let url = self.at(&format!("/v1/signers/{}/stop", order.value.signer));
        self.read(self.http.post(url).json(order)).await
    }

    /// The block of lane 1 that a machine's tasks may win; none while the lane has no share.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn lane_one_work(
        &self,
        machine: MachineId,
    ) -> Result<Option<LaneOneWork>, NodeError> {
        let path = format!("/v1/mining/work?machine={machine}");
        Ok(self.read::<WorkReply>(self.http.get(self.at(&path))).await?.work)
    }

    /// Hands in a certificate: the block that it won, none where it came too late.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn lane_one_win(
        &self,
        number: u64,
        certificate: Bytes,
    ) -> Result<Option<B256>, NodeError> {
        let order = serde_json::json!({ "number": number, "certificate": certificate });
        let request = self.http.post(self.at("/v1/mining/certificates")).json(&order);
        Ok(self.read::<WonReply>(request).await?.block)
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    async fn read<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, NodeError> {
        let unreachable = |source| NodeError::Unreachable { url: self.url.clone(), source };
        let response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        let bytes = response.bytes().await.map_err(unreachable)?;
        let malformed = |detail: String| NodeError::Malformed { url: self.url.clone(), detail };
        if status.is_success() {
            return serde_json::from_slice(&bytes).map_err(|error| malformed(error.to_string()));
        }
        match serde_json::from_slice::<ErrorReply>(&bytes) {
            Ok(ErrorReply { error: ErrorText { message, hint } }) => {
                Err(NodeError::Refused { message, hint })
            }
            Err(_) => Err(malformed(format!("status {status}"))),
        }
    }
}
