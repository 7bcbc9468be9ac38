//! Scratch file systems: an ext4 of a fixed size in a file, mounted by a loop device.
//!
//! The file's blocks are reserved when it is made, so a task that fills its scratch gets "no space
//! left" there, and nobody else does.

use std::path::{Path, PathBuf};

use rustix::fs::FallocateFlags;

use super::{EngineError, Owner, Scratch, ScratchRequest, User, mounts, tool};

/// Least size of a scratch file system, in bytes: below it ext4 keeps hardly anything for files.
const MIN_BYTES: u64 = 4 << 20;

/// Where the scratch file systems of one machine are.
#[derive(Clone, Debug)]
pub(crate) struct ScratchFolder {
    folder: PathBuf,
    /// What must stay free on the disk beside a new scratch, in bytes.
    reserve_bytes: u64,
}

impl ScratchFolder {
    pub(crate) fn new(data: &Path, reserve_bytes: u64) -> Self {
        Self { folder: data.join("scratch"), reserve_bytes }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes the folder; only its owner lists it, the engine may pass through.
    pub(crate) fn prepare(&self) -> Result<(), EngineError> {
        make_folder(&self.folder, 0o711)
    }

    fn image(&self, owner: &Owner) -> PathBuf {
        self.folder.join(format!("{}.img", owner.file_stem()))
    }

    fn mount_point(&self, owner: &Owner) -> PathBuf {
        self.folder.join(owner.file_stem())
    }

    /// Makes and mounts a rental's file system; one that is there stays.
    pub(crate) async fn create(
        &self,
        request: &ScratchRequest,
        outside: User,
    ) -> Result<Scratch, EngineError> {
        if request.size_bytes < MIN_BYTES {
            return Err(EngineError::InvalidWorkload {
                field: "scratch size",
                problem: format!("is {} bytes; at least {MIN_BYTES}", request.size_bytes),
            });
        }
        self.prepare()?;
        let (image, path) = (self.image(&request.owner), self.mount_point(&request.owner));
        let scratch = Scratch { path: path.clone(), size_bytes: request.size_bytes };
        let size = std::fs::metadata(&image).map(|found| found.len()).ok();
        if size == Some(request.size_bytes) && mount_table()?.contains(&path) {
            own_folders(&scratch, outside)?;
            return Ok(scratch);
        }
        self.remove(&request.owner).await?;
        let made = self.make(request.size_bytes, &image, &path).await;
        match made.and_then(|()| own_folders(&scratch, outside)) {
            Ok(()) => Ok(scratch),
            Err(error) => {
                if let Err(left) = self.remove(&request.owner).await {
                    tracing::warn!(%left, "a scratch that failed is not fully removed");
                }
                Err(error)
            }
        }
    }

    async fn make(&self, size: u64, image: &Path, path: &Path) -> Result<(), EngineError> {
        self.check_room(size)?;
        let file = image.to_owned();
        tokio::task::spawn_blocking(move || reserve(&file, size)).await.map_err(|error| {
            EngineError::Io {
                operation: "reserve",
                path: image.to_owned(),
                source: std::io::Error::other(error),
            }
        })??;
        let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
        // No journal: a scratch doesn't outlive the machine's run. No discard: it would give the
        // reserved blocks back.
        let options =
            format!("nodiscard,lazy_itable_init=1,root_owner={}:{}", uid.as_raw(), gid.as_raw());
        let image_text = image.display().to_string();
        let mkfs = ["-q", "-F", "-m", "0", "-O", "^has_journal", "-E", &options, &image_text];
        tool::run_as_self("mkfs.ext4", &mkfs).await?;
        make_folder(path, 0o711)?;
        let path_text = path.display().to_string();
        let mount =
            ["-t", "ext4", "-o", "loop,nosuid,nodev,noatime", &image_text, path_text.as_str()];
        tool::run_as_root("mount", &mount, None).await.map(drop)
    }

    fn check_room(&self, size_bytes: u64) -> Result<(), EngineError> {
        let disk = rustix::fs::statvfs(&self.folder)
            .map_err(|error| io("measure", &self.folder, error.into()))?;
        let free_bytes = disk.f_bavail.saturating_mul(disk.f_frsize);
        let needed_bytes = size_bytes.saturating_add(self.reserve_bytes);
        if free_bytes < needed_bytes {
            let path = self.folder.clone();
            return Err(EngineError::NoSpace { path, needed_bytes, free_bytes });
        }
        Ok(())
    }

    /// Unmounts and deletes a rental's file system, whatever of it is there.
    pub(crate) async fn remove(&self, owner: &Owner) -> Result<(), EngineError> {
        self.remove_files(&self.mount_point(owner), &self.image(owner)).await
    }

    /// The same by the name both files begin with, for what a killed agent left.
    pub(crate) async fn remove_stem(&self, stem: &str) -> Result<(), EngineError> {
        self.remove_files(&self.folder.join(stem), &self.folder.join(format!("{stem}.img"))).await
    }

    async fn remove_files(&self, path: &Path, image: &Path) -> Result<(), EngineError> {
        for point in mount_table()?.into_iter().filter(|point| point.starts_with(path)) {
            unmount(&point).await?;
        }
        for device in loop_devices_of(image) {
            // An unmount lets go of the device by itself; this is for one that was never mounted.
            if let Err(error) = tool::run_as_root("losetup", &["-d", &device], None).await {
                tracing::debug!(%error, device, "the loop device let go by itself");
            }
        }
        // A folder that is still a mount point must not be emptied through it.
        match std::fs::remove_dir(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(io("remove the folder", path, error));
            }
            _ => {}
        }
        match std::fs::remove_file(image) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(io("remove", image, error))
            }
            _ => Ok(()),
        }
    }
}

