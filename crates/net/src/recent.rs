//! A set that forgets its oldest members.

use std::collections::{BTreeSet, VecDeque};

/// The members added last, at most a fixed number.
#[derive(Clone, Debug)]
pub(crate) struct Recent<T> {
    limit: usize,
    members: BTreeSet<T>,
    order: VecDeque<T>,
}

impl<T: Copy + Ord> Recent<T> {
    pub(crate) const fn new(limit: usize) -> Self {
        Self { limit, members: BTreeSet::new(), order: VecDeque::new() }
    }

    pub(crate) fn contains(&self, member: &T) -> bool {
        self.members.contains(member)
    }

    /// False if it was there.
    pub(crate) fn insert(&mut self, member: T) -> bool {
        if !self.members.insert(member) {
            return false;
        }
        self.order.push_back(member);
        if self.order.len() > self.limit
            && let Some(oldest) = self.order.pop_front()
        {
            self.members.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_are_forgotten() {
        let mut recent = Recent::new(2);
        assert!(recent.insert(1) && recent.insert(2) && !recent.insert(1) && recent.insert(3));
        assert!(!recent.contains(&1) && recent.contains(&2) && recent.contains(&3));
    }
}
