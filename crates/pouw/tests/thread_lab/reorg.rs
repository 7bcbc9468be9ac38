//! The opening of a rental leaves the best chain below a running task, and comes back; or stays away.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use alloy_primitives::Address;
use pouw::cli::{DevnetArgs, GuestArgs};
use pouw::devnet::Devnet;
use pouw::host::{Host, Setup};
use pouw::session::devnet_key;
use pouw_chain::{Block, Chain, Options, Template};
use pouw_consensus::Solver;
use pouw_types::Network;
use serde_json::Value;

use crate::devnet::{told, wait_until};
use crate::tasks::Script;

const MINER: Address = Address::repeat_byte(0x31);
/// The longest that a devnet's own miner may be told to wait: the test makes the blocks.
const ASLEEP_MS: u64 = 3_600_000;

/// A devnet in this process, whose blocks the test makes.
struct Net {
    runtime: tokio::runtime::Runtime,
    folder: tempfile::TempDir,
    devnet: Option<Devnet>,
    host: Option<Host>,
    chain: Chain,
    mines: Arc<AtomicBool>,
    ended: Arc<AtomicBool>,
    miner: Option<std::thread::JoinHandle<()>>,
    machine: String,
}

impl Net {
    fn start() -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("net");
        let devnet = runtime.block_on(Devnet::start(&root, &arguments())).unwrap();
        let chain = devnet.node.chain.clone();
        let (mines, ended) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicBool::new(false)));
        let (on, off, of) = (Arc::clone(&mines), Arc::clone(&ended), chain.clone());
        let miner = std::thread::spawn(move || {
            while !off.load(Ordering::Acquire) {
                if on.load(Ordering::Acquire) {
                    // A branch of the test's may have been faster.
                    drop(of.import_block(seal(&of.template(MINER).unwrap())));
                }
                std::thread::park_timeout(Duration::from_secs(1));
            }
        });
        let (url, payout) = (devnet.node.url(), devnet.payout);
        let (host, machine) = runtime.block_on(async {
            let setup = Setup::open(&root.join("host")).unwrap();
            let info = setup.describe().await.expect("missing: a Docker engine");
            let any = "127.0.0.1:0".parse().unwrap();
            let config = setup.proposal(&info, any, payout).unwrap();
            let operator = devnet_key(9).unwrap();
            let host = setup.start(config, Network::devnet(), &url, operator).await.unwrap();
            host.ready(crate::devnet::PATIENCE).await.unwrap();
            (host, setup.machine().to_string())
        });
        let (devnet, host, miner) = (Some(devnet), Some(host), Some(miner));
        Self { runtime, folder, devnet, host, chain, mines, ended, miner, machine }
    }

    fn pouw(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pouw"));
        let profile = self.folder.path().join("net/profile.toml");
        command
            .env("POUW_CONFIG", self.folder.path().join("config.toml"))
            .env("POUW_DATA", self.folder.path().join("data"))
            .args(["--json", "--profile", profile.to_str().unwrap()])
            .stdin(Stdio::null());
        command
    }

    fn json(&self, arguments: &[&str]) -> Result<Value, String> {
        let output = self.pouw().args(arguments).output().unwrap();
        let value = serde_json::from_slice(&output.stdout).map_err(|_| told(&output))?;
        if output.status.success() { Ok(value) } else { Err(told(&output)) }
    }

    fn describes(&self, rental: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        wait_until(what, || {
            let all = self.json(&["describe", rental])?;
            if holds(&all) { Ok(all) } else { Err(all.to_string()) }
        })
    }

    /// Opens a rental of an endless task and waits until it runs; blocks stop then.
    fn running(&self, task: &Path) -> (String, u64) {
        let plan = ["plan", task.to_str().unwrap()];
        wait_until("free machine", || self.json(&plan));
        let started = self.json(&["run", "-y", "--detach", task.to_str().unwrap()]).unwrap();
        let rental = started["rental"].as_str().unwrap().to_owned();
        let runs = |all: &Value| all["host"]["meter"]["active_s"].as_u64() >= Some(2);
        let all = self.describes(&rental, "running task", runs);
        self.mines.store(false, Ordering::Release);
        let steps = all["invoice"]["transactions"].as_array().unwrap();
        (rental, steps[0]["block"].as_u64().unwrap())
    }

    /// The best chain as it is up to a height, to be gone on with.
    fn branch(&self, height: u64) -> Branch {
        let chain = Chain::in_memory(Options::new(Network::devnet())).unwrap();
        for height in 1..=height {
            chain.import_block(self.chain.block_at(height).unwrap().unwrap().block).unwrap();
        }
        Branch(chain)
    }

    /// Makes a branch longer until it is the best chain.
    fn follow(&self, branch: &Branch) {
        branch.grow(&self.chain);
        while self.chain.head().id != branch.0.head().id {
            branch.grow(&self.chain);
        }
    }
}

