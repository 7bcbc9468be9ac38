//! A container's life: start, pause, stop, wait, look, run inside, remove.

use std::net::IpAddr;
use std::time::Duration;

use bollard::container::LogOutput;
use bollard::exec::{CreateExecOptions, StartExecResults};
use bollard::models::{ContainerInspectResponse, ContainerState, ContainerSummary};
use bollard::query_parameters::{
    InspectContainerOptions, KillContainerOptionsBuilder, ListContainersOptionsBuilder,
    RemoveContainerOptionsBuilder, StartContainerOptions, StatsOptionsBuilder,
    StopContainerOptionsBuilder, WaitContainerOptions,
};
use futures::StreamExt;

use super::super::workload::{LABEL_RENTAL, LABEL_STEP};
use super::super::{
    ContainerId, EngineError, ExecOutput, ExecRequest, Exit, Observed, OurWorkload, Phase, Stats,
    StepName,
};
use super::{DockerEngine, gone_is_done, shortened};

/// How long one wait lasts before the container is looked at: a lost answer costs this at most.
const WAIT_SLICE: Duration = Duration::from_secs(30);
/// How often a removal that another one is busy with is looked at.
const REMOVE_TRIES: u32 = 40;

impl DockerEngine {
    pub(super) async fn start_container(&self, id: &ContainerId) -> Result<(), EngineError> {
        let client = self.client().await?;
        let call = client.start_container(id.as_str(), None::<StartContainerOptions>);
        match self.call("start the container", &named(id), call).await {
            Err(EngineError::Refused { message, .. }) if is_bad_command(&message) => {
                Err(EngineError::InvalidWorkload {
                    field: "command",
                    problem: format!("cannot be run: {}", shortened(&message)),
                })
            }
            // The engine says 404 also when the program is not in the image.
            Err(EngineError::NotFound { what }) => match self.observe(id).await {
                Ok(_) => Err(EngineError::InvalidWorkload {
                    field: "command",
                    problem: "names a program that is not in the image".to_owned(),
                }),
                Err(_) => Err(EngineError::NotFound { what }),
            },
            other => other,
        }
    }

    pub(super) async fn pause_container(&self, id: &ContainerId) -> Result<(), EngineError> {
        let client = self.client().await?;
        let done =
            self.call("pause the container", &named(id), client.pause_container(id.as_str())).await;
        self.accept_if(done, id, Phase::Paused).await
    }

    pub(super) async fn unpause_container(&self, id: &ContainerId) -> Result<(), EngineError> {
        let client = self.client().await?;
        let call = client.unpause_container(id.as_str());
        let done = self.call("unpause the container", &named(id), call).await;
        self.accept_if(done, id, Phase::Running).await
    }

    /// Takes a refusal for done where the container already is as it should become.
    async fn accept_if(
        &self,
        done: Result<(), EngineError>,
        id: &ContainerId,
        phase: Phase,
    ) -> Result<(), EngineError> {
        match done {
            Err(error @ (EngineError::Conflict { .. } | EngineError::Refused { .. })) => {
                match self.observe(id).await {
                    Ok(found) if found.phase == phase => Ok(()),
                    Ok(found) => Err(EngineError::Conflict {
                        operation: "pause or unpause the container",
                        reason: format!("it is {:?}; {error}", found.phase),
                    }),
                    Err(_) => Err(error),
                }
            }
            other => other,
        }
    }

    pub(super) async fn stop_container(
        &self,
        id: &ContainerId,
        grace_s: u32,
    ) -> Result<(), EngineError> {
        let client = self.client().await?;
        let seconds = i32::try_from(grace_s).unwrap_or(i32::MAX);
        let options = StopContainerOptionsBuilder::default().t(seconds).build();
        let after_ms = self.config.call_timeout_ms.saturating_add(u64::from(grace_s) * 1_000);
        // The client's own bound is for calls that answer at once.
        let patient = client.clone().with_timeout(Duration::from_millis(after_ms));
        let call = patient.stop_container(id.as_str(), Some(options));
        gone_is_done(self.bound("stop the container", after_ms, &named(id), call).await)
    }

    pub(super) async fn kill_container(&self, id: &ContainerId) -> Result<(), EngineError> {
        let client = self.client().await?;
        let options = KillContainerOptionsBuilder::default().signal("SIGKILL").build();
        let call = client.kill_container(id.as_str(), Some(options));
        match self.call("kill the container", &named(id), call).await {
            // It does not run.
            Err(EngineError::Conflict { .. }) => Ok(()),
            other => gone_is_done(other),
        }
    }

    pub(super) async fn wait_container(&self, id: &ContainerId) -> Result<Exit, EngineError> {
        let client = self.client().await?;
        loop {
            let mut answers =
                Box::pin(client.wait_container(id.as_str(), None::<WaitContainerOptions>));
            // What it says does not matter: the container is looked at after it.
            let said = tokio::time::timeout(WAIT_SLICE, answers.next()).await;
            let found = self.observe(id).await?;
            match (found.phase, found.exit) {
                (Phase::Exited, Some(exit)) => return Ok(exit),
                (Phase::Created, _) => {
                    return Err(EngineError::Conflict {
                        operation: "wait for the container",
                        reason: "it was never started".to_owned(),
                    });
                }
                _ if said.is_ok() => tokio::time::sleep(Duration::from_millis(20)).await,
                _ => {}
            }
        }
    }

