//! Put, copy, delete.

use s3s::dto::{
    CopyObjectInput, CopyObjectOutput, CopyObjectResult, CopySource, DeleteObjectInput,
    DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput, DeletedObject, ETag,
    MetadataDirective, PutObjectInput, PutObjectOutput,
};
use s3s::{S3Error, S3Request, S3Response, S3Result, s3_error};

use super::Store;
use super::announced::announced;
use super::conditions::{Conditions, may_write};
use crate::store::Pinned;
use crate::store::clock::{now_ms, timestamp};
use crate::store::index::IndexError;
use crate::store::ingest::{Pending, Wanted, ingest};
use crate::store::record::{Facts, ObjectRecord, Piece};

/// The most user metadata, in bytes, as S3 has it.
const MAX_USER_BYTES: usize = 2048;
/// The most keys one request may delete, as S3 has it.
const MAX_DELETE: usize = 1000;

/// The facts of any input that has them.
macro_rules! facts_of {
    ($input:expr) => {
        $crate::store::record::Facts {
            content_type: $input.content_type.clone(),
            cache_control: $input.cache_control.clone(),
            content_disposition: $input.content_disposition.clone(),
            content_encoding: $input.content_encoding.clone(),
            content_language: $input.content_language.clone(),
            user: $input.metadata.clone().unwrap_or_default().into_iter().collect(),
        }
    };
}
pub(super) use facts_of;

impl Store {
    pub(super) async fn put(
        &self,
        mut req: S3Request<PutObjectInput>,
    ) -> S3Result<S3Response<PutObjectOutput>> {
        let announced = announced!(req.input, req);
        // Whoever signs an address has another send the content, who compares no tag.
        let presigned = req.uri.query().is_some_and(|query| query.contains("X-Amz-Signature="));
        let body = req.input.body.take();
        let input = req.input;
        let facts = checked(facts_of!(input))?;
        let bucket = input.bucket.clone();
        // Before the body: a client with the wrong bucket should not send it all.
        self.on_disk(move |store| store.index.bucket(&bucket)).await?;
        let wanted = Wanted { md5: announced.md5.is_some() || !presigned, ..announced.wanted()? };
        let got = ingest(&self.inner, body, input.content_length, wanted).await?;
        let checksums = announced.check(&got)?;
        if let Some(blake3) = facts.user.get("blake3")
            && !blake3.eq_ignore_ascii_case(got.blake3.to_hex().as_str())
        {
            return Err(s3_error!(
                BadDigest,
                "The x-amz-meta-blake3 you specified did not match what we received."
            ));
        }
        let record = ObjectRecord {
            size: got.piece.size,
            etag: got.tag(),
            modified_ms: now_ms(),
            pieces: vec![got.piece],
            blake3: Some(got.blake3.to_hex().to_string()),
            checksums,
            facts,
        };
        let (etag, sums) = (record.etag.clone(), record.checksums.clone());
        let pending = vec![got.pending];
        let (m, n) = (input.if_match, input.if_none_match);
        self.commit(input.bucket, input.key, record, pending, move |old| {
            may_write(m.as_ref(), n.as_ref(), old)
        })
        .await?;
        Ok(S3Response::new(PutObjectOutput {
            e_tag: Some(ETag::Strong(etag)),
            checksum_crc32: sums.crc32,
            checksum_crc32c: sums.crc32c,
            checksum_crc64nvme: sums.crc64nvme,
            checksum_sha1: sums.sha1,
            checksum_sha256: sums.sha256,
            ..Default::default()
        }))
    }

    /// Makes an object visible; its blobs are kept in the same step, whoever still waits for it.
    async fn commit(
        &self,
        bucket: String,
        key: String,
        record: ObjectRecord,
        pending: Vec<Pending>,
        allowed: impl FnOnce(Option<&ObjectRecord>) -> bool + Send + 'static,
    ) -> S3Result<()> {
        self.on_disk(move |store| {
            let freed = store.index.put(&bucket, &key, &record, allowed)?;
            pending.into_iter().for_each(Pending::keep);
            store.discard(freed);
            Ok(())
        })
        .await
    }

