//! One search: chunks of a tree that are wanted, and the places that one tree after the other names for them.

use std::collections::HashMap;
use std::ops::ControlFlow;

use super::Other;
use crate::repository::error::RepositoryError;
use crate::repository::format::node::{ChunkEntry, FrameRef, StoredChunk, StoredNode};
use crate::repository::format::point::Tree;
use crate::repository::ids::{ContentId, PackId};
use crate::repository::live::SlotSet;
use crate::repository::tree::{TreeVisitor, walk};
use crate::repository::{Repository, names};

/// Places that are kept of one chunk, besides those that are known to be bad: a volume that is stored in full again and again names as
/// many.
const MAX_PLACES: usize = 8;

/// A place that should hold a wanted chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OtherPlace {
    pub(super) frame: FrameRef,
    pub(super) place: u8,
    /// The tree that names it, by its number among those that are searched.
    pub(super) other: usize,
}

/// What is wanted, and how far was looked.
#[derive(Debug)]
pub(super) struct Search {
    wanted: HashMap<ContentId, Vec<OtherPlace>>,
    /// Nodes that were seen: points share most of theirs.
    seen: SlotSet,
    next: usize,
}

/// A search for everything that `tree` has in the pack of `failed`, and in packs that are not there or end too early; for all that
/// it has, if there is room for it.
pub(super) fn first_search(
    repository: &Repository,
    tree: &Tree,
    failed: &StoredChunk,
    room: usize,
) -> Result<Search, RepositoryError> {
    if usize::try_from(tree.chunk_count()).is_ok_and(|count| count <= room) {
        return gather(repository, tree, failed, room, &|_| true);
    }
    let mut sizes: HashMap<PackId, u64> = HashMap::new();
    repository.store.list(names::PACKS, &mut |entry| {
        names::parse_pack(&entry.key).map(|id| sizes.insert(id, entry.size));
        ControlFlow::Continue(())
    })?;
    let is_there = |frame: &FrameRef| {
        let end = u64::from(frame.offset).saturating_add(frame.stored.into());
        sizes.get(&frame.pack).is_some_and(|size| end <= *size)
    };
    gather(repository, tree, failed, room, &|frame| frame.pack == failed.frame.pack || !is_there(frame))
}

/// A search for everything that `tree` has in the pack of `failed`.
pub(super) fn search_of_pack(
    repository: &Repository,
    tree: &Tree,
    failed: &StoredChunk,
    room: usize,
) -> Result<Search, RepositoryError> {
    gather(repository, tree, failed, room, &|frame| frame.pack == failed.frame.pack)
}

fn gather(
    repository: &Repository,
    tree: &Tree,
    failed: &StoredChunk,
    room: usize,
    is_wanted: &dyn Fn(&FrameRef) -> bool,
) -> Result<Search, RepositoryError> {
    let wanted = HashMap::from([(failed.id, Vec::new())]);
    let mut visitor = Gather { wanted, seen: SlotSet::default(), room, is_wanted };
    walk(tree, &mut repository.fetcher(), &repository.ring, &mut visitor)?;
    Ok(Search { wanted: visitor.wanted, seen: SlotSet::default(), next: 0 })
}

impl Search {
    pub(super) fn wants(&self, id: &ContentId) -> bool {
        self.wanted.contains_key(id)
    }

    pub(super) fn wanted_count(&self) -> usize {
        self.wanted.len()
    }

    /// A place that was not found to be bad.
    pub(super) fn place_of(&self, id: &ContentId, bad: &SlotSet) -> Option<OtherPlace> {
        self.wanted.get(id)?.iter().find(|place| !bad.contains(&place.frame)).copied()
    }

    pub(super) fn drop_place(&mut self, id: &ContentId, bad: &OtherPlace) {
        if let Some(places) = self.wanted.get_mut(id) {
            places.retain(|place| place != bad);
        }
    }

    /// Looks through the next tree; false once there is none.
    pub(super) fn advance(&mut self, repository: &Repository, others: &[Other], bad: &SlotSet) -> Result<bool, RepositoryError> {
        let Some(other) = others.get(self.next) else { return Ok(false) };
        let mut visitor = Places { wanted: &mut self.wanted, seen: &mut self.seen, bad, other: self.next };
        walk(&other.tree, &mut repository.fetcher(), &repository.ring, &mut visitor)?;
        self.next += 1;
        Ok(true)
    }
}

/// Collects what is wanted.
struct Gather<'a> {
    wanted: HashMap<ContentId, Vec<OtherPlace>>,
    seen: SlotSet,
    room: usize,
    is_wanted: &'a dyn Fn(&FrameRef) -> bool,
}

impl TreeVisitor for Gather<'_> {
    fn enter(&mut self, node: &StoredNode, _level: u8, _first_chunk: u64) -> Result<bool, RepositoryError> {
        Ok(self.wanted.len() < self.room && self.seen.insert(&node.frame))
    }

    fn leaf(&mut self, _first_chunk: u64, entries: &[ChunkEntry]) -> Result<(), RepositoryError> {
        for chunk in entries.iter().filter_map(ChunkEntry::stored).filter(|chunk| (self.is_wanted)(&chunk.frame)) {
            if self.wanted.len() < self.room {
                self.wanted.entry(chunk.id).or_default();
            }
        }
        Ok(())
    }

    fn lost(&mut self, _: &StoredNode, _: u64, _: u64, _: RepositoryError) -> Result<(), RepositoryError> {
        Ok(())
    }
}

/// Keeps a place, if it is a new one.
fn add(places: &mut Vec<OtherPlace>, place: OtherPlace, bad: &SlotSet) {
    if places.iter().any(|known| (known.frame.pack, known.frame.slot) == (place.frame.pack, place.frame.slot)) {
        return;
    }
    if places.len() >= MAX_PLACES {
        places.retain(|known| !bad.contains(&known.frame));
    }
    if places.len() < MAX_PLACES {
        places.reserve_exact(1);
        places.push(place);
    }
}

/// Notes where wanted chunks lie. What cannot be read of another point's tree names no places.
struct Places<'a> {
    wanted: &'a mut HashMap<ContentId, Vec<OtherPlace>>,
    seen: &'a mut SlotSet,
    bad: &'a SlotSet,
    other: usize,
}

impl TreeVisitor for Places<'_> {
    fn enter(&mut self, node: &StoredNode, _level: u8, _first_chunk: u64) -> Result<bool, RepositoryError> {
        Ok(self.seen.insert(&node.frame))
    }

    fn leaf(&mut self, _first_chunk: u64, entries: &[ChunkEntry]) -> Result<(), RepositoryError> {
        for chunk in entries.iter().filter_map(ChunkEntry::stored).filter(|chunk| !self.bad.contains(&chunk.frame)) {
            if let Some(places) = self.wanted.get_mut(&chunk.id) {
                add(places, OtherPlace { frame: chunk.frame, place: chunk.place, other: self.other }, self.bad);
            }
        }
        Ok(())
    }

    fn lost(&mut self, _: &StoredNode, _: u64, _: u64, _: RepositoryError) -> Result<(), RepositoryError> {
        Ok(())
    }
}
