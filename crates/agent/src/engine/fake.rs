//! An engine in memory, with faults on demand: for tests of what uses an engine.
//!
//! A container runs until the test ends it by [`FakeEngine::finish`], unless an exit was set before
//! by [`FakeEngine::on_start`]. [`FakeEngine::fail`] makes the next call of an operation fail,
//! [`FakeEngine::set_down`] makes all fail as if the engine were stopped.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use futures::StreamExt;
use pouw_types::Isolation;
use tokio::sync::{Notify, watch};

use super::{
    CgroupLayout, ContainerId, Created, Engine, EngineError, EngineInfo, ExecOutput, ExecRequest,
    Exit, ImageInfo, ImageRef, Limits, LogLine, LogStream, MachineState, NetworkName, NetworkSeen,
    Observed, OurWorkload, Owner, Phase, PullProgress, PullStatus, Scope, Scratch, ScratchRequest,
    Stats, User, Workload,
};

/// What a container does when it is started.
#[derive(Clone, Debug, Default)]
pub struct Script {
    /// Ends at once like this; runs until told otherwise without.
    pub exit: Option<Exit>,
    /// What it has written.
    pub lines: Vec<LogLine>,
    /// What it uses.
    pub stats: Stats,
    /// Whether it ends only when killed.
    pub ignores_stop: bool,
    /// Files it writes when started, below the machine's folder that is mounted at the path's
    /// first matching target: absolute paths as the task sees them.
    pub files: BTreeMap<String, Vec<u8>>,
}

#[derive(Debug)]
struct FakeContainer {
    workload: Workload,
    phase: Phase,
    exit: Option<Exit>,
    script: Script,
    stats: Stats,
}

#[derive(Debug, Default)]
struct Inner {
    down: bool,
    next_id: u64,
    containers: BTreeMap<ContainerId, FakeContainer>,
    networks: BTreeMap<String, Owner>,
    scratch: BTreeMap<PathBuf, (Owner, u64)>,
    images: BTreeMap<ImageRef, ImageInfo>,
    pulled: BTreeSet<ImageRef>,
    faults: BTreeMap<&'static str, VecDeque<EngineError>>,
    scripts: BTreeMap<String, Script>,
    execs: VecDeque<ExecOutput>,
    calls: Vec<String>,
    /// Where running containers are reached.
    address: Option<std::net::IpAddr>,
    /// Bytes that passed each rental's bridge.
    traffic: BTreeMap<String, u64>,
    /// Whether another program took the firewall away.
    firewall_gone: bool,
}

/// An engine in memory.
#[derive(Clone, Debug)]
pub struct FakeEngine {
    inner: Arc<Mutex<Inner>>,
    changed: Arc<Notify>,
    folder: PathBuf,
    clock_ms: Arc<dyn Clock>,
    firewall: watch::Sender<()>,
}

/// Where a fake engine takes its time from.
pub trait Clock: Send + Sync + core::fmt::Debug {
    /// Unix milliseconds.
    fn now_ms(&self) -> u64;
}

#[derive(Debug)]
struct WallClock;

impl Clock for WallClock {
    fn now_ms(&self) -> u64 {
        u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or(0)
    }
}

