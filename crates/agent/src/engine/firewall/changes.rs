//! Hears of changes of the kernel's firewall rules, of whoever makes them.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::super::tool;

/// Follows `nft monitor`; ends it when dropped.
#[derive(Debug)]
pub(crate) struct Changes {
    heard: watch::Receiver<()>,
    reader: JoinHandle<()>,
}

impl Changes {
    /// Listens from now on. An agent that is not root hears nothing: it could not end the monitor
    /// again, which runs as root. Whoever waits looks by himself now and then.
    pub(crate) fn listen() -> Self {
        let (tell, heard) = watch::channel(());
        let reader = tokio::spawn(async move {
            if let Err(error) = read(&tell).await {
                tracing::warn!(%error, "changes of the firewall are noticed a moment later");
            }
        });
        Self { heard, reader }
    }

    /// Marked as changed at each change; closed where nothing is heard.
    pub(crate) fn heard(&self) -> watch::Receiver<()> {
        self.heard.clone()
    }
}

impl Drop for Changes {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

async fn read(tell: &watch::Sender<()>) -> std::io::Result<()> {
    let Some(nft) = tool::find("nft").filter(|_| tool::is_root()) else { return Ok(()) };
    let mut child = Command::new(nft)
        .arg("monitor")
        .env_clear()
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    let Some(output) = child.stdout.take() else { return Ok(()) };
    let mut lines = BufReader::new(output).lines();
    while let Some(line) = lines.next_line().await? {
        // One such line ends what one transaction changed.
        if line.starts_with("# new generation") {
            tell.send_replace(());
        }
    }
    Ok(())
}
