//! Where inputs come from and outputs go to.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

/// A place outside the task: an object, an address, or a path on the client's computer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Location {
    /// `s3://bucket/key`; a key that ends with `/`, or none, names all objects below it.
    S3 {
        /// The bucket.
        bucket: String,
        /// The key or prefix.
        key: String,
    },
    /// An `http` or `https` address, as typed.
    Http(String),
    /// A path on the client's computer, relative to the folder of `task.yaml`.
    File(String),
}

/// A text names no place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LocationError {
    /// Nothing.
    #[error("an empty location: write a path, file://, s3:// or https://")]
    Empty,
    /// Neither of ours.
    #[error("unknown scheme `{0}`: write a path, file://, s3://, http:// or https://")]
    Scheme(String),
    /// Not what S3 allows.
    #[error("`{0}` is not a bucket: 3 to 63 of a-z, 0-9, `-` and `.`")]
    Bucket(String),
    /// `http://` and nothing that can be connected to.
    #[error("no host in the address")]
    Host,
    /// A password or signature in an address would be read by the host.
    #[error("the address carries a {0}: everything in a spec is readable by the host")]
    Credentials(&'static str),
    /// NUL, line break, space, ….
    #[error("holds a control character")]
    Character,
    /// More than [`Location::MAX_BYTES`].
    #[error("too long: at most 2,048 bytes")]
    Long,
}

/// Query parameters that sign a request or carry a password.
const SECRET_PARAMETERS: [&str; 8] = [
    "x-amz-signature",
    "x-amz-security-token",
    "x-goog-signature",
    "signature",
    "sig",
    "token",
    "access_token",
    "password",
];

impl Location {
    /// Longest text, bytes.
    pub const MAX_BYTES: usize = 2_048;

    /// Whether it names a directory or prefix rather than one file: it ends with `/`.
    #[must_use]
    pub fn is_directory(&self) -> bool {
        match self {
            Self::S3 { key, .. } => key.is_empty() || key.ends_with('/'),
            Self::Http(_) => false,
            Self::File(path) => path.ends_with('/'),
        }
    }
}

fn s3(rest: &str) -> Result<Location, LocationError> {
    let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
    let edges = [bucket.bytes().next(), bucket.bytes().last()];
    let edges_plain = edges.into_iter().flatten().all(|b| b.is_ascii_alphanumeric());
    if !(3..=63).contains(&bucket.len()) || !bucket.bytes().all(allowed) || !edges_plain {
        return Err(LocationError::Bucket(bucket.to_owned()));
    }
    Ok(Location::S3 { bucket: bucket.to_owned(), key: key.to_owned() })
}

fn http(text: &str, rest: &str) -> Result<Location, LocationError> {
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return Err(LocationError::Credentials("user or password"));
    }
    if authority.is_empty() || authority.starts_with(':') || rest.contains(char::is_whitespace) {
        return Err(LocationError::Host);
    }
    let query = rest.split_once('?').map_or("", |(_, query)| query);
    for parameter in query.split(['&', ';']) {
        let name = parameter.split('=').next().unwrap_or_default().to_ascii_lowercase();
        if SECRET_PARAMETERS.contains(&name.as_str()) {
            return Err(LocationError::Credentials("signature or token"));
        }
    }
    Ok(Location::Http(text.to_owned()))
}

impl FromStr for Location {
    type Err = LocationError;

    fn from_str(text: &str) -> Result<Self, LocationError> {
        if text.is_empty() {
            return Err(LocationError::Empty);
        }
        if text.len() > Self::MAX_BYTES {
            return Err(LocationError::Long);
        }
        if text.chars().any(char::is_control) {
            return Err(LocationError::Character);
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return Ok(Self::File(text.to_owned()));
        };
        match scheme {
            "s3" => s3(rest),
            "http" | "https" => http(text, rest),
            "file" if rest.starts_with('/') => Ok(Self::File(rest.to_owned())),
            "file" => Err(LocationError::Host),
            other => Err(LocationError::Scheme(other.to_owned())),
        }
    }
}

impl TryFrom<String> for Location {
    type Error = LocationError;

    fn try_from(text: String) -> Result<Self, LocationError> {
        text.parse()
    }
}

impl From<Location> for String {
    fn from(location: Location) -> Self {
        location.to_string()
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::S3 { bucket, key } => write!(f, "s3://{bucket}/{key}"),
            Self::Http(address) => f.pad(address),
            // A relative path may hold `://` only behind a scheme, so it reads back as itself.
            Self::File(path) if path.contains("://") => write!(f, "file://{path}"),
            Self::File(path) => f.pad(path),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn locations_read_as_people_write_them() {
        let s3 = |bucket: &str, key: &str| {
            Ok(Location::S3 { bucket: bucket.to_owned(), key: key.to_owned() })
        };
        let check = |text: &str, expected: Result<Location, &str>| match (text.parse(), expected) {
            (Ok::<Location, LocationError>(got), Ok(want)) => assert_eq!(got, want, "{text}"),
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
            (got, want) => panic!("{text}: got {got:?}, expected {want:?}"),
        };
        check("s3://films/reel/one.mp4", s3("films", "reel/one.mp4"));
        check("s3://films", s3("films", ""));
        check("scene.py", Ok(Location::File("scene.py".to_owned())));
        check("file:///srv/data/", Ok(Location::File("/srv/data/".to_owned())));
        check("https://x.org/a?b=c", Ok(Location::Http("https://x.org/a?b=c".to_owned())));
        check("s3://No/key", Err("is not a bucket"));
        check("s3:///key", Err("is not a bucket"));
        check("ftp://x/y", Err("unknown scheme `ftp`"));
        check("file://host/path", Err("no host"));
        check("https://me:pw@x.org/a", Err("user or password"));
        check("https://b.s3.org/k?X-Amz-Signature=abc", Err("signature or token"));
        check("http://", Err("no host"));
        check("a\0b", Err("control character"));
        check("", Err("empty"));
    }

    proptest! {
        #[test]
        fn text_round_trips(text in "(s3://|file:///|https://|)[a-z0-9/._-]{1,40}") {
            if let Ok(location) = text.parse::<Location>() {
                prop_assert_eq!(location.to_string().parse::<Location>(), Ok(location));
            }
        }
    }
}
