//! nomt as it comes, over BLAKE3.

use std::path::Path;

use nomt::hasher::Blake3Hasher;
use nomt::{KeyReadWrite, Nomt, Options, SessionParams};

use crate::{Change, StateStore};

pub struct Store(Nomt<Blake3Hasher>);

pub fn open(folder: &Path) -> anyhow::Result<Store> {
    let mut options = Options::new();
    options.path(folder.join("nomt"));
    Ok(Store(Nomt::open(options)?))
}

impl StateStore for Store {
    fn commit(&mut self, changes: &[Change]) -> anyhow::Result<[u8; 32]> {
        let session = self.0.begin_session(SessionParams::default());
        let changes = changes
            .iter()
            .map(|(key, value)| (*key, KeyReadWrite::Write(Some(value.clone()))))
            .collect();
        let finished = session.finish(changes)?;
        let root = finished.root().into_inner();
        finished.commit(&self.0)?;
        Ok(root)
    }

    fn read(&self, key: [u8; 32]) -> anyhow::Result<Option<Vec<u8>>> {
        self.0.read(key)
    }
}
