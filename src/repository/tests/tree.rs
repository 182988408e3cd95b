//! The block tree against a plain list of chunks: what is in it, what it shares, and what a comparison sees.

use crate::repository::format::node::StoredNode;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::mem;
use std::sync::{Arc, Mutex};

use crate::base::extent::ExtentSet;
use crate::repository::format::frame::{Codec, FrameKind};
use crate::repository::format::node::{ChunkEntry, FAN_OUT, FrameRef, Node, NodeRef, StoredChunk};
use crate::repository::format::point::Tree;
use crate::repository::frame::{PackBuilder, Payload};
use crate::repository::ids::{ContentId, LeaseId, PackId};
use crate::repository::tree::{Basis, TreeBuilder, TreeReader, TreeVisitor, chunks_below, walk};
use crate::repository::{Repository, RepositoryError, names};
use crate::store::Store;
use crate::store::memory::Memory;
use crate::testkit::manual_clock::ManualClock;
use crate::testkit::trial::{self, environment};

const CHUNK: u64 = 4096;

/// A volume as a list: what stands at each chunk, zero for a hole.
type Model = Vec<u32>;

struct Workshop {
    repository: Repository,
    stored: Mutex<Vec<u8>>,
}

impl Workshop {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::default());
        let store: Arc<dyn Store> = Arc::new(Memory::new(clock.clone()));
        Self { repository: trial::init(&store, environment(&clock, 1)).unwrap(), stored: Mutex::default() }
    }

    /// Seals one node in a pack of its own, and writes down its level.
    fn store(&self, bytes: &[u8]) -> Result<FrameRef, RepositoryError> {
        self.stored.lock().unwrap().push(bytes[1]);
        let entropy = self.repository.environment.entropy.as_ref();
        let mut pack = PackBuilder::new(&self.repository.ring, entropy, LeaseId([0; 16]), Vec::new())?;
        let raw_length = bytes.len() as u32;
        let frame = pack.add(&Payload { kind: FrameKind::Node, codec: Codec::None, raw_length, bytes })?;
        let (id, bytes) = pack.finish();
        self.repository.store.put(&names::pack(id), bytes.into())?;
        Ok(frame)
    }

    /// Levels of the nodes stored since the last time.
    fn take_stored(&self) -> Vec<u8> {
        mem::take(&mut *self.stored.lock().unwrap())
    }

    fn reader(&self, tree: Tree) -> TreeReader {
        self.repository.tree_reader(tree, 64)
    }

    /// Builds `new` over `old`, putting the leaves of `touched` and sharing the rest.
    fn build(&self, old: Option<Tree>, new: &Model, touched: &BTreeSet<u64>) -> Tree {
        let mut old = old.map(|tree| self.reader(tree));
        let mut store = |bytes: &[u8]| self.store(bytes);
        let mut basis = Basis { old: old.as_mut(), ring: &self.repository.ring, store: &mut store };
        let mut builder = TreeBuilder::new(new.len() as u64 * CHUNK, CHUNK as u32);
        for leaf in touched {
            builder.share_until(leaf * FAN_OUT as u64, &mut basis).unwrap();
            let start = *leaf as usize * FAN_OUT;
            let end = (start + FAN_OUT).min(new.len());
            builder.put_leaf(new[start..end].iter().map(|chunk| entry(*chunk)).collect(), &mut basis).unwrap();
        }
        builder.finish(&mut basis).unwrap()
    }

    fn contents(&self, tree: &Tree) -> Model {
        let mut all = Walked(vec![0; tree.chunk_count() as usize]);
        walk(tree, &mut self.repository.fetcher(), &self.repository.ring, &mut all).unwrap();
        all.0
    }
}

struct Walked(Model);

impl TreeVisitor for Walked {
    fn enter(&mut self, _: &StoredNode, _: u8, _: u64) -> Result<bool, RepositoryError> {
        Ok(true)
    }
    fn leaf(&mut self, first: u64, entries: &[ChunkEntry]) -> Result<(), RepositoryError> {
        for (index, entry) in (first as usize..).zip(entries) {
            self.0[index] = number(entry);
        }
        Ok(())
    }
    fn lost(&mut self, _: &StoredNode, _: u64, _: u64, error: RepositoryError) -> Result<(), RepositoryError> {
        Err(error)
    }
}

fn entry(number: u32) -> ChunkEntry {
    let mut id = [0; 32];
    id[..4].copy_from_slice(&number.to_le_bytes());
    let frame = FrameRef { pack: PackId([1; 16]), slot: number, offset: 64, stored: 10 };
    if number == 0 { ChunkEntry::Hole } else { ChunkEntry::Stored(StoredChunk { id: ContentId(id), frame, place: 0 }) }
}

fn number(entry: &ChunkEntry) -> u32 {
    entry.stored().map_or(0, |stored| u32::from_le_bytes([stored.id.0[0], stored.id.0[1], stored.id.0[2], stored.id.0[3]]))
}

