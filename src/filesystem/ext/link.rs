//! Targets of symbolic links: in the inode, or in a block.

use super::{Ext, flags};
use crate::filesystem::error::{FilesystemError, Object};
use crate::filesystem::inode::{FileKind, Inode};

/// The longest path.
const TARGET_BYTES: u64 = 4096;

impl Ext {
    /// The target up to its first NUL, as `readlink` shows it.
    pub(super) fn target(&self, link: &Inode) -> Result<Vec<u8>, FilesystemError> {
        let object = Object::Link(link.number.0);
        if link.encrypted {
            return Err(FilesystemError::Encrypted { object });
        }
        let record = self.record_of(link)?;
        if link.kind != FileKind::Symlink {
            return Err(FilesystemError::corrupt(object, record.at, "it is no symbolic link"));
        }
        if link.size > TARGET_BYTES {
            return Err(FilesystemError::corrupt(object, record.at, format!("a target of {} bytes cannot be", link.size)));
        }
        let length = usize::try_from(link.size).unwrap_or(usize::MAX);
        let mut target = if record.has_flag(flags::INLINE_DATA)? {
            self.inline_content(&record)?
        } else if record.is_short_link(&self.volume.superblock, link.size)? {
            record.body()?.to_vec()
        } else {
            self.metadata(object, &record, length)?
        };
        target.truncate(length);
        let end = target.iter().position(|byte| *byte == 0).unwrap_or(target.len());
        target.truncate(end);
        Ok(target)
    }
}
