//! Extended attributes, ACLs among them, of what is called by a path or is open.

use std::ffi::CStr;
use std::io;
use std::os::fd::AsFd;

use rustix::fs::{fgetxattr, flistxattr, getxattr, lgetxattr, listxattr, llistxattr};
use rustix::io::Errno;

/// The longest list of names, and the longest value, of Linux.
const MAX_BYTES: usize = 64 << 10;
/// Most files have none or few.
const FEW_BYTES: usize = 512;

/// An extended attribute.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Attribute {
    /// Its whole name, such as `user.note`.
    pub name: Vec<u8>,
    /// Its value.
    pub value: Vec<u8>,
}

/// Those of what `path` names, which is not followed; sorted by name.
pub(super) fn attributes_of(path: &CStr) -> io::Result<Vec<Attribute>> {
    gather(|out| llistxattr(path, out), |name, out| lgetxattr(path, name, out))
}

/// Those of what `path` leads to: a way to an open file.
pub(super) fn attributes_behind(path: &CStr) -> io::Result<Vec<Attribute>> {
    gather(|out| listxattr(path, out), |name, out| getxattr(path, name, out))
}

/// Those of an open file; sorted by name.
pub(super) fn attributes_of_open(file: impl AsFd) -> io::Result<Vec<Attribute>> {
    gather(|out| flistxattr(&file, out), |name, out| fgetxattr(&file, name, out))
}

fn gather(
    list: impl Fn(&mut [u8]) -> Result<usize, Errno>,
    get: impl Fn(&[u8], &mut [u8]) -> Result<usize, Errno>,
) -> io::Result<Vec<Attribute>> {
    let names = match with_room(&list) {
        // Neither a file system without attributes nor a kind of file without them is a fault.
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => return Ok(Vec::new()),
        names => names?,
    };
    let mut attributes = Vec::new();
    for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        match with_room(|out| get(name, out)) {
            Ok(value) => attributes.push(Attribute { name: name.to_vec(), value }),
            // It is gone since it was listed.
            Err(Errno::NODATA) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    attributes.sort_unstable();
    Ok(attributes)
}

fn with_room(ask: impl Fn(&mut [u8]) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
    let mut few = [0; FEW_BYTES];
    match ask(&mut few) {
        Ok(length) => Ok(few.get(..length).unwrap_or_default().to_vec()),
        Err(Errno::RANGE) => {
            let mut out = vec![0; MAX_BYTES];
            let length = ask(&mut out)?;
            out.truncate(length);
            Ok(out)
        }
        Err(errno) => Err(errno),
    }
}
