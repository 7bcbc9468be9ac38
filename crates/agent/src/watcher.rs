//! Follows the chain for all rentals: one look at each new head.

use std::collections::BTreeMap;
use std::sync::Arc;

use pouw_types::contracts::IHosts;
use pouw_types::contracts::IRentals::Rental;
use pouw_types::{MachineId, RentalId};
use tokio::sync::watch;

use crate::contract::{Contract, ContractError, Head};
use crate::plan::ChainView;

/// The chain at one head.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshot {
    /// The head; `None` before the first.
    pub head: Option<Head>,
    /// The machine's entry.
    pub machine: Option<IHosts::Machine>,
    /// Its rentals that are not closed, and those that were asked for.
    pub rentals: Arc<BTreeMap<RentalId, Rental>>,
}

impl Snapshot {
    /// What it says of one rental.
    #[must_use]
    pub(crate) fn view(&self, rental: RentalId) -> Option<ChainView> {
        let rental = self.rentals.get(&rental)?.clone();
        Some(ChainView { head: self.head?, rental })
    }
}

/// Looks at the chain: everything open, and `also`.
///
/// # Errors
/// [`ContractError`].
pub(crate) async fn look(
    contract: &dyn Contract,
    machine: MachineId,
    head: Head,
    also: &[RentalId],
) -> Result<Snapshot, ContractError> {
    let mut ids = contract.active_of(machine).await?;
    ids.extend_from_slice(also);
    ids.sort();
    ids.dedup();
    let mut rentals = BTreeMap::new();
    for id in ids {
        rentals.insert(id, contract.rental(id).await?);
    }
    let machine = Some(contract.machine(machine).await?);
    Ok(Snapshot { head: Some(head), machine, rentals: Arc::new(rentals) })
}

/// Waits until the snapshot's head is at least this high, or the agent ends.
pub(crate) async fn reached(chain: &mut watch::Receiver<Snapshot>, height: u64) {
    let high = |snapshot: &Snapshot| snapshot.head.is_some_and(|head| head.height >= height);
    drop(chain.wait_for(high).await);
}
