//! Checks with keys: is every point whole, and if not, which bytes of which point are lost.

mod copies;

use std::collections::HashMap;
use std::ops::ControlFlow;

use super::chunks::VolumePiece;
use super::error::RepositoryError;
use super::fetch::read_slots;
use super::format::node::{ChunkEntry, FrameRef, StoredNode};
use super::format::pack::{PACK_HEADER_BYTES, PackHeader};
use super::format::point::{Previous, Tree};
use super::frame::describe;
use super::ids::{PackId, PointId};
use super::live::SlotSet;
use super::points::ListedPoint;
use super::tree::{TreeVisitor, walk};
use super::{ChunkReader, Repository, chunk_extent, names};
use crate::base::extent::ExtentSet;
use crate::base::progress::{Progress, Step};
use copies::Copies;

/// How closely to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckDepth {
    /// Manifests, chain, trees, and that every pack they name is there.
    Quick,
    /// All that, every chunk read and held against its id, and every pack's header and table.
    Deep,
}

/// Damage in one point.
#[derive(Debug)]
pub struct PointDamage {
    /// The point.
    pub id: PointId,
    /// Its volume.
    pub volume: String,
    /// The bytes that its own packs cannot give back.
    pub extents: ExtentSet,
    /// How many of them other packs hold too, from which readers take them. After a quick look, as far as these packs are there.
    pub held_elsewhere_bytes: u64,
}

/// What a check found.
#[derive(Debug, Default)]
pub struct CheckReport {
    /// Points looked at.
    pub points: u64,
    /// Packs in the store.
    pub packs: u64,
    /// Bytes of chunks read and verified, before compression.
    pub verified_bytes: u64,
    /// Objects that are damaged or missing, each once, and how.
    pub objects: Vec<String>,
    /// Objects beyond the first a thousand.
    pub objects_left_out: u64,
    /// Points hit by that, and exactly where.
    pub damage: Vec<PointDamage>,
    /// Points whose file catalog is damaged. Their volumes are not touched by that.
    pub catalogs: Vec<(PointId, String)>,
    /// Points whose predecessor is neither there nor forgotten on purpose, or has changed.
    pub chain_breaks: Vec<(PointId, Previous)>,
}

impl CheckReport {
    /// True when nothing is wrong.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.objects.is_empty() && self.damage.is_empty() && self.catalogs.is_empty() && self.chain_breaks.is_empty()
    }

    fn object(&mut self, message: String) {
        if self.objects.len() < MAX_OBJECTS { self.objects.push(message) } else { self.objects_left_out += 1 }
    }
}

/// More damaged objects than this are only counted.
pub(crate) const MAX_OBJECTS: usize = 1_000;

impl Repository {
    /// Looks at every point. Fails only if the store is out of reach; damage is the report's content.
    pub fn check(&self, depth: CheckDepth, progress: &dyn Progress) -> Result<CheckReport, RepositoryError> {
        let mut report = CheckReport::default();
        let mut packs = HashMap::new();
        self.store.list(names::PACKS, &mut |entry| {
            names::parse_pack(&entry.key).map(|id| packs.insert(id, entry.size));
            ControlFlow::Continue(())
        })?;
        report.packs = packs.len() as u64;
        let listing = self.points()?;
        report.points = listing.points.len() as u64;
        listing.damaged.iter().for_each(|(_, error)| report.object(error.to_string()));
        self.check_small_objects(&mut report)?;
        report.chain_breaks = self.chain_breaks(&listing.points, &self.verdicts()?);

        if depth == CheckDepth::Deep {
            packs.keys().try_for_each(|pack| self.check_pack_ends(*pack, &mut report))?;
        }

        let total = listing.points.iter().fold(0u64, |total, point| total.saturating_add(point.point.content_bytes()));
        progress.begin("checking", total);
        let mut visitor = CheckVisitor {
            repository: self,
            tree: None,
            reader: (depth == CheckDepth::Deep).then(|| self.chunk_reader()),
            packs,
            tables: None,
            seen: SlotSet::default(),
            bad: SlotSet::default(),
            report: &mut report,
        };
        for point in &listing.points {
            visitor.tree = Some(point.point.tree);
            walk(&point.point.tree, &mut self.fetcher(), &self.ring, &mut visitor)?;
            if let Some(catalog) = &point.point.catalog {
                visitor.tree = Some(catalog.tree);
                walk(&catalog.tree, &mut self.fetcher(), &self.ring, &mut visitor)?;
            }
            progress.step(Step { done_bytes: point.point.content_bytes(), new_bytes: 0 });
        }
        let bad = visitor.bad;
        progress.finish();
        if !bad.is_empty() {
            let copies = Copies::find(self, &listing.points, &bad)?;
            for point in &listing.points {
                let (extents, held_elsewhere_bytes) = self.lost_extents(&point.point.tree, &bad, &copies)?;
                if !extents.is_empty() {
                    let volume = point.point.volume.clone();
                    report.damage.push(PointDamage { id: point.id, volume, extents, held_elsewhere_bytes });
                }
                if let Some(catalog) = &point.point.catalog
                    && !self.lost_extents(&catalog.tree, &bad, &copies)?.0.is_empty()
                {
                    report.catalogs.push((point.id, point.point.volume.clone()));
                }
            }
        }
        Ok(report)
    }

