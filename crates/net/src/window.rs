//! Blocks whose headers were checked and whose parts are on their way.
//!
//! A bounded forest: each entry's parent is another entry, or a block of the chain. An entry leaves
//! when it is imported, or with its descendants when it turns out bad.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::chain::{Block, CheckedHeader};
use crate::engine::Link;
use crate::wire::{BlockId, Part};

/// How many headers may be ahead of their bodies.
pub(crate) const CAPACITY: usize = 1_024;
/// Bytes of parts that wait for a part before them, beyond which no more are asked for.
const BUFFER_BYTES: usize = 32 * 1024 * 1024;

/// A header that waits for its parts.
#[derive(Debug)]
pub(crate) struct Entry<S> {
    pub(crate) parent: BlockId,
    pub(crate) height: u64,
    pub(crate) standing: S,
    /// Who sent the header.
    pub(crate) source: Link,
    header: Bytes,
    body: Option<(Link, Bytes)>,
    certificate: Option<(Link, Bytes)>,
    needs_certificate: bool,
    /// Who does not have the parts, or sent wrong ones.
    pub(crate) without: BTreeSet<Link>,
}

impl<S> Entry<S> {
    fn lacks(&self, part: Part) -> bool {
        match part {
            Part::Body(_) => self.body.is_none(),
            Part::Certificate(_) => self.needs_certificate && self.certificate.is_none(),
        }
    }

    fn bytes(&self) -> usize {
        let part = |part: &Option<(Link, Bytes)>| part.as_ref().map_or(0, |(_, bytes)| bytes.len());
        part(&self.body).saturating_add(part(&self.certificate))
    }

    /// Who sent the body and the certificate.
    pub(crate) fn senders(&self) -> (Option<Link>, Option<Link>) {
        let sender = |part: &Option<(Link, Bytes)>| part.as_ref().map(|(link, _)| *link);
        (sender(&self.body), sender(&self.certificate))
    }

    /// The block, once all parts are there.
    pub(crate) fn block(&self) -> Option<Block> {
        let body = self.body.as_ref()?.1.clone();
        let certificate = match &self.certificate {
            Some((_, bytes)) => bytes.clone(),
            None if self.needs_certificate => return None,
            None => Bytes::new(),
        };
        Some(Block { header: self.header.clone(), body, certificate })
    }
}

/// The forest.
#[derive(Debug)]
pub(crate) struct Window<S> {
    entries: BTreeMap<BlockId, Entry<S>>,
    /// Height and id.
    order: BTreeSet<(u64, BlockId)>,
    /// Parent and child.
    children: BTreeSet<(BlockId, BlockId)>,
    bytes: usize,
}

impl<S> Window<S> {
    pub(crate) const fn new() -> Self {
        Self {
            entries: BTreeMap::new(),
            order: BTreeSet::new(),
            children: BTreeSet::new(),
            bytes: 0,
        }
    }

    pub(crate) fn get(&self, id: BlockId) -> Option<&Entry<S>> {
        self.entries.get(&id)
    }

    pub(crate) fn contains(&self, id: BlockId) -> bool {
        self.entries.contains_key(&id)
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Bytes of the parts that are here.
    #[cfg(test)]
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn is_full(&self) -> bool {
        self.len() >= CAPACITY
    }

    /// Whether anything waits that came from a peer.
    pub(crate) fn has_of(&self, source: Link) -> bool {
        self.entries.values().any(|entry| entry.source == source)
    }

    pub(crate) fn insert(&mut self, checked: CheckedHeader<S>, header: Bytes, source: Link) {
        let CheckedHeader { id, parent, height, needs_certificate, standing } = checked;
        let entry = Entry {
            parent,
            height,
            standing,
            source,
            header,
            body: None,
            certificate: None,
            needs_certificate,
            without: BTreeSet::new(),
        };
        self.order.insert((height, id));
        self.children.insert((parent, id));
        self.entries.insert(id, entry);
    }

    /// Parts that are still to be fetched, of the lowest blocks first.
    pub(crate) fn lacking(&self) -> impl Iterator<Item = (Part, &Entry<S>)> {
        // The lowest block is always fetched: what waits behind it is freed by it.
        let blocks = if self.bytes > BUFFER_BYTES { 1 } else { usize::MAX };
        self.order
            .iter()
            .filter_map(|(_, id)| self.entries.get(id).map(|entry| (*id, entry)))
            .filter(|(_, entry)| entry.block().is_none())
            .take(blocks)
            .flat_map(|(id, entry)| {
                let parts = [Part::Body(id), Part::Certificate(id)];
                parts.into_iter().filter(|part| entry.lacks(*part)).map(move |part| (part, entry))
            })
    }

    /// Puts a part where it belongs.
    pub(crate) fn put(&mut self, part: Part, from: Link, bytes: Bytes) {
        let Some(entry) = self.entries.get_mut(&part.block()) else { return };
        if !entry.lacks(part) {
            return;
        }
        self.bytes = self.bytes.saturating_add(bytes.len());
        match part {
            Part::Body(_) => entry.body = Some((from, bytes)),
            Part::Certificate(_) => entry.certificate = Some((from, bytes)),
        }
    }

    /// A peer does not have a part.
    pub(crate) fn without(&mut self, part: Part, link: Link) {
        if let Some(entry) = self.entries.get_mut(&part.block()) {
            entry.without.insert(link);
        }
    }

    /// Throws a part away: it was another block's.
    pub(crate) fn discard(&mut self, part: Part) {
        let Some(entry) = self.entries.get_mut(&part.block()) else { return };
        let place = match part {
            Part::Body(_) => &mut entry.body,
            Part::Certificate(_) => &mut entry.certificate,
        };
        if let Some((link, bytes)) = place.take() {
            entry.without.insert(link);
            self.bytes = self.bytes.saturating_sub(bytes.len());
        }
    }

    /// A block that has everything and whose parent is no entry, from this one on upward.
    pub(crate) fn ready(&self, id: BlockId) -> Option<Block> {
        let entry = self.entries.get(&id)?;
        if self.entries.contains_key(&entry.parent) { None } else { entry.block() }
    }

    pub(crate) fn children(&self, id: BlockId) -> Vec<BlockId> {
        let all = (id, BlockId::ZERO)..=(id, BlockId::repeat_byte(0xff));
        self.children.range(all).map(|(_, child)| *child).collect()
    }

    /// Takes one out, its descendants staying.
    pub(crate) fn remove(&mut self, id: BlockId) -> Option<Entry<S>> {
        let entry = self.entries.remove(&id)?;
        self.order.remove(&(entry.height, id));
        self.children.remove(&(entry.parent, id));
        self.bytes = self.bytes.saturating_sub(entry.bytes());
        Some(entry)
    }

    /// Takes one out with its descendants; their ids.
    pub(crate) fn prune(&mut self, id: BlockId) -> Vec<BlockId> {
        let mut gone = Vec::new();
        let mut open = vec![id];
        while let Some(id) = open.pop() {
            open.extend(self.children(id));
            if self.remove(id).is_some() {
                gone.push(id);
            }
        }
        gone
    }

    /// Takes out everything that can come from nobody any more.
    pub(crate) fn abandon(&mut self, can_come: impl Fn(&Entry<S>) -> bool) {
        let lost: Vec<BlockId> = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.block().is_none() && !can_come(entry))
            .map(|(id, _)| *id)
            .collect();
        for id in lost {
            self.prune(id);
        }
    }
}
