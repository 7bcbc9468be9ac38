//! What the tests stand on: a machine of their own on the real engine, and an image of busybox.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bollard::models::ImageInspect;
use bollard::query_parameters::CreateImageOptionsBuilder;
use bollard::{API_DEFAULT_VERSION, Docker};
use futures::{FutureExt, StreamExt};
use pouw_agent::engine::{
    ContainerId, DockerConfig, DockerEngine, Engine as _, Environment, Exit, ImageRef, LogLimits,
    LogLine, MachineState, NetworkMode, Owner, Scope, StepName, User, Workload,
};
use pouw_types::{Isolation, MachineId, RentalId};

/// How long anything may take before a test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Laboratory {
    pub(crate) engine: DockerEngine,
    pub(crate) docker: Docker,
    pub(crate) image: ImageRef,
    pub(crate) owner: Owner,
    pub(crate) folder: PathBuf,
}

/// Runs a test on a machine of its own, and clears the machine whatever came of it.
pub(crate) async fn on_own_machine<F, T>(test: T)
where
    F: Future<Output = ()>,
    T: FnOnce(std::sync::Arc<Laboratory>) -> F,
{
    let data = tempfile::tempdir().expect("a temporary folder");
    let lab = std::sync::Arc::new(Laboratory::new(data.path(), None).await);
    let result = std::panic::AssertUnwindSafe(test(lab.clone())).catch_unwind().await;
    let cleared = lab.engine.reset_to(&lab.nothing().await).await;
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
    cleared.expect("the machine is clear afterwards");
}

/// A machine that no other test has.
fn own_machine() -> MachineId {
    let mut bytes = [0; 20];
    let unique = tempfile::Builder::new().rand_bytes(20).tempfile().expect("a unique name");
    let name = unique.path().file_name().expect("a name").as_encoded_bytes();
    bytes.copy_from_slice(&blake3::hash(name).as_bytes()[..20]);
    MachineId::new(bytes.into())
}

impl Laboratory {
    pub(crate) async fn new(data: &Path, host: Option<String>) -> Self {
        let machine = own_machine();
        let mut config = DockerConfig::new(machine, data);
        if let Some(host) = host {
            config.host = host;
        }
        config.reserve_bytes = 0;
        let docker = Docker::connect_with_unix(&config.host, 60, API_DEFAULT_VERSION)
            .expect("a Docker engine at DOCKER_HOST or the default socket")
            .negotiate_version()
            .await
            .expect("the Docker engine answers");
        let image = import_busybox(&docker).await;
        let engine = DockerEngine::new(config);
        let rental = RentalId::new((*blake3::hash(machine.get().as_slice()).as_bytes()).into());
        engine.prepare().await.expect("the machine can be made ready");
        Self { engine, docker, image, owner: Owner { machine, rental }, folder: data.to_owned() }
    }

    /// A machine without anything of ours, its firewall as it is.
    pub(crate) async fn nothing(&self) -> MachineState {
        let firewall = self.engine.snapshot(Scope::Machine).await.expect("a snapshot").firewall;
        MachineState { firewall, ..MachineState::empty(Scope::Machine) }
    }

    pub(crate) fn workload(&self, step: &str, script: &str) -> Workload {
        Workload {
            owner: self.owner,
            step: StepName::new(step).expect("a step name"),
            image: self.image.clone(),
            entrypoint: None,
            command: ["/bin/sh", "-c", script].map(ToOwned::to_owned).to_vec(),
            env: Environment(BTreeMap::from([("GREETING".to_owned(), "a = b".to_owned())])),
            workdir: Some("/tmp".to_owned()),
            user: User::default(),
            cpu_millis: 500,
            memory_bytes: 64 << 20,
            pids: 32,
            tmp_bytes: 8 << 20,
            isolation: Isolation::Runc,
            network: NetworkMode::None,
            mounts: Vec::new(),
            log: LogLimits::default(),
        }
    }

    /// Makes and starts a container.
    pub(crate) async fn start(&self, workload: &Workload) -> ContainerId {
        let id = self.engine.create(workload).await.expect("created").id;
        self.engine.start(&id).await.expect("started");
        id
    }

    /// Runs a container to its end, and returns how it ended and what it wrote.
    pub(crate) async fn run(&self, workload: &Workload) -> (Exit, String) {
        let id = self.start(workload).await;
        let exit = soon(self.engine.wait(&id)).await.expect("ended");
        let text = self.written(&id).await;
        self.engine.remove(&id).await.expect("removed");
        (exit, text)
    }

