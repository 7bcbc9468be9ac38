//! The client's side of the door.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use alloy_signer_local::PrivateKeySigner;
use futures::{Stream, StreamExt};
use pouw_data::Slots;
use pouw_types::{Offer, RentalId};
use reqwest::{Method, RequestBuilder, Response, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};

use super::sse::Parser;
use super::{
    ErrorBody, Event, Health, NONCE_HEADER, PortName, QuoteReply, QuoteRequest, RentalStatus,
    SIGNATURE_HEADER, StopRequest, TIME_HEADER, TaskRequest, UPGRADE, message, sign,
};

/// Most bytes of a reply that is read whole.
const MAX_REPLY_BYTES: usize = 128 << 20;

/// A request to a host's door failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No answer.
    #[error("the host at {endpoint} does not answer")]
    Unreachable {
        /// Its address.
        endpoint: String,
        /// What went wrong.
        #[source]
        source: reqwest::Error,
    },
    /// A refusal.
    #[error("the host refuses ({status}): {}; {}", .body.message, .body.hint)]
    Refused {
        /// The HTTP status.
        status: u16,
        /// What it says.
        body: ErrorBody,
    },
    /// An answer that can't be read.
    #[error("the host's answer makes no sense: {0}")]
    Malformed(String),
    /// The key does not sign.
    #[error("the request can't be signed")]
    Key(#[source] alloy_signer::Error),
}

impl ClientError {
    /// Whether trying the same again can help.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused { status, .. } => *status >= 500 || *status == 429,
            Self::Malformed(_) | Self::Key(_) => false,
        }
    }
}

/// Talks to one host; cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    endpoint: Url,
    key: Option<PrivateKeySigner>,
}