/// Leaves that a writer must put: those that changed, and at a change of size those from the leaf of the smaller end on.
fn touched(old: &Model, new: &Model) -> BTreeSet<u64> {
    let leaf = FAN_OUT;
    let leaves = new.len().div_ceil(leaf);
    let smaller_end = old.len().min(new.len()) / leaf;
    (0..leaves)
        .filter(|index| {
            let at = |model: &Model, chunk: usize| model.get(chunk).copied().unwrap_or(0);
            let changed = (index * leaf..(index + 1) * leaf).any(|chunk| at(old, chunk) != at(new, chunk));
            changed || (old.len() != new.len() && *index >= smaller_end)
        })
        .map(|index| index as u64)
        .collect()
}

#[derive(Debug, Clone)]
enum Step {
    Set { at: usize, count: usize, number: u32 },
    Resize(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (0usize..9_000, 1usize..200, 0u32..50).prop_map(|(at, count, number)| Step::Set { at, count, number }),
        1 => prop_oneof![0usize..200, 4_000usize..4_200, 0usize..9_000].prop_map(Step::Resize),
    ]
}

fn apply(model: &mut Model, step: &Step, counter: &mut u32) {
    match step {
        Step::Resize(length) => model.resize(*length, 0),
        Step::Set { at, count, number } => {
            for chunk in model.iter_mut().skip(*at).take(*count) {
                *counter += 1;
                *chunk = if *number == 0 { 0 } else { *counter };
            }
        }
    }
}

fn chunks_of(extents: &ExtentSet) -> BTreeSet<u64> {
    extents.as_slice().iter().flat_map(|extent| extent.offset / CHUNK..extent.end().div_ceil(CHUNK)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(60) })]

    #[test]
    fn trees_hold_what_the_plain_list_holds_and_differ_where_it_differs(
        size in 0usize..9_000, steps in prop::collection::vec(prop::collection::vec(step(), 0..4), 1..5),
    ) {
        let workshop = Workshop::new();
        let mut counter = 0;
        let mut model: Model = (0..size).map(|chunk| if chunk % 700 < 300 { 1_000_000 + chunk as u32 } else { 0 }).collect();
        let all = (0..size.div_ceil(FAN_OUT) as u64).collect();
        let mut history = vec![(workshop.build(None, &model, &all), model.clone())];
        for changes in steps {
            let (old_tree, old) = history.last().unwrap().clone();
            changes.iter().for_each(|step| apply(&mut model, step, &mut counter));
            let tree = workshop.build(Some(old_tree), &model, &touched(&old, &model));
            prop_assert_eq!(tree.level, Tree::level_for(model.len() as u64));
            history.push((tree, model.clone()));
        }
        for (tree, model) in &history {
            prop_assert!(workshop.contents(tree) == *model);
        }
        for (old_tree, old) in &history {
            for (new_tree, new) in &history {
                let found = chunks_of(&workshop.repository.diff(old_tree, new_tree).unwrap());
                let at = |model: &Model, chunk: u64| model.get(chunk as usize).copied();
                let expected: BTreeSet<u64> =
                    (0..old.len().max(new.len()) as u64).filter(|chunk| at(old, *chunk) != at(new, *chunk)).collect();
                prop_assert_eq!(found, expected);
            }
        }
    }

    #[test]
    fn exactly_the_touched_paths_are_stored(
        size in 1usize..9_000, changed in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let workshop = Workshop::new();
        let model: Model = (1..=size as u32).collect();
        let all = (0..size.div_ceil(FAN_OUT) as u64).collect();
        let old = workshop.build(None, &model, &all);
        let _ = workshop.take_stored();
        let mut new = model.clone();
        changed.iter().for_each(|index| new[index.index(size)] += 100_000);
        workshop.build(Some(old), &new, &touched(&model, &new));
        let mut expected = Vec::new();
        for level in 0..=old.level {
            let nodes: BTreeSet<u64> = (0..size as u64).filter(|chunk| new[*chunk as usize] != model[*chunk as usize]).map(|chunk| chunk / chunks_below(level)).collect();
            expected.extend(nodes.iter().map(|_| level));
        }
        let mut stored = workshop.take_stored();
        stored.sort_unstable();
        prop_assert_eq!(stored, expected);
    }
}

#[test]
fn a_leaf_that_is_put_again_unchanged_is_shared() {
    let workshop = Workshop::new();
    let model: Model = (1..5_000).collect();
    let all: BTreeSet<u64> = (0..model.len().div_ceil(FAN_OUT) as u64).collect();
    let old = workshop.build(None, &model, &all);
    let _ = workshop.take_stored();
    let again = workshop.build(Some(old), &model, &all);
    assert_eq!(workshop.take_stored(), Vec::<u8>::new());
    assert_eq!(again, old);
}

#[test]
fn a_volume_of_holes_has_no_nodes() {
    let workshop = Workshop::new();
    for chunks in [0, 1, 64, 65, 4_097] {
        let model = vec![0; chunks];
        let all = (0..chunks.div_ceil(FAN_OUT) as u64).collect();
        assert_eq!(workshop.build(None, &model, &all).root, NodeRef::Hole);
    }
    assert!(workshop.take_stored().is_empty());
    assert_eq!(Node::Leaf(vec![ChunkEntry::Hole; 64]).encode().len(), 5);
}
