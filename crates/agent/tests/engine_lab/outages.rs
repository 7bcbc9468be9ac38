//! Pulls from a registry, and an engine that goes away in the middle.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

use bollard::query_parameters::{
    CreateImageOptionsBuilder, PushImageOptionsBuilder, RemoveImageOptions, TagImageOptionsBuilder,
};
use futures::StreamExt;
use pouw_agent::engine::{Engine as _, EngineError, ImageRef, Phase, PullStatus};

use crate::laboratory::{Laboratory, on_own_machine, soon, until};
use crate::own::{OwnEngine, engine_at};

/// A process that ends with the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("its address").port()
}

async fn registry(folder: &Path) -> (Ended, u16) {
    let port = free_port();
    let config = folder.join("registry.yml");
    let root = folder.join("registry");
    std::fs::write(
        &config,
        format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: \
             {root:?}}}}}\nhttp: {{addr: 127.0.0.1:{port}}}\n"
        ),
    )
    .expect("a configuration");
    let child = Command::new("docker-registry")
        .arg("serve")
        .arg(&config)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("docker-registry; install the package docker-registry");
    let child = Ended(child);
    until("the registry answers", || async {
        std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
    })
    .await;
    (child, port)
}

/// Makes an image with a megabyte that no other has, pushes it, and removes it here.
async fn pushed(lab: &Laboratory, port: u16) -> ImageRef {
    let folder = tempfile::tempdir_in(&lab.folder).expect("a folder");
    let mut noise = vec![0; 1 << 20];
    let seed = blake3::Hasher::new().update(lab.owner.machine.get().as_slice()).finalize_xof();
    { seed }.fill(&mut noise);
    std::fs::write(folder.path().join("noise"), noise).expect("a file");
    let tar = Command::new("tar").args(["-c", "."]).current_dir(folder.path()).output();
    let name = format!("127.0.0.1:{port}/lab/noise");
    let options = CreateImageOptionsBuilder::default()
        .from_src("-")
        .repo(&name)
        .tag("1")
        .changes(vec!["LABEL pouw.test=yes".to_owned()])
        .build();
    let body = bollard::body_full(tar.expect("tar").stdout.into());
    let events: Vec<_> = lab.docker.create_image(Some(options), Some(body), None).collect().await;
    events.into_iter().for_each(|event| drop(event.expect("imported")));
    let tagged = format!("{name}:1");
    let tag = TagImageOptionsBuilder::default().repo(&name).tag("1").build();
    lab.docker.tag_image(&tagged, Some(tag)).await.expect("tagged");
    let options = PushImageOptionsBuilder::default().tag("1").build();
    let events: Vec<_> = lab.docker.push_image(&name, Some(options), None).collect().await;
    events.into_iter().for_each(|event| drop(event.expect("pushed")));
    let image = lab.docker.inspect_image(&tagged).await.expect("there");
    let digests = image.repo_digests.expect("a digest");
    remove_image(lab, &tagged).await;
    digests[0].parse().expect("a reference by digest")
}

async fn remove_image(lab: &Laboratory, name: &str) {
    let removed = lab.docker.remove_image(name, None::<RemoveImageOptions>, None).await;
    drop(removed.expect("the image is removed"));
}

#[tokio::test]
async fn an_image_is_pulled_by_its_digest_with_its_progress() {
    on_own_machine(|lab| async move {
        let (registry, port) = registry(&lab.folder).await;
        let image = pushed(&lab, port).await;
        let heard = Mutex::new(Vec::new());
        let hear = |status: PullStatus| heard.lock().expect("unpoisoned").push(status.percent());
        let info = lab.engine.pull(&image, &hear).await.expect("pulled");
        assert_eq!(info.labels.get("pouw.test").map(String::as_str), Some("yes"));
        assert!(info.size_bytes >= 1 << 20, "{info:?}");
        let heard = heard.into_inner().expect("unpoisoned");
        assert_eq!(heard.last(), Some(&100), "{heard:?}");
        assert!(heard.is_sorted(), "{heard:?}");

        let nowhere = format!("127.0.0.1:{port}/lab/noise@sha256:{}", "0".repeat(64));
        let error = lab.engine.pull(&nowhere.parse().expect("a reference"), &()).await;
        let error = error.expect_err("no such image");
        assert!(error.is_client_fault() && !error.is_transient(), "{error}");

        drop(registry);
        lab.engine.pull(&image, &()).await.expect("what is here needs no registry");
        remove_image(&lab, &image.to_string()).await;
        let error = lab.engine.pull(&image, &()).await.expect_err("no registry");
        assert!(error.is_transient() && !error.is_client_fault(), "{error:?}");
    })
    .await;
}

#[tokio::test]
async fn an_engine_that_is_not_there_is_said_to_be_unavailable() {
    let folder = tempfile::tempdir().expect("a folder");
    let engine = engine_at("unix:///nonexistent/docker.sock", folder.path());
    let error = engine.describe().await.expect_err("nothing there");
    assert!(matches!(error, EngineError::Unavailable { .. }), "{error:?}");
    assert!(error.is_transient());
    let address = format!("tcp://127.0.0.1:{}", free_port());
    let error = engine_at(&address, folder.path()).list_ours().await.expect_err("nothing there");
    assert!(matches!(error, EngineError::Unavailable { .. }), "{error:?}");
}

#[tokio::test]
async fn an_engine_killed_in_the_middle_of_a_call_can_be_used_again_after_it_is_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut own = OwnEngine::apart(folder.path());
    own.start().await;
    let lab = Laboratory::new(&folder.path().join("agent"), Some(own.host())).await;
    let script = "trap 'exit 0' TERM; echo one; while true; do sleep 0.1; done";
    let id = lab.start(&lab.workload("run", script)).await;
    let mut lines = lab.engine.logs(&id, true, 0).await.expect("a log");
    let first = soon(lines.next()).await.expect("a line").expect("a line");
    assert_eq!(first.text, "one");

    let killed = async {
        tokio::task::yield_now().await;
        own.kill();
    };
    let (ended, ()) = soon(async { tokio::join!(lab.engine.wait(&id), killed) }).await;
    let error = ended.expect_err("the engine is gone");
    assert!(matches!(error, EngineError::Unavailable { .. }), "{error:?}");
    assert!(error.is_transient());

    own.start().await;
    // An engine without live restore ends what ran under the killed one.
    let exit = soon(lab.engine.wait(&id)).await.expect("the same container");
    assert_eq!(lab.engine.inspect(&id).await.expect("looked at").phase, Phase::Exited);
    assert!(exit.finished_ms >= exit.started_ms, "{exit:?}");
    while let Some(line) = soon(lines.next()).await {
        assert_ne!(line.expect("the log goes on to its end").text, "one", "no line comes twice");
    }
    lab.engine.remove(&id).await.expect("removed");
    assert_eq!(lab.engine.list_ours().await.expect("a list"), []);
}
