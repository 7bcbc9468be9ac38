//! From a workload to a container that is what was asked for.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use bollard::models::{
    ContainerCreateBody, HealthConfig, HostConfig, HostConfigLogConfig, ImageConfig, ImageInspect,
    Mount, MountType, RestartPolicy, RestartPolicyNameEnum,
};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, InspectContainerOptions, RemoveContainerOptionsBuilder,
};
use pouw_types::Isolation;

use super::super::traces::{MARK_MACHINE, MARK_RENTAL};
use super::super::workload::LABEL_STEP;
use super::super::{Access, ContainerId, Created, EngineError, NetworkMode, Workload, inspect};
use super::facts::runtime_name;
use super::{DockerEngine, Facts};

/// Shared memory of a container, which counts as its memory, in bytes: the engine's own default.
const SHM_BYTES: i64 = 64 << 20;
/// Most entries of the lists of a workload.
const MAX_ENTRIES: usize = 256;
/// Most bytes of one argument or variable: the kernel's own bound on one string.
const MAX_STRING_BYTES: usize = 128 << 10;
/// Least memory, in bytes: below it the engine itself refuses.
const MIN_MEMORY_BYTES: u64 = 6 << 20;

impl DockerEngine {
    pub(super) async fn create_workload(
        &self,
        workload: &Workload,
    ) -> Result<Created, EngineError> {
        check(workload)?;
        let client = self.client().await?;
        let (facts, image) = tokio::join!(self.facts(), self.image_of(workload));
        let (facts, image) = (facts?, image?);
        offered(&facts, workload)?;
        let image_id = image.id.unwrap_or_default();
        let config = image.config.unwrap_or_default();
        let body = self.body(workload, &facts, &image_id, &config)?;
        let name = workload.owner.container_name(&workload.step);
        let options = CreateContainerOptionsBuilder::default().name(&name).build();
        let operation = "create the container";
        let call = client.create_container(Some(options), body.clone());
        let id = match self.call(operation, &name, call).await {
            Ok(made) => {
                for warning in &made.warnings {
                    tracing::debug!(%warning, "the engine warns of a container");
                }
                made.id
            }
            Err(EngineError::Conflict { operation, reason }) => {
                return self.existing(&name, &body, &image_id, &config, operation, reason).await;
            }
            Err(error) => return Err(error),
        };
        let found = self
            .call(operation, &name, client.inspect_container(&id, None::<InspectContainerOptions>))
            .await;
        let differences = match &found {
            Ok(found) => inspect::compare(&body, &image_id, &config, found),
            Err(_) => Vec::new(),
        };
        let failed = match found {
            Ok(_) if differences.is_empty() => return Ok(Created { id: ContainerId::new(id) }),
            Ok(_) => EngineError::Differs(differences),
            Err(error) => error,
        };
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        let removed =
            self.call("remove the container", &name, client.remove_container(&id, Some(options)));
        if let Err(error) = removed.await {
            tracing::warn!(%error, id, "a container that was refused is still there");
        }
        Err(failed)
    }

    async fn image_of(&self, workload: &Workload) -> Result<ImageInspect, EngineError> {
        let name = workload.image.to_string();
        let client = self.client().await?;
        self.call("find the image", &format!("image {name}"), client.inspect_image(&name)).await
    }

    /// A container of the same name: the same one, from before a crash, or an error.
    async fn existing(
        &self,
        name: &str,
        body: &ContainerCreateBody,
        image_id: &str,
        image: &ImageConfig,
        operation: &'static str,
        reason: String,
    ) -> Result<Created, EngineError> {
        let client = self.client().await?;
        let call = client.inspect_container(name, None::<InspectContainerOptions>);
        let found = self.call(operation, name, call).await?;
        let fresh = found
            .state
            .as_ref()
            .and_then(|state| state.status)
            .is_some_and(|status| status.to_string() == "created");
        match found.id.clone() {
            Some(id) if fresh && inspect::compare(body, image_id, image, &found).is_empty() => {
                Ok(Created { id: ContainerId::new(id) })
            }
            _ => Err(EngineError::Conflict { operation, reason }),
        }
    }

