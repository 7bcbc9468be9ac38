//! What a container writes, line by line, over breaks of the connection.

use std::time::Duration;

use bollard::Docker;
use bollard::container::LogOutput;
use bollard::query_parameters::{InspectContainerOptions, LogsOptionsBuilder};
use futures::StreamExt;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::super::{Channel, ContainerId, EngineError, LogLine, LogStream};
use super::{DockerConfig, DockerEngine, failure};

/// Lines that wait for the reader.
const QUEUE_LINES: usize = 256;
/// Longest line that is kept, in bytes.
const LINE_BYTES: usize = 16 << 10;
/// First and longest pause before a broken connection is tried again.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

impl DockerEngine {
    pub(super) async fn log_stream(
        &self,
        id: &ContainerId,
        follow: bool,
        since_ns: u64,
    ) -> Result<LogStream, EngineError> {
        // So that a container that is not there is an error at once.
        self.inspect_raw(id).await?;
        let client = self.client().await?.clone();
        let (sender, receiver) = mpsc::channel(QUEUE_LINES);
        let reader = Reader {
            client,
            config: self.config.clone(),
            id: id.clone(),
            place: Place { time_ns: since_ns, seen: u64::MAX },
            sender,
        };
        tokio::spawn(reader.run(follow));
        Ok(ReceiverStream::new(receiver).boxed())
    }
}

/// How far a log has been read: a time, and how many lines of that very time.
#[derive(Clone, Copy, Debug)]
struct Place {
    time_ns: u64,
    seen: u64,
}

impl Place {
    /// Whether a line is new, given how many lines of its time came before it on this connection.
    fn admit(&mut self, time_ns: u64, of_this_time: u64) -> bool {
        if time_ns < self.time_ns || (time_ns == self.time_ns && of_this_time < self.seen) {
            return false;
        }
        *self = Self { time_ns, seen: of_this_time + 1 };
        true
    }
}

/// Why one connection's reading ended.
enum Ended {
    /// The engine had no more to say.
    Complete,
    /// The connection broke.
    Broken(EngineError),
    /// Nobody listens any more.
    Unheard,
}

struct Reader {
    client: Docker,
    config: DockerConfig,
    id: ContainerId,
    place: Place,
    sender: mpsc::Sender<Result<LogLine, EngineError>>,
}

impl Reader {
    async fn run(mut self, follow: bool) {
        let mut pause = BACKOFF.0;
        loop {
            let before = self.place;
            // Asked before reading: what is written until the end is then read for certain.
            let over = self.has_ended().await;
            match self.read(follow).await {
                Ended::Unheard => return,
                Ended::Complete if !follow || matches!(over, Ok(true)) => return,
                Ended::Complete => {}
                Ended::Broken(error) if follow && error.is_transient() => {}
                Ended::Broken(error) => {
                    // Only an error if somebody still listens.
                    drop(self.sender.send(Err(error)).await);
                    return;
                }
            }
            if matches!(over, Err(EngineError::NotFound { .. })) {
                return;
            }
            pause = if self.place.time_ns > before.time_ns {
                BACKOFF.0
            } else {
                (pause * 2).min(BACKOFF.1)
            };
            tokio::select! {
                () = self.sender.closed() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    async fn has_ended(&self) -> Result<bool, EngineError> {
        let call = self.client.inspect_container(self.id.as_str(), None::<InspectContainerOptions>);
        let found = call
            .await
            .map_err(|error| failure(&self.config, "look at the container", "container", error))?;
        let status = found.state.and_then(|state| state.status).map(|status| status.to_string());
        Ok(matches!(status.as_deref(), Some("exited" | "dead" | "removing")))
    }

    /// Reads one connection to its end.
    async fn read(&mut self, follow: bool) -> Ended {
        let since = i32::try_from(self.place.time_ns / 1_000_000_000).unwrap_or(i32::MAX);
        let options = LogsOptionsBuilder::default()
            .follow(follow)
            .stdout(true)
            .stderr(true)
            .timestamps(true)
            .since(since)
            .build();
        let mut parts = Box::pin(self.client.logs(self.id.as_str(), Some(options)));
        let (mut time_ns, mut of_this_time) = (0, 0);
        loop {
            let part = tokio::select! {
                part = parts.next() => part,
                () = self.sender.closed() => return Ended::Unheard,
            };
            let line = match part {
                None => return Ended::Complete,
                Some(Err(error)) => {
                    return Ended::Broken(failure(&self.config, "read the log", "log", error));
                }
                Some(Ok(part)) => line(part),
            };
            let Some(line) = line else { continue };
            of_this_time = if line.time_ns == time_ns { of_this_time + 1 } else { 0 };
            time_ns = line.time_ns;
            if self.place.admit(time_ns, of_this_time) && self.sender.send(Ok(line)).await.is_err()
            {
                return Ended::Unheard;
            }
        }
    }
}

/// One part of the engine's answer, which has the time before the text.
fn line(part: LogOutput) -> Option<LogLine> {
    let channel = match part {
        LogOutput::StdErr { .. } => Channel::Stderr,
        LogOutput::StdOut { .. } | LogOutput::Console { .. } => Channel::Stdout,
        LogOutput::StdIn { .. } => return None,
    };
    let bytes = part.into_bytes();
    let text = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    let at = text.iter().position(|byte| *byte == b' ').unwrap_or(text.len());
    let time: jiff::Timestamp = core::str::from_utf8(text.get(..at)?).ok()?.parse().ok()?;
    let rest = text.get(at + 1..).unwrap_or_default();
    Some(LogLine {
        channel,
        time_ns: u64::try_from(time.as_nanosecond()).ok()?,
        text: String::from_utf8_lossy(&rest[..rest.len().min(LINE_BYTES)]).into_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(part: &'static [u8], time_ns: u64, text: &str) {
        let found = line(LogOutput::StdErr { message: part.into() }).unwrap();
        let expected = LogLine { channel: Channel::Stderr, time_ns, text: text.to_owned() };
        assert_eq!(found, expected);
    }

    #[test]
    fn a_line_has_its_time_and_text() {
        check(b"1970-01-01T00:00:01.000000002Z hello there\n", 1_000_000_002, "hello there");
        check(b"1970-01-01T00:00:01.000000002Z \n", 1_000_000_002, "");
        check(b"1970-01-01T00:00:01Z bad \xff byte\r\n", 1_000_000_000, "bad \u{fffd} byte");
    }

    #[test]
    fn what_is_no_line_is_passed_over() {
        for bytes in [&b""[..], b"hello", b"\xff\xff \n", b"1960-01-01T00:00:00Z old"] {
            let message = bytes::Bytes::from_static(bytes);
            assert_eq!(line(LogOutput::StdOut { message }), None);
        }
    }

    #[test]
    fn a_long_line_is_cut() {
        let text = format!("1970-01-01T00:00:01Z {}", "x".repeat(LINE_BYTES + 5));
        let found = line(LogOutput::StdOut { message: text.into() }).unwrap();
        assert_eq!(found.text.len(), LINE_BYTES);
    }

    #[test]
    fn lines_read_again_after_a_break_are_left_out() {
        let mut place = Place { time_ns: 5, seen: u64::MAX };
        // (time, how many of this time before it, whether it is new)
        let reads = [(4, 0, false), (5, 0, false), (6, 0, true), (6, 1, true)];
        let again = [(6, 0, false), (6, 1, false), (6, 2, true), (7, 0, true)];
        for (time_ns, before, new) in reads.into_iter().chain(again) {
            assert_eq!(place.admit(time_ns, before), new, "{time_ns} {before}");
        }
    }
}
