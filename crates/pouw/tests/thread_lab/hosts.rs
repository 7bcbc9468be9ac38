//! Hosts of their own processes: one that lost half its processor, one that lies and vanishes, and
//! one whose rental lost its signer.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::SystemTime;

use alloy_primitives::{Address, Bytes};
use alloy_signer::SignerSync;
use alloy_sol_types::SolCall;
use pouw::client::node::{Node, NodeError};
use pouw::client::sender::{Order, SendError, Sender};
use pouw::session::devnet_key;
use pouw_agent::{Cosigned, HostCall, receipt};
use pouw_types::contracts::{IRentals, RENTALS, Receipt};
use pouw_types::signing::{Signable, Signed};
use pouw_types::{Amount, Network, RentalId};
use serde_json::Value;

use crate::devnet::{
    Devnet, PATIENCE, block_on, check_invoice, end, hello, part, spawn, told, wait_until,
};
use crate::tasks::Script;

/// The devnet's account that acts for the machine.
const OPERATOR: u32 = 9;

/// `pouw host run` beside a devnet without a host.
struct Host {
    folder: PathBuf,
    profile: PathBuf,
    machine: Value,
    process: Option<Child>,
}

impl Host {
    /// Measures this machine and offers it, with a setting changed.
    fn start(devnet: &Devnet, from: &str, to: &str) -> Self {
        let profile = std::fs::read_to_string(devnet.doors["profile"].as_str().unwrap()).unwrap();
        let own = devnet.path("operator.toml");
        std::fs::write(&own, profile.replacen("devnet = 0", "devnet = 9", 1)).unwrap();
        let mut host =
            Self { folder: devnet.path("host"), profile: own, machine: Value::Null, process: None };
        let payout = devnet.doors["payout"].as_str().unwrap();
        let mut install = host.command(devnet, "install");
        install.args(["--json", "--listen", "127.0.0.1:0", "--payout", payout]);
        let output = install.output().unwrap();
        assert!(output.status.success(), "{}", told(&output));
        let installed: Value = serde_json::from_slice(&output.stdout).unwrap();
        host.machine = installed["machine"].clone();
        host.set(from, to);
        host.resume(devnet);
        host
    }

    fn set(&self, from: &str, to: &str) {
        let settings = self.folder.join("host.toml");
        let text = std::fs::read_to_string(&settings).unwrap();
        assert!(text.contains(from), "{from} is not in {text}");
        std::fs::write(&settings, text.replacen(from, to, 1)).unwrap();
    }

    /// Lists half of what was measured: gates pass whatever the tests' machine does beside.
    fn list_half(&mut self, devnet: &Devnet) {
        self.kill();
        self.set("listed_percent = 100", "listed_percent = 50");
        self.resume(devnet);
    }

    fn command(&self, devnet: &Devnet, verb: &str) -> Command {
        let mut command = devnet.pouw();
        command.args(["--profile", self.profile.to_str().unwrap(), "host", verb, "--data"]);
        command.arg(&self.folder);
        command
    }

    fn resume(&mut self, devnet: &Devnet) {
        let (out, log) = (devnet.path("host.out"), devnet.path("host.log"));
        let mut run = self.command(devnet, "run");
        self.process = Some(spawn(run.args(["--log", "info"]), &out, &log));
        devnet.wait_for(&["plan", &hello()], "offered machine", |plan| plan["units"] == 1);
    }

    fn pid(&self) -> u32 {
        self.process.as_ref().unwrap().id()
    }

    /// As a power cut does.
    fn kill(&mut self) {
        let mut process = self.process.take().unwrap();
        process.kill().unwrap();
        process.wait().unwrap();
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some(process) = self.process.take() {
            end(process);
        }
    }
}

/// A control group with half a processor; removed when it is dropped, once it is empty.
struct Half {
    group: PathBuf,
    parent: PathBuf,
}

impl Half {
    fn new() -> Self {
        let root = Path::new("/sys/fs/cgroup");
        let unified = root.join("cgroup.controllers").exists();
        let parent = if unified { root.to_path_buf() } else { root.join("cpu") };
        if unified {
            write(&parent.join("cgroup.subtree_control"), "+cpu");
        }
        let group = parent.join(format!("pouw-lab-thread-{}", std::process::id()));
        std::fs::create_dir(&group).expect("missing: the right to make a control group");
        let half = Self { group, parent };
        if unified {
            write(&half.group.join("cpu.max"), "50000 100000");
        } else {
            write(&half.group.join("cpu.cfs_quota_us"), "50000");
        }
        half
    }

    fn take_in(&self, pid: u32) {
        write(&self.group.join("cgroup.procs"), &pid.to_string());
    }
}

