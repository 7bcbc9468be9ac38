//! The whole thread with real parts: a devnet in its own process, the local Docker engine, the
//! `hello` image from the loopback registry, real receipts, real money.
//!
//! Needs `DOCKER_HOST` (or the default engine) and the image library's index with `hello` in it:
//! `scripts/images build hello`; `scripts/test` sees to both.
#![cfg(test)]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use alloy_primitives::{Address, Bytes, U256};
use alloy_sol_types::SolCall;
use pouw::client::rpc::Rpc;
use pouw_types::contracts::{IRentals, RENTALS};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(180);

/// A devnet process in a folder of its own; killed when the test ends, however it ends.
struct Devnet {
    folder: tempfile::TempDir,
    process: Option<Child>,
    doors: Value,
}

impl Devnet {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut devnet = Self { folder, process: None, doors: Value::Null };
        devnet.resume();
        devnet
    }

    fn pouw(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pouw"));
        command
            .env("POUW_CONFIG", self.folder.path().join("config.toml"))
            .env("POUW_DATA", self.folder.path().join("data"))
            .env_remove("POUW_PROFILE")
            .env_remove("POUW_RPC")
            .stdin(Stdio::null());
        command
    }

    /// Starts it, or starts it again after a kill; ports and data are the same.
    fn resume(&mut self) {
        let out = self.folder.path().join("doors.json");
        let log = self.folder.path().join("devnet.log");
        let mut process = self
            .pouw()
            .args(["devnet", "start", "--json", "--log", "info", "--data"])
            .arg(self.folder.path().join("net"))
            .stdout(std::fs::File::create(&out).unwrap())
            .stderr(std::fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let deadline = Instant::now() + PATIENCE;
        self.doors = loop {
            let text = std::fs::read_to_string(&out).unwrap();
            if let Ok(doors) = serde_json::from_str(&text) {
                break doors;
            }
            let ended = process.try_wait().unwrap();
            let told = std::fs::read_to_string(&log).unwrap();
            assert!(ended.is_none(), "the devnet ended: {told}");
            assert!(Instant::now() < deadline, "the devnet is not up: {told}");
            std::thread::park_timeout(Duration::from_millis(50));
        };
        self.process = Some(process);
        assert_eq!(self.doors["no_host"], Value::Null, "this machine is not offered");
    }

    /// As a power cut does.
    fn kill(&mut self) {
        let mut process = self.process.take().unwrap();
        process.kill().unwrap();
        process.wait().unwrap();
    }

    /// A command's JSON; it must succeed.
    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.pouw().arg("--json").args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", told(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Waits until a command's JSON satisfies a condition.
    fn wait_for(&self, arguments: &[&str], what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let output = self.pouw().arg("--json").args(arguments).output().unwrap();
            if let Ok(value) = serde_json::from_slice(&output.stdout)
                && output.status.success()
                && holds(&value)
            {
                return value;
            }
            assert!(Instant::now() < deadline, "no {what}: {}", told(&output));
            std::thread::park_timeout(Duration::from_millis(200));
        }
    }

    fn balance(&self, address: &Value) -> u128 {
        let address = address.as_str().unwrap();
        atto(&self.json(&["wallet", "balance", address])[0]["balance"])
    }
}

impl Drop for Devnet {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            // SIGTERM first: it takes its containers and mounts down.
            let pid = rustix::process::Pid::from_child(&process);
            let _gone = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
            let deadline = Instant::now() + Duration::from_secs(20);
            while process.try_wait().is_ok_and(|ended| ended.is_none()) {
                if Instant::now() > deadline {
                    let _gone = process.kill();
                }
                std::thread::park_timeout(Duration::from_millis(50));
            }
        }
    }
}

fn told(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    format!("{}\n{}", String::from_utf8_lossy(out), String::from_utf8_lossy(err))
}

fn atto(amount: &Value) -> u128 {
    amount.as_str().unwrap().parse::<pouw_types::Amount>().unwrap().atto()
}

fn hello() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/hello/task.yaml");
    root.canonicalize().unwrap().display().to_string()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<_> = walk(folder);
    found.sort();
    found
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

/// What an invoice must say of a hello that completed, and where its money is.
fn check_invoice(devnet: &Devnet, invoice: &Value, grown: u128) {
    assert_eq!(invoice["phase"], "Closed", "{invoice}");
    assert_eq!(invoice["reason"], "Completed", "{invoice}");
    let part = |name: &str| atto(&invoice[name]);
    let price = part("price");
    assert!(price > 0, "{invoice}");
    assert_eq!(grown, price, "the payout address grows by exactly the price");
    assert_eq!(part("burned"), price / 20, "5 % on top, rounded down");
    assert_eq!(part("foundation"), price / 100, "1 % on top, rounded down");
    let spent = price + part("burned") + part("foundation");
    assert_eq!(spent + part("refunded"), part("deposited"), "{invoice}");
    for step in invoice["transactions"].as_array().unwrap() {
        let hash = step["transaction"].as_str().unwrap();
        let found = devnet.json(&["chain", "tx", hash]);
        assert_eq!(found["transactionHash"], hash, "every hash can be looked up");
    }
    check_supply(devnet);
}

