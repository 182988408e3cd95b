//! Writing a recovery point: chunks into packs, packs into the store, the tree, and the manifest last.
//!
//! ```text
//!   lease ─► windows ─► data packs ─┐
//!                └────► tree packs ─┴─ all durable ─► manifest (put-if-absent) ─► lease ends
//! ```

mod earlier;
mod growth;
mod packs;

pub use earlier::EarlierChunks;
pub use growth::FinishedVolume;

use std::sync::{Arc, Mutex, PoisonError};

use super::codec::FrameCompressor;
use super::error::RepositoryError;
use super::format::catalog::Catalog;
use super::format::changes::ChangeRecord;
use super::format::file_tree::FileTreeFacts;
use super::format::frame::{Codec, FrameKind};
use super::format::node::{ChunkEntry, FAN_OUT, FAN_OUT_U64, FrameRef, NodeRef};
use super::format::point::{Consistency, Point, Previous, Statistics, Tree};
use super::frame::Payload;
use super::ids::PointId;
use super::leases::{Checkpoint, HeldLease};
use super::points::ListedPoint;
use super::recent::RecentChunks;
use super::spare::SpareBuffers;
use super::tree::{Basis, NodeCache, TreeBuilder, TreeReader};
use super::upload::Uploader;
use super::window::{CutChunk, CutWindow, WindowCutter};
use super::{Repository, exists, names};
use crate::base::clock::Timestamp;
use crate::base::extent::{Extent, ExtentSet};
use growth::Growth;
use packs::PackStream;

/// What a writer must know before it begins.
#[derive(Debug, Clone)]
pub struct WriterOptions {
    /// The volume's name.
    pub volume: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its chunk size in bytes.
    pub chunk_bytes: u32,
    /// How new chunks are compressed.
    pub codec: Codec,
    /// The point to build on. Its chunk size must be the same.
    pub previous: Option<ListedPoint>,
    /// Every chunk of the volume will be appended: nothing is taken from the previous point unseen, so damage in it does no harm.
    pub whole: bool,
    /// Chunks are not taken from the previous point even where they are the same: what it lost is stored again.
    pub distrust: bool,
    /// Who writes, in words.
    pub host: String,
    /// Threads that put packs; 0 puts them in the calling thread.
    pub upload_threads: usize,
    /// A checkpoint is published after this many new stored bytes, so that a killed run need not store them again.
    pub checkpoint_bytes: u64,
}

/// What the caller knows of the volume once it is read.
#[derive(Debug, Clone)]
pub struct PointFacts {
    /// When the volume was cut.
    pub cut: Timestamp,
    /// What was read, in words.
    pub source: String,
    /// How changes were known.
    pub changes: ChangeRecord,
    /// The state of the volume.
    pub consistency: Consistency,
    /// Ranges that could not be read.
    pub unreadable: ExtentSet,
    /// Ranges handed to [`PointWriter::omit`].
    pub omitted: ExtentSet,
    /// A change list was caught lying, here.
    pub incident: Option<Extent>,
    /// Bytes read from the source.
    pub read_bytes: u64,
    /// From start to now, in milliseconds.
    pub duration_ms: u64,
    /// The volume is a tree of files.
    pub file_tree: Option<FileTreeFacts>,
}

/// Decoded nodes of the old tree at hand while a tree is built.
const BUILD_CACHE_NODES: usize = 512;
/// And in each of the readers that windows are compared with.
const COMPARE_CACHE_NODES: usize = 512;

/// Writes one recovery point.
#[derive(Debug)]
pub struct PointWriter {
    repository: Repository,
    options: WriterOptions,
    lease: HeldLease,
    uploader: Uploader,
    data: PackStream,
    nodes: PackStream,
    growth: Growth,
    /// What was appended in the rounds before this one.
    round: Option<Tree>,
    resumed: Option<Checkpoint>,
    recent: Arc<Mutex<RecentChunks>>,
    /// What differs from the previous point so far.
    changed: ExtentSet,
    new_bytes: u64,
    checkpoint_at: u64,
    /// The volume's own tree, once it is whole.
    finished: Option<FinishedVolume>,
    catalog: Option<Catalog>,
}

