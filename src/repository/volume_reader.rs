//! A volume read like a device: any bytes at any place, each chunk verified against the id that the tree reaches.
//!
//! Only what is asked for is fetched: the leaves that name the chunks, and the chunks, neighbours in a pack together. Several threads
//! may read at once. What the volume lacks, and what is damaged and held nowhere else, is [`IoError::Missing`] for just those bytes. The
//! volume may be that of a point, or of a backup whose point does not exist yet; then the source may answer in the store's stead, as
//! far as it agrees.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Repository;
use super::chunk_cache::ChunkCache;
use super::chunks::{ChunkReader, chunk_extent};
use super::elsewhere::{Elsewhere, FoundElsewhere};
use super::error::RepositoryError;
use super::fetch::FrameFetcher;
use super::format::node::{ChunkEntry, FAN_OUT_U64};
use super::format::point::Tree;
use super::gaps::{Gaps, lost_at_source};
use super::keyring::Keyring;
use super::points::ListedPoint;
use super::tree::{NodeCache, TreeReader};
use crate::base::extent::Extent;
use crate::base::io::{IoError, ReadAt};
use crate::store::Store;
use crate::store::counting::Counting;

/// Some 10 MiB, and the leaves of 2 GiB of 16 KiB chunks.
const CACHED_NODES: usize = 2048;
/// Chunks that are likely to be asked for again. With the nodes and the buffers of a few readers this stays below 64 MiB.
const CACHED_CHUNK_BYTES: usize = 40 << 20;
/// Reads up to this length are metadata, whose neighbours are wanted next; of longer ones only the chunks at the ends are.
const SHORT_READ_BYTES: u64 = 64 << 10;
/// This much is brought from beside when reads of metadata go on behind what is at hand.
const AHEAD_BYTES: u64 = 256 << 10;
/// Lost chunks that are remembered, so that whoever looks for the edges of a gap does not ask the store for each of them again.
const REMEMBERED_LOST: usize = 1 << 16;
/// One look at the tree and one round of requests covers this much, which bounds memory.
const RUN_BYTES: u64 = 4 << 20;

/// A volume whose bytes can be read at any place.
#[derive(Debug)]
pub struct VolumeReader {
    tree: Tree,
    gaps: Gaps,
    /// Where the same bytes may still be had faster. Nothing it gives is believed without its id.
    beside: Option<Arc<dyn ReadAt>>,
    /// Where damaged chunks are looked for.
    elsewhere: Option<Arc<Elsewhere>>,
    store: Arc<Counting>,
    ring: Arc<Keyring>,
    nodes: Mutex<TreeReader>,
    chunks: Mutex<ChunkCache>,
    /// Chunk readers that no thread uses now; never more than threads have read at once.
    idle: Mutex<Vec<ChunkReader>>,
    /// Chunks that cannot be had, and why.
    lost: Mutex<BTreeMap<u64, String>>,
}

impl Repository {
    /// Reads the volume of a point at any place. What its own packs have lost is taken from wherever else the repository holds it.
    #[must_use]
    pub fn read_point(&self, point: &ListedPoint) -> VolumeReader {
        let store = Arc::new(Counting::new(Arc::clone(&self.store)));
        let counted = Self { store: Arc::clone(&store) as Arc<dyn Store>, ..self.clone() };
        VolumeReader { elsewhere: Some(counted.elsewhere(point)), ..self.reader(store, point.point.tree, Gaps::of(point)) }
    }

    /// The same, sharing with others what was found in other places.
    #[must_use]
    pub fn read_point_with(&self, point: &ListedPoint, elsewhere: &Arc<Elsewhere>) -> VolumeReader {
        let store = Arc::new(Counting::new(Arc::clone(&self.store)));
        VolumeReader { elsewhere: Some(Arc::clone(elsewhere)), ..self.reader(store, point.point.tree, Gaps::of(point)) }
    }

    /// Reads the volume of `tree`, whose packs are durable, at any place. Chunks that `beside` still holds unchanged are taken from
    /// there.
    #[must_use]
    pub fn read_volume(&self, tree: Tree, gaps: Gaps, beside: Option<Arc<dyn ReadAt>>) -> VolumeReader {
        let store = Arc::new(Counting::new(Arc::clone(&self.store)));
        VolumeReader { beside, ..self.reader(store, tree, gaps) }
    }

    fn reader(&self, store: Arc<Counting>, tree: Tree, gaps: Gaps) -> VolumeReader {
        let ring = Arc::clone(&self.ring);
        let nodes = TreeReader::new(tree, Arc::clone(&ring), fetcher(&store, &ring), NodeCache::new(CACHED_NODES));
        VolumeReader {
            tree,
            gaps,
            beside: None,
            elsewhere: None,
            store,
            ring,
            nodes: Mutex::new(nodes),
            chunks: Mutex::new(ChunkCache::new(CACHED_CHUNK_BYTES)),
            idle: Mutex::default(),
            lost: Mutex::default(),
        }
    }
}

