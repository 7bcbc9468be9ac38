//! A devnet process in a folder of its own, and what can be asked of it from outside.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use alloy_primitives::{Address, Bytes, U256};
use alloy_sol_types::SolCall;
use pouw::client::rpc::Rpc;
use pouw_types::contracts::{IRentals, RENTALS};
use pouw_types::{Amount, RentalId};
use serde_json::{Value, json};

use crate::disk::Disk;

/// How long anything may take before a test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

/// A devnet process; ended when the test ends, however it ends.
pub(crate) struct Devnet {
    /// A small one below the folder, taken away before it.
    pub(crate) disk: Option<Disk>,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) doors: Value,
    process: Option<Child>,
    arguments: Vec<String>,
    docker: Option<String>,
}

impl Devnet {
    /// With this machine as its host.
    pub(crate) fn start() -> Self {
        Self::with(&[], None)
    }

    /// With arguments of its own, and another engine than the usual one.
    pub(crate) fn with(arguments: &[&str], docker: Option<String>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let arguments = arguments.iter().map(|&one| one.to_owned()).collect();
        let doors = Value::Null;
        let mut devnet = Self { disk: None, folder, doors, process: None, arguments, docker };
        devnet.resume();
        devnet
    }

    /// With a disk of its own for one part of its data, or for all of it.
    pub(crate) fn on_disk(arguments: &[&str], part: &str, mib: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let net = folder.path().join("net");
        std::fs::create_dir(&net).unwrap();
        if !part.is_empty() {
            // As if it had been started before: else a folder with anything in it is not touched.
            std::fs::write(net.join("version"), "1").unwrap();
        }
        let disk = Some(Disk::mount(&net.join(part), mib));
        let arguments = arguments.iter().map(|&one| one.to_owned()).collect();
        let doors = Value::Null;
        let mut devnet = Self { disk, folder, doors, process: None, arguments, docker: None };
        devnet.resume();
        devnet
    }

    pub(crate) fn disk(&self) -> &Disk {
        self.disk.as_ref().unwrap()
    }