impl Drop for Half {
    fn drop(&mut self) {
        let procs = std::fs::read_to_string(self.group.join("cgroup.procs")).unwrap_or_default();
        for pid in procs.lines() {
            drop(std::fs::write(self.parent.join("cgroup.procs"), pid));
        }
        drop(std::fs::remove_dir(&self.group));
    }
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap_or_else(|error| {
        panic!("missing: root's right to write {text:?} to {}: {error}", path.display())
    });
}

fn send(devnet: &Devnet, account: u32, data: Bytes) -> Result<(), SendError> {
    let sender = Sender::new(devnet_key(account).unwrap(), Network::devnet().chain_id);
    let order = Order { to: RENTALS, value: Amount::ZERO, data };
    let rpc = devnet.rpc();
    block_on(async { sender.execute(&rpc, &order).await.map(|_| ()) })
}

const LONG: &str = "while true; do echo on; sleep 0.5; done";

/// With half a processor the gate ends the rental, and it costs nothing. Returns the rental, whose
/// escrow comes back when its Closing ends.
fn a_halved_quota_fails_the_gate(devnet: &Devnet, host: &Host) -> String {
    let half = Half::new();
    half.take_in(host.pid());
    let output = devnet.pouw().args(["--json", "run", "-y", &hello()]).output().unwrap();
    assert_eq!(output.status.code(), Some(4), "{}", told(&output));
    assert!(told(&output).contains("was needed"), "the gate's score is told: {}", told(&output));
    let invoice: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(invoice["reason"], "GateFailed", "{invoice}");
    assert_eq!(part(&invoice, "price"), 0, "{invoice}");
    devnet.check_clean(&host.machine);
    invoice["rental"].as_str().unwrap().to_owned()
}

/// What a lying host tries, with all keys a host has: more time than passed.
fn a_host_claims_more_than_passed(devnet: &Devnet, host: &Host, rental: &str, signed: &Value) {
    let chain_id = Network::devnet().chain_id;
    let machine = pouw_vault::load_or_create(&host.folder.join("machine.key")).unwrap();
    let id: RentalId = rental.parse().unwrap();
    let all = devnet.json(&["describe", rental]);
    let signer: Address = all["run"]["signer"].as_str().unwrap().parse().unwrap();
    // Not the head's time, which lies behind that of the last receipt.
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let quote = block_on(async {
        let call = IRentals::quoteOfCall { rental: id.get() };
        devnet.rpc().view(RENTALS, &call).await.unwrap()
    });
    let sign = |receipt: &Receipt| -> Bytes {
        let signature = machine.sign_hash_sync(&receipt.digest(chain_id)).unwrap();
        signature.as_bytes().to_vec().into()
    };
    let lie = |active_s| {
        let value = Receipt {
            rental: id.get(),
            seq: 100,
            at: now,
            activeS: active_s,
            // Not below what was signed since it was asked.
            storageGibS: u128::from(signed["storage_gib_s"].as_u64().unwrap()) + 10,
            ..Receipt::default()
        };
        let signature = sign(&value);
        Signed { value, signature }
    };
    // To the signer: it has a clock of its own.
    let node = Node::new(devnet.doors["http"].as_str().unwrap(), PATIENCE);
    let opened = devnet.on_chain(rental).times.openedAt;
    for active_s in [now - opened + 60, quote.caps.activeS + 1, u64::MAX] {
        let refused = block_on(node.cosign(signer, &lie(active_s)));
        let Err(NodeError::Refused { message, .. }) = refused else { panic!("{refused:?}") };
        assert!(message.contains("activeS"), "{message}");
    }
    // To the ledger: both signatures by the machine, and a claim while nothing has ended.
    let forged = lie(5);
    let settle = HostCall::Settle(Box::new(Cosigned {
        receipt: forged.value,
        machine_signature: forged.signature.clone(),
        signer_signature: forged.signature,
    }));
    let claim = HostCall::Claim { rental: id, active_s: 1_000_000_000, storage_gib_s: 0 };
    for lie in [settle, claim] {
        let refused = send(devnet, OPERATOR, lie.input());
        assert!(matches!(refused, Err(SendError::Rpc(_))), "{}: {refused:?}", lie.name());
    }
    assert_eq!(devnet.on_chain(rental).best.seq, 0, "nothing was settled");
}

