//! Attributes of what cannot be opened: symbolic links, pipes, sockets, device nodes.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::{FchmodatFlags, SFlag, UtimensatFlags, fchmodat, makedev, mknodat, utimensat};
use nix::unistd::{Gid, Uid, fchownat};
use rustix::fs::{XattrFlags, lsetxattr};

use super::attributes::{Attributes, attribute, from_rustix, time};
use super::directory::PRIVATE_FILE;
use super::refusal::Remarks;
use crate::filesystem::{FileKind, Xattr};

impl Attributes {
    /// Gives everything to the entry `name` of `directory`, which is not followed.
    pub(super) fn apply_at(&self, directory: impl AsFd, name: &CStr, owners: bool) -> Remarks {
        let mut remarks = Remarks::default();
        if owners {
            let (uid, gid) = (Some(Uid::from_raw(self.uid)), Some(Gid::from_raw(self.gid)));
            remarks.note("its owner", fchownat(&directory, name, uid, gid, AtFlags::AT_SYMLINK_NOFOLLOW));
        }
        if self.kind != FileKind::Symlink {
            let set = fchmodat(&directory, name, self.permissions(), FchmodatFlags::NoFollowSymlink);
            remarks.note("its mode", set);
        }
        for xattr in &self.xattrs {
            remarks.note(&attribute(xattr), set_attribute(&directory, name, xattr));
        }
        let (accessed, modified) = (time(self.accessed), time(self.modified));
        let set = utimensat(&directory, name, &accessed, &modified, UtimensatFlags::NoFollowSymlink);
        remarks.note("its times", set);
        remarks
    }
}

/// There is no call that takes a directory and a name. The way through `/proc` leads to the very directory that is open, and the call
/// does not follow the last name.
fn set_attribute(directory: impl AsFd, name: &CStr, xattr: &Xattr) -> Result<(), Errno> {
    let way = format!("/proc/self/fd/{}/", directory.as_fd().as_raw_fd());
    let path = [way.as_bytes(), name.to_bytes()].concat();
    lsetxattr(path, xattr.name.as_slice(), &xattr.value, XattrFlags::empty()).map_err(from_rustix)
}

/// Makes a pipe, a socket or a device node that nobody but the owner may use yet.
pub(super) fn make_node(directory: impl AsFd, name: &CStr, kind: FileKind) -> Result<(), Errno> {
    let (kind, device) = match kind {
        FileKind::Fifo => (SFlag::S_IFIFO, 0),
        FileKind::Socket => (SFlag::S_IFSOCK, 0),
        FileKind::CharacterDevice { major, minor } => (SFlag::S_IFCHR, makedev(major.into(), minor.into())),
        FileKind::BlockDevice { major, minor } => (SFlag::S_IFBLK, makedev(major.into(), minor.into())),
        FileKind::Regular | FileKind::Directory | FileKind::Symlink => return Err(Errno::EINVAL),
    };
    mknodat(directory, name, kind, PRIVATE_FILE, device)
}