impl Repository {
    /// Begins a recovery point.
    pub fn write_point(&self, options: WriterOptions) -> Result<PointWriter, RepositoryError> {
        let volume = self.volume_key(&options.volume);
        let basis: Vec<PointId> = options.previous.iter().map(|point| point.id).collect();
        if options.previous.as_ref().is_some_and(|point| point.point.tree.chunk_bytes != options.chunk_bytes) {
            let what = "a point can only build on one of the same chunk size".to_owned();
            return Err(RepositoryError::Misused { what });
        }
        let mut lease = HeldLease::take(self, volume, options.previous.as_ref(), &options.host)?;
        // Only now that the lease is public does "nobody forgets it, and it is still there" mean that it stays.
        for id in &basis {
            if self.is_being_forgotten(*id)? || !exists(self.store.as_ref(), &names::point(volume, *id))? {
                lease.release()?;
                return Err(RepositoryError::BasisGone { point: id.short() });
            }
        }
        let resumed = self.resume(&mut lease, volume, &basis, options.chunk_bytes)?;
        let chunks = options.size.div_ceil(options.chunk_bytes.into());
        let old = options.previous.as_ref().map(|point| self.tree_reader(point.point.tree, BUILD_CACHE_NODES));
        let spare = SpareBuffers::default();
        Ok(PointWriter {
            lease,
            uploader: Uploader::new(&self.store, options.upload_threads)?,
            data: PackStream { open: None, spare: spare.clone(), stored_bytes: 0 },
            nodes: PackStream { open: None, spare, stored_bytes: 0 },
            growth: Growth::new(options.size, options.chunk_bytes, options.whole, old),
            round: None,
            resumed,
            recent: Arc::new(Mutex::new(RecentChunks::new(chunks))),
            changed: ExtentSet::new(),
            new_bytes: 0,
            checkpoint_at: options.checkpoint_bytes,
            finished: None,
            catalog: None,
            repository: self.clone(),
            options,
        })
    }

    /// Finds what a killed run left, and holds it.
    fn resume(
        &self,
        lease: &mut HeldLease,
        volume: super::ids::VolumeKey,
        basis: &[PointId],
        chunk_bytes: u32,
    ) -> Result<Option<Checkpoint>, RepositoryError> {
        let Some(found) = self.find_checkpoint(volume, basis, chunk_bytes)? else { return Ok(None) };
        lease.hold(found.tree)?;
        // If the old lease went meanwhile, collection may have looked between the two.
        Ok(exists(self.store.as_ref(), &names::lease(found.lease))?.then_some(found))
    }

    pub(crate) fn tree_reader(&self, tree: Tree, cached_nodes: usize) -> TreeReader {
        TreeReader::new(tree, Arc::clone(&self.ring), self.fetcher(), NodeCache::new(cached_nodes))
    }
}

impl PointWriter {
    /// A cutter for one thread.
    #[must_use]
    pub fn cutter(&self) -> WindowCutter {
        WindowCutter {
            ring: Arc::clone(&self.repository.ring),
            recent: Arc::clone(&self.recent),
            chunk_bytes: self.growth.chunk_bytes,
            codec: self.options.codec,
            compressor: FrameCompressor::default(),
            gathered: Vec::new(),
        }
    }

    /// The earlier trees to compare with, for one thread: earlier rounds, the previous point, and what a killed run left.
    #[must_use]
    pub fn earlier(&self) -> EarlierChunks {
        let previous = self.options.previous.as_ref().filter(|_| !self.options.distrust).map(|point| point.point.tree);
        let resumed = self.resumed.map(|checkpoint| checkpoint.tree);
        let trees = self.round.into_iter().chain(previous).chain(resumed);
        let trees: Vec<_> = trees.map(|tree| self.repository.tree_reader(tree, COMPARE_CACHE_NODES)).collect();
        EarlierChunks { leaves: vec![None; trees.len()], trees }
    }

    /// True when a killed run's work is being used.
    #[must_use]
    pub fn is_resumed(&self) -> bool {
        self.resumed.is_some()
    }

