//! Signature version 4 in the query of a URL.

use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::location::check_key;
use crate::{LocationError, PresignedUrl, S3Credentials, S3Location, UrlError};

/// The longest life a version 4 signature may be given: seven days, in seconds.
///
/// # Source
/// Amazon S3 user guide, "Download and upload objects with presigned URLs".
pub const MAX_PRESIGN_S: u64 = 604_800;

/// Why a URL could not be signed.
#[derive(Debug, thiserror::Error)]
pub enum PresignError {
    /// The key cannot be used.
    #[error("cannot sign a URL for this key")]
    Key(#[source] LocationError),
    /// The life asked for is 0 or longer than seven days.
    #[error("a presigned URL lives 1 to {MAX_PRESIGN_S} s, not {0}")]
    Lifetime(u64),
    /// The time of signing has no date.
    #[error("{0} is not a time that can be signed")]
    Time(u64),
    /// The finished URL is not one, or too long.
    #[error("the signed URL cannot be used")]
    Url(#[source] UrlError),
}

/// A URL that reads one object until `now_s + lifetime_s`.
///
/// # Errors
/// [`PresignError`] for a bad key or lifetime.
pub fn presign_get(
    location: &S3Location,
    credentials: &S3Credentials,
    key: &str,
    now_s: u64,
    lifetime_s: u64,
) -> Result<PresignedUrl, PresignError> {
    presign("GET", location, credentials, key, now_s, lifetime_s)
}

/// A URL that writes one object until `now_s + lifetime_s`.
///
/// # Errors
/// [`PresignError`] for a bad key or lifetime.
pub fn presign_put(
    location: &S3Location,
    credentials: &S3Credentials,
    key: &str,
    now_s: u64,
    lifetime_s: u64,
) -> Result<PresignedUrl, PresignError> {
    presign("PUT", location, credentials, key, now_s, lifetime_s)
}

fn presign(
    method: &str,
    location: &S3Location,
    credentials: &S3Credentials,
    key: &str,
    now_s: u64,
    lifetime_s: u64,
) -> Result<PresignedUrl, PresignError> {
    check_key(key).map_err(PresignError::Key)?;
    if lifetime_s == 0 || lifetime_s > MAX_PRESIGN_S {
        return Err(PresignError::Lifetime(lifetime_s));
    }
    let path = format!("/{}/{}", location.bucket(), encode(key, true));
    sign_url(
        location,
        credentials,
        &Request { method, path, query: String::new() },
        now_s,
        lifetime_s,
    )
}

/// A URL that reads one page of the list of a bucket's objects until `now_s + lifetime_s`: those
/// whose keys begin with `prefix`, from where `token` says that the page before ended.
pub(crate) fn presign_list(
    location: &S3Location,
    credentials: &S3Credentials,
    prefix: &str,
    token: Option<&str>,
    now_s: u64,
    lifetime_s: u64,
) -> Result<PresignedUrl, PresignError> {
    let token = token.map(|token| format!("&continuation-token={}", encode(token, false)));
    let token = token.unwrap_or_default();
    let query = format!("{token}&list-type=2&prefix={}", encode(prefix, false));
    let request = Request { method: "GET", path: format!("/{}", location.bucket()), query };
    sign_url(location, credentials, &request, now_s, lifetime_s)
}

/// What is asked for. The query's parameters sort behind the signature's own `X-Amz-…`, as lower
/// case does, each with `&` before it.
struct Request<'a> {
    method: &'a str,
    path: String,
    query: String,
}

fn sign_url(
    location: &S3Location,
    credentials: &S3Credentials,
    request: &Request<'_>,
    now_s: u64,
    lifetime_s: u64,
) -> Result<PresignedUrl, PresignError> {
    let (host, region) = (location.host(), location.region());
    let signed = sign_query(host, region, request, credentials, now_s, lifetime_s)
        .ok_or(PresignError::Time(now_s))?;
    let path = &request.path;
    let url = Zeroizing::new(format!("{}{path}?{}", location.endpoint(), signed.as_str()));
    PresignedUrl::parse(&url).map_err(PresignError::Url)
}

/// The query of a request signed for `host`, with its signature last.
fn sign_query(
    host: &str,
    region: &str,
    request: &Request<'_>,
    credentials: &S3Credentials,
    now_s: u64,
    lifetime_s: u64,
) -> Option<Zeroizing<String>> {
    let Request { method, path, query: asked } = request;
    let at = jiff::Timestamp::from_second(i64::try_from(now_s).ok()?).ok()?;
    let date = at.strftime("%Y%m%d").to_string();
    let stamp = at.strftime("%Y%m%dT%H%M%SZ").to_string();
    let scope = format!("{date}/{region}/s3/aws4_request");
    let credential = encode(&format!("{}/{scope}", credentials.access_key()), false);
    let mut query = Zeroizing::new(format!(
        "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={credential}&X-Amz-Date={stamp}\
         &X-Amz-Expires={lifetime_s}"
    ));
    if let Some(token) = credentials.expose_session_token() {
        query.push_str("&X-Amz-Security-Token=");
        query.push_str(&encode(token, false));
    }
    query.push_str("&X-Amz-SignedHeaders=host");
    query.push_str(asked);
    let canonical = Zeroizing::new(format!(
        "{method}\n{path}\n{}\nhost:{host}\n\nhost\nUNSIGNED-PAYLOAD",
        query.as_str()
    ));
    let digest = hex::encode(Sha256::digest(canonical.as_bytes()));
    let to_sign = format!("AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{digest}");
    let signature = signature(credentials, &date, region, &to_sign);
    query.push_str("&X-Amz-Signature=");
    query.push_str(&signature);
    Some(query)
}

fn signature(credentials: &S3Credentials, date: &str, region: &str, to_sign: &str) -> String {
    let seed = Zeroizing::new(format!("AWS4{}", credentials.expose_secret()));
    let mut key = Zeroizing::new(hmac(seed.as_bytes(), date.as_bytes()));
    for word in [region, "s3", "aws4_request"] {
        key = Zeroizing::new(hmac(&*key, word.as_bytes()));
    }
    hex::encode(hmac(&*key, to_sign.as_bytes()))
}

fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    // A key of any length is valid for HMAC; the fallback is never taken.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return [0; 32] };
    mac.update(message);
    mac.finalize().into_bytes().into()
}

