//! Which chunks of the log are in use, which nothing uses any more, and which are too empty to be kept.

use std::collections::HashMap;
use std::mem;

use super::error::FileTreeError;
use super::survey::Survey;
use crate::base::extent::{Extent, ExtentSet};
use crate::filesystem::file_tree::{FileTree, TreeRecord};

/// Extents are sorted in batches: most come in order, and one by one those that do not would be dear.
const BATCH: usize = 128 << 10;
/// Chunks of packed bytes that are measured: 40 MB, and 128 GiB of small files. Those beyond count as full.
const MAX_MEASURED: usize = 8 << 20;

/// Extents gathered to a set.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    set: ExtentSet,
    pending: Vec<Extent>,
}

impl Gathered {
    pub(super) fn add(&mut self, extent: Extent) {
        if extent.is_empty() {
            return;
        }
        match self.pending.last_mut() {
            Some(last) if last.end() >= extent.offset && last.offset <= extent.offset => {
                *last = Extent::between(last.offset, last.end().max(extent.end()));
            }
            _ => self.pending.push(extent),
        }
        if self.pending.len() >= BATCH {
            self.join();
        }
    }

    fn join(&mut self) {
        let pending: ExtentSet = mem::take(&mut self.pending).into_iter().collect();
        self.set = self.set.union(&pending);
    }

    /// The chunks of all that a record uses.
    pub(super) fn add_record(&mut self, record: &TreeRecord, chunk: u64) {
        self.add(record.content.align_outward(chunk));
        self.add(record.appendix.align_outward(chunk));
    }

    pub(super) fn finish(mut self) -> ExtentSet {
        self.join();
        self.set
    }
}

/// The earlier tree's chunks.
#[derive(Debug, Default)]
pub(super) struct Occupancy {
    /// Nothing uses these any more.
    pub(super) dead: ExtentSet,
    /// Something does, as far as the walk could tell.
    pub(super) kept: ExtentSet,
    /// Bytes in use of chunks that hold packed things.
    packed: HashMap<u64, u32>,
    chunk: u64,
}

impl Occupancy {
    /// Measures the earlier tree against what the walk found.
    pub(super) fn measure(survey: &Survey<'_>, earlier: &FileTree) -> Result<Self, FileTreeError> {
        let chunk = u64::from(survey.request.chunk_bytes);
        let mut occupancy = Self { chunk, ..Self::default() };
        let (mut all, mut kept) = (Gathered::default(), Gathered::default());
        earlier.each_record(&mut |number, record| {
            all.add_record(&record, chunk);
            if survey.is_present(number) {
                kept.add_record(&record, chunk);
                packed_parts(&record, chunk).into_iter().for_each(|part| occupancy.count(part));
            }
            Ok::<_, FileTreeError>(())
        })?;
        all.add(earlier.state().idle.align_outward(chunk));
        occupancy.kept = kept.finish();
        occupancy.dead = all.finish().union(&earlier.idle()?.align_outward(chunk, u64::MAX)).difference(&occupancy.kept);
        Ok(occupancy)
    }

    fn count(&mut self, part: Extent) {
        for piece in part.cut(self.chunk) {
            let chunk = piece.offset / self.chunk;
            if self.packed.len() < MAX_MEASURED || self.packed.contains_key(&chunk) {
                let used = self.packed.entry(chunk).or_default();
                *used = used.saturating_add(u32::try_from(piece.length).unwrap_or(u32::MAX));
            }
        }
    }

    /// True if what is packed here should go elsewhere, so that its chunk becomes a hole: more than half of it is in nobody's use.
    pub(super) fn is_thin(&self, part: Extent) -> bool {
        let is_thin =
            |piece: Extent| self.packed.get(&(piece.offset / self.chunk)).is_some_and(|used| u64::from(*used) * 2 < self.chunk);
        // A long appendix fills its inner chunks.
        part.length <= self.chunk && part.cut(self.chunk).any(is_thin)
    }
}

/// What of a record shares chunks with others.
fn packed_parts(record: &TreeRecord, chunk: u64) -> Vec<Extent> {
    let content = Some(record.content).filter(|content| record.is_packed() && content.length <= chunk);
    content.into_iter().chain([record.appendix]).filter(|part| !part.is_empty()).collect()
}
