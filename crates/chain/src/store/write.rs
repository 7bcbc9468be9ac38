//! One step that changes the database.

use alloy_primitives::B256;
use borsh::{BorshDeserialize, BorshSerialize};
use jmt::storage::TreeUpdateBatch;
use pouw_consensus::{BlockId, Header, Standing};
use pouw_ledger::{State, StateError, Writes};
use redb::{ReadableTable, Table, WriteTransaction};

use super::read::{decode_header_row, encode_header_row};
use super::tables::{
    BEST, BLOOMS, BODIES, CERTIFICATES, FORMAT, HEAD, HEADERS, INVALID, JOURNAL, META, NODES,
    OLDEST, PLACES, RECEIPTS, VALUES,
};
use super::tree::{
    Nodes, encode_value, key_hash, node_row, root_after, tree_error, value_at, value_row,
};
use super::{LAYOUT, corrupt};
use crate::block::{Block, decode_body, encode_body};
use crate::error::StoreError;

type Rows<'t> = Table<'t, &'static [u8; 32], &'static [u8]>;

/// The tables, open for one step.
pub(crate) struct Writing<'t> {
    meta: Table<'t, &'static str, &'static [u8]>,
    headers: Rows<'t>,
    bodies: Rows<'t>,
    certificates: Table<'t, (u64, &'static [u8; 32]), &'static [u8]>,
    receipts: Rows<'t>,
    invalid: Table<'t, &'static [u8; 32], ()>,
    best: Table<'t, u64, &'static [u8; 32]>,
    places: Table<'t, &'static [u8; 32], (u64, u32)>,
    blooms: Table<'t, u64, &'static [u8]>,
    nodes: Table<'t, &'static [u8], &'static [u8]>,
    values: Table<'t, &'static [u8; 40], &'static [u8]>,
    journal: Table<'t, u64, &'static [u8]>,
}

/// What a block did to the tree: enough to undo it and to drop what it made stale.
#[derive(Debug, Default, BorshSerialize, BorshDeserialize)]
struct Journal {
    added_nodes: Vec<Vec<u8>>,
    stale_nodes: Vec<Vec<u8>>,
    keys: Vec<[u8; 32]>,
}

impl<'t> Writing<'t> {
    pub(crate) fn open(transaction: &'t WriteTransaction) -> Result<Self, StoreError> {
        Ok(Self {
            meta: transaction.open_table(META)?,
            headers: transaction.open_table(HEADERS)?,
            bodies: transaction.open_table(BODIES)?,
            certificates: transaction.open_table(CERTIFICATES)?,
            receipts: transaction.open_table(RECEIPTS)?,
            invalid: transaction.open_table(INVALID)?,
            best: transaction.open_table(BEST)?,
            places: transaction.open_table(PLACES)?,
            blooms: transaction.open_table(BLOOMS)?,
            nodes: transaction.open_table(NODES)?,
            values: transaction.open_table(VALUES)?,
            journal: transaction.open_table(JOURNAL)?,
        })
    }

    pub(crate) fn put_layout(&mut self) -> Result<(), StoreError> {
        self.meta.insert(FORMAT, LAYOUT.to_le_bytes().as_slice())?;
        self.meta.insert(OLDEST, 0u64.to_le_bytes().as_slice())?;
        Ok(())
    }

    pub(crate) fn at_height(&self, height: u64) -> Result<Option<BlockId>, StoreError> {
        Ok(self.best.get(height)?.map(|row| B256::from(row.value())))
    }

