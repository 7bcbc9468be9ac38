//! The state tree: a jellyfish Merkle tree whose versions are block heights.

mod hasher;
mod update;

use alloy_primitives::B256;
use borsh::BorshDeserialize;
use jmt::proof::SparseMerkleProof;
use jmt::storage::{LeafNode, Node, NodeKey, TreeReader, TreeUpdateBatch};
use jmt::{JellyfishMerkleTree, KeyHash, OwnedValue, RootHash, Version};
use pouw_ledger::Writes;
use redb::ReadableTable;

pub(crate) use self::hasher::Blake3;
use crate::error::StoreError;

/// Where a key lives in the tree.
pub(crate) fn key_hash(key: &[u8]) -> KeyHash {
    KeyHash(*blake3::hash(key).as_bytes())
}

/// Key of a node's row: version first, so that what a block adds lies together.
pub(crate) fn node_row(key: &NodeKey) -> Result<Vec<u8>, StoreError> {
    let mut row = key.version().to_be_bytes().to_vec();
    row.extend_from_slice(&borsh::to_vec(key.nibble_path()).map_err(tree_error)?);
    Ok(row)
}

/// Key of a value's row: versions of one key lie together, the oldest first.
pub(crate) fn value_row(key: KeyHash, version: Version) -> [u8; 40] {
    let mut row = [0; 40];
    let (head, tail) = row.split_at_mut(32);
    head.copy_from_slice(&key.0);
    tail.copy_from_slice(&version.to_be_bytes());
    row
}

/// What stands in a value's row: present or deleted.
pub(crate) fn encode_value(value: Option<&[u8]>) -> Vec<u8> {
    value.map_or_else(|| vec![0], |value| [&[1], value].concat())
}

fn decode_value(bytes: &[u8]) -> Option<Vec<u8>> {
    match bytes.split_first() {
        Some((1, value)) => Some(value.to_vec()),
        _ => None,
    }
}

/// The value under a key as of a version.
pub(crate) fn value_at<V>(
    values: &V,
    key: KeyHash,
    version: Version,
) -> Result<Option<Vec<u8>>, StoreError>
where
    V: ReadableTable<&'static [u8; 40], &'static [u8]>,
{
    let (from, to) = (value_row(key, 0), value_row(key, version));
    match values.range::<&[u8; 40]>(&from..=&to)?.next_back() {
        Some(row) => Ok(decode_value(row?.1.value())),
        None => Ok(None),
    }
}

/// Lets the tree read nodes and values.
pub(crate) struct Nodes<'a, N, V> {
    pub(crate) nodes: &'a N,
    pub(crate) values: &'a V,
}

// The tree's trait speaks `anyhow`.
impl<N, V> TreeReader for Nodes<'_, N, V>
where
    N: ReadableTable<&'static [u8], &'static [u8]>,
    V: ReadableTable<&'static [u8; 40], &'static [u8]>,
{
    fn get_node_option(&self, node_key: &NodeKey) -> anyhow::Result<Option<Node>> {
        let row = node_row(node_key)?;
        match self.nodes.get(row.as_slice())? {
            Some(bytes) => Ok(Some(Node::try_from_slice(bytes.value())?)),
            None => Ok(None),
        }
    }

    fn get_value_option(
        &self,
        max_version: Version,
        key_hash: KeyHash,
    ) -> anyhow::Result<Option<OwnedValue>> {
        Ok(value_at(self.values, key_hash, max_version)?)
    }

    fn get_rightmost_leaf(&self) -> anyhow::Result<Option<(NodeKey, LeafNode)>> {
        anyhow::bail!("states are not restored leaf by leaf")
    }
}

pub(crate) fn tree_error(error: impl core::fmt::Display) -> StoreError {
    StoreError::Tree(format!("{error:#}"))
}

/// The root after writes on top of `version − 1`, and what they add to the tree.
pub(crate) fn root_after<N, V>(
    reader: &Nodes<'_, N, V>,
    version: Version,
    writes: &Writes,
) -> Result<(B256, TreeUpdateBatch), StoreError>
where
    N: ReadableTable<&'static [u8], &'static [u8]>,
    V: ReadableTable<&'static [u8; 40], &'static [u8]>,
{
    let changes = writes.iter().map(|(key, value)| (key_hash(key), value.clone()));
    update::update(reader, version, changes).map_err(tree_error)
}

/// Shows that a key has a value, or none, in the state of a root.
#[derive(Clone, Debug)]
pub struct StateProof {
    /// The key.
    pub key: Vec<u8>,
    /// Its value, or that it has none.
    pub value: Option<Vec<u8>>,
    proof: SparseMerkleProof<Blake3>,
}

impl StateProof {
    /// Whether the proof holds against a header's state root.
    #[must_use]
    pub fn holds(&self, state_root: B256) -> bool {
        let root = RootHash(state_root.0);
        self.proof.verify(root, key_hash(&self.key), self.value.as_deref()).is_ok()
    }

    /// The proof's bytes, as the `jmt` crate writes them with borsh over BLAKE3.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        borsh::to_vec(&self.proof).unwrap_or_default()
    }
}

pub(crate) fn prove<N, V>(
    reader: &Nodes<'_, N, V>,
    version: Version,
    key: &[u8],
) -> Result<StateProof, StoreError>
where
    N: ReadableTable<&'static [u8], &'static [u8]>,
    V: ReadableTable<&'static [u8; 40], &'static [u8]>,
{
    let (value, proof) = JellyfishMerkleTree::<_, Blake3>::new(reader)
        .get_with_proof(key_hash(key), version)
        .map_err(tree_error)?;
    Ok(StateProof { key: key.to_vec(), value, proof })
}
