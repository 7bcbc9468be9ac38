//! Looking at containers: one as it is now, what it uses, all of ours.

use std::net::IpAddr;
use std::time::Duration;

use bollard::models::{ContainerInspectResponse, ContainerState, ContainerSummary};
use bollard::query_parameters::{
    InspectContainerOptions, ListContainersOptionsBuilder, StatsOptionsBuilder,
};
use futures::StreamExt;

use super::super::workload::{LABEL_RENTAL, LABEL_STEP};
use super::super::{ContainerId, EngineError, Exit, Observed, OurWorkload, Phase, Stats, StepName};
use super::DockerEngine;
use super::life::named;

/// How late after a killed container's end the engine may still learn that memory was the reason.
const LATE_REASON_MS: u64 = 500;
/// How often such a container is looked at, 50 ms apart, whatever the clocks say.
const LATE_REASON_TRIES: u32 = 10;

impl DockerEngine {
    pub(super) async fn inspect_raw(
        &self,
        id: &ContainerId,
    ) -> Result<ContainerInspectResponse, EngineError> {
        let client = self.client().await?;
        let call = client.inspect_container(id.as_str(), None::<InspectContainerOptions>);
        self.call("look at the container", &named(id), call).await
    }

    /// Looks at a container. One that has just been killed is looked at again for a moment: the
    /// engine hears of the end and of the memory that caused it in any order.
    pub(super) async fn observe(&self, id: &ContainerId) -> Result<Observed, EngineError> {
        let mut found = self.observe_once(id).await?;
        for _ in 0..LATE_REASON_TRIES {
            if !found.exit.is_some_and(|exit| reason_may_come(&exit, now_ms())) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
            found = self.observe_once(id).await?;
        }
        Ok(found)
    }

    async fn observe_once(&self, id: &ContainerId) -> Result<Observed, EngineError> {
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

/// Whether a killed container's reason may still be on its way at `now_ms`.
fn reason_may_come(exit: &Exit, now_ms: u64) -> bool {
    exit.signal == Some(9)
        && !exit.oom_killed
        && now_ms < exit.finished_ms.saturating_add(LATE_REASON_MS)
}

fn now_ms() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or(0)
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
    fn a_fresh_kill_without_a_reason_is_looked_at_again() {
        let killed = Exit {
            code: 137,
            oom_killed: false,
            signal: Some(9),
            started_ms: 1_000,
            finished_ms: 2_000,
        };
        assert!(reason_may_come(&killed, 2_000));
        assert!(!reason_may_come(&killed, 2_000 + LATE_REASON_MS));
        assert!(!reason_may_come(&Exit { oom_killed: true, ..killed }, 2_000));
        assert!(!reason_may_come(&Exit { code: 143, signal: Some(15), ..killed }, 2_000));
    }

    #[test]
    fn a_time_that_never_was_is_zero() {
        assert_eq!(milliseconds(Some("0001-01-01T00:00:00Z")), 0);
        assert_eq!(milliseconds(Some("1970-01-01T00:00:01.5Z")), 1_500);
        assert_eq!(milliseconds(Some("tomorrow")), 0);
        assert_eq!(milliseconds(None), 0);
    }
}
