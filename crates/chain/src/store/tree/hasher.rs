//! What the tree hashes with.

use jmt::SimpleHasher;

/// BLAKE3, as the tree wants it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Blake3(blake3::Hasher);

impl SimpleHasher for Blake3 {
    fn new() -> Self {
        Self::default()
    }

    fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    fn finalize(self) -> [u8; 32] {
        *self.0.finalize().as_bytes()
    }
}
