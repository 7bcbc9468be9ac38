//! One container: how it is kept, what it may use, how it ends.

use std::path::PathBuf;

use futures::StreamExt;
use pouw_agent::engine::{
    Access, BindMount, Channel, Engine as _, EngineError, ExecRequest, NetworkMode, Phase,
    ScratchRequest, User, Workload,
};
use pouw_types::Isolation;

use crate::laboratory::{on_own_machine, soon, until};

#[tokio::test]
async fn a_task_runs_hardened() {
    on_own_machine(|lab| async move {
        let script = "id -u; id -g; grep -E '^(CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/1/status; \
                      touch /x 2>&1; touch /tmp/y && echo tmp; ls /sys/class/net; env | grep -c POUW; \
                      echo $GREETING; touch /proc/sys/kernel/hostname 2>&1";
        let (exit, text) = lab.run(&lab.workload("run", script)).await;
        for line in [
            "65534",
            "CapEff:\t0000000000000000",
            "CapBnd:\t0000000000000000",
            "NoNewPrivs:\t1",
            "Seccomp:\t2",
            "touch: /x: Read-only file system",
            "tmp",
            "lo",
            "a = b",
        ] {
            assert!(text.lines().any(|found| found == line), "{line:?} in {text}");
        }
        assert!(!text.contains("eth0"), "{text}");
        assert_ne!(exit.code, 0, "the kernel's settings are read only");
    })
    .await;
}

#[tokio::test]
async fn a_task_beyond_its_memory_is_seen_as_killed_for_it() {
    on_own_machine(|lab| async move {
        // The engine watches a container's memory from a moment after its start, so the task waits.
        let script = "until [ -e /tmp/go ]; do :; done; exec tail -c 200000000 /dev/zero";
        let workload = Workload { memory_bytes: 16 << 20, ..lab.workload("run", script) };
        let id = lab.start(&workload).await;
        let go = ExecRequest {
            command: ["/bin/touch", "/tmp/go"].map(str::to_owned).into(),
            env: Default::default(),
            user: None,
            timeout_ms: 60_000,
            output_bytes: 0,
        };
        lab.engine.exec(&id, &go).await.expect("told to go on");
        let exit = soon(lab.engine.wait(&id)).await.expect("ended");
        assert!(exit.oom_killed, "{exit:?}");
        assert_eq!((exit.code, exit.signal), (137, Some(9)));
        assert!(exit.started_ms > 0 && exit.finished_ms >= exit.started_ms);
    })
    .await;
}

#[tokio::test]
async fn a_task_cannot_make_more_processes_than_asked_for() {
    on_own_machine(|lab| async move {
        let mut workload =
            lab.workload("run", "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 5 & done; echo all");
        workload.pids = 6;
        let (_, text) = lab.run(&workload).await;
        assert!(text.contains("can't fork"), "{text}");
        assert!(!text.contains("all"), "{text}");
    })
    .await;
}

#[tokio::test]
async fn a_full_scratch_is_the_task_s_own_trouble() {
    on_own_machine(|lab| async move {
        let request =
            ScratchRequest { owner: lab.owner, size_bytes: 8 << 20, user: User::default() };
        let scratch = lab.engine.create_scratch(&request).await.expect("scratch");
        assert_eq!(lab.engine.create_scratch(&request).await.expect("again"), scratch);
        std::fs::write(scratch.inputs().join("in"), "given").expect("the agent writes inputs");
        let mount = |source: PathBuf, target: &str, access| BindMount {
            source,
            target: target.to_owned(),
            access,
        };
        let mut workload = lab.workload(
            "run",
            "cat /inputs/in; touch /inputs/x 2>&1; echo kept > /scratch/kept; \
             dd if=/dev/zero of=/scratch/big bs=1M count=64 2>&1",
        );
        workload.mounts = vec![
            mount(scratch.work(), "/scratch", Access::Write),
            mount(scratch.inputs(), "/inputs", Access::Read),
        ];
        let (exit, text) = lab.run(&workload).await;
        assert_eq!(exit.code, 1, "{text}");
        assert!(text.starts_with("given"), "{text}");
        assert!(text.contains("No space left on device"), "{text}");
        assert!(text.contains("/inputs/x: Read-only file system"), "{text}");
        let kept = std::fs::read_to_string(scratch.work().join("kept")).expect("the agent reads");
        assert_eq!(kept, "kept\n");
        lab.engine.remove_scratch(&lab.owner).await.expect("removed");
        assert!(!scratch.path.exists());
        lab.engine.remove_scratch(&lab.owner).await.expect("removed twice");
    })
    .await;
}

