//! The machine as the agent uses it: containers, scratch space, networks, and its own traces.
//!
//! [`Engine`] is everything the ten steps ask of a machine. [`DockerEngine`] answers by the Docker
//! Engine API and the system's own tools; `fake` answers in memory, with faults on demand.
//!
//! # Invariants
//! * Whatever an engine makes carries the labels of [`Owner`], or lies below the engine's data
//!   folder. Nothing else is ever touched.
//! * A container that differs in anything from its [`Workload`] is removed, never started.
//! * Removing what is gone succeeds. Every call ends within a bound.
//! * What a machine lacks is said in [`EngineInfo::missing`] and refused when asked for; it is
//!   never replaced by something weaker.

use async_trait::async_trait;

pub mod cgroup;
mod docker;
mod error;
#[cfg(any(test, feature = "fake"))]
pub mod fake;
pub mod firewall;
mod inspect;
mod mounts;
mod report;
mod scratch;
mod state;
mod tool;
mod traces;
mod workload;

pub use docker::{DEFAULT_HOST, DockerConfig, DockerEngine};

pub use error::{Difference, EngineError};
pub use report::{
    CgroupLayout, Channel, Created, EngineInfo, ExecOutput, Exit, ImageInfo, Limits, LogLine,
    LogStream, Missing, NetworkSeen, Observed, OurWorkload, Phase, PullProgress, PullStatus, Stats,
};
pub use state::{MachineState, Scope};
pub use tool::NEEDED as NEEDED_AS_ROOT;
pub use workload::{
    Access, BindMount, ContainerId, Environment, ExecRequest, ImageRef, LogLimits, NetworkMode,
    NetworkName, Owner, ParseImageRefError, Scratch, ScratchRequest, StepName, User, Workload,
};

/// What the ten steps ask of a machine.
///
/// Every method may be called again after a crash: making what is there already and removing what
/// is gone both succeed.
#[async_trait]
pub trait Engine: Send + Sync {
    /// Says what this machine can do, and what it lacks with the reason.
    async fn describe(&self) -> Result<EngineInfo, EngineError>;

    /// Readies the machine: folders, and the firewall where there is one. Called once at start.
    async fn prepare(&self) -> Result<EngineInfo, EngineError>;

    /// Brings an image here by its digest; one that is here already is not asked for again.
    async fn pull(
        &self,
        image: &ImageRef,
        progress: &dyn PullProgress,
    ) -> Result<ImageInfo, EngineError>;

    /// The images on this machine that bring a benchmark, by the digests they were pulled by, or by
    /// their identity.
    async fn benchmarked_images(&self) -> Result<Vec<ImageRef>, EngineError>;

    /// Makes a container, compares it with what was asked, and does not start it.
    ///
    /// # Errors
    /// [`EngineError::Differs`] after removing the container where anything differs.
    async fn create(&self, workload: &Workload) -> Result<Created, EngineError>;

    /// Starts a container; one that runs already stays as it is.
    async fn start(&self, id: &ContainerId) -> Result<(), EngineError>;

    /// Freezes a container.
    async fn pause(&self, id: &ContainerId) -> Result<(), EngineError>;

    /// Lets a frozen container go on.
    async fn unpause(&self, id: &ContainerId) -> Result<(), EngineError>;

    /// Asks a container to end, and kills it after `grace_s` seconds.
    async fn stop(&self, id: &ContainerId, grace_s: u32) -> Result<(), EngineError>;

    /// Ends a container at once.
    async fn kill(&self, id: &ContainerId) -> Result<(), EngineError>;

    /// Waits until a started container has ended.
    ///
    /// Returns [`EngineError::Unavailable`] when the engine goes away meanwhile: call again.
    async fn wait(&self, id: &ContainerId) -> Result<Exit, EngineError>;

    /// Looks at a container now.
    async fn inspect(&self, id: &ContainerId) -> Result<Observed, EngineError>;

    /// What a running container uses.
    async fn stats(&self, id: &ContainerId) -> Result<Stats, EngineError>;

    /// What a container writes, from `since_ns` (Unix nanoseconds, exclusive; 0 for all) on.
    ///
    /// With `follow` the stream goes on until the container has ended, over pauses and over
    /// restarts of the engine.
    async fn logs(
        &self,
        id: &ContainerId,
        follow: bool,
        since_ns: u64,
    ) -> Result<LogStream, EngineError>;

    /// Runs a command inside a running container. One that takes too long is ended, with all that
    /// it started.
    async fn exec(
        &self,
        id: &ContainerId,
        request: &ExecRequest,
    ) -> Result<ExecOutput, EngineError>;

    /// Removes a container, running or not.
    async fn remove(&self, id: &ContainerId) -> Result<(), EngineError>;

    /// Makes the rental's own bridge, from which only the internet can be reached.
    ///
    /// # Errors
    /// [`EngineError::Unsupported`] where the machine cannot keep its tasks off its own network.
    async fn create_network(&self, owner: &Owner) -> Result<NetworkName, EngineError>;

    /// Removes the rental's bridge.
    async fn remove_network(&self, owner: &Owner) -> Result<(), EngineError>;

    /// Looks at a rental's bridge: whether the firewall around it is as it was loaded, and how much
    /// passed the bridge.
    async fn watch_network(&self, owner: &Owner) -> Result<NetworkSeen, EngineError>;

    /// Puts the firewall around a rental's bridge up again, whatever became of it.
    async fn guard_network(&self, owner: &Owner) -> Result<(), EngineError>;

    /// Marked as changed whenever the machine's firewall rules may have; closed where nothing is
    /// heard of changes.
    fn firewall_changes(&self) -> tokio::sync::watch::Receiver<()>;

    /// Makes a file system of a fixed size for a rental, mounted on this machine.
    async fn create_scratch(&self, request: &ScratchRequest) -> Result<Scratch, EngineError>;

    /// Unmounts and deletes a rental's file system.
    async fn remove_scratch(&self, owner: &Owner) -> Result<(), EngineError>;

    /// Every container that carries this machine's label.
    async fn list_ours(&self) -> Result<Vec<OurWorkload>, EngineError>;

    /// What of ours is on this machine now (the step *save*).
    async fn snapshot(&self, scope: Scope) -> Result<MachineState, EngineError>;

    /// Removes whatever of ours is not in `saved` (the step *reset*), until a snapshot equals it.
    ///
    /// # Errors
    /// [`EngineError::NotReset`] naming what is left over, or gone.
    async fn reset_to(&self, saved: &MachineState) -> Result<(), EngineError>;
}
