//! Get and head: the same answer, with and without the content.

use std::sync::Arc;

use s3s::dto::{
    ChecksumMode, ETag, GetObjectInput, GetObjectOutput, HeadObjectInput, HeadObjectOutput,
    Metadata, Range,
};
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};

use super::Store;
use super::conditions::Conditions;
use crate::store::clock::timestamp;
use crate::store::read::stream;
use crate::store::record::{Checksums, Facts, ObjectRecord};
use crate::store::{Inner, Pinned};

/// The conditions of a get or head.
macro_rules! conditions_of {
    ($input:expr) => {
        Conditions {
            matches: $input.if_match,
            none_match: $input.if_none_match,
            modified_since: $input.if_modified_since,
            unmodified_since: $input.if_unmodified_since,
        }
    };
}

/// What get and head both say about an object.
macro_rules! shown {
    ($output:ident, $record:expr, $sums:expr, $range:expr, $content_range:expr) => {{
        let (facts, sums): (Facts, Checksums) = ($record.facts, $sums);
        $output {
            accept_ranges: Some("bytes".into()),
            content_length: Some(signed($range.end - $range.start)?),
            content_range: $content_range,
            content_type: Some(content_type(&facts)),
            cache_control: facts.cache_control,
            content_disposition: facts.content_disposition,
            content_encoding: facts.content_encoding,
            content_language: facts.content_language,
            e_tag: Some(ETag::Strong($record.etag)),
            last_modified: Some(timestamp($record.modified_ms)),
            metadata: metadata(facts.user),
            checksum_crc32: sums.crc32,
            checksum_crc32c: sums.crc32c,
            checksum_crc64nvme: sums.crc64nvme,
            checksum_sha1: sums.sha1,
            checksum_sha256: sums.sha256,
            ..Default::default()
        }
    }};
}

impl Store {
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
        conditions_of!(input).check(&record)?;
        // A range is taken back if the object is not the one the client began with.
        let same = req
            .headers
            .get(http::header::IF_RANGE)
            .is_none_or(|tag| tag.to_str().is_ok_and(|tag| tag.trim_matches('"') == record.etag));
        let (range, content_range) = bounds(input.range.filter(|_| same), record.size)?;
        let sums = sums(&record, content_range.as_deref(), input.checksum_mode.as_ref());
        let body = stream(pinned, record.pieces.clone(), range.clone());
        let shown = shown!(GetObjectOutput, record, sums, range, content_range);
        Ok(S3Response::new(GetObjectOutput { body: Some(body), ..shown }))
    }

    pub(super) async fn head(
        &self,
        req: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        let input = req.input;
        let (record, _) = self.find(input.bucket, input.key).await?;
        conditions_of!(input).check(&record)?;
        let (range, content_range) = bounds(input.range, record.size)?;
        let sums = sums(&record, content_range.as_deref(), input.checksum_mode.as_ref());
        let shown = shown!(HeadObjectOutput, record, sums, range, content_range);
        Ok(S3Response::new(shown))
    }
}

/// The digests of a whole object, if asked for.
fn sums(
    record: &ObjectRecord,
    content_range: Option<&str>,
    mode: Option<&ChecksumMode>,
) -> Checksums {
    let enabled = mode.is_some_and(|mode| mode.as_str() == ChecksumMode::ENABLED);
    if enabled && content_range.is_none() { record.checksums.clone() } else { Checksums::default() }
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

pub(super) fn signed(size: u64) -> S3Result<i64> {
    i64::try_from(size).map_err(S3Error::internal_error)
}
