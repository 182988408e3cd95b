//! What can be wrong with a device before the first byte moves.

use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// A device or image that cannot be opened, or must not be.
#[derive(Debug, Error)]
pub enum DeviceError {
    /// The operating system refused.
    #[error("cannot {act} {path}")]
    Os {
        /// What was being done: "open", "measure", "create".
        act: &'static str,
        /// To what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A directory, a socket, a character device.
    #[error("{path} is neither a block device nor a regular file; name one of these")]
    WrongKind {
        /// What was named.
        path: PathBuf,
    },
    /// Zones that must be written in order cannot be restored block by block.
    #[error("{path} is a host-managed zoned device; use a conventional device")]
    HostManagedZones {
        /// The device.
        path: PathBuf,
    },
    /// The source changes while it is read.
    #[error(
        "{path} is mounted read-write at {mount_point}; read a snapshot of it, or ask for a live backup, crash-consistent at best"
    )]
    MountedReadWrite {
        /// The source.
        path: PathBuf,
        /// Where it, a partition of it, or a loop device over it is mounted.
        mount_point: PathBuf,
    },
    /// Overwriting it would destroy a mounted filesystem under its users.
    #[error("{path} is mounted at {mount_point}; unmount it, then run it again")]
    TargetMounted {
        /// The target.
        path: PathBuf,
        /// Where it, a partition of it, or a loop device over it is mounted.
        mount_point: PathBuf,
    },
    /// Swap, a volume manager, another restore: somebody has claimed it.
    #[error("{path} is in use by somebody else; stop what uses it (swap, volume manager, another restore), then run it again")]
    InUse {
        /// The target.
        path: PathBuf,
    },
    /// The target cannot be written.
    #[error("{path} is read-only; choose another target")]
    ReadOnly {
        /// The target.
        path: PathBuf,
    },
    /// Something is there that would be lost.
    #[error("{path} holds data at byte {at}; choose an empty target, or force the overwrite")]
    HoldsData {
        /// The target.
        path: PathBuf,
        /// The first byte that was seen to hold something.
        at: u64,
    },
    /// The volume does not fit.
    #[error("{path} has {size} bytes, but {needed} are needed; choose a larger device")]
    TooSmall {
        /// The target.
        path: PathBuf,
        /// What it has, in bytes.
        size: u64,
        /// What the volume needs, in bytes.
        needed: u64,
    },
    /// The window length is not one the engines can serve.
    #[error("windows of {bytes} bytes are not possible; choose a power of two from 64 KiB to 1 MiB")]
    WindowLength {
        /// What was asked for.
        bytes: u64,
    },
    /// The engine asked for by name does not run here.
    #[error("the {engine} read engine does not run here; choose the pread engine, or let the engine be chosen")]
    EngineRefused {
        /// The engine.
        engine: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl DeviceError {
    pub(crate) fn os(act: &'static str, path: &Path, source: impl Into<io::Error>) -> Self {
        Self::Os { act, path: path.to_path_buf(), source: source.into() }
    }
}
