//! An engine of the test's own, which it may configure and kill, and a network for it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use pouw_agent::engine::{DockerConfig, DockerEngine, Engine as _};

/// An engine of the test's own; ended with the test.
pub(crate) struct OwnEngine {
    child: Option<Child>,
    pub(crate) folder: PathBuf,
    /// The command that runs the engine's: a network, or mounts, of its own.
    around: Vec<String>,
    flags: Vec<String>,
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}

impl OwnEngine {
    /// In a network of its own, without bridges: an engine without a bridge removes another one's
    /// docker0.
    pub(crate) fn apart(folder: &Path) -> Self {
        let flags = words(&["--iptables=false", "--ip6tables=false", "--bridge=none"]);
        Self { child: None, folder: folder.to_owned(), around: words(&["unshare", "--net"]), flags }
    }

    /// In the network of the test, which is to be one of its own ([`in_own_network`]).
    pub(crate) fn here(folder: &Path, flags: &[&str]) -> Self {
        Self { child: None, folder: folder.to_owned(), around: Vec::new(), flags: words(flags) }
    }

    /// Runs the engine's command by another.
    pub(crate) fn within(mut self, around: &[&str]) -> Self {
        self.around = words(around);
        self
    }

    pub(crate) fn host(&self) -> String {
        format!("unix://{}", self.folder.join("docker.sock").display())
    }

    pub(crate) async fn start(&mut self) {
        let folder = self.folder.clone();
        let at = |name: &str| folder.join(name).display().to_string();
        std::fs::write(at("none.json"), "{}").expect("a configuration");
        for _ in 0..3 {
            let log = std::fs::File::create(self.folder.join("log")).expect("a log");
            let mut all = self.around.iter().map(String::as_str).chain(["dockerd"]);
            let child = Command::new(all.next().expect("a program"))
                .args(all)
                .args(&self.flags)
                .args(["--config-file", &at("none.json"), "-H", &self.host()])
                .args(["--data-root", &at("data"), "--exec-root", &at("exec")])
                .args(["--pidfile", &at("pid")])
                .stdout(Stdio::null())
                .stderr(log)
                .spawn()
                .expect("dockerd and unshare; install the packages docker.io and util-linux");
            self.child = Some(child);
            let engine = engine_at(&self.host(), &self.folder);
            for _ in 0..300 {
                if engine.describe().await.is_ok() {
                    return;
                }
                let child = self.child.as_mut().expect("just started");
                if child.try_wait().expect("asked").is_some() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            self.kill();
        }
        let log = std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        panic!("an own dockerd does not start: {log}");
    }

    /// Ends it without warning, and the containerd it has started.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            drop(child.wait());
        }
        for name in ["exec/containerd/containerd.pid", "pid"] {
            let path = self.folder.join(name);
            let Ok(text) = std::fs::read_to_string(&path) else { continue };
            drop(std::fs::remove_file(&path));
            self.kill_own(text.trim());
        }
    }

    /// Kills a process if it is one of this engine's.
    fn kill_own(&self, pid: &str) {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        if String::from_utf8_lossy(&line).contains(&self.folder.display().to_string()) {
            drop(Command::new("kill").args(["-9", pid]).output());
        }
    }
}

impl Drop for OwnEngine {
    fn drop(&mut self) {
        self.kill();
        // The shim of a container outlives its engine; it names the engine's folder.
        let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids: Vec<String> =
            processes.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        pids.iter().filter(|pid| pid.parse::<u32>().is_ok()).for_each(|pid| self.kill_own(pid));
        let table = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let folder = self.folder.display().to_string();
        let points = table.lines().filter_map(|line| line.split(' ').nth(1));
        let mut points: Vec<&str> = points.filter(|point| point.starts_with(&folder)).collect();
        points.reverse();
        for point in points {
            drop(Command::new("umount").args(["-l", point]).output());
        }
    }
}

pub(crate) fn engine_at(host: &str, folder: &Path) -> DockerEngine {
    let mut config = DockerConfig::new(pouw_types::MachineId::default(), folder.join("agent"));
    config.host = host.to_owned();
    config.reserve_bytes = 0;
    DockerEngine::new(config)
}

/// A network namespace; it goes with the last process in it.
struct Namespace(String);

impl Drop for Namespace {
    fn drop(&mut self) {
        drop(Command::new("ip").args(["netns", "del", &self.0]).output());
    }
}

fn ip(arguments: &[&str]) {
    let output = Command::new("ip").args(arguments).output().expect("ip; install iproute2");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "ip {}: {told}", arguments.join(" "));
}

/// Runs a test in a network of its own: its firewall is nobody else's.
pub(crate) fn in_own_network<F: Future<Output = ()>>(
    name: &str,
    test: impl FnOnce() -> F + Send + 'static,
) {
    let namespace = Namespace(format!("lab-{name}-{}", std::process::id()));
    ip(&["netns", "add", &namespace.0]);
    let path = format!("/run/netns/{}", namespace.0);
    let work = move || {
        let file = std::fs::File::open(path).expect("the namespace");
        let kind = rustix::thread::LinkNameSpaceType::Network;
        rustix::thread::move_into_link_name_space(std::os::fd::AsFd::as_fd(&file), Some(kind))
            .expect("this thread is in it; run as root");
        // What this thread starts is in it as well.
        ip(&["link", "set", "lo", "up"]);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(test());
    };
    if let Err(panic) = std::thread::spawn(work).join() {
        std::panic::resume_unwind(panic);
    }
}
