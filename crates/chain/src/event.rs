//! What a node tells those who follow it.

use std::sync::Arc;

use alloy_primitives::B256;
use pouw_consensus::{BlockId, Header, Standing};

/// The best block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its name.
    pub id: BlockId,
    /// Its header.
    pub header: Header,
    /// What the next header is checked against: difficulty, levels, shares, weight.
    pub standing: Standing,
    /// Base fee of the next block, atto-FLUX a gas.
    pub next_base_fee: u64,
}

impl Head {
    /// Blocks since genesis.
    #[must_use]
    pub const fn height(&self) -> u64 {
        self.header.core.height
    }

    /// Unix milliseconds.
    #[must_use]
    pub const fn time_ms(&self) -> u64 {
        self.header.core.time_ms
    }
}

/// What happened. Each is sent after its step was committed; a change of head sends one event.
#[derive(Clone, Debug)]
pub enum Event {
    /// The head got a child, which is the head now.
    NewHead(Arc<Head>),
    /// Another branch became the best.
    Reorg {
        /// Blocks that left the best chain, the old head first.
        dropped: Arc<[BlockId]>,
        /// Blocks that joined it, the lowest first; the last is the head now.
        added: Arc<[BlockId]>,
        /// The new head.
        head: Arc<Head>,
    },
    /// A transaction waits in the mempool.
    NewPending(B256),
    /// A write failed: the process has to end; a restart recovers.
    Failed(Arc<str>),
}
