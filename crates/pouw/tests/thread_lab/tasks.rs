//! Tasks that go wrong, mistakes with money and keys, and quotes that are not what was agreed: one
//! devnet, one rental after the other.

use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::devnet::{Devnet, check_invoice, part, told};

/// A task of the image `hello` that runs a script.
pub(crate) struct Script {
    pub(crate) name: &'static str,
    pub(crate) image: String,
    pub(crate) lines: &'static str,
    pub(crate) more: &'static str,
}

impl Script {
    pub(crate) fn new(name: &'static str, lines: &'static str) -> Self {
        Self { name, image: "hello".to_owned(), lines, more: "" }
    }

    /// Writes it into a folder; `more` are further fields of the specification.
    pub(crate) fn write(&self, folder: &Path) -> PathBuf {
        let Self { name, image, lines, more } = self;
        let mut text = format!("version: 1\nname: {name}\nuse_case: general\nimage: {image}\n");
        text += "resources: {cpu: 500m, memory: 32MiB, disk: 32MiB}\n";
        text += "run:\n  command:\n    - sh\n    - -euc\n    - |\n";
        for line in lines.lines() {
            writeln!(text, "      {}", line.trim()).unwrap();
        }
        for line in more.lines() {
            writeln!(text, "{}", line.trim_start()).unwrap();
        }
        if !more.contains("limits:") {
            text += "limits: {time: 5m, cost: 10}\n";
        }
        let path = folder.join(format!("{name}.yaml"));
        std::fs::write(&path, text).unwrap();
        path
    }
}

/// What a rental that was run to its end came to.
struct Ended {
    code: Option<i32>,
    told: String,
    invoice: Value,
    grown: u128,
}

/// Runs a task to its end, with its invoice and what the host was paid.
fn run(devnet: &Devnet, script: &Script) -> Ended {
    let payout = &devnet.doors["payout"];
    let task = script.write(devnet.folder.path());
    let plan = ["plan", task.to_str().unwrap()];
    devnet.wait_for(&plan, "free machine", |plan| plan["units"] == 1);
    let before = devnet.balance(payout);
    let output = devnet.pouw().args(["--json", "run", "-y"]).arg(&task).output().unwrap();
    let told = told(&output);
    let invoice = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{told}"));
    let grown = devnet.balance(payout) - before;
    Ended { code: output.status.code(), told, invoice, grown }
}

/// What a task that ended badly by itself looks like: it ran, so it is paid; it is told why.
fn check_failed(devnet: &Devnet, script: &Script, expected: &str) -> Ended {
    let ended = run(devnet, script);
    assert_eq!(ended.code, Some(4), "{}", ended.told);
    assert!(ended.told.contains(expected), "{}, expected {expected}", ended.told);
    check_invoice(devnet, &ended.invoice, "Completed", ended.grown);
    assert!(ended.grown > 0, "what ran is paid: {}", ended.invoice);
    ended
}

fn a_non_zero_exit_is_told_and_paid(devnet: &Devnet) {
    let script = Script::new("exit-code", "echo on the way out >&2; sleep 1; exit 7");
    let ended = check_failed(devnet, &script, "the task ended with exit code 7");
    assert!(ended.told.contains("on the way out"), "{}", ended.told);
}

fn a_task_that_wants_more_memory_than_it_rented_is_told_so(devnet: &Devnet) {
    let script = Script::new("memory", "sleep 1; x=x; while true; do x=$x$x; done");
    check_failed(devnet, &script, "needed more memory than it rented");
}

/// The task's disk is as large as it rented; what it finished before counts.
fn a_full_disk_is_the_tasks_own_and_its_parts_count(devnet: &Devnet) {
    let script = Script {
        more: "parts: {path: \"out/{part:02}.txt\", count: 2, max_size: 4KiB}",
        ..Script::new(
            "full-disk",
            "mkdir out; echo one > out/.01; mv out/.01 out/01.txt
             dd if=/dev/zero of=out/.02 bs=1M count=64",
        )
    };
    let ended = check_failed(devnet, &script, "the task ended with exit code 1");
    assert!(ended.told.contains("No space left on device"), "{}", ended.told);
    let results = devnet.path("full-disk");
    let rental = ended.invoice["rental"].as_str().unwrap();
    let files = devnet.json(&["cp", rental, results.to_str().unwrap()]);
    assert_eq!(files.as_array().map(Vec::len), Some(2), "the part and the log: {files}");
    assert_eq!(std::fs::read_to_string(results.join("out/01.txt")).unwrap(), "one\n");
}

fn a_task_that_ignores_sigterm_is_killed_and_its_grace_is_not_billed(devnet: &Devnet) {
    let script = Script {
        more: "limits: {time: 5m, cost: 10, grace: 2s}",
        ..Script::new("deaf", "trap '' TERM; echo deaf; while true; do sleep 0.1; done")
    };
    let task = script.write(devnet.folder.path());
    let before = devnet.balance(&devnet.doors["payout"]);
    let rental = devnet.detached(&task);
    let ran = |host: &Value| host["step"] == "run" && host["meter"]["active_s"].as_u64() >= Some(2);
    devnet.host_says(&rental, "running task", ran);
    let stopped = devnet.pouw().args(["stop", "-y", &rental]).output().unwrap();
    assert!(stopped.status.success(), "{}", told(&stopped));
    let all = devnet.closed(&rental);
    assert_eq!(all["host"]["end"]["reason"], "client-stop", "{all}");
    let grown = devnet.balance(&devnet.doors["payout"]) - before;
    check_invoice(devnet, &all["invoice"], "ClientStop", grown);
    let logs = devnet.pouw().args(["logs", &rental]).output().unwrap();
    assert!(told(&logs).contains("deaf"), "{}", told(&logs));
}

