//! A walk over a tree in the order of the volume, fetching brothers together, going around what is lost.

use super::chunks_below;
use super::read::fetch_nodes;
use crate::repository::error::RepositoryError;
use crate::repository::fetch::FrameFetcher;
use crate::repository::format::node::{ChunkEntry, FAN_OUT, Node, NodeRef, StoredNode};
use crate::repository::format::point::Tree;
use crate::repository::keyring::Keyring;

/// What a walk shows.
pub(crate) trait TreeVisitor {
    /// A node is next. `false` leaves it and everything below it out.
    fn enter(&mut self, node: &StoredNode, level: u8, first_chunk: u64) -> Result<bool, RepositoryError>;
    /// A leaf's entries. Holes at the end are left out.
    fn leaf(&mut self, first_chunk: u64, entries: &[ChunkEntry]) -> Result<(), RepositoryError>;
    /// `count` chunks of zeros; `count` may reach past the volume's end.
    fn hole(&mut self, _first_chunk: u64, _count: u64) -> Result<(), RepositoryError> {
        Ok(())
    }
    /// A node cannot be read, and with it `count` chunks.
    fn lost(&mut self, node: &StoredNode, first_chunk: u64, count: u64, error: RepositoryError) -> Result<(), RepositoryError>;
}

/// Walks the whole tree. The depth is bounded by the level, which falls at every step.
pub(crate) fn walk(
    tree: &Tree,
    fetcher: &mut FrameFetcher,
    ring: &Keyring,
    visitor: &mut dyn TreeVisitor,
) -> Result<(), RepositoryError> {
    descend(&[tree.root], tree.level, 0, fetcher, ring, visitor)
}

/// Shows brothers of one level, the first of which begins at `first_chunk`.
fn descend(
    brothers: &[NodeRef],
    level: u8,
    first_chunk: u64,
    fetcher: &mut FrameFetcher,
    ring: &Keyring,
    visitor: &mut dyn TreeVisitor,
) -> Result<(), RepositoryError> {
    let below = chunks_below(level);
    let place = |index: usize| first_chunk.saturating_add(below.saturating_mul(index as u64));
    let mut wanted = Vec::new();
    for (index, brother) in brothers.iter().enumerate() {
        if let NodeRef::Node(stored) = brother
            && visitor.enter(stored, level, place(index))?
        {
            wanted.push((index, *stored));
        }
    }
    let stored: Vec<StoredNode> = wanted.iter().map(|(_, stored)| *stored).collect();
    let mut nodes: Vec<Option<Result<Node, RepositoryError>>> = Vec::new();
    nodes.resize_with(brothers.len(), || None);
    fetch_nodes(fetcher, ring, &stored, level, &mut |found, node| {
        let mut node = Some(node);
        for (index, _) in wanted.iter().filter(|(_, wanted)| wanted == found) {
            let slot = nodes.get_mut(*index).filter(|slot| slot.is_none());
            if let Some(slot) = slot {
                *slot = node.take();
            }
        }
        Ok(())
    })?;
    for (index, brother) in brothers.iter().enumerate() {
        let node = nodes.get_mut(index).and_then(Option::take);
        match (brother, node) {
            (NodeRef::Hole, _) => visitor.hole(place(index), below)?,
            (NodeRef::Node(_), None) => {}
            (NodeRef::Node(stored), Some(Err(error))) => visitor.lost(stored, place(index), below, error)?,
            (NodeRef::Node(_), Some(Ok(Node::Leaf(entries)))) => visitor.leaf(place(index), &entries)?,
            (NodeRef::Node(_), Some(Ok(Node::Inner { mut children, .. }))) => {
                children.resize(FAN_OUT, NodeRef::Hole);
                descend(&children, level.saturating_sub(1), place(index), fetcher, ring, visitor)?;
            }
        }
    }
    Ok(())
}
