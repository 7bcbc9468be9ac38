//! Moving bytes between slots and files.

use std::path::Path;

use async_trait::async_trait;
use bytes::Bytes;
use pouw_data::{InputSlot, PresignedUrl, Progress, TransferError, Transferred, Transfers};

/// A transfer failed; neither variant shows a presigned address's query.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MoveError {
    /// It may succeed later.
    #[error("{0}")]
    Transient(String),
    /// It fails again.
    #[error("{0}")]
    Permanent(String),
}

/// Moves bytes between slots and files.
#[async_trait]
pub trait Mover: Send + Sync + 'static {
    /// Fetches an input into a file: whole, and with the digest that its slot says.
    ///
    /// # Errors
    /// [`MoveError`].
    async fn download(
        &self,
        slot: &InputSlot,
        to: &Path,
        max_bytes: u64,
        progress: &dyn Progress,
    ) -> Result<Transferred, MoveError>;

    /// Sends a file.
    ///
    /// # Errors
    /// [`MoveError`].
    async fn upload(
        &self,
        from: &Path,
        url: &PresignedUrl,
        progress: &dyn Progress,
    ) -> Result<Transferred, MoveError>;

    /// Sends a small object.
    ///
    /// # Errors
    /// [`MoveError`].
    async fn upload_bytes(
        &self,
        content: Bytes,
        url: &PresignedUrl,
    ) -> Result<Transferred, MoveError>;
}

fn move_error(error: &TransferError) -> MoveError {
    let mut text = error.to_string();
    let mut source = core::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    if error.is_transient() { MoveError::Transient(text) } else { MoveError::Permanent(text) }
}

#[async_trait]
impl Mover for Transfers {
    async fn download(
        &self,
        slot: &InputSlot,
        to: &Path,
        max_bytes: u64,
        progress: &dyn Progress,
    ) -> Result<Transferred, MoveError> {
        Self::download(self, slot, to, max_bytes, progress).await.map_err(|e| move_error(&e))
    }

    async fn upload(
        &self,
        from: &Path,
        url: &PresignedUrl,
        progress: &dyn Progress,
    ) -> Result<Transferred, MoveError> {
        Self::upload(self, from, url, progress).await.map_err(|e| move_error(&e))
    }

    async fn upload_bytes(
        &self,
        content: Bytes,
        url: &PresignedUrl,
    ) -> Result<Transferred, MoveError> {
        Self::upload_bytes(self, content, url).await.map_err(|e| move_error(&e))
    }
}
