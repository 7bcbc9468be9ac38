//! M-6: a ticket and its value.

use crate::hash::{Digest, LeftKey};
use crate::shape::STRIPES;

/// One lottery ticket: a tile's transcript through one segment, 2^18 multiplications.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// The group of rows of A.
    pub i: u32,
    /// The group of columns of B.
    pub j: u32,
    /// The segment.
    pub s: u32,
    /// X_0 … X_7: the XOR of the 256 accumulators after each stripe.
    pub transcript: [u32; STRIPES],
}

impl Ticket {
    /// The block that is hashed: X_0 … X_7 ‖ i ‖ j ‖ s ‖ 20 zero bytes.
    #[must_use]
    pub fn block(&self) -> [u8; 64] {
        let mut block = [0; 64];
        let (words, _) = block.as_chunks_mut::<4>();
        let fields = self.transcript.into_iter().chain([self.i, self.j, self.s]);
        for (to, from) in words.iter_mut().zip(fields) {
            *to = from.to_le_bytes();
        }
        block
    }

    /// J, a little-endian number: BLAKE3 keyed by K_A of the block.
    #[must_use]
    pub fn value(&self, key: LeftKey) -> Digest {
        blake3::keyed_hash(&key.0, &self.block()).into()
    }
}
