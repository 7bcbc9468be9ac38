//! What is said on a mining socket, by either side: frames in a row. What decodes has one encoding; a
//! certificate is judged for work that every ticket wins.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pouw_mining::{
    Anchor, Core, Difficulty, FromHost, FromTask, MAX_HOST_FRAME, MAX_TASK_FRAME, ProtocolError, Work, length_of,
};

/// Takes frames off the bytes as a connection does, until one breaks the rules.
fn frames(mut rest: &[u8], bound: usize, read: impl Fn(&[u8]) -> Result<Vec<u8>, ProtocolError>) {
    while let Some((head, body)) = rest.split_first_chunk() {
        let Ok(length) = length_of(*head, bound) else { return };
        let Some((frame, next)) = body.split_at_checked(length) else { return };
        let Ok(again) = read(frame) else { return };
        assert_eq!(again, &rest[..4 + length], "a second encoding of one message");
        rest = next;
    }
}

fuzz_target!(|bytes: &[u8]| {
    frames(bytes, MAX_HOST_FRAME, |frame| {
        let message = FromHost::decode(frame)?;
        if let FromHost::Work(work) = &message {
            let deep = work.ancestors.last().and_then(|last| work.depth(*last));
            assert!(deep.is_some_and(|depth| usize::from(depth) <= work.ancestors.len()));
        }
        Ok(message.encode())
    });
    let Ok(difficulty) = Difficulty::new(1 << 18) else { return };
    let ancestors = vec![Anchor([1; 32]); 16];
    let work = Work { id: 1, core: Core([7; 32]), difficulty, ancestors };
    frames(bytes, MAX_TASK_FRAME, |frame| {
        let message = FromTask::decode(frame)?;
        if let FromTask::Win(_, certificate) = &message {
            let _judged = work.check(certificate);
        }
        Ok(message.encode())
    });
});
