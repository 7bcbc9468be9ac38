//! Uploads in parts.

use std::collections::BTreeSet;

use md5::{Digest, Md5};
use s3s::checksum::ChecksumHasher;
use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, CommonPrefix,
    CompleteMultipartUploadInput, CompleteMultipartUploadOutput, CompletedPart, CopyPartResult,
    CreateMultipartUploadInput, CreateMultipartUploadOutput, ETag, ListMultipartUploadsInput,
    ListMultipartUploadsOutput, ListPartsInput, ListPartsOutput, MultipartUpload, Part, Range,
    UploadPartCopyInput, UploadPartCopyOutput, UploadPartInput, UploadPartOutput,
};
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result, s3_error};

use super::announced::announced;
use super::conditions::{Conditions, may_write};
use super::listing::{encoded, limit};
use super::objects::{checked, facts_of, source};
use super::reading::{bounds, signed};
use super::{Store, owner};
use crate::store::clock::{now_ms, timestamp};
use crate::store::ingest::{Ingested, Wanted, ingest};
use crate::store::read::stream;
use crate::store::record::{Checksums, ObjectRecord, PartRecord, Piece, UploadRecord};

/// The least size of every part but the last, in bytes, as S3 has it.
const MIN_PART_BYTES: u64 = 5 << 20;
/// The most parts, as S3 has it.
const MAX_PARTS: u16 = 10_000;

