//! Compares a container with what was asked for, setting by setting, before it is started.
//!
//! An engine may drop what it doesn't know or can't do without a word (Podman's Docker API runs
//! `runc` where another runtime was asked for). So nothing is believed: each setting of the request
//! is read back, and what was not asked for must be absent.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bollard::models::{
    ContainerConfig, ContainerCreateBody, ContainerInspectResponse, HostConfig, ImageConfig,
    MountPoint,
};

use super::Difference;

/// Every difference between what was asked of the engine and what it made.
///
/// `image_id` and `image` are of the image that was asked for.
pub(crate) fn compare(
    asked: &ContainerCreateBody,
    image_id: &str,
    image: &ImageConfig,
    found: &ContainerInspectResponse,
) -> Vec<Difference> {
    let (no_host, no_config) = (HostConfig::default(), ContainerConfig::default());
    let asked_host = asked.host_config.as_ref().unwrap_or(&no_host);
    let host = found.host_config.as_ref().unwrap_or(&no_host);
    let config = found.config.as_ref().unwrap_or(&no_config);
    let mut differences = Differences(Vec::new());
    differences.same("Image", image_id, found.image.as_deref().unwrap_or_default());
    differences.config(asked, config, image);
    differences.limits(asked_host, host);
    differences.isolation(asked_host, host);
    differences.nothing_added(host);
    differences.outputs(asked_host, host);
    differences.mounts(asked_host, host, found.mounts.as_deref().unwrap_or_default());
    differences.networks(asked_host, found);
    let profile = found.app_armor_profile.as_deref().unwrap_or_default();
    if profile.contains("unconfined") {
        differences.add("AppArmorProfile", "the engine's", profile);
    }
    differences.0
}

struct Differences(Vec<Difference>);

