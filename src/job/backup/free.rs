//! What the file system on a source says is free, and why some of it is read all the same.

use std::sync::Arc;

use crate::base::extent::ExtentSet;
use crate::base::io::ReadAt;
use crate::filesystem;

/// Free space, as far as it is proven.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FreeSpace {
    /// Bytes that belong to no file and to no part of the file system itself.
    pub free: ExtentSet,
    /// Why other parts are read whatever the file system says of them.
    pub doubts: Vec<String>,
}

impl FreeSpace {
    /// Nothing is left out, for this reason.
    #[must_use]
    pub fn none(reason: impl Into<String>) -> Self {
        Self { free: ExtentSet::new(), doubts: vec![reason.into()] }
    }
}

/// Asks the file system on `source`. The source must not change between this and the backup: it is a snapshot, or at rest.
#[must_use]
pub fn free_space(source: Arc<dyn ReadAt>) -> FreeSpace {
    let filesystem = match filesystem::open(source) {
        Ok(filesystem) => filesystem,
        Err(error) => return FreeSpace::none(format!("everything is read: {error}")),
    };
    let allocation = filesystem.allocation();
    let doubts = allocation.doubts.iter().map(|doubt| format!("{} is read in full: {}", doubt.extent, doubt.reason)).collect();
    FreeSpace { free: allocation.free, doubts }
}
