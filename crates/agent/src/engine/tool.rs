//! The system's own tools, by absolute path.
//!
//! An agent that is not root runs them by `sudo -n`; the list of what it needs is [`NEEDED`].

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::EngineError;

/// What an agent needs as root: the whole of what `sudoers` has to allow.
pub const NEEDED: [&str; 4] = ["mount", "umount", "losetup", "nft"];

const FOLDERS: [&str; 4] = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];
const TIMEOUT: Duration = Duration::from_secs(60);
const MESSAGE_CHARS: usize = 600;

/// Where a tool is, if it is installed.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    FOLDERS.iter().map(|folder| Path::new(folder).join(name)).find(|path| path.is_file())
}

/// Whether the agent runs as root.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Runs a tool as root and returns what it printed.
pub(crate) async fn run_as_root(
    name: &'static str,
    arguments: &[&str],
    input: Option<&str>,
) -> Result<String, EngineError> {
    let path = installed(name)?;
    if is_root() {
        return run(&path, arguments, input).await;
    }
    let sudo = installed("sudo")?;
    let path = path.display().to_string();
    let all: Vec<&str> =
        ["-n", "--", path.as_str()].into_iter().chain(arguments.iter().copied()).collect();
    run(&sudo, &all, input).await
}

/// Runs a tool as the agent's own user and returns what it printed.
pub(crate) async fn run_as_self(
    name: &'static str,
    arguments: &[&str],
) -> Result<String, EngineError> {
    run(&installed(name)?, arguments, None).await
}

fn installed(name: &'static str) -> Result<PathBuf, EngineError> {
    find(name).ok_or_else(|| EngineError::Unsupported {
        what: name,
        reason: format!("no {name} in {}; install the package that has it", FOLDERS.join(", ")),
    })
}

async fn run(path: &Path, arguments: &[&str], input: Option<&str>) -> Result<String, EngineError> {
    let tool = format!("{} {}", path.display(), arguments.join(" "));
    let failed = |status: &str, message: String| EngineError::Tool {
        tool: tool.clone(),
        status: status.to_owned(),
        message: message.trim().chars().take(MESSAGE_CHARS).collect(),
    };
    let work = async {
        let mut child = Command::new(path)
            .args(arguments)
            .env_clear()
            .env("PATH", FOLDERS.join(":"))
            .env("LC_ALL", "C")
            .stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        if let (Some(text), Some(mut pipe)) = (input, child.stdin.take()) {
            pipe.write_all(text.as_bytes()).await?;
        }
        child.wait_with_output().await
    };
    let output = tokio::time::timeout(TIMEOUT, work)
        .await
        .map_err(|_| failed("stopped", format!("not done after {} s", TIMEOUT.as_secs())))?
        .map_err(|error| failed("not run", error.to_string()))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        Err(failed(&output.status.to_string(), message))
    }
}
