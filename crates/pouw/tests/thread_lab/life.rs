//! The life of a rental's data on the real system: saved, gone on from, kept, sent elsewhere; and a
//! host that gives notice.

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde_json::Value;

use crate::devnet::{Devnet, told};
use crate::tasks::Script;

/// Counts into its folder, and ends at once where a count is there already.
const COUNTS: &str = "mkdir -p state; if [ -f state/n ]; then echo goes on from $(cat state/n); exit 0; fi
                      i=0; while true; do i=$((i+1)); echo $i > state/.n; mv state/.n state/n; sleep 1; done";

/// Runs to the end, and what was told.
fn run(devnet: &Devnet, arguments: &[&str]) -> String {
    let output = devnet.pouw().args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", told(&output));
    told(&output)
}

fn active(host: &Value) -> u64 {
    host["meter"]["active_s"].as_u64().unwrap_or(0)
}

fn a_task_goes_on_from_its_checkpoint_in_another_rental(devnet: &Devnet) {
    let script = Script {
        more: "checkpoint: {path: state, interval: 10s, max_size: 1MiB}",
        ..Script::new("saves", COUNTS)
    };
    let task = script.write(devnet.folder.path());
    let task = task.to_str().unwrap();
    let rental = devnet.detached(task.as_ref());
    let saved = |host: &Value| host["checkpoint"]["number"].as_u64().unwrap_or(0) >= 2;
    devnet.host_says(&rental, "two saves", saved);
    devnet.pouw().args(["stop", "-y", &rental]).status().unwrap();
    devnet.closed(&rental);
    assert!(devnet.on_chain(&rental).best.doneS >= 20, "receipts say what is saved");
    devnet.wait_for(&["plan", task], "free machine", |plan| plan["units"] == 1);
    let shown = run(devnet, &["run", "-y", "--resume", &rental, task]);
    assert!(shown.contains("goes on from"), "{shown}");
}

fn what_is_kept_is_there_for_the_rental_that_goes_on(devnet: &Devnet) {
    let script = Script::new("keeps", COUNTS);
    let task = script.write(devnet.folder.path());
    let rental = devnet.detached(&task);
    devnet.host_says(&rental, "some work", |host| active(host) >= 5);
    let shown = run(devnet, &["stop", "-y", "--keep", "10m", &rental]);
    assert!(shown.contains("keeps its disk"), "{shown}");
    devnet.host_says(&rental, "kept disk", |host| host["kept_until"].is_u64());
    let shown = run(devnet, &["start", "-y", &rental]);
    assert!(shown.contains("goes on from"), "{shown}");
    let closed = devnet.closed(&rental);
    assert_eq!(closed["invoice"]["reason"], "ClientStop", "{closed}");
}

fn results_go_to_the_place_that_the_task_names(devnet: &Devnet) {
    let script = Script {
        more: "outputs: [{path: out.txt, to: s3://pouw/elsewhere/}]",
        ..Script::new("sends", "echo sent > out.txt")
    };
    let task = script.write(devnet.folder.path());
    let task = task.to_str().unwrap();
    devnet.wait_for(&["plan", task], "free machine", |plan| plan["units"] == 1);
    let results = devnet.path("sent");
    run(devnet, &["run", "-y", "--output", results.to_str().unwrap(), task]);
    assert_eq!(std::fs::read_to_string(results.join("out.txt")).unwrap(), "sent\n");
    let script = Script {
        more: "outputs: [{path: out.txt, to: s3://nobodys/elsewhere/}]",
        ..Script::new("lost", "echo sent > out.txt")
    };
    let task = script.write(devnet.folder.path());
    let output = devnet.pouw().args(["run", "-y"]).arg(task).output().unwrap();
    assert!(
        !output.status.success() && told(&output).contains("NoSuchBucket"),
        "{}",
        told(&output)
    );
}

fn a_spot_rental_is_preempted_two_minutes_after_the_notice(devnet: &Devnet) {
    let profile = std::fs::read_to_string(devnet.doors["profile"].as_str().unwrap()).unwrap();
    let operator = devnet.path("operator.toml");
    std::fs::write(&operator, profile.replacen("devnet = 0", "devnet = 9", 1)).unwrap();
    let script = Script {
        more: "pricing: {model: spot, max_price: 100/h}",
        ..Script::new("spot", "while true; do sleep 1; done")
    };
    let task = script.write(devnet.folder.path());
    let rental = devnet.detached(&task);
    devnet.host_says(&rental, "some work", |host| active(host) >= 2);
    let profile = ["--profile", operator.to_str().unwrap()];
    run(devnet, &[&profile[..], &["host", "preempt", "-y", &rental]].concat());
    devnet.host_says(&rental, "notice", |host| host["notice"]["why"] == "preempt");
    let closed = devnet.closed(&rental);
    assert_eq!(closed["invoice"]["reason"], "Preempted", "{closed}");
    assert!(devnet.on_chain(&rental).best.activeS >= 110);
}

#[test]
fn data_is_saved_gone_on_from_kept_and_sent_and_a_notice_ends_a_spot_rental() {
    let devnet = Devnet::start();
    type Case = (&'static str, fn(&Devnet));
    let cases: [Case; 4] = [
        ("checkpoint", a_task_goes_on_from_its_checkpoint_in_another_rental),
        ("keep", what_is_kept_is_there_for_the_rental_that_goes_on),
        ("to", results_go_to_the_place_that_the_task_names),
        ("preempt", a_spot_rental_is_preempted_two_minutes_after_the_notice),
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