fn fetcher(store: &Arc<Counting>, ring: &Arc<Keyring>) -> FrameFetcher {
    FrameFetcher::new(Arc::clone(store) as Arc<dyn Store>, Arc::clone(ring))
}

impl VolumeReader {
    /// Bytes brought from the store until now, tree included.
    #[must_use]
    pub fn fetched_bytes(&self) -> u64 {
        self.store.read_bytes()
    }

    /// What its own packs have lost and other places gave, until now.
    #[must_use]
    pub fn found_elsewhere(&self) -> FoundElsewhere {
        self.elsewhere.as_ref().map(|elsewhere| elsewhere.found()).unwrap_or_default()
    }

    /// Reads up to [`RUN_BYTES`].
    fn read_run(&self, run: Extent, out: &mut [u8]) -> Result<(), IoError> {
        let chunk_bytes = self.chunk_bytes();
        let asked = run.offset / chunk_bytes..run.end().div_ceil(chunk_bytes);
        // The neighbours in a frame come with it, and only their leaf knows which they are.
        let seen = if is_short(&run) { whole_leaves(&asked) } else { asked.clone() };
        let mut entries = self.entries(seen.clone(), run)?;
        for index in asked.clone() {
            let from = entries.get_mut(to_index(index - seen.start)..).unwrap_or_default();
            self.answer_at_hand(index, from, run, out)?;
        }
        keep_frames_of(&asked, seen.start, &mut entries);
        if entries.iter().any(|entry| entry.stored().is_some()) { self.fetch(seen.start, &entries, run, out) } else { Ok(()) }
    }

    fn chunk_bytes(&self) -> u64 {
        u64::from(self.tree.chunk_bytes).max(1)
    }

    /// What these chunks are.
    fn entries(&self, chunks: Range<u64>, run: Extent) -> Result<Vec<ChunkEntry>, IoError> {
        let mut entries = Vec::new();
        let mut nodes = lock(&self.nodes);
        let mut leaf_first = whole_leaves(&chunks).start;
        while leaf_first < chunks.end {
            let leaf_end = leaf_first.saturating_add(FAN_OUT_U64);
            let wanted = chunks.start.max(leaf_first)..chunks.end.min(leaf_end);
            let leaf = nodes.leaf(leaf_first).map_err(|error| refusal(self.extent_of(&wanted).intersect(&run), error))?;
            let skip = to_index(wanted.start - leaf_first);
            entries.extend(leaf.into_iter().skip(skip).take(to_index(wanted.end - wanted.start)));
            leaf_first = leaf_end;
        }
        Ok(entries)
    }

    fn extent_of(&self, chunks: &Range<u64>) -> Extent {
        let (first, last) = (chunk_extent(&self.tree, chunks.start), chunk_extent(&self.tree, chunks.end.saturating_sub(1)));
        Extent::between(first.offset, last.end())
    }

    /// Answers for the first of these chunks if the store need not be asked for it, and leaves a hole in its place.
    fn answer_at_hand(&self, index: u64, entries: &mut [ChunkEntry], run: Extent, out: &mut [u8]) -> Result<(), IoError> {
        let extent = chunk_extent(&self.tree, index);
        let Some((entry, after)) = entries.split_first_mut() else { return Ok(()) };
        match entry {
            ChunkEntry::Hole => fill_zeros(extent, run, out),
            ChunkEntry::Unreadable => return Err(lost_at_source(extent.intersect(&run))),
            ChunkEntry::Stored(_) | ChunkEntry::StoredWithGaps(_) => {
                if let Some(reason) = lock(&self.lost).get(&index) {
                    return Err(IoError::Missing { extent: extent.intersect(&run), reason: reason.clone() });
                }
                let kept = lock(&self.chunks).get(index);
                if let Some(bytes) = kept {
                    copy_overlap(extent, &bytes, run, out);
                    *entry = ChunkEntry::Hole;
                } else if let Some(bytes) = self.ask_beside(index, entry, after, run) {
                    self.deliver(extent, &bytes, run, out);
                    *entry = ChunkEntry::Hole;
                }
            }
        }
        Ok(())
    }

    /// The chunk from the faster place, if it is still the same there. One with gaps has other bytes there, or none.
    ///
    /// Who reads metadata piece by piece goes on behind what is at hand, so those `after` it are brought with it.
    fn ask_beside(&self, index: u64, entry: &ChunkEntry, after: &[ChunkEntry], run: Extent) -> Option<Vec<u8>> {
        let (Some(beside), ChunkEntry::Stored(stored)) = (&self.beside, entry) else { return None };
        let goes_on = is_short(&run) && index.checked_sub(1).is_some_and(|before| lock(&self.chunks).get(before).is_some());
        let ahead = if goes_on { self.stored_ahead(after) } else { &[] };
        let length = chunk_extent(&self.tree, index).length;
        let mut bytes = self.read_beside(beside, index, ahead.len()).or_else(|| self.read_beside(beside, index, 0))?;
        let neighbours = bytes.split_off(to_index(length).min(bytes.len()));
        let chunks = neighbours.chunks(to_index(self.chunk_bytes()));
        for ((number, chunk), entry) in (index..).skip(1).zip(chunks).zip(ahead) {
            if entry.stored().is_some_and(|stored| self.ring.chunk_id(chunk) == stored.id) {
                lock(&self.chunks).insert(number, chunk);
            }
        }
        (self.ring.chunk_id(&bytes) == stored.id).then_some(bytes)
    }