/// I-1, from outside: every account there is, and what the contracts say they hold, at one block.
fn check_supply(devnet: &Devnet) {
    let network = pouw_types::Network::devnet();
    let rpc = Rpc::new(devnet.doors["json_rpc"].as_str().unwrap());
    let mut accounts: Vec<Address> = network.genesis.iter().map(|one| one.address).collect();
    accounts.push(network.foundation);
    accounts.push(devnet.doors["payout"].as_str().unwrap().parse().unwrap());
    let read = async {
        let height = rpc.head().await.unwrap().number;
        let mut sum = U256::ZERO;
        for account in accounts {
            let params = json!([account, height]);
            sum += rpc.call::<U256>("eth_getBalance", params).await.unwrap();
        }
        let data = Bytes::from(IRentals::totalsCall {}.abi_encode());
        let params = json!([{ "to": RENTALS, "data": data }, height]);
        let totals: Bytes = rpc.call("eth_call", params).await.unwrap();
        (sum, IRentals::totalsCall::abi_decode_returns(&totals).unwrap())
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (accounts, t) = runtime.block_on(read);
    assert_eq!(t.genesisSupply, network.genesis_supply().to_u256());
    assert!(t.burned > U256::ZERO && t.subsidies > U256::ZERO);
    assert_eq!(
        t.genesisSupply + t.subsidies - t.burned,
        accounts + t.escrows + t.bonds + t.stakes + t.pool + t.immature,
        "genesis + subsidies − burned = balances + escrows + bonds + stakes + pool + immature"
    );
}

#[test]
fn a_stranger_rents_a_machine_runs_hello_and_pays_exactly_for_it() {
    let devnet = Devnet::start();
    let results = devnet.folder.path().join("results");
    let payout = &devnet.doors["payout"];
    devnet.wait_for(&["plan", &hello()], "offer", |plan| plan["units"] == 1);
    let before = devnet.balance(payout);
    let invoice =
        devnet.json(&["run", "-y", "-q", &hello(), "--output", results.to_str().unwrap()]);
    check_invoice(&devnet, &invoice, devnet.balance(payout) - before);

    let names: Vec<_> = files(&results)
        .iter()
        .map(|path| path.strip_prefix(&results).unwrap().display().to_string())
        .collect();
    assert_eq!(names, ["log.txt", "out/01.txt", "out/02.txt", "out/03.txt"]);
    let second = std::fs::read_to_string(results.join("out/02.txt")).unwrap();
    assert_eq!(second, "hello from part 02\n");
    let logs = devnet.pouw().arg("logs").output().unwrap();
    assert!(told(&logs).contains("part 03 of 03"), "{}", told(&logs));
    let listed = devnet.json(&["ps", "--all"]);
    assert_eq!(listed[0]["phase"], "closed", "{listed}");
}

#[test]
fn a_power_cut_in_the_middle_of_a_rental_neither_charges_twice_nor_loses_anything() {
    let mut devnet = Devnet::start();
    let payout = devnet.doors["payout"].clone();
    devnet.wait_for(&["plan", &hello()], "offer", |plan| plan["units"] == 1);
    let before = devnet.balance(&payout);
    let started = devnet.json(&["run", "-y", "-q", "--detach", &hello()]);
    let rental = started["rental"].as_str().unwrap().to_owned();
    let running = |all: &Value| all["host"]["step"] == "run";
    devnet.wait_for(&["describe", &rental], "running task", running);
    devnet.kill();
    devnet.resume();
    let closed = |all: &Value| all["invoice"]["phase"] == "Closed";
    let described = devnet.wait_for(&["describe", &rental], "closed rental", closed);
    check_invoice(&devnet, &described["invoice"], devnet.balance(&payout) - before);
    assert_eq!(described["host"]["parts"].as_array().unwrap().len(), 3, "{described}");
}

#[test]
fn mistakes_are_told_with_a_code_of_their_own_before_any_money_moves() {
    let devnet = Devnet::start();
    devnet.wait_for(&["plan", &hello()], "offer", |plan| plan["units"] == 1);
    let task = devnet.folder.path().join("task.yaml");
    let original = std::fs::read_to_string(hello()).unwrap();
    let check = |from: &str, to: &str, code: i32, expected: &str| {
        let changed = original.replacen(from, to, 1);
        assert_ne!(changed, original, "{from} is not in the example");
        std::fs::write(&task, changed).unwrap();
        let output = devnet.pouw().args(["run", "-y"]).arg(&task).output().unwrap();
        let told = told(&output);
        assert_eq!(output.status.code(), Some(code), "{from} → {to}: {told}");
        assert!(told.contains(expected), "{from} → {to}: {told}, expected {expected}");
    };
    check("use_case:", "use_cas:", 2, "use_case");
    check("memory: 32MiB", "memory: 32MB!", 2, "memory");
    check("memory: 32MiB", "memory: 900GiB", 3, "memory");
    check("image: hello", "image: helo", 2, "did you mean `hello`");
    check("path: out/", "path: ../out/", 2, "parts");
    check("cost: 10", "cost: 0.000001", 3, "raise the limit");
    let missing = devnet.pouw().args(["run", "-y", "no-such.yaml"]).output().unwrap();
    assert_eq!(missing.status.code(), Some(2), "{}", told(&missing));
    let listed = devnet.json(&["ps", "--all"]);
    assert_eq!(listed.as_array().map(Vec::len), Some(0), "nothing was rented: {listed}");
    let nobody = devnet.pouw().args(["--rpc", "http://127.0.0.1:1", "chain", "status"]).output();
    assert_eq!(nobody.unwrap().status.code(), Some(5));
}

#[test]
fn unmodified_wallet_libraries_speak_to_a_devnet() {
    let devnet = Devnet::start();
    let url = format!("{}/rpc", devnet.doors["json_rpc"].as_str().unwrap());
    let run = Path::new(env!("CARGO_MANIFEST_DIR")).join("../api/tests/wallet/run");
    for library in ["viem", "web3"] {
        let output = Command::new(&run).args([library, &url]).output().unwrap();
        assert!(output.status.success(), "{library}: {}", told(&output));
        assert!(told(&output).contains("ok"), "{library}: {}", told(&output));
    }
}
