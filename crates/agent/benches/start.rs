//! How long a task's container takes to start, beside `docker run -d` with the same options.
//!
//! Both sides in turn, on the same engine and image (made of the static busybox). Ours is create
//! with its comparison, then start; the peer is the `docker` command. Prints one JSON line, in
//! milliseconds: the medians and their difference, which is to be at most 150.

use std::process::Command;
use std::time::Instant;

use pouw_agent::engine::{
    DockerConfig, DockerEngine, Engine as _, Environment, ImageRef, LogLimits, NetworkMode, Owner,
    StepName, User, Workload,
};
use pouw_types::{Isolation, MachineId, RentalId};

const ROUNDS: u8 = 15;
const GOAL_MS: u128 = 150;
/// Carried by the peer's containers, so that they can be removed.
const PEER_LABEL: &str = "pouw.bench=start";

fn docker(host: &str, arguments: &[&str]) -> Answer<String> {
    let output = Command::new("docker").arg("-H").arg(host).args(arguments).output()?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned().into())
    }
}

type Answer<T> = Result<T, Box<dyn core::error::Error>>;

fn image(host: &str) -> Answer<ImageRef> {
    let folder = tempfile::tempdir()?;
    let tar = folder.path().join("image.tar");
    std::fs::create_dir(folder.path().join("bin"))?;
    std::fs::copy("/usr/bin/busybox", folder.path().join("bin/sleep"))?;
    let packed = Command::new("tar")
        .arg("-cf")
        .arg(&tar)
        .args(["--mtime=@0", "--owner=0", "--group=0", "-C"])
        .arg(folder.path())
        .arg("bin")
        .status()?;
    if !packed.success() {
        return Err("tar does not pack the image".into());
    }
    Ok(docker(host, &["import", &tar.display().to_string()])?.parse()?)
}

fn workload(image: &ImageRef, machine: MachineId, round: u8) -> Answer<Workload> {
    Ok(Workload {
        owner: Owner { machine, rental: RentalId::new([round; 32].into()) },
        step: StepName::new("run")?,
        image: image.clone(),
        entrypoint: None,
        command: ["/bin/sleep", "600"].map(str::to_owned).into(),
        env: Environment::default(),
        workdir: Some("/tmp".to_owned()),
        user: User::default(),
        cpu_millis: 500,
        memory_bytes: 64 << 20,
        pids: 32,
        tmp_bytes: 8 << 20,
        isolation: Isolation::Runc,
        network: NetworkMode::None,
        mounts: Vec::new(),
        log: LogLimits::default(),
    })
}

fn run_peer(host: &str, image: &ImageRef) -> Answer<String> {
    let image = image.to_string();
    let options = "run -d --read-only --cap-drop ALL --security-opt no-new-privileges \
                   --network none --user 65534:65534 --workdir /tmp --cpus 0.5 --memory 64m \
                   --memory-swap 64m --pids-limit 32 --runtime runc --ipc private \
                   --tmpfs /tmp:rw,exec,nosuid,nodev,size=8388608,mode=1777,uid=65534,gid=65534 --log-driver json-file \
                   --log-opt max-size=8388608 --log-opt max-file=2 --no-healthcheck";
    let mut arguments: Vec<&str> = options.split_whitespace().collect();
    arguments.extend(["--label", PEER_LABEL, &image, "/bin/sleep", "600"]);
    docker(host, &arguments)
}

fn median(mut values: Vec<u128>) -> u128 {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or(0)
}

async fn measure(engine: &DockerEngine) -> Answer<(u128, u128)> {
    let host = engine.config().host.clone();
    let image = image(&host)?;
    let (mut ours, mut peer) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let task = workload(&image, engine.config().machine, round)?;
        let start = Instant::now();
        let id = engine.create(&task).await?.id;
        engine.start(&id).await?;
        ours.push(start.elapsed().as_millis());
        engine.remove(&id).await?;
        let start = Instant::now();
        let id = run_peer(&host, &image)?;
        peer.push(start.elapsed().as_millis());
        docker(&host, &["rm", "-f", &id])?;
    }
    docker(&host, &["rmi", &image.to_string()])?;
    Ok((median(ours), median(peer)))
}

#[tokio::main(flavor = "current_thread")]
#[expect(clippy::print_stdout, reason = "a benchmark's result is what it prints")]
async fn main() -> Answer<()> {
    let folder = tempfile::tempdir()?;
    let machine = MachineId::new([0xbe; 20].into());
    let engine = DockerEngine::new(DockerConfig::new(machine, folder.path()));
    let measured = measure(&engine).await;
    for left in engine.list_ours().await? {
        engine.remove(&left.id).await?;
    }
    let host = engine.config().host.clone();
    let left = docker(&host, &["ps", "-aq", "--filter", &format!("label={PEER_LABEL}")])?;
    for id in left.lines() {
        docker(&host, &["rm", "-f", id])?;
    }
    let (ours, peer) = measured?;
    let holds = ours <= peer.saturating_add(GOAL_MS);
    println!(
        r#"{{"name":"start-overhead-engine","ours":{ours},"peer":{peer},"unit":"ms","goal":"ours <= peer + {GOAL_MS}","holds":{holds}}}"#
    );
    Ok(())
}
