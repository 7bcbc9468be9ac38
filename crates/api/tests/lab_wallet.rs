//! Unmodified viem, web3.py, cast, and the parts of MetaMask that speak to a node, against our
//! doors. Needs node, npm and python3 with venv; all of them are installed into the target
//! directory, once. `tests/wallet/run` does the same against any node that runs.
#![expect(clippy::unwrap_used, reason = "these are tests: a panic is the report")]

#[expect(dead_code, reason = "shared with the other tests, which use more of it")]
#[path = "it/node.rs"]
mod node;

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use node::MemoryNode;
use pouw_api::{Board, Config, Doors, NoSigner, serve};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::time::{interval, timeout};

/// Installing included.
const DEADLINE: Duration = Duration::from_secs(300);
/// Between blocks.
const SPACING: Duration = Duration::from_millis(200);

async fn run(library: &str) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/rpc", listener.local_addr().unwrap());
    let node = MemoryNode::new();
    let miner = Arc::clone(&node);
    let mining = async move {
        let mut ticks = interval(SPACING);
        loop {
            ticks.tick().await;
            miner.mine();
        }
    };
    let board = Arc::new(Board::new(1, 1));
    let doors = Doors { backend: node, board, signer: Arc::new(NoSigner) };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wallet/run");
    let wallet = Command::new(script)
        .args([library, &url])
        .env("CARGO_TARGET_DIR", target())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::select! {
        () = mining => unreachable!("it mines for ever"),
        () = serve(listener, doors, Config::default(), std::future::pending()) => {
            unreachable!("it serves for ever")
        }
        output = timeout(DEADLINE, wallet) => output.expect("the wallet ends").unwrap(),
    };
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && stdout.ends_with("ok\n"), "{stdout}\n{stderr}");
}

/// Where cargo builds: the test runs from `<target>/<profile>/deps`.
fn target() -> std::path::PathBuf {
    let program = std::env::current_exe().unwrap();
    program.ancestors().nth(3).unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn viem_pays_reads_and_subscribes() {
    run("viem").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn web3_py_pays_reads_and_subscribes() {
    run("web3").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cast_pays_reads_and_finds_logs() {
    run("cast").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metamask_adds_the_network_prices_sends_and_sees_it_confirmed() {
    run("metamask").await;
}
