//! The client's own storage keys, which never leave the client.

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// The largest profile file read, in bytes.
const MAX_PROFILE_BYTES: u64 = 1 << 20;

/// Why no credentials could be had.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// A variable that must be set is not.
    #[error("{0} is not set; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")]
    MissingVariable(&'static str),
    /// The profile file cannot be read.
    #[error("cannot read the profile file {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The profile file is larger than any profile file.
    #[error("the profile file {0} is larger than 1 MiB")]
    TooLarge(PathBuf),
    /// The profile is not in the file, or lacks one of the two keys.
    #[error("profile [{profile}] in {path} must set {missing}")]
    Profile {
        /// The file.
        path: PathBuf,
        /// The profile asked for.
        profile: String,
        /// What it lacks.
        missing: &'static str,
    },
    /// A key that no S3 service would issue.
    #[error(
        "an access key has 3 to 128 letters, digits, or any of - _ . and a secret 8 to 256 printable characters"
    )]
    Shape,
}

/// An access key with its secret.
///
/// `Debug` shows the access key only; the secret is wiped when dropped.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct S3Credentials {
    #[zeroize(skip)]
    access_key: String,
    secret_key: String,
    session_token: Option<String>,
}

impl S3Credentials {
    /// Takes an access key and its secret.
    ///
    /// # Errors
    /// [`CredentialsError::Shape`] if either could not be one.
    pub fn new(access_key: &str, secret_key: &str) -> Result<Self, CredentialsError> {
        let named = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let access_ok = (3..=128).contains(&access_key.len()) && access_key.chars().all(named);
        let secret_ok = (8..=256).contains(&secret_key.len())
            && secret_key.chars().all(|c| c.is_ascii_graphic());
        if !access_ok || !secret_ok {
            return Err(CredentialsError::Shape);
        }
        Ok(Self {
            access_key: access_key.to_owned(),
            secret_key: secret_key.to_owned(),
            session_token: None,
        })
    }

    /// A new random pair, for a store that is set up for the first time.
    #[must_use]
    pub fn generate() -> Self {
        let random: [u8; 50] = rand::random();
        Self {
            access_key: format!("POUW{}", hex::encode_upper(&random[..10])),
            secret_key: hex::encode(&random[10..]),
            session_token: None,
        }
    }

    /// Adds the session token of temporary credentials.
    #[must_use]
    pub fn with_session_token(mut self, token: &str) -> Self {
        self.session_token = Some(token.to_owned());
        self
    }

    /// Reads `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and, if set, `AWS_SESSION_TOKEN`.
    ///
    /// # Errors
    /// [`CredentialsError`] names the variable that is missing.
    pub fn from_env() -> Result<Self, CredentialsError> {
        Self::from_lookup(|name| std::env::var(name).ok())
    }

    /// As [`from_env`](Self::from_env), from any source of variables.
    ///
    /// # Errors
    /// [`CredentialsError`] names the variable that is missing.
    pub fn from_lookup(
        lookup: impl Fn(&'static str) -> Option<String>,
    ) -> Result<Self, CredentialsError> {
        let wanted = |name| {
            lookup(name).filter(|v| !v.is_empty()).ok_or(CredentialsError::MissingVariable(name))
        };
        let access_key = wanted("AWS_ACCESS_KEY_ID")?;
        let secret_key = Zeroizing::new(wanted("AWS_SECRET_ACCESS_KEY")?);
        let credentials = Self::new(&access_key, &secret_key)?;
        match lookup("AWS_SESSION_TOKEN").filter(|token| !token.is_empty()) {
            Some(token) => Ok(credentials.with_session_token(&token)),
            None => Ok(credentials),
        }
    }

    /// Reads one profile of a file written as `~/.aws/credentials` is.
    ///
    /// # Errors
    /// [`CredentialsError`] names the file and what is wrong with it.
    pub fn from_profile(path: &Path, profile: &str) -> Result<Self, CredentialsError> {
        let read = |source| CredentialsError::Read { path: path.to_owned(), source };
        let file = std::fs::File::open(path).map_err(read)?;
        let mut text = Zeroizing::new(String::new());
        file.take(MAX_PROFILE_BYTES + 1).read_to_string(&mut text).map_err(read)?;
        if text.len() as u64 > MAX_PROFILE_BYTES {
            return Err(CredentialsError::TooLarge(path.to_owned()));
        }
        let missing = |missing| CredentialsError::Profile {
            path: path.to_owned(),
            profile: profile.to_owned(),
            missing,
        };
        let value = |name: &str| profile_value(&text, profile, name);
        let access_key = value("aws_access_key_id").ok_or_else(|| missing("aws_access_key_id"))?;
        let secret_key =
            value("aws_secret_access_key").ok_or_else(|| missing("aws_secret_access_key"))?;
        let credentials = Self::new(access_key, secret_key)?;
        Ok(match value("aws_session_token") {
            Some(token) => credentials.with_session_token(token),
            None => credentials,
        })
    }

    /// The public half.
    #[must_use]
    pub fn access_key(&self) -> &str {
        &self.access_key
    }

    /// The secret half, to be used and not to be shown.
    #[must_use]
    pub fn expose_secret(&self) -> &str {
        &self.secret_key
    }

    /// The session token of temporary credentials, to be used and not to be shown.
    #[must_use]
    pub fn expose_session_token(&self) -> Option<&str> {
        self.session_token.as_deref()
    }
}

impl fmt::Debug for S3Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Credentials")
            .field("access_key", &self.access_key)
            .field("secret_key", &"<redacted>")
            .finish_non_exhaustive()
    }
}

