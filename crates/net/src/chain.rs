//! What peers need of a node's chain; the assembly implements it.

use core::fmt::Debug;

use alloy_primitives::B256;
use bytes::Bytes;

use crate::wire::{BlockId, Part, Tip};

/// The chain can't be read or written any more: the node has to end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the chain failed: {0}")]
pub struct Broken(pub String);

/// A header that follows the rules as far as its chain is known.
#[derive(Clone, Debug)]
pub struct CheckedHeader<S> {
    /// Its name.
    pub id: BlockId,
    /// The block before.
    pub parent: BlockId,
    /// Blocks since genesis.
    pub height: u64,
    /// Whether the block counts only with a certificate.
    pub needs_certificate: bool,
    /// What its children are checked against.
    pub standing: S,
}

/// What is wrong with a header.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderFault {
    /// Its parent is not known.
    #[error("its parent is not known")]
    Orphan,
    /// It may be valid later.
    #[error("it is ahead of the local clock")]
    Early,
    /// It leaves the best chain where no state is kept any more.
    #[error("it leaves the best chain too far back")]
    TooDeep,
    /// It never can be valid.
    #[error("it breaks a rule: {0}")]
    Invalid(String),
    /// Ours.
    #[error(transparent)]
    Broken(#[from] Broken),
}

/// Why a block was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImportFault {
    /// Its parent is not known.
    #[error("its parent is not known")]
    Orphan,
    /// It may be valid later.
    #[error("it is ahead of the local clock")]
    Early,
    /// It leaves the best chain where no state is kept any more.
    #[error("it leaves the best chain too far back")]
    TooDeep,
    /// These bytes are not the body that the header names; another's may be.
    #[error("the body is not the header's")]
    ForeignBody,
    /// These bytes are not the certificate that the header names; another's may be.
    #[error("the certificate is not the header's")]
    ForeignCertificate,
    /// The block never can be valid.
    #[error("it breaks a rule: {0}")]
    Invalid(String),
    /// Ours.
    #[error(transparent)]
    Broken(#[from] Broken),
}

/// Why a transaction was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitFault {
    /// Nobody honest passes it on.
    #[error("it is not valid: {0}")]
    Invalid(String),
    /// It has no place here and now.
    #[error("it is not taken: {0}")]
    Refused(String),
    /// Ours.
    #[error(transparent)]
    Broken(#[from] Broken),
}

/// A block in its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The header.
    pub header: Bytes,
    /// The transactions.
    pub body: Bytes,
    /// The certificate; empty where the block needs none.
    pub certificate: Bytes,
}

/// A node's chain as its peers see it. Calls may wait for a disk.
pub trait Chain: Send + Sync + 'static {
    /// What a header's children are checked against.
    type Standing: Clone + Debug + Send + Sync + 'static;

    /// EIP-155 id of the network.
    fn chain_id(&self) -> u64;
    /// The first block.
    fn genesis(&self) -> BlockId;
    /// The best block.
    fn tip(&self) -> Tip;
    /// Ids of the best chain, the head first, ever farther apart, genesis last; at most
    /// [`crate::wire::MAX_LOCATOR`] less one.
    ///
    /// # Errors
    /// [`Broken`].
    fn locator(&self) -> Result<Vec<BlockId>, Broken>;
    /// At most `limit` headers of the best chain, the lowest first, after the first of these ids
    /// that is on it; from the first block after genesis where none is.
    ///
    /// # Errors
    /// [`Broken`].
    fn headers_after(&self, locator: &[BlockId], limit: usize) -> Result<Vec<Bytes>, Broken>;
    /// A known block's header.
    ///
    /// # Errors
    /// [`Broken`].
    fn header(&self, id: BlockId) -> Result<Option<Bytes>, Broken>;
    /// A known block's part.
    ///
    /// # Errors
    /// [`Broken`].
    fn part(&self, part: Part) -> Result<Option<Bytes>, Broken>;
    /// The parent that a header names; `None` where the bytes are no header.
    fn parent(&self, header: &[u8]) -> Option<BlockId>;
    /// Checks a header against its parent: `above` where that waits for its body, else a known
    /// block.
    ///
    /// # Errors
    /// [`HeaderFault`].
    fn check_header(
        &self,
        header: &[u8],
        above: Option<&Self::Standing>,
    ) -> Result<CheckedHeader<Self::Standing>, HeaderFault>;
    /// Whether a block with this header adds weight to its chain. One that does not is fetched only
    /// where it follows the head, or where something heavier follows it: it costs its maker nothing,
    /// and nothing is to be won by keeping it aside.
    fn weighs(&self, _header: &[u8]) -> bool {
        true
    }
    /// How many blocks behind its head a node keeps certificates; older ones are nobody's fault.
    fn certificates_kept(&self) -> u64;
    /// These blocks, of height 1 and up, lead to one that the operator trusts: they are taken
    /// without certificates, and no others at their heights.
    ///
    /// # Errors
    /// [`Broken`].
    fn vouch(&self, path: &[BlockId]) -> Result<(), Broken>;
    /// Takes a block; one that is known is no error. When this returns, the block is durable.
    ///
    /// # Errors
    /// [`ImportFault`].
    fn import(&self, block: &Block) -> Result<(), ImportFault>;
    /// Hashes of transactions that wait, at most `limit`.
    fn waiting(&self, limit: usize) -> Vec<B256>;
    /// A transaction that waits.
    fn transaction(&self, hash: B256) -> Option<Bytes>;
    /// Takes a transaction.
    ///
    /// # Errors
    /// [`SubmitFault`].
    fn submit(&self, raw: &[u8]) -> Result<(), SubmitFault>;
}

/// A block's name: BLAKE3 of its header's bytes.
#[must_use]
pub fn block_id(header: &[u8]) -> BlockId {
    B256::from(*blake3::hash(header).as_bytes())
}
