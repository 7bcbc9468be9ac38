//! Blocks, headers and what the rules remember: what decodes has one encoding.
#![no_main]

use alloy_primitives::B256;
use libfuzzer_sys::fuzz_target;
use pouw_chain::Block;
use pouw_consensus::{Header, Standing};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(block) = Block::decode(bytes) {
        assert_eq!(block.encode(), bytes, "a second encoding of one block");
    }
    if let Ok(header) = Header::decode(bytes) {
        assert_eq!(header.encode(), bytes, "a second encoding of one header");
    }
    if let Ok(standing) = Standing::decode_state(B256::ZERO, bytes) {
        assert_eq!(standing.encode_state(), bytes, "a second encoding of one standing");
    }
});