    /// The oldest height whose state is kept.
    pub(crate) fn oldest(&self) -> Result<u64, StoreError> {
        let row = self.meta.get(OLDEST)?.ok_or_else(|| corrupt("number", OLDEST))?;
        let bytes = row.value().try_into().map_err(|_| corrupt("number", OLDEST))?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// Remembers a block whose header was checked.
    pub(crate) fn put_block(
        &mut self,
        standing: &Standing,
        block: &Block,
    ) -> Result<(), StoreError> {
        let id = &standing.id.0;
        self.put_header(standing, &block.header)?;
        self.bodies.insert(id, encode_body(&block.transactions).as_slice())?;
        if let Some(certificate) = &block.certificate {
            self.certificates.insert((standing.height, id), certificate.as_slice())?;
        }
        Ok(())
    }

    /// Remembers a header with what the rules remember after it.
    pub(crate) fn put_header(
        &mut self,
        standing: &Standing,
        header: &Header,
    ) -> Result<(), StoreError> {
        let row = encode_header_row(standing, header);
        self.headers.insert(&standing.id.0, row.as_slice())?;
        Ok(())
    }

    /// Drops the certificates of blocks below a height, on all branches.
    pub(crate) fn prune_certificates(&mut self, below: u64) -> Result<(), StoreError> {
        for row in self.certificates.extract_from_if(..(below, &[0; 32]), |_, _| true)? {
            row?;
        }
        Ok(())
    }

    pub(crate) fn put_invalid(&mut self, id: BlockId) -> Result<(), StoreError> {
        self.invalid.insert(&id.0, ())?;
        Ok(())
    }

    pub(crate) fn put_receipts(&mut self, id: BlockId, receipts: &[u8]) -> Result<(), StoreError> {
        self.receipts.insert(&id.0, receipts)?;
        Ok(())
    }

    pub(crate) fn header(&self, id: BlockId) -> Result<Option<(Standing, Header)>, StoreError> {
        self.headers.get(&id.0)?.map(|row| decode_header_row(id, row.value())).transpose()
    }

    pub(crate) fn body(&self, id: BlockId) -> Result<Vec<Vec<u8>>, StoreError> {
        let row = self.bodies.get(&id.0)?.ok_or_else(|| corrupt("body", id))?;
        decode_body(row.value()).map_err(|_| corrupt("body", id))
    }

    /// The state after the block at `height`.
    pub(crate) const fn state(&self, height: u64) -> StateBelow<'_, 't> {
        StateBelow { values: &self.values, height }
    }

    /// The root that writes at `height` give, and what they add to the tree.
    pub(crate) fn root_after(
        &self,
        height: u64,
        writes: &Writes,
    ) -> Result<(B256, TreeUpdateBatch), StoreError> {
        root_after(&Nodes { nodes: &self.nodes, values: &self.values }, height, writes)
    }

    /// Makes a block the head: state, indices, head.
    pub(crate) fn extend(
        &mut self,
        id: BlockId,
        height: u64,
        batch: &TreeUpdateBatch,
        hashes: &[B256],
        bloom: Option<&[u8]>,
    ) -> Result<(), StoreError> {
        self.put_tree(height, batch)?;
        self.best.insert(height, &id.0)?;
        // In the order of the table, so that a page is found and written once.
        let mut places: Vec<(&B256, u32)> = hashes.iter().zip(0u32..).collect();
        places.sort_unstable();
        for (hash, index) in places {
            self.places.insert(&hash.0, (height, index))?;
        }
        if let Some(bloom) = bloom {
            self.blooms.insert(height, bloom)?;
        }
        self.meta.insert(HEAD, id.as_slice())?;
        Ok(())
    }

    fn put_tree(&mut self, height: u64, batch: &TreeUpdateBatch) -> Result<(), StoreError> {
        let mut journal = Journal::default();
        for (key, node) in batch.node_batch.nodes() {
            let row = node_row(key)?;
            let bytes = borsh::to_vec(node).map_err(tree_error)?;
            self.nodes.insert(row.as_slice(), bytes.as_slice())?;
            journal.added_nodes.push(row);
        }
        // Rows of one table in the order of their keys: versions are all the same here.
        for ((version, key), value) in batch.node_batch.values() {
            let row = value_row(*key, *version);
            self.values.insert(&row, encode_value(value.as_deref()).as_slice())?;
            journal.keys.push(key.0);
        }
        for stale in &batch.stale_node_index_batch {
            journal.stale_nodes.push(node_row(&stale.node_key)?);
        }
        let bytes = borsh::to_vec(&journal).map_err(tree_error)?;
        self.journal.insert(height, bytes.as_slice())?;
        Ok(())
    }

    fn take_journal(&mut self, height: u64) -> Result<Journal, StoreError> {
        let row = self.journal.remove(height)?.ok_or_else(|| corrupt("journal", height))?;
        Journal::try_from_slice(row.value()).map_err(|_| corrupt("journal", height))
    }

    /// Undoes the head, at `height`; its parent is the head then.
    pub(crate) fn undo(
        &mut self,
        height: u64,
        parent: BlockId,
        hashes: &[B256],
    ) -> Result<(), StoreError> {
        let journal = self.take_journal(height)?;
        for row in &journal.added_nodes {
            self.nodes.remove(row.as_slice())?;
        }
        for key in journal.keys {
            self.values.remove(&value_row(jmt::KeyHash(key), height))?;
        }
        for hash in hashes {
            self.places.remove(&hash.0)?;
        }
        self.blooms.remove(height)?;
        self.best.remove(height)?;
        self.meta.insert(HEAD, parent.as_slice())?;
        Ok(())
    }

    /// Drops what only states before `height` needed.
    pub(crate) fn prune(&mut self, height: u64) -> Result<(), StoreError> {
        let journal = self.take_journal(height)?;
        for row in &journal.stale_nodes {
            self.nodes.remove(row.as_slice())?;
        }
        for key in journal.keys {
            let key = jmt::KeyHash(key);
            let (from, to) = (value_row(key, 0), value_row(key, height));
            let mut old: Vec<[u8; 40]> = Vec::new();
            for row in self.values.range::<&[u8; 40]>(&from..&to)? {
                old.push(*row?.0.value());
            }
            for row in old {
                self.values.remove(&row)?;
            }
            let deleted =
                self.values.get(&to)?.is_some_and(|row| row.value() == encode_value(None));
            if deleted {
                self.values.remove(&to)?;
            }
        }
        self.meta.insert(OLDEST, height.to_le_bytes().as_slice())?;
        Ok(())
    }
}

/// The state after a block, within a step.
pub(crate) struct StateBelow<'a, 't> {
    values: &'a Table<'t, &'static [u8; 40], &'static [u8]>,
    height: u64,
}

impl State for StateBelow<'_, '_> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        Ok(value_at(self.values, key_hash(key), self.height)?)
    }
}
