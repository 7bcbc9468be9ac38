//! A URL that is a capability.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

/// The longest URL accepted, in bytes.
const MAX_URL_BYTES: usize = 8192;

/// Why a string is no URL to fetch from.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Longer than any signed URL.
    #[error("a URL of {0} bytes is longer than the {MAX_URL_BYTES} allowed")]
    TooLong(usize),
    /// Neither `http://` nor `https://`.
    #[error("a URL must begin with http:// or https://")]
    Scheme,
    /// Cannot be parsed.
    #[error("not a valid URL")]
    Malformed,
    /// Carries a user name or password before the host.
    #[error("a URL must not carry a user name or password")]
    UserInfo,
}

/// A URL whose query may authorise a read or a write (D-20).
///
/// `Debug` and `Display` show where it points and hide the query. Serialising shows all of it,
/// because it must travel to the host through its authenticated door; never serialise it to a log.
#[derive(Clone, PartialEq, Eq)]
pub struct PresignedUrl(Zeroizing<String>);

impl PresignedUrl {
    /// Takes a URL from outside: http or https, without user information, bounded.
    ///
    /// # Errors
    /// [`UrlError`] says which of these it breaks; it never repeats the URL.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        if text.len() > MAX_URL_BYTES {
            return Err(UrlError::TooLong(text.len()));
        }
        if !(text.starts_with("http://") || text.starts_with("https://")) {
            return Err(UrlError::Scheme);
        }
        let url = reqwest::Url::parse(text).map_err(|_| UrlError::Malformed)?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(UrlError::UserInfo);
        }
        Ok(Self(Zeroizing::new(text.to_owned())))
    }

    /// The whole URL, to be used and not to be shown.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// When a presigned URL ends, in Unix seconds; `None` for a URL that is not presigned.
    #[must_use]
    pub fn expires_at_s(&self) -> Option<u64> {
        let url = reqwest::Url::parse(&self.0).ok()?;
        let value = |name: &str| url.query_pairs().find(|(key, _)| key == name).map(|(_, v)| v);
        let lifetime_s: u64 = value("X-Amz-Expires")?.parse().ok()?;
        let signed_at =
            jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", value("X-Amz-Date")?.as_ref())
                .ok()?
                .to_zoned(jiff::tz::TimeZone::UTC)
                .ok()?;
        u64::try_from(signed_at.timestamp().as_second()).ok()?.checked_add(lifetime_s)
    }

    /// Whether it points at this machine, where no proxy may stand between.
    pub(crate) fn is_loopback(&self) -> bool {
        let Ok(url) = reqwest::Url::parse(&self.0) else { return false };
        let Some(host) = url.host_str() else { return false };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost"
            || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

impl fmt::Display for PresignedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.split_once(['?', '#']) {
            Some((place, _)) => write!(f, "{place}?<redacted>"),
            None => f.write_str(&self.0),
        }
    }
}

impl fmt::Debug for PresignedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PresignedUrl({self})")
    }
}

impl Serialize for PresignedUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for PresignedUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Zeroizing::new(String::deserialize(deserializer)?);
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_presigned_url_never_shows_its_query() {
        let url = PresignedUrl::parse("https://s3.test/b/k?X-Amz-Signature=abcdef").unwrap();
        for shown in [url.to_string(), format!("{url:?}"), format!("{:#?}", Some(&url))] {
            assert!(shown.contains("https://s3.test/b/k"), "{shown}");
            assert!(!shown.contains("abcdef") && !shown.contains("Signature"), "{shown}");
        }
        let json = serde_json::to_string(&url).unwrap();
        assert_eq!(serde_json::from_str::<PresignedUrl>(&json).unwrap(), url);
    }

    #[test]
    fn only_plain_web_urls_are_accepted() {
        let check = |text: &str, expected| assert_eq!(PresignedUrl::parse(text).err(), expected);
        check("http://127.0.0.1:9000/b/k", None);
        check("file:///etc/passwd", Some(UrlError::Scheme));
        check("ftp://host/x", Some(UrlError::Scheme));
        check("http://", Some(UrlError::Malformed));
        check("http://user:secret@host/x", Some(UrlError::UserInfo));
        let long = format!("http://h/{}", "a".repeat(9000));
        check(&long, Some(UrlError::TooLong(long.len())));
    }

    #[test]
    fn loopback_is_recognised_by_address_and_name() {
        let check = |text: &str, expected| {
            assert_eq!(PresignedUrl::parse(text).unwrap().is_loopback(), expected, "{text}");
        };
        check("http://127.0.0.1:1/x", true);
        check("http://127.9.9.9/x", true);
        check("http://[::1]:1/x", true);
        check("http://localhost/x", true);
        check("http://localhost.example/x", false);
        check("http://10.0.0.1/x", false);
    }

    #[test]
    fn the_end_of_a_presigned_url_is_read_from_it() {
        let url = PresignedUrl::parse("http://h/k?X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400");
        assert_eq!(url.unwrap().expires_at_s(), Some(1_369_353_600 + 86_400));
        assert_eq!(PresignedUrl::parse("http://h/k").unwrap().expires_at_s(), None);
        let odd = PresignedUrl::parse("http://h/k?X-Amz-Date=soon&X-Amz-Expires=1").unwrap();
        assert_eq!(odd.expires_at_s(), None);
    }
}