impl Differences {
    #[expect(
        clippy::needless_pass_by_value,
        reason = "what is compared is made for the comparison"
    )]
    fn add(&mut self, setting: &'static str, asked: impl ToString, found: impl ToString) {
        let (asked, found) = (asked.to_string(), found.to_string());
        self.0.push(Difference { setting, asked, found });
    }

    #[expect(
        clippy::needless_pass_by_value,
        reason = "what is compared is made for the comparison"
    )]
    fn same<T: PartialEq + core::fmt::Debug>(&mut self, setting: &'static str, asked: T, found: T) {
        if asked != found {
            self.add(setting, format!("{asked:?}"), format!("{found:?}"));
        }
    }

    /// What the engine reports as nothing, null or empty alike.
    fn empty<T: IntoIterator>(&mut self, setting: &'static str, found: Option<T>) {
        let count = found.map_or(0, |list| list.into_iter().count());
        if count > 0 {
            self.add(setting, "none", format!("{count} entries"));
        }
    }

    fn off(&mut self, setting: &'static str, found: Option<bool>) {
        self.same(setting, false, found.unwrap_or(false));
    }

    fn unset(&mut self, setting: &'static str, found: Option<i64>) {
        self.same(setting, 0, found.unwrap_or(0));
    }

    /// A mode that must be one of a few spellings of the default.
    fn one_of(&mut self, setting: &'static str, allowed: &[&str], found: Option<&str>) {
        let found = found.unwrap_or_default();
        if !allowed.contains(&found) {
            self.add(setting, allowed.join(" or "), found);
        }
    }

    fn config(
        &mut self,
        asked: &ContainerCreateBody,
        config: &ContainerConfig,
        image: &ImageConfig,
    ) {
        let list = |list: &Option<Vec<String>>| list.clone().unwrap_or_default();
        let entrypoint = asked.entrypoint.clone().map_or_else(
            || list(&image.entrypoint),
            // One empty word is how the engine is asked to clear the image's.
            |words| if words == [""] { Vec::new() } else { words },
        );
        self.same("Entrypoint", entrypoint, list(&config.entrypoint));
        let command = match (&asked.cmd, &asked.entrypoint) {
            (Some(words), _) => words.clone(),
            // An entry point of its own drops the image's command.
            (None, Some(_)) => Vec::new(),
            (None, None) => list(&image.cmd),
        };
        self.same("Cmd", command, list(&config.cmd));
        self.same("User", asked.user.as_deref(), config.user.as_deref());
        let workdir = asked.working_dir.as_ref().or(image.working_dir.as_ref());
        let text = |value: Option<&String>| value.cloned().unwrap_or_default();
        self.same("WorkingDir", text(workdir), text(config.working_dir.as_ref()));
        self.same("StopSignal", asked.stop_signal.as_deref(), config.stop_signal.as_deref());
        self.off("Tty", config.tty);
        self.off("OpenStdin", config.open_stdin);
        self.environment(asked, config, image);
        let found = sorted(config.labels.as_ref());
        for (name, value) in sorted(asked.labels.as_ref()) {
            self.same("Labels", Some(&value), found.get(&name));
        }
        let check = config.healthcheck.as_ref().and_then(|check| check.test.clone());
        self.same("Healthcheck", vec!["NONE".to_owned()], check.unwrap_or_default());
    }

    /// Names only: values may be secrets.
    fn environment(
        &mut self,
        asked: &ContainerCreateBody,
        config: &ContainerConfig,
        image: &ImageConfig,
    ) {
        let set = |list: &Option<Vec<String>>| -> BTreeMap<String, String> {
            let pair = |entry: &String| {
                let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
                (name.to_owned(), value.to_owned())
            };
            list.iter().flatten().map(pair).collect()
        };
        let mut expected = set(&image.env);
        expected.extend(set(&asked.env));
        let found = set(&config.env);
        let names: BTreeSet<&String> = expected.keys().chain(found.keys()).collect();
        for name in names {
            // The engine gives a search path to an image without one.
            if expected.get(name) != found.get(name)
                && (name != "PATH" || expected.contains_key(name))
            {
                let state = |there: bool| if there { "set otherwise" } else { "not set" };
                self.add("Env", name, state(found.contains_key(name)));
            }
        }
    }

    fn limits(&mut self, asked: &HostConfig, found: &HostConfig) {
        let number = |value: Option<i64>| value.unwrap_or(0);
        self.same("NanoCpus", number(asked.nano_cpus), number(found.nano_cpus));
        self.same("Memory", number(asked.memory), number(found.memory));
        if asked.memory_swap.is_some() {
            self.same("MemorySwap", number(asked.memory_swap), number(found.memory_swap));
        }
        self.same("PidsLimit", number(asked.pids_limit), number(found.pids_limit));
        self.same("ShmSize", number(asked.shm_size), number(found.shm_size));
        self.off("OomKillDisable", found.oom_kill_disable);
        self.unset("OomScoreAdj", found.oom_score_adj);
        self.unset("CpuQuota", found.cpu_quota);
        self.unset("CpuRealtimeRuntime", found.cpu_realtime_runtime);
        self.one_of("CgroupParent", &[""], found.cgroup_parent.as_deref());
    }

    fn isolation(&mut self, asked: &HostConfig, found: &HostConfig) {
        self.same("Runtime", asked.runtime.as_deref(), found.runtime.as_deref());
        self.same("ReadonlyRootfs", asked.readonly_rootfs, found.readonly_rootfs);
        self.off("Privileged", found.privileged);
        self.same("CapDrop", asked.cap_drop.as_ref(), found.cap_drop.as_ref());
        self.empty("CapAdd", found.cap_add.as_ref());
        self.same("SecurityOpt", asked.security_opt.as_ref(), found.security_opt.as_ref());
        self.one_of("PidMode", &[""], found.pid_mode.as_deref());
        self.one_of("IpcMode", &["private"], found.ipc_mode.as_deref());
        self.one_of("UTSMode", &[""], found.uts_mode.as_deref());
        self.one_of("UsernsMode", &[""], found.userns_mode.as_deref());
        // Without these the task could read and write the kernel's own settings.
        let masked = found.masked_paths.as_deref().unwrap_or_default();
        if !masked.iter().any(|path| path == "/proc/kcore") {
            self.add("MaskedPaths", "the engine's", "fewer");
        }
        let read_only = found.readonly_paths.as_deref().unwrap_or_default();
        if !read_only.iter().any(|path| path == "/proc/sys") {
            self.add("ReadonlyPaths", "the engine's", "fewer");
        }
    }

    fn nothing_added(&mut self, found: &HostConfig) {
        self.empty("Devices", found.devices.as_ref());
        self.empty("DeviceRequests", found.device_requests.as_ref());
        self.empty("DeviceCgroupRules", found.device_cgroup_rules.as_ref());
        self.empty("Binds", found.binds.as_ref());
        self.empty("VolumesFrom", found.volumes_from.as_ref());
        self.empty("Links", found.links.as_ref());
        self.empty("GroupAdd", found.group_add.as_ref());
        self.empty("PortBindings", found.port_bindings.as_ref());
        self.off("PublishAllPorts", found.publish_all_ports);
        self.empty("Sysctls", found.sysctls.as_ref());
        self.empty("ExtraHosts", found.extra_hosts.as_ref());
        self.off("AutoRemove", found.auto_remove);
        let restart = found.restart_policy.as_ref().and_then(|policy| policy.name);
        let restart = restart.map(|name| name.to_string());
        self.one_of("RestartPolicy", &["", "no"], restart.as_deref());
    }

    fn outputs(&mut self, asked: &HostConfig, found: &HostConfig) {
        let read = |host: &HostConfig| {
            let log = host.log_config.clone().unwrap_or_default();
            (log.typ.unwrap_or_default(), sorted(log.config.as_ref()))
        };
        self.same("LogConfig", read(asked), read(found));
    }

    fn mounts(&mut self, asked: &HostConfig, found: &HostConfig, points: &[MountPoint]) {
        self.same("Tmpfs", sorted(asked.tmpfs.as_ref()), sorted(found.tmpfs.as_ref()));
        let expected: BTreeSet<(String, String, bool)> = asked
            .mounts
            .iter()
            .flatten()
            .map(|mount| {
                let text = |value: &Option<String>| value.clone().unwrap_or_default();
                (text(&mount.source), text(&mount.target), !mount.read_only.unwrap_or(false))
            })
            .collect();
        // The engine may or may not list a tmpfs of the option above here as well.
        let tmpfs = |point: &&MountPoint| {
            let target = point.destination.as_deref().unwrap_or_default();
            point.typ.as_deref() == Some("tmpfs")
                && asked.tmpfs.as_ref().is_some_and(|list| list.contains_key(target))
        };
        let made: BTreeSet<(String, String, bool)> = points
            .iter()
            .filter(|point| !tmpfs(point))
            .map(|point| {
                let text = |value: &Option<String>| value.clone().unwrap_or_default();
                let kind = text(&point.typ);
                let source = text(&point.source);
                let source = if kind == "bind" { source } else { format!("{kind}:{source}") };
                (source, text(&point.destination), point.rw.unwrap_or(true))
            })
            .collect();
        self.same("Mounts", expected, made);
    }

    fn networks(&mut self, asked: &HostConfig, found: &ContainerInspectResponse) {
        let mode = |host: Option<&HostConfig>| {
            host.and_then(|host| host.network_mode.clone()).unwrap_or_default()
        };
        let asked_mode = mode(Some(asked));
        self.same("NetworkMode", &asked_mode, &mode(found.host_config.as_ref()));
        let dns =
            |host: Option<&HostConfig>| host.and_then(|host| host.dns.clone()).unwrap_or_default();
        self.same("Dns", dns(Some(asked)), dns(found.host_config.as_ref()));
        let joined: BTreeSet<String> = found
            .network_settings
            .as_ref()
            .and_then(|settings| settings.networks.as_ref())
            .map(|networks| networks.keys().cloned().collect())
            .unwrap_or_default();
        self.same("Networks", BTreeSet::from([asked_mode]), joined);
    }
}

