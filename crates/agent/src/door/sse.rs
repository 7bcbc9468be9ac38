//! Reads server-sent events.

use super::{ClientError, Event};

/// Most bytes of one event.
const MAX_EVENT_BYTES: usize = 1 << 20;

/// Cuts a byte stream into events.
#[derive(Debug, Default)]
pub(super) struct Parser {
    buffer: Vec<u8>,
    data: String,
}

impl Parser {
    /// The events that this chunk completes.
    pub(super) fn push(&mut self, chunk: &[u8]) -> Vec<Result<Event, ClientError>> {
        let mut events = Vec::new();
        for byte in chunk {
            if *byte != b'\n' {
                self.buffer.push(*byte);
                if self.buffer.len() + self.data.len() > MAX_EVENT_BYTES {
                    self.buffer.clear();
                    self.data.clear();
                    events.push(Err(ClientError::Malformed("event above 1 MiB".to_owned())));
                }
                continue;
            }
            let line = String::from_utf8_lossy(&self.buffer).into_owned();
            self.buffer.clear();
            let line = line.trim_end_matches('\r');
            if let Some(data) = line.strip_prefix("data:") {
                if !self.data.is_empty() {
                    self.data.push('\n');
                }
                self.data.push_str(data.trim_start());
            } else if line.is_empty() && !self.data.is_empty() {
                let data = std::mem::take(&mut self.data);
                events.push(
                    serde_json::from_str(&data)
                        .map_err(|error| ClientError::Malformed(error.to_string())),
                );
            }
        }
        events
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::door::EventKind;

    #[test]
    fn events_are_read_however_the_bytes_are_cut() {
        let text = "id: 1\ndata: {\"id\":1,\"at_ms\":5,\"event\":\"resumed\"}\n\n: alive\n\n\
                    data: {\"id\":2,\"at_ms\":6,\"event\":\"remark\",\"text\":\"x\"}\r\n\r\n";
        for size in [1, 2, 7, 1_000] {
            let mut parser = Parser::default();
            let events: Vec<Event> = text
                .as_bytes()
                .chunks(size)
                .flat_map(|chunk| parser.push(chunk))
                .collect::<Result<_, _>>()
                .unwrap();
            assert_eq!(events.len(), 2, "{size}");
            assert_eq!(events[0].kind, EventKind::Resumed);
            assert_eq!(events[1].kind, EventKind::Remark { text: "x".to_owned() });
        }
    }

    #[test]
    fn garbage_is_an_error_and_no_memory() {
        let mut parser = Parser::default();
        assert!(parser.push(b"data: {]\n\n")[0].is_err());
        let events = parser.push(&vec![b'x'; 3 << 20]);
        assert!(events.iter().all(Result::is_err));
        assert!(parser.buffer.len() <= MAX_EVENT_BYTES);
    }
}
