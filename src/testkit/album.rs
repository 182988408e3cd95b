//! What each recovery point must give back: points beside plain copies of their volumes.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::base::extent::{Extent, ExtentSet};
use crate::base::progress::Silent;
use crate::repository::ids::PointId;
use crate::repository::{CheckDepth, ListedPoint, Repository, RepositoryError, VolumePiece};

/// Points by id, each with the bytes that its writer saw.
#[derive(Debug, Clone, Default)]
pub struct Album {
    copies: BTreeMap<PointId, Vec<u8>>,
}

impl Album {
    /// Remembers what a point holds.
    pub fn keep(&mut self, point: &ListedPoint, bytes: Vec<u8>) {
        self.copies.insert(point.id, bytes);
    }

    /// The point was forgotten.
    pub fn forget(&mut self, id: &PointId) {
        self.copies.remove(id);
    }

    /// The bytes of a point, if they are known.
    #[must_use]
    pub fn bytes(&self, id: &PointId) -> Option<&[u8]> {
        self.copies.get(id).map(Vec::as_slice)
    }

    /// All ids, oldest first.
    #[must_use]
    pub fn ids(&self) -> Vec<PointId> {
        self.copies.keys().copied().collect()
    }

    /// Everything that is not as it should be, in words: a deep check finds nothing, these points and no others exist, and each
    /// gives back its bytes.
    pub fn compare(&self, repository: &Repository) -> Result<(), String> {
        let found = self.compare_existing(repository)?;
        if found == self.ids() { Ok(()) } else { Err(format!("points are {found:?} and should be {:?}", self.ids())) }
    }

    /// The same, but points may be missing. Returns those that exist.
    pub fn compare_existing(&self, repository: &Repository) -> Result<Vec<PointId>, String> {
        let report = repository.check(CheckDepth::Deep, &Silent).map_err(|error| format!("check failed: {error}"))?;
        if !report.is_clean() {
            return Err(format!("check found {report:?}"));
        }
        let points = repository.points().map_err(|error| format!("points cannot be listed: {error}"))?.points;
        for point in &points {
            let Some(expected) = self.bytes(&point.id) else { return Err(format!("point {} is a stranger", point.id)) };
            let (found, lost) = read_back(repository, point).map_err(|error| format!("point {}: {error}", point.id))?;
            if !lost.is_empty() || found != expected {
                return Err(format!("point {} differs from what its writer saw; lost: {lost:?}", point.id));
            }
        }
        Ok(points.into_iter().map(|point| point.id).collect())
    }
}

/// What lost ranges are filled with.
pub const LOST: u8 = 0xee;

/// Reads a whole point in the calling thread, and says what could not be given back.
pub fn read_back(repository: &Repository, point: &ListedPoint) -> Result<(Vec<u8>, ExtentSet), RepositoryError> {
    let tree = point.point.tree;
    let mut bytes = vec![LOST; usize::try_from(tree.size).unwrap_or(usize::MAX)];
    let mut lost = ExtentSet::new();
    let mut reader = repository.chunk_reader();
    repository.walk_volume(&tree, &mut |piece| match piece {
        VolumePiece::Hole(extent) => {
            bytes[range(extent)].fill(0);
            Ok(())
        }
        VolumePiece::Lost { extent, .. } => {
            lost.insert(extent);
            Ok(())
        }
        VolumePiece::Chunks { first_chunk, entries, extent } => {
            bytes[range(extent)].fill(0);
            reader.read(&tree, first_chunk, &entries, &mut |extent, chunk| {
                match chunk {
                    Ok(chunk) => bytes[range(extent)].copy_from_slice(chunk),
                    Err(_) => {
                        bytes[range(extent)].fill(LOST);
                        lost.insert(extent);
                    }
                }
                Ok(())
            })
        }
    })?;
    Ok((bytes, lost))
}

fn range(extent: Extent) -> Range<usize> {
    let index = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    index(extent.offset)..index(extent.end())
}
