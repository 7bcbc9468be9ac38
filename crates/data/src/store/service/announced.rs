//! The digests that a client announces with a body, and what came of them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use s3s::checksum::ChecksumHasher;
use s3s::dto::Checksum;
use s3s::{S3Result, TrailingHeaders, s3_error};

use crate::store::ingest::{Ingested, Wanted};
use crate::store::record::Checksums;

/// The digests a put or part was announced with.
macro_rules! announced {
    ($input:expr, $req:expr) => {
        $crate::store::service::announced::Announced {
            md5: $input.content_md5.clone(),
            given: s3s::dto::Checksum {
                checksum_crc32: $input.checksum_crc32.clone(),
                checksum_crc32c: $input.checksum_crc32c.clone(),
                checksum_crc64nvme: $input.checksum_crc64nvme.clone(),
                checksum_sha1: $input.checksum_sha1.clone(),
                checksum_sha256: $input.checksum_sha256.clone(),
                ..Default::default()
            },
            algorithms: $crate::store::service::announced::named_algorithms(&$req.headers),
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
    /// What must be computed to check it, and for an entity tag as clients expect it.
    pub(super) fn wanted(&self) -> S3Result<Wanted> {
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
        Ok(Wanted { md5: true, checksum: hasher })
    }

    /// Compares what was announced, before the body or behind it, with what came.
    pub(super) fn check(&self, got: &Ingested) -> S3Result<Checksums> {
        if let Some(md5) = &self.md5 {
            let md5 = STANDARD.decode(md5).map_err(|_| s3_error!(InvalidDigest))?;
            if md5.len() != 16 {
                return Err(s3_error!(InvalidDigest));
            }
            if got.md5.is_none_or(|came| md5 != came) {
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
