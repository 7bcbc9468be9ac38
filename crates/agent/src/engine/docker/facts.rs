//! What the engine and the machine can do.

use std::path::Path;

use bollard::models::{SystemInfo, SystemVersion};
use pouw_types::Isolation;

use super::super::scratch::read_mountinfo;
use super::super::{EngineError, EngineInfo, Limits, Missing, User, cgroup, tool};
use super::DockerEngine;

/// The engine's name for each isolation level.
pub(super) const fn runtime_name(isolation: Isolation) -> &'static str {
    match isolation {
        Isolation::Runc => "runc",
        Isolation::Gvisor => "runsc",
    }
}

/// What creating a container has to know of the engine.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) info: SystemInfo,
}

impl Facts {
    pub(super) fn has_runtime(&self, isolation: Isolation) -> bool {
        let name = runtime_name(isolation);
        self.info.runtimes.as_ref().is_some_and(|runtimes| runtimes.contains_key(name))
    }

    pub(super) fn limits(&self) -> Limits {
        let yes = |flag: Option<bool>| flag.unwrap_or(false);
        Limits {
            memory: yes(self.info.memory_limit),
            swap: yes(self.info.swap_limit),
            cpu: yes(self.info.cpu_cfs_quota),
            pids: yes(self.info.pids_limit),
        }
    }

    fn security_option(&self, name: &str) -> Option<&str> {
        let options = self.info.security_options.iter().flatten();
        options.map(String::as_str).find(|option| {
            option.split(',').next().is_some_and(|first| first == format!("name={name}"))
        })
    }

    /// Whether system calls are filtered by default.
    pub(super) fn seccomp(&self) -> bool {
        self.security_option("seccomp").is_some_and(|option| !option.contains("unconfined"))
    }

    pub(super) fn user_namespaces(&self) -> bool {
        self.security_option("userns").is_some()
    }

    /// Who a user of a container is on the machine.
    ///
    /// An engine that remaps users keeps its data in a folder named by the first user and group.
    pub(super) fn outside(&self, inside: User) -> Result<User, EngineError> {
        if !self.user_namespaces() {
            return Ok(inside);
        }
        let root = self.info.docker_root_dir.as_deref().unwrap_or_default();
        let name = Path::new(root).file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let first = name
            .split_once('.')
            .and_then(|(uid, gid)| Some((uid.parse::<u32>().ok()?, gid.parse::<u32>().ok()?)));
        let shifted = first.and_then(|(uid, gid)| {
            Some(User { uid: inside.uid.checked_add(uid)?, gid: inside.gid.checked_add(gid)? })
        });
        shifted.ok_or_else(|| EngineError::Unsupported {
            what: "scratch space",
            reason: format!("the engine remaps users and its folder {root} does not say to whom"),
        })
    }
}

/// Podman's name and version, where it is what answers on a Docker socket.
///
/// Tried with 4.3.1 of Debian 12: it makes no tmpfs for a user who isn't root (`unknown mount option
/// "uid=…"`), asks for HTTPS of a registry on loopback, and lists runtimes that aren't installed. A
/// host that found this out in a rental would cost its client time, so it is refused before.
pub(super) fn podman(version: &SystemVersion) -> Option<String> {
    let mut components = version.components.iter().flatten();
    let podman = components.find(|component| component.name == "Podman Engine")?;
    Some(format!("Podman {}", podman.version))
}

impl DockerEngine {
    /// Asks the engine what it can do.
    pub(super) async fn facts(&self) -> Result<Facts, EngineError> {
        let client = self.client().await?;
        let info = self.call("describe itself", "engine", client.info()).await?;
        Ok(Facts { info })
    }

    pub(super) async fn describe_machine(&self) -> Result<EngineInfo, EngineError> {
        let facts = self.facts().await?;
        let mut missing = Vec::new();
        let isolation = offered_isolation(&facts, &mut missing);
        missing_limits(facts.limits(), &mut missing);
        let scratch = self.can_make_scratch().await;
        let egress = self.can_guard_network().await;
        for (what, result) in [("scratch space", &scratch), ("the internet", &egress)] {
            if let Err((reason, mend)) = result {
                missing.push(lack(what, reason, mend));
            }
        }
        if !facts.seccomp() {
            missing.push(lack(
                "tasks",
                "the engine filters no system calls (seccomp is off or unconfined)",
                "run an engine with its default seccomp profile",
            ));
        }
        if !facts.user_namespaces() {
            missing.push(lack(
                "user namespaces",
                "the engine does not remap users",
                "set userns-remap in the engine's configuration; pouw never does",
            ));
        }
        let info = facts.info.clone();
        let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
        Ok(EngineInfo {
            version: format!("docker {}", info.server_version.unwrap_or_default()),
            address: self.config.host.clone(),
            isolation,
            cgroup: cgroup::layout(&read_mountinfo()?),
            limits: facts.limits(),
            user_namespaces: facts.user_namespaces(),
            storage_driver: info.driver.unwrap_or_default(),
            egress: egress.is_ok(),
            scratch: scratch.is_ok(),
            task_user: if uid.is_root() {
                User::default()
            } else {
                User { uid: uid.as_raw(), gid: gid.as_raw() }
            },
            cores: u64::try_from(info.ncpu.unwrap_or(0)).unwrap_or(0),
            memory_bytes: u64::try_from(info.mem_total.unwrap_or(0)).unwrap_or(0),
            missing,
        })
    }

