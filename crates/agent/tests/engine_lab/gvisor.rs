//! Tasks under gVisor and under remapped users, on engines of the test's own.

use std::path::PathBuf;

use pouw_agent::engine::{
    Access, BindMount, Engine as _, EngineError, ExecRequest, NetworkMode, Phase, ScratchRequest,
    User, Workload,
};
use pouw_types::Isolation;

use crate::laboratory::{Laboratory, soon};
use crate::networks::{Beyond, address_on, probe, server_on_this_computer};
use crate::own::{OwnEngine, in_own_network};

/// gVisor's own processes count as the task's memory.
const MEMORY_BYTES: u64 = 256 << 20;

fn runsc() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join("runsc"));
    let found = found.into_iter().find(|path| path.is_file());
    found.expect("runsc on PATH; `scripts/setup test` builds it")
}

fn under_gvisor(lab: &Laboratory, step: &str, script: &str) -> Workload {
    // Its own threads count as the task's processes.
    let (isolation, memory_bytes, pids) = (Isolation::Gvisor, MEMORY_BYTES, 4_096);
    Workload { isolation, memory_bytes, pids, cpu_millis: 1_000, ..lab.workload(step, script) }
}

/// A scratch of 16 MiB that the task writes.
async fn with_scratch(lab: &Laboratory, mut workload: Workload) -> (Workload, PathBuf) {
    let request = ScratchRequest { owner: lab.owner, size_bytes: 16 << 20, user: User::default() };
    let scratch = lab.engine.create_scratch(&request).await.expect("scratch");
    workload.mounts.push(BindMount {
        source: scratch.work(),
        target: "/scratch".to_owned(),
        access: Access::Write,
    });
    (workload, scratch.work())
}

/// another kernel answers, and everything that holds for other tasks holds: user, rights,
/// read-only root, disk of the asked size, freezing, and the firewall.
#[test]
fn a_task_under_gvisor_has_a_kernel_of_its_own_and_is_kept_like_any_other() {
    let flag = format!("--add-runtime=runsc={}", runsc().display());
    in_own_network("gvisor", || async move {
        let folder = tempfile::tempdir().expect("a folder");
        let mut own = OwnEngine::here(folder.path(), &[&flag]);
        own.start().await;
        let lab = Laboratory::new(&folder.path().join("agent"), Some(own.host())).await;
        let info = lab.engine.describe().await.expect("described");
        assert_eq!(info.isolation, [Isolation::Runc, Isolation::Gvisor]);

        let script = "/bin/busybox dmesg | head -n 1; /bin/busybox uname -r; id -u; \
                      grep -E '^(CapEff|CapBnd|NoNewPrivs):' /proc/self/status; \
                      touch /x 2>&1; touch /tmp/y && echo tmp; \
                      dd if=/dev/zero of=/scratch/big bs=1M count=64 2>&1; \
                      rm /scratch/big; echo kept > /scratch/file";
        let (workload, work) = with_scratch(&lab, under_gvisor(&lab, "run", script)).await;
        let (exit, text) = lab.run(&workload).await;
        assert_eq!(exit.code, 0, "{text}");
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("a release");
        assert!(text.contains("Starting gVisor"), "{text}");
        assert!(!text.contains(kernel.trim()), "{text}");
        for line in ["\n65534\n", "CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "tmp"] {
            assert!(text.contains(line), "{line}: {text}");
        }
        assert!(text.contains("/x: "), "the root is read-only: {text}");
        assert!(text.contains("No space left"), "{text}");
        assert_eq!(std::fs::read_to_string(work.join("file")).expect("kept"), "kept\n");

        let greedy = "x=x; while true; do x=$x$x; done";
        let (exit, text) = lab.run(&under_gvisor(&lab, "greedy", greedy)).await;
        assert_ne!(exit.code, 0, "its memory is bounded: {exit:?} {text}");

        let mut beyond = Beyond::new(&lab.owner);
        beyond.serve().await;
        let port = server_on_this_computer();
        let network = lab.engine.create_network(&lab.owner).await.expect("a network");
        let gateway = address_on(network.as_str());
        let metadata = "169.254.169.254".parse().expect("an address");
        let mut targets = vec![(beyond.public, Beyond::PORT), (gateway, port), (metadata, 80)];
        targets.extend(beyond.kept_away.iter().map(|address| (*address, Beyond::PORT)));
        let mut workload = under_gvisor(&lab, "probe", &probe(&targets));
        workload.network = NetworkMode::Egress(network);
        let (_, text) = lab.run(&workload).await;
        assert!(text.contains(&format!("yes {}\n", beyond.public)), "{text}");
        for (address, _) in &targets[1..] {
            assert!(text.contains(&format!("no {address}\n")), "{address}: {text}");
        }
        let counted = lab.engine.watch_network(&lab.owner).await.expect("looked at");
        assert!(counted.guarded && counted.bytes > Some(0), "{counted:?}");

        let id = lab.start(&under_gvisor(&lab, "frozen", "sleep 600")).await;
        lab.engine.pause(&id).await.expect("frozen");
        assert_eq!(lab.engine.inspect(&id).await.expect("looked at").phase, Phase::Paused);
        lab.engine.unpause(&id).await.expect("goes on");
        soon(lab.engine.stop(&id, 1)).await.expect("stopped");
        lab.engine.reset_to(&lab.nothing().await).await.expect("reset");
    });
}

