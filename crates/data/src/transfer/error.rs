//! Why bytes did not arrive.

use std::path::PathBuf;

use alloy_primitives::B256;

use crate::PresignedUrl;

/// Why a transfer failed; URLs are shown without their query.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// The HTTP client cannot be set up.
    #[error("cannot set up the HTTP client")]
    Setup(#[source] reqwest::Error),
    /// The server could not be reached or broke off.
    #[error("{url} did not answer or broke off")]
    Network {
        /// Where.
        url: PresignedUrl,
        /// What happened, without the URL.
        source: reqwest::Error,
    },
    /// The server ended the body early.
    #[error("{url} sent {received} bytes of {expected}")]
    Truncated {
        /// Where.
        url: PresignedUrl,
        /// Bytes received.
        received: u64,
        /// Bytes announced.
        expected: u64,
    },
    /// The server answered, and not with success.
    #[error("{url} answered {status}: {answer}")]
    Refused {
        /// Where.
        url: PresignedUrl,
        /// The HTTP status.
        status: u16,
        /// Code and message of the answer, bounded.
        answer: String,
    },
    /// More bytes than allowed or expected.
    #[error("{url} has {found} bytes, more than the {max} allowed")]
    TooLarge {
        /// Where.
        url: PresignedUrl,
        /// Bytes announced or received.
        found: u64,
        /// Bytes allowed.
        max: u64,
    },
    /// Another size than expected.
    #[error("{url} has {found} bytes, {expected} were expected")]
    Size {
        /// Where.
        url: PresignedUrl,
        /// Bytes found.
        found: u64,
        /// Bytes expected.
        expected: u64,
    },
    /// Another content than expected.
    #[error("{url} has BLAKE3 {found}, {expected} was expected")]
    Digest {
        /// Where.
        url: PresignedUrl,
        /// The digest found.
        found: B256,
        /// The digest expected.
        expected: B256,
    },
    /// A local file failed.
    #[error("cannot {action} {path}")]
    File {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file changed while it was sent.
    #[error("{0} changed while it was sent; send it when it is finished")]
    Changed(PathBuf),
}

impl TransferError {
    /// Whether another try may succeed.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Network { source, .. } => !source.is_builder() && !source.is_redirect(),
            Self::Truncated { .. } => true,
            Self::Refused { status, .. } => {
                matches!(status, 408 | 425 | 429 | 500 | 502 | 503 | 504)
            }
            _ => false,
        }
    }
}
