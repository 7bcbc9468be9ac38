//! A chain without work: a header says what is to be thought of it.

use std::collections::BTreeMap;
use std::sync::Mutex;

use alloy_primitives::{B256, U256, keccak256};
use bytes::Bytes;

use crate::chain::*;
use crate::wire::{BlockId, Part, Tip};

pub(super) const CHAIN_ID: u64 = 7;
/// How far back a branch may leave.
pub(super) const HORIZON: u64 = 100;
/// Flags of a header.
pub(super) const BAD_HEADER: u8 = 1;
pub(super) const BAD_BLOCK: u8 = 2;
pub(super) const CERTIFIED: u8 = 4;
pub(super) const EARLY: u8 = 8;

/// A header that follows `parent`, with a weight and flags; the salt makes it another block.
pub(super) fn header(parent: BlockId, height: u64, weight: u64, salt: u64, flags: u8) -> Bytes {
    let mut out = parent.to_vec();
    out.extend_from_slice(&height.to_le_bytes());
    out.extend_from_slice(&weight.to_le_bytes());
    out.extend_from_slice(&salt.to_le_bytes());
    out.push(flags);
    out.into()
}

fn fields(header: &[u8]) -> Option<(BlockId, u64, u64, u8)> {
    let number = |at: usize| Some(u64::from_le_bytes(header.get(at..at + 8)?.try_into().ok()?));
    let parent = B256::try_from(header.get(..32)?).ok()?;
    if header.len() != 57 {
        return None;
    }
    Some((parent, number(32)?, number(40)?, header[56]))
}

pub(super) fn body(id: BlockId) -> Bytes {
    [b"body".as_slice(), id.as_slice()].concat().into()
}

pub(super) fn certificate(id: BlockId) -> Bytes {
    [b"cert".as_slice(), id.as_slice()].concat().into()
}

#[derive(Debug, Default)]
struct State {
    blocks: BTreeMap<BlockId, (Bytes, u64, U256)>,
    best: Vec<BlockId>,
    waiting: BTreeMap<B256, Bytes>,
    /// Certificates are kept for this many blocks; 0 is for ever.
    kept: u64,
    /// From height 1 on.
    vouched: Vec<BlockId>,
    now_ms: u64,
}

#[derive(Debug)]
pub(super) struct Fake(Mutex<State>);

impl Fake {
    pub(super) fn new() -> Self {
        let genesis = header(B256::ZERO, 0, 0, 0, 0);
        let id = block_id(&genesis);
        let mut state = State { best: vec![id], ..State::default() };
        state.blocks.insert(id, (genesis, 0, U256::ZERO));
        Self(Mutex::new(state))
    }

    /// A block on the head.
    pub(super) fn mine(&self, weight: u64, salt: u64, flags: u8) -> BlockId {
        let tip = self.tip();
        let header = header(tip.id, tip.height + 1, weight, salt, flags);
        let id = block_id(&header);
        let block = Block { header, body: body(id), certificate: certificate(id) };
        self.import(&block).unwrap();
        id
    }

    /// The best chain's block at a height.
    pub(super) fn id_at(&self, height: usize) -> BlockId {
        self.0.lock().unwrap().best[height]
    }

    /// Forgets the certificates of all but the last blocks.
    pub(super) fn keep(&self, blocks: u64) {
        self.0.lock().unwrap().kept = blocks;
    }

    pub(super) fn set_now(&self, now_ms: u64) {
        self.0.lock().unwrap().now_ms = now_ms;
    }

    pub(super) fn header_of(&self, id: BlockId) -> Bytes {
        self.0.lock().unwrap().blocks[&id].0.clone()
    }

    pub(super) fn add_waiting(&self, raw: &[u8]) -> B256 {
        self.submit(raw).unwrap();
        keccak256(raw)
    }
}

impl Chain for Fake {
    type Standing = u64;

    fn chain_id(&self) -> u64 {
        CHAIN_ID
    }

    fn genesis(&self) -> BlockId {
        self.0.lock().unwrap().best[0]
    }

    fn tip(&self) -> Tip {
        let state = self.0.lock().unwrap();
        let id = *state.best.last().unwrap();
        let (_, height, weight) = state.blocks[&id];
        Tip { id, height, weight }
    }

    fn locator(&self) -> Result<Vec<BlockId>, Broken> {
        let state = self.0.lock().unwrap();
        let mut ids: Vec<_> = state.best.iter().rev().copied().take(10).collect();
        ids.extend(state.best.iter().rev().skip(10).step_by(50).take(50));
        ids.push(state.best[0]);
        Ok(ids)
    }

    fn headers_after(&self, locator: &[BlockId], limit: usize) -> Result<Vec<Bytes>, Broken> {
        let state = self.0.lock().unwrap();
        let place = |id: &BlockId| {
            let height = usize::try_from(state.blocks.get(id)?.1).unwrap();
            (state.best.get(height) == Some(id)).then_some(height)
        };
        let from = locator.iter().find_map(place).unwrap_or(0);
        let after = state.best.iter().skip(from + 1).take(limit);
        Ok(after.map(|id| state.blocks[id].0.clone()).collect())
    }

