//! An engine that is killed under a task: the parts that are out count, and what they took is paid.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::devnet::{Devnet, atto, check_invoice, part, told, wait_until};
use crate::tasks::Script;

/// An engine of the test's own, which it may kill, with the image library's registry beside it.
struct Engine {
    child: Option<Child>,
    folder: tempfile::TempDir,
}

impl Engine {
    fn new() -> Self {
        Self { child: None, folder: tempfile::tempdir().unwrap() }
    }

    fn at(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn host(&self) -> String {
        format!("unix://{}", self.at("docker.sock"))
    }

    fn start(&mut self) {
        std::fs::write(self.folder.path().join("none.json"), "{}").unwrap();
        let log = std::fs::File::create(self.folder.path().join("log")).unwrap();
        let script = format!(
            "ip link set lo up\ndocker-registry serve {} >/dev/null 2>&1 &\n\
             exec dockerd --iptables=false --ip6tables=false --bridge=none --config-file {} \
             -H {} --data-root {} --exec-root {} --pidfile {}",
            self.registry(),
            self.at("none.json"),
            self.host(),
            self.at("data"),
            self.at("exec"),
            self.at("pid")
        );
        // In a network of its own: an engine without a bridge removes another one's docker0.
        let mut unshare = Command::new("unshare");
        unshare.args(["--net", "sh", "-c", &script]).stdout(Stdio::null()).stderr(log);
        let mut child = unshare.spawn().expect("missing: unshare of the package util-linux");
        wait_until("engine of the test's own", || {
            let log = || std::fs::read_to_string(self.folder.path().join("log")).unwrap();
            assert!(child.try_wait().unwrap().is_none(), "dockerd ended: {}", log());
            let asked = Command::new("docker").args(["-H", &self.host(), "version"]).output();
            let asked = asked.expect("missing: docker");
            if asked.status.success() { Ok(()) } else { Err(told(&asked)) }
        });
        self.child = Some(child);
    }

    /// The configuration of a registry that serves what the image library's one holds, at the same
    /// address: the engine's network has no other machine in it.
    fn registry(&self) -> String {
        let home = std::env::var("POUW_STATE").map(PathBuf::from).unwrap_or_else(|_| {
            let state = std::env::var("XDG_STATE_HOME").map(PathBuf::from);
            let home = || PathBuf::from(std::env::var("HOME").unwrap()).join(".local/state");
            state.unwrap_or_else(|_| home()).join("pouw")
        });
        let config = std::fs::read_to_string(home.join("registry/config.yml"));
        let config = config.expect("missing: the image library's registry; scripts/registry start");
        let path = self.folder.path().join("registry.yml");
        std::fs::write(&path, config).unwrap();
        path.display().to_string()
    }

    /// Ends it without warning, and the containerd it has started.
    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        for name in ["exec/containerd/containerd.pid", "pid"] {
            let path = self.folder.path().join(name);
            let Ok(text) = std::fs::read_to_string(&path) else { continue };
            drop(std::fs::remove_file(&path));
            self.kill_own(text.trim());
        }
    }