    /// Appends a window. Windows come in ascending order; what lies between them is taken from the previous point.
    pub fn append(&mut self, window: &CutWindow) -> Result<(), RepositoryError> {
        self.lease.keep()?;
        let frame = match &window.run {
            Some(run) => Some(self.store_run(run)?),
            None => None,
        };
        self.new_bytes += window.new_bytes;
        if self.finished.is_none() {
            self.note_changes(&window.changed);
        }
        let leaf = window.first_chunk - window.first_chunk % FAN_OUT_U64;
        self.open_leaf(leaf)?;
        let start = usize::try_from(window.first_chunk - leaf).unwrap_or_default();
        let entries = window.chunks.iter().map(|chunk| self.place(chunk, frame)).collect::<Result<Vec<_>, _>>()?;
        let Some((_, open)) = &mut self.growth.leaf else { return Ok(()) };
        for (index, entry) in (start..).zip(entries) {
            match open.get_mut(index) {
                Some(place) => *place = entry,
                None => return Err(RepositoryError::Misused { what: "a window crosses its leaf's end".to_owned() }),
            }
        }
        self.checkpoint_if_due()
    }

    /// Leaves whole chunks out, whatever the previous point has there. In one ascending order with the windows.
    pub fn omit(&mut self, extent: Extent) -> Result<(), RepositoryError> {
        let chunk_bytes = u64::from(self.options.chunk_bytes);
        self.note_changes(&[extent]);
        for piece in extent.cut(chunk_bytes * FAN_OUT_U64) {
            self.lease.keep()?;
            let (first, after) = (piece.offset / chunk_bytes, piece.end().div_ceil(chunk_bytes));
            let leaf = first - first % FAN_OUT_U64;
            self.open_leaf(leaf)?;
            let places = usize::try_from(first - leaf).unwrap_or_default()..usize::try_from(after - leaf).unwrap_or_default();
            if let Some(chunks) = self.growth.leaf.as_mut().and_then(|(_, open)| open.get_mut(places)) {
                chunks.fill(ChunkEntry::Hole);
            }
        }
        self.checkpoint_if_due()
    }

    /// Finishes the tree, waits until everything is durable, and makes the point exist.
    pub fn commit(mut self, facts: PointFacts) -> Result<ListedPoint, RepositoryError> {
        let finished = match self.finished.take() {
            Some(finished) => finished,
            None => self.finish_tree()?,
        };
        self.close_packs()?;
        self.uploader.flush()?;
        self.lease.prepare_commit()?;
        // Nobody forgets it while the lease stands; but a writer that overslept in the middle of its commit takes its point back.
        if let Some(basis) = &self.options.previous
            && !exists(self.repository.store.as_ref(), &names::point(basis.volume, basis.id))?
        {
            self.lease.release()?;
            return Err(RepositoryError::BasisGone { point: basis.id.short() });
        }
        let point = self.manifest(facts, finished);
        let id = PointId::new(self.repository.environment.clock.now(), self.repository.environment.entropy.as_ref())?;
        let listed = self.repository.put_point(id, &point)?;
        if !self.lease.covers_commit() {
            // The machine stood still in the middle of the commit: collection may have seen neither lease nor point.
            self.repository.store.delete(&names::point(listed.volume, id))?;
            return Err(RepositoryError::LeaseLost);
        }
        self.lease.release()?;
        // What a stopped run left has served its purpose. One that was killed cannot be told from one that still runs.
        if let Some(left) = self.resumed.filter(|left| left.ended) {
            self.repository.store.delete(&names::lease(left.lease))?;
        }
        Ok(listed)
    }

    /// Gives up. What was stored stays until the lease lapses, and a later run can take it from the last checkpoint.
    pub fn abandon(mut self) -> Result<(), RepositoryError> {
        if self.finished.is_none() {
            self.close_leaf()?;
        }
        if self.data.stored_bytes == 0 {
            return self.lease.release();
        }
        self.checkpoint()?;
        self.lease.give_up()
    }

    fn manifest(&self, facts: PointFacts, finished: FinishedVolume) -> Point {
        let previous = self.options.previous.as_ref().map(|point| Previous { id: point.id, digest: point.digest });
        Point {
            volume: self.options.volume.clone(),
            cut: facts.cut,
            previous,
            source: facts.source,
            changes: facts.changes,
            consistency: facts.consistency,
            statistics: Statistics { read_bytes: facts.read_bytes, duration_ms: facts.duration_ms, ..finished.statistics },
            unreadable: facts.unreadable,
            omitted: facts.omitted,
            incident: facts.incident,
            writer: concat!("icecore ", env!("CARGO_PKG_VERSION")).to_owned(),
            host: self.options.host.clone(),
            catalog: self.catalog,
            file_tree: facts.file_tree,
            tree: finished.tree,
        }
    }

