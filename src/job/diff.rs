//! Diff: in which bytes two recovery points differ, at the cost of the difference.

use crate::base::extent::ExtentSet;
use crate::job::JobError;
use crate::repository::{ListedPoint, Repository};

/// What differs.
#[derive(Debug)]
pub struct DiffReport {
    /// Whole chunks that are not the same.
    pub extents: ExtentSet,
    /// Size of the older volume in bytes.
    pub old_size: u64,
    /// Size of the newer volume in bytes.
    pub new_size: u64,
}

/// Compares two points.
pub fn diff(repository: &Repository, old: &ListedPoint, new: &ListedPoint) -> Result<DiffReport, JobError> {
    let (old, new) = (&old.point.tree, &new.point.tree);
    Ok(DiffReport { extents: repository.diff(old, new)?, old_size: old.size, new_size: new.size })
}
