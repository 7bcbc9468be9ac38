//! What a valid block is. Each rule has a number, a check here, and a test that breaks it.

use alloy_primitives::B256;
use pouw_types::Network;

use crate::difficulty::Pace;
use crate::header::{BlockId, Core, Header, Shares};
use crate::lane::{Claim, Lane};
use crate::lane_one::MatmulClaimError;
use crate::lane_two::{CreditClaim, CreditClaimError, CreditRecord};
use crate::lane_zero::{HashClaimError, Puzzle};
use crate::standing::Standing;

/// The most bytes of a block's transactions together (C-9).
pub const MAX_BODY_BYTES: usize = 4 * 1024 * 1024;

/// How far a block of lane 2 may be ahead of the local clock (C-4). Its time is its lot: who could
/// show the slots of a whole spacing early would win more of them.
const CREDIT_AHEAD_MS: u64 = 2_000;

/// A header breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// C-2.
    #[error("the header follows {found}, not {expected}")]
    Parent {
        /// The parent that the check was made against.
        expected: BlockId,
        /// The parent that the header names.
        found: BlockId,
    },
    /// C-2.
    #[error("height {found} does not follow {parent}")]
    Height {
        /// The parent's.
        parent: u64,
        /// The header's.
        found: u64,
    },
    /// C-3.
    #[error("the block's time {found} is not after its parent's, {parent}")]
    TimeNotLater {
        /// The parent's, Unix milliseconds.
        parent: u64,
        /// The header's, Unix milliseconds.
        found: u64,
    },
    /// C-4.
    #[error(
        "the block's time {found} is later than {limit}, the local clock and what its lane allows"
    )]
    TimeInFuture {
        /// The latest acceptable, Unix milliseconds.
        limit: u64,
        /// The header's, Unix milliseconds.
        found: u64,
    },
    /// C-5.
    #[error("the header's shares {found:?} are not those of its epoch, {expected:?}")]
    Shares {
        /// By the parent's state.
        expected: Shares,
        /// In the header.
        found: Shares,
    },
    /// C-6.
    #[error("lane {0} has no share in this epoch")]
    LaneWithoutShare(Lane),
    /// C-6.
    #[error("the core names lane {core}, the claim is of lane {claim}")]
    LaneMismatch {
        /// In the core.
        core: Lane,
        /// The claim's.
        claim: Lane,
    },
    /// C-7, C-8.
    #[error("the claim of lane 0 does not hold")]
    HashClaim(#[from] HashClaimError),
    /// C-20 … C-22.
    #[error("the claim of lane 1 does not hold")]
    MatmulClaim(#[from] MatmulClaimError),
    /// C-23 … C-26.
    #[error("the claim of lane 2 does not hold")]
    CreditClaim(#[from] CreditClaimError),
    /// C-6.
    #[error("a block of lane {0} cannot be judged by its header alone")]
    EvidenceMissing(Lane),
}

/// What a claim is judged by beside the parent; handed in by whoever can look it up.
#[derive(Clone, Copy, Debug)]
pub enum Evidence<'a> {
    /// Lane 0 needs nothing.
    Header,
    /// Lane 1: the ids of the block's ancestors, its parent first, up to 16; and the certificate.
    Matmul {
        /// Ids.
        ancestors: &'a [BlockId],
        /// The certificate's bytes.
        certificate: &'a [u8],
    },
    /// Lane 1, of a header whose block is not here yet: its ancestors alone. The ticket's value is
    /// checked, and that it was multiplied is not: such a header must not be weighed, unless the operator trusts
    /// a block above it and certificates are gone.
    Ancestors(&'a [BlockId]),
    /// Lane 2: the beacon, and the host's record in the state of height h − H.
    Credit {
        /// B.
        beacon: B256,
        /// Of that state.
        record: &'a CreditRecord,
    },
    /// Lane 2, where the state of height h − H is not known yet: all but the claim is checked, and
    /// the claim before the block is followed. It weighs nothing until then, or ever.
    Later,
}

impl HeaderError {
    /// Whether the same header may be valid later.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::TimeInFuture { .. })
    }
}

/// [`check_header_with`] for a header that needs no evidence: one of lane 0.
///
/// # Errors
/// [`HeaderError`] with the first rule that is broken; cheap rules come first.
pub fn check_header(
    network: &Network,
    parent: &Standing,
    header: &Header,
    now_ms: u64,
) -> Result<Standing, HeaderError> {
    check_header_with(network, parent, header, now_ms, Evidence::Header)
}

/// Checks a header against what came before it; on success, what the rules remember after it.
///
/// # Errors
/// [`HeaderError`] with the first rule that is broken; cheap rules come first.
pub fn check_header_with(
    network: &Network,
    parent: &Standing,
    header: &Header,
    now_ms: u64,
    evidence: Evidence<'_>,
) -> Result<Standing, HeaderError> {
    let core = &header.core;
    if core.parent != parent.id {
        return Err(HeaderError::Parent { expected: parent.id, found: core.parent });
    }
    if parent.height.checked_add(1) != Some(core.height) {
        return Err(HeaderError::Height { parent: parent.height, found: core.height });
    }
    if core.time_ms <= parent.time_ms {
        return Err(HeaderError::TimeNotLater { parent: parent.time_ms, found: core.time_ms });
    }
    let ahead = match core.lane {
        Lane::Hash | Lane::Matmul => network.block_ms,
        Lane::Credit => network.block_ms.min(CREDIT_AHEAD_MS),
    };
    let limit = now_ms.saturating_add(ahead);
    if core.time_ms > limit {
        return Err(HeaderError::TimeInFuture { limit, found: core.time_ms });
    }
    if core.shares != parent.shares {
        return Err(HeaderError::Shares { expected: parent.shares, found: core.shares });
    }
    let share = core.shares.by_lane().get(core.lane.index()).copied().unwrap_or_default();
    if share == 0 {
        return Err(HeaderError::LaneWithoutShare(core.lane));
    }
    if core.lane != header.claim.lane() {
        return Err(HeaderError::LaneMismatch { core: core.lane, claim: header.claim.lane() });
    }
    check_claim(network, parent, header, evidence)?;
    Ok(parent.after(&Pace::of(network), header))
}

/// Whether the claim won the block (C-7, C-8, C-20 … C-26).
fn check_claim(
    network: &Network,
    parent: &Standing,
    header: &Header,
    evidence: Evidence<'_>,
) -> Result<(), HeaderError> {
    let (core, difficulty) = (&header.core, parent.difficulty.of(header.claim.lane()));
    match (&header.claim, evidence) {
        (Claim::Hash(claim), _) => {
            Puzzle::new(network.chain_id, network.lane_zero, core.hash())
                .check(claim, difficulty)?;
        }
        (Claim::Matmul(claim), Evidence::Matmul { ancestors, certificate }) => {
            claim.check(core.hash(), ancestors, difficulty)?;
            claim.check_certificate(core.hash(), ancestors, difficulty, certificate)?;
        }
        (Claim::Matmul(claim), Evidence::Ancestors(ancestors)) => {
            claim.check(core.hash(), ancestors, difficulty)?;
        }
        (Claim::Credit(claim), Evidence::Credit { beacon, record }) => {
            claim.check(core, parent.time_ms, beacon, record, difficulty)?;
        }
        (Claim::Credit(_), Evidence::Later) => {
            CreditClaim::check_slot(core, parent.time_ms)?;
        }
        (claim, _) => return Err(HeaderError::EvidenceMissing(claim.lane())),
    }
    Ok(())
}

/// What executing a body gave, to be compared with its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Bytes of the transactions together.
    pub body_bytes: usize,
    /// [`tx_root`] of them.
    pub tx_root: B256,
    /// [`receipts_root`] of the receipts.
    pub receipts_root: B256,
    /// Root of the state after the block.
    pub state_root: B256,
    /// Gas that the transactions used.
    pub gas_used: u64,
    /// Base fee that follows from the parent.
    pub base_fee: u64,
}