/// Another branch of the chain, without the transactions that wait.
struct Branch(Chain);

impl Branch {
    fn grow(&self, to: &Chain) {
        let block = seal(&self.0.template(MINER).unwrap());
        self.0.import_block(block.clone()).unwrap();
        to.import_block(block).unwrap();
    }
}

fn seal(template: &Template) -> Block {
    let lane = Network::devnet().lane_zero;
    template.seal(&Solver::new(lane.n, lane.k).unwrap(), 1_000_000).unwrap()
}

fn arguments() -> DevnetArgs {
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    DevnetArgs {
        mine: pouw::cli::MineArg::Both,
        data: None,
        listen: any,
        s3_listen: any,
        host_listen: any,
        no_host: true,
        block_time: ASLEEP_MS,
        images: None,
        nodes: 1,
        mine_all: false,
        guests: GuestArgs::default(),
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        if let Some(miner) = self.miner.take() {
            miner.thread().unpark();
            drop(miner.join());
        }
        let (devnet, host) = (self.devnet.take(), self.host.take());
        self.runtime.block_on(async {
            if let Some(host) = host {
                host.stop().await;
            }
            if let Some(devnet) = devnet {
                devnet.stop().await;
            }
        });
    }
}

/// Seconds that the host has measured of a rental.
fn active_s(all: &Value) -> u64 {
    all["host"]["meter"]["active_s"].as_u64().unwrap()
}

fn is_paused(all: &Value) -> bool {
    all["host"]["paused"].as_str().is_some_and(|why| why.contains("left the best chain"))
}

fn away_and_back(net: &Net, task: &Path) {
    let (rental, opened) = net.running(task);
    let ours = net.branch(net.chain.head().height());
    net.follow(&net.branch(opened - 1));
    let frozen = net.describes(&rental, "frozen task", is_paused);
    assert_eq!(frozen["invoice"]["phase"], "None", "{frozen}");
    // The chain's clock goes on while the task stands still.
    let since = net.chain.now_ms();
    let later = net.describes(&rental, "passing time", |_| net.chain.now_ms() > since + 3_000);
    assert_eq!(active_s(&later), active_s(&frozen), "frozen time is not billed");

    net.follow(&ours);
    let goes_on =
        |all: &Value| all["host"]["paused"].is_null() && active_s(all) > active_s(&frozen);
    net.describes(&rental, "task that goes on", goes_on);
    net.mines.store(true, Ordering::Release);
    let stopped = net.json(&["stop", "-y", &rental]).unwrap();
    assert_eq!((&stopped["phase"], &stopped["reason"]), (&"Closed".into(), &"ClientStop".into()));
    let billed = stopped["lines"][0]["quantity"].as_u64().unwrap();
    let all = net.json(&["describe", &rental]).unwrap();
    assert_eq!(all["host"]["end"]["reason"], "client-stop", "{all}");
    let ran_ms = all["timing"]["steps"].as_array().unwrap().iter().find(|one| one["step"] == "run");
    let ran_ms = ran_ms.unwrap()["ms"].as_u64().unwrap();
    assert!(billed * 1_000 + 3_000 <= ran_ms, "{billed} s of {ran_ms} ms: {stopped}");
}

fn away_for_good(net: &Net, task: &Path) {
    let (rental, opened) = net.running(task);
    let client = devnet_key(0).unwrap().address();
    let payout = net.devnet.as_ref().unwrap().payout;
    let at = |address, height| net.chain.account(address, height).unwrap().balance;
    let before = (at(client, opened - 1), at(payout, opened - 1));
    let other = net.branch(opened - 1);
    net.follow(&other);
    let ended = |all: &Value| !all["host"]["end"].is_null();
    let all = wait_until("end", || {
        other.grow(&net.chain);
        let all = net.json(&["describe", &rental])?;
        if ended(&all) { Ok(all) } else { Err(all.to_string()) }
    });
    assert_eq!(all["host"]["end"]["reason"], "payment-reorged", "{all}");
    net.describes(&rental, "reset machine", |all| all["host"]["step"] == "done");
    let head = net.chain.head().height();
    assert_eq!((at(client, head), at(payout, head)), before, "no money has moved on this branch");
}

#[test]
fn an_opening_that_is_reorganized_away_freezes_the_task_until_it_is_back_or_ends_it() {
    let net = Net::start();
    let lines = "while true; do echo on; sleep 0.5; done";
    let task = Script::new("long", lines).write(net.folder.path());
    away_and_back(&net, &task);
    away_for_good(&net, &task);
    crate::devnet::check_clean(&net.machine, net.folder.path(), None);
}
