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

    /// The score: the work in a second of processor time, times the processors that the bench could
    /// use. So other load doesn't count, and a quota does.
    ///
    /// Where the bench tells no processor time, or nobody looked at its container, by the clock on the
    /// wall: other load counts too, never to the host's favour.
    #[must_use]
    pub fn score(&self, reference: Reference, allowance: Option<&Allowance>) -> u32 {
        let millis = allowance.and_then(Allowance::millis).filter(|_| self.cpu_ms > 0);
        let rate = match millis {
            Some(millis) => {
                let work = u128::from(self.samples).saturating_mul(millis.into()) / 1_000;
                let work = u64::try_from(work).unwrap_or(u64::MAX);
                rate_per_s(work, self.cpu_ms.saturating_mul(1_000_000))
            }
            None => rate_per_s(self.samples, self.elapsed_ms.saturating_mul(1_000_000)),
        };
        score(rate, reference)
    }
}

/// What the machine let the container of a bench use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// Processors of the machine.
    pub processors: u64,
    /// What the container was given, thousandths of a processor.
    pub cpu_millis: u64,
    /// The smallest quota in force, thousandths of a processor; none where there is none.
    pub quota_millis: Option<u64>,
    /// Processor time of the container.
    pub cpu_ns: u64,
    /// What quotas took from it, of all processors together.
    pub throttled_ns: u64,
}

impl Allowance {
    /// The processors that the container could use, thousandths: all of the machine's, times the share
    /// that quotas left, and never more than it was given or a quota allows. None without a measurement.
    #[must_use]
    pub fn millis(&self) -> Option<u64> {
        let allowed_ns = self.cpu_ns.saturating_add(self.throttled_ns);
        let all = u128::from(self.processors.saturating_mul(1_000));
        let left = all.saturating_mul(self.cpu_ns.into()).checked_div(allowed_ns.into())?;
        let left = u64::try_from(left).unwrap_or(u64::MAX).min(self.cpu_millis);
        Some(self.quota_millis.map_or(left, |quota| left.min(quota)))
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
        assert_eq!(bench.score(Reference::RENDERING_THREAD, None), 1_152);
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

    #[test]
    fn a_quota_lowers_the_score_of_a_bench_and_load_does_not() {
        let alone = Allowance {
            processors: 2,
            cpu_millis: 2_000,
            quota_millis: Some(2_000),
            cpu_ns: 2_000_000_000,
            throttled_ns: 0,
        };
        let check = |elapsed_ms, cpu_ms, allowance: Allowance, expected| {
            let bench = ImageBench { bench: "b".to_owned(), samples: 400_000, elapsed_ms, cpu_ms };
            let score = bench.score(Reference::RENDERING_THREAD, Some(&allowance));
            assert_eq!(score, expected, "{bench:?} {allowance:?}");
        };
        check(1_000, 2_000, alone, 2_000);
        // Beside load the same work takes longer by the clock, and as long by the processor's.
        check(5_000, 2_000, alone, 2_000);
        // Halved, and noticed by the time it took or by what it says.
        check(2_000, 2_000, Allowance { throttled_ns: 2_000_000_000, ..alone }, 1_000);
        check(2_000, 2_000, Allowance { quota_millis: Some(1_000), ..alone }, 1_000);
        // A unit of one processor is held to it on a machine of two.
        let unit = Allowance { cpu_millis: 1_000, quota_millis: Some(1_000), ..alone };
        check(2_000, 2_000, Allowance { throttled_ns: 2_000_000_000, ..unit }, 1_000);
        check(4_000, 2_000, unit, 1_000);
        // A slower machine.
        check(2_000, 4_000, alone, 1_000);
        // What can't be told counts by the clock on the wall.
        check(4_000, 0, alone, 500);
        check(4_000, 2_000, Allowance { cpu_ns: 0, ..alone }, 500);
    }
}
