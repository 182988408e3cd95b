//! Which bytes of a volume hang on which frame: the model that damage is held against.

use std::collections::HashSet;
use std::iter;

use crate::base::extent::{Extent, ExtentSet};
use crate::repository::error::RepositoryError;
use crate::repository::format::node::{ChunkEntry, FrameRef, StoredChunk, StoredNode};
use crate::repository::format::point::Tree;
use crate::repository::ids::ContentId;
use crate::repository::tree::{TreeVisitor, chunks_below, walk};
use crate::repository::{ListedPoint, Repository, chunk_extent};

/// Each frame that a point reaches, with the bytes that are lost if it is.
pub(super) struct Anatomy {
    tree: Tree,
    nodes: Vec<(FrameRef, Extent)>,
    pub(super) chunks: Vec<(StoredChunk, Extent)>,
}

impl Anatomy {
    pub(super) fn of(repository: &Repository, point: &ListedPoint) -> Self {
        let mut anatomy = Self { tree: point.point.tree, nodes: Vec::new(), chunks: Vec::new() };
        walk(&point.point.tree, &mut repository.fetcher(), &repository.ring, &mut anatomy).unwrap();
        anatomy
    }

    /// The frame of the chunk at `offset`; the nodes above it reach further.
    pub(super) fn frame_at(&self, offset: u64) -> Option<FrameRef> {
        let around = self.chunks.iter().filter(|(_, extent)| extent.offset <= offset && offset < extent.end());
        around.map(|(chunk, _)| chunk.frame).next()
    }

    /// What is lost in its own place when these frames are.
    pub(super) fn lost(&self, is_bad: impl Fn(&FrameRef) -> bool) -> ExtentSet {
        let chunks = self.chunks.iter().map(|(chunk, extent)| (chunk.frame, *extent));
        let frames = self.nodes.iter().copied().chain(chunks);
        frames.filter(|(frame, _)| is_bad(frame)).map(|(_, extent)| extent).collect()
    }

    /// What lies below nodes that are lost when these frames are.
    pub(super) fn lost_nodes(&self, is_bad: impl Fn(&FrameRef) -> bool) -> ExtentSet {
        self.nodes.iter().filter(|(frame, _)| is_bad(frame)).map(|(_, extent)| *extent).collect()
    }

    /// The chunks that stand outside of what is lost.
    pub(super) fn ids_outside<'a>(&'a self, lost: &'a ExtentSet) -> impl Iterator<Item = ContentId> + 'a {
        self.chunks.iter().filter(|(_, extent)| !lost.intersects(extent)).map(|(chunk, _)| chunk.id)
    }

    /// What is lost in all places: of what its own lost, chunks that are readable elsewhere come back. Below `lost_nodes` nobody knows
    /// which chunks to look for.
    pub(super) fn lost_for_good(&self, lost: &ExtentSet, lost_nodes: &ExtentSet, readable: &HashSet<ContentId>) -> ExtentSet {
        let known = self.chunks.iter().filter(|(_, extent)| !lost_nodes.intersects(extent));
        let found: ExtentSet = known.filter(|(chunk, _)| readable.contains(&chunk.id)).map(|(_, extent)| *extent).collect();
        lost.difference(&found)
    }
}

impl TreeVisitor for Anatomy {
    fn enter(&mut self, node: &StoredNode, level: u8, first_chunk: u64) -> Result<bool, RepositoryError> {
        let chunk = u64::from(self.tree.chunk_bytes);
        let below = Extent::new(first_chunk * chunk, chunks_below(level) * chunk);
        self.nodes.push((node.frame, below.intersect(&Extent::new(0, self.tree.size))));
        Ok(true)
    }

    fn leaf(&mut self, first_chunk: u64, entries: &[ChunkEntry]) -> Result<(), RepositoryError> {
        let stored = iter::zip(first_chunk.., entries).filter_map(|(index, entry)| entry.stored().map(|stored| (index, *stored)));
        self.chunks.extend(stored.map(|(index, stored)| (stored, chunk_extent(&self.tree, index))));
        Ok(())
    }

    fn lost(&mut self, _: &StoredNode, _: u64, _: u64, error: RepositoryError) -> Result<(), RepositoryError> {
        Err(error)
    }
}
