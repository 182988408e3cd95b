//! Extended attributes: in the inode, or in a chain of leaves, with long values in blocks of their own.

use super::acl;
use super::fork::Fork;
use crate::filesystem::error::FilesystemError;
use crate::filesystem::face::Xattr;

mod leaf;
mod short;

/// Names and values of one inode that are held in memory.
const MOST_BYTES: usize = 32 << 20;

/// Flags of an attribute.
const ROOT: u8 = 0x02;
const SECURE: u8 = 0x04;
const PARENT: u8 = 0x08;
const INCOMPLETE: u8 = 0x80;

/// All attributes that users see, sorted by name.
pub(super) fn read(fork: &Fork<'_>) -> Result<Vec<Xattr>, FilesystemError> {
    let mut found = Found { list: Vec::new(), bytes: 0 };
    match fork.local() {
        Some(fields) => short::read(fork, &fields, &mut found)?,
        None => leaf::read(fork, &mut found)?,
    }
    found.list.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found.list)
}

/// What was found so far.
#[derive(Debug)]
struct Found {
    list: Vec<Xattr>,
    bytes: usize,
}

impl Found {
    /// True when an attribute with these flags is shown at all: parents are the filesystem's own, the incomplete do not exist yet.
    fn shows(flags: u8) -> bool {
        flags & (PARENT | INCOMPLETE) == 0
    }

    fn add(&mut self, fork: &Fork<'_>, flags: u8, name: &[u8], value: &[u8]) -> Result<(), FilesystemError> {
        if !Self::shows(flags) {
            return Ok(());
        }
        let (space, root) = match flags & (ROOT | SECURE) {
            0 => (b"user.".as_slice(), false),
            ROOT => (b"trusted.".as_slice(), true),
            SECURE => (b"security.".as_slice(), false),
            _ => return Err(fork.corrupt("an attribute is both trusted and security")),
        };
        let attribute = match acl::system_name(name).filter(|_| root) {
            Some(system) => Xattr { name: system.to_vec(), value: acl::convert(fork, value)? },
            None => Xattr { name: [space, name].concat(), value: value.to_vec() },
        };
        self.bytes += attribute.name.len() + attribute.value.len();
        if self.bytes > MOST_BYTES {
            return Err(FilesystemError::TooLarge { object: fork.object(), limit: MOST_BYTES as u64 });
        }
        self.list.push(attribute);
        Ok(())
    }
}
