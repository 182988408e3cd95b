//! A window of a volume cut into chunks: which are zero, which are known already, and the rest compressed as one run.

use std::sync::{Arc, Mutex, PoisonError};

use super::codec::{CodecError, FrameCompressor};
use super::format::frame::Codec;
use super::format::node::{ChunkEntry, StoredChunk};
use super::ids::ContentId;
use super::keyring::Keyring;
use super::recent::RecentChunks;
use crate::base::extent::Extent;

/// What a window's chunk turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CutChunk {
    /// It has its entry already: a hole, unreadable, or stored before.
    Known(ChunkEntry),
    /// It is in the run, at this place.
    New { id: ContentId, place: u8, gaps: bool },
}

/// A window ready to be appended. Windows may be cut in any order and on many threads, and are appended in the order of the volume.
#[derive(Debug)]
pub struct CutWindow {
    pub(crate) first_chunk: u64,
    pub(crate) chunks: Vec<CutChunk>,
    pub(crate) run: Option<Run>,
    /// Chunks that are not what the previous point has at their place.
    pub(crate) changed: Vec<Extent>,
    /// Bytes of chunks that are new, before compression.
    pub new_bytes: u64,
}

impl CutWindow {
    /// The first chunk of the window.
    #[must_use]
    pub fn first_chunk(&self) -> u64 {
        self.first_chunk
    }

    /// Chunks that are not what the previous point has at their place; all of them where its tree is damaged.
    #[must_use]
    pub fn changed(&self) -> &[Extent] {
        &self.changed
    }
}

/// New chunks of a window, compressed together.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) codec: Codec,
    pub(crate) raw_length: u32,
    pub(crate) bytes: Vec<u8>,
}

/// Cuts windows; one for each thread.
#[derive(Debug)]
pub struct WindowCutter {
    pub(super) ring: Arc<Keyring>,
    pub(super) recent: Arc<Mutex<RecentChunks>>,
    pub(super) chunk_bytes: u32,
    pub(super) codec: Codec,
    pub(super) compressor: FrameCompressor,
    pub(super) gathered: Vec<u8>,
}

impl WindowCutter {
    /// Cuts `bytes`, which begin at `offset`, a multiple of the chunk size.
    ///
    /// Each list of `candidates` has what earlier trees hold at this window's chunks; a chunk with the same id is not stored again.
    /// `unreadable` are the ranges, in bytes of the volume, that are zero in `bytes` only because nobody could read them.
    pub fn cut(
        &mut self,
        offset: u64,
        bytes: &[u8],
        unreadable: &[Extent],
        candidates: &[&[ChunkEntry]],
    ) -> Result<CutWindow, CodecError> {
        let chunk_bytes = u64::from(self.chunk_bytes);
        let first_chunk = offset / chunk_bytes;
        let mut chunks = Vec::with_capacity(bytes.len() / self.chunk_bytes as usize + 1);
        let mut new: Vec<&[u8]> = Vec::new();
        let mut changed = Vec::new();
        for (index, chunk) in bytes.chunks(self.chunk_bytes as usize).enumerate() {
            let extent = Extent::new(offset + index as u64 * chunk_bytes, chunk.len() as u64);
            let lost: u64 = unreadable.iter().map(|gap| gap.intersect(&extent).length).sum();
            let known = candidates.iter().map(|entries| entries.get(index).copied().unwrap_or(ChunkEntry::Hole));
            let cut = self.cut_chunk(chunk, lost, known, u8::try_from(new.len()).unwrap_or(u8::MAX));
            if matches!(cut, CutChunk::New { .. }) {
                new.push(chunk);
            }
            if !is_unchanged(&cut, candidates.first().and_then(|entries| entries.get(index))) {
                changed.push(extent);
            }
            chunks.push(cut);
        }
        let new_bytes = new.iter().map(|chunk| chunk.len() as u64).sum();
        let run = if new.is_empty() { None } else { Some(self.compress(&new, bytes)?) };
        Ok(CutWindow { first_chunk, chunks, run, changed, new_bytes })
    }

