//! Chunks read back: each verified against the id that the tree reaches.

use std::sync::Arc;

use super::Repository;
use super::elsewhere::Elsewhere;
use super::error::RepositoryError;
use super::fetch::FrameFetcher;
use super::format::node::{ChunkEntry, FAN_OUT_U64, StoredChunk, StoredNode};
use super::format::point::Tree;
use super::frame::describe;
use super::keyring::Keyring;
use super::tree::{TreeVisitor, walk};
use crate::base::extent::Extent;

/// A piece of a volume as its tree describes it, in the order of the volume.
#[derive(Debug)]
pub enum VolumePiece {
    /// All zeros.
    Hole(Extent),
    /// Chunks from this one on: a whole leaf, without the holes at its end.
    Chunks {
        /// The first chunk.
        first_chunk: u64,
        /// What they are.
        entries: Vec<ChunkEntry>,
        /// The bytes of the volume that the leaf covers.
        extent: Extent,
    },
    /// The tree itself is damaged here.
    Lost {
        /// The bytes that cannot be told.
        extent: Extent,
        /// What is damaged.
        error: RepositoryError,
    },
}

/// Where chunk `index` of a volume lies.
#[must_use]
pub fn chunk_extent(tree: &Tree, index: u64) -> Extent {
    let length = u64::from(tree.chunk_bytes);
    Extent::new(index.saturating_mul(length), length).intersect(&Extent::new(0, tree.size))
}

impl Repository {
    /// Shows a whole volume in order. The walk holds one node a level and goes around damage.
    pub fn walk_volume(
        &self,
        tree: &Tree,
        visit: &mut dyn FnMut(VolumePiece) -> Result<(), RepositoryError>,
    ) -> Result<(), RepositoryError> {
        walk(tree, &mut self.fetcher(), &self.ring, &mut PieceVisitor { tree, visit })
    }

    /// Reads chunks from their own places only; one for each thread.
    #[must_use]
    pub fn chunk_reader(&self) -> ChunkReader {
        ChunkReader::new(self.fetcher(), Arc::clone(&self.ring), None)
    }

    /// Reads chunks of the point that `elsewhere` is for, and where their own places fail, from others; one for each thread.
    #[must_use]
    pub fn chunk_reader_with(&self, elsewhere: &Arc<Elsewhere>) -> ChunkReader {
        ChunkReader::new(self.fetcher(), Arc::clone(&self.ring), Some(Arc::clone(elsewhere)))
    }
}

struct PieceVisitor<'a> {
    tree: &'a Tree,
    visit: &'a mut dyn FnMut(VolumePiece) -> Result<(), RepositoryError>,
}

impl PieceVisitor<'_> {
    fn extent(&self, first_chunk: u64, count: u64) -> Extent {
        let length = u64::from(self.tree.chunk_bytes);
        Extent::new(first_chunk.saturating_mul(length), count.saturating_mul(length)).intersect(&Extent::new(0, self.tree.size))
    }
}

impl TreeVisitor for PieceVisitor<'_> {
    fn enter(&mut self, _node: &StoredNode, _level: u8, _first_chunk: u64) -> Result<bool, RepositoryError> {
        Ok(true)
    }

    fn leaf(&mut self, first_chunk: u64, entries: &[ChunkEntry]) -> Result<(), RepositoryError> {
        let extent = self.extent(first_chunk, FAN_OUT_U64);
        (self.visit)(VolumePiece::Chunks { first_chunk, entries: entries.to_vec(), extent })
    }

    fn hole(&mut self, first_chunk: u64, count: u64) -> Result<(), RepositoryError> {
        match self.extent(first_chunk, count) {
            extent if extent.is_empty() => Ok(()),
            extent => (self.visit)(VolumePiece::Hole(extent)),
        }
    }

    fn lost(&mut self, _node: &StoredNode, first_chunk: u64, count: u64, error: RepositoryError) -> Result<(), RepositoryError> {
        let extent = self.extent(first_chunk, count);
        (self.visit)(VolumePiece::Lost { extent, error })
    }
}

/// What is shown each chunk: its place in the volume, and its bytes or what is wrong with it.
pub type VisitChunk<'a> = dyn FnMut(Extent, Result<&[u8], RepositoryError>) -> Result<(), RepositoryError> + 'a;