/// A body is not what its header says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// C-9.
    #[error("the transactions have {found} bytes, at most {limit} fit a block", limit = MAX_BODY_BYTES)]
    Bytes {
        /// How many.
        found: usize,
    },
    /// C-10, C-12, C-13.
    #[error("the header's {what} is {header}, the body's {body}")]
    Root {
        /// Which root.
        what: &'static str,
        /// In the header.
        header: B256,
        /// From the body.
        body: B256,
    },
    /// C-11.
    #[error("the header says {header} gas, the transactions used {body}")]
    GasUsed {
        /// In the header.
        header: u64,
        /// By the transactions.
        body: u64,
    },
    /// C-11.
    #[error("{found} gas, at most {limit} fit a block")]
    GasLimit {
        /// In the header.
        found: u64,
        /// The network's.
        limit: u64,
    },
    /// C-15.
    #[error("the header's base fee is {header}, by its parent it is {expected}")]
    BaseFee {
        /// In the header.
        header: u64,
        /// By the parent.
        expected: u64,
    },
}

/// Checks what can be checked before executing: size, transaction root, gas limit, base fee.
///
/// # Errors
/// [`BodyError`] with the first rule that is broken.
pub fn check_body_form(
    network: &Network,
    core: &Core,
    body_bytes: usize,
    root: B256,
    base_fee: u64,
) -> Result<(), BodyError> {
    if body_bytes > MAX_BODY_BYTES {
        return Err(BodyError::Bytes { found: body_bytes });
    }
    same("transaction root", core.tx_root, root)?;
    if core.gas_used > network.block_gas {
        return Err(BodyError::GasLimit { found: core.gas_used, limit: network.block_gas });
    }
    if core.base_fee != base_fee {
        return Err(BodyError::BaseFee { header: core.base_fee, expected: base_fee });
    }
    Ok(())
}