impl FakeEngine {
    /// An engine with no image, whose scratch folders are made below `folder`.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self::with_clock(folder, Arc::new(WallClock))
    }

    /// The same, with a clock of the test's own.
    #[must_use]
    pub fn with_clock(folder: impl Into<PathBuf>, clock_ms: Arc<dyn Clock>) -> Self {
        Self {
            inner: Arc::default(),
            changed: Arc::new(Notify::new()),
            folder: folder.into(),
            clock_ms,
            firewall: watch::Sender::new(()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts an image where it can be pulled.
    pub fn add_image(&self, image: ImageInfo) {
        self.lock().images.insert(image.reference.clone(), image);
    }

    /// Puts an image with these labels where it can be pulled.
    pub fn add_plain_image(&self, reference: &ImageRef, labels: BTreeMap<String, String>) {
        self.add_image(ImageInfo {
            reference: reference.clone(),
            id: reference.digest(),
            size_bytes: 2_000_000,
            labels,
            user: String::new(),
            entrypoint: Vec::new(),
            command: vec!["/bin/sh".to_owned()],
            workdir: String::new(),
            arch: "amd64".to_owned(),
        });
    }

    /// Makes the next call of `operation` (a method's name) fail; several queue up.
    pub fn fail(&self, operation: &'static str, error: EngineError) {
        self.lock().faults.entry(operation).or_default().push_back(error);
    }

    /// Stops the engine, or starts it again; containers go on meanwhile.
    pub fn set_down(&self, down: bool) {
        self.lock().down = down;
        self.changed.notify_waiters();
    }

    /// Says what containers of a step do from their next start on.
    pub fn on_start(&self, step: &str, script: Script) {
        self.lock().scripts.insert(step.to_owned(), script);
    }

    /// Queues what the next command inside a container answers; success without output otherwise.
    pub fn on_exec(&self, output: ExecOutput) {
        self.lock().execs.push_back(output);
    }

    /// Ends a running container.
    pub fn finish(&self, id: &ContainerId, code: i64, oom_killed: bool) {
        let now = self.clock_ms.now_ms();
        if let Some(container) = self.lock().containers.get_mut(id) {
            end(container, code, oom_killed, now);
        }
        self.changed.notify_waiters();
    }

    /// Says what a container has used.
    pub fn set_stats(&self, id: &ContainerId, stats: Stats) {
        if let Some(container) = self.lock().containers.get_mut(id) {
            container.stats = stats;
        }
    }

    /// Says how much has passed a rental's bridge.
    pub fn set_traffic(&self, owner: &Owner, bytes: u64) {
        self.lock().traffic.insert(owner.bridge_name(), bytes);
    }

    /// Says where running containers are reached.
    pub fn set_address(&self, address: std::net::IpAddr) {
        self.lock().address = Some(address);
    }

    /// Takes the firewall away, as another program may; with `told`, the agent hears of it at once.
    pub fn flush_firewall(&self, told: bool) {
        self.lock().firewall_gone = true;
        if told {
            self.firewall.send_replace(());
        }
    }

    /// Adds a line to what a container has written.
    pub fn write_line(&self, id: &ContainerId, line: LogLine) {
        if let Some(container) = self.lock().containers.get_mut(id) {
            container.script.lines.push(line);
        }
        self.changed.notify_waiters();
    }

    /// The containers there are, with where each is in its life.
    #[must_use]
    pub fn containers(&self) -> Vec<(ContainerId, Workload, Phase)> {
        let inner = self.lock();
        inner.containers.iter().map(|(id, c)| (id.clone(), c.workload.clone(), c.phase)).collect()
    }

    /// Every call so far, as the method's name and what it was about.
    #[must_use]
    pub fn calls(&self) -> Vec<String> {
        self.lock().calls.clone()
    }

    /// Notes a call, and fails it where a test asked for that.
    fn enter(
        &self,
        operation: &'static str,
        about: &str,
    ) -> Result<MutexGuard<'_, Inner>, EngineError> {
        let mut inner = self.lock();
        inner.calls.push(format!("{operation} {about}").trim_end().to_owned());
        if inner.down {
            return Err(EngineError::Unavailable {
                address: "fake".to_owned(),
                operation,
                source: "the test stopped it".into(),
            });
        }
        match inner.faults.get_mut(operation).and_then(VecDeque::pop_front) {
            Some(error) => Err(error),
            None => Ok(inner),
        }
    }

    fn info() -> EngineInfo {
        let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        EngineInfo {
            version: "fake 1".to_owned(),
            address: "fake".to_owned(),
            isolation: vec![Isolation::Runc],
            cgroup: CgroupLayout::V2,
            limits: Limits { memory: true, swap: true, cpu: true, pids: true },
            user_namespaces: false,
            storage_driver: "memory".to_owned(),
            egress: true,
            scratch: true,
            task_user: if uid == 0 { User::default() } else { User { uid, gid } },
            cores: 2,
            memory_bytes: 8 << 30,
            missing: Vec::new(),
        }
    }

    fn write_files(container: &FakeContainer) -> Result<(), EngineError> {
        for (path, bytes) in &container.script.files {
            let found = container.workload.mounts.iter().find_map(|mount| {
                let rest = path.strip_prefix(&mount.target)?.strip_prefix('/')?;
                Some(mount.source.join(rest))
            });
            let Some(target) = found else { continue };
            let io = |source| EngineError::Io { operation: "write", path: target.clone(), source };
            if let Some(parent) = target.parent() {
                std::fs::create_dir_all(parent).map_err(io)?;
            }
            std::fs::write(&target, bytes).map_err(io)?;
        }
        Ok(())
    }
}

fn end(container: &mut FakeContainer, code: i64, oom_killed: bool, now_ms: u64) {
    if matches!(container.phase, Phase::Running | Phase::Paused) {
        let started_ms = container.exit.map_or(now_ms, |exit| exit.started_ms);
        container.phase = Phase::Exited;
        container.exit = Some(Exit {
            code,
            oom_killed,
            signal: u8::try_from(code - 128).ok().filter(|signal| (1..=64).contains(signal)),
            started_ms,
            finished_ms: now_ms,
        });
    }
}

fn find<'a>(inner: &'a mut Inner, id: &ContainerId) -> Result<&'a mut FakeContainer, EngineError> {
    inner
        .containers
        .get_mut(id)
        .ok_or_else(|| EngineError::NotFound { what: format!("container {id}") })
}

