//! Passwords.

use core::fmt;
use std::io;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::file::read_bounded;

/// A password: wiped when dropped, never shown.
#[derive(Clone)]
pub struct Password(Zeroizing<String>);

/// A password could not be had from its file.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// The file can't be read.
    #[error("cannot read the password file {}", .0.display())]
    Read(PathBuf, #[source] io::Error),
    /// The file is not text.
    #[error("the password file {} is not UTF-8 text", .0.display())]
    Text(PathBuf),
}

const MAX_PASSWORD_BYTES: u64 = 4096;

impl Password {
    /// From what a person typed.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// From the first line of a file.
    ///
    /// # Errors
    /// [`PasswordError`] if it can't be read, is longer than 4 KiB or not text.
    pub fn from_file(path: &Path) -> Result<Self, PasswordError> {
        let content = read_bounded(path, MAX_PASSWORD_BYTES)
            .map_err(|error| PasswordError::Read(path.to_owned(), error))?;
        let content = Zeroizing::new(content);
        let text =
            core::str::from_utf8(&content).map_err(|_| PasswordError::Text(path.to_owned()))?;
        Ok(Self::new(text.lines().next().unwrap_or_default().to_owned()))
    }

    /// The text, for the one place that needs it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_file_gives_its_first_line_and_nothing_shows_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        for (content, expected) in [("secret\n", "secret"), ("a b \r\nrest", "a b "), ("", "")] {
            std::fs::write(&path, content).unwrap();
            let password = Password::from_file(&path).unwrap();
            assert_eq!(password.expose(), expected);
            assert!(!format!("{password:?}").contains("secret"));
        }
        std::fs::write(&path, [0xff; 3]).unwrap();
        assert!(matches!(Password::from_file(&path), Err(PasswordError::Text(_))));
        std::fs::write(&path, "x".repeat(5000)).unwrap();
        assert!(matches!(Password::from_file(&path), Err(PasswordError::Read(..))));
        let missing = folder.path().join("missing");
        assert!(matches!(Password::from_file(&missing), Err(PasswordError::Read(..))));
    }
}
