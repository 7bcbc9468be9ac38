//! jmt over redb, with the rows of `chain`'s store: nodes by version and path, values by key and
//! version, a journal a version.

use std::path::Path;

use borsh::{BorshDeserialize, BorshSerialize};
use jmt::storage::{LeafNode, Node, NodeKey, TreeReader};
use jmt::{KeyHash, OwnedValue, Version};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

use crate::tree::changed;
use crate::{Change, StateStore};

type Bytes = &'static [u8];
const NODES: TableDefinition<'_, Bytes, Bytes> = TableDefinition::new("nodes");
const VALUES: TableDefinition<'_, &'static [u8; 40], Bytes> = TableDefinition::new("values");
const JOURNAL: TableDefinition<'_, u64, Bytes> = TableDefinition::new("journal");
const CACHE_BYTES: usize = 48 * 1024 * 1024;

#[derive(Default, BorshSerialize)]
struct Journal {
    added_nodes: Vec<Vec<u8>>,
    stale_nodes: Vec<Vec<u8>>,
    keys: Vec<[u8; 32]>,
}

pub struct Store {
    db: Database,
    version: Version,
}

pub fn open(folder: &Path) -> anyhow::Result<Store> {
    let db = Database::builder().set_cache_size(CACHE_BYTES).create(folder.join("state.redb"))?;
    Ok(Store { db, version: 0 })
}

fn node_row(key: &NodeKey) -> anyhow::Result<Vec<u8>> {
    let mut row = key.version().to_be_bytes().to_vec();
    row.extend_from_slice(&borsh::to_vec(key.nibble_path())?);
    Ok(row)
}

fn value_row(key: [u8; 32], version: Version) -> [u8; 40] {
    let mut row = [0; 40];
    row[..32].copy_from_slice(&key);
    row[32..].copy_from_slice(&version.to_be_bytes());
    row
}

struct Nodes<'a, T>(&'a T);

impl<T: ReadableTable<Bytes, Bytes>> TreeReader for Nodes<'_, T> {
    fn get_node_option(&self, key: &NodeKey) -> anyhow::Result<Option<Node>> {
        let row = self.0.get(node_row(key)?.as_slice())?;
        Ok(row.map(|row| Node::try_from_slice(row.value())).transpose()?)
    }

    fn get_value_option(&self, _: Version, _: KeyHash) -> anyhow::Result<Option<OwnedValue>> {
        anyhow::bail!("updates read no values")
    }

    fn get_rightmost_leaf(&self) -> anyhow::Result<Option<(NodeKey, LeafNode)>> {
        anyhow::bail!("updates look for no leaf")
    }
}

impl StateStore for Store {
    fn commit(&mut self, changes: &[Change]) -> anyhow::Result<[u8; 32]> {
        let mut transaction = self.db.begin_write()?;
        transaction.set_two_phase_commit(true);
        transaction.set_quick_repair(true);
        let root = {
            let mut nodes = transaction.open_table(NODES)?;
            let mut values = transaction.open_table(VALUES)?;
            let mut journals = transaction.open_table(JOURNAL)?;
            let changes = changes.iter().map(|(key, value)| (KeyHash(*key), Some(value.clone())));
            let (root, batch) = changed(&Nodes(&nodes), self.version, changes)?;
            let mut journal = Journal::default();
            for (key, node) in batch.node_batch.nodes() {
                let row = node_row(key)?;
                nodes.insert(row.as_slice(), borsh::to_vec(node)?.as_slice())?;
                journal.added_nodes.push(row);
            }
            for ((version, key), value) in batch.node_batch.values() {
                let value = value.as_deref().unwrap_or_default();
                let value = [&[1], value].concat();
                values.insert(&value_row(key.0, *version), value.as_slice())?;
                journal.keys.push(key.0);
            }
            for stale in &batch.stale_node_index_batch {
                journal.stale_nodes.push(node_row(&stale.node_key)?);
            }
            journals.insert(self.version, borsh::to_vec(&journal)?.as_slice())?;
            root
        };
        transaction.commit()?;
        self.version += 1;
        Ok(root)
    }

    fn read(&self, key: [u8; 32]) -> anyhow::Result<Option<Vec<u8>>> {
        let values = self.db.begin_read()?.open_table(VALUES)?;
        let (from, to) = (value_row(key, 0), value_row(key, self.version));
        let row = values.range::<&[u8; 40]>(&from..=&to)?.next_back().transpose()?;
        Ok(row.map(|row| row.1.value()[1..].to_vec()))
    }
}
