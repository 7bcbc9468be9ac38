//! Counts what passes the bridges of tasks, each way: IP packets with their headers, after all other
//! rules, so that what was dropped is nobody's.
//!
//! A named counter for each way of each bridge, in a table of its own. What another program flushes
//! is lost, not made up: the meter goes on from what it read before.

use std::collections::{BTreeMap, BTreeSet};

use super::super::{EngineError, Owner, tool};

/// The table that is ours.
pub(crate) const TABLE: &str = "inet pouw-traffic";

/// The two ways: the map's name, and what it is looked up by.
const WAYS: [(&str, &str); 2] = [("sent", "iifname"), ("received", "oifname")];

/// Name of a rental's counter of one way.
fn counter(owner: &Owner, way: &str) -> String {
    format!("{}{}{way}", owner.bridge_name(), machine_mark(owner.machine))
}

/// What is in the names of all counters of a machine.
fn machine_mark(machine: pouw_types::MachineId) -> String {
    format!("_{}_", hex::encode(&machine.get()[..4]))
}

/// Commands after which the table counts, whatever it was before; counters keep what they have.
fn structure() -> String {
    let mut text = format!("add table {TABLE}\n");
    for (way, _) in WAYS {
        text += &format!("add map {TABLE} {way} {{ type ifname : counter ; }}\n");
    }
    text += &format!(
        "add chain {TABLE} through {{ type filter hook forward priority 300 ; policy accept ; }}\n\
         flush chain {TABLE} through\n"
    );
    for (way, by) in WAYS {
        text += &format!("add rule {TABLE} through counter name {by} map @{way}\n");
    }
    text
}

/// Commands after which a rental's bridge is counted.
fn counted(owner: &Owner) -> String {
    let bridge = owner.bridge_name();
    let lines = WAYS.map(|(way, _)| {
        let name = counter(owner, way);
        format!(
            "add counter {TABLE} {name}\nadd element {TABLE} {way} {{ \"{bridge}\" : \"{name}\" }}\n"
        )
    });
    lines.concat()
}

/// Loads the table; counters keep what they have.
pub(crate) async fn load() -> Result<(), EngineError> {
    tool::run_as_root("nft", &["-f", "-"], Some(&structure())).await.map(drop)
}

/// Counts a rental's bridge from now on; one that is counted goes on.
pub(crate) async fn add(owner: &Owner) -> Result<(), EngineError> {
    let text = structure() + &counted(owner);
    tool::run_as_root("nft", &["-f", "-"], Some(&text)).await.map(drop)
}

/// Forgets a rental's counters.
pub(crate) async fn remove(owner: &Owner) -> Result<(), EngineError> {
    let bridge = owner.bridge_name();
    // Added first, in the same transaction: what is not there can't be deleted.
    let mut text = structure() + &counted(owner);
    for (way, _) in WAYS {
        let name = counter(owner, way);
        text += &format!(
            "delete element {TABLE} {way} {{ \"{bridge}\" }}\ndelete counter {TABLE} {name}\n"
        );
    }
    tool::run_as_root("nft", &["-f", "-"], Some(&text)).await.map(drop)
}

/// Names of all counters that there are.
pub(crate) async fn names() -> Result<BTreeSet<String>, EngineError> {
    let text = super::listed(TABLE).await?.unwrap_or_default();
    Ok(Traffic::read(&text).bytes.into_keys().collect())
}

/// Whether a counter is one of a machine's.
pub(crate) fn is_of_machine(name: &str, machine: pouw_types::MachineId) -> bool {
    name.contains(&machine_mark(machine))
}

/// Whether a counter is one of a rental's.
pub(crate) fn is_of(name: &str, owner: &Owner) -> bool {
    WAYS.iter().any(|(way, _)| name == counter(owner, way))
}

