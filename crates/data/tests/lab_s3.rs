//! Lab: the unmodified `aws` and `rclone` commands against the store.
//!
//! They are found on `PATH`, or named by `POUW_AWS` and `POUW_RCLONE`.
#![cfg(test)]

use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, SystemTime};

use pouw_data::S3Credentials;
use pouw_data::store::{Store, serve};

const SECRET: &str = "a-secret-for-the-lab";

struct Lab {
    dir: tempfile::TempDir,
    endpoint: String,
    runtime: tokio::runtime::Runtime,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    served: Option<tokio::task::JoinHandle<()>>,
}

impl Lab {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let credentials = S3Credentials::new("AKIDLAB", SECRET).unwrap();
        let store = Store::open(&dir.path().join("store"), vec![credentials]).unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let served = runtime.spawn(async move {
            serve(listener, store, async {
                drop(stopped.await);
            })
            .await
            .unwrap();
        });
        std::fs::create_dir(dir.path().join("home")).unwrap();
        Self { dir, endpoint, runtime, stop: Some(stop), served: Some(served) }
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }

    /// Runs a client that knows nothing but this store.
    fn client(
        &self,
        variable: &str,
        name: &str,
        package: &str,
        secret: &str,
        args: &[&str],
    ) -> Output {
        let program = std::env::var(variable).unwrap_or_else(|_| name.to_owned());
        let home = self.dir.path().join("home");
        Command::new(&program)
            .args(args)
            .env("HOME", &home)
            // The store speaks plain HTTP here; a certificate bundle confuses rclone.
            .env_remove("AWS_CA_BUNDLE")
            .env_remove("AWS_PROFILE")
            .env_remove("AWS_SESSION_TOKEN")
            .env("AWS_CONFIG_FILE", home.join("config"))
            .env("AWS_SHARED_CREDENTIALS_FILE", home.join("credentials"))
            .env("AWS_ACCESS_KEY_ID", "AKIDLAB")
            .env("AWS_SECRET_ACCESS_KEY", secret)
            .env("AWS_DEFAULT_REGION", "us-east-1")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_MAX_ATTEMPTS", "1")
            .env("AWS_PAGER", "")
            .env("RCLONE_CONFIG_POUW_TYPE", "s3")
            .env("RCLONE_CONFIG_POUW_PROVIDER", "Other")
            .env("RCLONE_CONFIG_POUW_ENV_AUTH", "true")
            .env("RCLONE_CONFIG_POUW_ENDPOINT", &self.endpoint)
            .env("RCLONE_CONFIG_POUW_FORCE_PATH_STYLE", "true")
            .env("NO_PROXY", "127.0.0.1")
            .env("no_proxy", "127.0.0.1")
            .output()
            .unwrap_or_else(|error| {
                panic!("this lab needs `{program}` ({package}, or set {variable}): {error}")
            })
    }

    fn aws_raw(&self, secret: &str, args: &[&str]) -> Output {
        let all = [&["--endpoint-url", &self.endpoint], args].concat();
        self.client("POUW_AWS", "aws", "pip install awscli", secret, &all)
    }

    #[track_caller]
    fn aws(&self, args: &[&str]) -> String {
        good(&self.aws_raw(SECRET, args), args)
    }

    #[track_caller]
    fn rclone(&self, args: &[&str]) -> String {
        good(&self.client("POUW_RCLONE", "rclone", "Debian package rclone", SECRET, args), args)
    }

    fn stop(mut self) {
        drop(self.stop.take());
        self.runtime.block_on(self.served.take().unwrap()).unwrap();
    }
}

#[track_caller]
fn good(output: &Output, args: &[&str]) -> String {
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{args:?}\n{out}\n{err}");
    out.into_owned()
}

fn noise(path: &str, size: usize) -> Vec<u8> {
    let mut content = vec![0; size];
    blake3::Hasher::new_derive_key("pouw lab noise")
        .update(path.as_bytes())
        .finalize_xof()
        .fill(&mut content);
    std::fs::write(path, &content).unwrap();
    content
}

fn same(a: &str, b: &str) {
    assert!(
        std::fs::read(Path::new(a)).unwrap() == std::fs::read(Path::new(b)).unwrap(),
        "{a} {b}"
    );
}

