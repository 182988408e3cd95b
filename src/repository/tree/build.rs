//! A new tree from an old one: leaves that changed are put in ascending order, everything between them is shared.
//!
//! ```text
//!   level 2   [ A  A' .            ]      one unfinished node a level; a finished one becomes a child of the level above
//!   level 1   [ B  B  B' .         ]
//!   leaves    put, put, (shared up to the next put), put ...
//! ```

use std::mem;

use super::chunks_below;
use super::read::TreeReader;
use crate::repository::error::RepositoryError;
use crate::repository::format::node::{ChunkEntry, FAN_OUT, FAN_OUT_U64, FrameRef, Node, NodeRef, StoredNode};
use crate::repository::format::point::Tree;
use crate::repository::keyring::Keyring;

/// What a tree is built from, and where its new nodes go.
pub(crate) struct Basis<'a> {
    /// The tree to share with, if there is one.
    pub(crate) old: Option<&'a mut TreeReader>,
    /// Keys of node ids.
    pub(crate) ring: &'a Keyring,
    /// Seals the bytes of a node and says where they are.
    pub(crate) store: &'a mut dyn FnMut(&[u8]) -> Result<FrameRef, RepositoryError>,
}

impl Basis<'_> {
    fn old_tree(&self) -> Option<Tree> {
        self.old.as_ref().map(|old| *old.tree())
    }
}

/// Builds a tree in one pass, holding one unfinished node a level.
#[derive(Debug, Clone)]
pub(crate) struct TreeBuilder {
    size: u64,
    chunk_bytes: u32,
    level: u8,
    /// Children so far, by level of the node: index 0 holds leaves' parents, level 1.
    open: Vec<Vec<NodeRef>>,
    next_chunk: u64,
    root: Option<NodeRef>,
}

impl TreeBuilder {
    pub(crate) fn new(size: u64, chunk_bytes: u32) -> Self {
        let chunks = size.div_ceil(chunk_bytes.max(1).into());
        let level = Tree::level_for(chunks);
        Self { size, chunk_bytes, level, open: vec![Vec::new(); usize::from(level)], next_chunk: 0, root: None }
    }

    /// The first chunk that is not in the tree yet.
    pub(crate) fn next_chunk(&self) -> u64 {
        self.next_chunk
    }

    /// Takes everything before `chunk`, a multiple of a leaf, from the old tree; holes where it has nothing.
    pub(crate) fn share_until(&mut self, chunk: u64, basis: &mut Basis<'_>) -> Result<(), RepositoryError> {
        while self.next_chunk < chunk && self.root.is_none() {
            let level = self.largest_step(chunk, basis.old_tree());
            let child = match &mut basis.old {
                Some(old) => old.subtree(level, self.next_chunk)?,
                None => NodeRef::Hole,
            };
            self.push(level, child, basis)?;
        }
        Ok(())
    }

    /// Puts the leaf that begins at the next chunk.
    pub(crate) fn put_leaf(&mut self, entries: Vec<ChunkEntry>, basis: &mut Basis<'_>) -> Result<(), RepositoryError> {
        let leaf = self.keep(Node::Leaf(entries), self.next_chunk, basis)?;
        self.push(0, leaf, basis)
    }

    /// The finished tree, the rest shared with the old one.
    pub(crate) fn finish(mut self, basis: &mut Basis<'_>) -> Result<Tree, RepositoryError> {
        let end = self.size.div_ceil(self.chunk_bytes.max(1).into()).next_multiple_of(FAN_OUT_U64);
        self.share_until(end, basis)?;
        let mut level = 1;
        while self.root.is_none() && level <= self.level {
            self.close(level, basis)?;
            level += 1;
        }
        let root = self.root.unwrap_or(NodeRef::Hole);
        Ok(Tree { size: self.size, chunk_bytes: self.chunk_bytes, level: self.level, root })
    }

    /// The tallest subtree that begins at the next chunk, ends by `chunk`, and means the same in both trees.
    ///
    /// Where the sizes differ, a subtree over the smaller end does not: the caller puts the leaf there.
    fn largest_step(&self, chunk: u64, old: Option<Tree>) -> u8 {
        let (top, whole_until) = match old {
            Some(old) if self.next_chunk < old.chunk_count() => {
                let whole = if old.size == self.size { u64::MAX } else { old.size.min(self.size) / u64::from(self.chunk_bytes) };
                (old.level.min(self.level), whole)
            }
            _ => (self.level, u64::MAX),
        };
        let fits = |level: u8| {
            let below = chunks_below(level);
            let stop = self.next_chunk.saturating_add(below);
            self.next_chunk.is_multiple_of(below) && stop <= chunk.min(whole_until)
        };
        (0..=top).rev().find(|level| fits(*level)).unwrap_or(0)
    }

    fn push(&mut self, level: u8, child: NodeRef, basis: &mut Basis<'_>) -> Result<(), RepositoryError> {
        self.next_chunk = self.next_chunk.saturating_add(chunks_below(level));
        self.adopt(level, child, basis)
    }

    /// Hands a finished subtree to its parent, closing the parent when it is full.
    fn adopt(&mut self, level: u8, child: NodeRef, basis: &mut Basis<'_>) -> Result<(), RepositoryError> {
        match self.open.get_mut(usize::from(level)) {
            None => self.root = Some(child),
            Some(children) => {
                children.push(child);
                if children.len() == FAN_OUT {
                    self.close(level + 1, basis)?;
                }
            }
        }
        Ok(())
    }

    /// Makes the unfinished node of `level` a child of the level above.
    fn close(&mut self, level: u8, basis: &mut Basis<'_>) -> Result<(), RepositoryError> {
        let Some(open) = self.open.get_mut(usize::from(level) - 1) else { return Ok(()) };
        let children = mem::take(open);
        if children.is_empty() && level < self.level {
            return Ok(());
        }
        let first = (self.next_chunk.saturating_sub(1) / chunks_below(level)) * chunks_below(level);
        let node = self.keep(Node::Inner { level, children }, first, basis)?;
        self.adopt(level, node, basis)
    }

    /// Stores a node, unless it is a hole or the very node that the old tree has at this place.
    fn keep(&self, node: Node, first_chunk: u64, basis: &mut Basis<'_>) -> Result<NodeRef, RepositoryError> {
        if is_hole(&node) {
            return Ok(NodeRef::Hole);
        }
        let bytes = node.encode();
        let id = basis.ring.node_id(&bytes);
        if let Some(old) = basis.old.as_mut().filter(|old| node.level() <= old.tree().level) {
            match old.subtree(node.level(), first_chunk) {
                Ok(NodeRef::Node(known)) if known.id == id => return Ok(NodeRef::Node(known)),
                // What is damaged cannot be shared, and is replaced by the node at hand.
                Err(error) if !error.is_damage() => return Err(error),
                _ => {}
            }
        }
        Ok(NodeRef::Node(StoredNode { id, frame: (basis.store)(&bytes)? }))
    }
}

fn is_hole(node: &Node) -> bool {
    match node {
        Node::Leaf(entries) => entries.iter().all(|entry| *entry == ChunkEntry::Hole),
        Node::Inner { children, .. } => children.iter().all(|child| *child == NodeRef::Hole),
    }
}
