//! Where the tracker lives: pins in a BPF file system, and beside it what processes remember. Neither outlives the machine's boot.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use nix::sys::statfs::{FsType, statfs};

use super::error::TrackingError;

/// `BPF_FS_MAGIC`.
const BPF_FILE_SYSTEM: FsType = FsType(0xcafe_4a11);
/// Ours alone: whoever can open a pin can change what is tracked.
const OWNER_ONLY: u32 = 0o700;

/// The folders of one tracker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Places {
    bpffs: PathBuf,
    state: PathBuf,
}

impl Places {
    pub(super) fn new(bpffs: &Path, state: &Path) -> Self {
        Self { bpffs: bpffs.to_path_buf(), state: state.to_path_buf() }
    }

    /// The pins of the attached tracker.
    pub(super) fn pins(&self) -> PathBuf {
        self.bpffs.join("icecore/current")
    }

    /// Pins while a tracker is being attached; they count only under their final name.
    pub(super) fn new_pins(&self) -> PathBuf {
        self.bpffs.join("icecore/new")
    }

    /// The pins of one disk.
    pub(super) fn disk_pins(&self, diskseq: u64) -> PathBuf {
        self.pins().join(format!("disk_{diskseq}"))
    }

    pub(super) fn flights_pin(&self, diskseq: u64) -> PathBuf {
        self.disk_pins(diskseq).join("flights")
    }

    pub(super) fn bitmap_pin(&self, diskseq: u64, generation: u64) -> PathBuf {
        self.disk_pins(diskseq).join(format!("bitmap_{generation}"))
    }

    /// Generations that have a pin.
    pub(super) fn pinned_generations(&self, diskseq: u64) -> Vec<u64> {
        let entries = fs::read_dir(self.disk_pins(diskseq)).into_iter().flatten().filter_map(Result::ok);
        entries.filter_map(|entry| entry.file_name().to_str()?.strip_prefix("bitmap_")?.parse().ok()).collect()
    }

    /// What is remembered of one disk.
    pub(super) fn record(&self, diskseq: u64) -> PathBuf {
        self.state.join(format!("{diskseq}.record"))
    }

    /// Held by whoever attaches, adds or removes.
    pub(super) fn lock(&self) -> Result<File, TrackingError> {
        make_folder(&self.state)?;
        let path = self.state.join("lock");
        let file = open_lock(&path)?;
        file.lock().map_err(|error| TrackingError::os("lock", &path, error))?;
        Ok(file)
    }

    /// Held while an epoch of one disk is open.
    pub(super) fn lock_disk(&self, diskseq: u64) -> Result<File, TrackingError> {
        let path = self.state.join(format!("{diskseq}.lock"));
        let file = open_lock(&path)?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(TrackingError::Busy { path }),
            Err(TryLockError::Error(error)) => Err(TrackingError::os("lock", &path, error)),
        }
    }

    /// Removes what is remembered of one disk; pins first, since they are what counts. Its lock stays, for others may hold it.
    pub(super) fn forget_disk(&self, diskseq: u64) -> Result<(), TrackingError> {
        remove_pins(&self.disk_pins(diskseq))?;
        remove_file(&self.record(diskseq).with_extension("new"))?;
        remove_file(&self.record(diskseq))
    }

    /// The same, and the lock, for a disk that will never be there again.
    pub(super) fn forget_gone_disk(&self, diskseq: u64) -> Result<(), TrackingError> {
        self.forget_disk(diskseq)?;
        remove_file(&self.state.join(format!("{diskseq}.lock")))
    }

    /// Numbers of the disks that have pins.
    pub(super) fn pinned_disks(&self) -> Vec<u64> {
        let entries = fs::read_dir(self.pins()).into_iter().flatten().filter_map(Result::ok);
        entries.filter_map(|entry| entry.file_name().to_str()?.strip_prefix("disk_")?.parse().ok()).collect()
    }

    /// Mounts the BPF file system where it is not, and makes our folder in it.
    pub(super) fn prepare(&self) -> Result<(), TrackingError> {
        if !is_bpffs(&self.bpffs) {
            make_folder(&self.bpffs)?;
            let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
            mount(Some("bpf"), &self.bpffs, Some("bpf"), flags, Some("mode=0700"))
                .map_err(|error| TrackingError::os("mount the BPF file system at", &self.bpffs, error))?;
        }
        make_folder(&self.bpffs.join("icecore"))
    }
}

pub(super) fn is_bpffs(folder: &Path) -> bool {
    statfs(folder).is_ok_and(|there| there.filesystem_type() == BPF_FILE_SYSTEM)
}

pub(super) fn make_folder(path: &Path) -> Result<(), TrackingError> {
    let failed = |error| TrackingError::os("make the folder", path, error);
    match DirBuilder::new().recursive(true).mode(OWNER_ONLY).create(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(failed(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn open_lock(path: &Path) -> Result<File, TrackingError> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(path);
    file.map_err(|error| TrackingError::os("open the lock", path, error))
}

pub(super) fn remove_file(path: &Path) -> Result<(), TrackingError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(TrackingError::os("remove", path, error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Removes a folder of pins, and folders in it: no deeper than disks in a tracker.
pub(super) fn remove_pins(folder: &Path) -> Result<(), TrackingError> {
    let failed = |error: io::Error| TrackingError::os("remove the pins in", folder, error);
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(failed(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Writes beside, then renames: what is there is the old or the new, never half of one.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), TrackingError> {
    let failed = |error| TrackingError::os("write", path, error);
    let beside = path.with_extension("new");
    fs::write(&beside, bytes).map_err(failed)?;
    fs::set_permissions(&beside, Permissions::from_mode(0o600)).map_err(failed)?;
    fs::rename(&beside, path).map_err(failed)
}
