//! Put, get, head, copy, delete.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use s3s::checksum::ChecksumHasher;
use s3s::dto::{
    Checksum, ChecksumMode, CopyObjectInput, CopyObjectOutput, CopyObjectResult, CopySource,
    DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput, DeletedObject,
    ETag, GetObjectInput, GetObjectOutput, HeadObjectInput, HeadObjectOutput, Metadata,
    MetadataDirective, PutObjectInput, PutObjectOutput, Range,
};
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result, TrailingHeaders, s3_error};

use super::conditions::{Conditions, may_write};
use super::{Store, now_ms, timestamp};
use crate::store::index::IndexError;
use crate::store::ingest::{Ingested, Pending, ingest};
use crate::store::read::stream;
use crate::store::record::{Checksums, Facts, ObjectRecord, Piece};
use crate::store::{Inner, Pinned};

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

/// The digests a put or part was announced with.
macro_rules! announced {
    ($input:expr, $req:expr) => {
        $crate::store::service::objects::Announced {
            md5: $input.content_md5.clone(),
            given: s3s::dto::Checksum {
                checksum_crc32: $input.checksum_crc32.clone(),
                checksum_crc32c: $input.checksum_crc32c.clone(),
                checksum_crc64nvme: $input.checksum_crc64nvme.clone(),
                checksum_sha1: $input.checksum_sha1.clone(),
                checksum_sha256: $input.checksum_sha256.clone(),
                ..Default::default()
            },
            algorithms: $crate::store::service::objects::named_algorithms(&$req.headers),
            trailing: $req.trailing_headers.clone(),
        }
    };
}
pub(super) use announced;

pub(super) struct Announced {
    pub(super) md5: Option<String>,
    pub(super) given: Checksum,
    pub(super) algorithms: Vec<String>,
    pub(super) trailing: Option<TrailingHeaders>,
}

/// The digests that headers name without giving them: for the answer, or behind the body.
pub(super) fn named_algorithms(headers: &http::HeaderMap) -> Vec<String> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let trailers = text("x-amz-trailer").unwrap_or_default().split(',');
    let trailers = trailers
        .filter_map(|name| name.trim().strip_prefix("x-amz-checksum-"))
        .map(str::to_ascii_uppercase);
    let named = ["x-amz-sdk-checksum-algorithm", "x-amz-checksum-algorithm"];
    let named = named.into_iter().filter_map(text).map(str::to_ascii_uppercase);
    trailers.chain(named).collect()
}

impl Announced {
    /// What must be computed to check it.
    pub(super) fn hasher(&self) -> S3Result<ChecksumHasher> {
        let named = |name: &str| self.algorithms.iter().any(|named| named == name);
        let wants = |given: &Option<String>, name: &str| given.is_some() || named(name);
        let known = ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"];
        if self.algorithms.iter().any(|named| !known.contains(&named.as_str())) {
            return Err(s3_error!(InvalidRequest, "Checksum algorithm provided is unsupported."));
        }
        let mut hasher = ChecksumHasher::default();
        let given = &self.given;
        hasher.crc32 = wants(&given.checksum_crc32, "CRC32").then(Default::default);
        hasher.crc32c = wants(&given.checksum_crc32c, "CRC32C").then(Default::default);
        hasher.crc64nvme = wants(&given.checksum_crc64nvme, "CRC64NVME").then(Default::default);
        hasher.sha1 = wants(&given.checksum_sha1, "SHA1").then(Default::default);
        hasher.sha256 = wants(&given.checksum_sha256, "SHA256").then(Default::default);
        Ok(hasher)
    }

    /// Compares what was announced, before the body or behind it, with what came.
    pub(super) fn check(&self, got: &Ingested) -> S3Result<Checksums> {
        if let Some(md5) = &self.md5 {
            let md5 = STANDARD.decode(md5).map_err(|_| s3_error!(InvalidDigest))?;
            if md5.len() != 16 {
                return Err(s3_error!(InvalidDigest));
            }
            if md5 != got.md5 {
                return Err(s3_error!(BadDigest));
            }
        }
        let trailer = |name: &str| {
            let read = |headers: &http::HeaderMap| {
                headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
            };
            self.trailing.as_ref().and_then(|trailing| trailing.read(read)).flatten()
        };
        let agree = |given: &Option<String>, name: &str, computed: &Option<String>| match given
            .clone()
            .or_else(|| trailer(name))
        {
            Some(given) if computed.as_ref() != Some(&given) => Err(s3_error!(BadDigest)),
            _ => Ok(computed.clone()),
        };
        let (given, came) = (&self.given, &got.checksum);
        let prefix = "x-amz-checksum-";
        let named = |name: &str| format!("{prefix}{name}");
        Ok(Checksums {
            crc32: agree(&given.checksum_crc32, &named("crc32"), &came.checksum_crc32)?,
            crc32c: agree(&given.checksum_crc32c, &named("crc32c"), &came.checksum_crc32c)?,
            crc64nvme: agree(
                &given.checksum_crc64nvme,
                &named("crc64nvme"),
                &came.checksum_crc64nvme,
            )?,
            sha1: agree(&given.checksum_sha1, &named("sha1"), &came.checksum_sha1)?,
            sha256: agree(&given.checksum_sha256, &named("sha256"), &came.checksum_sha256)?,
        })
    }
}