/// Unmounts; a process that holds the file system is given a second, then it is taken off the tree
/// and ends with its last user.
async fn unmount(point: &Path) -> Result<(), EngineError> {
    let text = point.display().to_string();
    for _ in 0..20 {
        match tool::run_as_root("umount", &[&text], None).await {
            Ok(_) => return Ok(()),
            Err(EngineError::Tool { message, .. }) if message.contains("busy") => {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
            Err(EngineError::Tool { message, .. }) if message.contains("not mounted") => {
                return Ok(());
            }
            Err(error) => return Err(error),
        }
    }
    tool::run_as_root("umount", &["-l", &text], None).await.map(drop)
}

fn mount_table() -> Result<Vec<PathBuf>, EngineError> {
    Ok(mounts::below(&read_mountinfo()?, Path::new("/")))
}

/// This process's mount table.
pub(crate) fn read_mountinfo() -> Result<String, EngineError> {
    let path = Path::new("/proc/self/mountinfo");
    std::fs::read_to_string(path).map_err(|error| io("read", path, error))
}

/// Every loop device with the file behind it.
pub(crate) fn loop_devices() -> Vec<(String, PathBuf)> {
    let Ok(folder) = std::fs::read_dir("/sys/block") else { return Vec::new() };
    folder
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            name.strip_prefix("loop")?;
            let file = std::fs::read_to_string(entry.path().join("loop/backing_file")).ok()?;
            let file = file.trim_end_matches('\n').trim_end_matches(" (deleted)");
            Some((format!("/dev/{name}"), PathBuf::from(file)))
        })
        .collect()
}

fn loop_devices_of(image: &Path) -> Vec<String> {
    loop_devices().into_iter().filter(|(_, file)| file == image).map(|(name, _)| name).collect()
}

/// Makes a file of a fixed size that has all its blocks.
fn reserve(path: &Path, size_bytes: u64) -> Result<(), EngineError> {
    use std::os::unix::fs::OpenOptionsExt;
    let file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(|error| io("make", path, error))?;
    match rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, size_bytes) {
        Ok(()) => Ok(()),
        // A file system without reservation: the room was checked, and the reserve covers it.
        Err(rustix::io::Errno::OPNOTSUPP) => {
            file.set_len(size_bytes).map_err(|error| io("size", path, error))
        }
        Err(error) => Err(io("reserve", path, error.into())),
    }
}

fn make_folder(path: &Path, mode: u32) -> Result<(), EngineError> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::create_dir_all(path).map_err(|error| io("make the folder", path, error))?;
    let permissions = std::fs::Permissions::from_mode(mode);
    std::fs::set_permissions(path, permissions)
        .map_err(|error| io("set the permissions of", path, error))
}

/// The task's folder and the agent's folder inside.
fn own_folders(scratch: &Scratch, outside: User) -> Result<(), EngineError> {
    make_folder(&scratch.path, 0o711)?;
    make_folder(&scratch.inputs(), 0o755)?;
    let work = scratch.work();
    make_folder(&work, 0o755)?;
    if tool::is_root() || outside.uid != rustix::process::geteuid().as_raw() {
        std::os::unix::fs::chown(&work, Some(outside.uid), Some(outside.gid))
            .map_err(|error| io("give to the task's user", &work, error))?;
    }
    Ok(())
}

fn io(operation: &'static str, path: &Path, source: std::io::Error) -> EngineError {
    EngineError::Io { operation, path: path.to_owned(), source }
}
