//! A node as a process, and what can be asked of it from outside.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long anything may take before a test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);

/// A node; killed when the test ends, however it ends.
pub(crate) struct Node {
    /// What the program is run with: nothing, or what enters a namespace.
    prefix: Vec<String>,
    folder: PathBuf,
    process: Child,
    /// What it said about itself when it started.
    pub(crate) doors: Value,
}

fn command(prefix: &[String]) -> Command {
    let program = env!("CARGO_BIN_EXE_pouw");
    match prefix {
        [] => Command::new(program),
        [first, rest @ ..] => {
            let mut command = Command::new(first);
            command.args(rest).arg(program);
            command
        }
    }
}

impl Node {
    pub(crate) fn start(prefix: &[String], folder: &Path, arguments: &[&str]) -> Self {
        let log = std::fs::File::create(folder.with_extension("log")).unwrap();
        let mut process = command(prefix)
            .args(["node", "--json", "--log", "info", "--data"])
            .arg(folder)
            .args(arguments)
            .env("POUW_CONFIG", folder.with_extension("toml"))
            .env_remove("POUW_PROFILE")
            .env_remove("POUW_RPC")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut lines = BufReader::new(process.stdout.take().unwrap());
        while serde_json::from_str::<Value>(&line).is_err() {
            let read = lines.read_line(&mut line).unwrap();
            let told = || std::fs::read_to_string(folder.with_extension("log")).unwrap();
            assert!(read > 0, "the node ended: {}", told());
        }
        let doors = serde_json::from_str(&line).unwrap();
        Self { prefix: prefix.to_vec(), folder: folder.to_owned(), process, doors }
    }

    pub(crate) fn contact(&self) -> &str {
        self.doors["contact"].as_str().unwrap()
    }

    /// As a power cut does.
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// A command's JSON; nothing if it fails, as while the node starts.
    pub(crate) fn ask(&self, arguments: &[&str]) -> Option<Value> {
        let output = command(&self.prefix)
            .args(["--json", "--rpc", self.doors["http"].as_str().unwrap()])
            .args(arguments)
            .env("POUW_CONFIG", self.folder.with_extension("toml"))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        serde_json::from_slice(&output.stdout).ok().filter(|_| output.status.success())
    }

    /// The head's height; a node that is busy is asked again.
    pub(crate) fn height(&self) -> u64 {
        let mut height = None;
        wait_until("answer of a node", || {
            let status = self.ask(&["chain", "status"]);
            height = status.and_then(|status| status.pointer("/head/height")?.as_u64());
            height.is_some()
        });
        height.unwrap()
    }

    /// The id of its best chain's block at a height.
    pub(crate) fn block(&self, height: u64) -> Option<String> {
        let block = self.ask(&["chain", "block", &height.to_string()])?;
        block["hash"].as_str().map(str::to_owned)
    }

    pub(crate) fn peers(&self) -> usize {
        let peers = self.ask(&["chain", "peers"]);
        peers.and_then(|peers| Some(peers["peers"].as_array()?.len())).unwrap_or(0)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _gone = self.process.kill();
        let _gone = self.process.wait();
        if std::thread::panicking() {
            let log = self.folder.with_extension("log");
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            let tail: Vec<&str> = text.lines().rev().take(20).collect();
            eprintln!("{}, the newest first:\n{}", log.display(), tail.join("\n"));
        }
    }
}

/// Asks again and again until it holds.
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "no {what}");
        std::thread::park_timeout(Duration::from_millis(200));
    }
}
