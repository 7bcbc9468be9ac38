//! The result of a benchmark that an image brings along.

use serde::Deserialize;

use crate::gate::{Reference, rate_per_s, score};

/// What an image's bench command says in the last line of JSON on its output.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ImageBench {
    /// Which benchmark it is.
    pub bench: String,
    /// The work done, in the benchmark's own unit.
    pub samples: u64,
    /// How long it took, milliseconds.
    pub elapsed_ms: u64,
    /// The processor time of it, milliseconds, all threads together.
    #[serde(default)]
    pub cpu_ms: u64,
}

/// An image's benchmark gave no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImageBenchError {
    /// No line is a result.
    #[error("the image's bench command printed no line of JSON with bench, samples and elapsed_ms")]
    NoResult,
    /// A result that cannot be.
    #[error(
        "the image's bench command says {samples} samples in {elapsed_ms} ms: both must be above 0"
    )]
    Nothing {
        /// As printed.
        samples: u64,
        /// As printed.
        elapsed_ms: u64,
    },
}

impl ImageBench {
    /// Most of an output that is read, from its end: bytes.
    pub const MAX_OUTPUT_BYTES: usize = 64 * 1_024;

    /// Reads the last result in a command's output.
    ///
    /// # Errors
    /// [`ImageBenchError`] where there is none, or one without work or time.
    pub fn from_output(output: &[u8]) -> Result<Self, ImageBenchError> {
        let start = output.len().saturating_sub(Self::MAX_OUTPUT_BYTES);
        let tail = output.get(start..).unwrap_or_default();
        let lines = tail.rsplit(|byte| *byte == b'\n');
        let found = lines.filter_map(|line| serde_json::from_slice::<Self>(line).ok()).next();
        let found = found.ok_or(ImageBenchError::NoResult)?;
        let Self { samples, elapsed_ms, .. } = found;
        if samples == 0 || elapsed_ms == 0 {
            return Err(ImageBenchError::Nothing { samples, elapsed_ms });
        }
        Ok(found)
    }

    /// The score by the clock on the wall.
    #[must_use]
    pub fn score(&self, reference: Reference) -> u32 {
        score(rate_per_s(self.samples, self.elapsed_ms.saturating_mul(1_000_000)), reference)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_of_json_is_the_result() {
        let line =
            br#"{"bench": "blender", "samples": 460800, "elapsed_ms": 2000, "cpu_ms": 1990}"#;
        let output =
            [b"Blender 3.4\n{\"other\": 1}\n".as_slice(), line, b"\nBlender quit\n"].concat();
        let bench = ImageBench::from_output(&output).unwrap();
        assert_eq!(bench.score(Reference::RENDERING_THREAD), 1_152);
        let check = |output: &[u8], expected: ImageBenchError| {
            assert_eq!(ImageBench::from_output(output), Err(expected));
        };
        check(b"", ImageBenchError::NoResult);
        check(b"\xff\xfe{\n", ImageBenchError::NoResult);
        check(br#"{"bench":"x","samples":-1,"elapsed_ms":5}"#, ImageBenchError::NoResult);
        let nothing = ImageBenchError::Nothing { samples: 5, elapsed_ms: 0 };
        check(br#"{"bench":"x","samples":5,"elapsed_ms":0}"#, nothing);
        let far = [line.as_slice(), &vec![b'\n'; ImageBench::MAX_OUTPUT_BYTES]].concat();
        check(&far, ImageBenchError::NoResult);
    }
}