#[tokio::test]
async fn a_scratch_beyond_the_disk_is_refused_and_leaves_nothing() {
    on_own_machine(|lab| async move {
        let request =
            ScratchRequest { owner: lab.owner, size_bytes: 1 << 50, user: User::default() };
        let error = lab.engine.create_scratch(&request).await.expect_err("too large");
        assert!(matches!(error, EngineError::NoSpace { .. }), "{error}");
        assert_eq!(lab.nothing().await.scratch_files, Default::default());
    })
    .await;
}

#[tokio::test]
async fn a_paused_task_stands_still_and_goes_on() {
    on_own_machine(|lab| async move {
        let workload =
            lab.workload("run", "i=0; while true; do i=$((i+1)); echo $i; sleep 0.02; done");
        let id = lab.start(&workload).await;
        lab.wait_for_line(&id, "3").await;
        lab.engine.pause(&id).await.expect("paused");
        lab.engine.pause(&id).await.expect("paused twice is paused");
        assert_eq!(lab.engine.inspect(&id).await.expect("looked at").phase, Phase::Paused);
        let first = lab.engine.stats(&id).await.expect("measured");
        let second = lab.engine.stats(&id).await.expect("measured");
        assert_eq!(first.cpu_ns, second.cpu_ns, "a paused task uses no processor");
        assert!(first.cpu_ns > 0 && first.memory_limit_bytes == 64 << 20, "{first:?}");
        // A reader that is there before the pause ends hears what comes after it.
        let mut lines = lab.engine.logs(&id, true, 0).await.expect("a log");
        lab.engine.unpause(&id).await.expect("unpaused");
        lab.engine.unpause(&id).await.expect("unpaused twice runs");
        let mut last = 0;
        while last < 20 {
            let line = soon(lines.next()).await.expect("goes on").expect("a line");
            let number = line.text.parse().expect("a number");
            assert_eq!(number, last + 1, "no line is lost or doubled");
            last = number;
        }
        lab.engine.kill(&id).await.expect("killed");
        let exit = soon(lab.engine.wait(&id)).await.expect("ended");
        assert_eq!(exit.signal, Some(9));
    })
    .await;
}

#[tokio::test]
async fn a_task_that_ignores_the_request_to_end_is_killed_after_the_grace() {
    on_own_machine(|lab| async move {
        let script = "trap 'echo not yet' TERM; echo ready; while true; do sleep 0.1; done";
        let id = lab.start(&lab.workload("run", script)).await;
        lab.wait_for_line(&id, "ready").await;
        let start = std::time::Instant::now();
        lab.engine.stop(&id, 1).await.expect("stopped");
        assert!(start.elapsed().as_millis() >= 900, "the grace is given");
        let exit = soon(lab.engine.wait(&id)).await.expect("ended");
        assert_eq!((exit.code, exit.oom_killed), (137, false));
        assert!(lab.written(&id).await.contains("not yet"));
        lab.engine.stop(&id, 1).await.expect("stopping what has ended is done");
        lab.engine.kill(&id).await.expect("so is killing it");
        lab.engine.remove(&id).await.expect("removed");
        lab.engine.remove(&id).await.expect("removed twice");
        lab.engine.stop(&id, 1).await.expect("stopping what is gone is done");
    })
    .await;
}

