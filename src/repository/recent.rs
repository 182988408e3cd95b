//! Chunks stored a moment ago, by id: duplicates inside one backup cost nothing, in a table of fixed size.

use std::fmt;

use super::format::node::{FrameRef, StoredChunk};
use super::ids::ContentId;

/// 2^17 sets of 4: half a million chunks, 8 GiB of volume at 16 KiB, in 36 MiB of memory once it is full.
const SETS: usize = 1 << 17;
const WAYS: usize = 4;

/// A set-associative table. A full set drops what it was given first.
pub(crate) struct RecentChunks {
    sets: Vec<[Option<StoredChunk>; WAYS]>,
    turn: u8,
}

impl fmt::Debug for RecentChunks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecentChunks")
    }
}

impl RecentChunks {
    /// A table for `expected_chunks`, never larger than the bound above.
    pub(crate) fn new(expected_chunks: u64) -> Self {
        let wanted = usize::try_from(expected_chunks / WAYS as u64 + 1).unwrap_or(SETS);
        Self { sets: vec![[None; WAYS]; wanted.next_power_of_two().min(SETS)], turn: 0 }
    }

    pub(crate) fn get(&self, id: &ContentId) -> Option<StoredChunk> {
        self.sets[self.set(id)].iter().flatten().find(|chunk| chunk.id == *id).copied()
    }

    pub(crate) fn insert(&mut self, id: ContentId, frame: FrameRef, place: u8) {
        let index = self.set(&id);
        let set = &mut self.sets[index];
        let way = set.iter().position(Option::is_none).unwrap_or(usize::from(self.turn) % WAYS);
        set[way] = Some(StoredChunk { id, frame, place });
        self.turn = self.turn.wrapping_add(1);
    }

    /// Ids are uniformly random, so their first bytes are a hash already.
    fn set(&self, id: &ContentId) -> usize {
        let mut first = [0; 8];
        first.copy_from_slice(&id.0[..8]);
        usize::try_from(u64::from_le_bytes(first) % self.sets.len() as u64).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::ids::PackId;

    #[test]
    fn recent_chunks_are_found_and_only_by_their_whole_id() {
        let mut table = RecentChunks::new(100);
        let frame = FrameRef { pack: PackId([1; 16]), slot: 2, offset: 3, stored: 4 };
        let mut id = ContentId([5; 32]);
        table.insert(id, frame, 6);
        assert_eq!(table.get(&id), Some(StoredChunk { id, frame, place: 6 }));
        id.0[31] ^= 1;
        assert_eq!(table.get(&id), None);
    }

    #[test]
    fn a_full_table_forgets_and_never_lies() {
        let mut table = RecentChunks::new(16);
        let frame = |slot| FrameRef { pack: PackId([1; 16]), slot, offset: 0, stored: 0 };
        let id = |n: u32| ContentId(*blake3::hash(&n.to_le_bytes()).as_bytes());
        (0..1000).for_each(|n| table.insert(id(n), frame(n), 0));
        let found: Vec<u32> = (0..1000).filter(|n| table.get(&id(*n)).is_some()).collect();
        assert!(!found.is_empty() && found.len() <= table.sets.len() * WAYS);
        assert!(found.iter().all(|n| table.get(&id(*n)).unwrap().frame.slot == *n));
    }
}
