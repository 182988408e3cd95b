//! Block pointers: the map of ext2 and ext3, twelve direct ones and then trees of one, two and three levels.

use std::ops::Range;

use super::runs::{OnLoss, Run, push};
use super::volume::Volume;
use crate::filesystem::error::FilesystemError;
use crate::filesystem::fields::Fields;

const DIRECT: u64 = 12;
const POINTER_BYTES: u64 = 4;
/// Levels of the deepest tree.
const LEVELS: u32 = 3;

/// The runs of `wanted`, ascending. Holes are skipped at the highest level that shows them, and what a broken node stood for is told.
pub(super) fn find(
    volume: &Volume,
    root: &Fields<'_>,
    wanted: &Range<u64>,
    on_loss: OnLoss<'_>,
) -> Result<Vec<Run>, FilesystemError> {
    let per_block = volume.block_bytes() / POINTER_BYTES;
    let mut walk = Walk { volume, wanted, per_block, runs: Vec::new(), on_loss };
    let mut start = walk.level(root, 0..DIRECT, 0, 0)?;
    for level in 1..=LEVELS {
        let slot = DIRECT + u64::from(level) - 1;
        start = walk.level(root, slot..slot + 1, level, start)?;
    }
    Ok(walk.runs)
}

struct Walk<'a> {
    volume: &'a Volume,
    wanted: &'a Range<u64>,
    per_block: u64,
    runs: Vec<Run>,
    on_loss: OnLoss<'a>,
}

impl Walk<'_> {
    /// Visits pointers `slots` of a node, of which the first stands for block `start` of the file, and each for a tree of `levels`.
    /// Returns the block after the last one. Each level is one less than the one above, so this ends.
    fn level(&mut self, node: &Fields<'_>, slots: Range<u64>, levels: u32, start: u64) -> Result<u64, FilesystemError> {
        let each = self.per_block.pow(levels);
        let end = start + each * (slots.end - slots.start);
        let first = slots.start + self.wanted.start.clamp(start, end).saturating_sub(start) / each;
        let after = slots.start + (self.wanted.end.clamp(start, end) - start).div_ceil(each);
        for slot in first..after {
            let at = usize::try_from(slot * POINTER_BYTES).unwrap_or(usize::MAX);
            let block = u64::from(node.le32(at)?);
            if block != 0 {
                self.follow(node, block, levels, start + (slot - slots.start) * each)?;
            }
        }
        Ok(end)
    }

    fn follow(&mut self, node: &Fields<'_>, block: u64, levels: u32, logical: u64) -> Result<(), FilesystemError> {
        let covers = logical..logical + self.per_block.pow(levels);
        if !self.volume.holds(block, 1) {
            let what = format!("block {logical} of the file is said to lie outside the volume, at block {block}");
            return (self.on_loss)(covers, node.corrupt(what));
        }
        if levels == 0 {
            push(&mut self.runs, Run { logical, count: 1, physical: block, unwritten: false });
            return Ok(());
        }
        let bytes = match self.volume.block(node.object(), block) {
            Ok(bytes) => bytes,
            Err(error) => return (self.on_loss)(covers, error),
        };
        let below = Fields::new(&bytes, node.object(), self.volume.place_of(block));
        if let Some(what) = self.contradiction(&bytes) {
            return (self.on_loss)(covers, below.corrupt(what));
        }
        self.level(&below, 0..self.per_block, levels - 1, logical)?;
        Ok(())
    }

    /// Why a block cannot be one of pointers. There is no checksum: in a volume of which parts are lost, only what cannot be says that
    /// a block is noise, and one wrong pointer alone may be a flipped bit.
    fn contradiction(&self, bytes: &[u8]) -> Option<&'static str> {
        if !self.volume.is_wreck() {
            return None;
        }
        let pointers =
            || bytes.as_chunks::<4>().0.iter().map(|bytes| u64::from(u32::from_le_bytes(*bytes))).filter(|block| *block != 0);
        if pointers().next().is_none() {
            return Some("a block of pointers holds none");
        }
        let outside = pointers().filter(|block| !self.volume.holds(*block, 1)).count();
        (outside > 1).then_some("a block of pointers holds some that lead outside the volume")
    }
}
