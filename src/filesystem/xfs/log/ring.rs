//! The log as a ring of 512-byte blocks, each stamped with the cycle in which it was last written.

use std::iter;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::LogPlace;
use crate::base::io::ReadAt;
use crate::filesystem::error::{FilesystemError, Object};

/// The log counts in these, whatever the sector is.
pub(super) const BLOCK_BYTES: u64 = 512;
/// The same, where a length in memory is meant.
pub(super) const BLOCK_LENGTH: usize = 512;
/// First word of a record; such a block has its cycle in the second word.
pub(super) const HEADER_MAGIC: u32 = 0xfeed_babe;

/// No log is longer: block numbers in it are below 2^31.
const MOST_BLOCKS: u64 = 1 << 31;
/// Blocks read at once while searching.
const SCAN_BLOCKS: u64 = 128;
/// Blocks read at once at most: the longest record with its headers is 520.
const READ_BLOCKS: u64 = 1024;

/// The ring.
#[derive(Debug)]
pub(super) struct Ring {
    source: Arc<dyn ReadAt>,
    offset: u64,
    blocks: u64,
}

impl Ring {
    /// The ring that lies at `place`.
    pub(super) fn new(source: &Arc<dyn ReadAt>, place: &LogPlace) -> Result<Self, FilesystemError> {
        let blocks = place.bytes / BLOCK_BYTES;
        let end = place.offset.checked_add(place.bytes).filter(|end| *end <= source.size());
        let aligned = place.offset.is_multiple_of(u64::from(place.sector_bytes.max(1)));
        if end.is_none() || !aligned || !(2..MOST_BLOCKS).contains(&blocks) {
            let what = format!("a log of {} bytes does not fit a source of {} bytes", place.bytes, source.size());
            return Err(FilesystemError::corrupt(Object::Journal, place.offset, what));
        }
        Ok(Self { source: Arc::clone(source), offset: place.offset, blocks })
    }

    /// How many blocks.
    pub(super) fn blocks(&self) -> u64 {
        self.blocks
    }

    /// Where a block lies, in bytes of the source.
    pub(super) fn byte(&self, block: u64) -> u64 {
        self.offset + block % self.blocks * BLOCK_BYTES
    }

    /// The block `count` after `block`.
    pub(super) fn after(&self, block: u64, count: u64) -> u64 {
        (block % self.blocks + count % self.blocks) % self.blocks
    }

    /// How many blocks lie from `from` up to `to`, around the end if need be.
    pub(super) fn distance(&self, from: u64, to: u64) -> u64 {
        (to % self.blocks + self.blocks - from % self.blocks) % self.blocks
    }

    /// An error about what begins at `block`.
    pub(super) fn corrupt(&self, block: u64, what: impl Into<String>) -> FilesystemError {
        FilesystemError::corrupt(Object::Journal, self.byte(block), what)
    }

    /// `count` blocks from `block` on, around the end if need be.
    pub(super) fn read(&self, block: u64, count: u64) -> Result<Vec<u8>, FilesystemError> {
        if count > READ_BLOCKS.min(self.blocks) {
            return Err(self.corrupt(block, format!("{count} blocks are more than a record can have")));
        }
        let mut out = vec![0; usize::try_from(count * BLOCK_BYTES).unwrap_or(0)];
        let before_end = count.min(self.blocks - block % self.blocks) * BLOCK_BYTES;
        let (first, rest) = out.split_at_mut(usize::try_from(before_end).unwrap_or(0));
        self.fill(self.byte(block), first)?;
        self.fill(self.offset, rest)?;
        Ok(out)
    }

    fn fill(&self, byte: u64, out: &mut [u8]) -> Result<(), FilesystemError> {
        if out.is_empty() {
            return Ok(());
        }
        self.source.read_at(byte, out).map_err(|source| FilesystemError::Io { object: Object::Journal, source })
    }

    /// The cycle in which a block was written.
    pub(super) fn cycle(&self, block: u64) -> Result<u32, FilesystemError> {
        Ok(cycle_of(&self.read(block, 1)?))
    }

