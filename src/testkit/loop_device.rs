//! A loop device that is detached when dropped.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A block device over a file.
#[derive(Debug)]
pub struct LoopDevice {
    path: PathBuf,
}

impl LoopDevice {
    /// Attaches `file` with 512-byte blocks.
    pub fn attach(file: &Path) -> io::Result<Self> {
        Self::attach_with(file, &[])
    }

    /// Attaches `file` with further arguments to `losetup`, such as `["--sector-size", "4096"]`.
    pub fn attach_with(file: &Path, arguments: &[&str]) -> io::Result<Self> {
        let output = Command::new("losetup").args(["--find", "--show"]).args(arguments).arg(file).output()?;
        if !output.status.success() {
            return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()));
        }
        Ok(Self { path: String::from_utf8_lossy(&output.stdout).trim().into() })
    }

    /// The device, such as `/dev/loop0`.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        // A device that is still mounted stays; the kernel detaches it when its last user goes.
        let _left_attached = Command::new("losetup").arg("--detach").arg(&self.path).output();
    }
}
