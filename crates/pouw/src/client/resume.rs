//! Going on from where an earlier rental ended.

use std::path::Path;

use alloy_primitives::{Address, B256};
use alloy_signer_local::PrivateKeySigner;
use pouw_agent::End;
use pouw_agent::door::{Client, Resume};
use pouw_data::{Checkpoint, InputSlot, Packing};
use pouw_spec::Task;
use pouw_types::contracts::IRentals::{self, Phase, Reason};
use pouw_types::contracts::RENTALS;
use pouw_types::{Amount, RentalId};

use super::bucket::Bucket;
use super::rpc::Rpc;
use super::runs::{Run, Runs};
use crate::config::Profile;
use crate::exit::Refused;
use crate::output::duration;

/// Most rentals that are looked through for a save: each may have failed before its first.
const MAX_CHAIN: usize = 100;

/// What an earlier rental left.
#[derive(Debug)]
pub struct Left {
    /// The rental.
    pub run: Run,
    /// The rental to name in the contract; none once it is closed for good, or continued.
    pub continues: Option<RentalId>,
    /// Its machine, which is taken last for a rental that its host failed.
    pub failed_machine: Option<Address>,
    /// The machine that keeps its disk.
    pub kept_by: Option<Address>,
    saved: Option<(Bucket, Checkpoint)>,
}

impl Left {
    /// Looks at the chain, into the client's bucket, and asks the host what it keeps.
    ///
    /// # Errors
    /// [`Refused`] for a rental that is not over, else what store or node say.
    pub async fn find(
        profile: &Profile,
        data: &Path,
        rpc: &Rpc,
        key: &PrivateKeySigner,
        wanted: &str,
    ) -> anyhow::Result<Self> {
        let run = Runs::new(data).find(Some(wanted))?;
        let call = IRentals::rentalOfCall { rental: run.rental.get() };
        let rental = rpc.view(RENTALS, &call).await?;
        if rental.phase == Phase::Open {
            let text = format!(
                "rental {} goes on: `pouw stop` ends it first, `pouw stop --host-gone` where its \
                 host is gone",
                run.rental
            );
            return Err(Refused(text).into());
        }
        let continues = (rental.phase == Phase::Closing && rental.successor == B256::ZERO)
            .then_some(run.rental);
        let failed = matches!(rental.reason, Reason::HostFault | Reason::HostStop);
        let failed_machine = failed.then_some(rental.machine);
        let door = Client::new(&run.endpoint, Some(key.clone()))?;
        let kept = door.status(run.rental).await.is_ok_and(|status| status.kept_until.is_some());
        let kept_by = (kept && continues.is_some()).then_some(rental.machine);
        let saved = find_save(profile, data, run.clone()).await?;
        Ok(Self { run, continues, failed_machine, kept_by, saved })
    }

    /// What the host is told to begin with.
    ///
    /// # Errors
    /// [`Refused`] where the task has no checkpoint, or nothing was ever saved.
    pub fn resume(&self, task: &Task) -> anyhow::Result<Resume> {
        if self.kept_by.is_some() {
            return Ok(Resume::Kept);
        }
        let Some(checkpoint) = &task.checkpoint else {
            let text = "the task declares no checkpoint, so nothing of it was saved: run it anew";
            return Err(Refused(text.to_owned()).into());
        };
        let Some((bucket, saved)) = &self.saved else {
            let text = format!("rental {} saved no checkpoint: run it anew", self.run.rental);
            return Err(Refused(text).into());
        };
        Ok(Resume::Checkpoint(InputSlot {
            name: checkpoint.path.to_string(),
            url: bucket.readable(&saved.name)?,
            packing: Packing::Tar,
            size_bytes: Some(saved.size_bytes),
            blake3: Some(saved.blake3),
        }))
    }

    /// For people: what it goes on from.
    #[must_use]
    pub fn to_text(&self) -> String {
        let from = match &self.saved {
            _ if self.kept_by.is_some() => "its host keeps its disk".to_owned(),
            Some((_, saved)) => format!("{} of its work is saved", duration(saved.active_s)),
            None => "nothing of it is saved".to_owned(),
        };
        format!("goes on    from rental {}: {from}", self.run.rental)
    }

    /// What is left of a task's own limits, so that going on by itself never spends more than the
    /// task allows. At least a minute.
    pub fn shorten(&self, task: &mut Task, paid: Amount) {
        let own = |(bucket, _): &&(Bucket, Checkpoint)| bucket.location.prefix() == self.run.prefix;
        let done_s = self.saved.as_ref().filter(own).map_or(0, |(_, saved)| saved.active_s);
        task.limits.time_s = task.limits.time_s.saturating_sub(done_s).max(60);
        task.limits.cost = task.limits.cost.map(|cost| cost.saturating_sub(paid));
    }
}

/// The newest save of a rental, or of the one that it went on from.
async fn find_save(
    profile: &Profile,
    data: &Path,
    mut run: Run,
) -> anyhow::Result<Option<(Bucket, Checkpoint)>> {
    for _ in 0..MAX_CHAIN {
        let bucket = Bucket::open(profile, &run.prefix)?;
        if let Some(saved) = bucket.checkpoint().await? {
            return Ok(Some((bucket, saved)));
        }
        let Some(before) = run.resumes else { break };
        run = Runs::new(data).find(Some(&before.to_string()))?;
    }
    Ok(None)
}

/// Whether the host, and not the task or its client, ended a rental.
#[must_use]
pub fn is_hosts_end(end: &End) -> bool {
    match end {
        End::HostStop | End::HostFault { .. } | End::Preempted | End::Repriced => true,
        End::ClosedOnChain { by } => matches!(
            by,
            Reason::HostStop | Reason::HostFault | Reason::Preempted | Reason::Repriced
        ),
        _ => false,
    }
}