/// The client gets everything back from a host that took its receipts and never came.
fn a_host_that_never_settles_is_paid_nothing(devnet: &Devnet, host: &mut Host, rental: &str) {
    let before = devnet.balance(&devnet.doors["payout"]);
    let signed = |host: &Value| host["signed"]["active_s"].as_u64() >= Some(10);
    let seen = devnet.host_says(rental, "ten signed seconds", signed);
    host.kill();
    a_host_claims_more_than_passed(devnet, host, rental, &seen["host"]["signed"]);
    let stopped = devnet.pouw().args(["--json", "stop", "-y", "--host-gone", rental]).output();
    let stopped = stopped.unwrap();
    assert!(stopped.status.success(), "{}", told(&stopped));
    assert!(told(&stopped).contains("the host did not answer"), "{}", told(&stopped));
    let invoice: Value = serde_json::from_slice(&stopped.stdout).unwrap();
    let grown = devnet.balance(&devnet.doors["payout"]) - before;
    check_invoice(devnet, &invoice, "HostFault", grown);
    assert_eq!(grown, 0, "{invoice}");
    assert_eq!(part(&invoice, "refunded"), part(&invoice, "deposited"), "{invoice}");
}

#[test]
fn a_host_that_slows_down_lies_or_vanishes_gets_nothing_for_it() {
    let devnet = Devnet::with(&["--no-host"], None);
    let mut host = Host::start(&devnet, "bond = \"10\"", "bond = \"0\"");
    let gated = a_halved_quota_fails_the_gate(&devnet, &host);
    host.list_half(&devnet);
    let rental = devnet.detached(&Script::new("long", LONG).write(devnet.folder.path()));
    a_host_that_never_settles_is_paid_nothing(&devnet, &mut host, &rental);
    // Its Closing is over, and no host is there to finalize it: the client takes its escrow back.
    let invoice = &devnet.json(&["stop", "-y", &gated]);
    assert_eq!((&invoice["phase"], &invoice["reason"]), (&"Closed".into(), &"GateFailed".into()));
    assert_eq!(part(invoice, "refunded"), part(invoice, "deposited"), "{invoice}");
    assert_eq!(part(invoice, "forfeited"), 0, "{invoice}");
    devnet.check_supply(&[]);
    // What a killed agent left is gone once it is back.
    host.resume(&devnet);
    devnet.check_clean(&host.machine);
}

fn set_signer(devnet: &Devnet, rental: &str, signer: Address) {
    let rental: RentalId = rental.parse().unwrap();
    let call = IRentals::setSignerCall { rental: rental.get(), signer };
    send(devnet, 0, call.abi_encode().into()).unwrap();
}

/// A rental's signer goes, comes back after the host has called for it, and goes for good.
#[test]
fn a_lost_signer_freezes_the_task_may_come_back_and_else_the_host_is_paid_what_passed() {
    let devnet = Devnet::with(&["--no-host"], None);
    let mut host = Host::start(&devnet, "patience_s = 300", "patience_s = 15");
    host.list_half(&devnet);
    let before = devnet.balance(&devnet.doors["payout"]);
    let rental = devnet.detached(&Script::new("long", LONG).write(devnet.folder.path()));
    let signer: Address = {
        let all = devnet.json(&["describe", &rental]);
        all["run"]["signer"].as_str().unwrap().parse().unwrap()
    };
    let nobody = Address::repeat_byte(0x51);
    devnet.host_says(&rental, "running task", |host| host["meter"]["active_s"].as_u64() >= Some(1));
    set_signer(&devnet, &rental, nobody);
    let frozen = |host: &Value| host["paused"].as_str().is_some_and(|why| why.contains("signer"));
    let told = devnet.host_says(&rental, "frozen task", frozen);
    let host_view = &told["host"];
    let signed = host_view["signed"]["active_s"].as_u64().unwrap();
    let active = host_view["meter"]["active_s"].as_u64().unwrap();
    assert!(active <= signed + receipt::ahead_s(signed), "{host_view}");

    set_signer(&devnet, &rental, signer);
    let goes_on =
        |host: &Value| host["paused"].is_null() && host["signed"]["active_s"].as_u64() >= Some(20);
    devnet.host_says(&rental, "task that goes on", goes_on);
    wait_until("answered call", || {
        let call = devnet.on_chain(&rental).hostCall;
        if call.by.is_zero() { Ok(()) } else { Err(format!("{call:?}")) }
    });

    set_signer(&devnet, &rental, nobody);
    let all = devnet.closed(&rental);
    assert_eq!(all["host"]["end"]["reason"], "client-silent", "{all}");
    let grown = devnet.balance(&devnet.doors["payout"]) - before;
    check_invoice(&devnet, &all["invoice"], "ClientSilent", grown);
    let ledger = devnet.on_chain(&rental);
    let ahead = ledger.claim.activeS - ledger.best.activeS;
    assert!(ledger.claim.made && ahead > 0, "{:?} after {:?}", ledger.claim, ledger.best);
    assert!(ahead <= receipt::ahead_s(ledger.best.activeS), "{ahead}");
    devnet.check_supply(&[]);
    devnet.check_clean(&host.machine);
}