/// The value of `name` in `[profile]` (or `[profile NAME]`, as the configuration file writes it).
fn profile_value<'a>(text: &'a str, profile: &str, name: &str) -> Option<&'a str> {
    let mut inside = false;
    for line in text.lines().map(str::trim) {
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(header) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            let header = header.trim();
            inside = header == profile
                || header.strip_prefix("profile ").is_some_and(|rest| rest.trim() == profile);
        } else if inside
            && let Some((key, value)) = line.split_once('=')
            && key.trim() == name
            && !value.trim().is_empty()
        {
            return Some(value.trim());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secret_never_shows() {
        let credentials = S3Credentials::new("AKIDEXAMPLE", "wJalrXUtnFEMI").unwrap();
        let shown = format!("{credentials:?}");
        assert!(shown.contains("AKIDEXAMPLE") && !shown.contains("wJalr"), "{shown}");
    }

    #[test]
    fn impossible_keys_are_refused() {
        for (access, secret) in [
            ("", "secret-secret"),
            ("ok-key", ""),
            ("a b c", "secret-secret"),
            ("key", "s\necret-s"),
        ] {
            assert!(S3Credentials::new(access, secret).is_err(), "{access:?} {secret:?}");
        }
    }

    #[test]
    fn generated_pairs_are_valid_and_differ() {
        let (a, b) = (S3Credentials::generate(), S3Credentials::generate());
        assert_ne!(a.expose_secret(), b.expose_secret());
        assert!(S3Credentials::new(a.access_key(), a.expose_secret()).is_ok());
    }

    #[test]
    fn variables_give_credentials_or_name_what_is_missing() {
        let lookup = |name| match name {
            "AWS_ACCESS_KEY_ID" => Some("AKID".to_owned()),
            "AWS_SECRET_ACCESS_KEY" => Some("secret-key".to_owned()),
            _ => None,
        };
        assert_eq!(S3Credentials::from_lookup(lookup).unwrap().access_key(), "AKID");
        let error = S3Credentials::from_lookup(|_| None).unwrap_err().to_string();
        assert!(error.contains("AWS_ACCESS_KEY_ID"), "{error}");
    }

    #[test]
    fn a_profile_is_found_among_others() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("credentials");
        let text = "# mine\n[default]\naws_access_key_id = AAA\naws_secret_access_key=secret-one\n\
                    [profile two]\naws_access_key_id=BBB\naws_secret_access_key = secret=two\n\
                    aws_session_token = tok\n[three]\naws_access_key_id=CCC\n";
        std::fs::write(&path, text).unwrap();
        let two = S3Credentials::from_profile(&path, "two").unwrap();
        assert_eq!((two.access_key(), two.expose_secret()), ("BBB", "secret=two"));
        assert_eq!(two.expose_session_token(), Some("tok"));
        assert_eq!(S3Credentials::from_profile(&path, "default").unwrap().access_key(), "AAA");
        for profile in ["three", "four"] {
            let error = S3Credentials::from_profile(&path, profile).unwrap_err();
            assert!(matches!(error, CredentialsError::Profile { .. }), "{error}");
        }
        let absent = S3Credentials::from_profile(&dir.path().join("none"), "x").unwrap_err();
        assert!(matches!(absent, CredentialsError::Read { .. }));
    }
}
