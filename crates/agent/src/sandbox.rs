//! What of a task becomes which container: pure, but for the folders that mounts need.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use pouw_mining::SOCKET_VARIABLE;
use pouw_spec::{InputMode, Mineable, Task};

use crate::door::Secret;
use crate::engine::{
    Access, BindMount, EngineError, Environment, ImageInfo, ImageRef, LogLimits, NetworkMode,
    Owner, Scratch, StepName, User, Workload,
};

/// Processes and threads that a task may have.
pub(crate) const PIDS: u32 = 4_096;
/// Size of a task's `/tmp`, which is memory.
pub(crate) const TMP_BYTES: u64 = 64 << 20;

/// Where a mineable task finds the folder of its mining socket.
const MINING_DIRECTORY: &str = "/run/pouw-mining";
/// The socket's name in there.
const MINING_SOCKET: &str = "socket";

/// What is needed beside the task to make its container.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    /// Whose it is.
    pub owner: Owner,
    /// Its image, pulled.
    pub image: &'a ImageInfo,
    /// Its file system.
    pub scratch: &'a Scratch,
    /// Whom it runs as.
    pub user: User,
    /// What it can reach.
    pub network: NetworkMode,
}

/// The container that runs a task.
///
/// # Errors
/// The engine's, for a step name that can't be.
pub(crate) fn task_workload(place: &Place<'_>, task: &Task) -> Result<Workload, EngineError> {
    let mut mounts = vec![BindMount {
        source: place.scratch.work(),
        target: Task::DIRECTORY.to_owned(),
        access: Access::Write,
    }];
    for (index, input) in task.inputs.iter().enumerate() {
        if input.mode == InputMode::ReadOnly {
            mounts.push(BindMount {
                source: input_path(place.scratch, index),
                target: format!("{}/{}", Task::DIRECTORY, input.to),
                access: Access::Read,
            });
        }
    }
    if !task.secrets.is_empty() {
        mounts.push(BindMount {
            source: secrets_path(place.scratch),
            target: Task::SECRETS_DIRECTORY.to_owned(),
            access: Access::Read,
        });
    }
    let mut env = Environment(task.env.clone());
    if task.mineable == Mineable::Opening {
        mounts.push(BindMount {
            source: mining_path(place.scratch),
            target: MINING_DIRECTORY.to_owned(),
            access: Access::Read,
        });
        let socket = format!("{MINING_DIRECTORY}/{MINING_SOCKET}");
        env.0.insert(SOCKET_VARIABLE.to_owned(), socket);
    }
    let (entrypoint, command) = command(task, place.image);
    Ok(Workload {
        owner: place.owner,
        step: StepName::new("run")?,
        image: place.image.reference.clone(),
        entrypoint,
        command,
        env,
        workdir: Some(task.workdir()),
        user: place.user,
        cpu_millis: task.resources.cpu_millis,
        memory_bytes: task.resources.memory_bytes,
        pids: PIDS,
        tmp_bytes: TMP_BYTES.min(task.resources.memory_bytes / 2),
        isolation: task.isolation,
        network: place.network.clone(),
        mounts,
        log: LogLimits::default(),
    })
}

/// What runs, as entry point and command: with `setup`, the image's shell runs one command after
/// the other and then becomes the task.
fn command(task: &Task, image: &ImageInfo) -> (Option<Vec<String>>, Vec<String>) {
    let own = &task.run.command;
    if task.setup.is_empty() {
        return if own.is_empty() { (None, Vec::new()) } else { (Some(Vec::new()), own.clone()) };
    }
    let of_image = || [image.entrypoint.clone(), image.command.clone()].concat();
    let run = if own.is_empty() { of_image() } else { own.clone() };
    let mut script: Vec<String> = task.setup.iter().map(|words| quoted(words)).collect();
    script.push(format!("exec {}", quoted(&run)));
    (Some(Vec::new()), vec!["/bin/sh".to_owned(), "-ec".to_owned(), script.join("\n")])
}

fn quoted(words: &[String]) -> String {
    let quote = |word: &String| format!("'{}'", word.replace('\'', "'\\''"));
    words.iter().map(quote).collect::<Vec<_>>().join(" ")
}

/// Where an input lies that the task cannot change.
#[must_use]
pub(crate) fn input_path(scratch: &Scratch, index: usize) -> PathBuf {
    scratch.inputs().join(format!("{index:04}"))
}

/// Where the files with secrets lie.
#[must_use]
pub(crate) fn secrets_path(scratch: &Scratch) -> PathBuf {
    scratch.path.join("secrets")
}

/// Where the mining socket lies.
#[must_use]
pub(crate) fn mining_path(scratch: &Scratch) -> PathBuf {
    scratch.path.join("mining")
}

