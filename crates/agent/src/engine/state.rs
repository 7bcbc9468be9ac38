//! What of ours is on a machine, as one digest.

use std::collections::BTreeSet;

use pouw_types::RentalId;
use serde::{Deserialize, Serialize};

/// How much of the machine a state speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// Everything of this machine's agent.
    Machine,
    /// What was made for one rental, and what all rentals share.
    Rental(RentalId),
}

/// What of ours is on a machine.
///
/// Each entry is one line of text, so that a difference can be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MachineState {
    /// What it speaks of.
    pub scope: Scope,
    /// Containers by identity.
    pub containers: BTreeSet<String>,
    /// Networks by identity.
    pub networks: BTreeSet<String>,
    /// Volumes by name.
    pub volumes: BTreeSet<String>,
    /// Mount points below the data folder.
    pub mounts: BTreeSet<String>,
    /// Loop devices with the file behind each.
    pub loops: BTreeSet<String>,
    /// Files of scratch file systems.
    pub scratch_files: BTreeSet<String>,
    /// Digest of the firewall table's rules, or that there is none.
    pub firewall: BTreeSet<String>,
    /// Counters of tasks' traffic by name.
    #[serde(default)]
    pub counters: BTreeSet<String>,
    /// Processes that carry the machine's mark.
    pub processes: BTreeSet<String>,
}

impl MachineState {
    /// A machine with nothing of ours on it.
    #[must_use]
    pub const fn empty(scope: Scope) -> Self {
        Self {
            scope,
            containers: BTreeSet::new(),
            networks: BTreeSet::new(),
            volumes: BTreeSet::new(),
            mounts: BTreeSet::new(),
            loops: BTreeSet::new(),
            scratch_files: BTreeSet::new(),
            firewall: BTreeSet::new(),
            counters: BTreeSet::new(),
            processes: BTreeSet::new(),
        }
    }

    fn kinds(&self) -> [(&'static str, &BTreeSet<String>); 9] {
        [
            ("container", &self.containers),
            ("network", &self.networks),
            ("volume", &self.volumes),
            ("mount", &self.mounts),
            ("loop", &self.loops),
            ("scratch", &self.scratch_files),
            ("firewall", &self.firewall),
            ("counter", &self.counters),
            ("process", &self.processes),
        ]
    }

    /// Each entry with its kind, in a fixed order.
    #[must_use]
    pub fn entries(&self) -> Vec<String> {
        self.kinds()
            .into_iter()
            .flat_map(|(kind, set)| set.iter().map(move |entry| format!("{kind} {entry}")))
            .collect()
    }

    /// BLAKE3 of the entries, each with its length before it.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        let mut hash = blake3::Hasher::new_derive_key("pouw machine state 1");
        if let Scope::Rental(rental) = self.scope {
            hash.update(rental.get().as_slice());
        }
        for entry in self.entries() {
            hash.update(&u64::try_from(entry.len()).unwrap_or(u64::MAX).to_le_bytes());
            hash.update(entry.as_bytes());
        }
        *hash.finalize().as_bytes()
    }

    /// What is here and not in `saved`, and what is in `saved` and not here.
    #[must_use]
    pub fn difference(&self, saved: &Self) -> (Vec<String>, Vec<String>) {
        let (here, there) = (self.entries(), saved.entries());
        let left_over = here.iter().filter(|e| !there.contains(e)).cloned().collect();
        let gone = there.iter().filter(|e| !here.contains(e)).cloned().collect();
        (left_over, gone)
    }
}
