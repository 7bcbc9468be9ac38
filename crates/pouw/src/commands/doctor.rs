//! `pouw doctor`: what this machine lacks, and what mends it.

use std::path::Path;
use std::sync::Arc;

use pouw_agent::engine::{DockerConfig, DockerEngine, Engine};
use pouw_types::{Isolation, MachineId};
use serde::Serialize;

use crate::client::images::Images;
use crate::exit::Refused;
use crate::output::{Accent, bytes};
use crate::session::Session;

/// One thing that was looked at.
#[derive(Serialize)]
struct Finding {
    what: String,
    /// `ok`, `missing` (nothing works without it) or `less` (something isn't offered).
    state: State,
    detail: String,
    mend: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum State {
    Ok,
    Less,
    Missing,
}

const LEAST_DISK_BYTES: u64 = 5 << 30;
const LEAST_MEMORY_BYTES: u64 = 2 << 30;

fn ok(what: &str, detail: impl Into<String>) -> Finding {
    let (detail, mend) = (detail.into(), String::new());
    Finding { what: what.to_owned(), state: State::Ok, detail, mend }
}

fn lacks(what: &str, state: State, detail: impl Into<String>, mend: impl Into<String>) -> Finding {
    Finding { what: what.to_owned(), state, detail: detail.into(), mend: mend.into() }
}

/// Looks at everything and tells it all at once.
///
/// # Errors
/// [`Refused`] where something is missing without which nothing works.
pub(crate) async fn run(session: &Session) -> anyhow::Result<()> {
    let mut findings = engine(session).await;
    findings.push(disk(&session.places.data));
    findings.push(images(session));
    findings.push(node(session).await);
    session.output.data(&findings, || {
        let width = findings.iter().map(|one| one.what.len()).max().unwrap_or(0);
        let line = |one: &Finding| {
            let (accent, word) = match one.state {
                State::Ok => (Accent::Green, "ok     "),
                State::Less => (Accent::Yellow, "less   "),
                State::Missing => (Accent::Red, "missing"),
            };
            let word = session.output.paint(accent, word);
            let mut line = format!("{word}  {:<width$}  {}", one.what, one.detail);
            if !one.mend.is_empty() {
                line += &format!("\n{:indent$}→ {}", "", one.mend, indent = width + 11);
            }
            line
        };
        findings.iter().map(line).collect::<Vec<_>>().join("\n")
    });
    if findings.iter().any(|one| one.state == State::Missing) {
        return Err(Refused("something is missing without which nothing works".to_owned()).into());
    }
    Ok(())
}

async fn engine(session: &Session) -> Vec<Finding> {
    let data = std::path::absolute(session.places.data.join("host")).unwrap_or_default();
    let engine = Arc::new(DockerEngine::new(DockerConfig::new(MachineId::default(), data)));
    let info = match engine.describe().await {
        Ok(info) => info,
        Err(error) => {
            let mend = "`make setup` installs or starts one; DOCKER_HOST names another".to_owned();
            return vec![lacks("engine", State::Missing, format!("{error}"), mend)];
        }
    };
    let mut findings = vec![ok("engine", format!("{} at {}", info.version, info.address))];
    findings.push(if info.memory_bytes >= LEAST_MEMORY_BYTES {
        ok("memory", format!("{}, {} cores", bytes(info.memory_bytes), info.cores))
    } else {
        let detail = format!("{}, 2 GiB are needed", bytes(info.memory_bytes));
        lacks("memory", State::Missing, detail, "use a machine with more memory")
    });
    if info.isolation.contains(&Isolation::Gvisor) {
        findings.push(ok("isolation", "runc and gVisor"));
    }
    for missing in &info.missing {
        findings.push(lacks(&missing.what, State::Less, &missing.reason, &missing.mend));
    }
    findings
}

fn disk(folder: &Path) -> Finding {
    let existing = folder.ancestors().find(|path| path.exists()).unwrap_or_else(|| Path::new("/"));
    let free = rustix::fs::statvfs(existing)
        .map(|stat| stat.f_bavail.saturating_mul(stat.f_frsize))
        .unwrap_or(0);
    let detail = format!("{} free in {}", bytes(free), existing.display());
    if free >= LEAST_DISK_BYTES {
        ok("disk", detail)
    } else {
        lacks("disk", State::Missing, detail, "free 5 GiB, or set POUW_DATA to another disk")
    }
}

fn images(session: &Session) -> Finding {
    let index = session.profile().ok().and_then(|profile| profile.images);
    match Images::new(index).known() {
        Ok(names) => ok("images", names.join(", ")),
        Err(error) => lacks("images", State::Less, error.to_string(), "`make images` builds them"),
    }
}

async fn node(session: &Session) -> Finding {
    let mend = "`pouw devnet start`, or name a node in the configuration or by --rpc";
    let rpc = match session.rpc() {
        Ok(rpc) => rpc,
        Err(error) => return lacks("node", State::Less, error.to_string(), mend),
    };
    match rpc.head().await {
        Ok(head) => ok("node", format!("{}, block {}", rpc.url(), head.number)),
        Err(error) => lacks("node", State::Less, error.to_string(), mend),
    }
}
