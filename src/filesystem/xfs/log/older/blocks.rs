//! Blocks put together from the changes that the log still has of them: those of directories, and the superblock.
//!
//! ```text
//!   piece of 128 bytes   0 1 2 3 4 5 6 7
//!   transaction 1        # # . . # # . .     what a younger transaction tells lies over what an older one told
//!   transaction 2        # . . # # . . .
//!   known after both     2 1 . 2 2 1 . .     what none told is not known
//! ```
//! A block that is freed, or in whose place the log has something else, begins anew: nothing of one life goes into the next. What
//! happened between records that do not follow each other nobody knows, so that there, too, a block begins anew if it is told of again.

use std::collections::BTreeMap;
use std::ops::Range;

use super::super::buffer::{Format, PIECE_BYTES};
use super::super::item::{Item, Kind};
use super::super::put::put;
use super::super::ring::BLOCK_BYTES;
use super::super::transaction::{Moment, Transaction};
use super::super::{LogFacts, create};
use crate::base::extent::Extent;
use crate::filesystem::error::FilesystemError;

/// No block is longer.
const LONGEST_BYTES: u64 = 64 << 10;

/// A block, as far as the log has told of it.
#[derive(Debug)]
pub(in crate::filesystem::xfs) struct LoggedBlock {
    /// Where it lies.
    pub(in crate::filesystem::xfs) place: Extent,
    /// Its bytes; zeros where they are not known.
    pub(in crate::filesystem::xfs) bytes: Vec<u8>,
    /// Which of its pieces are known.
    known: Vec<bool>,
    /// How many breaks lay before the records that told of it.
    breaks: u32,
}

impl LoggedBlock {
    fn blank(place: Extent) -> Self {
        let length = usize::try_from(place.length.min(LONGEST_BYTES)).unwrap_or(0);
        Self { place, bytes: vec![0; length], known: vec![false; length.div_ceil(PIECE_BYTES)], breaks: 0 }
    }

    /// A block of which these pieces are known.
    #[cfg(test)]
    pub(in crate::filesystem::xfs) fn of(place: Extent, bytes: Vec<u8>, known: Vec<bool>) -> Self {
        Self { place, bytes, known, breaks: 0 }
    }

    /// True when all of these bytes are known.
    pub(in crate::filesystem::xfs) fn knows(&self, bytes: Range<usize>) -> bool {
        let pieces = bytes.start / PIECE_BYTES..bytes.end.div_ceil(PIECE_BYTES);
        self.known.get(pieces).is_some_and(|pieces| pieces.iter().all(|known| *known))
    }

    fn forget(&mut self) {
        self.bytes.fill(0);
        self.known.fill(false);
    }

    fn take(&mut self, item: &Item, format: &Format, moment: Moment) -> Result<(), FilesystemError> {
        for piece in format.pieces(item, moment.byte)? {
            put(&mut self.bytes, piece.offset, piece.bytes)?;
            let pieces = piece.offset / PIECE_BYTES..(piece.offset + piece.bytes.len()) / PIECE_BYTES;
            self.known.get_mut(pieces).unwrap_or_default().fill(true);
        }
        Ok(())
    }
}

/// The blocks that are asked for, by the byte where each begins.
#[derive(Debug)]
pub(super) struct Blocks {
    blocks: BTreeMap<u64, LoggedBlock>,
    /// Whether buffers of this kind are such blocks.
    is_wanted: fn(u8) -> bool,
}

impl Blocks {
    /// Nothing is known of them.
    pub(super) fn blank(places: &[Extent], is_wanted: fn(u8) -> bool) -> Self {
        Self { blocks: places.iter().map(|place| (place.offset, LoggedBlock::blank(*place))).collect(), is_wanted }
    }

    /// Takes what a transaction tells of them, before which `breaks` breaks lie. Transactions must come in their order.
    pub(super) fn apply(&mut self, transaction: &Transaction, breaks: u32, facts: &LogFacts) {
        for item in &transaction.items {
            match item.kind() {
                Kind::Buffer => self.take(item, transaction.moment, breaks),
                Kind::InodeCreate => {
                    let inodes = create::place_of(item, transaction.moment, facts);
                    self.begin_anew(inodes.unwrap_or(Extent::new(0, 0)));
                }
                _ => {}
            }
        }
    }

    /// Those of which something is known.
    pub(super) fn into_told(self) -> Vec<LoggedBlock> {
        self.blocks.into_values().filter(|block| block.known.contains(&true)).collect()
    }

    fn take(&mut self, item: &Item, moment: Moment, breaks: u32) {
        let Ok(format) = Format::read(item.format(), moment.byte) else { return };
        let buffer = format.buffer;
        let place = Extent::new(buffer.block.saturating_mul(BLOCK_BYTES), buffer.blocks.saturating_mul(BLOCK_BYTES));
        let is_told = !format.is_cancel() && (self.is_wanted)(format.kind());
        let Some(block) = self.blocks.get_mut(&place.offset).filter(|block| is_told && block.place == place) else {
            return self.begin_anew(place);
        };
        if block.breaks != breaks {
            block.forget();
            block.breaks = breaks;
        }
        if block.take(item, &format, moment).is_err() {
            block.forget();
        }
    }

    /// Forgets everything that reaches into these bytes.
    fn begin_anew(&mut self, bytes: Extent) {
        let near = self.blocks.range_mut(bytes.offset.saturating_sub(LONGEST_BYTES)..bytes.end());
        near.filter(|(_, block)| !block.place.intersect(&bytes).is_empty()).for_each(|(_, block)| block.forget());
    }
}