impl Store {
    pub(super) async fn start_upload(
        &self,
        input: CreateMultipartUploadInput,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let facts = checked(facts_of!(input))?;
        let upload = format!("{:032x}", rand::random::<u128>());
        let record = UploadRecord { started_ms: now_ms(), facts };
        let (bucket, key, id) = (input.bucket.clone(), input.key.clone(), upload.clone());
        self.on_disk(move |store| store.index.start_upload(&bucket, &key, &id, &record)).await?;
        Ok(S3Response::new(CreateMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(upload),
            checksum_algorithm: input.checksum_algorithm,
            checksum_type: input.checksum_type,
            ..Default::default()
        }))
    }

    async fn upload(&self, bucket: &str, key: &str, upload: &str) -> S3Result<UploadRecord> {
        let (bucket, key, upload) = (bucket.to_owned(), key.to_owned(), upload.to_owned());
        self.on_disk(move |store| store.index.upload(&bucket, &key, &upload)).await
    }

    pub(super) async fn put_part(
        &self,
        mut req: S3Request<UploadPartInput>,
    ) -> S3Result<S3Response<UploadPartOutput>> {
        let announced = announced!(req.input, req);
        let body = req.input.body.take();
        let input = req.input;
        let number = part_number(input.part_number)?;
        self.upload(&input.bucket, &input.key, &input.upload_id).await?;
        let got = ingest(&self.inner, body, input.content_length, announced.wanted()?).await?;
        let sums = announced.check(&got)?;
        let at = (input.bucket, input.key, input.upload_id);
        let record = self.commit_part(at, number, got, sums).await?;
        Ok(S3Response::new(UploadPartOutput {
            e_tag: Some(ETag::Strong(record.md5)),
            checksum_crc32: record.checksums.crc32,
            checksum_crc32c: record.checksums.crc32c,
            checksum_crc64nvme: record.checksums.crc64nvme,
            checksum_sha1: record.checksums.sha1,
            checksum_sha256: record.checksums.sha256,
            ..Default::default()
        }))
    }

    async fn commit_part(
        &self,
        at: (String, String, String),
        number: u16,
        got: Ingested,
        checksums: Checksums,
    ) -> S3Result<PartRecord> {
        let record =
            PartRecord { piece: got.piece, md5: got.tag(), modified_ms: now_ms(), checksums };
        self.on_disk(move |store| {
            let freed = store.index.put_part((&at.0, &at.1, &at.2), number, &record)?;
            got.pending.keep();
            store.discard(freed);
            Ok(record)
        })
        .await
    }

    pub(super) async fn copy_part(
        &self,
        input: UploadPartCopyInput,
    ) -> S3Result<S3Response<UploadPartCopyOutput>> {
        let number = part_number(input.part_number)?;
        self.upload(&input.bucket, &input.key, &input.upload_id).await?;
        let (bucket, key) = source(&input.copy_source)?;
        let (record, pinned) = self.find(bucket, key).await?;
        Conditions {
            matches: input.copy_source_if_match,
            none_match: input.copy_source_if_none_match,
            modified_since: input.copy_source_if_modified_since,
            unmodified_since: input.copy_source_if_unmodified_since,
        }
        .check_source(&record)?;
        let range = input.copy_source_range.as_deref().map(Range::parse).transpose();
        let range =
            range.map_err(|_| s3_error!(InvalidArgument, "the copy source range is not valid"))?;
        let (bytes, _) = bounds(range, record.size)?;
        let length = signed(bytes.end - bytes.start)?;
        let body = stream(pinned, record.pieces, bytes);
        let wanted = Wanted { md5: true, checksum: ChecksumHasher::default() };
        let got = ingest(&self.inner, Some(body), Some(length), wanted).await?;
        let at = (input.bucket, input.key, input.upload_id);
        let part = self.commit_part(at, number, got, Checksums::default()).await?;
        Ok(S3Response::new(UploadPartCopyOutput {
            copy_part_result: Some(CopyPartResult {
                e_tag: Some(ETag::Strong(part.md5)),
                last_modified: Some(timestamp(part.modified_ms)),
                ..Default::default()
            }),
            ..Default::default()
        }))
    }

    pub(super) async fn complete(
        &self,
        input: CompleteMultipartUploadInput,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let upload = self.upload(&input.bucket, &input.key, &input.upload_id).await?;
        let id = input.upload_id.clone();
        let have = self.on_disk(move |store| store.index.parts(&id)).await?;
        let wanted = input.multipart_upload.and_then(|upload| upload.parts).unwrap_or_default();
        let parts = chosen(&wanted, &have)?;
        let record = joined(&parts, upload);
        let etag = record.etag.clone();
        let (m, n) = (input.if_match, input.if_none_match);
        let (bucket, key, id) = (input.bucket.clone(), input.key.clone(), input.upload_id);
        self.on_disk(move |store| {
            let allowed = |old: Option<&ObjectRecord>| may_write(m.as_ref(), n.as_ref(), old);
            let freed = store.index.end_upload((&bucket, &key, &id), Some(&record), allowed)?;
            store.discard(freed);
            Ok(())
        })
        .await?;
        Ok(S3Response::new(CompleteMultipartUploadOutput {
            location: Some(format!(
                "/{}/{}",
                input.bucket,
                crate::presign::encode(&input.key, true)
            )),
            bucket: Some(input.bucket),
            key: Some(input.key),
            e_tag: Some(ETag::Strong(etag)),
            ..Default::default()
        }))
    }

    pub(super) async fn abort(
        &self,
        input: AbortMultipartUploadInput,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        self.on_disk(move |store| {
            let at = (input.bucket.as_str(), input.key.as_str(), input.upload_id.as_str());
            let freed = store.index.end_upload(at, None, |_| true)?;
            store.discard(freed);
            Ok(())
        })
        .await?;
        let output = AbortMultipartUploadOutput::default();
        Ok(S3Response::with_status(output, http::StatusCode::NO_CONTENT))
    }

    pub(super) async fn parts(
        &self,
        input: ListPartsInput,
    ) -> S3Result<S3Response<ListPartsOutput>> {
        self.upload(&input.bucket, &input.key, &input.upload_id).await?;
        let max = limit(input.max_parts, "max-parts")?;
        let after = input.part_number_marker.unwrap_or(0);
        let id = input.upload_id.clone();
        let have = self.on_disk(move |store| store.index.parts(&id)).await?;
        let mut rest = have.into_iter().filter(|(number, _)| i32::from(*number) > after);
        let mut parts = Vec::new();
        for (number, part) in rest.by_ref().take(max) {
            parts.push(Part {
                part_number: Some(i32::from(number)),
                e_tag: Some(ETag::Strong(part.md5)),
                size: Some(signed(part.piece.size)?),
                last_modified: Some(timestamp(part.modified_ms)),
                checksum_crc32: part.checksums.crc32,
                checksum_crc32c: part.checksums.crc32c,
                checksum_crc64nvme: part.checksums.crc64nvme,
                checksum_sha1: part.checksums.sha1,
                checksum_sha256: part.checksums.sha256,
            });
        }
        let truncated = max > 0 && rest.next().is_some();
        Ok(S3Response::new(ListPartsOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(input.upload_id),
            max_parts: i32::try_from(max).ok(),
            part_number_marker: Some(after),
            next_part_number_marker: parts.last().and_then(|part| part.part_number),
            is_truncated: Some(truncated),
            parts: Some(parts),
            owner: Some(owner()),
            ..Default::default()
        }))
    }

    pub(super) async fn uploads(
        &self,
        input: ListMultipartUploadsInput,
    ) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
        let max = limit(input.max_uploads, "max-uploads")?;
        let bucket = input.bucket.clone();
        let all = self.on_disk(move |store| store.index.uploads(&bucket)).await?;
        let encode = |text: String| encoded(text, input.encoding_type.as_ref());
        let prefix = input.prefix.clone().unwrap_or_default();
        let delimiter = input.delimiter.clone().unwrap_or_default();
        let key_marker = input.key_marker.clone().unwrap_or_default();
        let id_marker = input.upload_id_marker.clone().unwrap_or_default();
        let (mut uploads, mut commons) = (Vec::new(), BTreeSet::new());
        let (mut truncated, mut last) = (false, None);
        for (key, id, record) in all {
            let later =
                key > key_marker || (key == key_marker && !id_marker.is_empty() && id > id_marker);
            if !key.starts_with(&prefix) || !later {
                continue;
            }
            let cut = key[prefix.len()..].find(&delimiter).filter(|_| !delimiter.is_empty());
            let common = cut.map(|at| key[..prefix.len() + at + delimiter.len()].to_owned());
            if common.as_ref().is_some_and(|common| commons.contains(common)) {
                last = Some((key, id));
                continue;
            }
            if uploads.len() + commons.len() >= max {
                truncated = max > 0;
                break;
            }
            last = Some((key.clone(), id.clone()));
            if let Some(common) = common {
                commons.insert(common);
                continue;
            }
            uploads.push(MultipartUpload {
                key: Some(encode(key)),
                upload_id: Some(id),
                initiated: Some(timestamp(record.started_ms)),
                owner: Some(owner()),
                ..Default::default()
            });
        }
        let last = last.filter(|_| truncated);
        let commons =
            commons.into_iter().map(|common| CommonPrefix { prefix: Some(encode(common)) });
        let output = ListMultipartUploadsOutput {
            common_prefixes: Some(commons.collect()),
            next_key_marker: last.as_ref().map(|(key, _)| encode(key.clone())),
            next_upload_id_marker: last.map(|(_, id)| id),
            is_truncated: Some(truncated),
            max_uploads: i32::try_from(max).ok(),
            uploads: Some(uploads),
            prefix: input.prefix.map(encode),
            delimiter: input.delimiter.map(encode),
            key_marker: input.key_marker.map(encode),
            upload_id_marker: input.upload_id_marker,
            bucket: Some(input.bucket),
            encoding_type: input.encoding_type.clone(),
            ..Default::default()
        };
        Ok(S3Response::new(output))
    }
}

