//! Paths inside a task's directory.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

/// A path below the task's directory: relative, without `.` and `..`, so that no joining of it with
/// that directory leaves it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TaskPath(String);

/// A text is not a path inside the task's directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Nothing.
    #[error("an empty path: name a file below the task's directory, such as out/result.txt")]
    Empty,
    /// Starts with a slash.
    #[error("an absolute path: paths are relative to the task's directory")]
    Absolute,
    /// Climbs.
    #[error("leaves the task's directory: `..` is not allowed")]
    Outside,
    /// `\`, NUL, a line break or another control character.
    #[error("holds a backslash or a control character: write it with printable characters and /")]
    Character,
    /// Longer than file systems take.
    #[error("too long: at most 1,024 bytes, and 255 between two slashes")]
    Long,
}

impl TaskPath {
    /// Longest path, bytes.
    pub const MAX_BYTES: usize = 1_024;
    /// Longest name between slashes, bytes.
    pub const MAX_NAME_BYTES: usize = 255;

    /// The normalised text, such as `frames/0001.png`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The names between the slashes.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }

    /// Whether `other` is this path or lies below it.
    #[must_use]
    pub fn contains(&self, other: &Self) -> bool {
        other.0.strip_prefix(&self.0).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl FromStr for TaskPath {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, PathError> {
        if text.is_empty() {
            return Err(PathError::Empty);
        }
        if text.len() > Self::MAX_BYTES {
            return Err(PathError::Long);
        }
        if text.starts_with('/') {
            return Err(PathError::Absolute);
        }
        if text.chars().any(|c| c.is_control() || c == '\\') {
            return Err(PathError::Character);
        }
        let mut names = Vec::new();
        for name in text.split('/') {
            match name {
                "" | "." => {}
                ".." => return Err(PathError::Outside),
                long if long.len() > Self::MAX_NAME_BYTES => return Err(PathError::Long),
                name => names.push(name),
            }
        }
        if names.is_empty() { Err(PathError::Empty) } else { Ok(Self(names.join("/"))) }
    }
}

impl TryFrom<String> for TaskPath {
    type Error = PathError;

    fn try_from(text: String) -> Result<Self, PathError> {
        text.parse()
    }
}

impl From<TaskPath> for String {
    fn from(path: TaskPath) -> Self {
        path.0
    }
}

impl fmt::Display for TaskPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_stay_inside_the_task_directory() {
        let check = |text: &str, expected: Result<&str, PathError>| {
            let got = text.parse::<TaskPath>();
            assert_eq!(got.as_ref().map(TaskPath::as_str).map_err(|e| *e), expected, "{text:?}");
        };
        check("frames/0001.png", Ok("frames/0001.png"));
        check("./a//b/./c/", Ok("a/b/c"));
        check("..a/b..", Ok("..a/b.."));
        for bad in ["../x", "a/../../x", "..", "a/.."] {
            check(bad, Err(PathError::Outside));
        }
        check("/etc/passwd", Err(PathError::Absolute));
        for bad in ["a\0b", "a\nb", "a\\b", "\u{1b}[2J"] {
            check(bad, Err(PathError::Character));
        }
        for bad in ["", ".", "./."] {
            check(bad, Err(PathError::Empty));
        }
        check(&"a".repeat(256), Err(PathError::Long));
        check(&"a/".repeat(600), Err(PathError::Long));
    }

    proptest! {
        #[test]
        fn a_path_never_climbs_and_is_its_own_normal_form(text: String) {
            if let Ok(path) = text.parse::<TaskPath>() {
                prop_assert!(path.names().all(|name| !["", ".", ".."].contains(&name)));
                prop_assert_eq!(path.as_str().parse::<TaskPath>(), Ok(path));
            }
        }
    }
}