#[tokio::test]
async fn a_task_s_own_exit_code_and_both_outputs_arrive() {
    on_own_machine(|lab| async move {
        let id = lab.start(&lab.workload("run", "echo out; sleep 0.1; echo err >&2; exit 3")).await;
        let lines: Vec<_> = soon(
            lab.engine
                .logs(&id, true, 0)
                .await
                .expect("a log")
                .map(|line| line.expect("a line"))
                .collect::<Vec<_>>(),
        )
        .await;
        let seen: Vec<_> = lines.iter().map(|line| (line.channel, line.text.as_str())).collect();
        assert_eq!(seen, [(Channel::Stdout, "out"), (Channel::Stderr, "err")]);
        let exit = soon(lab.engine.wait(&id)).await.expect("ended");
        assert_eq!((exit.code, exit.signal), (3, None));
        let later = lab.engine.logs(&id, false, lines[0].time_ns).await.expect("a log");
        let later: Vec<_> = later.map(|line| line.expect("a line").text).collect().await;
        assert_eq!(later, ["err"], "only what came after the given time");
    })
    .await;
}

#[tokio::test]
async fn a_program_that_is_not_in_the_image_is_the_client_s_fault() {
    on_own_machine(|lab| async move {
        let mut workload = lab.workload("run", "");
        workload.command = vec!["/no/such/program".to_owned()];
        let id = lab.engine.create(&workload).await.expect("created").id;
        let error = lab.engine.start(&id).await.expect_err("no such program");
        assert!(error.is_client_fault() && !error.is_transient(), "{error:?}");
    })
    .await;
}

