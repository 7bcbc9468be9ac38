//! Disks that are full: the node's, the store's, the host's, each a small file system of its own.

use alloy_primitives::{B256, U64};
use pouw::client::rpc::Rpc;
use serde_json::{Value, json};

use crate::devnet::{Devnet, block_on, check_invoice, hello, told, wait_until};
use crate::tasks::Script;

/// The top's height and hash; `None` once nobody answers.
fn top(rpc: &Rpc) -> Option<(U64, B256)> {
    let block: Value = block_on(rpc.call("eth_getBlockByNumber", json!(["latest", false]))).ok()?;
    let part = |name: &str| block[name].clone();
    Some((
        serde_json::from_value(part("number")).unwrap(),
        serde_json::from_value(part("hash")).unwrap(),
    ))
}

#[test]
fn a_node_on_a_full_disk_stops_loses_no_block_and_goes_on_with_room() {
    let mut devnet = Devnet::on_disk(&["--no-host", "--block-time", "1000"], "", 64);
    let rpc = devnet.rpc();
    wait_until("some blocks", || match top(&rpc) {
        Some((height, _)) if height >= U64::from(3) => Ok(()),
        seen => Err(format!("{seen:?}")),
    });
    devnet.disk().fill();
    let mut last = None;
    wait_until("end of the node", || match top(&rpc) {
        Some(seen) => {
            last = Some(seen);
            Err(format!("{seen:?}"))
        }
        None => Ok(()),
    });
    let (height, hash) = last.expect("it answers until it stops");
    let (code, log) = devnet.ended();
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("the chain can't go on") && log.contains("No space left"), "{log}");
    devnet.disk().free();
    devnet.resume();
    let rpc = devnet.rpc();
    let block: Value = block_on(rpc.call("eth_getBlockByNumber", json!([height, false]))).unwrap();
    assert_eq!(block["hash"], json!(hash), "no committed block is lost");
    wait_until("further blocks", || match top(&rpc) {
        Some((now, _)) if now > height + U64::from(2) => Ok(()),
        seen => Err(format!("{seen:?}")),
    });
}

#[test]
fn a_full_store_is_told_before_money_moves_and_keeps_what_it_has() {
    let devnet = Devnet::on_disk(&[], "store", 24);
    let free_machine =
        || devnet.wait_for(&["plan", &hello()], "machine", |plan| plan["units"] == 1);
    free_machine();
    let first = devnet.json(&["run", "-y", "-q", &hello()]);
    free_machine();
    devnet.disk().fill();
    let output = devnet.pouw().args(["run", "-y", &hello()]).output().unwrap();
    let told = told(&output);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("507: InsufficientStorage") && told.contains("is full"), "{told}");
    let listed = devnet.json(&["ps", "--all"]);
    assert_eq!(listed.as_array().map(Vec::len), Some(1), "nothing more was rented: {listed}");
    let (kept, again) = (devnet.path("kept"), devnet.path("again"));
    let rental = first["rental"].as_str().unwrap();
    let files = devnet.json(&["cp", rental, kept.to_str().unwrap()]);
    assert_eq!(files.as_array().map(Vec::len), Some(4), "three parts and the log: {files}");
    devnet.disk().free();
    devnet.json(&["run", "-y", "-q", &hello(), "--output", again.to_str().unwrap()]);
    assert!(again.join("out/03.txt").exists());
}

/// What the client's own store can't take is no fault of the host: it is paid, and says why.
#[test]
fn a_store_that_fills_up_under_a_task_is_named_and_the_host_is_paid() {
    let devnet = Devnet::on_disk(&[], "store", 24);
    let script = Script {
        more: "parts: {path: \"out/{part:02}.txt\", count: 1, max_size: 4KiB}",
        ..Script::new("late", "mkdir out; sleep 6; echo one > out/.01; mv out/.01 out/01.txt")
    };
    let task = script.write(devnet.folder.path());
    let before = devnet.balance(&devnet.doors["payout"]);
    let rental = devnet.detached(&task);
    devnet.host_says(&rental, "running task", |host| host["step"] == "run");
    devnet.disk().fill();
    let all = devnet.closed(&rental);
    let grown = devnet.balance(&devnet.doors["payout"]) - before;
    check_invoice(&devnet, &all["invoice"], "Completed", grown);
    let remarks = all["host"]["remarks"].to_string();
    assert!(remarks.contains("InsufficientStorage"), "{all}");
    devnet.check_clean(&devnet.doors["machine"]);
}

#[test]
fn a_host_that_cannot_write_its_journal_freezes_the_task_unbilled_and_goes_on_with_room() {
    let devnet = Devnet::on_disk(&[], "host", 640);
    let script = Script::new("long", "i=0; while [ $i -lt 60 ]; do sleep 0.1; i=$((i+1)); done");
    let task = script.write(devnet.folder.path());
    let before = devnet.balance(&devnet.doors["payout"]);
    let rental = devnet.detached(&task);
    devnet.host_says(&rental, "running task", |host| {
        host["step"] == "run" && host["meter"]["active_s"].as_u64() >= Some(2)
    });
    devnet.disk().fill();
    let stood = devnet.host_says(&rental, "frozen task", |host| {
        host["paused"].as_str().is_some_and(|why| why.contains("journal"))
    });
    let active_s = stood["host"]["meter"]["active_s"].as_u64().unwrap();
    // Ten blocks: some twenty seconds, in which nothing is billed.
    let height = top(&devnet.rpc()).unwrap().0;
    wait_until("ten blocks", || match top(&devnet.rpc()) {
        Some((now, _)) if now > height + U64::from(10) => Ok(()),
        seen => Err(format!("{seen:?}")),
    });
    devnet.disk().free();
    let all = devnet.closed(&rental);
    let grown = devnet.balance(&devnet.doors["payout"]) - before;
    check_invoice(&devnet, &all["invoice"], "Completed", grown);
    let billed = devnet.on_chain(&rental).best.activeS;
    assert!((6..=active_s + 12).contains(&billed), "{billed} s billed, {active_s} before: {all}");
    devnet.check_clean(&devnet.doors["machine"]);
}