fn an_image_that_does_not_exist_costs_nothing(devnet: &Devnet) {
    let free = |plan: &Value| plan["units"] == 1;
    let plan = devnet.wait_for(&["plan", &crate::devnet::hello()], "free machine", free);
    let image = plan["task"]["image"].as_str().unwrap();
    let (name, _) = image.split_once('@').unwrap();
    let image = format!("{name}@sha256:{}", "0".repeat(64));
    let ended = run(devnet, &Script { image: image.clone(), ..Script::new("no-image", "true") });
    assert_eq!(ended.code, Some(4), "{}", ended.told);
    assert!(ended.told.contains("preparation failed"), "{}", ended.told);
    assert!(ended.told.contains(&image), "the image is named: {}", ended.told);
    assert!(ended.told.contains("the escrow comes back when closing ends"), "{}", ended.told);
    let all = devnet.closed(ended.invoice["rental"].as_str().unwrap());
    check_invoice(devnet, &all["invoice"], "GateFailed", ended.grown);
    assert_eq!(ended.grown, 0, "{all}");
    assert_eq!(part(&all["invoice"], "refunded"), part(&all["invoice"], "deposited"));
}

/// The run is refused with a code and a text, and no money moves.
fn check_refused(devnet: &Devnet, profile: &Path, code: i32, expected: &str) {
    let before = devnet.json(&["ps", "--all"]);
    let mut command = devnet.pouw();
    command.args(["--profile", profile.to_str().unwrap(), "run", "-y", &crate::devnet::hello()]);
    let password = devnet.path("password");
    std::fs::write(&password, "correct horse").unwrap();
    let output = command.env("POUW_PASSWORD_FILE", &password).output().unwrap();
    assert_eq!(output.status.code(), Some(code), "{}", told(&output));
    assert!(told(&output).contains(expected), "{}, expected {expected}", told(&output));
    assert_eq!(devnet.json(&["ps", "--all"]), before, "nothing was rented");
}

/// The devnet's profile with something changed.
fn profile(devnet: &Devnet, name: &str, from: &str, to: &str) -> PathBuf {
    let file = devnet.doors["profile"].as_str().unwrap();
    let original = std::fs::read_to_string(file).unwrap();
    let changed = original.replacen(from, to, 1);
    assert_ne!(changed, original, "{from} is not in the profile: {original}");
    let path = devnet.path(name);
    std::fs::write(&path, changed).unwrap();
    path
}

fn an_unfunded_wallet_is_told_what_is_missing(devnet: &Devnet) {
    let password = devnet.path("password");
    std::fs::write(&password, "correct horse").unwrap();
    let made = devnet.json(&["wallet", "new", "--password-file", password.to_str().unwrap()]);
    let keystore = made["keystore"].as_str().unwrap_or_else(|| panic!("{made}"));
    let account = format!("keystore = {keystore:?}");
    let profile = profile(devnet, "poor.toml", "devnet = 0", &account);
    check_refused(devnet, &profile, 3, "has 0 FLUX, the deposit is");
}

fn a_wrong_s3_secret_is_told_before_any_money_moves(devnet: &Devnet) {
    let keys = devnet.doors["s3_credentials"].as_str().unwrap();
    let original = std::fs::read_to_string(keys).unwrap();
    let secret = original.rsplit('=').next().unwrap().trim();
    let wrong = devnet.path("wrong-keys");
    std::fs::write(&wrong, original.replace(secret, &"x".repeat(secret.len()))).unwrap();
    let profile = profile(devnet, "wrong.toml", keys, wrong.to_str().unwrap());
    check_refused(devnet, &profile, 3, "SignatureDoesNotMatch");
}

#[test]
fn what_goes_wrong_in_a_task_or_before_it_is_told_typed_paid_right_and_leaves_nothing() {
    let devnet = Devnet::start();
    type Case = (&'static str, fn(&Devnet));
    let cases: [Case; 8] = [
        ("wallet", an_unfunded_wallet_is_told_what_is_missing),
        ("S3 secret", a_wrong_s3_secret_is_told_before_any_money_moves),
        ("exit code", a_non_zero_exit_is_told_and_paid),
        ("memory", a_task_that_wants_more_memory_than_it_rented_is_told_so),
        ("full disk", a_full_disk_is_the_tasks_own_and_its_parts_count),
        ("SIGTERM", a_task_that_ignores_sigterm_is_killed_and_its_grace_is_not_billed),
        ("image", an_image_that_does_not_exist_costs_nothing),
        ("quotes", crate::quotes::an_altered_expired_or_replayed_quote_opens_nothing),
    ];
    let mut failed = Vec::new();
    for (name, case) in cases {
        if catch_unwind(AssertUnwindSafe(|| case(&devnet))).is_err() {
            failed.push(name);
        }
    }
    assert_eq!(failed, Vec::<&str>::new(), "what they told is above");
    devnet.check_supply(&[]);
    devnet.check_clean(&devnet.doors["machine"]);
}