#[test]
fn the_unmodified_aws_command_works() {
    let lab = Lab::start();
    let (small, big, back) = (lab.path("small"), lab.path("big"), lab.path("back"));
    noise(&small, 1000);
    let content = noise(&big, 20 << 20);
    lab.aws(&["s3", "mb", "s3://lab"]);
    lab.aws(&["s3", "cp", &small, "s3://lab/x/a"]);
    lab.aws(&["s3", "cp", &small, "s3://lab/x/a/b"]);
    lab.aws(&["s3", "cp", "s3://lab/x/a", &back]);
    same(&small, &back);
    // 20 MiB is above the 8 MiB from which the command sends parts.
    lab.aws(&["s3", "cp", &big, "s3://lab/big"]);
    lab.aws(&["s3", "cp", "s3://lab/big", &back]);
    same(&big, &back);
    let head = lab.aws(&["s3api", "head-object", "--bucket", "lab", "--key", "big"]);
    assert!(head.contains("-3\\\""), "three parts: {head}");
    let range = [
        "s3api",
        "get-object",
        "--bucket",
        "lab",
        "--key",
        "big",
        "--range",
        "bytes=8388600-8388699",
    ];
    lab.aws(&[&range[..], &[back.as_str()]].concat());
    assert!(std::fs::read(&back).unwrap() == content[8_388_600..8_388_700]);
    let url = lab.aws(&["s3", "presign", "s3://lab/x/a"]);
    let got = lab.runtime.block_on(async {
        drop(rustls::crypto::ring::default_provider().install_default());
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        client.get(url.trim()).send().await.unwrap().bytes().await.unwrap()
    });
    assert!(got == std::fs::read(&small).unwrap());
    let listed = lab.aws(&["s3", "ls", "--recursive", "s3://lab"]);
    assert_eq!(listed.lines().count(), 3, "{listed}");
    let tree = lab.path("tree");
    std::fs::create_dir_all(format!("{tree}/sub dir")).unwrap();
    for name in ["one", "sub dir/two +&", "sub dir/dr\u{f6}i"] {
        let path = format!("{tree}/{name}");
        noise(&path, 5000);
        // Listings tell whole seconds: a file of the same second would look newer than its object.
        let file = std::fs::File::options().append(true).open(path).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(10)).unwrap();
    }
    lab.aws(&["s3", "sync", &tree, "s3://lab/tree"]);
    assert_eq!(lab.aws(&["s3", "sync", &tree, "s3://lab/tree"]), "", "nothing is left to do");
    let again = lab.path("again");
    lab.aws(&["s3", "sync", "s3://lab/tree", &again]);
    same(&format!("{tree}/sub dir/dr\u{f6}i"), &format!("{again}/sub dir/dr\u{f6}i"));
    std::fs::remove_file(format!("{tree}/one")).unwrap();
    lab.aws(&["s3", "sync", "--delete", &tree, "s3://lab/tree"]);
    assert!(!lab.aws(&["s3", "ls", "s3://lab/tree/"]).contains("one"));
    lab.aws(&["s3", "cp", "s3://lab/big", "s3://lab/copy"]);
    lab.aws(&["s3", "mv", "s3://lab/copy", "s3://lab/moved"]);
    lab.aws(&["s3", "cp", "s3://lab/moved", &back]);
    same(&big, &back);
    lab.aws(&["s3", "rm", "--recursive", "s3://lab"]);
    lab.aws(&["s3", "rb", "s3://lab"]);
    assert_eq!(lab.aws(&["s3", "ls"]).trim(), "");
    lab.stop();
}

#[test]
fn a_bad_secret_and_nobody_are_refused() {
    let lab = Lab::start();
    lab.aws(&["s3", "mb", "s3://lab"]);
    let check = |secret: &str, args: &[&str], code: &str| {
        let output = lab.aws_raw(secret, args);
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && err.contains(code), "{args:?}: {err}");
    };
    check("not-the-secret-at-all", &["s3", "ls", "s3://lab"], "SignatureDoesNotMatch");
    check(SECRET, &["--no-sign-request", "s3", "ls", "s3://lab"], "AccessDenied");
    check(SECRET, &["s3", "ls", "s3://none-there"], "NoSuchBucket");
    lab.stop();
}

#[test]
fn the_unmodified_rclone_command_works() {
    let lab = Lab::start();
    let tree = lab.path("tree");
    std::fs::create_dir_all(format!("{tree}/sub")).unwrap();
    noise(&format!("{tree}/big"), 20 << 20);
    noise(&format!("{tree}/sub/small \u{fc}"), 100);
    lab.rclone(&["mkdir", "pouw:lab"]);
    let parts = ["--s3-upload-cutoff", "5Mi", "--s3-chunk-size", "5Mi"];
    lab.rclone(&[&["sync", &tree, "pouw:lab/tree"][..], &parts].concat());
    lab.rclone(&["check", "--download", &tree, "pouw:lab/tree"]);
    let listed = lab.rclone(&["lsf", "-R", "pouw:lab"]);
    assert!(listed.contains("tree/sub/small \u{fc}"), "{listed}");
    let middle = lab.rclone(&["cat", "--offset", "100", "--count", "7", "pouw:lab/tree/big"]);
    assert!(!middle.is_empty());
    lab.rclone(&["copyto", "pouw:lab/tree/big", "pouw:lab/copied"]);
    lab.rclone(&["copy", "pouw:lab/copied", &lab.path("out")]);
    same(&format!("{tree}/big"), &lab.path("out/copied"));
    std::fs::remove_file(format!("{tree}/big")).unwrap();
    lab.rclone(&["sync", &tree, "pouw:lab/tree"]);
    assert!(!lab.rclone(&["lsf", "pouw:lab/tree"]).contains("big"));
    lab.rclone(&["purge", "pouw:lab/tree"]);
    lab.rclone(&["deletefile", "pouw:lab/copied"]);
    lab.rclone(&["rmdir", "pouw:lab"]);
    lab.stop();
}
