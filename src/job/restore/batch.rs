//! One batch of a restore: its chunks put together in memory, then written in as few pieces as they make.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::memory::AlignedMemory;
use super::{RestoreOptions, RestoreReport, RestoreTarget};
use crate::base::extent::{Extent, ExtentSet};
use crate::base::finding::Finding;
use crate::base::progress::{Progress, Step};
use crate::job::JobError;
use crate::repository::format::node::ChunkEntry;
use crate::repository::format::point::{Point, Tree};
use crate::repository::{ChunkReader, RepositoryError, chunk_extent};

/// Zeros are compared with the target in pieces of this many bytes.
const COMPARE_BYTES: u64 = 1 << 20;
/// Findings beyond this many are joined to the last one's reason; their ranges are kept exactly.
const MAX_REASONS: usize = 10_000;

/// Writes batches from several threads and keeps the count.
#[derive(Debug)]
pub(super) struct BatchWriter<'a> {
    tree: &'a Tree,
    target: &'a dyn RestoreTarget,
    options: RestoreOptions,
    lost_at_source: &'a ExtentSet,
    omitted: &'a ExtentSet,
    progress: &'a dyn Progress,
    written: AtomicU64,
    zeroed: AtomicU64,
    same: AtomicU64,
    failed: AtomicBool,
    damaged: Mutex<Vec<(Extent, String)>>,
}

impl<'a> BatchWriter<'a> {
    pub(super) fn new(
        point: &'a Point,
        target: &'a dyn RestoreTarget,
        options: RestoreOptions,
        progress: &'a dyn Progress,
    ) -> Self {
        Self {
            tree: &point.tree,
            target,
            options,
            lost_at_source: &point.unreadable,
            omitted: &point.omitted,
            progress,
            written: AtomicU64::new(0),
            zeroed: AtomicU64::new(0),
            same: AtomicU64::new(0),
            failed: AtomicBool::new(false),
            damaged: Mutex::new(Vec::new()),
        }
    }

    /// True once some thread failed, or damage was found that must not be gone around.
    pub(super) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    pub(super) fn fail(&self) {
        self.failed.store(true, Ordering::Relaxed);
    }

    /// Notes that a range cannot be given back.
    pub(super) fn damaged(&self, extent: Extent, error: &RepositoryError) {
        let mut damaged = self.damaged.lock().unwrap_or_else(PoisonError::into_inner);
        let reason = if damaged.len() < MAX_REASONS { error.to_string() } else { "as before".to_owned() };
        damaged.push((extent, reason));
        if !self.options.degraded {
            self.fail();
        }
        self.advance(extent.length, 0);
    }

    /// Makes a range of the target zero.
    pub(super) fn zero(&self, extent: Extent, memory: &mut AlignedMemory) -> Result<(), JobError> {
        if self.options.target_is_zero {
            self.zeroed.fetch_add(extent.length, Ordering::Relaxed);
        } else if self.options.only_differences {
            // Whatever stands where nobody knows what the source held is as good as zeros, and costs no write.
            let known = ExtentSet::from(extent).difference(self.omitted);
            known.into_iter().flat_map(|part| part.cut(COMPARE_BYTES)).try_for_each(|piece| self.zero_if_not(piece, memory))?;
        } else {
            self.target.zero(extent)?;
            self.zeroed.fetch_add(extent.length, Ordering::Relaxed);
            if self.options.verify {
                extent.cut(COMPARE_BYTES).try_for_each(|piece| self.read_back_zeros(piece, memory))?;
            }
        }
        self.advance(extent.length, 0);
        Ok(())
    }

    fn zero_if_not(&self, extent: Extent, memory: &mut AlignedMemory) -> Result<(), JobError> {
        let (zeros, found) = memory.pair(to_length(extent));
        self.target.read_at(extent.offset, found)?;
        if zeros == found {
            self.same.fetch_add(extent.length, Ordering::Relaxed);
            return Ok(());
        }
        self.target.zero(extent)?;
        self.zeroed.fetch_add(extent.length, Ordering::Relaxed);
        if self.options.verify { self.read_back_zeros(extent, memory) } else { Ok(()) }
    }

    fn read_back_zeros(&self, extent: Extent, memory: &mut AlignedMemory) -> Result<(), JobError> {
        let (zeros, found) = memory.pair(to_length(extent));
        self.target.read_at(extent.offset, found)?;
        if zeros == found { Ok(()) } else { Err(JobError::ReadBack { extent }) }
    }

