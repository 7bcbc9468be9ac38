//! Lab: the store on a disk that fills up. Needs root, to mount a small tmpfs.
#![cfg(test)]

use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use pouw_data::store::{Store, serve};
use pouw_data::{
    RetryPolicy, S3Credentials, S3Location, TransferError, Transfers, presign_get, presign_put,
};

struct Mount<'a>(&'a Path);

impl Drop for Mount<'_> {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(self.0).status();
        assert!(unmounted.is_ok_and(|status| status.success()), "umount {}", self.0.display());
    }
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d_7_a_full_disk_is_said_and_leaves_nothing_and_heals() {
    let dir = tempfile::tempdir().unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=24m", "tmpfs"])
        .arg(dir.path())
        .status()
        .expect("this lab needs `mount` (Debian package mount)");
    assert!(mounted.success(), "this lab needs root, to mount a tmpfs");
    let _mount = Mount(dir.path());
    let credentials = S3Credentials::new("AKIDFULL", "secret-secret").unwrap();
    let store = Store::open(&dir.path().join("s"), vec![credentials.clone()]).unwrap();
    store.ensure_bucket("data").unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let served = tokio::spawn(serve(listener, store, async {
        drop(stopped.await);
    }));
    let location = S3Location::new(&endpoint, "us-east-1", "data", "").unwrap();
    let transfers =
        Transfers::with_retry(RetryPolicy { tries: 1, first_wait_ms: 1, max_wait_ms: 1 }).unwrap();
    let url = |key: &str| presign_put(&location, &credentials, key, now_s(), 600).unwrap();
    let put = async |key: &str, size: usize| {
        transfers.upload_bytes(vec![7; size].into(), &url(key)).await
    };
    let files = || -> usize {
        let fans = std::fs::read_dir(dir.path().join("s/blobs")).unwrap();
        fans.map(|fan| std::fs::read_dir(fan.unwrap().path()).unwrap().count()).sum()
    };
    put("kept", 2 << 20).await.unwrap();
    let mut stored = 1;
    let mut refusals = 0;
    for number in 0..60 {
        match put(&format!("fill/{number}"), 1 << 20).await {
            Ok(_) => stored += 1,
            Err(TransferError::Refused { status: 507, answer, .. }) => {
                assert!(answer.contains("full"), "{answer}");
                refusals += 1;
            }
            Err(other) => panic!("{other}"),
        }
        assert_eq!(files(), stored, "a refused put leaves nothing");
    }
    assert!(refusals > 0 && stored > 1, "{refusals} refused, {stored} stored");
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let got = presign_get(&location, &credentials, "kept", now_s(), 600).unwrap();
    let got = client.get(got.expose()).send().await.unwrap().bytes().await.unwrap();
    assert_eq!(got.len(), 2 << 20, "what was stored is still there");
    drop(stop);
    served.await.unwrap().unwrap();
    let reopened = Store::open(&dir.path().join("s"), vec![credentials.clone()]).unwrap();
    drop(reopened);
    assert_eq!(files(), stored, "reopening a full store keeps what it has");
}
