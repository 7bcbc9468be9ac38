//! Where a client keeps its data.

use serde::{Deserialize, Serialize};

/// The longest object key, in bytes, as S3 has it.
pub(crate) const MAX_KEY_BYTES: usize = 1024;

/// Why a location or a key in it cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LocationError {
    /// The endpoint is not `http(s)://host[:port]`.
    #[error("endpoint {0:?} must be http://host[:port] or https://host[:port], without a path")]
    Endpoint(String),
    /// The region is empty or oddly written.
    #[error("region {0:?} must be 1 to 64 lower-case letters, digits or dashes, as us-east-1")]
    Region(String),
    /// The bucket name breaks the rules of S3.
    #[error("bucket {0:?} must be 3 to 63 lower-case letters, digits, dots or dashes")]
    Bucket(String),
    /// The key is empty, too long, or has a segment that clients rewrite on the way.
    #[error("key {0:?} must have 1 to 1024 bytes and no segment that is empty, '.' or '..'")]
    Key(String),
}

/// A bucket of an S3 service, and the prefix under which everything of ours goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct S3Location {
    endpoint: String,
    region: String,
    bucket: String,
    prefix: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unchecked {
    endpoint: String,
    region: String,
    bucket: String,
    #[serde(default)]
    prefix: String,
}

impl TryFrom<Unchecked> for S3Location {
    type Error = LocationError;

    fn try_from(raw: Unchecked) -> Result<Self, LocationError> {
        Self::new(&raw.endpoint, &raw.region, &raw.bucket, &raw.prefix)
    }
}

impl S3Location {
    /// Checks and joins the four parts; path-style addressing, any port.
    ///
    /// `prefix` may be empty; slashes at its ends do not matter.
    ///
    /// # Errors
    /// [`LocationError`] names the part that is wrong.
    pub fn new(
        endpoint: &str,
        region: &str,
        bucket: &str,
        prefix: &str,
    ) -> Result<Self, LocationError> {
        let endpoint = endpoint.trim_end_matches('/');
        check_endpoint(endpoint)?;
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if !(1..=64).contains(&region.len()) || !region.chars().all(plain) {
            return Err(LocationError::Region(region.to_owned()));
        }
        let ends_ok = |c: Option<char>| c.is_some_and(|c| c != '-' && c != '.');
        if !(3..=63).contains(&bucket.len())
            || !bucket.chars().all(|c| plain(c) || c == '.')
            || bucket.contains("..")
            || !ends_ok(bucket.chars().next())
            || !ends_ok(bucket.chars().last())
        {
            return Err(LocationError::Bucket(bucket.to_owned()));
        }
        let prefix = prefix.trim_matches('/');
        if !prefix.is_empty() {
            check_key(prefix)?;
        }
        Ok(Self {
            endpoint: endpoint.to_owned(),
            region: region.to_owned(),
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
        })
    }

    /// The key of `name` below the prefix.
    ///
    /// # Errors
    /// [`LocationError::Key`] for a key that S3 or an HTTP client would not carry unchanged.
    pub fn key(&self, name: &str) -> Result<String, LocationError> {
        let key = if self.prefix.is_empty() {
            name.to_owned()
        } else {
            format!("{}/{name}", self.prefix)
        };
        check_key(&key)?;
        Ok(key)
    }

    /// The same bucket, one folder further down.
    ///
    /// # Errors
    /// [`LocationError::Key`] if `name` cannot be a part of a key.
    pub fn below(&self, name: &str) -> Result<Self, LocationError> {
        Ok(Self { prefix: self.key(name)?, ..self.clone() })
    }

    /// The service, as `http://host[:port]`.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The region requests are signed for.
    #[must_use]
    pub fn region(&self) -> &str {
        &self.region
    }

    /// The bucket.
    #[must_use]
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// What every key begins with; empty for none.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Host and port as the `Host` header will say them.
    pub(crate) fn host(&self) -> &str {
        let host = self.endpoint.split_once("://").map_or("", |(_, host)| host);
        match self.endpoint.split_once("://") {
            Some(("http", _)) => host.strip_suffix(":80").unwrap_or(host),
            _ => host.strip_suffix(":443").unwrap_or(host),
        }
    }
}

fn check_endpoint(endpoint: &str) -> Result<(), LocationError> {
    let wrong = || LocationError::Endpoint(endpoint.chars().take(200).collect());
    let (scheme, rest) = endpoint.split_once("://").ok_or_else(wrong)?;
    let url = reqwest::Url::parse(endpoint).map_err(|_| wrong())?;
    let plain = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    let anonymous = url.username().is_empty() && url.password().is_none();
    let host_kept = rest.len() <= 255 && !rest.is_empty() && rest == rest.to_ascii_lowercase();
    if matches!(scheme, "http" | "https") && plain && anonymous && host_kept && rest.is_ascii() {
        Ok(())
    } else {
        Err(wrong())
    }
}

pub(crate) fn check_key(key: &str) -> Result<(), LocationError> {
    let bad_segment = key.split('/').any(|segment| matches!(segment, "" | "." | ".."));
    if key.is_empty() || key.len() > MAX_KEY_BYTES || bad_segment || key.contains('\0') {
        return Err(LocationError::Key(key.chars().take(80).collect()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_checked_part_by_part() {
        let check = |endpoint: &str, region: &str, bucket: &str, prefix: &str, ok: bool| {
            let got = S3Location::new(endpoint, region, bucket, prefix);
            assert_eq!(got.is_ok(), ok, "{endpoint} {region} {bucket} {prefix}: {got:?}");
        };
        check("http://127.0.0.1:9000", "us-east-1", "data", "", true);
        check("https://s3.example.com/", "eu-1", "my.bucket-1", "/a/b/", true);
        check("ftp://host", "us-east-1", "data", "", false);
        check("http://host/path", "us-east-1", "data", "", false);
        check("http://user@host", "us-east-1", "data", "", false);
        check("http://host", "", "data", "", false);
        check("http://host", "US EAST", "data", "", false);
        check("http://host", "r", "ab", "", false);
        check("http://host", "r", "Data", "", false);
        check("http://host", "r", "-data", "", false);
        check("http://host", "r", "da..ta", "", false);
        check("http://host", "r", "data", "a/../b", false);
    }

    #[test]
    fn keys_go_below_the_prefix_and_never_climb() {
        let location = S3Location::new("http://h", "r", "data", "tasks/1").unwrap();
        assert_eq!(location.key("out/a.png").unwrap(), "tasks/1/out/a.png");
        assert_eq!(location.below("x").unwrap().key("y").unwrap(), "tasks/1/x/y");
        for name in ["../x", "a/./b", "", "a//b", "/a", &"k".repeat(1024)] {
            assert!(location.key(name).is_err(), "{name:.20}");
        }
    }

    #[test]
    fn json_passes_the_same_checks() {
        let json = r#"{"endpoint":"http://h","region":"r","bucket":"data"}"#;
        assert_eq!(serde_json::from_str::<S3Location>(json).unwrap().prefix(), "");
        let json = r#"{"endpoint":"http://h","region":"r","bucket":"d"}"#;
        assert!(serde_json::from_str::<S3Location>(json).is_err());
    }
}
