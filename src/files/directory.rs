//! An open directory: names are one step from it, and no step follows a link or climbs.

use std::ffi::{CStr, CString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, RawDir, ResolveFlags, SeekFrom, openat, openat2, readlinkat, seek, statx};
use rustix::io::Errno;

use super::attributes::{Attribute, attributes_of};
use super::facts::{Facts, WANTED};

/// Names are asked for this much at a time.
const NAMES_BYTES: usize = 64 << 10;

/// Whether what is mounted below is entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crossing {
    /// Other filesystems are entered.
    Allowed,
    /// Everything stays on one mount.
    Refused,
}

/// An open directory.
#[derive(Debug)]
pub struct Directory {
    fd: OwnedFd,
}

const FLAGS: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
/// Nobody sees that it was read; only its owner and root may ask for that.
const UNSEEN: OFlags = OFlags::NOATIME;

impl Directory {
    /// Opens the directory that `path` leads to, through links if there are any.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { fd: unseen(|more| openat(CWD, path, FLAGS | more, Mode::empty()))? })
    }

    /// Opens a directory in this one.
    pub fn enter(&self, name: &CStr, crossing: Crossing) -> io::Result<Self> {
        let mut resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        if crossing == Crossing::Refused {
            resolve |= ResolveFlags::NO_XDEV;
        }
        let open = |more| openat2(&self.fd, name, FLAGS | OFlags::NOFOLLOW | more, Mode::empty(), resolve);
        Ok(Self { fd: unseen(open)? })
    }

    /// Shows every name but `.` and `..`, in the system's order.
    pub fn list(&self, visit: &mut dyn FnMut(&CStr) -> io::Result<()>) -> io::Result<()> {
        seek(&self.fd, SeekFrom::Start(0))?;
        let mut buffer = vec![MaybeUninit::uninit(); NAMES_BYTES];
        let mut names = RawDir::new(&self.fd, &mut buffer);
        while let Some(entry) = names.next() {
            let entry = entry?;
            match entry.file_name().to_bytes() {
                b"." | b".." => {}
                _ => visit(entry.file_name())?,
            }
        }
        Ok(())
    }

    /// A look at what is called `name` here.
    pub fn facts(&self, name: &CStr) -> io::Result<Facts> {
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
        Ok(Facts::new(&statx(&self.fd, name, flags, WANTED)?))
    }

    /// A look at the directory itself.
    pub fn own_facts(&self) -> io::Result<Facts> {
        Ok(Facts::new(&statx(&self.fd, c"", AtFlags::EMPTY_PATH, WANTED)?))
    }

    /// Where the link called `name` leads.
    pub fn link_target(&self, name: &CStr) -> io::Result<Vec<u8>> {
        Ok(readlinkat(&self.fd, name, Vec::new())?.into_bytes())
    }

    /// Extended attributes of what is called `name` here, and is not opened.
    pub fn attributes(&self, name: &CStr) -> io::Result<Vec<Attribute>> {
        attributes_of(&self.way_to(name))
    }

    /// Extended attributes of the directory itself.
    pub fn own_attributes(&self) -> io::Result<Vec<Attribute>> {
        attributes_of(&self.way_to(c"."))
    }

    /// A path for calls that take no directory. It leads to the very directory that is open, and its last name may be followed only if
    /// the call follows it.
    pub(super) fn way_to(&self, name: &CStr) -> CString {
        let way = [format!("/proc/self/fd/{}/", self.fd.as_raw_fd()).as_bytes(), name.to_bytes()].concat();
        // Neither part holds a NUL.
        CString::new(way).unwrap_or_default()
    }
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Opens without leaving a trace, or, where that is forbidden, with one.
pub(super) fn unseen<T>(open: impl Fn(OFlags) -> Result<T, Errno>) -> Result<T, Errno> {
    match open(UNSEEN) {
        Err(Errno::PERM) => open(OFlags::empty()),
        opened => opened,
    }
}
