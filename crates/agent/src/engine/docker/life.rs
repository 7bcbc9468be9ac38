//! A container's life: start, pause, stop, wait, run inside, remove.

use std::time::Duration;

use bollard::container::LogOutput;
use bollard::exec::{CreateExecOptions, StartExecResults};
use bollard::query_parameters::{
    KillContainerOptionsBuilder, RemoveContainerOptionsBuilder, StartContainerOptions,
    StopContainerOptionsBuilder, WaitContainerOptions,
};
use futures::StreamExt;

use super::super::{ContainerId, EngineError, ExecOutput, ExecRequest, Exit, Phase, traces};
use super::{DockerEngine, gone_is_done, shortened};

/// How long one wait lasts before the container is looked at: a lost answer costs this at most.
const WAIT_SLICE: Duration = Duration::from_secs(30);
/// How often a removal that another one is busy with is looked at.
const REMOVE_TRIES: u32 = 40;
/// How often the processes of a command that took too long are killed, 50 ms apart.
const END_TRIES: u32 = 40;
/// Environment variable that marks the processes of one command inside a container.
const MARK_EXEC: &str = "POUW_EXEC";

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

    pub(super) async fn run_inside(
        &self,
        id: &ContainerId,
        request: &ExecRequest,
    ) -> Result<ExecOutput, EngineError> {
        let client = self.client().await?;
        let operation = "run a command in the container";
        let mark = format!("{MARK_EXEC}={:032x}", rand::random::<u128>());
        let env = request.env.0.iter().map(|(name, value)| format!("{name}={value}"));
        let env = env.chain([mark.clone()]).collect();
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
        let done = self.bound(operation, request.timeout_ms, &named(id), run).await;
        if matches!(done, Err(EngineError::Timeout { .. }))
            && let Err(error) = self.end_command(id, &made.id, &mark).await
        {
            tracing::warn!(%error, %id, "a command that took too long is still there");
        }
        done
    }

    /// Ends a command inside a container with all that it started: the engine itself can't.
    async fn end_command(
        &self,
        id: &ContainerId,
        command: &str,
        mark: &str,
    ) -> Result<(), EngineError> {
        let operation = "end a command in the container";
        let client = self.client().await?;
        let found = self.call(operation, &named(id), client.inspect_exec(command)).await?;
        let first = found.pid.and_then(|pid| u32::try_from(pid).ok());
        for _ in 0..END_TRIES {
            // A number may have passed to another process: the container's own are in its group.
            let first = first.filter(|pid| traces::is_in_group_of(*pid, id.as_str()));
            let family = traces::family(first, mark);
            if family.is_empty() {
                return Ok(());
            }
            family.into_iter().for_each(traces::end);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let reason = "its processes do not end".to_owned();
        Err(EngineError::Conflict { operation, reason })
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
}

pub(super) fn named(id: &ContainerId) -> String {
    format!("container {id}")
}

/// Whether a start failed for what the task's own command is.
fn is_bad_command(message: &str) -> bool {
    ["executable file not found", "no such file or directory", "permission denied", "exec format"]
        .iter()
        .any(|part| message.contains(part))
        && message.contains("exec")
}
