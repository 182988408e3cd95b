//! Which filesystem a volume holds.

use std::sync::Arc;

use super::error::FilesystemError;
use super::face::Filesystem;
use crate::base::io::ReadAt;

/// Opens the filesystem that begins at the first byte of `source`.
pub fn open(source: Arc<dyn ReadAt>) -> Result<Box<dyn Filesystem>, FilesystemError> {
    Err(FilesystemError::Unrecognised { found: format!("{} bytes without a superblock that is known here", source.size()) })
}
