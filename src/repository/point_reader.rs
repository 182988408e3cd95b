//! A recovery point read like a device: any bytes at any place, each verified against the id that the tree reaches.
//!
//! Only what is asked for is fetched: the leaves that name the chunks, and the chunks, neighbours in a pack together. Several threads
//! may read at once. What the point lacks, and what is damaged, is [`IoError::Missing`] for just those bytes.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Repository;
use super::chunk_cache::ChunkCache;
use super::chunks::{ChunkReader, chunk_extent};
use super::error::RepositoryError;
use super::fetch::FrameFetcher;
use super::format::node::{ChunkEntry, FAN_OUT_U64};
use super::format::point::Tree;
use super::keyring::Keyring;
use super::points::ListedPoint;
use super::tree::{NodeCache, TreeReader};
use crate::base::extent::{Extent, ExtentSet};
use crate::base::io::{IoError, ReadAt};
use crate::store::Store;
use crate::store::counting::Counting;

/// Some 10 MiB, and the leaves of 32 GiB of 16 KiB chunks.
const CACHED_NODES: usize = 2048;
/// Chunks that are likely to be asked for again. With the nodes and the buffers of a few readers this stays below 64 MiB.
const CACHED_CHUNK_BYTES: usize = 40 << 20;
/// Reads up to this length are metadata, whose neighbours are wanted next; of longer ones only the chunks at the ends are.
const SHORT_READ_BYTES: u64 = 64 << 10;
/// One look at the tree and one round of requests covers this much, which bounds memory.
const RUN_BYTES: u64 = 4 << 20;

/// A recovery point whose bytes can be read at any place.
#[derive(Debug)]
pub struct PointReader {
    tree: Tree,
    lost_at_source: ExtentSet,
    omitted: ExtentSet,
    store: Arc<Counting>,
    ring: Arc<Keyring>,
    nodes: Mutex<TreeReader>,
    chunks: Mutex<ChunkCache>,
    /// Chunk readers that no thread uses now; never more than threads have read at once.
    idle: Mutex<Vec<ChunkReader>>,
}

impl Repository {
    /// Reads the volume of a point at any place.
    #[must_use]
    pub fn read_point(&self, point: &ListedPoint) -> PointReader {
        let store = Arc::new(Counting::new(Arc::clone(&self.store)));
        let ring = Arc::clone(&self.ring);
        let tree = point.point.tree;
        let nodes = TreeReader::new(tree, Arc::clone(&ring), fetcher(&store, &ring), NodeCache::new(CACHED_NODES));
        PointReader {
            tree,
            lost_at_source: point.point.unreadable.clone(),
            omitted: point.point.omitted.clone(),
            store,
            ring,
            nodes: Mutex::new(nodes),
            chunks: Mutex::new(ChunkCache::new(CACHED_CHUNK_BYTES)),
            idle: Mutex::default(),
        }
    }
}

fn fetcher(store: &Arc<Counting>, ring: &Arc<Keyring>) -> FrameFetcher {
    FrameFetcher::new(Arc::clone(store) as Arc<dyn Store>, Arc::clone(ring))
}

impl PointReader {
    /// Bytes brought from the store until now, tree included.
    #[must_use]
    pub fn fetched_bytes(&self) -> u64 {
        self.store.read_bytes()
    }

    fn refuse_gaps(&self, extent: &Extent) -> Result<(), IoError> {
        if let Some(lost) = self.lost_at_source.first_within(extent) {
            return Err(lost_at_source(lost));
        }
        match self.omitted.first_within(extent) {
            Some(extent) => Err(IoError::Missing { extent, reason: OMITTED.to_owned() }),
            None => Ok(()),
        }
    }

    /// Reads up to [`RUN_BYTES`].
    fn read_run(&self, run: Extent, out: &mut [u8]) -> Result<(), IoError> {
        let chunk_bytes = u64::from(self.tree.chunk_bytes).max(1);
        let first_chunk = run.offset / chunk_bytes;
        let mut wanted = self.entries(first_chunk, run.end().div_ceil(chunk_bytes))?;
        for (index, entry) in (first_chunk..).zip(&mut wanted) {
            self.answer_at_hand(index, entry, run, out)?;
        }
        if wanted.iter().any(|entry| entry.stored().is_some()) { self.fetch(first_chunk, &wanted, run, out) } else { Ok(()) }
    }

    /// What the chunks from `first_chunk` up to, not including, `end_chunk` are.
    fn entries(&self, first_chunk: u64, end_chunk: u64) -> Result<Vec<ChunkEntry>, IoError> {
        let mut entries = Vec::new();
        let mut nodes = lock(&self.nodes);
        let mut leaf_first = first_chunk - first_chunk % FAN_OUT_U64;
        while leaf_first < end_chunk {
            let leaf_end = leaf_first.saturating_add(FAN_OUT_U64);
            let wanted = first_chunk.max(leaf_first)..end_chunk.min(leaf_end);
            let leaf = nodes.leaf(leaf_first).map_err(|error| refusal(self.extent_of(wanted.start, wanted.end), error))?;
            let skip = to_index(wanted.start - leaf_first);
            entries.extend(leaf.into_iter().skip(skip).take(to_index(wanted.end - wanted.start)));
            leaf_first = leaf_end;
        }
        Ok(entries)
    }

