//! Ctrl-C while `pouw run` shows a task: it asks, and does what is answered.

use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::devnet::{Devnet, check_invoice, spawn, wait_until};
use crate::tasks::Script;

/// A command on a terminal of its own, which `script` of bsdutils makes.
struct Terminal {
    process: Child,
    log: std::path::PathBuf,
}

impl Terminal {
    fn start(devnet: &Devnet, arguments: &str) -> Self {
        let log = devnet.path("terminal.log");
        let like = devnet.pouw();
        let program = like.get_program().to_str().unwrap();
        let mut command = Command::new("script");
        command.args(["-q", "-e", "-c", &format!("{program} {arguments}"), "/dev/null"]);
        for (name, value) in like.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let out = std::fs::File::create(&log).unwrap();
        let process = command.stdin(Stdio::piped()).stdout(out).stderr(Stdio::inherit()).spawn();
        Self { process: process.expect("missing: script of the package bsdutils"), log }
    }

    fn shows(&mut self, text: &str) -> String {
        wait_until(text, || {
            let shown = String::from_utf8_lossy(&std::fs::read(&self.log).unwrap()).into_owned();
            let ended = self.process.try_wait().unwrap();
            assert!(ended.is_none() || shown.contains(text), "{ended:?} without {text}: {shown}");
            if shown.contains(text) { Ok(shown) } else { Err(shown) }
        })
    }

    fn types(&mut self, keys: &[u8]) {
        let input = self.process.stdin.as_mut().unwrap();
        input.write_all(keys).unwrap();
        input.flush().unwrap();
    }

    /// Interrupts it once it shows the task, answers, and returns its code with all it showed.
    fn interrupted(mut self, answer: &[u8]) -> (Option<i32>, String) {
        self.shows("still here");
        self.types(b"\x03");
        self.shows("[D/s]");
        self.types(answer);
        let code = wait_until("end", || {
            self.process.try_wait().unwrap().ok_or_else(|| "it runs".to_owned())
        });
        let shown = String::from_utf8_lossy(&std::fs::read(&self.log).unwrap()).into_owned();
        (code.code(), shown)
    }
}

fn newest(devnet: &Devnet) -> String {
    let all = devnet.json(&["ps", "--all"]);
    all.as_array().unwrap().last().unwrap()["rental"].as_str().unwrap().to_owned()
}

fn check_stopped(devnet: &Devnet, rental: &str, before: u128) {
    let all = devnet.closed(rental);
    assert_eq!(all["host"]["end"]["reason"], "client-stop", "{all}");
    let grown = devnet.balance(&devnet.doors["payout"]) - before;
    check_invoice(devnet, &all["invoice"], "ClientStop", grown);
    assert!(grown > 0, "{all}");
}

fn detached_and_attached_again(devnet: &Devnet, task: &Path) {
    let before = devnet.balance(&devnet.doors["payout"]);
    // Enter, and a second Ctrl-C: both leave the task alone.
    let run = Terminal::start(devnet, &format!("run -y {}", task.display()));
    let (code, shown) = run.interrupted(b"\r");
    assert_eq!(code, Some(130), "{shown}");
    assert!(shown.contains("detached: it goes on"), "{shown}");
    let rental = newest(devnet);
    let (code, shown) = Terminal::start(devnet, "attach").interrupted(b"\x03");
    assert_eq!(code, Some(130), "{shown}");
    assert!(shown.contains("detached: it goes on"), "{shown}");
    let running = devnet.json(&["describe", &rental]);
    assert_eq!(running["host"]["step"], "run", "{running}");

    let (code, shown) = Terminal::start(devnet, "attach").interrupted(b"s\r");
    assert_eq!(code, Some(130), "{shown}");
    assert!(shown.contains("stopped") && shown.contains("refunded"), "{shown}");
    check_stopped(devnet, &rental, before);
}

/// Without a terminal nobody can be asked: the task goes on.
fn without_a_terminal(devnet: &Devnet, task: &Path) {
    let before = devnet.balance(&devnet.doors["payout"]);
    let plan = ["plan", task.to_str().unwrap()];
    devnet.wait_for(&plan, "free machine", |plan| plan["units"] == 1);
    let (out, log) = (devnet.path("run.out"), devnet.path("run.log"));
    let mut run = spawn(devnet.pouw().args(["run", "-y"]).arg(task), &out, &log);
    let told = || std::fs::read_to_string(&log).unwrap();
    wait_until("running task", || if told().contains("still here") { Ok(()) } else { Err(told()) });
    let pid = rustix::process::Pid::from_child(&run);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(run.wait().unwrap().code(), Some(130), "{}", told());
    assert!(told().contains("detached: it goes on"), "{}", told());
    let rental = newest(devnet);
    let stopped = devnet.pouw().args(["stop", "-y", &rental]).output().unwrap();
    assert!(stopped.status.success(), "{}", crate::devnet::told(&stopped));
    check_stopped(devnet, &rental, before);
}

#[test]
fn ctrl_c_asks_whether_to_detach_or_to_stop_and_without_a_terminal_detaches() {
    let devnet = Devnet::start();
    let lines = "while true; do echo still here; sleep 0.3; done";
    let task = Script::new("long", lines).write(devnet.folder.path());
    detached_and_attached_again(&devnet, &task);
    without_a_terminal(&devnet, &task);
    devnet.check_supply(&[]);
    devnet.check_clean(&devnet.doors["machine"]);
}