    /// Shows `count` blocks from `start` on.
    pub(super) fn scan(
        &self,
        start: u64,
        count: u64,
        visit: &mut dyn FnMut(u64, &[u8]) -> ControlFlow<()>,
    ) -> Result<(), FilesystemError> {
        for (done, length) in self.pieces(count) {
            let first = self.after(start, done);
            let bytes = self.read(first, length)?;
            let mut blocks = bytes.chunks(BLOCK_LENGTH).enumerate();
            if blocks.try_for_each(|(index, block)| visit(self.after(first, index as u64), block)).is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Shows the `count` blocks before `end`, the last first.
    pub(super) fn scan_back(
        &self,
        end: u64,
        count: u64,
        visit: &mut dyn FnMut(u64, &[u8]) -> ControlFlow<()>,
    ) -> Result<(), FilesystemError> {
        for (done, length) in self.pieces(count) {
            let first = self.after(end, self.blocks - (done + length) % self.blocks);
            let bytes = self.read(first, length)?;
            let mut blocks = bytes.chunks(BLOCK_LENGTH).enumerate().rev();
            if blocks.try_for_each(|(index, block)| visit(self.after(first, index as u64), block)).is_break() {
                break;
            }
        }
        Ok(())
    }

    /// What a scan of `count` blocks reads at once: how many blocks it has done by then, and how many these are.
    fn pieces(&self, count: u64) -> impl Iterator<Item = (u64, u64)> + use<> {
        let step = SCAN_BLOCKS.min(self.blocks);
        let starts = iter::successors(Some(0), move |done: &u64| done.checked_add(step));
        starts.take_while(move |done| *done < count).map(move |done| (done, step.min(count - done)))
    }
}

/// A word in the byte order of the log.
pub(super) fn word(block: &[u8], index: usize) -> u32 {
    let bytes = block.chunks_exact(4).nth(index).and_then(|bytes| bytes.try_into().ok());
    bytes.map_or(0, u32::from_be_bytes)
}

/// The cycle in which a block was written.
pub(super) fn cycle_of(block: &[u8]) -> u32 {
    match word(block, 0) {
        HEADER_MAGIC => word(block, 1),
        cycle => cycle,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filesystem::xfs::log::bench::{Memory, place};

    fn ring(blocks: u64) -> Ring {
        let bytes = (0..blocks + 2).flat_map(|block| vec![u8::try_from(block).unwrap(); BLOCK_LENGTH]).collect();
        Ring::new(&Memory::source(bytes), &place(2 * BLOCK_BYTES, blocks)).unwrap()
    }

    #[test]
    fn reads_go_around_the_end() {
        let ring = ring(10);
        let bytes = ring.read(8, 4).unwrap();
        let firsts: Vec<u8> = bytes.chunks(BLOCK_LENGTH).map(|block| block[0]).collect();
        assert_eq!(firsts, [10, 11, 2, 3]);
        assert!(ring.read(0, 11).is_err(), "more than the ring has");
        assert_eq!((ring.distance(8, 2), ring.distance(2, 8), ring.distance(3, 3)), (4, 6, 0));
        assert_eq!((ring.after(8, 4), ring.byte(9)), (2, 11 * BLOCK_BYTES));
    }

    #[test]
    fn scans_show_each_block_once_in_either_direction() {
        let ring = ring(250);
        let mut seen = Vec::new();
        ring.scan(200, 250, &mut |block, bytes| {
            assert_eq!(u64::from(bytes[0]), block + 2);
            seen.push(block);
            ControlFlow::Continue(())
        })
        .unwrap();
        assert_eq!(seen, (200..250).chain(0..200).collect::<Vec<_>>());
        let mut back = Vec::new();
        ring.scan_back(200, 250, &mut |block, bytes| {
            assert_eq!(u64::from(bytes[0]), block + 2);
            back.push(block);
            ControlFlow::Continue(())
        })
        .unwrap();
        seen.reverse();
        assert_eq!(back, seen);
    }

    #[test]
    fn a_log_that_does_not_fit_its_source_is_refused() {
        let source = Memory::source(vec![0; 10 * BLOCK_LENGTH]);
        for (offset, blocks) in [(512, 10), (0, 0), (0, 1), (u64::MAX - 511, 2), (100, 5)] {
            assert!(Ring::new(&source, &place(offset, blocks)).is_err(), "{blocks} blocks at {offset}");
        }
        assert!(Ring::new(&source, &place(0, 10)).is_ok());
    }
}
