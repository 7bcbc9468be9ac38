//! The Docker Engine API as an [`Engine`].
//!
//! The connection is made at the first call and after every loss, so an agent may be older than
//! the engine it uses. Nothing of the engine's own configuration is changed.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use bollard::errors::Error as ApiError;
use bollard::{API_DEFAULT_VERSION, Docker};
use pouw_types::MachineId;
use tokio::sync::{OnceCell, watch};

use super::cgroup::Cgroups;
use super::scratch::ScratchFolder;
use super::{
    ContainerId, Created, Engine, EngineError, EngineInfo, ExecOutput, ExecRequest, Exit,
    ImageInfo, ImageRef, LogStream, MachineState, NetworkName, NetworkSeen, Observed, OurWorkload,
    Owner, PullProgress, Scope, Scratch, ScratchRequest, Stats, Workload, firewall,
};

mod create;
mod facts;
mod life;
mod logs;
mod look;
mod network;
mod pull;
mod reset;

use facts::Facts;

/// Where the engine answers if nothing else is said.
pub const DEFAULT_HOST: &str = "unix:///var/run/docker.sock";

/// How a machine's engine is used.
#[derive(Clone, Debug)]
pub struct DockerConfig {
    /// The machine: its label is on everything.
    pub machine: MachineId,
    /// The agent's data folder, an absolute path; scratch file systems are made below it.
    pub data: PathBuf,
    /// `unix://…` or `tcp://…`.
    pub host: String,
    /// How long one call may take, in milliseconds.
    pub call_timeout_ms: u64,
    /// Who resolves names for tasks that have the internet; resolvers in private networks are out
    /// of their reach.
    pub egress_dns: Vec<IpAddr>,
    /// What stays free on the disk beside a new scratch, in bytes.
    pub reserve_bytes: u64,
}

impl DockerConfig {
    /// The engine at `DOCKER_HOST`, else at the default socket.
    #[must_use]
    pub fn new(machine: MachineId, data: impl Into<PathBuf>) -> Self {
        let host = std::env::var("DOCKER_HOST").ok().filter(|host| !host.is_empty());
        Self {
            machine,
            data: data.into(),
            host: host.unwrap_or_else(|| DEFAULT_HOST.to_owned()),
            call_timeout_ms: 60_000,
            egress_dns: vec![
                IpAddr::V4(Ipv4Addr::new(9, 9, 9, 9)),
                IpAddr::V4(Ipv4Addr::new(1, 1, 1, 1)),
            ],
            reserve_bytes: 512 << 20,
        }
    }
}

/// A machine with a Docker engine.
#[derive(Debug)]
pub struct DockerEngine {
    config: DockerConfig,
    client: OnceCell<Docker>,
    scratch: ScratchFolder,
    cgroups: Cgroups,
    /// Digest of the firewall's rules as the kernel showed them when they were loaded.
    firewall: Mutex<Option<String>>,
    changes: std::sync::OnceLock<firewall::Changes>,
}

impl DockerEngine {
    /// An engine that is connected to at its first use.
    #[must_use]
    pub fn new(config: DockerConfig) -> Self {
        let scratch = ScratchFolder::new(&config.data, config.reserve_bytes);
        Self {
            config,
            client: OnceCell::new(),
            scratch,
            cgroups: Cgroups::new("/"),
            firewall: Mutex::default(),
            changes: std::sync::OnceLock::new(),
        }
    }

    /// How the engine is used.
    #[must_use]
    pub const fn config(&self) -> &DockerConfig {
        &self.config
    }

    fn machine_label(&self) -> String {
        format!("{:#x}", self.config.machine.get())
    }

    /// The connection, made where there is none yet.
    async fn client(&self) -> Result<&Docker, EngineError> {
        let connect = async {
            let host = &self.config.host;
            let seconds = self.config.call_timeout_ms.div_ceil(1_000).max(1);
            let client = if host.starts_with("unix://") {
                Docker::connect_with_unix(host, seconds, API_DEFAULT_VERSION)
            } else {
                Docker::connect_with_http(host, seconds, API_DEFAULT_VERSION)
            };
            let client = client.map_err(|error| self.failure("connect", "engine", error))?;
            let (operation, limit_ms) = ("negotiate a version", self.config.call_timeout_ms);
            let client = client.negotiate_version();
            let client = self.bound(operation, limit_ms, "engine", client).await?;
            let version = self.call("tell its version", "engine", client.version()).await?;
            match facts::podman(&version) {
                Some(name) => Err(EngineError::Foreign { address: host.clone(), name }),
                None => Ok(client),
            }
        };
        self.client.get_or_try_init(|| connect).await
    }

    /// Runs one call of the API within the usual time. `what` is named where it does not exist.
    async fn call<T>(
        &self,
        operation: &'static str,
        what: &str,
        call: impl Future<Output = Result<T, ApiError>>,
    ) -> Result<T, EngineError> {
        self.bound(operation, self.config.call_timeout_ms, what, call).await
    }

    async fn bound<T>(
        &self,
        operation: &'static str,
        after_ms: u64,
        what: &str,
        call: impl Future<Output = Result<T, ApiError>>,
    ) -> Result<T, EngineError> {
        match tokio::time::timeout(Duration::from_millis(after_ms), call).await {
            Ok(answer) => answer.map_err(|error| self.failure(operation, what, error)),
            Err(_) => Err(EngineError::Timeout { operation, after_ms }),
        }
    }

    fn failure(&self, operation: &'static str, what: &str, error: ApiError) -> EngineError {
        failure(&self.config, operation, what, error)
    }