    pub(super) async fn inspect_raw(
        &self,
        id: &ContainerId,
    ) -> Result<ContainerInspectResponse, EngineError> {
        let client = self.client().await?;
        let call = client.inspect_container(id.as_str(), None::<InspectContainerOptions>);
        self.call("look at the container", &named(id), call).await
    }

    pub(super) async fn observe(&self, id: &ContainerId) -> Result<Observed, EngineError> {
        let found = self.inspect_raw(id).await?;
        let state = found.state.unwrap_or_default();
        let networks = found.network_settings.and_then(|settings| settings.networks);
        let address = networks.into_iter().flatten().find_map(|(_, endpoint)| {
            endpoint.ip_address.and_then(|text| text.parse::<IpAddr>().ok())
        });
        Ok(observed(&state, address))
    }

    pub(super) async fn usage(&self, id: &ContainerId) -> Result<Stats, EngineError> {
        let found = self.observe(id).await?;
        if found.pid == 0 {
            return Err(EngineError::Conflict {
                operation: "measure the container",
                reason: "it does not run".to_owned(),
            });
        }
        if let Some(stats) = self.cgroups.usage(found.pid) {
            return Ok(stats);
        }
        let client = self.client().await?;
        let options = StatsOptionsBuilder::default().stream(false).one_shot(true).build();
        let first = async {
            let mut answers = Box::pin(client.stats(id.as_str(), Some(options)));
            answers.next().await.transpose()
        };
        let answer = self.call("measure the container", &named(id), first).await?;
        Ok(answer.map(|answer| reported(&answer)).unwrap_or_default())
    }

    pub(super) async fn run_inside(
        &self,
        id: &ContainerId,
        request: &ExecRequest,
    ) -> Result<ExecOutput, EngineError> {
        let client = self.client().await?;
        let operation = "run a command in the container";
        let env = request.env.0.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let options = CreateExecOptions::<String> {
            cmd: Some(request.command.clone()),
            env: Some(env),
            user: request.user.map(|user| user.to_string()),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            privileged: Some(false),
            ..CreateExecOptions::default()
        };
        let made =
            self.call(operation, &named(id), client.create_exec(id.as_str(), options)).await?;
        let run = async {
            let mut output = ExecOutput {
                code: 0,
                stdout: String::new(),
                stderr: String::new(),
                truncated: false,
            };
            if let StartExecResults::Attached { output: mut lines, .. } =
                client.start_exec(&made.id, None).await?
            {
                let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
                while let Some(part) = lines.next().await {
                    let part = part?;
                    let into_stderr = matches!(part, LogOutput::StdErr { .. });
                    let bytes = part.into_bytes();
                    let room = request.output_bytes.saturating_sub(stdout.len() + stderr.len());
                    output.truncated |= bytes.len() > room;
                    let kept = &bytes[..bytes.len().min(room)];
                    if into_stderr { &mut stderr } else { &mut stdout }.extend_from_slice(kept);
                }
                output.stdout = String::from_utf8_lossy(&stdout).into_owned();
                output.stderr = String::from_utf8_lossy(&stderr).into_owned();
            }
            output.code = client.inspect_exec(&made.id).await?.exit_code.unwrap_or(-1);
            Ok(output)
        };
        self.bound(operation, request.timeout_ms, &named(id), run).await
    }

    pub(super) async fn remove_container(&self, id: &ContainerId) -> Result<(), EngineError> {
        let found = match self.inspect_raw(id).await {
            Err(EngineError::NotFound { .. }) => return Ok(()),
            other => other?,
        };
        let labels = found.config.and_then(|config| config.labels).unwrap_or_default();
        if labels.get(super::super::workload::LABEL_MACHINE) != Some(&self.machine_label()) {
            return Err(EngineError::Conflict {
                operation: "remove the container",
                reason: format!("{id} does not carry this machine's label"),
            });
        }
        let client = self.client().await?;
        let mut last = Ok(());
        for _ in 0..REMOVE_TRIES {
            let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
            let call = client.remove_container(id.as_str(), Some(options));
            last = gone_is_done(self.call("remove the container", &named(id), call).await);
            match &last {
                // Another removal is at it, or a mount is busy for a moment.
                Err(EngineError::Conflict { .. } | EngineError::Refused { status: 500.., .. }) => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                _ => return last,
            }
        }
        last
    }

    pub(super) async fn list_raw(&self) -> Result<Vec<ContainerSummary>, EngineError> {
        let client = self.client().await?;
        let options =
            ListContainersOptionsBuilder::default().all(true).filters(&self.id_filter()).build();
        self.call("list containers", "engine", client.list_containers(Some(options))).await
    }

