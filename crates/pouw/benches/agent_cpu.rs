//! `agent-cpu`: what `pouw host`, alone in its process, takes beside a task that logs.
//!
//! The node is another process; the task writes 10 lines a second, and the host's processor time
//! is read at both ends of 60 s. At most 1 % of a core. One JSON line. Needs what the labs need.
#![expect(clippy::print_stdout, reason = "a benchmark's output is its line")]
#![expect(clippy::unwrap_used, reason = "a benchmark that can't go on stops")]
#![allow(dead_code, reason = "the labs use more of what they share")]

#[path = "../tests/thread_lab/devnet.rs"]
mod devnet;
#[path = "../tests/thread_lab/disk.rs"]
mod disk;

use std::process::Child;
use std::time::{Duration, Instant};

use devnet::{Devnet, end, spawn};
use rustix::param::clock_ticks_per_second;

const MEASURED: Duration = Duration::from_secs(60);
/// Percent of a core.
const GOAL: f64 = 1.0;

const TASK: &str = r"
version: 1
name: chatter
use_case: general
image: hello
resources: {cpu: 100m, memory: 32MiB, disk: 32MiB}
run:
  command:
    - sh
    - -euc
    - |
      line=0
      while [ $line -lt 3000 ]; do echo $line; line=$((line + 1)); sleep 0.1; done
limits: {time: 10m, cost: 10}
";

/// The operator's own configuration: the same node, the account that a devnet's host has.
fn start_host(devnet: &Devnet) -> Child {
    let config = devnet.path("host.toml");
    let rpc = devnet.doors["json_rpc"].as_str().unwrap();
    let profile = "profile = \"host\"\n\n[profiles.host]\naccount = { devnet = 9 }\n";
    std::fs::write(&config, format!("{profile}rpc = \"{rpc}\"\n")).unwrap();
    let mut command = devnet.pouw();
    command.env("POUW_CONFIG", config).args(["host", "run", "--listen", "127.0.0.1:0", "--data"]);
    spawn(command.arg(devnet.path("host")), &devnet.path("host.out"), &devnet.path("host.log"))
}

/// Seconds that a process ran, in user and kernel.
fn processor_s(process: &Child) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.id())).unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    // utime and stime, the 14th and 15th of proc_pid_stat(5); the third follows the name.
    let ticks: u64 =
        fields.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum();
    #[expect(clippy::cast_precision_loss, reason = "ticks of a minute")]
    let seconds = ticks as f64 / clock_ticks_per_second() as f64;
    seconds
}

fn main() {
    let devnet = Devnet::with(&["--no-host"], None);
    let host = start_host(&devnet);
    let task = devnet.path("chatter.yaml");
    std::fs::write(&task, TASK).unwrap();
    let rental = devnet.detached(&task);
    devnet.host_says(&rental, "running task", |host| host["step"] == "run");
    let (start, before) = (Instant::now(), processor_s(&host));
    while let Some(left) = MEASURED.checked_sub(start.elapsed()) {
        std::thread::park_timeout(left);
    }
    let percent = (processor_s(&host) - before) / start.elapsed().as_secs_f64() * 100.0;
    let line = serde_json::json!({
        "name": "agent-cpu", "ours": percent, "peer": null, "unit": "% of a core",
        "goal": GOAL, "holds": percent <= GOAL,
    });
    println!("{line}");
    let _stopped = devnet.json(&["stop", "-y", &rental]);
    end(host);
}
