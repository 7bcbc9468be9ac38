//! The store's process is killed with -9 in the middle of puts.
#![cfg(test)]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use pouw_data::store::{Store, serve};
use pouw_data::{RetryPolicy, S3Credentials, S3Location, Transfers, presign_get, presign_put};

const DIR: &str = "POUW_DATA_CRASH_DIR";

fn credentials() -> S3Credentials {
    S3Credentials::new("AKIDCRASH", "secret-secret").unwrap()
}

/// The child: a store that serves until it is killed. Without the variable it has nothing to do.
#[test]
fn child_that_serves() {
    let Ok(dir) = std::env::var(DIR) else { return assert!(std::env::var_os(DIR).is_none()) };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = Store::open(dir.as_ref(), vec![credentials()]).unwrap();
        store.ensure_bucket("data").unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("\nlistening {}", listener.local_addr().unwrap());
        serve(listener, store, std::future::pending()).await.unwrap();
    });
}

struct Served(Child);

impl Served {
    fn start(dir: &std::path::Path) -> (Self, S3Location) {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_that_serves", "--nocapture"])
            .env(DIR, dir)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = lines
            .map_while(Result::ok)
            .find_map(|line| line.strip_prefix("listening ").map(str::to_owned))
            .unwrap();
        let location = S3Location::new(&format!("http://{address}"), "r", "data", "").unwrap();
        (Self(child), location)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn content(key: u32, round: u32) -> Vec<u8> {
    // Past the size from which threads share the work.
    (key * 31 + round).to_le_bytes().repeat(500_000)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d_6_a_killed_store_keeps_what_it_confirmed_and_shows_nothing_torn() {
    let dir = tempfile::tempdir().unwrap();
    let once = RetryPolicy { tries: 1, first_wait_ms: 1, max_wait_ms: 1 };
    let transfers = Transfers::with_retry(once).unwrap();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    // For each key the newest confirmed round; a later one may be there unconfirmed.
    let mut confirmed = [None; 3];
    for round in 1..=4_u32 {
        let (served, location) = Served::start(dir.path());
        let (sender, mut progress) = tokio::sync::mpsc::channel(16);
        let puts = (0..3_u32).map(|key| {
            let url =
                presign_put(&location, &credentials(), &key.to_string(), now_s(), 60).unwrap();
            let (transfers, sender) = (transfers.clone(), sender.clone());
            async move {
                let outcome = transfers.upload_bytes(content(key, round).into(), &url).await;
                let _sent = sender.send(()).await;
                outcome.is_ok()
            }
        });
        let killing = async {
            // After as many confirmations as the round says, the rest is in the middle.
            for _ in 1..round {
                progress.recv().await;
            }
            drop(served);
        };
        let (outcomes, ()) = tokio::join!(futures::future::join_all(puts), killing);
        for (key, done) in outcomes.into_iter().enumerate() {
            if done {
                confirmed[key] = Some(round);
            }
        }
        let (served, location) = Served::start(dir.path());
        let mut held = 0;
        for key in 0..3_u32 {
            let url =
                presign_get(&location, &credentials(), &key.to_string(), now_s(), 60).unwrap();
            let answer = client.get(url.expose()).send().await.unwrap();
            let least = confirmed[usize::try_from(key).unwrap()];
            if answer.status() == 404 {
                assert_eq!(least, None, "key {key} was confirmed and is gone");
                continue;
            }
            let body = answer.bytes().await.unwrap();
            let whole = (least.unwrap_or(1)..=round).any(|round| body == content(key, round));
            assert!(whole, "key {key} is torn or older than confirmed: {} bytes", body.len());
            held += 1;
        }
        let fans = std::fs::read_dir(dir.path().join("blobs")).unwrap();
        let files: usize =
            fans.map(|fan| std::fs::read_dir(fan.unwrap().path()).unwrap().count()).sum();
        assert_eq!(files, held, "leftovers are removed at start");
        drop(served);
    }
    assert!(confirmed.iter().all(Option::is_some), "the last round confirms all three");
}