fn wrong_phase(operation: &'static str, phase: Phase) -> EngineError {
    EngineError::Conflict { operation, reason: format!("the container is {phase:?}") }
}

#[async_trait]
impl Engine for FakeEngine {
    async fn describe(&self) -> Result<EngineInfo, EngineError> {
        drop(self.enter("describe", "")?);
        Ok(Self::info())
    }

    async fn prepare(&self) -> Result<EngineInfo, EngineError> {
        drop(self.enter("prepare", "")?);
        Ok(Self::info())
    }

    async fn pull(
        &self,
        image: &ImageRef,
        progress: &dyn PullProgress,
    ) -> Result<ImageInfo, EngineError> {
        let mut inner = self.enter("pull", &image.to_string())?;
        let found =
            inner.images.get(image).cloned().ok_or_else(|| EngineError::ImageUnavailable {
                image: image.to_string(),
                reason: "manifest unknown".to_owned(),
            })?;
        inner.pulled.insert(image.clone());
        drop(inner);
        for done in [0, found.size_bytes / 2, found.size_bytes] {
            progress.update(PullStatus {
                layers_done: u32::from(done == found.size_bytes),
                layers_total: 1,
                done_bytes: done,
                total_bytes: found.size_bytes,
            });
        }
        Ok(found)
    }

    async fn benchmarked_images(&self) -> Result<Vec<ImageRef>, EngineError> {
        let inner = self.enter("benchmarked_images", "")?;
        let brings = |image: &&ImageInfo| image.labels.contains_key("pouw.bench");
        let here = inner.pulled.iter().filter_map(|name| inner.images.get(name)).filter(brings);
        Ok(here.map(|image| image.reference.clone()).collect())
    }

