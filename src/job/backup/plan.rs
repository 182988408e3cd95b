//! What a backup reads: everything, or what a change list names and whatever is uncertain besides.

use std::borrow::Cow;

use super::omission::omittable;
use super::{BackupRequest, uncertain};
use crate::base::extent::{Extent, ExtentSet};
use crate::repository::ListedPoint;

/// What will be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Plan {
    /// All of it.
    Whole {
        /// Size of the volume in bytes.
        size: u64,
        /// Whole chunks that are left out.
        omitted: ExtentSet,
    },
    /// These chunks; the rest is the previous point's.
    Listed {
        /// Whole chunks, cut off at the volume's end.
        chunks: ExtentSet,
        /// Whole chunks that are left out.
        omitted: ExtentSet,
        /// Bytes that the list named.
        listed_bytes: u64,
        /// Size of the volume in bytes.
        size: u64,
        /// Its chunk size in bytes.
        chunk_bytes: u32,
    },
}

impl Plan {
    pub(super) fn whole(request: &BackupRequest, size: u64, chunk_bytes: u32) -> Self {
        Self::Whole { size, omitted: omittable(&request.free, chunk_bytes, size) }
    }

    /// What was `told` to have changed, if somebody's word is taken, and otherwise all of it.
    pub(super) fn new(
        request: &BackupRequest,
        previous: Option<&ListedPoint>,
        told: Option<&ExtentSet>,
        size: u64,
        chunk_bytes: u32,
    ) -> Self {
        match (told, previous) {
            (Some(told), Some(previous)) => {
                let due = due(told, previous, size, chunk_bytes);
                let omitted = due.intersection(&omittable(&request.free, chunk_bytes, size));
                Self::Listed { chunks: due.difference(&omitted), omitted, listed_bytes: told.bytes(), size, chunk_bytes }
            }
            _ => Self::whole(request, size, chunk_bytes),
        }
    }

    /// What was written while the volume was read.
    pub(super) fn again(written: &ExtentSet, size: u64, chunk_bytes: u32) -> Self {
        let chunks = written.align_outward(chunk_bytes.into(), size);
        Self::Listed { chunks, omitted: ExtentSet::new(), listed_bytes: written.bytes(), size, chunk_bytes }
    }

    /// What will be read.
    pub(super) fn extents(&self) -> Cow<'_, ExtentSet> {
        match self {
            Self::Whole { size, omitted } => Cow::Owned(ExtentSet::whole(*size).difference(omitted)),
            Self::Listed { chunks, .. } => Cow::Borrowed(chunks),
        }
    }

    /// Adds ranges to read.
    pub(super) fn add(&mut self, more: &ExtentSet) {
        if let Self::Listed { chunks, size, chunk_bytes, .. } = self {
            *chunks = chunks.union(&more.align_outward((*chunk_bytes).into(), *size));
        }
    }

    /// What is left out, ascending.
    pub(super) fn omitted(&self) -> &ExtentSet {
        match self {
            Self::Whole { omitted, .. } | Self::Listed { omitted, .. } => omitted,
        }
    }

    /// How many bytes will be read.
    pub(super) fn bytes(&self) -> u64 {
        match self {
            Self::Whole { size, omitted } => size.saturating_sub(omitted.bytes()),
            Self::Listed { chunks, .. } => chunks.bytes(),
        }
    }

    /// The extents to read, ascending, none crossing a multiple of `window_bytes`.
    pub(super) fn windows(&self, window_bytes: u64) -> Box<dyn Iterator<Item = Extent> + Send + '_> {
        let extents: Box<dyn Iterator<Item = Extent> + Send + '_> = match self.extents() {
            Cow::Owned(extents) => Box::new(extents.into_iter()),
            Cow::Borrowed(extents) => Box::new(extents.as_slice().iter().copied()),
        };
        Box::new(extents.flat_map(move |extent| extent.cut(window_bytes)))
    }
}

/// Whole chunks that must be read if only what was `told` has changed.
pub(super) fn due(told: &ExtentSet, previous: &ListedPoint, size: u64, chunk_bytes: u32) -> ExtentSet {
    told.union(&uncertain(previous, size)).align_outward(chunk_bytes.into(), size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_never_cross_a_boundary_and_cover_the_plan() {
        let chunks: ExtentSet = [Extent::new(16384, 600_000), Extent::new(1 << 20, 16384)].into_iter().collect();
        let plan =
            Plan::Listed { chunks: chunks.clone(), omitted: ExtentSet::new(), listed_bytes: 0, size: 2 << 20, chunk_bytes: 16384 };
        let windows: Vec<_> = plan.windows(262_144).collect();
        assert_eq!(windows.iter().copied().collect::<ExtentSet>(), chunks);
        assert!(windows.iter().all(|w| w.offset / 262_144 == (w.end() - 1) / 262_144));
        assert_eq!(Plan::Whole { size: 1000, omitted: Extent::new(256, 256).into() }.windows(256).count(), 3);
    }
}