    fn extent_of(&self, first_chunk: u64, end_chunk: u64) -> Extent {
        let (first, last) = (chunk_extent(&self.tree, first_chunk), chunk_extent(&self.tree, end_chunk.saturating_sub(1)));
        Extent::between(first.offset, last.end())
    }

    /// Answers for a chunk that needs no fetching, and leaves a hole in its place.
    fn answer_at_hand(&self, index: u64, entry: &mut ChunkEntry, run: Extent, out: &mut [u8]) -> Result<(), IoError> {
        let extent = chunk_extent(&self.tree, index);
        match entry {
            ChunkEntry::Hole => fill_zeros(extent, run, out),
            ChunkEntry::Unreadable => return Err(lost_at_source(extent.intersect(&run))),
            ChunkEntry::Stored(_) | ChunkEntry::StoredWithGaps(_) => {
                if let Some(bytes) = lock(&self.chunks).get(index) {
                    copy_overlap(extent, &bytes, run, out);
                    *entry = ChunkEntry::Hole;
                }
            }
        }
        Ok(())
    }

    /// Brings what is stored among `wanted`. Of several damaged chunks the first is named.
    fn fetch(&self, first_chunk: u64, wanted: &[ChunkEntry], run: Extent, out: &mut [u8]) -> Result<(), IoError> {
        let idle = lock(&self.idle).pop();
        let mut reader = idle.unwrap_or_else(|| ChunkReader::new(fetcher(&self.store, &self.ring), Arc::clone(&self.ring)));
        let mut lost: Option<(Extent, RepositoryError)> = None;
        let read = reader.read(&self.tree, first_chunk, wanted, &mut |extent, chunk| {
            match chunk {
                Ok(bytes) => self.deliver(extent, bytes, run, out),
                Err(error) if lost.as_ref().is_none_or(|(known, _)| extent < *known) => lost = Some((extent, error)),
                Err(_) => {}
            }
            Ok(())
        });
        lock(&self.idle).push(reader);
        read.map_err(|error| refusal(run, error))?;
        match lost {
            Some((extent, error)) => Err(refusal(extent.intersect(&run), error)),
            None => Ok(()),
        }
    }

    fn deliver(&self, extent: Extent, bytes: &[u8], run: Extent, out: &mut [u8]) {
        copy_overlap(extent, bytes, run, out);
        if run.length <= SHORT_READ_BYTES || extent.intersect(&run) != extent {
            lock(&self.chunks).insert(extent.offset / u64::from(self.tree.chunk_bytes).max(1), bytes);
        }
    }
}

impl ReadAt for PointReader {
    fn size(&self) -> u64 {
        self.tree.size
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<(), IoError> {
        let (extent, size) = (Extent { offset, length: out.len() as u64 }, self.tree.size);
        if offset.checked_add(extent.length).is_none_or(|end| end > size) {
            return Err(IoError::OutOfRange { extent, size });
        }
        self.refuse_gaps(&extent)?;
        let mut rest = out;
        for run in extent.cut(RUN_BYTES) {
            let (now, later) = rest.split_at_mut(to_index(run.length).min(rest.len()));
            self.read_run(run, now)?;
            rest = later;
        }
        Ok(())
    }
}

const OMITTED: &str = "no file used it when the point was taken, so it was left out";

fn lost_at_source(extent: Extent) -> IoError {
    IoError::Missing { extent, reason: "the source could not be read there when the point was taken".to_owned() }
}

/// Damage is a gap in the data; anything else is a failure, which the caller finds again inside the error.
fn refusal(extent: Extent, error: RepositoryError) -> IoError {
    match error {
        RepositoryError::Cancelled => IoError::Cancelled,
        error if error.is_damage() => IoError::Missing { extent, reason: error.to_string() },
        error => IoError::Os { act: "read", extent, source: io::Error::other(error) },
    }
}

fn fill_zeros(extent: Extent, run: Extent, out: &mut [u8]) {
    let both = extent.intersect(&run);
    let from = to_index(both.offset.saturating_sub(run.offset));
    if let Some(out) = out.get_mut(from..from.saturating_add(to_index(both.length))) {
        out.fill(0);
    }
}

/// Copies what `out`, which is `run` of the volume, wants of the chunk at `extent`.
fn copy_overlap(extent: Extent, bytes: &[u8], run: Extent, out: &mut [u8]) {
    let both = extent.intersect(&run);
    let (from, to) = (to_index(both.offset.saturating_sub(extent.offset)), to_index(both.offset.saturating_sub(run.offset)));
    let length = to_index(both.length);
    let source = bytes.get(from..from.saturating_add(length));
    if let (Some(source), Some(target)) = (source, out.get_mut(to..to.saturating_add(length))) {
        target.copy_from_slice(source);
    }
}

fn to_index(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
