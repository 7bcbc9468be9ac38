//! Reading from a snapshot.

use alloy_primitives::B256;
use pouw_consensus::{BlockId, Header, Standing};
use pouw_ledger::{State, StateError, TxReceipt, Writes};
use redb::{ReadOnlyTable, ReadTransaction, ReadableTable, TableError};

use super::tables::{
    BEST, BLOOMS, BODIES, CERTIFICATES, FORMAT, HEAD, HEADERS, INVALID, META, NODES, OLDEST,
    PLACES, RECEIPTS, VALUES,
};
use super::tree::{Nodes, StateProof, key_hash, prove, root_after, value_at};
use super::{block_id, corrupt};
use crate::block::{Block, decode_body, decode_receipts};
use crate::error::StoreError;

/// A snapshot of the database.
pub(crate) struct Reading {
    transaction: ReadTransaction,
}

/// Standing and header from a row of `headers`.
pub(crate) fn decode_header_row(id: BlockId, row: &[u8]) -> Result<(Standing, Header), StoreError> {
    let broken = || corrupt("header", id);
    let (length, rest) = row.split_at_checked(2).ok_or_else(broken)?;
    let length = usize::from(u16::from_le_bytes(length.try_into().map_err(|_| broken())?));
    let (standing, header) = rest.split_at_checked(length).ok_or_else(broken)?;
    let standing = Standing::decode_state(id, standing).map_err(|_| broken())?;
    Ok((standing, decode_genesis_or(header).ok_or_else(broken)?))
}

fn decode_genesis_or(bytes: &[u8]) -> Option<Header> {
    Header::decode(bytes).ok()
}

pub(crate) fn encode_header_row(standing: &Standing, header: &Header) -> Vec<u8> {
    let state = standing.encode_state();
    let mut row = u16::try_from(state.len()).unwrap_or(u16::MAX).to_le_bytes().to_vec();
    row.extend_from_slice(&state);
    row.extend_from_slice(&header.encode());
    row
}

impl Reading {
    pub(crate) const fn new(transaction: ReadTransaction) -> Self {
        Self { transaction }
    }

