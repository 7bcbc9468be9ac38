//! The tree's hasher and its update, the latter as `chain` has it.

use jmt::SimpleHasher;

#[path = "../../../src/store/tree/update.rs"]
pub mod update;

/// BLAKE3, as the tree wants it.
#[derive(Clone, Debug, Default)]
pub struct Blake3(blake3::Hasher);

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

/// The update, for the store beside this file.
pub fn changed(
    reader: &impl jmt::storage::TreeReader,
    version: jmt::Version,
    changes: impl Iterator<Item = (jmt::KeyHash, Option<jmt::OwnedValue>)>,
) -> anyhow::Result<([u8; 32], jmt::storage::TreeUpdateBatch)> {
    let (root, batch) = update::update(reader, version, changes)?;
    Ok((root.0, batch))
}
