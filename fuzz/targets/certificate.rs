//! Certificates of the matmul proof: what decodes has one encoding, and no bytes reach a panic in the
//! verifier. Every ticket wins at the easiest difficulty, so that a search gets to the last check.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pouw_matmul::{Anchor, Certificate, Core, Difficulty, Work};

fuzz_target!(|bytes: &[u8]| {
    let Ok(certificate) = Certificate::decode(bytes) else { return };
    assert_eq!(certificate.encode(), bytes, "a second encoding of one certificate");
    let Ok(difficulty) = Difficulty::new(1 << 18) else { return };
    let ancestors = [1, 2, 3].map(|byte| Anchor([byte; 32]));
    let work = Work { core: Core([4; 32]), ancestors: &ancestors, difficulty };
    if let Ok(ticket) = certificate.verify(&work) {
        assert_eq!((ticket.i, ticket.j), (certificate.claim.i, certificate.claim.j));
    }
});