    fn header(&self, id: BlockId) -> Result<Option<Bytes>, Broken> {
        Ok(self.0.lock().unwrap().blocks.get(&id).map(|block| block.0.clone()))
    }

    fn part(&self, part: Part) -> Result<Option<Bytes>, Broken> {
        let (known, kept) = {
            let state = self.0.lock().unwrap();
            (state.blocks.get(&part.block()).map(|block| block.1), state.kept)
        };
        let Some(height) = known else { return Ok(None) };
        Ok(match part {
            Part::Body(id) => Some(body(id)),
            Part::Certificate(id) => {
                (kept == 0 || height + kept > self.tip().height).then(|| certificate(id))
            }
        })
    }

    fn parent(&self, header: &[u8]) -> Option<BlockId> {
        fields(header).map(|fields| fields.0)
    }

    fn check_header(
        &self,
        header: &[u8],
        above: Option<&u64>,
    ) -> Result<CheckedHeader<u64>, HeaderFault> {
        let state = self.0.lock().unwrap();
        let (parent, height, _, flags) =
            fields(header).ok_or_else(|| HeaderFault::Invalid("no header".to_owned()))?;
        let below = above.copied().or_else(|| state.blocks.get(&parent).map(|block| block.1));
        let below = below.ok_or(HeaderFault::Orphan)?;
        if height != below + 1 || flags & BAD_HEADER != 0 {
            return Err(HeaderFault::Invalid("flagged".to_owned()));
        }
        let head = state.best.len() - 1;
        if above.is_none() && below + HORIZON < u64::try_from(head).unwrap() {
            return Err(HeaderFault::TooDeep);
        }
        if flags & EARLY != 0 && state.now_ms < 60_000 {
            return Err(HeaderFault::Early);
        }
        let id = block_id(header);
        let vouched = usize::try_from(below).ok().and_then(|below| state.vouched.get(below));
        if vouched.is_some_and(|vouched| *vouched != id) {
            return Err(HeaderFault::Invalid("another is vouched for".to_owned()));
        }
        let needs_certificate = flags & CERTIFIED != 0 && vouched.is_none();
        Ok(CheckedHeader { id, parent, height, needs_certificate, standing: height })
    }

    fn weighs(&self, header: &[u8]) -> bool {
        fields(header).is_some_and(|(_, _, weight, _)| weight > 0)
    }

    fn certificates_kept(&self) -> u64 {
        match self.0.lock().unwrap().kept {
            0 => u64::MAX,
            kept => kept,
        }
    }

    fn vouch(&self, path: &[BlockId]) -> Result<(), Broken> {
        self.0.lock().unwrap().vouched = path.to_vec();
        Ok(())
    }

    fn import(&self, block: &Block) -> Result<(), ImportFault> {
        let id = block_id(&block.header);
        let (parent, height, weight, flags) =
            fields(&block.header).ok_or_else(|| ImportFault::Invalid("no header".to_owned()))?;
        let mut state = self.0.lock().unwrap();
        let (.., below) = *state.blocks.get(&parent).ok_or(ImportFault::Orphan)?;
        if block.body != body(id) {
            return Err(ImportFault::ForeignBody);
        }
        let vouched = state.vouched.contains(&id);
        if flags & CERTIFIED != 0 && !vouched && block.certificate != certificate(id) {
            return Err(ImportFault::ForeignCertificate);
        }
        if flags & BAD_BLOCK != 0 {
            return Err(ImportFault::Invalid("flagged".to_owned()));
        }
        let total = below + U256::from(weight);
        state.blocks.insert(id, (block.header.clone(), height, total));
        let tip = *state.best.last().unwrap();
        let head = state.blocks[&tip].2;
        if total > head || (total == head && parent == tip) {
            // Back to the fork, then up.
            let mut branch = vec![id];
            let mut at = parent;
            loop {
                let (header, height, _) = state.blocks[&at].clone();
                if state.best.get(usize::try_from(height).unwrap()) == Some(&at) {
                    state.best.truncate(usize::try_from(height).unwrap() + 1);
                    break;
                }
                branch.push(at);
                at = fields(&header).unwrap().0;
            }
            state.best.extend(branch.into_iter().rev());
        }
        Ok(())
    }

    fn waiting(&self, limit: usize) -> Vec<B256> {
        self.0.lock().unwrap().waiting.keys().take(limit).copied().collect()
    }

    fn transaction(&self, hash: B256) -> Option<Bytes> {
        self.0.lock().unwrap().waiting.get(&hash).cloned()
    }

    fn submit(&self, raw: &[u8]) -> Result<(), SubmitFault> {
        match raw.first() {
            Some(b'!') => Err(SubmitFault::Invalid("flagged".to_owned())),
            Some(b'?') => Err(SubmitFault::Refused("flagged".to_owned())),
            _ => {
                let raw = Bytes::copy_from_slice(raw);
                self.0.lock().unwrap().waiting.insert(keccak256(&raw), raw);
                Ok(())
            }
        }
    }
}
