//! A handle on the store's directory; every path below it is walked segment by segment, through no symbolic link.

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstatat, mkdirat};
use nix::unistd::{UnlinkatFlags, fsync, unlinkat};
use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::store::ObjectKey;

/// Folders known to be durable. Repositories use a few hundred; past this many the memory is dropped and filled again.
const MAX_KNOWN_FOLDERS: usize = 4_096;

/// Flags for opening a folder below the root.
const FOLDER: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);
/// O_NONBLOCK, because opening a pipe that somebody put there would otherwise wait for its writer.
const OBJECT: OFlag = OFlag::O_RDONLY.union(OFlag::O_NOFOLLOW).union(OFlag::O_NONBLOCK).union(OFlag::O_CLOEXEC);

/// The open directory.
#[derive(Debug)]
pub(super) struct Root {
    directory: OwnedFd,
    durable: Mutex<HashSet<String>>,
}

impl Root {
    /// Opens the directory at `path`; this path itself may lead through symbolic links.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        if !file.metadata()?.is_dir() {
            return Err(Errno::ENOTDIR.into());
        }
        Ok(Self { directory: file.into(), durable: Mutex::default() })
    }

    /// The folder at `path` ("" for the root), which must exist.
    pub(super) fn folder(&self, path: &str) -> io::Result<OwnedFd> {
        segments(path).try_fold(self.directory.try_clone()?, |folder, name| open_folder(folder.as_fd(), name))
    }

    /// The folder at `path`, made if missing. It and all above it are on stable storage when this returns.
    pub(super) fn durable_folder(&self, path: &str) -> io::Result<OwnedFd> {
        if self.known().contains(path) {
            return self.folder(path);
        }
        let folder = segments(path).try_fold(self.directory.try_clone()?, |folder, name| make_folder(&folder, name))?;
        let mut known = self.known();
        if known.len() >= MAX_KNOWN_FOLDERS {
            known.clear();
        }
        known.insert(path.to_owned());
        Ok(folder)
    }

    /// Somebody removed the folder at `path`: it must be made again.
    pub(super) fn forget_folder(&self, path: &str) {
        self.known().remove(path);
    }

    /// An object's file and length. A folder is no object.
    pub(super) fn open_object(&self, key: &ObjectKey) -> io::Result<(File, u64)> {
        let (folder, name) = super::split(key);
        let folder = self.folder(folder)?;
        let file = File::from(openat(&folder, name, OBJECT, Mode::empty())?);
        let metadata = file.metadata()?;
        if metadata.is_file() { Ok((file, metadata.len())) } else { Err(Errno::ENOENT.into()) }
    }

    fn known(&self) -> MutexGuard<'_, HashSet<String>> {
        self.durable.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|segment| !segment.is_empty())
}

/// Opens a folder inside `parent`.
pub(super) fn open_folder(parent: BorrowedFd<'_>, name: &str) -> io::Result<OwnedFd> {
    openat(parent, name, FOLDER, Mode::empty()).map_err(|error| explain_link(parent, name, error).into())
}

/// The kernel says "not a directory" of a symbolic link too, and that must not pass for "no such object".
fn explain_link(parent: BorrowedFd<'_>, name: &str, error: Errno) -> Errno {
    let is_link = |stat: FileStat| SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFLNK;
    match fstatat(parent, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Ok(stat) if error == Errno::ENOTDIR && is_link(stat) => Errno::ELOOP,
        _ => error,
    }
}

/// Makes a folder if it is missing, and its entry durable in any case: another writer may have made it a moment ago.
fn make_folder(parent: &OwnedFd, name: &str) -> io::Result<OwnedFd> {
    match mkdirat(parent, name, Mode::S_IRWXU) {
        Ok(()) | Err(Errno::EEXIST) => {}
        Err(error) => return Err(error.into()),
    }
    sync_folder(parent)?;
    open_folder(parent.as_fd(), name)
}

/// Puts the entries of a folder on stable storage.
pub(super) fn sync_folder(folder: &OwnedFd) -> io::Result<()> {
    match fsync(folder) {
        // Some network file systems cannot sync a directory at all; their entries are as durable as they get.
        Ok(()) | Err(Errno::EINVAL) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Removes a file from a folder.
pub(super) fn unlink(folder: &OwnedFd, name: &str) -> io::Result<()> {
    Ok(unlinkat(folder, name, UnlinkatFlags::NoRemoveDir)?)
}