fn sorted(map: Option<&HashMap<String, String>>) -> BTreeMap<String, String> {
    map.into_iter().flatten().map(|(name, value)| (name.clone(), value.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> HostConfig {
        let paths = |path: &str| Some(vec![path.to_owned()]);
        HostConfig {
            nano_cpus: Some(500_000_000),
            memory: Some(1 << 26),
            cap_drop: Some(vec!["ALL".to_owned()]),
            readonly_rootfs: Some(true),
            runtime: Some("runc".to_owned()),
            ipc_mode: Some("private".to_owned()),
            network_mode: Some("none".to_owned()),
            masked_paths: paths("/proc/kcore"),
            readonly_paths: paths("/proc/sys"),
            ..HostConfig::default()
        }
    }

    /// The settings in which a container with this host configuration differs.
    fn check(change: impl Fn(&mut HostConfig), settings: &[&str]) {
        let asked =
            ContainerCreateBody { host_config: Some(host()), ..ContainerCreateBody::default() };
        let mut made = host();
        change(&mut made);
        let network = bollard::models::EndpointSettings::default();
        let found = ContainerInspectResponse {
            image: Some("sha256:1".to_owned()),
            host_config: Some(made),
            config: Some(ContainerConfig {
                healthcheck: Some(bollard::models::HealthConfig {
                    test: Some(vec!["NONE".to_owned()]),
                    ..bollard::models::HealthConfig::default()
                }),
                ..ContainerConfig::default()
            }),
            network_settings: Some(bollard::models::NetworkSettings {
                networks: Some(HashMap::from([("none".to_owned(), network)])),
                ..bollard::models::NetworkSettings::default()
            }),
            ..ContainerInspectResponse::default()
        };
        let differences = compare(&asked, "sha256:1", &ImageConfig::default(), &found);
        let found: Vec<&str> = differences.iter().map(|found| found.setting).collect();
        assert_eq!(found, settings);
    }

    #[test]
    fn a_container_as_asked_for_has_no_difference() {
        check(|_| {}, &[]);
    }

    #[test]
    fn every_weakened_setting_is_found() {
        check(|host| host.runtime = Some("crun".to_owned()), &["Runtime"]);
        check(|host| host.memory = None, &["Memory"]);
        check(|host| host.nano_cpus = Some(1_000_000_000), &["NanoCpus"]);
        check(|host| host.cap_drop = None, &["CapDrop"]);
        check(|host| host.cap_add = Some(vec!["SYS_ADMIN".to_owned()]), &["CapAdd"]);
        check(|host| host.privileged = Some(true), &["Privileged"]);
        check(|host| host.readonly_rootfs = Some(false), &["ReadonlyRootfs"]);
        check(|host| host.pid_mode = Some("host".to_owned()), &["PidMode"]);
        check(|host| host.network_mode = Some("host".to_owned()), &["NetworkMode"]);
        check(|host| host.masked_paths = Some(Vec::new()), &["MaskedPaths"]);
        check(|host| host.binds = Some(vec!["/:/host".to_owned()]), &["Binds"]);
        let unconfined = || Some(vec!["seccomp=unconfined".to_owned()]);
        check(|host| host.security_opt = unconfined(), &["SecurityOpt"]);
    }
}