    async fn create(&self, workload: &Workload) -> Result<Created, EngineError> {
        let name = workload.owner.container_name(&workload.step);
        let mut inner = self.enter("create", &name)?;
        if !inner.pulled.contains(&workload.image) {
            return Err(EngineError::NotFound { what: format!("image {}", workload.image) });
        }
        let existing = inner
            .containers
            .iter()
            .find(|(_, c)| c.workload.owner == workload.owner && c.workload.step == workload.step);
        if let Some((id, container)) = existing {
            return if container.workload == *workload && container.phase == Phase::Created {
                Ok(Created { id: id.clone() })
            } else {
                Err(wrong_phase("create a container under a name in use", container.phase))
            };
        }
        inner.next_id += 1;
        let id = ContainerId::new(format!("fake-{}", inner.next_id));
        let container = FakeContainer {
            workload: workload.clone(),
            phase: Phase::Created,
            exit: None,
            script: Script::default(),
            stats: Stats::default(),
        };
        inner.containers.insert(id.clone(), container);
        Ok(Created { id })
    }

    async fn start(&self, id: &ContainerId) -> Result<(), EngineError> {
        let now = self.clock_ms.now_ms();
        let mut inner = self.enter("start", id.as_str())?;
        let step = find(&mut inner, id)?.workload.step.as_str().to_owned();
        let script = inner.scripts.get(&step).cloned().unwrap_or_default();
        let container = find(&mut inner, id)?;
        if container.phase == Phase::Running {
            return Ok(());
        }
        if container.phase != Phase::Created {
            return Err(wrong_phase("start the container", container.phase));
        }
        container.phase = Phase::Running;
        container.exit = Some(Exit {
            code: 0,
            oom_killed: false,
            signal: None,
            started_ms: now,
            finished_ms: 0,
        });
        container.stats = script.stats;
        container.script = script;
        Self::write_files(container)?;
        if let Some(exit) = container.script.exit {
            end(container, exit.code, exit.oom_killed, now);
        }
        drop(inner);
        self.changed.notify_waiters();
        Ok(())
    }

    async fn pause(&self, id: &ContainerId) -> Result<(), EngineError> {
        let mut inner = self.enter("pause", id.as_str())?;
        let container = find(&mut inner, id)?;
        match container.phase {
            Phase::Running | Phase::Paused => {
                container.phase = Phase::Paused;
                Ok(())
            }
            phase @ (Phase::Created | Phase::Exited) => {
                Err(wrong_phase("pause the container", phase))
            }
        }
    }

    async fn unpause(&self, id: &ContainerId) -> Result<(), EngineError> {
        let mut inner = self.enter("unpause", id.as_str())?;
        let container = find(&mut inner, id)?;
        match container.phase {
            Phase::Running | Phase::Paused => {
                container.phase = Phase::Running;
                Ok(())
            }
            phase @ (Phase::Created | Phase::Exited) => {
                Err(wrong_phase("unpause the container", phase))
            }
        }
    }

    async fn stop(&self, id: &ContainerId, grace_s: u32) -> Result<(), EngineError> {
        let now = self.clock_ms.now_ms();
        let mut inner = self.enter("stop", &format!("{id} {grace_s}"))?;
        if let Some(container) = inner.containers.get_mut(id) {
            let code = if container.script.ignores_stop { 137 } else { 143 };
            end(container, code, false, now);
        }
        drop(inner);
        self.changed.notify_waiters();
        Ok(())
    }

    async fn kill(&self, id: &ContainerId) -> Result<(), EngineError> {
        drop(self.enter("kill", id.as_str())?);
        self.finish(id, 137, false);
        Ok(())
    }