    fn is_local(&self) -> bool {
        let host = &self.config.host;
        host.starts_with("unix://")
            || ["127.0.0.1", "localhost", "[::1]"]
                .iter()
                .any(|name| host.split_once("://").is_some_and(|(_, rest)| rest.starts_with(name)))
    }

    async fn can_make_scratch(&self) -> Result<(), (String, String)> {
        if !self.is_local() {
            return Err(elsewhere());
        }
        for name in ["mkfs.ext4", "mount", "umount", "losetup"] {
            if tool::find(name).is_none() {
                let mend = "install the packages e2fsprogs and mount".to_owned();
                return Err((format!("{name} is not installed"), mend));
            }
        }
        if !Path::new("/dev/loop-control").exists() {
            let reason = "the kernel has no loop devices".to_owned();
            return Err((reason, "load the kernel module loop".to_owned()));
        }
        may_be_root("losetup", &["--all"]).await
    }

    async fn can_guard_network(&self) -> Result<(), (String, String)> {
        if !self.is_local() {
            return Err(elsewhere());
        }
        if tool::find("nft").is_none() {
            let reason = "nft is not installed, and without it tasks could reach this machine's \
                          own network"
                .to_owned();
            return Err((reason, "install the package nftables".to_owned()));
        }
        may_be_root("nft", &["list", "tables"]).await
    }
}

fn elsewhere() -> (String, String) {
    let reason = "the engine is on another machine".to_owned();
    (reason, "run the agent where its engine is".to_owned())
}

async fn may_be_root(name: &'static str, arguments: &[&str]) -> Result<(), (String, String)> {
    let tried = tool::run_as_root(name, arguments, None).await;
    tried.map(drop).map_err(|error| {
        let mend =
            format!("run as root, or let sudo run {} without a password", tool::NEEDED.join(", "));
        (error.to_string(), mend)
    })
}

fn lack(what: &str, reason: &str, mend: &str) -> Missing {
    Missing { what: what.to_owned(), reason: reason.to_owned(), mend: mend.to_owned() }
}

fn offered_isolation(facts: &Facts, missing: &mut Vec<Missing>) -> Vec<Isolation> {
    let mut offered = Vec::new();
    for isolation in [Isolation::Runc, Isolation::Gvisor] {
        let name = runtime_name(isolation);
        if facts.has_runtime(isolation) {
            offered.push(isolation);
        } else {
            missing.push(lack(
                match isolation {
                    Isolation::Runc => "runc isolation",
                    Isolation::Gvisor => "gVisor isolation",
                },
                &format!("the engine has no runtime named {name}"),
                &format!(
                    "add {name} to the engine's runtimes; pouw never changes its configuration"
                ),
            ));
        }
    }
    offered
}

fn missing_limits(limits: Limits, missing: &mut Vec<Missing>) {
    let all = [
        ("memory limits", limits.memory),
        ("swap limits", limits.swap),
        ("processor limits", limits.cpu),
        ("process limits", limits.pids),
    ];
    for (what, there) in all {
        if !there {
            missing.push(lack(
                what,
                "the engine says that this kernel does not enforce them",
                "enable the control group controller on the kernel's command line",
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn podman_is_known_by_its_name_whatever_else_it_says() {
        // As Podman 4.3.1 and Docker 20.10.24 of Debian 12 answer, shortened.
        let answer = |component: &str| -> SystemVersion {
            let json = format!(
                r#"{{"Platform":{{"Name":"linux/amd64/debian-12"}},"Version":"4.3.1","ApiVersion":"1.41",
                    "Components":[{{"Name":"{component}","Version":"4.3.1"}},
                                  {{"Name":"runc","Version":"1.1.5"}}]}}"#
            );
            serde_json::from_str(&json).unwrap()
        };
        assert_eq!(podman(&answer("Podman Engine")).as_deref(), Some("Podman 4.3.1"));
        assert_eq!(podman(&answer("Engine")), None);
        assert_eq!(podman(&SystemVersion::default()), None);
    }
}
