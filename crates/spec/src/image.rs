//! Images by name or digest, and what an image says about itself.

use core::fmt;
use core::str::FromStr;

use alloy_primitives::B256;
use pouw_types::UseCase;
use serde::{Deserialize, Serialize};

/// An image as a spec names it: `blender`, `registry.example/blender:4.2`, or by digest
/// `blender@sha256:…`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ImageRef {
    name: String,
    tag: Option<String>,
    digest: Option<B256>,
}

/// A text names no image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// Not of the form that registries take.
    #[error("not an image: write a lower-case name such as blender or host/blender:4.2")]
    Name,
    /// Not of the form that registries take.
    #[error("not an image tag: 1 to 128 of letters, digits, `_`, `.` and `-`")]
    Tag,
    /// Not of the form `sha256:` and 64 digits.
    #[error("not an image digest: write sha256: and 64 hexadecimal digits")]
    Digest,
}

impl ImageRef {
    /// Longest text, bytes.
    pub const MAX_BYTES: usize = 512;

    /// Registry and repository without tag or digest, such as `blender`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The tag, if one was written.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The SHA-256 digest, if one was written.
    #[must_use]
    pub const fn digest(&self) -> Option<B256> {
        self.digest
    }
}

fn name_is_valid(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
    let parts: Vec<&str> = name.split('/').collect();
    let registry = parts.len() > 1;
    parts.iter().enumerate().all(|(index, part)| {
        // Only a registry in front may carry a port.
        let part = match part.split_once(':') {
            Some((host, port)) if registry && index == 0 && port.parse::<u16>().is_ok() => host,
            Some(_) => return false,
            None => part,
        };
        let edges = [part.bytes().next(), part.bytes().last()];
        !part.is_empty()
            && part.bytes().all(allowed)
            && edges.into_iter().flatten().all(|b| b.is_ascii_alphanumeric())
    })
}

impl FromStr for ImageRef {
    type Err = ImageError;

    fn from_str(text: &str) -> Result<Self, ImageError> {
        if text.len() > Self::MAX_BYTES {
            return Err(ImageError::Name);
        }
        let (text, digest) = match text.split_once('@') {
            Some((text, digest)) => (text, Some(digest)),
            None => (text, None),
        };
        let digest = match digest.map(|digest| digest.strip_prefix("sha256:")) {
            None => None,
            Some(Some(hex)) if hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()) => {
                Some(hex.parse().map_err(|_| ImageError::Digest)?)
            }
            Some(_) => return Err(ImageError::Digest),
        };
        // A colon behind the last slash starts a tag; one before it is the registry's port.
        let (name, tag) = match text.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (text, None),
        };
        if !name_is_valid(name) {
            return Err(ImageError::Name);
        }
        let tag_ok = |tag: &str| {
            (1..=128).contains(&tag.len())
                && tag.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
                && !tag.starts_with(['.', '-'])
        };
        if !tag.is_none_or(tag_ok) {
            return Err(ImageError::Tag);
        }
        Ok(Self { name: name.to_owned(), tag: tag.map(str::to_owned), digest })
    }
}

impl TryFrom<String> for ImageRef {
    type Error = ImageError;

    fn try_from(text: String) -> Result<Self, ImageError> {
        text.parse()
    }
}

impl From<ImageRef> for String {
    fn from(image: ImageRef) -> Self {
        image.to_string()
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@sha256:{}", alloy_primitives::hex::encode(digest))?;
        }
        Ok(())
    }
}

/// What an image of the library says about itself by its labels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageSpec {
    /// The command of the image's own benchmark, from the label `pouw.bench`.
    pub bench: Option<Vec<String>>,
    /// What the image is for, from the label `pouw.use-case`.
    pub use_case: Option<UseCase>,
}

/// A label of an image cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// `pouw.bench` is no command.
    #[error(
        "image label pouw.bench is not a command: write a JSON list of 1 to 64 texts, at most 4,096 bytes"
    )]
    Bench,
    /// `pouw.use-case` is none.
    #[error("image label pouw.use-case is `{0}`: write ai, rendering, gaming or general")]
    UseCase(String),
}

