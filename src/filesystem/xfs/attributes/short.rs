//! Attributes that fit the inode: a header, then names and values one after the other.

use super::Found;
use crate::filesystem::error::FilesystemError;
use crate::filesystem::fields::Fields;
use crate::filesystem::xfs::fork::Fork;

const HEADER_BYTES: usize = 4;
/// The length of the name, the length of the value, flags.
const ENTRY_HEADER_BYTES: usize = 3;

/// Adds the attributes of a fork that is kept in the inode.
pub(super) fn read(fork: &Fork<'_>, fields: &Fields<'_>, found: &mut Found) -> Result<(), FilesystemError> {
    let bytes = fields.slice(0, fields.be16(0)?.into())?;
    let fields = Fields::new(bytes, fork.object(), fork.at());
    let count = fields.u8(2)?;
    let mut at = HEADER_BYTES;
    for _ in 0..count {
        let (name_bytes, value_bytes) = (usize::from(fields.u8(at)?), usize::from(fields.u8(at + 1)?));
        let flags = fields.u8(at + 2)?;
        let name_at = at + ENTRY_HEADER_BYTES;
        let name = fields.slice(name_at, name_bytes)?;
        found.add(fork, flags, name, fields.slice(name_at + name_bytes, value_bytes)?)?;
        at = name_at + name_bytes + value_bytes;
    }
    Ok(())
}
