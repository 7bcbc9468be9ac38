//! A disk that a test can fill.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A file system of a fixed size in memory; gone when the test ends.
pub(crate) struct Disk(PathBuf);

impl Disk {
    pub(crate) fn mount(at: &Path, mib: u32) -> Self {
        std::fs::create_dir_all(at).unwrap();
        let size = format!("size={mib}m");
        let mut mount = Command::new("mount");
        let mounted = mount
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(at)
            .status()
            .expect("missing: mount");
        assert!(mounted.success(), "this lab needs root, to mount a tmpfs");
        Self(at.to_owned())
    }

    fn ballast(&self) -> PathBuf {
        self.0.join("ballast")
    }

    /// Leaves no byte free.
    pub(crate) fn fill(&self) {
        let mut ballast = std::fs::File::create(self.ballast()).unwrap();
        let mut step = 1 << 20;
        while step > 0 {
            match ballast.write(&vec![7; step]) {
                Ok(0) | Err(_) => step /= 2,
                Ok(_) => {}
            }
        }
    }

    pub(crate) fn free(&self) {
        std::fs::remove_file(self.ballast()).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(&self.0).status();
        assert!(unmounted.is_ok_and(|status| status.success()), "umount {}", self.0.display());
    }
}