impl Client {
    /// For the host at `endpoint`; `key` is the client's, needed for everything about a rental.
    ///
    /// # Errors
    /// [`ClientError::Malformed`] where `endpoint` is no address.
    pub fn new(endpoint: &str, key: Option<PrivateKeySigner>) -> Result<Self, ClientError> {
        // Another part of the process may have chosen a provider already: that one serves as well.
        let _chosen = rustls::crypto::ring::default_provider().install_default();
        let malformed = |error: &dyn core::fmt::Display| {
            ClientError::Malformed(format!("`{endpoint}` is no address of a host: {error}"))
        };
        let endpoint = Url::parse(endpoint).map_err(|error| malformed(&error))?;
        let http = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(5))
            // Only there a connection can become a tunnel.
            .http1_only()
            .build()
            .map_err(|error| malformed(&error))?;
        Ok(Self { http, endpoint, key })
    }

    /// Whether the agent works.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn health(&self) -> Result<Health, ClientError> {
        self.read(self.request(Method::GET, "/v1/health")?).await
    }

    /// What the machine offers, its signature checked.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn offer(&self) -> Result<Offer, ClientError> {
        let offer: Offer = self.read(self.request(Method::GET, "/v1/offer")?).await?;
        offer.verify().map_err(|error| ClientError::Malformed(error.to_string()))?;
        Ok(offer)
    }

    /// A price for a task.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn quote(&self, request: &QuoteRequest) -> Result<QuoteReply, ClientError> {
        self.read(self.request(Method::POST, "/v1/quotes")?.json(request)).await
    }

    /// Hands over the task of a rental; sending the same again is harmless.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn put_task(
        &self,
        rental: RentalId,
        task: &TaskRequest,
    ) -> Result<RentalStatus, ClientError> {
        self.read(self.signed(Method::PUT, rental, "/task", Some(task))?).await
    }

    /// Gives fresh addresses for what is still to be written.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn renew(
        &self,
        rental: RentalId,
        slots: &Slots,
    ) -> Result<RentalStatus, ClientError> {
        self.read(self.signed(Method::PUT, rental, "/slots", Some(slots))?).await
    }

    /// Where a rental stands.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn status(&self, rental: RentalId) -> Result<RentalStatus, ClientError> {
        self.read(self.signed(Method::GET, rental, "", None::<&()>)?).await
    }

    /// Ends a rental.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn stop(
        &self,
        rental: RentalId,
        stop: &StopRequest,
    ) -> Result<RentalStatus, ClientError> {
        self.read(self.signed(Method::POST, rental, "/stop", Some(stop))?).await
    }

    /// A connection to a port of a running task: TCP as bytes, UDP as [`super::datagram`]s.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn tunnel(
        &self,
        rental: RentalId,
        port: PortName,
    ) -> Result<impl AsyncRead + AsyncWrite + Send + Unpin + use<>, ClientError> {
        let nonce: [u8; 16] = rand::random();
        let what = format!("/ports/{port}");
        let request = self
            .signed_bytes(Method::GET, rental, &what, &nonce)?
            .header(NONCE_HEADER, hex::encode(nonce))
            .header("connection", "upgrade")
            .header("upgrade", UPGRADE);
        let response = self.send(request).await?;
        if response.status().as_u16() != 101 {
            let text = format!("{} in the place of a tunnel", response.status());
            return Err(ClientError::Malformed(text));
        }
        let endpoint = self.endpoint.to_string();
        response.upgrade().await.map_err(|source| ClientError::Unreachable { endpoint, source })
    }

    /// The task's output so far.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn log(&self, rental: RentalId) -> Result<Vec<u8>, ClientError> {
        let response = self.send(self.signed(Method::GET, rental, "/log", None::<&()>)?).await?;
        self.bytes(response).await
    }

    /// The manifest, as its JSON text.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn manifest(&self, rental: RentalId) -> Result<Vec<u8>, ClientError> {
        let request = self.signed(Method::GET, rental, "/manifest", None::<&()>)?;
        let response = self.send(request).await?;
        self.bytes(response).await
    }

    /// Reads one of the results that stay on the host (`RentalStatus::left`), at most `max_bytes`.
    ///
    /// # Errors
    /// [`ClientError`], also where the file can't be written.
    pub async fn result(
        &self,
        rental: RentalId,
        index: usize,
        to: &mut (impl std::io::Write + Send),
        max_bytes: u64,
    ) -> Result<(), ClientError> {
        let what = format!("/results/{index}");
        let request = self.signed(Method::GET, rental, &what, None::<&()>)?;
        let mut stream = self.send(request).await?.bytes_stream();
        let mut got = 0u64;
        while let Some(chunk) = stream.next().await {
            let endpoint = self.endpoint.to_string();
            let chunk = chunk.map_err(|source| ClientError::Unreachable { endpoint, source })?;
            got = got.saturating_add(chunk.len() as u64);
            if got > max_bytes {
                return Err(ClientError::Malformed(format!("longer than {max_bytes} bytes")));
            }
            to.write_all(&chunk).map_err(|error| ClientError::Malformed(error.to_string()))?;
        }
        Ok(())
    }

    /// What happens in a rental, from the event after `after` on, until the rental is done or the
    /// connection breaks: then ask again from the last id.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn events(
        &self,
        rental: RentalId,
        after: u64,
    ) -> Result<impl Stream<Item = Result<Event, ClientError>> + Send + use<>, ClientError> {
        let request = self
            .signed(Method::GET, rental, "/events", None::<&()>)?
            .header("last-event-id", after.to_string());
        let response = self.send(request).await?;
        let endpoint = self.endpoint.to_string();
        let mut parser = Parser::default();
        let chunks = response.bytes_stream().map(move |chunk| match chunk {
            Ok(chunk) => parser.push(&chunk),
            Err(source) => {
                vec![Err(ClientError::Unreachable { endpoint: endpoint.clone(), source })]
            }
        });
        Ok(chunks.flat_map(futures::stream::iter))
    }

    fn request(&self, method: Method, path: &str) -> Result<RequestBuilder, ClientError> {
        let url = self
            .endpoint
            .join(path)
            .map_err(|error| ClientError::Malformed(format!("`{path}`: {error}")))?;
        Ok(self.http.request(method, url))
    }

    fn signed<T: Serialize>(
        &self,
        method: Method,
        rental: RentalId,
        what: &str,
        body: Option<&T>,
    ) -> Result<RequestBuilder, ClientError> {
        let body = body.map(serde_json::to_vec).transpose();
        let body = body.map_err(|error| ClientError::Malformed(error.to_string()))?;
        let request =
            self.signed_bytes(method, rental, what, body.as_deref().unwrap_or_default())?;
        Ok(match body {
            Some(body) => request.header("content-type", "application/json").body(body),
            None => request,
        })
    }

    /// A request whose signature covers these bytes.
    fn signed_bytes(
        &self,
        method: Method,
        rental: RentalId,
        what: &str,
        bytes: &[u8],
    ) -> Result<RequestBuilder, ClientError> {
        let Some(key) = &self.key else {
            return Err(ClientError::Malformed("a rental's door needs its client's key".into()));
        };
        let path = format!("/v1/rentals/{rental}{what}");
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let text = message(method.as_str(), &path, rental, bytes, now);
        let signature = sign(key, &text).map_err(ClientError::Key)?;
        let request = self.request(method, &path)?;
        Ok(request.header(TIME_HEADER, now.to_string()).header(SIGNATURE_HEADER, signature))
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, ClientError> {
        let endpoint = || self.endpoint.to_string();
        let response = request
            .send()
            .await
            .map_err(|source| ClientError::Unreachable { endpoint: endpoint(), source })?;
        if response.status().is_success() || response.status().as_u16() == 101 {
            return Ok(response);
        }
        let status = response.status().as_u16();
        let text = self.bytes(response).await?;
        let body = serde_json::from_slice(&text).unwrap_or_else(|_| ErrorBody {
            code: "unknown".to_owned(),
            message: String::from_utf8_lossy(&text).chars().take(500).collect(),
            hint: "is this a host's door?".to_owned(),
        });
        Err(ClientError::Refused { status, body })
    }

    async fn bytes(&self, response: Response) -> Result<Vec<u8>, ClientError> {
        let mut stream = response.bytes_stream();
        let mut whole = Vec::new();
        while let Some(chunk) = stream.next().await {
            let endpoint = self.endpoint.to_string();
            let chunk = chunk.map_err(|source| ClientError::Unreachable { endpoint, source })?;
            if whole.len() + chunk.len() > MAX_REPLY_BYTES {
                return Err(ClientError::Malformed("longer than 128 MiB".to_owned()));
            }
            whole.extend_from_slice(&chunk);
        }
        Ok(whole)
    }

    async fn read<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, ClientError> {
        let response = self.send(request).await?;
        let bytes = self.bytes(response).await?;
        serde_json::from_slice(&bytes).map_err(|error| ClientError::Malformed(error.to_string()))
    }
}