    /// The request to the engine.
    fn body(
        &self,
        workload: &Workload,
        facts: &Facts,
        image_id: &str,
        image: &ImageConfig,
    ) -> Result<ContainerCreateBody, EngineError> {
        let mut env = workload.env.0.clone();
        env.insert(MARK_MACHINE.to_owned(), workload.owner.machine_label());
        env.insert(MARK_RENTAL.to_owned(), workload.owner.rental_label());
        let mut labels: HashMap<String, String> = workload.owner.labels().into_iter().collect();
        labels.insert(LABEL_STEP.to_owned(), workload.step.as_str().to_owned());
        // The engine reads one empty word as "no entry point".
        let entrypoint = workload
            .entrypoint
            .clone()
            .map(|words| if words.is_empty() { vec![String::new()] } else { words });
        Ok(ContainerCreateBody {
            image: Some(image_id.to_owned()),
            entrypoint,
            cmd: (!workload.command.is_empty()).then(|| workload.command.clone()),
            env: Some(env.into_iter().map(|(name, value)| format!("{name}={value}")).collect()),
            working_dir: workload.workdir.clone(),
            user: Some(workload.user.to_string()),
            labels: Some(labels),
            stop_signal: Some("SIGTERM".to_owned()),
            healthcheck: Some(HealthConfig {
                test: Some(vec!["NONE".to_owned()]),
                ..HealthConfig::default()
            }),
            host_config: Some(self.host_config(workload, facts, image)?),
            ..ContainerCreateBody::default()
        })
    }

    fn host_config(
        &self,
        workload: &Workload,
        facts: &Facts,
        image: &ImageConfig,
    ) -> Result<HostConfig, EngineError> {
        let memory = signed("memory", workload.memory_bytes)?;
        let (network, dns) = match &workload.network {
            NetworkMode::None => ("none".to_owned(), None),
            NetworkMode::Egress(name) => {
                let servers = self.config.egress_dns.iter().map(ToString::to_string).collect();
                (name.as_str().to_owned(), Some(servers))
            }
        };
        let log = HashMap::from([
            ("max-size".to_owned(), workload.log.file_bytes.to_string()),
            ("max-file".to_owned(), workload.log.files.to_string()),
        ]);
        Ok(HostConfig {
            nano_cpus: Some(signed("processor time", workload.cpu_millis)? * 1_000_000),
            memory: Some(memory),
            memory_swap: facts.limits().swap.then_some(memory),
            pids_limit: Some(i64::from(workload.pids)),
            shm_size: Some(SHM_BYTES),
            readonly_rootfs: Some(true),
            privileged: Some(false),
            cap_drop: Some(vec!["ALL".to_owned()]),
            security_opt: Some(vec!["no-new-privileges".to_owned()]),
            runtime: Some(runtime_name(workload.isolation).to_owned()),
            ipc_mode: Some("private".to_owned()),
            network_mode: Some(network),
            dns,
            tmpfs: Some(tmpfs(workload, image)),
            mounts: Some(mounts(workload)),
            log_config: Some(HostConfigLogConfig {
                typ: Some("json-file".to_owned()),
                config: Some(log),
            }),
            restart_policy: Some(RestartPolicy {
                name: Some(RestartPolicyNameEnum::NO),
                maximum_retry_count: None,
            }),
            ..HostConfig::default()
        })
    }
}

/// `/tmp`, and each volume that the image declares, which else would be unbounded disk.
fn tmpfs(workload: &Workload, image: &ImageConfig) -> HashMap<String, String> {
    // The runtime gives it the mode that the image's folder has, so the task's user must own it.
    let options = format!(
        "rw,exec,nosuid,nodev,size={},mode=1777,uid={},gid={}",
        workload.tmp_bytes, workload.user.uid, workload.user.gid
    );
    let bound: BTreeSet<&str> = workload.mounts.iter().map(|m| m.target.as_str()).collect();
    let declared = image.volumes.iter().flatten().map(String::as_str);
    std::iter::once("/tmp")
        .chain(declared)
        .filter(|target| !bound.contains(target))
        .map(|target| (target.to_owned(), options.clone()))
        .collect()
}

