//! Which chunks of bad frames stand in other frames too, where readers find them.

use std::collections::HashMap;

use crate::repository::Repository;
use crate::repository::error::RepositoryError;
use crate::repository::format::node::{ChunkEntry, StoredNode};
use crate::repository::ids::ContentId;
use crate::repository::live::SlotSet;
use crate::repository::points::ListedPoint;
use crate::repository::tree::{TreeVisitor, walk};

/// Bad chunks that are looked for. Those beyond count as held nowhere else: too little is promised, not too much.
const MAX_BAD_CHUNKS: usize = 1 << 18;

/// Chunks of bad frames, each with whether another frame holds it that is not known to be bad.
pub(super) struct Copies(HashMap<ContentId, bool>);

impl Copies {
    pub(super) fn find(repository: &Repository, points: &[ListedPoint], bad: &SlotSet) -> Result<Self, RepositoryError> {
        let mut copies = Self(HashMap::new());
        for look in [Look::ForBad, Look::ForGood] {
            let mut visitor = Visitor { copies: &mut copies, bad, seen: SlotSet::default(), look };
            points
                .iter()
                .try_for_each(|point| walk(&point.point.tree, &mut repository.fetcher(), &repository.ring, &mut visitor))?;
        }
        Ok(copies)
    }

    /// True if another frame holds the chunk.
    pub(super) fn hold(&self, id: &ContentId) -> bool {
        self.0.get(id).copied().unwrap_or(false)
    }
}

#[derive(Debug, Clone, Copy)]
enum Look {
    ForBad,
    ForGood,
}

struct Visitor<'a> {
    copies: &'a mut Copies,
    bad: &'a SlotSet,
    seen: SlotSet,
    look: Look,
}

impl TreeVisitor for Visitor<'_> {
    fn enter(&mut self, node: &StoredNode, _level: u8, _first_chunk: u64) -> Result<bool, RepositoryError> {
        Ok(self.seen.insert(&node.frame))
    }

    fn leaf(&mut self, _first_chunk: u64, entries: &[ChunkEntry]) -> Result<(), RepositoryError> {
        let Copies(known) = &mut *self.copies;
        for chunk in entries.iter().filter_map(ChunkEntry::stored) {
            match (self.look, self.bad.contains(&chunk.frame)) {
                (Look::ForBad, true) if known.len() < MAX_BAD_CHUNKS => drop(known.entry(chunk.id).or_default()),
                (Look::ForGood, false) => drop(known.get_mut(&chunk.id).map(|held| *held = true)),
                _ => {}
            }
        }
        Ok(())
    }

    fn lost(&mut self, _: &StoredNode, _: u64, _: u64, _: RepositoryError) -> Result<(), RepositoryError> {
        Ok(())
    }
}