    async fn wait(&self, id: &ContainerId) -> Result<Exit, EngineError> {
        drop(self.enter("wait", id.as_str())?);
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            {
                let mut inner = self.lock();
                if inner.down {
                    return Err(EngineError::Unavailable {
                        address: "fake".to_owned(),
                        operation: "wait",
                        source: "the test stopped it".into(),
                    });
                }
                let container = find(&mut inner, id)?;
                match (container.phase, container.exit) {
                    (Phase::Exited, Some(exit)) => return Ok(exit),
                    (Phase::Created, _) => {
                        return Err(wrong_phase("wait for the container", Phase::Created));
                    }
                    _ => {}
                }
            }
            changed.await;
        }
    }

    async fn inspect(&self, id: &ContainerId) -> Result<Observed, EngineError> {
        let mut inner = self.enter("inspect", id.as_str())?;
        let address = inner.address;
        let container = find(&mut inner, id)?;
        Ok(Observed {
            phase: container.phase,
            started_ms: container.exit.map_or(0, |exit| exit.started_ms),
            exit: container.exit.filter(|_| container.phase == Phase::Exited),
            address,
            pid: 0,
        })
    }

    async fn stats(&self, id: &ContainerId) -> Result<Stats, EngineError> {
        let mut inner = self.enter("stats", id.as_str())?;
        Ok(find(&mut inner, id)?.stats)
    }

    async fn logs(
        &self,
        id: &ContainerId,
        follow: bool,
        since_ns: u64,
    ) -> Result<LogStream, EngineError> {
        find(&mut *self.enter("logs", id.as_str())?, id)?;
        let (engine, id) = (self.clone(), id.clone());
        let stream = futures::stream::unfold(0_usize, move |at| {
            let (engine, id) = (engine.clone(), id.clone());
            async move {
                loop {
                    let changed = engine.changed.notified();
                    tokio::pin!(changed);
                    changed.as_mut().enable();
                    {
                        let inner = engine.lock();
                        let container = inner.containers.get(&id)?;
                        if let Some(line) = container.script.lines.get(at) {
                            return Some((Ok(line.clone()), at + 1));
                        }
                        if !follow || container.phase == Phase::Exited {
                            return None;
                        }
                    }
                    changed.await;
                }
            }
        });
        let wanted = move |line: &Result<LogLine, EngineError>| {
            let keep = line.as_ref().map_or(true, |l| since_ns == 0 || l.time_ns > since_ns);
            futures::future::ready(keep)
        };
        Ok(stream.filter(wanted).boxed())
    }

    async fn exec(
        &self,
        id: &ContainerId,
        request: &ExecRequest,
    ) -> Result<ExecOutput, EngineError> {
        let mut inner = self.enter("exec", &format!("{id} {}", request.command.join(" ")))?;
        let container = find(&mut inner, id)?;
        if container.phase != Phase::Running {
            return Err(wrong_phase("run a command in the container", container.phase));
        }
        Ok(inner.execs.pop_front().unwrap_or(ExecOutput {
            code: 0,
            stdout: String::new(),
            stderr: String::new(),
            truncated: false,
        }))
    }

    async fn remove(&self, id: &ContainerId) -> Result<(), EngineError> {
        self.enter("remove", id.as_str())?.containers.remove(id);
        self.changed.notify_waiters();
        Ok(())
    }

    async fn create_network(&self, owner: &Owner) -> Result<NetworkName, EngineError> {
        let name = owner.bridge_name();
        self.enter("create_network", &name)?.networks.insert(name.clone(), *owner);
        Ok(NetworkName::new(name))
    }

    async fn remove_network(&self, owner: &Owner) -> Result<(), EngineError> {
        let name = owner.bridge_name();
        self.enter("remove_network", &name)?.networks.remove(&name);
        Ok(())
    }

    async fn watch_network(&self, owner: &Owner) -> Result<NetworkSeen, EngineError> {
        let name = owner.bridge_name();
        let inner = self.enter("watch_network", &name)?;
        let bytes = inner.traffic.get(&name).copied().unwrap_or(0);
        let gone = inner.firewall_gone;
        Ok(NetworkSeen { guarded: !gone, bytes: (!gone).then_some(bytes) })
    }

    async fn guard_network(&self, owner: &Owner) -> Result<(), EngineError> {
        let name = owner.bridge_name();
        let mut inner = self.enter("guard_network", &name)?;
        if inner.firewall_gone {
            inner.firewall_gone = false;
            // What was counted went with the rules.
            inner.traffic.clear();
        }
        Ok(())
    }

    fn firewall_changes(&self) -> watch::Receiver<()> {
        self.firewall.subscribe()
    }

    async fn create_scratch(&self, request: &ScratchRequest) -> Result<Scratch, EngineError> {
        let path = self.folder.join(request.owner.file_stem());
        let mut inner = self.enter("create_scratch", &request.owner.file_stem())?;
        let scratch = Scratch { path: path.clone(), size_bytes: request.size_bytes };
        for folder in [scratch.work(), scratch.inputs()] {
            std::fs::create_dir_all(&folder).map_err(|source| EngineError::Io {
                operation: "make the folder",
                path: folder,
                source,
            })?;
        }
        inner.scratch.insert(path, (request.owner, request.size_bytes));
        Ok(scratch)
    }

    async fn remove_scratch(&self, owner: &Owner) -> Result<(), EngineError> {
        let path = self.folder.join(owner.file_stem());
        self.enter("remove_scratch", &owner.file_stem())?.scratch.remove(&path);
        remove_tree(path)
    }

    async fn list_ours(&self) -> Result<Vec<OurWorkload>, EngineError> {
        let inner = self.enter("list_ours", "")?;
        let list = inner.containers.iter().map(|(id, container)| OurWorkload {
            id: id.clone(),
            name: container.workload.owner.container_name(&container.workload.step),
            rental: container.workload.owner.rental,
            step: container.workload.step.clone(),
            phase: container.phase,
        });
        Ok(list.collect())
    }

    async fn snapshot(&self, scope: Scope) -> Result<MachineState, EngineError> {
        let inner = self.enter("snapshot", "")?;
        Ok(state_of(&inner, scope))
    }

    async fn reset_to(&self, saved: &MachineState) -> Result<(), EngineError> {
        let mut inner = self.enter("reset_to", "")?;
        let scope = saved.scope;
        inner.containers.retain(|id, c| {
            !within(scope, &c.workload.owner) || saved.containers.contains(id.as_str())
        });
        inner.networks.retain(|name, o| !within(scope, o) || saved.networks.contains(name));
        let gone: Vec<PathBuf> = inner
            .scratch
            .iter()
            .filter(|(path, (owner, _))| {
                within(scope, owner) && !saved.mounts.contains(&path.display().to_string())
            })
            .map(|(path, _)| path.clone())
            .collect();
        for path in gone {
            inner.scratch.remove(&path);
            remove_tree(path)?;
        }
        let (left_over, gone) = state_of(&inner, scope).difference(saved);
        drop(inner);
        self.changed.notify_waiters();
        if left_over.is_empty() && gone.is_empty() {
            Ok(())
        } else {
            Err(EngineError::NotReset { left_over, gone })
        }
    }
}

fn within(scope: Scope, owner: &Owner) -> bool {
    match scope {
        Scope::Machine => true,
        Scope::Rental(rental) => owner.rental == rental,
    }
}

fn state_of(inner: &Inner, scope: Scope) -> MachineState {
    let mut state = MachineState::empty(scope);
    let containers = inner.containers.iter().filter(|(_, c)| within(scope, &c.workload.owner));
    state.containers = containers.map(|(id, _)| id.as_str().to_owned()).collect();
    let networks = inner.networks.iter().filter(|(_, owner)| within(scope, owner));
    state.networks = networks.map(|(name, _)| name.clone()).collect();
    let mounts = inner.scratch.iter().filter(|(_, (owner, _))| within(scope, owner));
    state.mounts = mounts.map(|(path, _)| path.display().to_string()).collect();
    state
}

fn remove_tree(path: PathBuf) -> Result<(), EngineError> {
    match std::fs::remove_dir_all(&path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(EngineError::Io { operation: "remove", path, source })
        }
        _ => Ok(()),
    }
}