fn part_number(number: i32) -> S3Result<u16> {
    u16::try_from(number).ok().filter(|number| (1..=MAX_PARTS).contains(number)).ok_or_else(|| {
        s3_error!(InvalidArgument, "Part number must be an integer between 1 and 10000, inclusive")
    })
}

/// The parts a client names, checked against those that are there.
fn chosen(wanted: &[CompletedPart], have: &[(u16, PartRecord)]) -> S3Result<Vec<PartRecord>> {
    if wanted.is_empty() || wanted.len() > usize::from(MAX_PARTS) {
        return Err(s3_error!(MalformedXML));
    }
    let mut numbers = Vec::with_capacity(wanted.len());
    for part in wanted {
        let number = part_number(part.part_number.ok_or(S3ErrorCode::MalformedXML)?)?;
        if numbers.last().is_some_and(|before| number <= *before) {
            return Err(s3_error!(InvalidPartOrder));
        }
        numbers.push(number);
    }
    let mut parts: Vec<PartRecord> = Vec::with_capacity(wanted.len());
    for (part, number) in wanted.iter().zip(numbers) {
        let at = have.binary_search_by_key(&number, |(number, _)| *number);
        let found = at.ok().and_then(|at| have.get(at)).map(|(_, record)| record);
        let found = found.ok_or(S3ErrorCode::InvalidPart)?;
        if part.e_tag.as_ref().is_some_and(|etag| etag.value() != found.md5) {
            return Err(s3_error!(InvalidPart));
        }
        parts.push(found.clone());
    }
    let all_but_last = parts.len().saturating_sub(1);
    if parts.iter().take(all_but_last).any(|part| part.piece.size < MIN_PART_BYTES) {
        return Err(s3_error!(EntityTooSmall));
    }
    Ok(parts)
}

/// The object that the parts are; nothing is copied.
fn joined(parts: &[PartRecord], upload: UploadRecord) -> ObjectRecord {
    let mut md5 = Md5::new();
    for part in parts {
        md5.update(hex::decode(&part.md5).unwrap_or_default());
    }
    let pieces: Vec<Piece> = parts.iter().map(|part| part.piece).collect();
    ObjectRecord {
        size: pieces.iter().map(|piece| piece.size).sum(),
        etag: format!("{}-{}", hex::encode(md5.finalize()), parts.len()),
        modified_ms: now_ms(),
        pieces,
        blake3: None,
        checksums: Checksums::default(),
        facts: upload.facts,
    }
}
