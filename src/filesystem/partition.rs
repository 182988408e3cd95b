//! Partitions of a disk, as GPT or MBR list them, and one of them as a source of its own.

mod gpt;
mod mbr;
mod slice;

use std::sync::Arc;

use super::error::{FilesystemError, Object};
use crate::base::extent::Extent;
use crate::base::io::ReadAt;
use slice::Slice;

/// One partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// As the kernel counts: from 1; logical partitions of an MBR from 5.
    pub number: u32,
    /// Where it lies on the disk.
    pub extent: Extent,
    /// What the table calls it; empty in an MBR.
    pub name: String,
}

/// All partitions of a disk, ascending by number; none when there is no table.
pub fn partitions(source: &dyn ReadAt) -> Result<Vec<Partition>, FilesystemError> {
    match gpt::read(source)? {
        Some(list) => Ok(list),
        None => mbr::read(source),
    }
}

/// The partition `number` of a disk.
pub fn partition(source: &Arc<dyn ReadAt>, number: u32) -> Result<Arc<dyn ReadAt>, FilesystemError> {
    let found = partitions(&**source)?.into_iter().find(|partition| partition.number == number);
    let Some(Partition { extent, .. }) = found else {
        return Err(FilesystemError::NotFound { path: format!("partition {number}") });
    };
    if extent.end() > source.size() {
        let what = format!("partition {number} ends at byte {}, after the end of the disk", extent.end());
        return Err(FilesystemError::corrupt(Object::PartitionTable, 0, what));
    }
    Ok(Arc::new(Slice::new(Arc::clone(source), extent)))
}

/// A few bytes of the disk; `None` when it is too short.
fn bytes(source: &dyn ReadAt, at: u64, length: usize) -> Result<Option<Vec<u8>>, FilesystemError> {
    if at.checked_add(length as u64).is_none_or(|end| end > source.size()) {
        return Ok(None);
    }
    let mut out = vec![0; length];
    source.read_at(at, &mut out).map_err(|source| FilesystemError::Io { object: Object::PartitionTable, source })?;
    Ok(Some(out))
}
