//! The blocks of the journal's file, found in the volume by the runs that its inode maps.

use super::JournalPlace;
use crate::base::io::ReadAt;
use crate::filesystem::error::{FilesystemError, Object};

/// The smallest and the largest block that any ext filesystem has.
const BLOCK_BYTES: [u32; 7] = [1 << 10, 1 << 11, 1 << 12, 1 << 13, 1 << 14, 1 << 15, 1 << 16];

/// The journal as an array of blocks.
#[derive(Debug)]
pub(super) struct Area<'a> {
    source: &'a dyn ReadAt,
    block_bytes: u32,
    runs: Vec<Run>,
    length: u64,
}

/// Blocks of the journal that lie side by side in the volume.
#[derive(Debug, Clone, Copy)]
struct Run {
    /// The first of them in the journal.
    first: u64,
    /// The same one in the filesystem.
    place: u64,
    count: u64,
}

impl<'a> Area<'a> {
    /// Checks that the journal's blocks are blocks of the filesystem.
    pub(super) fn new(source: &'a dyn ReadAt, place: &JournalPlace) -> Result<Self, FilesystemError> {
        if !BLOCK_BYTES.contains(&place.block_bytes) {
            return Err(corrupt(0, format!("a block of {} bytes is none that ext knows", place.block_bytes)));
        }
        let mut area = Self { source, block_bytes: place.block_bytes, runs: Vec::new(), length: 0 };
        for &(first, count) in place.runs.iter().filter(|(_, count)| *count > 0) {
            area.append(first, count, place.blocks_in_filesystem)?;
        }
        Ok(area)
    }

    fn append(&mut self, place: u64, count: u64, blocks: u64) -> Result<(), FilesystemError> {
        let inside = place.checked_add(count).is_some_and(|end| end <= blocks);
        let (Some(length), true) = (self.length.checked_add(count), inside) else {
            let what = format!("its blocks {place}+{count} lie outside of the filesystem, which has {blocks} blocks");
            return Err(corrupt(self.byte(0).unwrap_or(0), what));
        };
        self.runs.push(Run { first: self.length, place, count });
        self.length = length;
        Ok(())
    }

    /// How many blocks the journal's file has.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Bytes in a block: one of ext's sizes.
    pub(super) fn block_bytes(&self) -> usize {
        self.block_bytes as usize
    }

    /// Where a block of the journal begins, in bytes of the filesystem.
    pub(super) fn byte(&self, block: u64) -> Option<u64> {
        let after = self.runs.partition_point(|run| run.first <= block);
        let run = self.runs.get(after.checked_sub(1)?)?;
        let skip = block.checked_sub(run.first).filter(|skip| *skip < run.count)?;
        run.place.checked_add(skip)?.checked_mul(u64::from(self.block_bytes))
    }

    /// Reads a block of the journal and says at which byte of the filesystem it lies.
    pub(super) fn read(&self, block: u64, out: &mut Vec<u8>) -> Result<u64, FilesystemError> {
        let byte = self.byte(block).ok_or_else(|| {
            let what = format!("block {block} of the journal is asked for, which has {} blocks", self.length);
            corrupt(self.byte(0).unwrap_or(0), what)
        })?;
        out.resize(self.block_bytes(), 0);
        self.source.read_at(byte, out).map_err(|source| FilesystemError::Io { object: Object::Journal, source })?;
        Ok(byte)
    }
}

/// Something wrong with the journal at `byte`.
pub(super) fn corrupt(byte: u64, what: impl Into<String>) -> FilesystemError {
    FilesystemError::corrupt(Object::Journal, byte, what)
}
