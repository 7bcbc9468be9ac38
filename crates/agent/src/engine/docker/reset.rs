//! Save and reset: what of ours is here, and back to what was.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use bollard::query_parameters::{ListVolumesOptionsBuilder, RemoveVolumeOptionsBuilder};

use super::super::workload::LABEL_RENTAL;
use super::super::{ContainerId, EngineError, MachineState, Owner, Scope, firewall, tool, traces};
use super::{DockerEngine, gone_is_done};

/// How often a reset tries before it says what is left: a loop device or a killed process needs a
/// moment to go.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(100);

impl DockerEngine {
    pub(super) async fn state(&self, scope: Scope) -> Result<MachineState, EngineError> {
        let mut state = MachineState::empty(scope);
        let containers = self.list_raw().await?;
        state.containers = containers
            .into_iter()
            .filter(|found| in_scope(scope, found.labels.as_ref()))
            .filter_map(|found| found.id)
            .collect();
        let networks = self.networks().await?;
        state.networks = networks
            .into_iter()
            .filter(|found| in_scope(scope, found.labels.as_ref()))
            .filter_map(|found| found.id)
            .collect();
        state.volumes = self.volumes(scope).await?;
        traces::add_scratch(&mut state, self.scratch.folder())?;
        // A machine that can't load the table has none of ours.
        if tool::find("nft").is_some() {
            let digest = firewall::digest().await.unwrap_or(None);
            state.firewall.insert(digest.unwrap_or_else(|| "absent".to_owned()));
            state.counters = self.counters(scope).await;
        }
        state.processes = traces::marked_processes(&self.machine_label(), scope)
            .into_iter()
            .filter_map(traces::process_entry)
            .collect();
        Ok(state)
    }

    pub(super) async fn reset(&self, saved: &MachineState) -> Result<(), EngineError> {
        let mut tried = 0;
        loop {
            let now = self.state(saved.scope).await?;
            let (left_over, gone) = now.difference(saved);
            if left_over.is_empty() && gone.is_empty() {
                return Ok(());
            }
            if tried == TRIES {
                return Err(EngineError::NotReset { left_over, gone });
            }
            if tried > 0 {
                tokio::time::sleep(PAUSE).await;
            }
            tried += 1;
            self.remove_extra(&now, saved).await?;
        }
    }

    /// Removes what is here and was not saved; in the order in which one thing holds the next.
    async fn remove_extra(
        &self,
        now: &MachineState,
        saved: &MachineState,
    ) -> Result<(), EngineError> {
        for id in now.containers.difference(&saved.containers) {
            self.remove_container(&ContainerId::new(id.as_str())).await?;
        }
        let kept: BTreeSet<&String> = saved.processes.iter().collect();
        for pid in traces::marked_processes(&self.machine_label(), saved.scope) {
            // Its name is read again: a number may have passed to another process.
            let entry = traces::process_entry(pid);
            if entry.is_some_and(|entry| now.processes.contains(&entry) && !kept.contains(&entry)) {
                traces::end(pid);
            }
        }
        for id in now.networks.difference(&saved.networks) {
            self.drop_network_by_id(id).await?;
        }
        let counters = now.counters.difference(&saved.counters).cloned().collect();
        firewall::traffic::remove_named(&counters).await?;
        for name in now.volumes.difference(&saved.volumes) {
            let client = self.client().await?;
            let options = RemoveVolumeOptionsBuilder::default().force(true).build();
            let call = client.remove_volume(name, Some(options));
            gone_is_done(self.call("remove the volume", name, call).await)?;
        }
        for stem in self.scratch_stems(now, saved) {
            self.scratch.remove_stem(&stem).await?;
        }
        if now.firewall != saved.firewall && !saved.firewall.contains("absent") {
            firewall::load().await?;
        }
        Ok(())
    }

    /// The counters of traffic in scope; none where the table can't be read.
    async fn counters(&self, scope: Scope) -> BTreeSet<String> {
        let machine = self.config.machine;
        let mut names = firewall::traffic::names().await.unwrap_or_default();
        names.retain(|name| match scope {
            Scope::Machine => firewall::traffic::is_of_machine(name, machine),
            Scope::Rental(rental) => firewall::traffic::is_of(name, &Owner { machine, rental }),
        });
        names
    }

    /// The scratch file systems of which anything is here that was not saved.
    fn scratch_stems(&self, now: &MachineState, saved: &MachineState) -> BTreeSet<String> {
        let folder = self.scratch.folder();
        let of_path = |path: &String| {
            let below = std::path::Path::new(path).strip_prefix(folder).ok()?;
            below.components().next()?.as_os_str().to_str().map(ToOwned::to_owned)
        };
        let paths = now.mounts.difference(&saved.mounts).chain(now.loops.difference(&saved.loops));
        let files = now.scratch_files.difference(&saved.scratch_files).cloned();
        paths
            .filter_map(of_path)
            .chain(files)
            .map(|name| name.trim_end_matches(".img").to_owned())
            .collect()
    }

    async fn volumes(&self, scope: Scope) -> Result<BTreeSet<String>, EngineError> {
        let client = self.client().await?;
        let options = ListVolumesOptionsBuilder::default().filters(&self.id_filter()).build();
        let found = self.call("list volumes", "engine", client.list_volumes(Some(options))).await?;
        let ours = found.volumes.into_iter().flatten();
        Ok(ours
            .filter(|volume| in_scope(scope, Some(&volume.labels)))
            .map(|volume| volume.name)
            .collect())
    }
}

fn in_scope(scope: Scope, labels: Option<&HashMap<String, String>>) -> bool {
    match scope {
        Scope::Machine => true,
        Scope::Rental(rental) => {
            let label = labels.and_then(|labels| labels.get(LABEL_RENTAL));
            label == Some(&format!("{:#x}", rental.get()))
        }
    }
}
