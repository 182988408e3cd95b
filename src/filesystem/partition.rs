//! Partitions of a volume.

use std::sync::Arc;

use super::error::{FilesystemError, Object};
use crate::base::io::ReadAt;

/// The partition `number` of `source`, counted from 1.
pub fn partition(source: Arc<dyn ReadAt>, number: u32) -> Result<Arc<dyn ReadAt>, FilesystemError> {
    drop(source);
    Err(FilesystemError::Unsupported { object: Object::PartitionTable, feature: format!("partition {number}") })
}
