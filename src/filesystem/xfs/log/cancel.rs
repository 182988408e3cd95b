//! Buffers that were freed: what the log changed in them before must not be replayed, for something else may lie there now.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::ring::BLOCK_BYTES;
use crate::base::extent::Extent;
use crate::filesystem::error::{FilesystemError, Object};

/// Freed buffers that are remembered, at about 50 bytes each. The longest log frees fewer between two checkpoints of its tail.
const MOST: usize = 1 << 20;

/// A buffer: its first block, and how many, in units of 512 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Buffer {
    /// The first block.
    pub(super) block: u64,
    /// How many.
    pub(super) blocks: u64,
}

/// How often each buffer is freed in the part of the log that is still ahead.
#[derive(Debug, Default)]
pub(super) struct Cancelled {
    ahead: BTreeMap<Buffer, u32>,
}

impl Cancelled {
    /// Counts a buffer that the log frees.
    pub(super) fn add(&mut self, buffer: Buffer) -> Result<(), FilesystemError> {
        if self.ahead.len() >= MOST {
            return Err(FilesystemError::TooLarge { object: Object::Journal, limit: MOST as u64 * 50 });
        }
        *self.ahead.entry(buffer).or_default() += 1;
        Ok(())
    }

    /// Passes the place where the log frees a buffer. What follows is about the next thing that lies there.
    pub(super) fn pass(&mut self, buffer: Buffer) {
        let Entry::Occupied(mut count) = self.ahead.entry(buffer) else { return };
        *count.get_mut() -= 1;
        if *count.get() == 0 {
            count.remove();
        }
    }

    /// True when the buffer is freed further on.
    pub(super) fn contains(&self, buffer: Buffer) -> bool {
        self.ahead.contains_key(&buffer)
    }

    /// True when any buffer that begins within these bytes is freed further on.
    pub(super) fn touches(&self, bytes: Extent) -> bool {
        let first = Buffer { block: bytes.offset / BLOCK_BYTES, blocks: 0 };
        let after = Buffer { block: bytes.end().div_ceil(BLOCK_BYTES), blocks: 0 };
        self.ahead.range(first..after.max(first)).next().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_counts_as_freed_until_its_last_freeing_is_passed() {
        let (buffer, other) = (Buffer { block: 8, blocks: 8 }, Buffer { block: 8, blocks: 16 });
        let mut cancelled = Cancelled::default();
        cancelled.add(buffer).unwrap();
        cancelled.add(buffer).unwrap();
        assert!(cancelled.contains(buffer) && !cancelled.contains(other));
        cancelled.pass(other);
        cancelled.pass(buffer);
        assert!(cancelled.contains(buffer));
        assert!(cancelled.touches(Extent::new(0, 8 * 512 + 1)) && !cancelled.touches(Extent::new(0, 8 * 512)));
        assert!(!cancelled.touches(Extent::new(9 * 512, 4096)));
        cancelled.pass(buffer);
        cancelled.pass(buffer);
        assert!(!cancelled.contains(buffer));
    }
}
