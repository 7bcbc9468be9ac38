//! The firewall around tasks when another program changes it, in a network of the test's own.

use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

use pouw_agent::engine::{ContainerId, Engine as _, ExecRequest, NetworkMode};

use crate::laboratory::Laboratory;
use crate::own::{OwnEngine, in_own_network};

fn nft(command: &str) {
    let output = Command::new("nft").arg(command).output().expect("nft; install nftables");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "nft {command}: {told}");
}

/// What a task gets from an address: the server's word, or nothing.
async fn probed(lab: &Laboratory, id: &ContainerId, address: &str, port: u16) -> bool {
    let script = format!("nc -w 1 {address} {port} </dev/null");
    let request = ExecRequest {
        command: ["/bin/sh", "-c", &script].map(str::to_owned).into(),
        env: Default::default(),
        user: None,
        timeout_ms: 20_000,
        output_bytes: 100,
    };
    let output = lab.engine.exec(id, &request).await.expect("probed");
    output.stdout.contains("reached")
}

/// A server on all addresses of the test's network.
fn server() -> u16 {
    let listener = TcpListener::bind(("0.0.0.0", 0)).expect("a free port");
    let port = listener.local_addr().expect("its address").port();
    std::thread::spawn(move || {
        use std::io::Write;
        for mut stream in listener.incoming().take(64).flatten() {
            // A probe that hung up is one that got through.
            drop(stream.write_all(b"reached"));
        }
    });
    port
}

/// every way in which the tables are weakened is heard of, seen, and mended; what was probed
/// before is closed again after it.
#[test]
fn a_firewall_that_another_program_changes_is_heard_of_seen_and_put_up_again() {
    in_own_network("guard", || async {
        let folder = tempfile::tempdir().expect("a folder");
        let mut own = OwnEngine::here(folder.path(), &[]);
        own.start().await;
        let lab = Laboratory::new(&folder.path().join("agent"), Some(own.host())).await;
        let port = server();
        let network = lab.engine.create_network(&lab.owner).await.expect("a network");
        let mut workload = lab.workload("run", "sleep 600");
        workload.network = NetworkMode::Egress(network.clone());
        let id = lab.start(&workload).await;
        let gateway = crate::networks::address_on(network.as_str()).to_string();
        assert!(!probed(&lab, &id, &gateway, port).await, "the guard is up");

        let mut changes = lab.engine.firewall_changes();
        // The monitor itself has to be there before anything is changed.
        while changes.has_changed().is_ok_and(|changed| !changed) {
            nft("add table inet lab-noise");
            nft("delete table inet lab-noise");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let rest = Duration::from_millis(300);
        while tokio::time::timeout(rest, changes.changed()).await.is_ok() {}
        let changed = [
            ("delete table inet pouw", true),
            ("flush chain inet pouw to_machine", true),
            ("flush chain inet pouw through_machine", false),
            ("delete element inet pouw blocked4 { 10.0.0.0/8 }", false),
            ("insert rule inet pouw to_machine accept", true),
            ("delete table inet pouw-traffic", false),
            ("flush chain inet pouw-traffic through", false),
            ("flush map inet pouw-traffic sent", false),
            ("flush ruleset", true),
        ];
        for (command, opens) in changed {
            let before = lab.engine.watch_network(&lab.owner).await.expect("looked at");
            assert!(before.guarded && before.bytes.is_some(), "before {command}: {before:?}");
            changes.mark_unchanged();
            nft(command);
            let heard = tokio::time::timeout(Duration::from_secs(5), changes.changed()).await;
            heard.expect("heard of").expect("the monitor runs");
            let seen = lab.engine.watch_network(&lab.owner).await.expect("looked at");
            assert!(!seen.guarded, "{command}: {seen:?}");
            let open = probed(&lab, &id, &gateway, port).await;
            assert_eq!(open, opens, "{command}: whether it opens the way to this machine");
            lab.engine.guard_network(&lab.owner).await.expect("put up again");
            let after = lab.engine.watch_network(&lab.owner).await.expect("looked at");
            assert!(after.guarded, "after {command}: {after:?}");
            assert!(!probed(&lab, &id, &gateway, port).await, "{command}: closed again");
        }
        lab.engine.reset_to(&lab.nothing().await).await.expect("reset");
        let left = Command::new("nft").args(["list", "table", "inet", "pouw-traffic"]).output();
        let left = String::from_utf8(left.expect("nft").stdout).expect("text");
        assert!(!left.contains("counter pouw-"), "{left}");
    });
}
