//! Verified chunks kept at hand, bounded by their bytes.

use std::collections::HashMap;
use std::sync::Arc;

/// Forgets the longest unused chunks once it is full.
#[derive(Debug)]
pub(super) struct ChunkCache {
    chunks: HashMap<u64, (u64, Arc<[u8]>)>,
    held_bytes: usize,
    limit_bytes: usize,
    tick: u64,
}

impl ChunkCache {
    /// Keeps at most `limit_bytes`.
    pub(super) fn new(limit_bytes: usize) -> Self {
        Self { chunks: HashMap::new(), held_bytes: 0, limit_bytes, tick: 0 }
    }

    /// The bytes of chunk `index`.
    pub(super) fn get(&mut self, index: u64) -> Option<Arc<[u8]>> {
        self.tick += 1;
        let (used, bytes) = self.chunks.get_mut(&index)?;
        *used = self.tick;
        Some(Arc::clone(bytes))
    }

    /// Keeps the bytes of chunk `index`.
    pub(super) fn insert(&mut self, index: u64, bytes: &[u8]) {
        if self.held_bytes.saturating_add(bytes.len()) > self.limit_bytes {
            self.drop_older_half();
        }
        self.tick += 1;
        self.held_bytes += bytes.len();
        if let Some((_, old)) = self.chunks.insert(index, (self.tick, bytes.into())) {
            self.held_bytes -= old.len();
        }
    }

    /// Dropping many at once makes the search for the oldest cost little a chunk.
    fn drop_older_half(&mut self) {
        let mut ages: Vec<u64> = self.chunks.values().map(|(used, _)| *used).collect();
        ages.sort_unstable();
        let Some(threshold) = ages.get(ages.len() / 2).copied() else { return };
        self.chunks.retain(|_, (used, _)| *used > threshold);
        self.held_bytes = self.chunks.values().map(|(_, bytes)| bytes.len()).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_stays_bounded_and_keeps_what_is_used() {
        let mut cache = ChunkCache::new(1000);
        for index in 0..500 {
            cache.insert(index, &[index as u8; 100]);
            assert!(cache.held_bytes <= 1000);
            assert_eq!(cache.held_bytes, cache.chunks.len() * 100);
            assert_eq!(cache.get(0).as_deref(), Some(&[0; 100][..]), "chunk 0 is used all the time, and gone after {index}");
            assert_eq!(cache.get(index).as_deref(), Some(&[index as u8; 100][..]));
        }
        cache.insert(499, &[1; 10]);
        assert_eq!(cache.held_bytes, cache.chunks.values().map(|(_, bytes)| bytes.len()).sum::<usize>());
    }
}