    /// Header and table of a pack, which reading its chunks may never touch.
    fn check_pack_ends(&self, pack: PackId, report: &mut CheckReport) -> Result<(), RepositoryError> {
        let key = names::pack(pack);
        let header = self.store.get_range(&key, 0..PACK_HEADER_BYTES as u64).map_err(RepositoryError::from);
        let header = header.and_then(|bytes| PackHeader::parse(&bytes).map_err(|error| RepositoryError::from_format(&key, error)));
        let problem = match header.and_then(|header| read_slots(self.store.as_ref(), pack).map(|_| header.id)) {
            Ok(id) if id == pack => return Ok(()),
            Ok(_) => RepositoryError::damaged(&key, "it belongs under another name"),
            // Collected between listing and reading.
            Err(RepositoryError::Store(error)) if error.is_not_found() => return Ok(()),
            Err(error) if error.is_damage() => error,
            Err(error) => return Err(error),
        };
        report.object(problem.to_string());
        Ok(())
    }

    /// Key slots that are damaged or not ours; verdicts, leases and condemned lists that cannot be read.
    fn check_small_objects(&self, report: &mut CheckReport) -> Result<(), RepositoryError> {
        self.slot_problems()?.iter().for_each(|problem| report.object(problem.to_string()));
        super::scrub::scrub_small(self.store.as_ref(), &self.ring.signers(), &mut |_, problem| {
            if let Some(problem) = problem {
                report.object(problem.to_string());
            }
        })
    }

    /// The bytes of a volume that lie in bad frames or below lost nodes, and how many of them have copies.
    fn lost_extents(&self, tree: &Tree, bad: &SlotSet, copies: &Copies) -> Result<(ExtentSet, u64), RepositoryError> {
        let mut lost = Vec::new();
        let mut held_elsewhere_bytes = 0;
        self.walk_volume(tree, &mut |piece| {
            match piece {
                VolumePiece::Hole(_) => {}
                VolumePiece::Lost { extent, .. } => lost.push(extent),
                VolumePiece::Chunks { first_chunk, entries, .. } => {
                    let hit = |entry: &ChunkEntry| entry.stored().is_some_and(|chunk| bad.contains(&chunk.frame));
                    for (index, entry) in (first_chunk..).zip(&entries).filter(|(_, entry)| hit(entry)) {
                        let extent = chunk_extent(tree, index);
                        lost.push(extent);
                        if entry.stored().is_some_and(|chunk| copies.hold(&chunk.id)) {
                            held_elsewhere_bytes += extent.length;
                        }
                    }
                }
            }
            Ok(())
        })?;
        Ok((lost.into_iter().collect(), held_elsewhere_bytes))
    }

