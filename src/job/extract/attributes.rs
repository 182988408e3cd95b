//! What is kept of a file beside its content, and how it is given to a file that was made.

use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::sys::stat::{Mode, fchmod, futimens};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchown};
use rustix::fs::{XattrFlags, fsetxattr};
use rustix::io::Errno as SystemError;

use super::ExtractOptions;
use super::refusal::Remarks;
use crate::filesystem::{FileKind, FileTime, Inode, Xattr, printable};

/// Setuid and setgid.
const LENDS_RIGHTS: u16 = 0o6000;
/// On anything but a directory it means nothing today, and meant other things elsewhere.
const STICKY: u16 = 0o1000;
/// Gives a file rights of root when it is run.
const CAPABILITIES: &[u8] = b"security.capability";

/// Owner, mode, times and extended attributes of one file.
#[derive(Debug, Clone)]
pub struct Attributes {
    pub(super) kind: FileKind,
    pub(super) mode: u16,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) accessed: FileTime,
    pub(super) modified: FileTime,
    pub(super) xattrs: Vec<Xattr>,
    /// What was taken away because nobody asked for it.
    pub(super) withheld: Vec<String>,
}

impl Attributes {
    pub(in crate::job) fn new(inode: &Inode, xattrs: Vec<Xattr>, options: ExtractOptions) -> Self {
        let (accessed, modified) = (inode.accessed, inode.modified);
        let (kind, mode, uid, gid) = (inode.kind, inode.mode & 0o7777, inode.uid, inode.gid);
        let mut attributes = Self { kind, mode, uid, gid, accessed, modified, xattrs, withheld: Vec::new() };
        if !options.setuid {
            attributes.withhold_rights();
        }
        attributes
    }

    fn withhold_rights(&mut self) {
        let mut refused = LENDS_RIGHTS;
        if self.kind != FileKind::Directory {
            refused |= STICKY;
        }
        if self.mode & refused != 0 && self.kind != FileKind::Symlink {
            self.withheld.push(format!("mode {:04o} became {:04o}; --setuid keeps it", self.mode, self.mode & !refused));
        }
        self.mode &= !refused;
        if self.xattrs.iter().any(|xattr| xattr.name == CAPABILITIES) {
            self.xattrs.retain(|xattr| xattr.name != CAPABILITIES);
            self.withheld.push("its file capabilities; --setuid keeps them".to_owned());
        }
    }

    /// Gives everything to an open file or directory, in the order in which nothing undoes what came before: a change of owner takes
    /// rights away, and everything changes times.
    pub(super) fn apply(&self, file: impl AsFd, owners: bool) -> Remarks {
        let mut remarks = Remarks::default();
        if owners {
            remarks.note("its owner", fchown(&file, Some(Uid::from_raw(self.uid)), Some(Gid::from_raw(self.gid))));
        }
        remarks.note("its mode", fchmod(&file, self.permissions()));
        for xattr in &self.xattrs {
            let set = fsetxattr(&file, xattr.name.as_slice(), &xattr.value, XattrFlags::empty());
            remarks.note(&attribute(xattr), set.map_err(from_rustix));
        }
        remarks.note("its times", futimens(&file, &time(self.accessed), &time(self.modified)));
        remarks
    }

    pub(super) fn permissions(&self) -> Mode {
        Mode::from_bits_truncate(u32::from(self.mode))
    }
}

/// An extended attribute in a message.
pub(super) fn attribute(xattr: &Xattr) -> String {
    format!("its attribute {}", printable(&xattr.name))
}

/// A time as the system takes it.
pub(super) fn time(time: FileTime) -> TimeSpec {
    TimeSpec::new(time.seconds, i64::from(time.nanoseconds.min(999_999_999)))
}

pub(super) fn from_rustix(error: SystemError) -> Errno {
    Errno::from_raw(error.raw_os_error())
}