/// Listens on the task's mining socket, anew where an earlier agent did.
///
/// # Errors
/// What the file system says.
pub(crate) fn mining_socket(scratch: &Scratch) -> io::Result<UnixListener> {
    let path = mining_path(scratch);
    let folder = fs::File::open(&path)?;
    match fs::remove_file(path.join(MINING_SOCKET)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // A socket's path has at most 107 bytes, whatever the data folder's has.
    let short = format!("/proc/self/fd/{}/{MINING_SOCKET}", folder.as_raw_fd());
    let listener = UnixListener::bind(short)?;
    // The task's user need not be one that this process may give files to. Who can reach the folder
    // learns which block is mined, and can win it for this host.
    fs::set_permissions(path.join(MINING_SOCKET), fs::Permissions::from_mode(0o666))?;
    Ok(listener)
}

/// Where the agent puts down what is on its way.
#[must_use]
pub(crate) fn staging_path(scratch: &Scratch) -> PathBuf {
    scratch.path.join("staging")
}

/// a file that stands beside what is kept of an ended task.
#[must_use]
pub(crate) fn kept_mark(scratch: &Scratch) -> PathBuf {
    staging_path(scratch).join("kept")
}

/// Copies what a task left into another task's folder: files, folders and links, with their modes.
/// What is neither (sockets, pipes) is left behind. No process of either task runs meanwhile.
///
/// # Errors
/// What the file system says, such as that there is no room.
pub(crate) fn copy_tree(from: &Path, to: &Path, user: User) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (kind, target) = (entry.file_type()?, to.join(entry.file_name()));
        if kind.is_dir() {
            // ext4's own, at the root of a file system.
            if entry.file_name() == "lost+found" {
                continue;
            }
            fs::create_dir_all(&target)?;
            copy_tree(&entry.path(), &target, user)?;
            fs::set_permissions(&target, entry.metadata()?.permissions())?;
        } else if kind.is_symlink() {
            if fs::symlink_metadata(&target).is_ok() {
                fs::remove_file(&target)?;
            }
            std::os::unix::fs::symlink(fs::read_link(entry.path())?, &target)?;
            match std::os::unix::fs::lchown(&target, Some(user.uid), Some(user.gid)) {
                Err(error) if error.kind() != io::ErrorKind::PermissionDenied => return Err(error),
                _ => continue,
            }
        } else if kind.is_file() {
            // A link of an earlier try could lead elsewhere.
            if fs::symlink_metadata(&target).is_ok_and(|found| !found.is_file()) {
                fs::remove_file(&target)?;
            }
            fs::copy(entry.path(), &target)?;
        } else {
            continue;
        }
        own(&target, user)?;
    }
    Ok(())
}

/// Makes the folders and files that the task's mounts need: sources, and in the task's folder the
/// places they cover.
///
/// # Errors
/// What the file system says.
pub(crate) fn prepare(
    scratch: &Scratch,
    task: &Task,
    secrets: &BTreeMap<String, Secret>,
    user: User,
) -> io::Result<()> {
    fs::create_dir_all(scratch.inputs())?;
    fs::create_dir_all(staging_path(scratch))?;
    for (index, input) in task.inputs.iter().enumerate() {
        let (source, target) = (input_path(scratch, index), scratch.work().join(input.to.as_str()));
        if let Some(parent) = target.parent() {
            make_owned(&scratch.work(), parent, user)?;
        }
        if input.mode == InputMode::ReadOnly {
            for place in [&source, &target] {
                if input.from.is_directory() {
                    fs::create_dir_all(place)?;
                } else if !place.exists() {
                    fs::write(place, b"")?;
                }
            }
        }
    }
    if task.mineable == Mineable::Opening {
        // The agent's own: the task connects to what lies in it, and changes nothing.
        let folder = mining_path(scratch);
        fs::create_dir_all(&folder)?;
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
    }
    write_secrets(scratch, secrets, user)
}

/// Makes a folder below `root` that the task's user can write.
///
/// # Errors
/// What the file system says.
pub(crate) fn make_owned(root: &Path, folder: &Path, user: User) -> io::Result<()> {
    let below = folder.strip_prefix(root).map_err(io::Error::other)?;
    let mut at = root.to_owned();
    for name in below.components() {
        at.push(name);
        if !at.exists() {
            fs::create_dir(&at)?;
            own(&at, user)?;
        }
    }
    Ok(())
}

fn write_secrets(
    scratch: &Scratch,
    secrets: &BTreeMap<String, Secret>,
    user: User,
) -> io::Result<()> {
    if secrets.is_empty() {
        return Ok(());
    }
    let folder = secrets_path(scratch);
    fs::create_dir_all(&folder)?;
    for (name, secret) in secrets {
        let path = folder.join(name);
        // Written anew after a crash: read-only files are replaced, not opened.
        if path.exists() {
            fs::remove_file(&path)?;
        }
        fs::write(&path, secret.reveal())?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o400))?;
        own(&path, user)?;
    }
    Ok(())
}

/// Gives a file to the task's user.
///
/// # Errors
/// What the file system says; without the right to, and the agent being that user, nothing is
/// needed.
pub(crate) fn own(path: &Path, user: User) -> io::Result<()> {
    let done = std::os::unix::fs::chown(path, Some(user.uid), Some(user.gid));
    match done {
        Err(error)
            if error.kind() == io::ErrorKind::PermissionDenied
                && rustix::process::getuid().as_raw() == user.uid =>
        {
            Ok(())
        }
        other => other,
    }
}

/// The image as the engine names it.
///
/// # Errors
/// [`crate::engine::ParseImageRefError`].
pub(crate) fn image_of(task: &Task) -> Result<ImageRef, crate::engine::ParseImageRefError> {
    task.image.to_string().parse()
}
