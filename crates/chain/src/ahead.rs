//! Headers that are ahead of their blocks: checked against what their parents claim, before any body
//! or certificate is here.
//!
//! What a header says is believed where only its block can show it: that a product was multiplied, the
//! exact shares of an epoch. What follows from that is not: the difficulty of the next header, the
//! step of a share, the value of a ticket. So a chain of headers costs whoever makes it up as many
//! tickets as the real one. Nothing is weighed here; blocks are judged in full when they are imported.

use pouw_consensus::share::{Steps, check_move};
use pouw_consensus::{
    BlockId, Claim, Core, CreditClaim, Evidence, Header, HeaderError, MAX_DEPTH, Pace, Standing,
    check_header_with,
};

use crate::chain::{Chain, oldest_fork};
use crate::credit::{Ancestry, CreditEvidence, evidence_at_hand, judging, record};
use crate::epochs;
use crate::error::ImportError;
use crate::store::{Reading, corrupt};

/// A header that was checked, as its children see it.
#[derive(Clone, Debug)]
pub struct HeaderAhead {
    standing: Standing,
    core: Core,
    /// What was known after its parent.
    before: Standing,
    /// Its own id first, at most as many as may be an anchor.
    lineage: Vec<BlockId>,
    /// The block below it that was on the best chain when this was checked.
    fork: (u64, BlockId),
    /// Whether its shares and those of its children are beyond doubt.
    is_exact: bool,
    /// Whether its block is here.
    is_stored: bool,
}

impl HeaderAhead {
    /// Its name.
    #[must_use]
    pub const fn id(&self) -> BlockId {
        self.standing.id
    }

    /// Its height.
    #[must_use]
    pub const fn height(&self) -> u64 {
        self.standing.height
    }
}

impl Chain {
    /// Checks a header before its block is here: against a header that was checked so, or against a
    /// block of the chain.
    ///
    /// # Errors
    /// [`ImportError`] with the first rule that is broken.
    pub fn check_ahead(
        &self,
        header: &Header,
        above: Option<&HeaderAhead>,
    ) -> Result<HeaderAhead, ImportError> {
        let reading = self.inner.store.read()?;
        let known;
        let parent = match above {
            Some(above) => above,
            None => {
                known = self.known(&reading, header.core.parent)?;
                &known
            }
        };
        self.judge(&reading, parent, header)
    }

    /// A block of the chain as the parent of a header.
    fn known(&self, reading: &Reading, id: BlockId) -> Result<HeaderAhead, ImportError> {
        let network = self.network();
        let unknown = || ImportError::UnknownParent(id);
        let (standing, header) = reading.header(id)?.ok_or_else(unknown)?;
        let oldest = oldest_fork(network, reading.oldest()?);
        let ancestry = Ancestry::of(reading, id)?;
        if ancestry.fork < oldest {
            return Err(ImportError::ReorgTooDeep { fork: ancestry.fork, oldest });
        }
        let fork = reading.at_height(ancestry.fork)?;
        let fork = fork.ok_or_else(|| corrupt("block", ancestry.fork))?;
        let before = match reading.header(header.core.parent)? {
            Some((before, _)) => before,
            None => standing.clone(),
        };
        Ok(HeaderAhead {
            lineage: reading.lineage(id, usize::from(MAX_DEPTH))?,
            is_exact: reading.is_executed(id)?,
            is_stored: true,
            fork: (ancestry.fork, fork),
            core: header.core,
            standing,
            before,
        })
    }

    fn judge(
        &self,
        reading: &Reading,
        parent: &HeaderAhead,
        header: &Header,
    ) -> Result<HeaderAhead, ImportError> {
        let network = self.network();
        let core = &header.core;
        let mut standing = parent.standing.clone();
        let starts = epochs::starts(network, core.height);
        if !parent.is_exact && starts && core.shares != standing.shares {
            // As far as a step goes (C-18): the exact value follows from bodies (C-19).
            check_move(standing.shares, core.shares, starts, Steps::of(network))?;
            let moved =
                parent.before.after_core_moving(&Pace::of(network), &parent.core, core.shares);
            standing = Standing { id: standing.id, ..moved };
        }
        let credit = if parent.is_stored {
            evidence_at_hand(network, reading, &standing, header)?
        } else {
            self.check_author(reading, parent, header)?;
            None
        };
        let evidence = match (&header.claim, &credit) {
            (Claim::Matmul(_), _) => Evidence::Ancestors(&parent.lineage),
            (Claim::Credit(_), Some(CreditEvidence { beacon, record })) => {
                Evidence::Credit { beacon: *beacon, record }
            }
            (Claim::Credit(_), None) => Evidence::Later,
            _ => Evidence::Header,
        };
        let after = check_header_with(network, &standing, header, self.now_ms(), evidence)?;
        let mut lineage = vec![after.id];
        let older = parent.lineage.iter().copied();
        lineage.extend(older.take(usize::from(MAX_DEPTH).saturating_sub(1)));
        Ok(HeaderAhead {
            standing: after,
            core: core.clone(),
            before: standing,
            lineage,
            fork: parent.fork,
            is_exact: false,
            is_stored: false,
        })
    }

    /// A header of lane 2 whose parent waits: its machine's key and miner are known if the block that
    /// judges it is below the fork, and its beacon may not be.
    fn check_author(
        &self,
        reading: &Reading,
        parent: &HeaderAhead,
        header: &Header,
    ) -> Result<(), ImportError> {
        let Claim::Credit(claim) = &header.claim else { return Ok(()) };
        let network = self.network();
        let (fork, id) = parent.fork;
        let Some(height) = judging(network, header.core.height) else { return Ok(()) };
        let there = reading.at_height(fork)? == Some(id);
        if !there || height > fork || height < reading.oldest()? {
            return Ok(());
        }
        let record = record(network, (&reading.state(height)?, height), claim.machine)?;
        let record = record.ok_or_else(|| crate::credit::unknown(claim.machine, height))?;
        CreditClaim::check_author(claim, &header.core, &record)
            .map_err(|error| HeaderError::CreditClaim(error).into())
    }
}
