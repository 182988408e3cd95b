//! ext2, ext3 and ext4 with parts of it lost.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::Ext;
use crate::base::extent::Extent;
use crate::base::io::ReadAt;
use crate::filesystem::error::FilesystemError;
use crate::filesystem::inode::{Inode, InodeNumber};
use crate::filesystem::wreck::{FoundEntry, Scanned, StrayBlock, Wreck};

impl Ext {
    /// Opens what is left.
    pub(in crate::filesystem) fn salvage(_source: Arc<dyn ReadAt>) -> Result<Self, FilesystemError> {
        Err(FilesystemError::unrecognised("nothing"))
    }
}

impl Wreck for Ext {
    fn damage(&self) -> &[FilesystemError] {
        &[]
    }

    fn agreeing_superblocks(&self) -> u32 {
        0
    }

    fn scan(&self, _from: u64, _visit: &mut dyn FnMut(Scanned) -> ControlFlow<()>) -> Result<(), FilesystemError> {
        Ok(())
    }

    fn older(&self, _number: InodeNumber) -> Option<Inode> {
        None
    }

    fn names(&self, _directory: &Inode, _visit: &mut dyn FnMut(FoundEntry) -> ControlFlow<()>) {}

    fn directory_key(&self, _directory: &Inode) -> Option<u64> {
        None
    }

    fn strays(&self, _within: Extent, _visit: &mut dyn FnMut(StrayBlock) -> ControlFlow<()>) -> Result<(), FilesystemError> {
        Ok(())
    }
}