    pub(super) async fn copy(
        &self,
        req: S3Request<CopyObjectInput>,
    ) -> S3Result<S3Response<CopyObjectOutput>> {
        let input = req.input;
        let (bucket, key) = source(&input.copy_source)?;
        let replace = input
            .metadata_directive
            .as_ref()
            .is_some_and(|directive| directive.as_str() == MetadataDirective::REPLACE);
        if !replace && bucket == input.bucket && key == input.key {
            return Err(s3_error!(
                InvalidRequest,
                "This copy request is illegal because it is trying to copy an object to itself \
                 without changing the object's metadata, storage class, website redirect location \
                 or encryption attributes."
            ));
        }
        let facts = checked(facts_of!(input))?;
        let (mut record, pinned) = self.find(bucket, key).await?;
        Conditions {
            matches: input.copy_source_if_match,
            none_match: input.copy_source_if_none_match,
            modified_since: input.copy_source_if_modified_since,
            unmodified_since: input.copy_source_if_unmodified_since,
        }
        .check_source(&record)?;
        if replace {
            record.facts = facts;
        }
        let shared =
            tokio::task::spawn_blocking(move || share(&pinned, &record.pieces, record.clone()))
                .await
                .map_err(S3Error::internal_error)?;
        let (mut record, pending) = shared.map_err(crate::store::error::failed)?;
        record.modified_ms = now_ms();
        let result = CopyObjectResult {
            e_tag: Some(ETag::Strong(record.etag.clone())),
            last_modified: Some(timestamp(record.modified_ms)),
            ..Default::default()
        };
        self.commit(input.bucket, input.key, record, pending, |_| true).await?;
        Ok(S3Response::new(CopyObjectOutput {
            copy_object_result: Some(result),
            ..Default::default()
        }))
    }

    pub(super) async fn delete(
        &self,
        req: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        let input = req.input;
        self.remove(input.bucket, vec![input.key]).await?;
        Ok(S3Response::with_status(DeleteObjectOutput::default(), http::StatusCode::NO_CONTENT))
    }

    pub(super) async fn delete_many(
        &self,
        req: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        let input = req.input;
        let keys: Vec<String> = input.delete.objects.into_iter().map(|object| object.key).collect();
        if keys.is_empty() || keys.len() > MAX_DELETE {
            return Err(s3_error!(MalformedXML));
        }
        self.remove(input.bucket, keys.clone()).await?;
        let quiet = input.delete.quiet == Some(true);
        let deleted =
            keys.into_iter().map(|key| DeletedObject { key: Some(key), ..Default::default() });
        Ok(S3Response::new(DeleteObjectsOutput {
            deleted: (!quiet).then(|| deleted.collect()),
            ..Default::default()
        }))
    }

    async fn remove(&self, bucket: String, keys: Vec<String>) -> S3Result<()> {
        self.on_disk(move |store| {
            let freed = store.index.delete(&bucket, &keys)?;
            store.discard(freed);
            Ok::<(), IndexError>(())
        })
        .await
    }
}

/// Gives the content of a copy its own names.
fn share(
    source: &Pinned,
    pieces: &[Piece],
    mut record: ObjectRecord,
) -> std::io::Result<(ObjectRecord, Vec<Pending>)> {
    let store = &source.store;
    let mut pending = Vec::new();
    let mut copied = Vec::new();
    for piece in pieces {
        let blob = store.blobs.share(piece.blob)?;
        pending.push(Pending::new(store, blob));
        copied.push(Piece { blob, size: piece.size });
    }
    record.pieces = copied;
    Ok((record, pending))
}

pub(super) fn checked(facts: Facts) -> S3Result<Facts> {
    if facts.user_bytes() > MAX_USER_BYTES { Err(s3_error!(MetadataTooLarge)) } else { Ok(facts) }
}

pub(super) fn source(source: &CopySource) -> S3Result<(String, String)> {
    match source {
        CopySource::Bucket { bucket, key, version_id: None } => {
            Ok((bucket.to_string(), key.to_string()))
        }
        _ => Err(s3_error!(NotImplemented, "copy from bucket and key; there are no versions")),
    }
}
