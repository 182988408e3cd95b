//! POSIX access control lists: kept as attributes of the trusted namespace, shown in the form of `getxattr`.

use super::fork::Fork;
use crate::filesystem::error::FilesystemError;
use crate::filesystem::fields::Fields;

/// The version of the form that `getxattr` returns.
const VERSION: u32 = 2;
/// What `getxattr` says where an entry names nobody.
const NOBODY: u32 = u32::MAX;
/// Tags of entries that name a user or a group.
const USER: u16 = 0x02;
const GROUP: u16 = 0x08;
/// On disk: a counter, then entries of tag 4, id 4, permissions 2, padding 2.
const COUNTER_BYTES: usize = 4;
const ENTRY_BYTES: usize = 12;

/// The name under which the kernel shows an attribute of the trusted namespace, if that is a list.
pub(super) fn system_name(name: &[u8]) -> Option<&'static [u8]> {
    match name {
        b"SGI_ACL_FILE" => Some(b"system.posix_acl_access"),
        b"SGI_ACL_DEFAULT" => Some(b"system.posix_acl_default"),
        _ => None,
    }
}

/// A list in the form of `getxattr`.
pub(super) fn convert(fork: &Fork<'_>, disk: &[u8]) -> Result<Vec<u8>, FilesystemError> {
    let fields = Fields::new(disk, fork.object(), fork.at());
    let entries = disk.get(COUNTER_BYTES..).unwrap_or_default();
    let count = fields.be32(0).map_or(0, |count| count as usize);
    if !entries.len().is_multiple_of(ENTRY_BYTES) || count != entries.len() / ENTRY_BYTES {
        return Err(fork.corrupt(format!("an access control list of {} bytes with {count} entries", disk.len())));
    }
    let mut shown = VERSION.to_le_bytes().to_vec();
    for entry in entries.chunks_exact(ENTRY_BYTES) {
        let entry = Fields::new(entry, fork.object(), fork.at());
        let tag = u16::try_from(entry.be32(0)?).map_err(|_wide| fork.corrupt("an access control list with an unknown tag"))?;
        let id = if matches!(tag, USER | GROUP) { entry.be32(4)? } else { NOBODY };
        shown.extend_from_slice(&tag.to_le_bytes());
        shown.extend_from_slice(&entry.be16(8)?.to_le_bytes());
        shown.extend_from_slice(&id.to_le_bytes());
    }
    Ok(shown)
}