    /// Waits until the process ends by itself; its exit code, and what it said.
    pub(crate) fn ended(&mut self) -> (Option<i32>, String) {
        let mut process = self.process.take().unwrap();
        let status = wait_until("end of the devnet", || {
            process.try_wait().unwrap().ok_or_else(|| "it runs".to_owned())
        });
        (status.code(), std::fs::read_to_string(self.path("devnet.log")).unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The command, as a person of this devnet types it.
    pub(crate) fn pouw(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pouw"));
        command
            .env("POUW_CONFIG", self.path("config.toml"))
            .env("POUW_DATA", self.path("data"))
            .env_remove("POUW_PROFILE")
            .env_remove("POUW_RPC")
            .stdin(Stdio::null());
        if let Some(docker) = &self.docker {
            command.env("DOCKER_HOST", docker);
        }
        command
    }

    /// Starts it, or starts it again after a kill; ports and data are the same.
    pub(crate) fn resume(&mut self) {
        let (out, log) = (self.path("doors.json"), self.path("devnet.log"));
        let mut command = self.pouw();
        command.args(["devnet", "start", "--json", "--log", "info", "--data"]);
        command.arg(self.path("net")).args(&self.arguments);
        let mut process = spawn(&mut command, &out, &log);
        self.doors = wait_until("doors", || {
            let text = std::fs::read_to_string(&out).unwrap();
            let told = || std::fs::read_to_string(&log).unwrap();
            assert!(process.try_wait().unwrap().is_none(), "the devnet ended: {}", told());
            serde_json::from_str(&text).map_err(|_| told())
        });
        self.process = Some(process);
        if !self.arguments.iter().any(|one| one == "--no-host") {
            assert_eq!(self.doors["no_host"], Value::Null, "this machine is not offered");
        }
    }

    /// As a power cut does.
    pub(crate) fn kill(&mut self) {
        let mut process = self.process.take().unwrap();
        process.kill().unwrap();
        process.wait().unwrap();
    }

    /// A command's JSON; it must succeed.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let output = self.pouw().arg("--json").args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", told(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Waits until a command's JSON satisfies a condition.
    pub(crate) fn wait_for(
        &self,
        arguments: &[&str],
        what: &str,
        holds: impl Fn(&Value) -> bool,
    ) -> Value {
        wait_until(what, || {
            let output = self.pouw().arg("--json").args(arguments).output().unwrap();
            match serde_json::from_slice(&output.stdout) {
                Ok(value) if output.status.success() && holds(&value) => Ok(value),
                _ => Err(told(&output)),
            }
        })
    }

    /// Opens a rental that goes on without its client, once the machine is free; returns its id.
    pub(crate) fn detached(&self, task: &Path) -> String {
        let plan = ["plan", task.to_str().unwrap()];
        self.wait_for(&plan, "free machine", |plan| plan["units"] == 1);
        let started = self.json(&["run", "-y", "-q", "--detach", task.to_str().unwrap()]);
        started["rental"].as_str().unwrap().to_owned()
    }

    /// Waits until a rental's host says so.
    pub(crate) fn host_says(&self, rental: &str, what: &str, holds: fn(&Value) -> bool) -> Value {
        self.wait_for(&["describe", rental], what, |all| holds(&all["host"]))
    }

    /// Waits until a rental is settled for good.
    pub(crate) fn closed(&self, rental: &str) -> Value {
        let closed = |all: &Value| all["invoice"]["phase"] == "Closed";
        self.wait_for(&["describe", rental], "closed rental", closed)
    }

    pub(crate) fn balance(&self, address: &Value) -> u128 {
        let address = address.as_str().unwrap();
        atto(&self.json(&["wallet", "balance", address])[0]["balance"])
    }

    pub(crate) fn rpc(&self) -> Rpc {
        Rpc::new(self.doors["json_rpc"].as_str().unwrap())
    }

    /// What the ledger knows of a rental.
    pub(crate) fn on_chain(&self, rental: &str) -> IRentals::Rental {
        let rental: RentalId = rental.parse().unwrap();
        let call = IRentals::rentalOfCall { rental: rental.get() };
        let rpc = self.rpc();
        block_on(async { rpc.view(RENTALS, &call).await.unwrap() })
    }

    /// I-1, from outside: every account there is, and what the contracts say they hold, at one
    /// block.
    pub(crate) fn check_supply(&self, others: &[Address]) {
        let network = pouw_types::Network::devnet();
        let rpc = self.rpc();
        let mut accounts: Vec<Address> = network.genesis.iter().map(|one| one.address).collect();
        accounts.push(network.foundation);
        accounts.push(self.doors["payout"].as_str().unwrap().parse().unwrap());
        accounts.extend(others);
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
        let (accounts, t) = block_on(read);
        assert_eq!(t.genesisSupply, network.genesis_supply().to_u256());
        assert!(t.burned > U256::ZERO && t.subsidies > U256::ZERO);
        assert_eq!(
            t.genesisSupply + t.subsidies - t.burned,
            accounts + t.escrows + t.bonds + t.stakes + t.pool + t.immature,
            "genesis + subsidies − burned = balances + escrows + bonds + stakes + pool + immature"
        );
    }

    /// That nothing of this devnet's rentals is left on the machine.
    pub(crate) fn check_clean(&self, machine: &Value) {
        check_clean(machine.as_str().unwrap(), self.folder.path(), self.docker.as_deref());
    }
}

impl Drop for Devnet {
    fn drop(&mut self) {
        if let Some(process) = self.process.take() {
            end(process);
        }
    }
}

/// That nothing of a machine's rentals is left: no container, volume or network with its label, no
/// file system below its folder.
pub(crate) fn check_clean(machine: &str, folder: &Path, engine: Option<&str>) {
    let label = format!("label=pouw.machine={machine}");
    for kind in [&["ps", "-aq"][..], &["volume", "ls", "-q"], &["network", "ls", "-q"]] {
        wait_until("clean machine", || {
            let mut docker = Command::new("docker");
            docker.args(kind).args(["--filter", &label]);
            docker.envs(engine.map(|engine| ("DOCKER_HOST", engine)));
            let left = docker.output().unwrap();
            assert!(left.status.success(), "{}", told(&left));
            if left.stdout.is_empty() { Ok(()) } else { Err(told(&left)) }
        });
    }
    let folder = folder.display().to_string();
    wait_until("mounts gone", || {
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
        let ours = |line: &&str| line.contains(&folder) && !line.starts_with("tmpfs ");
        let left: Vec<&str> = mounts.lines().filter(ours).collect();
        if left.is_empty() { Ok(()) } else { Err(left.join("\n")) }
    });
}

/// Starts a program whose output goes to two files.
pub(crate) fn spawn(command: &mut Command, out: &Path, log: &Path) -> Child {
    let out = std::fs::File::create(out).unwrap();
    let log = std::fs::File::create(log).unwrap();
    command.stdin(Stdio::null()).stdout(out).stderr(log).spawn().unwrap()
}

/// Ends a program in order, so that it takes its containers and mounts down.
pub(crate) fn end(mut process: Child) {
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

/// Asks again and again until the answer is there; then what was seen last is told.
pub(crate) fn wait_until<T>(what: &str, mut ask: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match ask() {
            Ok(answer) => return answer,
            Err(seen) => assert!(Instant::now() < deadline, "no {what}: {seen}"),
        }
        std::thread::park_timeout(Duration::from_millis(200));
    }
}

pub(crate) fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(work)
}

pub(crate) fn told(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    format!("{}\n{}", String::from_utf8_lossy(out), String::from_utf8_lossy(err))
}

pub(crate) fn atto(amount: &Value) -> u128 {
    amount.as_str().unwrap().parse::<Amount>().unwrap().atto()
}

pub(crate) fn hello() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/hello/task.yaml");
    root.canonicalize().unwrap().display().to_string()
}

/// What an invoice says of one part of the money.
pub(crate) fn part(invoice: &Value, name: &str) -> u128 {
    atto(&invoice[name])
}

/// What every settled invoice must say: fees to the atto, and every atto of the deposit.
pub(crate) fn check_invoice(devnet: &Devnet, invoice: &Value, reason: &str, grown: u128) {
    assert_eq!(invoice["phase"], "Closed", "{invoice}");
    assert_eq!(invoice["reason"], reason, "{invoice}");
    let price = part(invoice, "price");
    assert_eq!(grown, price, "the payout address grows by exactly the price: {invoice}");
    assert_eq!(part(invoice, "burned"), price / 20, "5 % on top, rounded down");
    assert_eq!(part(invoice, "foundation"), price / 100, "1 % on top, rounded down");
    let spent = price + part(invoice, "burned") + part(invoice, "foundation");
    assert_eq!(spent + part(invoice, "refunded"), part(invoice, "deposited"), "{invoice}");
    for step in invoice["transactions"].as_array().unwrap() {
        let hash = step["transaction"].as_str().unwrap();
        let found = devnet.json(&["chain", "tx", hash]);
        assert_eq!(found["transactionHash"], hash, "every hash can be looked up");
    }
}
