//! Which of two chains to follow (C-15).

use alloy_primitives::U256;

/// What fork choice asks of a branch's last block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Σw.
    pub total_weight: U256,
    /// Whether it descends from the current head.
    pub extends_head: bool,
}

/// Whether a candidate replaces the head (C-15): the greatest Σw wins; among equals a descendant
/// of the head replaces it, else what was seen first stays.
#[must_use]
pub fn replaces(head_weight: U256, candidate: Candidate) -> bool {
    candidate.total_weight > head_weight
        || (candidate.total_weight == head_weight && candidate.extends_head)
}