    fn store_run(&mut self, run: &super::window::Run) -> Result<FrameRef, RepositoryError> {
        let payload = Payload { kind: FrameKind::Chunks, codec: run.codec, raw_length: run.raw_length, bytes: &run.bytes };
        self.data.add(&payload, &self.repository, self.lease.id(), &self.uploader)
    }

    fn place(&self, chunk: &CutChunk, frame: Option<FrameRef>) -> Result<ChunkEntry, RepositoryError> {
        let (id, place, gaps) = match chunk {
            CutChunk::Known(entry) => return Ok(*entry),
            CutChunk::New { id, place, gaps } => (*id, *place, *gaps),
        };
        let frame = frame.ok_or_else(|| RepositoryError::Misused { what: "a window's run is missing".to_owned() })?;
        self.recent.lock().unwrap_or_else(PoisonError::into_inner).insert(id, frame, place);
        let stored = super::format::node::StoredChunk { id, frame, place };
        Ok(if gaps { ChunkEntry::StoredWithGaps(stored) } else { ChunkEntry::Stored(stored) })
    }

    /// Makes `leaf` the open leaf, beginning with what the previous point has there.
    fn open_leaf(&mut self, leaf: u64) -> Result<(), RepositoryError> {
        match &self.growth.leaf {
            Some((open, _)) if *open == leaf => return Ok(()),
            Some((open, _)) if *open > leaf => {
                return Err(RepositoryError::Misused { what: "windows must be appended in ascending order".to_owned() });
            }
            _ => {}
        }
        self.close_leaf()?;
        self.with_basis(|builder, basis| builder.share_until(leaf, basis))?;
        let growth = &mut self.growth;
        let mut entries = match growth.old.as_mut().filter(|_| !growth.whole) {
            Some(old) => old.leaf(leaf)?,
            None => vec![ChunkEntry::Hole; FAN_OUT],
        };
        // A volume that shrank has no chunks here any more.
        let left = growth.size.div_ceil(growth.chunk_bytes.into()).saturating_sub(leaf);
        entries.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        growth.leaf = Some((leaf, entries));
        Ok(())
    }

    fn close_leaf(&mut self) -> Result<(), RepositoryError> {
        let Some((_, entries)) = self.growth.leaf.take() else { return Ok(()) };
        self.with_basis(|builder, basis| builder.put_leaf(entries, basis))
    }

    /// Runs `act` on the tree builder with the old tree and the packs for new nodes.
    fn with_basis<T>(
        &mut self,
        act: impl FnOnce(&mut TreeBuilder, &mut Basis<'_>) -> Result<T, RepositoryError>,
    ) -> Result<T, RepositoryError> {
        let Self { repository, nodes, uploader, lease, growth: Growth { builder, old, .. }, .. } = self;
        let mut store = |bytes: &[u8]| {
            let raw_length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            let payload = Payload { kind: FrameKind::Node, codec: Codec::None, raw_length, bytes };
            nodes.add(&payload, repository, lease.id(), uploader)
        };
        act(builder, &mut Basis { old: old.as_mut(), ring: &repository.ring, store: &mut store })
    }

    fn checkpoint_if_due(&mut self) -> Result<(), RepositoryError> {
        if self.data.stored_bytes < self.checkpoint_at {
            return Ok(());
        }
        self.checkpoint_at = self.data.stored_bytes + self.options.checkpoint_bytes;
        self.checkpoint()
    }

    /// Makes everything so far durable and publishes the unfinished tree.
    fn checkpoint(&mut self) -> Result<(), RepositoryError> {
        let (tree, progress) = match &self.finished {
            Some(finished) => (finished.tree, finished.tree.size),
            None => {
                let progress = self.growth.builder.next_chunk().saturating_mul(self.growth.chunk_bytes.into());
                (self.with_basis(|builder, basis| builder.clone().finish(basis))?, progress)
            }
        };
        self.close_packs()?;
        self.uploader.flush()?;
        if tree.root == NodeRef::Hole {
            return Ok(());
        }
        self.lease.checkpoint(tree, progress)
    }

    fn close_packs(&mut self) -> Result<(), RepositoryError> {
        self.data.close(&self.uploader)?;
        self.nodes.close(&self.uploader)
    }
}