/// an engine that remaps users works: the task is nobody of this computer, and its files are
/// still the task's own.
#[test]
fn a_task_of_an_engine_that_remaps_users_is_nobody_of_this_computer() {
    in_own_network("userns", || async {
        let folder = tempfile::tempdir().expect("a folder");
        // The engine alone sees whom it may take: this computer's files stay as they are.
        let ids = folder.path().join("ids");
        std::fs::write(&ids, "nobody:200000:65536\n").expect("a file");
        let ids = ids.display();
        let script = format!(
            "mount --bind {ids} /etc/subuid && mount --bind {ids} /etc/subgid && exec \"$@\""
        );
        // What the agent mounts below is seen by the engine too.
        let at = folder.path().display().to_string();
        for arguments in [&["--bind", &at, &at][..], &["--make-shared", &at]] {
            let mounted = std::process::Command::new("mount").args(arguments).status();
            assert!(mounted.expect("mount").success(), "mount {arguments:?}");
        }
        for name in ["/etc/subuid", "/etc/subgid"] {
            assert!(std::path::Path::new(name).exists(), "no {name}; install the package login");
        }
        let mut own = OwnEngine::here(folder.path(), &["--userns-remap=nobody:nogroup"]).within(&[
            "unshare",
            "--mount",
            "--propagation=slave",
            "sh",
            "-c",
            &script,
            "sh",
        ]);
        own.start().await;
        let lab = Laboratory::new(&folder.path().join("agent"), Some(own.host())).await;
        let info = lab.engine.describe().await.expect("described");
        assert!(info.user_namespaces, "{info:?}");

        let script = "id -u; cat /proc/self/uid_map; echo kept > /scratch/file; sleep 600";
        let (workload, work) = with_scratch(&lab, lab.workload("run", script)).await;
        let id = lab.start(&workload).await;
        lab.wait_for_line(&id, "200000").await;
        let file = work.join("file");
        crate::laboratory::until("the file is written", || async { file.exists() }).await;
        let owner = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(&file).expect("there"));
        assert_eq!(owner, 200_000 + User::default().uid);
        let pid = lab.engine.inspect(&id).await.expect("looked at").pid;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("its status");
        assert!(status.contains(&format!("Uid:\t{}", 200_000 + 65_534)), "{status}");
        let request = ExecRequest {
            command: vec!["/bin/id".to_owned(), "-u".to_owned()],
            env: Default::default(),
            user: None,
            timeout_ms: 20_000,
            output_bytes: 100,
        };
        assert_eq!(lab.engine.exec(&id, &request).await.expect("ran").stdout, "65534\n");
        lab.engine.reset_to(&lab.nothing().await).await.expect("reset");
        let gone = lab.engine.inspect(&id).await.expect_err("removed");
        assert!(matches!(gone, EngineError::NotFound { .. }), "{gone}");
    });
}
