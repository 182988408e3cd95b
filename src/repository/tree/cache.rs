//! Decoded nodes kept at hand, bounded by their number.

use std::collections::HashMap;
use std::sync::Arc;

use crate::repository::format::node::Node;
use crate::repository::ids::ContentId;

/// Forgets the longest unused nodes once it is full.
#[derive(Debug)]
pub(crate) struct NodeCache {
    nodes: HashMap<ContentId, (u64, Arc<Node>)>,
    limit: usize,
    tick: u64,
}

impl NodeCache {
    /// Keeps at most `limit` nodes, of some 5 KiB each.
    pub(crate) fn new(limit: usize) -> Self {
        Self { nodes: HashMap::new(), limit: limit.max(4), tick: 0 }
    }

    pub(crate) fn get(&mut self, id: &ContentId) -> Option<Arc<Node>> {
        self.tick += 1;
        let (used, node) = self.nodes.get_mut(id)?;
        *used = self.tick;
        Some(Arc::clone(node))
    }

    pub(crate) fn insert(&mut self, id: ContentId, node: Arc<Node>) {
        if self.nodes.len() >= self.limit {
            self.drop_oldest_quarter();
        }
        self.tick += 1;
        self.nodes.insert(id, (self.tick, node));
    }

    /// Dropping many at once makes the search for the oldest cost little a node.
    fn drop_oldest_quarter(&mut self) {
        let mut ages: Vec<u64> = self.nodes.values().map(|(used, _)| *used).collect();
        let quarter = ages.len() / 4;
        let (_, threshold, _) = ages.select_nth_unstable(quarter);
        let threshold = *threshold;
        self.nodes.retain(|_, (used, _)| *used > threshold);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_stays_bounded_and_keeps_what_is_used() {
        let mut cache = NodeCache::new(100);
        let id = |n: u32| ContentId(*blake3::hash(&n.to_le_bytes()).as_bytes());
        for n in 0..10_000 {
            cache.insert(id(n), Arc::new(Node::Leaf(Vec::new())));
            assert!(cache.nodes.len() <= 100);
            assert!(cache.get(&id(0)).is_some(), "node 0 is used all the time, and gone after {n}");
        }
    }
}