    /// Layout number; none in a new database.
    pub(crate) fn layout(&self) -> Result<Option<u64>, StoreError> {
        match self.transaction.open_table(META) {
            Ok(meta) => number(&meta, FORMAT),
            Err(TableError::TableDoesNotExist(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    pub(crate) fn head(&self) -> Result<BlockId, StoreError> {
        let meta = self.transaction.open_table(META)?;
        let row = meta.get(HEAD)?.ok_or_else(|| corrupt("head", HEAD))?;
        block_id(row.value(), "head")
    }

    pub(crate) fn oldest(&self) -> Result<u64, StoreError> {
        Ok(number(&self.transaction.open_table(META)?, OLDEST)?.unwrap_or_default())
    }

    pub(crate) fn header(&self, id: BlockId) -> Result<Option<(Standing, Header)>, StoreError> {
        let table = self.transaction.open_table(HEADERS)?;
        table.get(&id.0)?.map(|row| decode_header_row(id, row.value())).transpose()
    }

    pub(crate) fn block(&self, id: BlockId) -> Result<Option<(Standing, Block)>, StoreError> {
        let Some((standing, header)) = self.header(id)? else { return Ok(None) };
        let bodies = self.transaction.open_table(BODIES)?;
        let row = bodies.get(&id.0)?.ok_or_else(|| corrupt("body", id))?;
        let transactions = decode_body(row.value()).map_err(|_| corrupt("body", id))?;
        let certificate = self.certificate(header.core.height, id)?;
        Ok(Some((standing, Block { header, certificate, transactions })))
    }

    /// What opens a lane-1 header; none for other lanes, and none once it was pruned.
    fn certificate(&self, height: u64, id: BlockId) -> Result<Option<Vec<u8>>, StoreError> {
        let table = self.transaction.open_table(CERTIFICATES)?;
        Ok(table.get((height, &id.0))?.map(|row| row.value().to_vec()))
    }

    /// The ids of a block and its ancestors, at most `count`, the block first.
    pub(crate) fn lineage(&self, id: BlockId, count: usize) -> Result<Vec<BlockId>, StoreError> {
        let mut ids = vec![id];
        while ids.len() < count {
            let Some(last) = ids.last() else { break };
            let (_, header) = self.header(*last)?.ok_or_else(|| corrupt("header", last))?;
            if header.core.height == 0 {
                break;
            }
            ids.push(header.core.parent);
        }
        Ok(ids)
    }

    pub(crate) fn receipts(&self, id: BlockId) -> Result<Option<Vec<TxReceipt>>, StoreError> {
        let table = self.transaction.open_table(RECEIPTS)?;
        table
            .get(&id.0)?
            .map(|row| decode_receipts(row.value()).map_err(|_| corrupt("receipts", id)))
            .transpose()
    }

    pub(crate) fn is_invalid(&self, id: BlockId) -> Result<bool, StoreError> {
        Ok(self.transaction.open_table(INVALID)?.get(&id.0)?.is_some())
    }

    /// Whether a block was ever executed, so that what its row remembers is exact.
    pub(crate) fn is_executed(&self, id: BlockId) -> Result<bool, StoreError> {
        Ok(self.transaction.open_table(RECEIPTS)?.get(&id.0)?.is_some())
    }

    pub(crate) fn at_height(&self, height: u64) -> Result<Option<BlockId>, StoreError> {
        let table = self.transaction.open_table(BEST)?;
        Ok(table.get(height)?.map(|row| B256::from(row.value())))
    }

    pub(crate) fn place(&self, tx: B256) -> Result<Option<(u64, u32)>, StoreError> {
        let table = self.transaction.open_table(PLACES)?;
        Ok(table.get(&tx.0)?.map(|row| row.value()))
    }

    /// Heights of a range that have logs, with their blooms, in order.
    pub(crate) fn blooms(
        &self,
        from: u64,
        to: u64,
        mut each: impl FnMut(u64, &[u8]) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        for row in self.transaction.open_table(BLOOMS)?.range(from..=to)? {
            let (height, bloom) = row?;
            each(height.value(), bloom.value())?;
        }
        Ok(())
    }

    /// Every row of the state's and the indices' tables.
    #[cfg(test)]
    pub(crate) fn rows(&self) -> Result<super::Rows, StoreError> {
        let mut rows = Vec::new();
        for row in self.transaction.open_table(NODES)?.iter()? {
            let (key, value) = row?;
            rows.push((key.value().to_vec(), value.value().to_vec()));
        }
        for row in self.transaction.open_table(VALUES)?.iter()? {
            let (key, value) = row?;
            rows.push((key.value().to_vec(), value.value().to_vec()));
        }
        for row in self.transaction.open_table(BEST)?.iter()? {
            let (key, value) = row?;
            rows.push((key.value().to_be_bytes().to_vec(), value.value().to_vec()));
        }
        for row in self.transaction.open_table(PLACES)?.iter()? {
            let (key, value) = row?;
            rows.push((key.value().to_vec(), value.value().0.to_be_bytes().to_vec()));
        }
        Ok(rows)
    }

    /// The state after the block at `height` of the best chain.
    pub(crate) fn state(&self, height: u64) -> Result<StateAt, StoreError> {
        let values = self.transaction.open_table(VALUES)?;
        let nodes = self.transaction.open_table(NODES)?;
        Ok(StateAt { values, nodes, height })
    }
}

fn number(
    meta: &impl ReadableTable<&'static str, &'static [u8]>,
    name: &'static str,
) -> Result<Option<u64>, StoreError> {
    let Some(row) = meta.get(name)? else { return Ok(None) };
    let bytes = row.value().try_into().map_err(|_| corrupt("number", name))?;
    Ok(Some(u64::from_le_bytes(bytes)))
}

/// The state after one block of the best chain, as it was when this was taken.
pub struct StateAt {
    values: ReadOnlyTable<&'static [u8; 40], &'static [u8]>,
    nodes: ReadOnlyTable<&'static [u8], &'static [u8]>,
    height: u64,
}

impl core::fmt::Debug for StateAt {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("StateAt").field("height", &self.height).finish_non_exhaustive()
    }
}

impl StateAt {
    /// The block's height.
    #[must_use]
    pub const fn height(&self) -> u64 {
        self.height
    }

    /// Shows that a key has a value, or none.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn prove(&self, key: &[u8]) -> Result<StateProof, StoreError> {
        prove(&Nodes { nodes: &self.nodes, values: &self.values }, self.height, key)
    }

    /// The state root after more writes.
    pub(crate) fn root_with(&self, writes: &Writes) -> Result<B256, StoreError> {
        let reader = Nodes { nodes: &self.nodes, values: &self.values };
        Ok(root_after(&reader, self.height + 1, writes)?.0)
    }
}

impl State for StateAt {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        Ok(value_at(&self.values, key_hash(key), self.height)?)
    }
}