/// Percent-encodes as signature version 4 wants it: everything but letters, digits and `-_.~`.
pub(crate) fn encode(text: &str, keep_slash: bool) -> String {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];
    let mut out = String::with_capacity(text.len() + 16);
    for byte in text.bytes() {
        let plain = byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
        if plain || (keep_slash && byte == b'/') {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(DIGITS[usize::from(byte >> 4)]);
            out.push(DIGITS[usize::from(byte & 15)]);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> S3Credentials {
        S3Credentials::new("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
            .unwrap()
    }

    /// The example of "Authenticating Requests: Using Query Parameters" in Amazon's API reference.
    #[test]
    fn the_published_example_is_signed_as_published() {
        let host = "examplebucket.s3.amazonaws.com";
        let request = Request { method: "GET", path: "/test.txt".to_owned(), query: String::new() };
        let query =
            sign_query(host, "us-east-1", &request, &example(), 1_369_353_600, 86_400).unwrap();
        let expected = "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404";
        assert!(query.ends_with(&format!("X-Amz-Signature={expected}")), "{}", query.as_str());
    }

    #[test]
    fn everything_unusual_is_encoded() {
        assert_eq!(encode("a/b c+ü~", true), "a/b%20c%2B%C3%BC~");
        assert_eq!(encode("a/b", false), "a%2Fb");
    }

    #[test]
    fn impossible_lifetimes_and_keys_are_refused() {
        let location = S3Location::new("http://h:1", "r", "data", "").unwrap();
        let sign = |key: &str, life| presign_get(&location, &example(), key, 1_700_000_000, life);
        assert!(matches!(sign("k", 0), Err(PresignError::Lifetime(0))));
        assert!(matches!(sign("k", MAX_PRESIGN_S + 1), Err(PresignError::Lifetime(_))));
        assert!(matches!(sign("../k", 60), Err(PresignError::Key(_))));
        let far = presign_get(&location, &example(), "k", u64::MAX, 60);
        assert!(matches!(far, Err(PresignError::Time(_))));
        let url = sign("dir/k ü", 60).unwrap();
        assert_eq!(url.expires_at_s(), Some(1_700_000_060));
        assert!(url.expose().starts_with("http://h:1/data/dir/k%20%C3%BC?"));
    }
}