#[tokio::test]
async fn a_workload_that_makes_no_sense_is_refused_by_name() {
    on_own_machine(|lab| async move {
        let good = lab.workload("run", "true");
        let mount = |target: &str| BindMount {
            source: "/etc".into(),
            target: target.to_owned(),
            access: Access::Write,
        };
        let root = User { uid: 0, gid: 0 };
        let bad = [
            ("user", pouw_agent::engine::Workload { user: root, ..good.clone() }),
            ("processor time", pouw_agent::engine::Workload { cpu_millis: 0, ..good.clone() }),
            (
                "processor time",
                pouw_agent::engine::Workload { cpu_millis: u64::MAX, ..good.clone() },
            ),
            ("memory", pouw_agent::engine::Workload { memory_bytes: 1, ..good.clone() }),
            (
                "mount",
                pouw_agent::engine::Workload { mounts: vec![mount("/a/../b")], ..good.clone() },
            ),
            (
                "mount",
                pouw_agent::engine::Workload { mounts: vec![mount("/proc/x")], ..good.clone() },
            ),
            (
                "mount",
                pouw_agent::engine::Workload {
                    mounts: vec![mount("/a"), mount("/a")],
                    ..good.clone()
                },
            ),
        ];
        for (name, workload) in bad {
            let error = lab.engine.create(&workload).await.expect_err(name);
            let EngineError::InvalidWorkload { field, .. } = &error else { panic!("{error}") };
            assert_eq!(*field, name);
        }
        let gvisor = pouw_agent::engine::Workload { isolation: Isolation::Gvisor, ..good };
        let offered = lab.engine.describe().await.expect("described").isolation;
        match lab.engine.create(&gvisor).await {
            Ok(_) => assert!(offered.contains(&Isolation::Gvisor)),
            Err(error) => {
                assert!(matches!(error, EngineError::Unsupported { .. }), "{error}");
                assert!(!offered.contains(&Isolation::Gvisor));
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_command_runs_inside_and_its_output_is_bounded() {
    on_own_machine(|lab| async move {
        let id = lab.start(&lab.workload("run", "sleep 60")).await;
        let mut request = ExecRequest {
            command: ["/bin/sh", "-c", "id -u; echo wrong >&2; exit 4"].map(str::to_owned).into(),
            env: Default::default(),
            user: None,
            timeout_ms: 20_000,
            output_bytes: 1_000,
        };
        let output = lab.engine.exec(&id, &request).await.expect("ran");
        assert_eq!((output.code, output.stdout.as_str()), (4, "65534\n"));
        assert_eq!((output.stderr.as_str(), output.truncated), ("wrong\n", false));
        request.command = ["/bin/head", "-c", "100000", "/dev/zero"].map(str::to_owned).into();
        let output = lab.engine.exec(&id, &request).await.expect("ran");
        assert_eq!((output.stdout.len(), output.truncated), (1_000, true));
        request.command = ["/bin/sleep", "30"].map(str::to_owned).into();
        request.timeout_ms = 300;
        let error = lab.engine.exec(&id, &request).await.expect_err("too slow");
        assert!(matches!(error, EngineError::Timeout { .. }), "{error}");
    })
    .await;
}

/// what takes too long is gone, with what it left behind; the task itself goes on.
#[tokio::test]
async fn a_command_that_takes_too_long_is_ended_with_all_that_it_started() {
    on_own_machine(|lab| async move {
        let id = lab.start(&lab.workload("run", "sleep 1111")).await;
        let mut request = ExecRequest {
            command: ["/bin/sh", "-c", "sleep 2221 & (sleep 2222 &); sleep 2223; sleep 2224"]
                .map(str::to_owned)
                .into(),
            env: Default::default(),
            user: None,
            timeout_ms: 500,
            output_bytes: 1_000,
        };
        let error = lab.engine.exec(&id, &request).await.expect_err("too slow");
        assert!(matches!(error, EngineError::Timeout { .. }), "{error}");
        request.command =
            ["/bin/sh", "-c", "grep -l -E '222[1-4]|111[1]' /proc/[0-9]*/cmdline | head -n 9"]
                .map(str::to_owned)
                .into();
        request.timeout_ms = 20_000;
        let output = lab.engine.exec(&id, &request).await.expect("ran");
        let seen = lab.engine.inspect(&id).await.expect("looked at");
        assert_eq!(output.stdout.trim(), "/proc/1/cmdline", "{output:?}");
        assert_eq!(seen.phase, Phase::Running);
    })
    .await;
}

#[tokio::test]
async fn a_container_is_made_once_and_never_over_another() {
    on_own_machine(|lab| async move {
        let workload = lab.workload("run", "sleep 60");
        let id = lab.engine.create(&workload).await.expect("created").id;
        let again = lab.engine.create(&workload).await.expect("the same one").id;
        assert_eq!(again, id, "a crash between making and noting it does no harm");
        let other = lab.workload("run", "sleep 61");
        let error = lab.engine.create(&other).await.expect_err("another under the same name");
        assert!(matches!(error, EngineError::Conflict { .. }), "{error}");
        let ours = lab.engine.list_ours().await.expect("a list");
        assert_eq!(ours.len(), 1);
        assert_eq!((ours[0].rental, ours[0].step.as_str()), (lab.owner.rental, "run"));
        lab.engine.start(&id).await.expect("started");
        lab.engine.start(&id).await.expect("started twice runs");
        until("it runs", || async {
            lab.engine.inspect(&id).await.expect("looked at").phase == Phase::Running
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn a_network_that_is_not_there_leaves_no_container() {
    on_own_machine(|lab| async move {
        let mut workload = lab.workload("run", "true");
        workload.network =
            NetworkMode::Egress(pouw_agent::engine::NetworkName::new("pouw-0000000000"));
        // The engine looks for the network when it creates or when it starts, by its version.
        let error = match lab.engine.create(&workload).await {
            Err(error) => error,
            Ok(made) => lab.engine.start(&made.id).await.expect_err("no such network"),
        };
        assert!(!error.is_transient() || error.to_string().contains("not found"), "{error}");
    })
    .await;
}
