//! Which bytes of a volume hang on which frame: the model that damage is held against.

use crate::base::extent::{Extent, ExtentSet};
use crate::repository::error::RepositoryError;
use crate::repository::format::node::{ChunkEntry, FrameRef, StoredNode};
use crate::repository::format::point::Tree;
use crate::repository::tree::{TreeVisitor, chunks_below, walk};
use crate::repository::{ListedPoint, Repository, chunk_extent};

/// Each frame that a point reaches, with the bytes that are lost if it is.
pub(super) struct Anatomy {
    tree: Tree,
    pub(super) frames: Vec<(FrameRef, Extent)>,
}

impl Anatomy {
    pub(super) fn of(repository: &Repository, point: &ListedPoint) -> Self {
        let mut anatomy = Self { tree: point.point.tree, frames: Vec::new() };
        walk(&point.point.tree, &mut repository.fetcher(), &repository.ring, &mut anatomy).unwrap();
        anatomy
    }

    /// The frame of the chunk at `offset`; the nodes above it reach further.
    pub(super) fn frame_at(&self, offset: u64) -> Option<FrameRef> {
        let around = self.frames.iter().filter(|(_, extent)| extent.offset <= offset && offset < extent.end());
        around.min_by_key(|(_, extent)| extent.length).map(|(frame, _)| *frame)
    }

    /// What is lost when these frames are.
    pub(super) fn lost(&self, is_bad: impl Fn(&FrameRef) -> bool) -> ExtentSet {
        self.frames.iter().filter(|(frame, _)| is_bad(frame)).map(|(_, extent)| *extent).collect()
    }
}

impl TreeVisitor for Anatomy {
    fn enter(&mut self, node: &StoredNode, level: u8, first_chunk: u64) -> Result<bool, RepositoryError> {
        let chunk = u64::from(self.tree.chunk_bytes);
        let below = Extent::new(first_chunk * chunk, chunks_below(level) * chunk);
        self.frames.push((node.frame, below.intersect(&Extent::new(0, self.tree.size))));
        Ok(true)
    }

    fn leaf(&mut self, first_chunk: u64, entries: &[ChunkEntry]) -> Result<(), RepositoryError> {
        let stored = (first_chunk..).zip(entries).filter_map(|(chunk, entry)| entry.stored().map(|stored| (chunk, stored.frame)));
        self.frames.extend(stored.map(|(chunk, frame)| (frame, chunk_extent(&self.tree, chunk))));
        Ok(())
    }

    fn lost(&mut self, _: &StoredNode, _: u64, _: u64, error: RepositoryError) -> Result<(), RepositoryError> {
        Err(error)
    }
}