    fn id_filter(&self) -> std::collections::HashMap<String, Vec<String>> {
        let label = format!("{}={}", super::workload::LABEL_MACHINE, self.machine_label());
        std::collections::HashMap::from([("label".to_owned(), vec![label])])
    }
}

/// What an error of the API means here.
fn failure(
    config: &DockerConfig,
    operation: &'static str,
    what: &str,
    error: ApiError,
) -> EngineError {
    match error {
        ApiError::DockerResponseServerError { status_code: 404, .. } => {
            EngineError::NotFound { what: what.to_owned() }
        }
        ApiError::DockerResponseServerError { status_code: 409, message } => {
            EngineError::Conflict { operation, reason: shortened(&message) }
        }
        ApiError::DockerResponseServerError { status_code, message } => {
            EngineError::Refused { operation, status: status_code, message: shortened(&message) }
        }
        ApiError::DockerStreamError { error } => {
            EngineError::Refused { operation, status: 0, message: shortened(&error) }
        }
        ApiError::RequestTimeoutError => {
            EngineError::Timeout { operation, after_ms: config.call_timeout_ms }
        }
        error @ (ApiError::SocketNotFoundError(_)
        | ApiError::HyperLegacyError { .. }
        | ApiError::HyperResponseError { .. }
        | ApiError::IOError { .. }) => EngineError::Unavailable {
            address: config.host.clone(),
            operation,
            source: Box::new(error),
        },
        error => {
            EngineError::Refused { operation, status: 0, message: shortened(&error.to_string()) }
        }
    }
}

fn shortened(text: &str) -> String {
    text.trim().chars().take(600).collect()
}

/// Takes "it is gone" for done.
fn gone_is_done(result: Result<(), EngineError>) -> Result<(), EngineError> {
    match result {
        Err(EngineError::NotFound { .. }) => Ok(()),
        other => other,
    }
}

#[async_trait]
impl Engine for DockerEngine {
    async fn describe(&self) -> Result<EngineInfo, EngineError> {
        self.describe_machine().await
    }

    async fn prepare(&self) -> Result<EngineInfo, EngineError> {
        let info = self.describe_machine().await?;
        if info.scratch {
            self.scratch.prepare()?;
        }
        if info.egress {
            self.load_firewall().await?;
        }
        Ok(info)
    }

    async fn pull(
        &self,
        image: &ImageRef,
        progress: &dyn PullProgress,
    ) -> Result<ImageInfo, EngineError> {
        self.pull_image(image, progress).await
    }

    async fn benchmarked_images(&self) -> Result<Vec<ImageRef>, EngineError> {
        self.images_with_bench().await
    }

    async fn create(&self, workload: &Workload) -> Result<Created, EngineError> {
        self.create_workload(workload).await
    }

    async fn start(&self, id: &ContainerId) -> Result<(), EngineError> {
        self.start_container(id).await
    }

    async fn pause(&self, id: &ContainerId) -> Result<(), EngineError> {
        self.pause_container(id).await
    }

    async fn unpause(&self, id: &ContainerId) -> Result<(), EngineError> {
        self.unpause_container(id).await
    }

    async fn stop(&self, id: &ContainerId, grace_s: u32) -> Result<(), EngineError> {
        self.stop_container(id, grace_s).await
    }

    async fn kill(&self, id: &ContainerId) -> Result<(), EngineError> {
        self.kill_container(id).await
    }

    async fn wait(&self, id: &ContainerId) -> Result<Exit, EngineError> {
        self.wait_container(id).await
    }

    async fn inspect(&self, id: &ContainerId) -> Result<Observed, EngineError> {
        self.observe(id).await
    }

    async fn stats(&self, id: &ContainerId) -> Result<Stats, EngineError> {
        self.usage(id).await
    }

    async fn logs(
        &self,
        id: &ContainerId,
        follow: bool,
        since_ns: u64,
    ) -> Result<LogStream, EngineError> {
        self.log_stream(id, follow, since_ns).await
    }

    async fn exec(
        &self,
        id: &ContainerId,
        request: &ExecRequest,
    ) -> Result<ExecOutput, EngineError> {
        self.run_inside(id, request).await
    }

    async fn remove(&self, id: &ContainerId) -> Result<(), EngineError> {
        self.remove_container(id).await
    }

    async fn create_network(&self, owner: &Owner) -> Result<NetworkName, EngineError> {
        self.make_network(owner).await
    }

    async fn remove_network(&self, owner: &Owner) -> Result<(), EngineError> {
        self.drop_network(owner).await
    }

    async fn watch_network(&self, owner: &Owner) -> Result<NetworkSeen, EngineError> {
        self.watch_bridge(owner).await
    }

    async fn guard_network(&self, owner: &Owner) -> Result<(), EngineError> {
        self.put_guard_up(owner).await
    }

    fn firewall_changes(&self) -> watch::Receiver<()> {
        self.changes.get_or_init(firewall::Changes::listen).heard()
    }

    async fn create_scratch(&self, request: &ScratchRequest) -> Result<Scratch, EngineError> {
        let facts = self.facts().await?;
        self.scratch.create(request, facts.outside(request.user)?).await
    }

    async fn remove_scratch(&self, owner: &Owner) -> Result<(), EngineError> {
        self.scratch.remove(owner).await
    }

    async fn list_ours(&self) -> Result<Vec<OurWorkload>, EngineError> {
        self.list_workloads().await
    }

    async fn snapshot(&self, scope: Scope) -> Result<MachineState, EngineError> {
        self.state(scope).await
    }

    async fn reset_to(&self, saved: &MachineState) -> Result<(), EngineError> {
        self.reset(saved).await
    }
}
