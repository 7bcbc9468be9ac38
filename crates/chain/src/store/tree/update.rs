//! A block's changes to the tree, each node hashed once.
//!
//! The library has two ways to change a tree. `put_value_set` takes insertions and deletions, and
//! hashes the whole path to the root for each key: ten thousand keys hash the root ten thousand
//! times. `batch_put_value_sets` hashes each node once, but knows no deletions. A block deletes
//! few keys (a subsidy that matured, an item of a list) and inserts many. So the deletions go
//! first, one by one, and the insertions go on top of them in one batch of the same version.
//! Both ways give the one tree that its keys and values have; a property test compares them.

use std::collections::BTreeMap;

use alloy_primitives::B256;
use jmt::storage::{LeafNode, Node, NodeBatch, NodeKey, TreeReader, TreeUpdateBatch};
use jmt::{JellyfishMerkleTree, KeyHash, OwnedValue, RootHash, Version};

use super::Blake3;

/// The root after changes on top of `version − 1`, and what they add to the tree.
pub(super) fn update(
    reader: &impl TreeReader,
    version: Version,
    changes: impl Iterator<Item = (KeyHash, Option<OwnedValue>)>,
) -> anyhow::Result<(B256, TreeUpdateBatch)> {
    let (mut inserted, mut deleted) = (Vec::new(), BTreeMap::new());
    for (key, value) in changes {
        match value {
            Some(value) => inserted.push((key, value)),
            None => {
                deleted.insert(key, None);
            }
        }
    }
    if inserted.is_empty() {
        return delete(reader, version, deleted);
    }
    if deleted.is_empty() {
        return insert(reader, version, inserted);
    }
    let (_, below) = delete(reader, version, deleted)?;
    let (root, above) =
        insert(&Above { reader, version, nodes: &below.node_batch }, version, inserted)?;
    Ok((root, merge(version, below, above)))
}

fn delete(
    reader: &impl TreeReader,
    version: Version,
    keys: BTreeMap<KeyHash, Option<OwnedValue>>,
) -> anyhow::Result<(B256, TreeUpdateBatch)> {
    let (RootHash(root), batch) =
        JellyfishMerkleTree::<_, Blake3>::new(reader).put_value_set(keys, version)?;
    Ok((B256::from(root), batch))
}

fn insert(
    reader: &impl TreeReader,
    version: Version,
    values: Vec<(KeyHash, OwnedValue)>,
) -> anyhow::Result<(B256, TreeUpdateBatch)> {
    let (roots, batch) = JellyfishMerkleTree::<_, Blake3>::new(reader).batch_put_value_sets(
        vec![values],
        None,
        version,
    )?;
    let RootHash(root) = roots.first().ok_or_else(|| anyhow::anyhow!("a batch without a root"))?;
    Ok((B256::from(*root), batch))
}

/// Two batches of one version as one: what the first made and the second replaced was never there.
fn merge(version: Version, below: TreeUpdateBatch, above: TreeUpdateBatch) -> TreeUpdateBatch {
    let (replaced, stale): (Vec<_>, Vec<_>) = above
        .stale_node_index_batch
        .into_iter()
        .partition(|stale| stale.node_key.version() == version);
    let replaced: Vec<NodeKey> = replaced.into_iter().map(|stale| stale.node_key).collect();
    let mut nodes: BTreeMap<NodeKey, Node> = below.node_batch.nodes().clone();
    for key in &replaced {
        nodes.remove(key);
    }
    let mut node_batch = NodeBatch::new(nodes, below.node_batch.values().clone());
    node_batch.merge(above.node_batch);
    let mut stale_node_index_batch = below.stale_node_index_batch;
    stale_node_index_batch.extend(stale);
    TreeUpdateBatch {
        node_batch,
        stale_node_index_batch,
        // Nobody reads them.
        node_stats: Vec::new(),
    }
}

/// The tree with a batch of `version` on top, whose root stands in for that of `version − 1`:
/// another batch of the same version starts from there.
struct Above<'a, R> {
    reader: &'a R,
    version: Version,
    nodes: &'a NodeBatch,
}