    /// The chunk that begins at `offset`.
    #[must_use]
    pub fn chunk_at(&self, offset: u64) -> u64 {
        offset / u64::from(self.chunk_bytes)
    }

    /// The first chunk of `bytes` that is not what `entries` say, if there is one. Where there is no entry, nothing is said.
    #[must_use]
    pub fn first_difference(&self, offset: u64, bytes: &[u8], entries: &[ChunkEntry]) -> Option<Extent> {
        let chunks = bytes.chunks(self.chunk_bytes as usize).enumerate();
        let mut differing = chunks.filter(|(index, chunk)| match entries.get(*index) {
            None => false,
            Some(ChunkEntry::Hole) => !is_zero(chunk),
            Some(ChunkEntry::Stored(stored)) => self.ring.chunk_id(chunk) != stored.id,
            Some(ChunkEntry::StoredWithGaps(_) | ChunkEntry::Unreadable) => true,
        });
        differing.next().map(|(index, chunk)| Extent::new(offset + index as u64 * u64::from(self.chunk_bytes), chunk.len() as u64))
    }

    fn cut_chunk(&self, chunk: &[u8], lost: u64, known: impl Iterator<Item = ChunkEntry>, place: u8) -> CutChunk {
        if lost == chunk.len() as u64 {
            return CutChunk::Known(ChunkEntry::Unreadable);
        }
        let gaps = lost > 0;
        // A chunk with gaps is kept even if the rest is zero: the gaps must not turn into zeros that were read.
        if !gaps && is_zero(chunk) {
            return CutChunk::Known(ChunkEntry::Hole);
        }
        let id = self.ring.chunk_id(chunk);
        let same = |entry: &ChunkEntry| entry.stored().filter(|stored| stored.id == id).copied();
        let found = known.into_iter().find_map(|entry| same(&entry)).or_else(|| self.recent(&id));
        match found {
            Some(stored) if gaps => CutChunk::Known(ChunkEntry::StoredWithGaps(stored)),
            Some(stored) => CutChunk::Known(ChunkEntry::Stored(stored)),
            None => CutChunk::New { id, place, gaps },
        }
    }

    fn recent(&self, id: &ContentId) -> Option<StoredChunk> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner).get(id)
    }

    /// Compresses the new chunks. When all of a window is new they lie together already, and nothing is copied.
    fn compress(&mut self, new: &[&[u8]], window: &[u8]) -> Result<Run, CodecError> {
        let length: usize = new.iter().map(|chunk| chunk.len()).sum();
        let raw = if length == window.len() {
            window
        } else {
            self.gathered.clear();
            new.iter().for_each(|chunk| self.gathered.extend_from_slice(chunk));
            &self.gathered
        };
        let mut bytes = Vec::new();
        let codec = self.compressor.compress(self.codec, raw, &mut bytes)?;
        Ok(Run { codec, raw_length: u32::try_from(raw.len()).unwrap_or(u32::MAX), bytes })
    }
}

/// True when the previous point is known to hold the same here. Where its tree is damaged it has no entry, and nothing is known.
fn is_unchanged(cut: &CutChunk, previous: Option<&ChunkEntry>) -> bool {
    match cut {
        CutChunk::Known(entry) => previous.is_some_and(|previous| previous.same_content(entry)),
        CutChunk::New { .. } => false,
    }
}

/// True when every byte is zero. Sixty-four bytes at a time, which the compiler turns into vector instructions.
fn is_zero(bytes: &[u8]) -> bool {
    let mut blocks = bytes.chunks_exact(64);
    blocks.all(|block| block.iter().fold(0, |all, byte| all | byte) == 0) && blocks.remainder().iter().all(|byte| *byte == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_are_told_from_nearly_zeros_at_every_place() {
        for length in [0, 1, 63, 64, 65, 4096, 5000] {
            let mut bytes = vec![0; length];
            assert!(is_zero(&bytes), "{length} zeros");
            for place in [0, length / 2, length.saturating_sub(1)] {
                if place < length {
                    bytes[place] = 1;
                    assert!(!is_zero(&bytes), "byte {place} of {length} is set");
                    bytes[place] = 0;
                }
            }
        }
    }
}
