//! What of ours is on the computer outside the engine: mounts, loop devices, files, processes.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;

use super::scratch::{loop_devices, read_mountinfo};
use super::{EngineError, MachineState, Owner, Scope, mounts};

/// Environment variable that marks a task's processes with their machine.
pub(crate) const MARK_MACHINE: &str = "POUW_MACHINE";
/// Environment variable that marks a task's processes with their rental.
pub(crate) const MARK_RENTAL: &str = "POUW_RENTAL";

/// How much of a process's environment is looked at, in bytes.
const ENVIRONMENT_BYTES: u64 = 256 << 10;

/// Whether a scratch file's name belongs to the scope.
fn in_scope(scope: Scope, name: &str) -> bool {
    match scope {
        Scope::Machine => true,
        Scope::Rental(rental) => name.starts_with(&stem(rental)),
    }
}

fn stem(rental: pouw_types::RentalId) -> String {
    Owner { machine: pouw_types::MachineId::default(), rental }.file_stem()
}

/// Adds mounts, loop devices and files below the scratch folder.
pub(crate) fn add_scratch(state: &mut MachineState, folder: &Path) -> Result<(), EngineError> {
    let scope = state.scope;
    let name_below = |path: &Path| {
        let first = path.strip_prefix(folder).ok()?.components().next()?;
        first.as_os_str().to_str().map(ToOwned::to_owned)
    };
    let ours = |path: &Path| name_below(path).is_some_and(|name| in_scope(scope, &name));
    let points = mounts::below(&read_mountinfo()?, folder);
    state.mounts =
        points.iter().filter(|path| ours(path)).map(|path| path.display().to_string()).collect();
    state.loops = loop_devices()
        .into_iter()
        .filter(|(_, file)| ours(file))
        .map(|(_, file)| file.display().to_string())
        .collect();
    state.scratch_files = match std::fs::read_dir(folder) {
        Ok(entries) => entries
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| in_scope(scope, name))
            .collect(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => BTreeSet::new(),
        Err(source) => {
            return Err(EngineError::Io { operation: "list", path: folder.to_owned(), source });
        }
    };
    Ok(())
}

/// The processes whose environment carries the machine's mark, by number and start time.
///
/// An agent that is not root sees those of its own user only, which are those its tasks run as.
pub(crate) fn marked_processes(machine_label: &str, scope: Scope) -> Vec<u32> {
    let mut marks = vec![format!("{MARK_MACHINE}={machine_label}")];
    if let Scope::Rental(rental) = scope {
        marks.push(format!("{MARK_RENTAL}={:#x}", rental.get()));
    }
    processes_with(&marks)
}

/// The processes whose environment carries all of these `NAME=value` marks.
fn processes_with(marks: &[String]) -> Vec<u32> {
    processes().filter(|pid| carries(*pid, marks)).collect()
}

fn processes() -> impl Iterator<Item = u32> {
    let folder = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    folder.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
}

/// A process, all that descend from it, and all that carry the mark of its command: what a command
/// started inside a container has become.
pub(crate) fn family(first: Option<u32>, mark: &str) -> BTreeSet<u32> {
    let mut family: BTreeSet<u32> = processes_with(&[mark.to_owned()]).into_iter().collect();
    family.extend(first.filter(|pid| parent_of(*pid).is_some()));
    let parents: Vec<(u32, u32)> =
        processes().filter_map(|pid| Some((pid, parent_of(pid)?))).collect();
    loop {
        let before = family.len();
        let children = parents.iter().filter(|(_, parent)| family.contains(parent));
        let children: Vec<u32> = children.map(|(pid, _)| *pid).collect();
        family.extend(children);
        if family.len() == before {
            return family;
        }
    }
}

/// Whether a process is in the control group of a container, by the container's identity.
pub(crate) fn is_in_group_of(pid: u32, container: &str) -> bool {
    let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup"));
    !container.is_empty() && groups.is_ok_and(|groups| groups.contains(container))
}

/// The parent of a process that runs; none of one that is gone, or dead and not reaped.
fn parent_of(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    fields.next()?.parse().ok().filter(|_| !matches!(state, "Z" | "X"))
}

/// Ends a process at once.
pub(crate) fn end(pid: u32) {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = pid
        && let Err(error) = rustix::process::kill_process(pid, rustix::process::Signal::KILL)
    {
        tracing::debug!(%error, "a process of ours ended by itself");
    }
}

fn carries(pid: u32, marks: &[String]) -> bool {
    let Ok(file) = std::fs::File::open(format!("/proc/{pid}/environ")) else { return false };
    let mut bytes = Vec::new();
    if file.take(ENVIRONMENT_BYTES).read_to_end(&mut bytes).is_err() {
        return false;
    }
    marks.iter().all(|mark| bytes.split(|byte| *byte == 0).any(|entry| entry == mark.as_bytes()))
}

/// What a process is called in a state: its number and when it started.
pub(crate) fn process_entry(pid: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let after_name = stat.rsplit_once(')')?.1;
    let started = after_name.split_whitespace().nth(19)?;
    Some(format!("{pid} started {started}"))
}
