//! What a volume lacks although its tree has a place for it: bytes that the source could not give, and bytes that no file used.

use super::points::ListedPoint;
use crate::base::extent::{Extent, ExtentSet};
use crate::base::io::IoError;

const LOST: &str = "the source could not be read there when the point was taken";
const OMITTED: &str = "no file used it when the point was taken, so it was left out";

/// The gaps of one volume, to the byte; its tree knows them by the chunk only.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Gaps {
    /// What the source could not give.
    pub lost_at_source: ExtentSet,
    /// What was left out because no file used it.
    pub omitted: ExtentSet,
}

impl Gaps {
    /// Those that the manifest of a point names.
    #[must_use]
    pub fn of(point: &ListedPoint) -> Self {
        Self { lost_at_source: point.point.unreadable.clone(), omitted: point.point.omitted.clone() }
    }

    /// Fails with the first gap within `extent`.
    pub(super) fn refuse(&self, extent: &Extent) -> Result<(), IoError> {
        if let Some(lost) = self.lost_at_source.first_within(extent) {
            return Err(lost_at_source(lost));
        }
        match self.omitted.first_within(extent) {
            Some(extent) => Err(IoError::Missing { extent, reason: OMITTED.to_owned() }),
            None => Ok(()),
        }
    }
}

/// The refusal of bytes that the source could not give.
pub(super) fn lost_at_source(extent: Extent) -> IoError {
    IoError::Missing { extent, reason: LOST.to_owned() }
}
