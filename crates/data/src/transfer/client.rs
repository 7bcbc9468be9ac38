//! The HTTP client and its patience.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use super::TransferError;
use crate::PresignedUrl;

/// The longest error answer read, in bytes.
const MAX_ANSWER_BYTES: usize = 4096;

/// How often and how long to try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Tries in all, at least one.
    pub tries: u32,
    /// The wait before the second try, in ms; doubled each time.
    pub first_wait_ms: u64,
    /// The longest wait, in ms.
    pub max_wait_ms: u64,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { tries: 6, first_wait_ms: 200, max_wait_ms: 5_000 }
    }
}

/// Moves bytes; cheap to clone, to be shared.
#[derive(Debug, Clone)]
pub struct Transfers {
    outside: reqwest::Client,
    loopback: reqwest::Client,
    retry: RetryPolicy,
}

impl Transfers {
    /// A client that honours the environment's proxies, except towards this machine.
    ///
    /// # Errors
    /// [`TransferError::Setup`] if TLS cannot be set up.
    pub fn new() -> Result<Self, TransferError> {
        Self::with_retry(RetryPolicy::default())
    }

    /// As [`new`](Self::new), with another patience.
    ///
    /// # Errors
    /// [`TransferError::Setup`] if TLS cannot be set up.
    pub fn with_retry(retry: RetryPolicy) -> Result<Self, TransferError> {
        // Losing the race against another part of the process is as good as winning it.
        drop(rustls::crypto::ring::default_provider().install_default());
        let builder = || {
            reqwest::Client::builder()
                .connect_timeout(Duration::from_secs(10))
                // Bounds silence, not the whole: a large object may take hours.
                .read_timeout(Duration::from_secs(60))
                .redirect(reqwest::redirect::Policy::limited(5))
                .user_agent(concat!("pouw/", env!("CARGO_PKG_VERSION")))
        };
        Ok(Self {
            outside: builder().build().map_err(TransferError::Setup)?,
            loopback: builder().no_proxy().build().map_err(TransferError::Setup)?,
            retry,
        })
    }

    pub(super) fn client(&self, url: &PresignedUrl) -> &reqwest::Client {
        if url.is_loopback() { &self.loopback } else { &self.outside }
    }

    /// Runs `attempt` until it succeeds, fails for good, or patience ends.
    pub(super) async fn patiently<T, F, Fut>(&self, mut attempt: F) -> Result<T, TransferError>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T, TransferError>>,
    {
        let mut wait_ms = self.retry.first_wait_ms;
        let mut left = self.retry.tries.max(1);
        loop {
            left -= 1;
            match attempt().await {
                Err(error) if error.is_transient() && left > 0 => {
                    tracing::debug!(%error, left, "transfer broke off, trying again");
                    tokio::time::sleep(Duration::from_millis(wait_ms)).await;
                    wait_ms = wait_ms.saturating_mul(2).min(self.retry.max_wait_ms);
                }
                outcome => return outcome,
            }
        }
    }
}

/// Drops the URL, which may hold a signature, from what the client reports.
pub(super) fn network(url: &PresignedUrl, source: reqwest::Error) -> TransferError {
    TransferError::Network { url: url.clone(), source: source.without_url() }
}

/// Reads a refusal: code and message of an S3 answer, else its first words.
pub(super) async fn refused(url: &PresignedUrl, mut answer: reqwest::Response) -> TransferError {
    let status = answer.status().as_u16();
    let mut body = Vec::new();
    while body.len() < MAX_ANSWER_BYTES
        && let Ok(Some(chunk)) = answer.chunk().await
    {
        body.extend_from_slice(&chunk);
    }
    body.truncate(MAX_ANSWER_BYTES);
    let text = String::from_utf8_lossy(&body);
    let field = |name: &str| {
        let rest = text.split_once(&format!("<{name}>"))?.1;
        Some(rest.split_once(&format!("</{name}>"))?.0)
    };
    let answer = match (field("Code"), field("Message")) {
        (Some(code), Some(message)) => format!("{code}, {message}"),
        (Some(code), None) => code.to_owned(),
        _ => text.chars().filter(|c| !c.is_control()).take(200).collect(),
    };
    TransferError::Refused { url: url.clone(), status, answer }
}

/// An `Arc` of what a closure called many times needs to own.
pub(super) type Shared<T> = Arc<T>;
