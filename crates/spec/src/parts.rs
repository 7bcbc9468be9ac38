//! Parts: the files that a task makes one after another.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::location::Location;
use crate::path::{PathError, TaskPath};

/// A path with the number of a part in it, such as `frames/{part:04}.png`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PartPattern {
    before: String,
    width: u8,
    after: String,
}

/// A text is no pattern of parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Without the number all parts would be one file.
    #[error("holds no {{part}}: write {{part}} or {{part:04}} once, where the number goes")]
    Missing,
    /// The number may stand once.
    #[error("holds more than one pair of braces: write {{part}} once")]
    Twice,
    /// Between the braces stands something else.
    #[error("has an unknown form between braces: write {{part}} or {{part:01}} to {{part:09}}")]
    Form,
    /// A path of it would not be one.
    #[error(transparent)]
    Path(#[from] PathError),
}

/// The files that a task makes one after another: each is paid for once it is complete.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parts {
    /// Where part after part appears, renamed into place when complete.
    pub path: PartPattern,
    /// The number of the first part in its name.
    pub first: u32,
    /// How many.
    pub count: u32,
    /// Most bytes of one part.
    pub max_bytes: u64,
    /// The prefix or directory that the parts go to; nothing: the client's own storage.
    pub to: Option<Location>,
}

impl PartPattern {
    /// The file of the part with this number in its name.
    #[must_use]
    pub fn file(&self, number: u32) -> String {
        let width = usize::from(self.width);
        format!("{}{number:0width$}{}", self.before, self.after)
    }

    /// The number in a file's name, if the file is a part.
    #[must_use]
    pub fn number(&self, file: &str) -> Option<u32> {
        let digits = file.strip_prefix(&self.before)?.strip_suffix(&self.after)?;
        let number = digits.parse().ok()?;
        (self.file(number) == file).then_some(number)
    }

    /// The directory that the parts appear in; nothing: the task's directory itself.
    #[must_use]
    pub fn directory(&self) -> Option<TaskPath> {
        self.before.rsplit_once('/').and_then(|(directory, _)| directory.parse().ok())
    }
}

impl Parts {
    /// Most parts of a task.
    pub const MAX_COUNT: u32 = 100_000;

    /// The file of part `index`, counted from 0; nothing from `count` on.
    #[must_use]
    pub fn file(&self, index: u32) -> Option<String> {
        let number = self.first.checked_add(index)?;
        (index < self.count).then(|| self.path.file(number))
    }

    /// Which part a file is, counted from 0.
    #[must_use]
    pub fn index(&self, file: &str) -> Option<u32> {
        let index = self.path.number(file)?.checked_sub(self.first)?;
        (index < self.count).then_some(index)
    }

    /// All files in order.
    pub fn files(&self) -> impl Iterator<Item = String> + '_ {
        (0..self.count).map_while(|index| self.file(index))
    }
}

impl FromStr for PartPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let (before, rest) = text.split_once('{').ok_or(PatternError::Missing)?;
        let (field, after) = rest.split_once('}').ok_or(PatternError::Form)?;
        if [before, after].iter().any(|part| part.contains(['{', '}'])) {
            return Err(PatternError::Twice);
        }
        let width = match field.strip_prefix("part") {
            Some("") => 1,
            Some(form) => form
                .strip_prefix(":0")
                .filter(|width| width.len() == 1)
                .and_then(|width| width.parse().ok())
                .filter(|width| (1..=9).contains(width))
                .ok_or(PatternError::Form)?,
            None => return Err(PatternError::Form),
        };
        // Stands for the number while the path is normalised; as long as the longest number.
        const NUMBER: &str = "\u{F8FF}\u{F8FF}\u{F8FF}\u{F8FF}";
        if text.contains('\u{F8FF}') {
            return Err(PatternError::Path(PathError::Character));
        }
        let normal: TaskPath = format!("{before}{NUMBER}{after}").parse()?;
        let (before, after) = normal.as_str().split_once(NUMBER).ok_or(PatternError::Form)?;
        if after.is_empty() && text.ends_with('/') {
            return Err(PatternError::Path(PathError::Empty));
        }
        Ok(Self { before: before.to_owned(), width, after: after.to_owned() })
    }
}

impl TryFrom<String> for PartPattern {
    type Error = PatternError;

    fn try_from(text: String) -> Result<Self, PatternError> {
        text.parse()
    }
}

impl From<PartPattern> for String {
    fn from(pattern: PartPattern) -> Self {
        pattern.to_string()
    }
}

impl fmt::Display for PartPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{{part:0{}}}{}", self.before, self.width, self.after)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parts(pattern: &str, first: u32, count: u32) -> Parts {
        Parts { path: pattern.parse().unwrap(), first, count, max_bytes: 1, to: None }
    }

    #[test]
    fn parts_are_numbered_files() {
        let frames = parts("./frames//{part:04}.png", 1, 12);
        assert_eq!(frames.path.to_string(), "frames/{part:04}.png");
        assert_eq!(frames.file(0).unwrap(), "frames/0001.png");
        assert_eq!(frames.file(11).unwrap(), "frames/0012.png");
        assert_eq!(frames.file(12), None);
        assert_eq!(frames.files().count(), 12);
        assert_eq!(frames.path.directory().unwrap().as_str(), "frames");
        for (file, index) in [
            ("frames/0001.png", Some(0)),
            ("frames/0012.png", Some(11)),
            ("frames/0013.png", None),
            ("frames/0000.png", None),
            ("frames/1.png", None),
            ("frames/+001.png", None),
            ("frames/0001.png.tmp", None),
            ("0001.png", None),
        ] {
            assert_eq!(frames.index(file), index, "{file}");
        }
        assert_eq!(parts("{part}", u32::MAX, 2).file(1), None);
    }

    #[test]
    fn a_pattern_holds_one_number_and_stays_inside() {
        let check = |text: &str, expected: PatternError| {
            assert_eq!(text.parse::<PartPattern>(), Err(expected), "{text}");
        };
        check("frames/x.png", PatternError::Missing);
        check("{part}/{part}", PatternError::Twice);
        check("a}{part}", PatternError::Twice);
        check("{frame}", PatternError::Form);
        check("{part:4}", PatternError::Form);
        check("{part:00}", PatternError::Form);
        check("{part:04", PatternError::Form);
        check("../{part}", PatternError::Path(PathError::Outside));
        check("/{part}", PatternError::Path(PathError::Absolute));
        check("{part}/", PatternError::Path(PathError::Empty));
    }

    proptest! {
        #[test]
        fn file_and_index_are_inverse(first in 0u32..1_000_000, count in 1u32..1_000, index in 0u32..1_000, width in 1u8..=9) {
            let parts = parts(&format!("a/b{{part:0{width}}}.c"), first, count);
            match parts.file(index) {
                Some(file) => prop_assert_eq!(parts.index(&file), Some(index)),
                None => prop_assert!(index >= count),
            }
        }

        #[test]
        fn a_pattern_reads_back(text in "[a-z0-9./]{0,8}\\{part(:0[1-9])?\\}[a-z0-9./]{0,8}") {
            if let Ok(pattern) = text.parse::<PartPattern>() {
                prop_assert_eq!(pattern.to_string().parse::<PartPattern>(), Ok(pattern));
            }
        }
    }
}