/// Forgets counters by their names, with the bridges that they count.
pub(crate) async fn remove_named(names: &BTreeSet<String>) -> Result<(), EngineError> {
    let mut text = String::new();
    for name in names {
        let Some((bridge, _)) = name.split_once('_') else { continue };
        let Some(way) = WAYS.iter().map(|(way, _)| way).find(|way| name.ends_with(*way)) else {
            continue;
        };
        let element = format!("element {TABLE} {way}");
        text += &format!(
            "add {element} {{ \"{bridge}\" : \"{name}\" }}\ndelete {element} {{ \"{bridge}\" }}\n\
             delete counter {TABLE} {name}\n"
        );
    }
    if text.is_empty() {
        return Ok(());
    }
    tool::run_as_root("nft", &["-f", "-"], Some(&text)).await.map(drop)
}

/// What the table has counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Traffic {
    bytes: BTreeMap<String, u64>,
    /// The lines that say which bridge counts where.
    bridges: String,
}

impl Traffic {
    /// Reads what `nft` lists of the table.
    pub(super) fn read(text: &str) -> Self {
        let mut read = Self::default();
        let mut name = None;
        for line in text.lines().map(str::trim) {
            if let Some(rest) = line.strip_prefix("counter ") {
                name = rest.strip_suffix(" {").map(ToOwned::to_owned);
            } else if let (Some(known), Some(rest)) = (&name, line.strip_prefix("packets ")) {
                let bytes = rest.split_once(" bytes ").and_then(|(_, bytes)| bytes.parse().ok());
                if let Some(bytes) = bytes {
                    read.bytes.insert(known.clone(), bytes);
                }
                name = None;
            } else if line.contains("\" : \"") {
                read.bridges.push_str(line);
            }
        }
        read
    }

    /// Bytes that passed a rental's bridge, both ways; none where it is not counted.
    pub(crate) fn of(&self, owner: &Owner) -> Option<u64> {
        let bridge = owner.bridge_name();
        let mut sum = 0_u64;
        for (way, _) in WAYS {
            let name = counter(owner, way);
            if !self.bridges.contains(&format!("\"{bridge}\" : \"{name}\"")) {
                return None;
            }
            sum = sum.saturating_add(*self.bytes.get(&name)?);
        }
        Some(sum)
    }
}

#[cfg(test)]
mod tests {
    use pouw_types::{MachineId, RentalId};

    use super::*;

    fn owner(byte: u8) -> Owner {
        Owner { machine: MachineId::new([byte; 20].into()), rental: RentalId::new([7; 32].into()) }
    }

    fn listed(owner: &Owner, sent: u64, received: u64) -> String {
        let (bridge, to, from) =
            (owner.bridge_name(), counter(owner, "sent"), counter(owner, "received"));
        format!(
            "table {TABLE} {{\n\tcounter {to} {{\n\t\tpackets 1 bytes {sent}\n\t}}\n\tcounter {from} \
             {{\n\t\tpackets 1 bytes {received}\n\t}}\n\tmap sent {{\n\t\telements = {{ \"{bridge}\" : \
             \"{to}\",\n\t\t\t\"other\" : \"x\" }}\n\t}}\n\tmap received {{\n\t\telements = {{ \
             \"{bridge}\" : \"{from}\" }}\n\t}}\n}}\n"
        )
    }

    #[test]
    fn both_ways_of_the_rentals_own_bridge_are_summed_and_no_other() {
        let traffic = Traffic::read(&listed(&owner(1), 40, 2));
        assert_eq!(traffic.of(&owner(1)), Some(42));
        assert_eq!(traffic.of(&owner(2)), None);
    }

    #[test]
    fn a_bridge_that_lost_its_counter_or_its_place_is_not_counted() {
        let whole = listed(&owner(1), 40, 2);
        let name = counter(&owner(1), "sent");
        for broken in [
            whole.replace("packets 1 bytes 40", ""),
            whole.replace("elements", "#").replace(&format!(" : \"{name}\""), ""),
        ] {
            assert_eq!(Traffic::read(&broken).of(&owner(1)), None, "{broken}");
        }
        assert_eq!(Traffic::read(&whole.replace("bytes 40", "bytes many")).of(&owner(1)), None);
    }

    #[test]
    fn a_counters_name_says_whose_it_is() {
        let name = counter(&owner(1), "sent");
        assert!(is_of(&name, &owner(1)) && is_of_machine(&name, owner(1).machine));
        assert!(!is_of(&name, &owner(2)) && !is_of_machine(&name, owner(2).machine));
    }
}
