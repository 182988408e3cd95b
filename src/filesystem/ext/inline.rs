//! Content that lies in the inode: sixty bytes where the map would be, the rest in an attribute.

use super::Ext;
use super::record::Record;
use crate::filesystem::error::FilesystemError;

impl Ext {
    /// The inline bytes of an inode, at most as many as an inode has. What its size says beyond them reads as zeros.
    pub(super) fn inline_content(&self, record: &Record<'_>) -> Result<Vec<u8>, FilesystemError> {
        Ok([record.body()?, &self.inline_rest(record)?].concat())
    }
}