impl Store {
    pub(super) async fn put(
        &self,
        mut req: S3Request<PutObjectInput>,
    ) -> S3Result<S3Response<PutObjectOutput>> {
        let announced = announced!(req.input, req);
        let body = req.input.body.take();
        let input = req.input;
        let facts = checked(facts_of!(input))?;
        let bucket = input.bucket.clone();
        // Before the body: a client with the wrong bucket should not send it all.
        self.on_disk(move |store| store.index.bucket(&bucket)).await?;
        let got = ingest(&self.inner, body, input.content_length, announced.hasher()?).await?;
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
            etag: hex::encode(got.md5),
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

    /// Looks an object up and keeps its content in place.
    pub(super) async fn find(
        &self,
        bucket: String,
        key: String,
    ) -> S3Result<(ObjectRecord, Pinned)> {
        let (found, pinned) = self
            .on_disk(move |store: &Arc<Inner>| {
                store.pin(
                    |index| index.object(&bucket, &key),
                    |found| found.as_ref().map(ObjectRecord::blobs).unwrap_or_default(),
                )
            })
            .await?;
        Ok((found.ok_or(S3ErrorCode::NoSuchKey)?, pinned))
    }

    pub(super) async fn get(
        &self,
        req: S3Request<GetObjectInput>,
    ) -> S3Result<S3Response<GetObjectOutput>> {
        let input = req.input;
        let (record, pinned) = self.find(input.bucket, input.key).await?;
        Conditions {
            matches: input.if_match,
            none_match: input.if_none_match,
            modified_since: input.if_modified_since,
            unmodified_since: input.if_unmodified_since,
        }
        .check(&record)?;
        // A range is taken back if the object is not the one the client began with.
        let same = req
            .headers
            .get(http::header::IF_RANGE)
            .is_none_or(|tag| tag.to_str().is_ok_and(|tag| tag.trim_matches('"') == record.etag));
        let (range, content_range) = bounds(input.range.filter(|_| same), record.size)?;
        let whole = content_range.is_none() && input.checksum_mode == Some(enabled());
        let sums = if whole { record.checksums.clone() } else { Checksums::default() };
        let facts = record.facts;
        let output = GetObjectOutput {
            accept_ranges: Some("bytes".into()),
            content_length: Some(signed(range.end - range.start)?),
            content_range,
            content_type: Some(content_type(&facts)),
            cache_control: facts.cache_control,
            content_disposition: facts.content_disposition,
            content_encoding: facts.content_encoding,
            content_language: facts.content_language,
            e_tag: Some(ETag::Strong(record.etag)),
            last_modified: Some(timestamp(record.modified_ms)),
            metadata: metadata(facts.user),
            checksum_crc32: sums.crc32,
            checksum_crc32c: sums.crc32c,
            checksum_crc64nvme: sums.crc64nvme,
            checksum_sha1: sums.sha1,
            checksum_sha256: sums.sha256,
            body: Some(stream(pinned, record.pieces, range)),
            ..Default::default()
        };
        Ok(S3Response::new(output))
    }

    pub(super) async fn head(
        &self,
        req: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        let input = req.input;
        let (record, _) = self.find(input.bucket, input.key).await?;
        Conditions {
            matches: input.if_match,
            none_match: input.if_none_match,
            modified_since: input.if_modified_since,
            unmodified_since: input.if_unmodified_since,
        }
        .check(&record)?;
        let (range, content_range) = bounds(input.range, record.size)?;
        let whole = content_range.is_none() && input.checksum_mode == Some(enabled());
        let sums = if whole { record.checksums.clone() } else { Checksums::default() };
        let facts = record.facts;
        let output = HeadObjectOutput {
            accept_ranges: Some("bytes".into()),
            content_length: Some(signed(range.end - range.start)?),
            content_range,
            content_type: Some(content_type(&facts)),
            cache_control: facts.cache_control,
            content_disposition: facts.content_disposition,
            content_encoding: facts.content_encoding,
            content_language: facts.content_language,
            e_tag: Some(ETag::Strong(record.etag)),
            last_modified: Some(timestamp(record.modified_ms)),
            metadata: metadata(facts.user),
            checksum_crc32: sums.crc32,
            checksum_crc32c: sums.crc32c,
            checksum_crc64nvme: sums.crc64nvme,
            checksum_sha1: sums.sha1,
            checksum_sha256: sums.sha256,
            ..Default::default()
        };
        Ok(S3Response::new(output))
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

/// The bytes a request is for, and the `Content-Range` that says so if not all.
pub(super) fn bounds(
    range: Option<Range>,
    size: u64,
) -> S3Result<(std::ops::Range<u64>, Option<String>)> {
    let Some(range) = range else { return Ok((0..size, None)) };
    let bytes = range.check(size).map_err(|_| s3_error!(InvalidRange))?;
    let last = bytes.end.checked_sub(1).filter(|last| *last >= bytes.start);
    let last = last.ok_or(S3ErrorCode::InvalidRange)?;
    let text = format!("bytes {}-{last}/{size}", bytes.start);
    Ok((bytes, Some(text)))
}

fn content_type(facts: &Facts) -> String {
    facts.content_type.clone().unwrap_or_else(|| "binary/octet-stream".into())
}

fn metadata(user: std::collections::BTreeMap<String, String>) -> Option<Metadata> {
    (!user.is_empty()).then(|| user.into_iter().collect())
}

fn enabled() -> ChecksumMode {
    ChecksumMode::from_static(ChecksumMode::ENABLED)
}

pub(super) fn signed(size: u64) -> S3Result<i64> {
    i64::try_from(size).map_err(S3Error::internal_error)
}
