//! Nodes read by place: the leaf that holds a chunk, the subtree at a level.

use std::sync::Arc;

use super::cache::NodeCache;
use super::chunks_below;
use crate::repository::error::RepositoryError;
use crate::repository::fetch::FrameFetcher;
use crate::repository::format::node::{ChunkEntry, FAN_OUT, FAN_OUT_U64, Node, NodeRef, StoredNode};
use crate::repository::format::point::Tree;
use crate::repository::frame::describe;
use crate::repository::keyring::Keyring;

/// Reads one tree. Brothers of a missing leaf that lie in its pack are fetched with it, since they are mostly wanted next.
#[derive(Debug)]
pub(crate) struct TreeReader {
    tree: Tree,
    ring: Arc<Keyring>,
    fetcher: FrameFetcher,
    cache: NodeCache,
}

impl TreeReader {
    pub(crate) fn new(tree: Tree, ring: Arc<Keyring>, fetcher: FrameFetcher, cache: NodeCache) -> Self {
        Self { tree, ring, fetcher, cache }
    }

    pub(crate) fn tree(&self) -> &Tree {
        &self.tree
    }

    /// The entries of the leaf that holds chunk `first_chunk`, which begins it. Missing entries at the end are holes.
    pub(crate) fn leaf(&mut self, first_chunk: u64) -> Result<Vec<ChunkEntry>, RepositoryError> {
        let mut entries = match self.subtree(0, first_chunk)? {
            NodeRef::Hole => Vec::new(),
            NodeRef::Node(node) => match &*self.node(&node, 0)? {
                Node::Leaf(entries) => entries.clone(),
                Node::Inner { .. } => return Err(wrong_level(&node)),
            },
        };
        entries.resize(FAN_OUT, ChunkEntry::Hole);
        Ok(entries)
    }

    /// The subtree of `level` that begins at `first_chunk`; a hole beyond the tree's end. Never called above the root.
    pub(crate) fn subtree(&mut self, level: u8, first_chunk: u64) -> Result<NodeRef, RepositoryError> {
        if first_chunk >= chunks_below(self.tree.level) {
            return Ok(NodeRef::Hole);
        }
        let mut at = self.tree.root;
        let mut at_level = self.tree.level;
        while at_level > level {
            let NodeRef::Node(stored) = at else { return Ok(NodeRef::Hole) };
            let node = self.node(&stored, at_level)?;
            let Node::Inner { children, .. } = &*node else { return Err(wrong_level(&stored)) };
            at_level -= 1;
            let below = chunks_below(at_level);
            let index = usize::try_from(first_chunk / below % FAN_OUT_U64).unwrap_or_default();
            at = children.get(index).copied().unwrap_or(NodeRef::Hole);
            if let (0, NodeRef::Node(leaf)) = (at_level, at) {
                self.prefetch(children, &leaf)?;
            }
        }
        Ok(at)
    }

    /// A verified node of the level that its place demands.
    pub(crate) fn node(&mut self, stored: &StoredNode, level: u8) -> Result<Arc<Node>, RepositoryError> {
        if let Some(node) = self.cache.get(&stored.id) {
            return if node.level() == level { Ok(node) } else { Err(wrong_level(stored)) };
        }
        let raw = self.fetcher.fetch(&stored.frame)?;
        let node = Arc::new(decode_node(&self.ring, stored, level, raw)?);
        self.cache.insert(stored.id, Arc::clone(&node));
        Ok(node)
    }

    /// Brings a leaf that is not at hand, and its brothers in the same pack. After a long history brothers lie in as many packs, and
    /// bringing all of them would cost a request each. Damage is left for whoever asks for that leaf.
    fn prefetch(&mut self, children: &[NodeRef], leaf: &StoredNode) -> Result<(), RepositoryError> {
        if self.cache.get(&leaf.id).is_some() {
            return Ok(());
        }
        let mut missing = Vec::new();
        for child in children {
            if let NodeRef::Node(node) = child
                && node.frame.pack == leaf.frame.pack
                && self.cache.get(&node.id).is_none()
            {
                missing.push(*node);
            }
        }
        let Self { fetcher, cache, ring, .. } = self;
        fetch_nodes(fetcher, ring, &missing, 0, &mut |stored, node| {
            if let Ok(node) = node {
                cache.insert(stored.id, Arc::new(node));
            }
            Ok(())
        })
    }
}

/// What receives the nodes of [`fetch_nodes`].
pub(super) type VisitNode<'a> = dyn FnMut(&StoredNode, Result<Node, RepositoryError>) -> Result<(), RepositoryError> + 'a;

/// Reads many nodes of one level together and shows each, verified, or what is wrong with it.
pub(super) fn fetch_nodes(
    fetcher: &mut FrameFetcher,
    ring: &Keyring,
    nodes: &[StoredNode],
    level: u8,
    visit: &mut VisitNode<'_>,
) -> Result<(), RepositoryError> {
    let frames = nodes.iter().map(|node| node.frame).collect();
    fetcher.fetch_many(frames, &mut |frame, raw| {
        let mut raw = Some(raw);
        for stored in nodes.iter().filter(|node| node.frame == *frame) {
            let node = match &raw {
                Some(Ok(raw)) => decode_node(ring, stored, level, raw),
                Some(Err(_)) => match raw.take() {
                    Some(Err(error)) => Err(error),
                    _ => Err(RepositoryError::damaged(describe(frame), "it cannot be read")),
                },
                None => Err(RepositoryError::damaged(describe(frame), "it cannot be read")),
            };
            visit(stored, node)?;
        }
        Ok(())
    })
}

fn decode_node(ring: &Keyring, stored: &StoredNode, level: u8, raw: &[u8]) -> Result<Node, RepositoryError> {
    if ring.node_id(raw) != stored.id {
        return Err(RepositoryError::damaged(describe(&stored.frame), "it holds another tree node than the tree says"));
    }
    let node = Node::parse(raw).map_err(|error| RepositoryError::from_format(describe(&stored.frame), error))?;
    if node.level() == level { Ok(node) } else { Err(wrong_level(stored)) }
}

fn wrong_level(stored: &StoredNode) -> RepositoryError {
    RepositoryError::damaged(describe(&stored.frame), "it holds a tree node of another level")
}