/// Reads and verifies chunks of any volume of the repository.
#[derive(Debug)]
pub struct ChunkReader {
    fetcher: FrameFetcher,
    ring: Arc<Keyring>,
    /// Where else to look.
    elsewhere: Option<Arc<Elsewhere>>,
}

impl ChunkReader {
    pub(super) fn new(fetcher: FrameFetcher, ring: Arc<Keyring>, elsewhere: Option<Arc<Elsewhere>>) -> Self {
        Self { fetcher, ring, elsewhere }
    }

    /// Reads the stored chunks among `entries`, the first of which is chunk `first_chunk` of `tree`, and shows each with its place
    /// in the volume: its bytes, verified, or what is wrong with it. Not in order. Only damage is shown; a store that is out of
    /// reach is this call's own error.
    pub fn read(
        &mut self,
        tree: &Tree,
        first_chunk: u64,
        entries: &[ChunkEntry],
        visit: &mut VisitChunk<'_>,
    ) -> Result<(), RepositoryError> {
        let stored = (first_chunk..).zip(entries).filter_map(|(index, entry)| Some((index, *entry.stored()?)));
        self.read_stored(tree, stored, visit)
    }

    /// Reads chunks of `tree`, each with its number, wherever they lie; otherwise like [`ChunkReader::read`].
    pub(super) fn read_stored(
        &mut self,
        tree: &Tree,
        chunks: impl Iterator<Item = (u64, StoredChunk)>,
        visit: &mut VisitChunk<'_>,
    ) -> Result<(), RepositoryError> {
        let mut wanted: Vec<_> = chunks.map(|(index, stored)| (stored, chunk_extent(tree, index))).collect();
        wanted.sort_by_key(|(stored, extent)| (stored.frame.pack, stored.frame.slot, extent.offset));
        let frames = wanted.iter().map(|(stored, _)| stored.frame).collect();
        let Self { fetcher, ring, elsewhere } = self;
        let mut failed: Vec<(StoredChunk, Extent, RepositoryError)> = Vec::new();
        fetcher.fetch_many(frames, &mut |frame, raw| {
            let first = wanted.partition_point(|(s, _)| (s.frame.pack, s.frame.slot) < (frame.pack, frame.slot));
            let of_frame = wanted[first..].iter().take_while(|(s, _)| (s.frame.pack, s.frame.slot) == (frame.pack, frame.slot));
            // Hints may differ between references to one frame; each reference is answered once, under its own hint.
            for (stored, extent) in of_frame.filter(|(s, _)| s.frame == *frame) {
                let start = usize::from(stored.place) * tree.chunk_bytes as usize;
                let end = start.saturating_add(usize::try_from(extent.length).unwrap_or(usize::MAX));
                let chunk = match &raw {
                    Ok(raw) => match raw.get(start..end) {
                        Some(chunk) if ring.chunk_id(chunk) == stored.id => Ok(chunk),
                        Some(_) => Err(RepositoryError::damaged(describe(frame), "it holds another chunk than the tree says")),
                        None => Err(RepositoryError::damaged(describe(frame), "it is shorter than the tree says")),
                    },
                    Err(error) => Err(RepositoryError::damaged(describe(frame), reason_of(error))),
                };
                match chunk {
                    Err(error) if elsewhere.is_some() => failed.push((*stored, *extent, error)),
                    chunk => visit(*extent, chunk)?,
                }
            }
            Ok(())
        })?;
        let Some(elsewhere) = elsewhere else { return Ok(()) };
        failed.into_iter().try_for_each(|(stored, extent, error)| {
            let found = elsewhere.chunk(&stored, extent)?;
            visit(extent, found.as_deref().ok_or(error))
        })
    }
}

/// The reason of a damage without its object, which the caller names again.
fn reason_of(error: &RepositoryError) -> String {
    match error {
        RepositoryError::Damaged { reason, .. } => reason.clone(),
        RepositoryError::Store(error) if error.is_not_found() => "its pack is missing".to_owned(),
        RepositoryError::Store(_) => "its pack is cut short".to_owned(),
        other => other.to_string(),
    }
}