    /// Fetches, verifies and writes the chunks of a batch.
    pub(super) fn write(
        &self,
        reader: &mut ChunkReader,
        first_chunk: u64,
        entries: &[ChunkEntry],
        memory: &mut AlignedMemory,
    ) -> Result<(), JobError> {
        let places = || (first_chunk..).zip(entries).map(|(index, entry)| (chunk_extent(self.tree, index), entry));
        let Some(start) = places().next().map(|(extent, _)| extent.offset) else { return Ok(()) };
        let end = places().last().map_or(start, |(extent, _)| extent.end());
        let (wanted, found) = memory.pair(to_length(Extent::between(start, end)));
        let mut good = ExtentSet::new();
        let mut holes = ExtentSet::new();
        for (extent, entry) in places() {
            match entry {
                ChunkEntry::Hole => holes.insert(extent),
                // Listed in the point, and reported from there.
                ChunkEntry::Unreadable => self.advance(extent.length, 0),
                ChunkEntry::Stored(_) | ChunkEntry::StoredWithGaps(_) => {}
            }
        }
        reader.read(self.tree, first_chunk, entries, &mut |extent, chunk| {
            match chunk {
                Ok(chunk) => {
                    let at = to_index(extent.offset - start);
                    wanted[at..at + chunk.len()].copy_from_slice(chunk);
                    good.insert(extent);
                }
                Err(error) => self.damaged(extent, &error),
            }
            Ok(())
        })?;
        // What the source could not give is zero in memory only.
        let data = good.difference(self.lost_at_source);
        if self.options.only_differences {
            self.write_differences(start, &data, wanted, found)?;
        } else {
            data.as_slice().iter().try_for_each(|extent| self.write_piece(start, *extent, wanted, found))?;
        }
        self.advance(good.bytes(), data.bytes());
        holes.as_slice().iter().try_for_each(|hole| self.zero(*hole, memory))
    }

    fn write_differences(&self, start: u64, data: &ExtentSet, wanted: &[u8], found: &mut [u8]) -> Result<(), JobError> {
        let block = u64::from(self.tree.chunk_bytes);
        for extent in data {
            let range = to_index(extent.offset - start)..to_index(extent.end() - start);
            self.target.read_at(extent.offset, &mut found[range])?;
            let differs = |piece: &Extent| {
                let range = to_index(piece.offset - start)..to_index(piece.end() - start);
                wanted[range.clone()] != found[range]
            };
            let pieces: ExtentSet = extent.cut(block).filter(differs).collect();
            self.same.fetch_add(extent.length - pieces.bytes(), Ordering::Relaxed);
            pieces.as_slice().iter().try_for_each(|piece| self.write_piece(start, *piece, wanted, found))?;
        }
        Ok(())
    }

    fn write_piece(&self, start: u64, extent: Extent, wanted: &[u8], found: &mut [u8]) -> Result<(), JobError> {
        let range = to_index(extent.offset - start)..to_index(extent.end() - start);
        self.target.write_at(extent.offset, &wanted[range.clone()])?;
        self.written.fetch_add(extent.length, Ordering::Relaxed);
        if self.options.verify {
            self.target.read_at(extent.offset, &mut found[range.clone()])?;
            if wanted[range.clone()] != found[range] {
                return Err(JobError::ReadBack { extent });
            }
        }
        Ok(())
    }

    fn advance(&self, done_bytes: u64, new_bytes: u64) {
        self.progress.step(Step { done_bytes, new_bytes });
    }

    /// The count, with everything that was not restored.
    pub(super) fn into_report(self) -> RestoreReport {
        let damaged = self.damaged.into_inner().unwrap_or_else(PoisonError::into_inner);
        let lost = self.lost_at_source.as_slice().iter().map(|extent| Finding::Unreadable { extent: *extent });
        let damaged = damaged.into_iter().map(|(extent, reason)| Finding::Damaged { extent, reason });
        let mut findings: Vec<Finding> = lost.chain(damaged).collect();
        findings.sort_by_key(Finding::extent);
        RestoreReport {
            size: self.tree.size,
            written_bytes: self.written.into_inner(),
            zero_bytes: self.zeroed.into_inner(),
            same_bytes: self.same.into_inner(),
            omitted_bytes: self.omitted.bytes(),
            findings,
            ..RestoreReport::default()
        }
    }
}

/// A batch fits memory, and so does every place in it.
fn to_index(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

fn to_length(extent: Extent) -> usize {
    to_index(extent.length)
}