    /// As many of the chunks as are worth reading ahead.
    fn stored_ahead<'a>(&self, after: &'a [ChunkEntry]) -> &'a [ChunkEntry] {
        let most = to_index(AHEAD_BYTES / self.chunk_bytes());
        let count = after.iter().take(most).take_while(|entry| matches!(entry, ChunkEntry::Stored(_))).count();
        after.get(..count).unwrap_or_default()
    }

    /// Chunk `index` and as many as `more` behind it.
    fn read_beside(&self, beside: &Arc<dyn ReadAt>, index: u64, more: usize) -> Option<Vec<u8>> {
        let extent = self.extent_of(&(index..index.saturating_add(1 + more as u64)));
        // A chunk is at most 1 MiB long, and what is read ahead is bounded.
        let mut bytes = vec![0; usize::try_from(extent.length).ok()?];
        beside.read_at(extent.offset, &mut bytes).ok()?;
        Some(bytes)
    }

    /// Brings what is stored among `wanted`. Of several chunks that turn out to be lost the first within the run is named.
    fn fetch(&self, first_chunk: u64, wanted: &[ChunkEntry], run: Extent, out: &mut [u8]) -> Result<(), IoError> {
        let idle = lock(&self.idle).pop();
        let mut reader = idle
            .unwrap_or_else(|| ChunkReader::new(fetcher(&self.store, &self.ring), Arc::clone(&self.ring), self.elsewhere.clone()));
        let mut lost: Option<(Extent, RepositoryError)> = None;
        let read = reader.read(&self.tree, first_chunk, wanted, &mut |extent, chunk| {
            let place = extent.intersect(&run);
            match chunk {
                Ok(bytes) => self.deliver(extent, bytes, run, out),
                Err(error) => {
                    self.remember_lost(extent, &error);
                    if !place.is_empty() && lost.as_ref().is_none_or(|(known, _)| place < *known) {
                        lost = Some((place, error));
                    }
                }
            }
            Ok(())
        });
        lock(&self.idle).push(reader);
        read.map_err(|error| refusal(run, error))?;
        match lost {
            Some((place, error)) => Err(refusal(place, error)),
            None => Ok(()),
        }
    }

    fn remember_lost(&self, extent: Extent, error: &RepositoryError) {
        let mut lost = lock(&self.lost);
        if lost.len() < REMEMBERED_LOST {
            lost.insert(extent.offset / self.chunk_bytes(), error.to_string());
        }
    }

    fn deliver(&self, extent: Extent, bytes: &[u8], run: Extent, out: &mut [u8]) {
        copy_overlap(extent, bytes, run, out);
        if is_short(&run) || extent.intersect(&run) != extent {
            lock(&self.chunks).insert(extent.offset / self.chunk_bytes(), bytes);
        }
    }
}

impl ReadAt for VolumeReader {
    fn size(&self) -> u64 {
        self.tree.size
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<(), IoError> {
        let (extent, size) = (Extent { offset, length: out.len() as u64 }, self.tree.size);
        if offset.checked_add(extent.length).is_none_or(|end| end > size) {
            return Err(IoError::OutOfRange { extent, size });
        }
        self.gaps.refuse(&extent)?;
        let mut rest = out;
        for run in extent.cut(RUN_BYTES) {
            let (now, later) = rest.split_at_mut(to_index(run.length).min(rest.len()));
            self.read_run(run, now)?;
            rest = later;
        }
        Ok(())
    }
}

fn is_short(run: &Extent) -> bool {
    run.length <= SHORT_READ_BYTES
}

/// The chunks of all leaves that hold some of these.
fn whole_leaves(chunks: &Range<u64>) -> Range<u64> {
    chunks.start - chunks.start % FAN_OUT_U64..chunks.end.div_ceil(FAN_OUT_U64).saturating_mul(FAN_OUT_U64)
}

/// Leaves, of the entries from chunk `first` on, those that lie in the frames of the chunks that are asked for.
fn keep_frames_of(asked: &Range<u64>, first: u64, entries: &mut [ChunkEntry]) {
    let frame_of = |entry: &ChunkEntry| entry.stored().map(|stored| (stored.frame.pack, stored.frame.slot));
    let within = (first..).zip(entries.iter()).filter(|(index, _)| asked.contains(index));
    let frames: BTreeSet<_> = within.filter_map(|(_, entry)| frame_of(entry)).collect();
    for (index, entry) in (first..).zip(entries) {
        if !asked.contains(&index) && frame_of(entry).is_none_or(|frame| !frames.contains(&frame)) {
            *entry = ChunkEntry::Hole;
        }
    }
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
