//! A volume read back at any place, each chunk verified; a source that still holds the same bytes may answer in the store's stead.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use super::chunks::ChunkReader;
use super::error::RepositoryError;
use super::format::node::{ChunkEntry, FAN_OUT_U64, StoredChunk};
use super::format::point::Tree;
use super::tree::TreeReader;
use super::{Repository, chunk_extent};
use crate::base::extent::Extent;
use crate::base::io::{IoError, ReadAt};

/// Decoded tree nodes at hand.
const CACHED_NODES: usize = 512;
/// Chunks at hand: neighbours of a chunk come out of its frame anyway.
const CACHED_BYTES: usize = 16 << 20;

/// Reads one tree.
pub struct VolumeReader {
    tree: Tree,
    /// Where the same bytes may still be had faster. Nothing it gives is believed without its id.
    beside: Option<Arc<dyn ReadAt>>,
    repository: Repository,
    inner: Mutex<Inner>,
}

struct Inner {
    nodes: TreeReader,
    chunks: ChunkReader,
    kept: HashMap<u64, Arc<[u8]>>,
    order: BTreeMap<u64, u64>,
    clock: u64,
}

impl fmt::Debug for VolumeReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VolumeReader").field("size", &self.tree.size).finish_non_exhaustive()
    }
}

impl Repository {
    /// Reads the volume of `tree`, whose packs are durable. Chunks that `beside` still holds unchanged are taken from there.
    #[must_use]
    pub fn volume_reader(&self, tree: Tree, beside: Option<Arc<dyn ReadAt>>) -> VolumeReader {
        let inner = Inner {
            nodes: self.tree_reader(tree, CACHED_NODES),
            chunks: self.chunk_reader(),
            kept: HashMap::new(),
            order: BTreeMap::new(),
            clock: 0,
        };
        VolumeReader { tree, beside, repository: self.clone(), inner: Mutex::new(inner) }
    }
}

impl VolumeReader {
    fn chunk(&self, inner: &mut Inner, index: u64) -> Result<Arc<[u8]>, IoError> {
        if let Some(bytes) = inner.kept.get(&index) {
            return Ok(Arc::clone(bytes));
        }
        let place = chunk_extent(&self.tree, index);
        let leaf = index - index % FAN_OUT_U64;
        let entries = inner.nodes.leaf(leaf).map_err(|error| failed(place, error))?;
        let entry = usize::try_from(index - leaf).ok().and_then(|index| entries.get(index)).copied();
        match entry.unwrap_or(ChunkEntry::Hole) {
            ChunkEntry::Hole => Ok(vec![0; usize::try_from(place.length).unwrap_or_default()].into()),
            ChunkEntry::Unreadable | ChunkEntry::StoredWithGaps(_) => {
                Err(IoError::Missing { extent: place, reason: "the source could not be read here".to_owned() })
            }
            ChunkEntry::Stored(stored) => match self.ask_beside(place, &stored) {
                Some(bytes) => Ok(inner.keep(index, bytes, self.limit())),
                None => self.ask_store(inner, leaf, &entries, &stored, place),
            },
        }
    }

    /// The chunk from the faster place, if it is still the same there.
    fn ask_beside(&self, place: Extent, stored: &StoredChunk) -> Option<Vec<u8>> {
        let beside = self.beside.as_ref()?;
        let mut bytes = vec![0; usize::try_from(place.length).ok()?];
        beside.read_at(place.offset, &mut bytes).ok()?;
        (self.repository.ring.chunk_id(&bytes) == stored.id).then_some(bytes)
    }

    /// The chunk, and its neighbours in the same frame, from the store.
    fn ask_store(
        &self,
        inner: &mut Inner,
        leaf: u64,
        entries: &[ChunkEntry],
        stored: &StoredChunk,
        place: Extent,
    ) -> Result<Arc<[u8]>, IoError> {
        let of_frame = |entry: &ChunkEntry| entry.stored().is_some_and(|other| other.frame == stored.frame);
        let wanted: Vec<ChunkEntry> = entries.iter().map(|e| if of_frame(e) { *e } else { ChunkEntry::Hole }).collect();
        let mut found = Vec::new();
        let mut wrong = None;
        let read = inner.chunks.read(&self.tree, leaf, &wanted, &mut |extent, chunk| {
            match chunk {
                Ok(bytes) => found.push((extent, bytes.to_vec())),
                Err(error) if extent == place => wrong = Some(error),
                Err(_) => {}
            }
            Ok(())
        });
        read.map_err(|error| failed(place, error))?;
        let mut asked = None;
        for (extent, bytes) in found {
            let kept = inner.keep(extent.offset / u64::from(self.tree.chunk_bytes), bytes, self.limit());
            if extent == place {
                asked = Some(kept);
            }
        }
        let lost = || RepositoryError::damaged("a chunk", "it cannot be read");
        asked.ok_or_else(|| failed(place, wrong.unwrap_or_else(lost)))
    }

    fn limit(&self) -> usize {
        (CACHED_BYTES / self.tree.chunk_bytes as usize).max(1)
    }
}

impl Inner {
    fn keep(&mut self, index: u64, bytes: Vec<u8>, limit: usize) -> Arc<[u8]> {
        let bytes: Arc<[u8]> = bytes.into();
        if self.kept.insert(index, Arc::clone(&bytes)).is_none() {
            self.clock += 1;
            self.order.insert(self.clock, index);
        }
        while self.kept.len() > limit {
            let Some((_, oldest)) = self.order.pop_first() else { break };
            self.kept.remove(&oldest);
        }
        bytes
    }
}

fn failed(place: Extent, error: RepositoryError) -> IoError {
    if error.is_damage() {
        IoError::Missing { extent: place, reason: error.to_string() }
    } else {
        IoError::Os { act: "read", extent: place, source: io::Error::other(error) }
    }
}

impl ReadAt for VolumeReader {
    fn size(&self) -> u64 {
        self.tree.size
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<(), IoError> {
        let whole = Extent { offset, length: out.len() as u64 };
        if offset.checked_add(whole.length).is_none_or(|end| end > self.tree.size) {
            return Err(IoError::OutOfRange { extent: whole, size: self.tree.size });
        }
        let chunk_bytes = u64::from(self.tree.chunk_bytes);
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let mut left = out;
        for piece in whole.cut(chunk_bytes) {
            let chunk = self.chunk(&mut inner, piece.offset / chunk_bytes)?;
            let start = usize::try_from(piece.offset % chunk_bytes).unwrap_or_default();
            let length = usize::try_from(piece.length).unwrap_or_default().min(left.len());
            let (now, rest) = left.split_at_mut(length);
            match chunk.get(start..start + length) {
                Some(bytes) => now.copy_from_slice(bytes),
                None => return Err(IoError::Missing { extent: piece, reason: "the chunk is too short".to_owned() }),
            }
            left = rest;
        }
        Ok(())
    }
}