    pub(super) async fn list_workloads(&self) -> Result<Vec<OurWorkload>, EngineError> {
        Ok(self.list_raw().await?.into_iter().filter_map(ours).collect())
    }
}

fn named(id: &ContainerId) -> String {
    format!("container {id}")
}

/// Whether a start failed for what the task's own command is.
fn is_bad_command(message: &str) -> bool {
    ["executable file not found", "no such file or directory", "permission denied", "exec format"]
        .iter()
        .any(|part| message.contains(part))
        && message.contains("exec")
}

fn phase_of(status: &str) -> Phase {
    match status {
        "created" => Phase::Created,
        "paused" => Phase::Paused,
        "running" | "restarting" | "stopping" => Phase::Running,
        _ => Phase::Exited,
    }
}

fn observed(state: &ContainerState, address: Option<IpAddr>) -> Observed {
    let status = state.status.map(|status| status.to_string()).unwrap_or_default();
    let phase = phase_of(&status);
    let started_ms = milliseconds(state.started_at.as_deref());
    let code = state.exit_code.unwrap_or(-1);
    let exit = (phase == Phase::Exited).then(|| Exit {
        code,
        oom_killed: state.oom_killed.unwrap_or(false),
        signal: signal_of(code),
        started_ms,
        finished_ms: milliseconds(state.finished_at.as_deref()),
    });
    let pid = state.pid.and_then(|pid| u32::try_from(pid).ok()).unwrap_or(0);
    Observed { phase, started_ms, exit, address, pid }
}

/// The signal that an exit code stands for, by the shells' custom that the engine follows.
fn signal_of(code: i64) -> Option<u8> {
    u8::try_from(code.checked_sub(128)?).ok().filter(|signal| (1..=64).contains(signal))
}

/// The engine's time as Unix milliseconds; its "never" is before 1970 and becomes 0.
fn milliseconds(text: Option<&str>) -> u64 {
    text.and_then(|text| text.parse::<jiff::Timestamp>().ok())
        .and_then(|time| u64::try_from(time.as_millisecond()).ok())
        .unwrap_or(0)
}

fn ours(found: ContainerSummary) -> Option<OurWorkload> {
    let labels = found.labels?;
    let name = found.names.and_then(|names| names.into_iter().next()).unwrap_or_default();
    let status = found.state.map(|state| state.to_string()).unwrap_or_default();
    Some(OurWorkload {
        id: ContainerId::new(found.id?),
        name: name.trim_start_matches('/').to_owned(),
        rental: labels.get(LABEL_RENTAL)?.parse().ok()?,
        step: StepName::new(labels.get(LABEL_STEP)?).ok()?,
        phase: phase_of(&status),
    })
}

/// What the engine itself measured, for a machine whose control groups cannot be read.
fn reported(answer: &bollard::models::ContainerStatsResponse) -> Stats {
    let cpu = answer.cpu_stats.as_ref().and_then(|cpu| cpu.cpu_usage.as_ref());
    let throttling = answer.cpu_stats.as_ref().and_then(|cpu| cpu.throttling_data.as_ref());
    let memory = answer.memory_stats.clone().unwrap_or_default();
    let dropped = memory.stats.as_ref().and_then(|stats| {
        stats.get("total_inactive_file").or_else(|| stats.get("inactive_file")).copied()
    });
    let networks = answer.networks.iter().flat_map(|networks| networks.values());
    let (received_bytes, sent_bytes) = networks.fold((0_u64, 0_u64), |sum, network| {
        (
            sum.0.saturating_add(network.rx_bytes.unwrap_or(0)),
            sum.1.saturating_add(network.tx_bytes.unwrap_or(0)),
        )
    });
    Stats {
        cpu_ns: cpu.and_then(|cpu| cpu.total_usage).unwrap_or(0),
        throttled_ns: throttling.and_then(|one| one.throttled_time).unwrap_or(0),
        quota_millis: None,
        memory_bytes: memory.usage.unwrap_or(0).saturating_sub(dropped.unwrap_or(0)),
        memory_peak_bytes: memory.max_usage.unwrap_or(0),
        memory_limit_bytes: memory.limit.unwrap_or(0),
        pids: answer.pids_stats.as_ref().and_then(|pids| pids.current).unwrap_or(0),
        oom_kills: 0,
        received_bytes,
        sent_bytes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_code_names_its_signal() {
        for (code, signal) in [(0, None), (1, None), (128, None), (137, Some(9)), (143, Some(15))] {
            assert_eq!(signal_of(code), signal, "{code}");
        }
        assert_eq!(signal_of(i64::MIN), None);
    }

    #[test]
    fn a_time_that_never_was_is_zero() {
        assert_eq!(milliseconds(Some("0001-01-01T00:00:00Z")), 0);
        assert_eq!(milliseconds(Some("1970-01-01T00:00:01.5Z")), 1_500);
        assert_eq!(milliseconds(Some("tomorrow")), 0);
        assert_eq!(milliseconds(None), 0);
    }
}