impl<R: TreeReader> TreeReader for Above<'_, R> {
    fn get_node_option(&self, key: &NodeKey) -> anyhow::Result<Option<Node>> {
        if key.nibble_path().is_empty() && key.version().checked_add(1) == Some(self.version) {
            let root = NodeKey::new(self.version, key.nibble_path().clone());
            return Ok(self.nodes.get_node(&root).cloned());
        }
        if key.version() == self.version {
            return Ok(self.nodes.get_node(key).cloned());
        }
        self.reader.get_node_option(key)
    }

    fn get_value_option(
        &self,
        max_version: Version,
        key_hash: KeyHash,
    ) -> anyhow::Result<Option<OwnedValue>> {
        self.reader.get_value_option(max_version, key_hash)
    }

    fn get_rightmost_leaf(&self) -> anyhow::Result<Option<(NodeKey, LeafNode)>> {
        self.reader.get_rightmost_leaf()
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::{btree_map, vec};
    use proptest::option;
    use proptest::prelude::{ProptestConfig, any, proptest};

    use super::*;

    /// Nodes in memory.
    #[derive(Default)]
    struct Memory(BTreeMap<NodeKey, Node>);

    impl TreeReader for Memory {
        fn get_node_option(&self, key: &NodeKey) -> anyhow::Result<Option<Node>> {
            Ok(self.0.get(key).cloned())
        }

        fn get_value_option(&self, _: Version, _: KeyHash) -> anyhow::Result<Option<OwnedValue>> {
            anyhow::bail!("updates read no values")
        }

        fn get_rightmost_leaf(&self) -> anyhow::Result<Option<(NodeKey, LeafNode)>> {
            anyhow::bail!("updates look for no leaf")
        }
    }

    /// A key of few, whose paths part after the first nibble, late, or only at the last one.
    fn key(number: u8) -> KeyHash {
        let mut key = [0; 32];
        key[0] = number & 0x30;
        key[9] = number & 0x0c;
        key[31] = number & 0xc3;
        KeyHash(key)
    }

    /// Nodes by path, without the versions at which they were made, which depend on the order of
    /// changes: a leaf may have moved up and down again.
    fn shape(memory: &Memory) -> BTreeMap<String, B256> {
        let shape = memory.0.iter().map(|(key, node)| {
            let node = match node {
                Node::Internal(node) => B256::from(node.hash::<Blake3>()),
                Node::Leaf(leaf) => B256::from(leaf.hash::<Blake3>()),
                Node::Null => B256::ZERO,
            };
            (format!("{:?}", key.nibble_path()), node)
        });
        shape.collect()
    }

    fn keep(memory: &mut Memory, batch: TreeUpdateBatch) {
        memory.0.extend(batch.node_batch.nodes().clone());
        for stale in batch.stale_node_index_batch {
            assert!(memory.0.remove(&stale.node_key).is_some(), "a stale node that never was");
        }
    }

    proptest! {
        // Keys that part late have long paths, so a case is slow.
        #![proptest_config(ProptestConfig::with_cases(48))]

        /// The library's way, key by key, is the reference: version after version, roots and
        /// values are the same, and after what went stale is gone, the same nodes are left.
        #[test]
        fn a_batch_gives_the_tree_that_single_keys_give(
            blocks in vec(btree_map(any::<u8>(), option::of(vec(any::<u8>(), 0..4)), 1..24), 1..8),
        ) {
            let (mut one_by_one, mut batched) = (Memory::default(), Memory::default());
            for (version, changes) in (0..).zip(blocks) {
                let changes: BTreeMap<_, _> =
                    changes.into_iter().map(|(number, value)| (key(number), value)).collect();
                let (RootHash(root), expected) = JellyfishMerkleTree::<_, Blake3>::new(&one_by_one)
                    .put_value_set(changes.clone(), version)
                    .unwrap();
                let (got_root, got) = update(&batched, version, changes.into_iter()).unwrap();
                assert_eq!(got_root, B256::from(root), "root of {version}");
                assert_eq!(got.node_batch.values(), expected.node_batch.values());
                keep(&mut one_by_one, expected);
                let nodes = got.node_batch.nodes().len();
                keep(&mut batched, got);
                assert!(nodes <= batched.0.len(), "a node that is stale at once");
                assert_eq!(shape(&batched), shape(&one_by_one), "nodes after {version}");
                assert_eq!(batched.0.len(), one_by_one.0.len(), "two nodes of one path");
            }
        }
    }
}
