//! Files that are not objects yet: written and synced under `.tmp`, then renamed into place, or removed.

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, RenameFlags, openat, renameat, renameat2};
use nix::sys::stat::{FileStat, Mode, fstatat, mkdirat};
use nix::unistd::linkat;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tracing::debug;

use super::root::{Root, unlink};
use super::walk;
use crate::base::clock::Timestamp;
use crate::store::Created;

/// Where they live; hidden, because no key segment begins with a dot.
const FOLDER: &str = ".tmp";
/// Writing one object takes minutes at worst, so a file this old has lost its writer, even if clocks differ by hours.
const OLD: Duration = Duration::from_secs(24 * 3_600);
/// Leftovers looked at when a store is opened; the rest waits for the next time.
const MAX_LOOKED_AT: usize = 1_000;
/// Names tried before giving up. A name is taken only when another host shares the directory and our process number.
const NAME_ATTEMPTS: usize = 64;

const NEW_FILE: OFlag = OFlag::O_WRONLY.union(OFlag::O_CREAT).union(OFlag::O_EXCL).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// Makes temporary files with names of their own.
#[derive(Debug, Default)]
pub(super) struct Temporaries {
    next: AtomicU64,
}

impl Temporaries {
    /// Writes `bytes` to a new file and returns when they are on stable storage.
    pub(super) fn write(&self, root: &Root, bytes: &[u8]) -> io::Result<Temporary> {
        let folder = temporary_folder(root)?;
        let (name, mut file) = self.create(&folder)?;
        let temporary = Temporary { folder, name, is_ours: true };
        file.write_all(bytes)?;
        file.sync_all()?;
        Ok(temporary)
    }

    fn create(&self, folder: &OwnedFd) -> io::Result<(String, File)> {
        for _ in 0..NAME_ATTEMPTS {
            let name = format!("{}-{}", process::id(), self.next.fetch_add(1, Ordering::Relaxed));
            match openat(folder, name.as_str(), NEW_FILE, Mode::S_IRUSR | Mode::S_IWUSR) {
                Ok(file) => return Ok((name, file.into())),
                Err(Errno::EEXIST) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Errno::EBUSY.into())
    }

    /// Removes the files of writers that are long gone.
    pub(super) fn remove_old(&self, root: &Root, now: Timestamp) -> io::Result<()> {
        let folder = match root.folder(FOLDER) {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(()),
            folder => folder?,
        };
        for name in walk::names(&folder, MAX_LOOKED_AT)? {
            if is_old(&folder, &name, now) {
                debug!(name, "removing the leftover of a crashed writer");
                unlink(&folder, &name)?;
            }
        }
        Ok(())
    }
}

fn temporary_folder(root: &Root) -> io::Result<OwnedFd> {
    match root.folder(FOLDER) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => {}
        folder => return folder,
    }
    match mkdirat(root.folder("")?, FOLDER, Mode::S_IRWXU) {
        Ok(()) | Err(Errno::EEXIST) => root.folder(FOLDER),
        Err(error) => Err(error.into()),
    }
}

fn is_old(folder: &OwnedFd, name: &str, now: Timestamp) -> bool {
    fstatat(folder, name, AtFlags::AT_SYMLINK_NOFOLLOW).is_ok_and(|stat| now.since(walk::modified(&stat)) >= OLD)
}

/// One written file; dropping it removes what is still under its temporary name.
#[derive(Debug)]
pub(super) struct Temporary {
    folder: OwnedFd,
    name: String,
    /// False once it was renamed away: from then on the name may be another process's.
    is_ours: bool,
}

impl Temporary {
    /// Gives it the name `target` in `folder`, whatever was there.
    pub(super) fn rename_over(&mut self, folder: &OwnedFd, target: &str) -> io::Result<()> {
        renameat(&self.folder, self.name.as_str(), folder, target)?;
        self.is_ours = false;
        Ok(())
    }

    /// Gives it the name `target` in `folder` if that is free.
    pub(super) fn rename_if_free(&mut self, folder: &OwnedFd, target: &str) -> io::Result<Created> {
        match renameat2(&self.folder, self.name.as_str(), folder, target, RenameFlags::RENAME_NOREPLACE) {
            Ok(()) => {
                self.is_ours = false;
                Ok(Created::New)
            }
            Err(Errno::EEXIST) => Ok(Created::AlreadyThere),
            // NFS and a few others cannot; all of those can link.
            Err(Errno::EINVAL | Errno::ENOSYS | Errno::EOPNOTSUPP) => self.link_if_free(folder, target),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) fn link_if_free(&self, folder: &OwnedFd, target: &str) -> io::Result<Created> {
        match linkat(&self.folder, self.name.as_str(), folder, target, AtFlags::empty()) {
            Ok(()) => Ok(Created::New),
            Err(Errno::EEXIST) if self.has_second_name()? => Ok(Created::New),
            Err(Errno::EEXIST) => Ok(Created::AlreadyThere),
            Err(error) => Err(error.into()),
        }
    }

    /// An NFS client may send a link twice and be told that the name is taken, by itself.
    fn has_second_name(&self) -> io::Result<bool> {
        let stat: FileStat = fstatat(&self.folder, self.name.as_str(), AtFlags::AT_SYMLINK_NOFOLLOW)?;
        Ok(stat.st_nlink > 1)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.is_ours {
            return;
        }
        if let Err(cause) = unlink(&self.folder, &self.name) {
            debug!(name = self.name, %cause, "a temporary file stays until it is old");
        }
    }
}