    /// The bytes of one point that cannot be given back, every chunk read and verified.
    pub fn verify_point(&self, point: &ListedPoint) -> Result<ExtentSet, RepositoryError> {
        let tree = point.point.tree;
        let mut reader = self.chunk_reader();
        let mut lost = Vec::new();
        self.walk_volume(&tree, &mut |piece| match piece {
            VolumePiece::Hole(_) => Ok(()),
            VolumePiece::Lost { extent, .. } => {
                lost.push(extent);
                Ok(())
            }
            VolumePiece::Chunks { first_chunk, entries, .. } => reader.read(&tree, first_chunk, &entries, &mut |extent, chunk| {
                if chunk.is_err() {
                    lost.push(extent);
                }
                Ok(())
            }),
        })?;
        Ok(lost.into_iter().collect())
    }
}

struct CheckVisitor<'a> {
    repository: &'a Repository,
    tree: Option<Tree>,
    /// Present for a deep check.
    reader: Option<ChunkReader>,
    packs: HashMap<PackId, u64>,
    /// The table of the pack looked up last, for hints that have grown old.
    tables: Option<(PackId, Vec<super::format::pack::PackSlot>)>,
    /// Nodes visited already, by frame.
    seen: SlotSet,
    bad: SlotSet,
    report: &'a mut CheckReport,
}

impl CheckVisitor<'_> {
    fn mark_bad(&mut self, frame: &FrameRef, message: String) {
        if self.bad.insert(frame) {
            self.report.object(message);
        }
    }

    /// Finds out without reading the frame whether it can be there.
    fn check_place(&mut self, frame: &FrameRef) -> Result<(), RepositoryError> {
        let Some(size) = self.packs.get(&frame.pack).copied() else {
            self.mark_bad(frame, format!("{}: its pack is missing", describe(frame)));
            return Ok(());
        };
        if u64::from(frame.offset) + u64::from(frame.stored) <= size || self.slot_is_live(frame)? {
            return Ok(());
        }
        self.mark_bad(frame, format!("{}: its pack is cut short", describe(frame)));
        Ok(())
    }

    fn slot_is_live(&mut self, frame: &FrameRef) -> Result<bool, RepositoryError> {
        if self.tables.as_ref().is_none_or(|(pack, _)| *pack != frame.pack) {
            let slots = match read_slots(self.repository.store.as_ref(), frame.pack) {
                Ok(slots) => slots,
                Err(error) if error.is_damage() => Vec::new(),
                Err(error) => return Err(error),
            };
            self.tables = Some((frame.pack, slots));
        }
        let slots = self.tables.as_ref().map(|(_, slots)| slots.as_slice()).unwrap_or_default();
        Ok(slots.get(frame.slot as usize).is_some_and(super::format::pack::PackSlot::is_live))
    }

    fn check_chunks(&mut self, first_chunk: u64, entries: &[ChunkEntry]) -> Result<(), RepositoryError> {
        let (Some(tree), Some(mut reader)) = (self.tree, self.reader.take()) else { return Ok(()) };
        let frame_of = |place: u64| {
            let index = usize::try_from(place / u64::from(tree.chunk_bytes) - first_chunk).unwrap_or(usize::MAX);
            entries.get(index).and_then(ChunkEntry::stored).map(|chunk| chunk.frame)
        };
        let result = reader.read(&tree, first_chunk, entries, &mut |extent, chunk| {
            match (chunk, frame_of(extent.offset)) {
                (Ok(_), _) => self.report.verified_bytes += extent.length,
                (Err(error), Some(frame)) => self.mark_bad(&frame, error.to_string()),
                (Err(error), None) => return Err(error),
            }
            Ok(())
        });
        self.reader = Some(reader);
        result
    }
}

impl TreeVisitor for CheckVisitor<'_> {
    fn enter(&mut self, node: &StoredNode, _level: u8, _first_chunk: u64) -> Result<bool, RepositoryError> {
        Ok(self.seen.insert(&node.frame))
    }

    fn leaf(&mut self, first_chunk: u64, entries: &[ChunkEntry]) -> Result<(), RepositoryError> {
        if self.reader.is_some() {
            return self.check_chunks(first_chunk, entries);
        }
        entries.iter().filter_map(ChunkEntry::stored).try_for_each(|chunk| self.check_place(&chunk.frame))
    }

    fn lost(&mut self, node: &StoredNode, _first_chunk: u64, _count: u64, error: RepositoryError) -> Result<(), RepositoryError> {
        self.mark_bad(&node.frame, error.to_string());
        Ok(())
    }
}
