//! The tree's hasher and its update, as `chain` has them.

#[path = "../../../src/store/tree/hasher.rs"]
mod hasher;
#[path = "../../../src/store/tree/update.rs"]
pub mod update;

pub(crate) use hasher::Blake3;

/// The update, for the store beside this file.
pub fn changed(
    reader: &impl jmt::storage::TreeReader,
    version: jmt::Version,
    changes: impl Iterator<Item = (jmt::KeyHash, Option<jmt::OwnedValue>)>,
) -> anyhow::Result<([u8; 32], jmt::storage::TreeUpdateBatch)> {
    let (root, batch) = update::update(reader, version, changes)?;
    Ok((root.0, batch))
}
