//! Both lists of objects.

use s3s::dto::{
    CommonPrefix, ETag, EncodingType, ListObjectsInput, ListObjectsOutput, ListObjectsV2Input,
    ListObjectsV2Output, Object,
};
use s3s::{S3Response, S3Result, s3_error};

use super::reading::signed;
use super::{Store, owner};
use crate::store::clock::timestamp;
use crate::store::list::{Item, Page, Query, page};
use crate::store::record::ObjectRecord;

/// The most lines of one page, as S3 has it.
const MAX_LINES: usize = 1000;

impl Store {
    async fn lines(
        &self,
        bucket: String,
        prefix: String,
        delimiter: String,
        after: String,
        max: usize,
    ) -> S3Result<Page<ObjectRecord>> {
        self.on_disk(move |store| {
            let query = Query { prefix: &prefix, delimiter: &delimiter, after: &after, max };
            let mut found = None;
            store.index.walk(&bucket, |seek| {
                found = Some(page(&query, seek)?);
                Ok(())
            })?;
            let raw = found.unwrap_or(Page { items: Vec::new(), truncated: false });
            let mut items = Vec::with_capacity(raw.items.len());
            for item in raw.items {
                items.push(match item {
                    Item::Object(key, json) => Item::Object(key, serde_json::from_slice(&json)?),
                    Item::Prefix(prefix) => Item::Prefix(prefix),
                });
            }
            Ok(Page { items, truncated: raw.truncated })
        })
        .await
    }

    pub(super) async fn list_v1(
        &self,
        input: ListObjectsInput,
    ) -> S3Result<S3Response<ListObjectsOutput>> {
        let max = limit(input.max_keys, "max-keys")?;
        let found = self
            .lines(
                input.bucket.clone(),
                input.prefix.clone().unwrap_or_default(),
                input.delimiter.clone().unwrap_or_default(),
                input.marker.clone().unwrap_or_default(),
                max,
            )
            .await?;
        let encoding = input.encoding_type.as_ref();
        let encode = |text: String| encoded(text, encoding);
        let next =
            found.items.last().filter(|_| found.truncated).map(|item| item.name().to_owned());
        let truncated = found.truncated;
        let (contents, common_prefixes) = split(found, encoding, true)?;
        Ok(S3Response::new(ListObjectsOutput {
            name: Some(input.bucket),
            prefix: Some(encode(input.prefix.unwrap_or_default())),
            marker: Some(encode(input.marker.unwrap_or_default())),
            max_keys: i32::try_from(max).ok(),
            is_truncated: Some(truncated),
            contents: Some(contents),
            common_prefixes: Some(common_prefixes),
            delimiter: input.delimiter.map(encode),
            next_marker: next.map(encode),
            encoding_type: input.encoding_type.clone(),
            ..Default::default()
        }))
    }

    pub(super) async fn list_v2(
        &self,
        input: ListObjectsV2Input,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let max = limit(input.max_keys, "max-keys")?;
        let after = match &input.continuation_token {
            Some(token) => resume(token)?,
            None => input.start_after.clone().unwrap_or_default(),
        };
        let found = self
            .lines(
                input.bucket.clone(),
                input.prefix.clone().unwrap_or_default(),
                input.delimiter.clone().unwrap_or_default(),
                after,
                max,
            )
            .await?;
        let encoding = input.encoding_type.as_ref();
        let encode = |text: String| encoded(text, encoding);
        let next =
            found.items.last().filter(|_| found.truncated).map(|item| hex::encode(item.name()));
        let (truncated, count) = (found.truncated, found.items.len());
        let (contents, common_prefixes) = split(found, encoding, input.fetch_owner == Some(true))?;
        Ok(S3Response::new(ListObjectsV2Output {
            name: Some(input.bucket),
            prefix: Some(encode(input.prefix.unwrap_or_default())),
            max_keys: i32::try_from(max).ok(),
            key_count: i32::try_from(count).ok(),
            continuation_token: input.continuation_token,
            is_truncated: Some(truncated),
            next_continuation_token: next,
            contents: Some(contents),
            common_prefixes: Some(common_prefixes),
            delimiter: input.delimiter.map(encode),
            encoding_type: input.encoding_type.clone(),
            start_after: input.start_after.map(encode),
            ..Default::default()
        }))
    }
}

/// Reads a continuation token: the last line of the page before, in hex.
fn resume(token: &str) -> S3Result<String> {
    let name = hex::decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    name.filter(|name| name.len() <= 1024)
        .ok_or_else(|| s3_error!(InvalidArgument, "The continuation token provided is incorrect"))
}

/// How many lines a page may have.
pub(super) fn limit(asked: Option<i32>, name: &str) -> S3Result<usize> {
    match usize::try_from(asked.unwrap_or(1000)) {
        Ok(asked) => Ok(asked.min(MAX_LINES)),
        Err(_) => Err(s3_error!(
            InvalidArgument,
            "Argument {name} must be an integer between 0 and 2147483647"
        )),
    }
}

/// A name as the client asked to have it written.
pub(super) fn encoded(text: String, encoding: Option<&EncodingType>) -> String {
    match encoding {
        Some(encoding) if encoding.as_str() == EncodingType::URL => {
            crate::presign::encode(&text, true)
        }
        _ => text,
    }
}

type Lines = (Vec<Object>, Vec<CommonPrefix>);

fn split(
    found: Page<ObjectRecord>,
    encoding: Option<&EncodingType>,
    with_owner: bool,
) -> S3Result<Lines> {
    let (mut contents, mut commons) = (Vec::new(), Vec::new());
    for item in found.items {
        match item {
            Item::Prefix(prefix) => {
                commons.push(CommonPrefix { prefix: Some(encoded(prefix, encoding)) });
            }
            Item::Object(key, record) => contents.push(Object {
                key: Some(encoded(key, encoding)),
                size: Some(signed(record.size)?),
                e_tag: Some(ETag::Strong(record.etag)),
                last_modified: Some(timestamp(record.modified_ms)),
                owner: with_owner.then(owner),
                ..Default::default()
            }),
        }
    }
    Ok((contents, commons))
}
