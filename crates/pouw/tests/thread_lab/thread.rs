//! Rentals as they should go, and mistakes that are told before any money moves.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::devnet::{Devnet, check_invoice, hello, part, told};

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<_> = walk(folder);
    found.sort();
    found
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
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
    check_invoice(&devnet, &invoice, "Completed", devnet.balance(payout) - before);
    assert!(part(&invoice, "price") > 0, "{invoice}");
    devnet.check_supply(&[]);

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
    let cost = devnet.json(&["cost"]);
    assert_eq!((&cost["price"], &cost["rentals"]), (&invoice["price"], &listed), "{cost}");
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
    let grown = devnet.balance(&payout) - before;
    check_invoice(&devnet, &described["invoice"], "Completed", grown);
    devnet.check_supply(&[]);
    devnet.check_clean(&devnet.doors["machine"]);
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
    for library in ["viem", "web3", "cast", "metamask"] {
        let output = Command::new(&run).args([library, &url]).output().unwrap();
        assert!(output.status.success(), "{library}: {}", told(&output));
        assert!(told(&output).contains("ok"), "{library}: {}", told(&output));
    }
}
