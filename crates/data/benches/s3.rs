//! `s3-put`, `s3-get`: one object by one presigned request.
//!
//! Each against a file copy with fsync and BLAKE3, the digest that either takes (goal 0.9 of its
//! speed), and against `s3s-fs` (goal 1.5 of its speed); ours and peers alternate in one run. One JSON line each.
//! `POUW_BENCH_S3_MIB` sets the size (1024), `POUW_BENCH_ROUNDS` the rounds (3), `TMPDIR` the disk.
#![expect(clippy::print_stdout, reason = "a benchmark's output is its lines")]

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::mpsc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use hyper_util::rt::TokioIo;
use pouw_data::store::{Store, serve};
use pouw_data::{
    InputSlot, Packing, PresignedUrl, S3Credentials, S3Location, Transfers, presign_get,
    presign_put,
};

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn setting(name: &str, otherwise: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// Copies `from` to `to` with fsync, and BLAKE3 on a thread beside, as a careful program would.
fn copy(from: &Path, to: &Path) -> Result<(), Failure> {
    let (mut source, mut target) = (File::open(from)?, File::create(to)?);
    let (to_blake3, inbox) = mpsc::sync_channel::<std::sync::Arc<Vec<u8>>>(8);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut blake3 = blake3::Hasher::new();
            inbox.iter().for_each(|chunk| {
                blake3.update(&chunk);
            });
            std::hint::black_box(blake3.finalize());
        });
        loop {
            let mut chunk = Vec::with_capacity(1 << 20);
            (&mut source).take(1 << 20).read_to_end(&mut chunk)?;
            if chunk.is_empty() {
                break;
            }
            let chunk = std::sync::Arc::new(chunk);
            to_blake3.send(std::sync::Arc::clone(&chunk))?;
            target.write_all(&chunk)?;
        }
        drop(to_blake3);
        target.sync_all()?;
        Ok(())
    })
}

struct Bench {
    transfers: Transfers,
    credentials: S3Credentials,
    ours: S3Location,
    peer: S3Location,
    file: std::path::PathBuf,
    out: std::path::PathBuf,
}

impl Bench {
    fn url(&self, location: &S3Location, get: bool) -> Result<PresignedUrl, Failure> {
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let sign = if get { presign_get } else { presign_put };
        Ok(sign(location, &self.credentials, "object", now_s, 3600)?)
    }

    async fn put(&self, location: &S3Location) -> Result<f64, Failure> {
        let url = self.url(location, false)?;
        let start = Instant::now();
        self.transfers.upload(&self.file, &url, &()).await?;
        Ok(start.elapsed().as_secs_f64())
    }

    async fn get(&self, location: &S3Location) -> Result<f64, Failure> {
        let slot = InputSlot {
            name: "object".into(),
            url: self.url(location, true)?,
            packing: Packing::File,
            size_bytes: None,
            blake3: None,
        };
        let start = Instant::now();
        self.transfers.download(&slot, &self.out, 1 << 40, &()).await?;
        Ok(start.elapsed().as_secs_f64())
    }

    async fn file_copy(&self) -> Result<f64, Failure> {
        let (from, to) = (self.file.clone(), self.out.clone());
        let start = Instant::now();
        tokio::task::spawn_blocking(move || copy(&from, &to)).await??;
        Ok(start.elapsed().as_secs_f64())
    }
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
}

fn report(name: &str, ours_s: f64, peer_s: f64, mib: f64, goal: f64) {
    let ratio = peer_s / ours_s;
    let line = serde_json::json!({
        "name": name, "ours": mib / ours_s, "peer": mib / peer_s, "unit": "MiB/s",
        "ratio": ratio, "goal": goal, "holds": ratio >= goal,
    });
    println!("{line}");
}

async fn listen() -> Result<(tokio::net::TcpListener, S3Location), Failure> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let endpoint = format!("http://{}", listener.local_addr()?);
    Ok((listener, S3Location::new(&endpoint, "us-east-1", "bench", "")?))
}

async fn serve_peer(listener: tokio::net::TcpListener, service: s3s::service::S3Service) {
    while let Ok((stream, _)) = listener.accept().await {
        let service = service.clone();
        tokio::spawn(async move {
            let serving = hyper::server::conn::http1::Builder::new();
            drop(serving.serve_connection(TokioIo::new(stream), service).await);
        });
    }
}

async fn run() -> Result<(), Failure> {
    let (mib, rounds) = (setting("POUW_BENCH_S3_MIB", 1024), setting("POUW_BENCH_ROUNDS", 3));
    let dir = tempfile::tempdir()?;
    let credentials = S3Credentials::generate();
    let store = Store::open(&dir.path().join("ours"), vec![credentials.clone()])?;
    store.ensure_bucket("bench")?;
    let (listener, ours) = listen().await?;
    let serving = tokio::spawn(serve(listener, store, std::future::pending()));
    std::fs::create_dir_all(dir.path().join("peer/bench"))?;
    let files = s3s_fs::FileSystem::new(dir.path().join("peer")).map_err(|e| format!("{e:?}"))?;
    let mut builder = s3s::service::S3ServiceBuilder::new(files);
    let secret = credentials.expose_secret();
    builder.set_auth(s3s::auth::SimpleAuth::from_single(credentials.access_key(), secret));
    let (listener, peer) = listen().await?;
    let peering = tokio::spawn(serve_peer(listener, builder.build()));
    let file = dir.path().join("file");
    let mut noise = blake3::Hasher::new_derive_key("pouw bench noise").finalize_xof();
    let mut out = File::create(&file)?;
    let mut chunk = vec![0; 1 << 20];
    for _ in 0..mib {
        noise.fill(&mut chunk);
        out.write_all(&chunk)?;
    }
    out.sync_all()?;
    let transfers = Transfers::new()?;
    let out = dir.path().join("out");
    let bench = Bench { transfers, credentials, ours, peer, file, out };
    let mut times: [Vec<f64>; 6] = Default::default();
    // Without a name, both. What begins with `-` is cargo's.
    let wanted: Vec<String> =
        std::env::args().skip(1).filter(|one| !one.starts_with('-')).collect();
    let wants = |name: &str| wanted.is_empty() || wanted.iter().any(|one| one == name);
    for _ in 0..rounds {
        if wants("s3-put") {
            times[0].push(bench.put(&bench.ours).await?);
            times[1].push(bench.file_copy().await?);
            times[2].push(bench.put(&bench.peer).await?);
        }
        if wants("s3-get") {
            times[3].push(bench.get(&bench.ours).await?);
            times[4].push(bench.file_copy().await?);
            times[5].push(bench.get(&bench.peer).await?);
        }
    }
    let [put, put_copy, put_peer, get, get_copy, get_peer] = times.map(median);
    #[expect(clippy::cast_precision_loss, reason = "a size in MiB is small")]
    let mib = mib as f64;
    if wants("s3-put") {
        report("s3-put-file-copy", put, put_copy, mib, 0.9);
        report("s3-put-s3s-fs", put, put_peer, mib, 1.5);
    }
    if wants("s3-get") {
        report("s3-get-file-copy", get, get_copy, mib, 0.9);
        report("s3-get-s3s-fs", get, get_peer, mib, 1.5);
    }
    serving.abort();
    peering.abort();
    Ok(())
}

fn main() -> Result<(), Failure> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(run())
}