/// Checks everything that a header says about its body.
///
/// # Errors
/// [`BodyError`] with the first rule that is broken.
pub fn check_body(network: &Network, core: &Core, body: &Outcome) -> Result<(), BodyError> {
    check_body_form(network, core, body.body_bytes, body.tx_root, body.base_fee)?;
    if core.gas_used != body.gas_used {
        return Err(BodyError::GasUsed { header: core.gas_used, body: body.gas_used });
    }
    same("receipts root", core.receipts_root, body.receipts_root)?;
    same("state root", core.state_root, body.state_root)
}

fn same(what: &'static str, header: B256, body: B256) -> Result<(), BodyError> {
    if header == body { Ok(()) } else { Err(BodyError::Root { what, header, body }) }
}

/// Merkle root of a block's transactions, from their bytes.
#[must_use]
pub fn tx_root<T: AsRef<[u8]>>(transactions: &[T]) -> B256 {
    merkle_root("pouw transaction v1", transactions)
}

/// Merkle root of a block's receipts, from their bytes.
#[must_use]
pub fn receipts_root<T: AsRef<[u8]>>(receipts: &[T]) -> B256 {
    merkle_root("pouw receipt v1", receipts)
}

/// A binary tree: leaves in order, an odd one out rises a level as it is; zero where empty. Leaves
/// and nodes hash in domains of their own.
fn merkle_root<T: AsRef<[u8]>>(domain: &str, items: &[T]) -> B256 {
    // One hasher a domain, begun anew for each item: a copy of one costs as much as what is hashed here.
    let mut leaf = blake3::Hasher::new_derive_key(domain);
    let mut node = blake3::Hasher::new_derive_key("pouw node v1");
    let hash = |hasher: &mut blake3::Hasher, left: &[u8], right: &[u8]| {
        let id = hasher.update(left).update(right).finalize();
        hasher.reset();
        B256::from(*id.as_bytes())
    };
    let mut level: Vec<B256> =
        items.iter().map(|item| hash(&mut leaf, item.as_ref(), &[])).collect();
    while level.len() > 1 {
        level = level
            .chunks(2)
            .map(|pair| match pair {
                [left, right] => hash(&mut node, left.as_slice(), right.as_slice()),
                rest => rest.first().copied().unwrap_or_default(),
            })
            .collect();
    }
    // Bind the count, so that no two lists share a root.
    let count = u64::try_from(items.len()).unwrap_or(u64::MAX).to_le_bytes();
    hash(&mut node, &count, level.first().copied().unwrap_or_default().as_slice())
}
