//! What peers send: frames in a row, as a connection reads them. What decodes has one encoding.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pouw_net::wire::{Frame, Message};

fuzz_target!(|bytes: &[u8]| {
    let mut rest = bytes;
    while let Some((head, payload)) = rest.split_first_chunk() {
        let Ok(frame) = Frame::read(*head) else { return };
        let Some((payload, next)) = payload.split_at_checked(frame.length) else { return };
        let Ok(message) = Message::decode(frame.kind, payload.to_vec().into()) else { return };
        let read = &rest[..rest.len() - next.len()];
        assert_eq!(message.encode(), read, "a second encoding of one message");
        rest = next;
    }
});
