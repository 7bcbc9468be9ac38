//! What the index remembers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::blob::BlobId;

/// What a client said about an object beside its content.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Facts {
    pub(super) content_type: Option<String>,
    pub(super) cache_control: Option<String>,
    pub(super) content_disposition: Option<String>,
    pub(super) content_encoding: Option<String>,
    pub(super) content_language: Option<String>,
    pub(super) user: BTreeMap<String, String>,
}

impl Facts {
    /// Bytes of user metadata, as S3 counts them.
    pub(super) fn user_bytes(&self) -> usize {
        self.user.iter().map(|(key, value)| key.len() + value.len()).sum()
    }
}

/// The digests a client gave, which were checked, in base64.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Checksums {
    pub(super) crc32: Option<String>,
    pub(super) crc32c: Option<String>,
    pub(super) crc64nvme: Option<String>,
    pub(super) sha1: Option<String>,
    pub(super) sha256: Option<String>,
}

/// One stretch of content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Piece {
    pub(super) blob: BlobId,
    pub(super) size: u64,
}

/// One object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ObjectRecord {
    pub(super) size: u64,
    pub(super) etag: String,
    pub(super) modified_ms: u64,
    pub(super) pieces: Vec<Piece>,
    /// BLAKE3 in hex; of objects put in one piece.
    pub(super) blake3: Option<String>,
    pub(super) checksums: Checksums,
    pub(super) facts: Facts,
}

impl ObjectRecord {
    pub(super) fn blobs(&self) -> Vec<BlobId> {
        self.pieces.iter().map(|piece| piece.blob).collect()
    }
}

/// A multipart upload under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct UploadRecord {
    pub(super) started_ms: u64,
    pub(super) facts: Facts,
}

/// One part of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PartRecord {
    pub(super) piece: Piece,
    pub(super) md5: String,
    pub(super) modified_ms: u64,
    pub(super) checksums: Checksums,
}