fn mounts(workload: &Workload) -> Vec<Mount> {
    let mount = |mount: &super::super::BindMount| Mount {
        typ: Some(MountType::BIND),
        source: Some(mount.source.display().to_string()),
        target: Some(mount.target.clone()),
        read_only: Some(mount.access == Access::Read),
        ..Mount::default()
    };
    workload.mounts.iter().map(mount).collect()
}

fn signed(field: &'static str, value: u64) -> Result<i64, EngineError> {
    // A thousandth of the range, so that units can be converted.
    i64::try_from(value).ok().filter(|value| *value <= i64::MAX / 1_000_000).map_or_else(
        || Err(invalid(field, format!("of {value} is beyond what any machine has"))),
        Ok,
    )
}

fn invalid(field: &'static str, problem: impl Into<String>) -> EngineError {
    EngineError::InvalidWorkload { field, problem: problem.into() }
}

/// Refuses what makes no sense on any machine.
fn check(workload: &Workload) -> Result<(), EngineError> {
    if workload.user.uid == 0 {
        return Err(invalid("user", "is root; tasks run as another user"));
    }
    if workload.cpu_millis == 0 {
        return Err(invalid("processor time", "is 0; ask for at least 1 thousandth of a core"));
    }
    if workload.memory_bytes < MIN_MEMORY_BYTES {
        let problem = format!("is {} bytes; at least {MIN_MEMORY_BYTES}", workload.memory_bytes);
        return Err(invalid("memory", problem));
    }
    if workload.pids == 0 || workload.tmp_bytes == 0 {
        return Err(invalid("processes and /tmp", "are 0; both need a bound of at least 1"));
    }
    if workload.log.files == 0 || workload.log.file_bytes == 0 {
        return Err(invalid("log", "keeps nothing; at least one file of one byte"));
    }
    let words = workload.entrypoint.iter().flatten().chain(&workload.command);
    let variables = workload.env.0.iter().flat_map(|(name, value)| [name, value]);
    if words.chain(variables).any(|text| text.len() > MAX_STRING_BYTES || text.contains('\0')) {
        let problem = format!("have an entry beyond {MAX_STRING_BYTES} bytes, or with a zero byte");
        return Err(invalid("command and environment", problem));
    }
    if workload.env.0.keys().any(|name| name.is_empty() || name.contains('=')) {
        return Err(invalid("environment", "has a name that is empty or holds ="));
    }
    let lists = [workload.command.len(), workload.env.0.len(), workload.mounts.len()];
    if lists.iter().any(|count| *count > MAX_ENTRIES) {
        return Err(invalid("command, environment and mounts", "have more than 256 entries"));
    }
    check_mounts(workload)
}

fn check_mounts(workload: &Workload) -> Result<(), EngineError> {
    let mut targets = BTreeSet::from(["/tmp"]);
    for mount in &workload.mounts {
        let target = Path::new(&mount.target);
        let plain = target.is_absolute()
            && target.components().all(|part| !matches!(part, std::path::Component::ParentDir))
            && !mount.target.ends_with('/');
        let reserved = ["/proc", "/sys", "/dev"].iter().any(|root| target.starts_with(root));
        if !plain || reserved || !mount.source.is_absolute() {
            let problem =
                format!("{:?} must be absolute, plain, outside /proc, /sys, /dev", mount.target);
            return Err(invalid("mount", problem));
        }
        if !targets.insert(&mount.target) {
            return Err(invalid("mount", format!("{:?} is there twice", mount.target)));
        }
    }
    Ok(())
}

/// Refuses what this machine does not offer.
fn offered(facts: &Facts, workload: &Workload) -> Result<(), EngineError> {
    let unsupported =
        |what, reason: &str| Err(EngineError::Unsupported { what, reason: reason.to_owned() });
    if !facts.has_runtime(workload.isolation) {
        let what = match workload.isolation {
            Isolation::Runc => "runc isolation",
            Isolation::Gvisor => "gVisor isolation",
        };
        let name = runtime_name(workload.isolation);
        return unsupported(what, &format!("the engine has no runtime named {name}"));
    }
    if !facts.seccomp() {
        return unsupported("tasks", "the engine filters no system calls (seccomp is off)");
    }
    let limits = facts.limits();
    if !(limits.memory && limits.cpu && limits.pids) {
        return unsupported("tasks", "the engine cannot limit memory, processor and processes");
    }
    Ok(())
}