    /// Kills a process if it is one of this engine's.
    fn kill_own(&self, pid: &str) {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        if String::from_utf8_lossy(&line).contains(&self.folder.path().display().to_string()) {
            drop(Command::new("kill").args(["-9", pid]).output());
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        drop(self.child.take().map(|mut child| child.kill().and_then(|()| child.wait())));
        // Shims and the registry outlive the engine; they name its folder.
        let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = processes.filter_map(|entry| entry.file_name().into_string().ok());
        pids.filter(|pid| pid.parse::<u32>().is_ok()).for_each(|pid| self.kill_own(&pid));
        let table = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let folder = self.folder.path().display().to_string();
        let points = table.lines().filter_map(|line| line.split(' ').nth(1));
        let mut points: Vec<&str> = points.filter(|point| point.starts_with(&folder)).collect();
        points.reverse();
        for point in points {
            drop(Command::new("umount").args(["-l", point]).output());
        }
    }
}

/// Twelve frames, of which the seventh never ends.
const FRAMES: &str = "mkdir frames
    for n in 01 02 03 04 05 06; do sleep 0.3; echo $n > frames/.$n; mv frames/.$n frames/$n.txt; done
    echo half of it > frames/.07; echo in frame 7; while true; do sleep 1; done";

/// A rental of the frames whose engine is killed in the seventh; its end, with what its host was
/// paid.
fn killed_in_frame_7(devnet: &Devnet, engine: &mut Engine, script: &Script) -> (Value, u128) {
    let before = devnet.balance(&devnet.doors["payout"]);
    let task = script.write(devnet.folder.path());
    let plan = ["plan", task.to_str().unwrap()];
    devnet.wait_for(&plan, "free machine", |plan| plan["units"] == 1);
    let rental = devnet.detached(&task);
    let six = |host: &Value| host["parts"].as_array().is_some_and(|parts| parts.len() == 6);
    let on_its_way = |host: &Value| six(host) && host["meter"]["active_s"].as_u64() >= Some(5);
    let seen = devnet.wait_for(&["describe", &rental], "six frames", |all| six(&all["host"]));
    assert_eq!(seen["host"]["parts_total"], 12, "{seen}");
    devnet.wait_for(&["describe", &rental], "time in frame 7", |all| on_its_way(&all["host"]));
    engine.kill();
    let lost = |host: &Value| host["remarks"].to_string().contains("can't be seen");
    devnet.wait_for(&["describe", &rental], "lost engine", |all| lost(&all["host"]));
    engine.start();
    let all = devnet.closed(&rental);
    let end = &all["host"]["end"];
    assert_eq!(end["reason"], "host-fault", "{all}");
    assert!(end["detail"].as_str().unwrap().contains("engine ended under the task"), "{end}");
    let grown = devnet.balance(&devnet.doors["payout"]) - before;
    check_invoice(devnet, &all["invoice"], "HostStop", grown);
    check_credited(devnet, &rental, &all);
    (all, grown)
}

/// Six frames count: they are on the host's list, in the store, in the manifest whose root the final
/// receipt carries; the seventh is nowhere.
fn check_credited(devnet: &Devnet, rental: &str, all: &Value) {
    assert_eq!(all["host"]["parts"].as_array().unwrap().len(), 6, "{all}");
    let results = devnet.path(rental);
    let files = devnet.json(&["cp", rental, results.to_str().unwrap()]);
    assert_eq!(files.as_array().unwrap().len(), 7, "six frames and the log: {files}");
    for frame in ["01", "02", "03", "04", "05", "06"] {
        let text = std::fs::read_to_string(results.join(format!("frames/{frame}.txt")));
        assert_eq!(text.unwrap(), format!("{frame}\n"));
    }
    assert!(!results.join("frames/07.txt").exists());
    let log = std::fs::read_to_string(results.join("log.txt")).unwrap();
    assert!(log.contains("in frame 7"), "{log}");
    let last = devnet.on_chain(rental).best;
    assert!(last.isFinal && !last.manifestRoot.is_zero(), "{last:?}");
    let covered = all["host"]["parts"][5]["active_s"].as_u64().unwrap();
    assert_eq!(last.doneS, covered, "the receipt says how far the frames reach");
    assert!(last.doneS < last.activeS, "frame 7 took time: {last:?}");
}

/// What a fault pays by R-12, from the last receipt and the quote alone.
fn fault_price(devnet: &Devnet, rental: &str, all: &Value, active_s: u64) -> u128 {
    let last = devnet.on_chain(rental).best;
    let line = |index: usize| atto(&all["invoice"]["lines"][index]["rate"]);
    u128::from(active_s) * line(0)
        + last.storageGibS * line(1)
        + u128::from(last.trafficB) * line(2)
}

#[test]
fn killed_in_frame_7_of_12_six_frames_are_credited_stored_and_paid() {
    let mut engine = Engine::new();
    engine.start();
    let devnet = Devnet::with(&[], Some(engine.host()));
    let parts = "parts: {path: \"frames/{part:02}.txt\", count: 12, max_size: 4KiB}";
    let script = |name, more| Script { more, ..Script::new(name, FRAMES) };
    let no_window = "refund_window: 0
        parts: {path: \"frames/{part:02}.txt\", count: 12, max_size: 4KiB}";

    // With the network's refund window the frames' seconds are paid and frame 7's come back.
    let usual = script("usual", parts);
    let (all, paid) = killed_in_frame_7(&devnet, &mut engine, &usual);
    let rental = all["invoice"]["rental"].as_str().unwrap();
    let last = devnet.on_chain(rental).best;
    assert_eq!(paid, fault_price(&devnet, rental, &all, last.doneS));
    let active = atto(&all["invoice"]["lines"][0]["rate"]) * u128::from(last.doneS);
    assert_eq!(part(&all["invoice"], "forfeited"), active / 5, "R-12: a fifth of the last day");

    // With W = 0 by the specification nothing that ran comes back.
    let none = script("no-window", no_window);
    let (all, paid) = killed_in_frame_7(&devnet, &mut engine, &none);
    let rental = all["invoice"]["rental"].as_str().unwrap();
    let last = devnet.on_chain(rental).best;
    assert_eq!(paid, fault_price(&devnet, rental, &all, last.activeS));
    devnet.check_supply(&[]);
    devnet.check_clean(&devnet.doors["machine"]);
}
