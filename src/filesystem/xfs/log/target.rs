//! The volume while it is replayed: the source, and what has been changed so far.

use std::sync::Arc;

use super::ring::{BLOCK_BYTES, BLOCK_LENGTH};
use crate::base::io::ReadAt;
use crate::filesystem::error::{FilesystemError, Object};
use crate::filesystem::overlay::{Overlay, Patch};

/// The overlay counts in these.
pub(super) const UNIT_BYTES: u32 = 512;
/// What a changed unit takes in memory, with its place in the map.
const HELD_BYTES: u64 = 640;

/// The volume.
#[derive(Debug)]
pub(super) struct Target {
    source: Arc<dyn ReadAt>,
    overlay: Overlay,
    end: u64,
}

impl Target {
    /// Nothing is changed yet. Nothing beyond `end` may be.
    pub(super) fn new(source: &Arc<dyn ReadAt>, end: u64) -> Self {
        let mut target = Self { source: Arc::clone(source), overlay: Overlay::new(UNIT_BYTES), end: 0 };
        target.end_at(end);
        target
    }

    /// Moves the end, as the superblock does that says the filesystem was grown.
    pub(super) fn end_at(&mut self, end: u64) {
        self.end = end.min(self.source.size());
    }

    /// Memory taken by what is changed.
    pub(super) fn held_bytes(&self) -> u64 {
        self.overlay.count() as u64 * HELD_BYTES
    }

    /// What is changed.
    pub(super) fn into_overlay(self) -> Overlay {
        self.overlay
    }

    /// Bytes as they are now.
    pub(super) fn read(&self, byte: u64, length: usize) -> Result<Vec<u8>, FilesystemError> {
        let end = self.check(byte, length)?;
        let first = byte / BLOCK_BYTES;
        let mut units = self.units(first, end.div_ceil(BLOCK_BYTES))?;
        let skip = usize::try_from(byte % BLOCK_BYTES).unwrap_or(0);
        units.drain(..skip.min(units.len()));
        units.truncate(length);
        Ok(units)
    }

    /// Changes bytes. Units that stay as they were are not counted as changed.
    pub(super) fn write(&mut self, byte: u64, bytes: &[u8]) -> Result<(), FilesystemError> {
        let end = self.check(byte, bytes.len())?;
        let first = byte / BLOCK_BYTES;
        let before = self.units(first, end.div_ceil(BLOCK_BYTES))?;
        let mut after = before.clone();
        let skip = usize::try_from(byte % BLOCK_BYTES).unwrap_or(0);
        for (place, byte) in after.iter_mut().skip(skip).zip(bytes) {
            *place = *byte;
        }
        let pairs = before.chunks(BLOCK_LENGTH).zip(after.chunks(BLOCK_LENGTH));
        for (unit, (_, changed)) in (first..).zip(pairs).filter(|(_, (before, after))| before != after) {
            self.overlay.replace(unit, Patch::Bytes(Arc::from(changed)));
        }
        Ok(())
    }

    fn check(&self, byte: u64, length: usize) -> Result<u64, FilesystemError> {
        byte.checked_add(length as u64).filter(|end| *end <= self.end).ok_or_else(|| {
            let what = format!("a change of {length} bytes that reaches past the end of the filesystem at {}", self.end);
            FilesystemError::corrupt(Object::Journal, byte, what)
        })
    }

    fn units(&self, first: u64, after: u64) -> Result<Vec<u8>, FilesystemError> {
        let length = usize::try_from((after - first) * BLOCK_BYTES).unwrap_or(0);
        let mut out = vec![0; length];
        // What is changed altogether need not be readable in place.
        if (first..after).any(|unit| self.overlay.patch(unit).is_none()) {
            self.fill(first * BLOCK_BYTES, &mut out)?;
        }
        for (unit, place) in (first..).zip(out.chunks_mut(BLOCK_LENGTH)) {
            if let Some(Patch::Bytes(bytes)) = self.overlay.patch(unit) {
                let length = place.len().min(bytes.len());
                place[..length].copy_from_slice(&bytes[..length]);
            }
        }
        Ok(out)
    }

    /// The end of a source need not be one of a unit.
    fn fill(&self, byte: u64, out: &mut [u8]) -> Result<(), FilesystemError> {
        let there = usize::try_from(self.source.size().saturating_sub(byte)).unwrap_or(usize::MAX);
        let length = out.len().min(there);
        let io = |source| FilesystemError::Io { object: Object::Journal, source };
        self.source.read_at(byte, &mut out[..length]).map_err(io)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filesystem::xfs::log::bench::Memory;

    #[test]
    fn what_was_written_is_read_back_and_the_rest_shows_the_source() {
        let source = Memory::source((0..4096_u32).map(|at| (at / 512) as u8).collect());
        let mut target = Target::new(&source, 4096);
        target.write(700, &[9; 500]).unwrap();
        target.write(2048, &[4; 512]).unwrap();
        assert_eq!(target.read(699, 3).unwrap(), [1, 9, 9]);
        assert_eq!(target.read(1199, 3).unwrap(), [9, 2, 2]);
        assert_eq!(target.held_bytes(), 2 * HELD_BYTES, "a unit that stays as it was is no change");
        assert_eq!(target.into_overlay().units().collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn nothing_beyond_the_end_is_read_or_changed() {
        let mut target = Target::new(&Memory::source(vec![0; 4096]), 2048);
        for (byte, length) in [(2048, 1), (1, 2048), (u64::MAX, 2), (4096, 512)] {
            assert!(target.read(byte, length).is_err(), "{byte}+{length}");
            assert!(target.write(byte, &vec![0; length]).is_err(), "{byte}+{length}");
        }
        target.end_at(1 << 40);
        assert!(target.read(2048, 2048).is_ok() && target.read(4096, 1).is_err());
    }
}