impl ImageSpec {
    /// The label with the benchmark's command, a JSON list of texts.
    pub const BENCH_LABEL: &'static str = "pouw.bench";
    /// The label with the use case.
    pub const USE_CASE_LABEL: &'static str = "pouw.use-case";
    /// Most bytes that a label is read of.
    pub const MAX_LABEL_BYTES: usize = 4_096;
    /// Most words of the benchmark's command.
    pub const MAX_BENCH_WORDS: usize = 64;

    /// Reads the labels of an image; labels of others are passed over.
    ///
    /// # Errors
    /// [`LabelError`] where one of ours cannot be used.
    pub fn from_labels<'a>(
        labels: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, LabelError> {
        let mut spec = Self::default();
        for (label, value) in labels {
            match label {
                Self::BENCH_LABEL => spec.bench = Some(bench_command(value)?),
                Self::USE_CASE_LABEL => spec.use_case = Some(use_case(value)?),
                _ => {}
            }
        }
        Ok(spec)
    }
}

fn bench_command(value: &str) -> Result<Vec<String>, LabelError> {
    if value.len() > ImageSpec::MAX_LABEL_BYTES {
        return Err(LabelError::Bench);
    }
    let words: Vec<String> = serde_json::from_str(value).map_err(|_| LabelError::Bench)?;
    let usable = (1..=ImageSpec::MAX_BENCH_WORDS).contains(&words.len())
        && words.first().is_some_and(|program| !program.is_empty())
        && words.iter().all(|word| !word.contains('\0'));
    if usable { Ok(words) } else { Err(LabelError::Bench) }
}

fn use_case(value: &str) -> Result<UseCase, LabelError> {
    crate::words::use_case(value).ok_or_else(|| {
        // An image may come from anyone: its label reaches a terminal only in part, escaped.
        LabelError::UseCase(value.chars().take(32).flat_map(char::escape_default).collect())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_read_as_registries_write_them() {
        let digest = format!("sha256:{}", "ab".repeat(32));
        let check = |text: &str, expected: Result<(&str, Option<&str>, bool), ImageError>| {
            let got = text.parse::<ImageRef>();
            if let Ok(image) = &got {
                assert_eq!(image.to_string(), text);
            }
            let got = got.as_ref().map(|i| (i.name(), i.tag(), i.digest().is_some()));
            assert_eq!(got.map_err(|e| *e), expected, "{text}");
        };
        check("hello", Ok(("hello", None, false)));
        check("127.0.0.1:5000/blender", Ok(("127.0.0.1:5000/blender", None, false)));
        check("a.b/c/d:4.2", Ok(("a.b/c/d", Some("4.2"), false)));
        check(&format!("blender@{digest}"), Ok(("blender", None, true)));
        check(&format!("h:1/blender:x@{digest}"), Ok(("h:1/blender", Some("x"), true)));
        for bad in ["", "Blender", "a//b", "-a", "a b", "a/b:9/c", "../x", "a\0"] {
            check(bad, Err(ImageError::Name));
        }
        check("blender:", Err(ImageError::Tag));
        check("blender:-x", Err(ImageError::Tag));
        for bad in ["blender@sha256:12", "blender@md5:ab", "blender@"] {
            check(bad, Err(ImageError::Digest));
        }
    }

    #[test]
    fn labels_say_how_an_image_is_benchmarked() {
        let read = |bench: &str| ImageSpec::from_labels([("pouw.bench", bench), ("other", "[")]);
        let spec = read(r#"["blender","-b","bench.blend"]"#).unwrap();
        assert_eq!(spec.bench.unwrap(), ["blender", "-b", "bench.blend"]);
        let long = format!("[\"{}\"]", "a".repeat(5_000));
        let many = format!("[{}\"a\"]", "\"a\",".repeat(64));
        for bad in ["", "[]", "[1]", "{}", "\"x\"", "[\"\"]", "[\"a\\u0000\"]", &long, &many] {
            assert_eq!(read(bad), Err(LabelError::Bench), "{bad}");
        }
        let used = ImageSpec::from_labels([("pouw.use-case", "rendering")]).unwrap();
        assert_eq!(used.use_case, Some(UseCase::Rendering));
        let error = ImageSpec::from_labels([("pouw.use-case", "\u{1b}[2J")]).unwrap_err();
        assert!(!error.to_string().contains('\u{1b}'), "{error}");
    }
}