    /// All that an ended container wrote.
    pub(crate) async fn written(&self, id: &ContainerId) -> String {
        let lines: Vec<LogLine> = soon(
            self.engine
                .logs(id, false, 0)
                .await
                .expect("a log")
                .map(|line| line.expect("a line"))
                .collect(),
        )
        .await;
        lines.into_iter().map(|line| line.text + "\n").collect()
    }

    /// Waits until a running container has written a line.
    pub(crate) async fn wait_for_line(&self, id: &ContainerId, text: &str) {
        let mut lines = self.engine.logs(id, true, 0).await.expect("a log");
        let search = async {
            while let Some(line) = lines.next().await {
                if line.expect("a line").text.contains(text) {
                    return true;
                }
            }
            false
        };
        assert!(soon(search).await, "{text:?} was never written");
    }
}

/// The result, unless it takes too long.
pub(crate) async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("done within the test's patience")
}

/// Waits for a condition.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let start = Instant::now();
    while !holds().await {
        assert!(start.elapsed() < PATIENCE, "never came: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// An image with busybox alone, made once and known by its identity.
pub(crate) async fn import_busybox(docker: &Docker) -> ImageRef {
    import(docker, "pouw-lab/busybox", &[]).await
}

/// The same with a benchmark: a loop of the shell that measures itself.
pub(crate) async fn import_bench(docker: &Docker) -> ImageRef {
    let command = r#"LABEL pouw.bench='["/bin/sh","/bin/bench"]'"#;
    import(docker, "pouw-lab/bench", &[command, "LABEL pouw.use-case=rendering"]).await
}

async fn import(docker: &Docker, name: &str, changes: &[&str]) -> ImageRef {
    static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    let _turn = ONE_AT_A_TIME.lock().await;
    if let Ok(found) = docker.inspect_image(name).await {
        return reference(&found);
    }
    let options = CreateImageOptionsBuilder::default()
        .from_src("-")
        .repo(name)
        .changes(["ENV PATH=/bin"].iter().chain(changes).map(ToString::to_string).collect())
        .build();
    let body = bollard::body_full(busybox_tar().into());
    let events: Vec<_> = docker.create_image(Some(options), Some(body), None).collect().await;
    for event in events {
        event.expect("the engine imports an image");
    }
    reference(&docker.inspect_image(name).await.expect("the imported image"))
}

fn reference(image: &ImageInspect) -> ImageRef {
    image.id.as_deref().expect("an identity").parse().expect("a digest")
}

/// About a second of work on one core; times from the kernel, in hundredths of a second.
const BENCH: &str = r#"
read from rest < /proc/uptime
i=0
while [ $i -lt 1000000 ]; do i=$((i + 1)); done
read to rest < /proc/uptime
read stat < /proc/$$/stat
set -- $stat
elapsed=$(((${to%.*}${to#*.} - ${from%.*}${from#*.}) * 10))
cpu=$(((${14} + ${15}) * 10))
echo "{\"bench\": \"loop\", \"samples\": 1000000, \"elapsed_ms\": $elapsed, \"cpu_ms\": $cpu}"
"#;

/// A root file system of the static busybox with links for what the tests call.
fn busybox_tar() -> Vec<u8> {
    let root = tempfile::tempdir().expect("a temporary folder");
    for folder in ["bin", "tmp", "proc", "sys", "dev", "etc", "scratch", "inputs"] {
        std::fs::create_dir(root.path().join(folder)).expect("a folder");
    }
    let busybox = ["/usr/bin/busybox", "/bin/busybox"].iter().find(|path| Path::new(path).exists());
    let busybox = busybox.expect("busybox; install busybox-static");
    std::fs::copy(busybox, root.path().join("bin/busybox")).expect("a copy of busybox");
    for name in [
        "sh", "cat", "echo", "dd", "id", "sleep", "ls", "nc", "wget", "ping", "touch", "grep",
        "df", "tail", "kill", "env", "head", "rm", "ip", "httpd",
    ] {
        std::os::unix::fs::symlink("busybox", root.path().join("bin").join(name)).expect("a link");
    }
    std::fs::write(root.path().join("bin/bench"), BENCH).expect("the bench");
    let output = std::process::Command::new("tar")
        .args(["--numeric-owner", "--owner=0", "--group=0", "-c", "."])
        .current_dir(root.path())
        .output()
        .expect("tar");
    assert!(output.status.success(), "tar packs the image");
    output.stdout
}
