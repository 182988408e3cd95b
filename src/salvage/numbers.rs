//! Inode numbers of what lies in no volume: directories made up, and inodes of earlier recovery points.
//!
//! No volume reaches these: an inode takes 128 bytes at least, and the largest volume has 2^63.

use crate::filesystem::InodeNumber;

const MADE_UP: u64 = 1 << 62;
const PAST_SHIFT: u32 = 57;
/// Earlier points that fit between the largest number of a volume and the numbers that are made up.
const PAST_MASK: u64 = 0xF;

/// Where files without a name go when the volume has no such directory.
pub(super) const LOST_AND_FOUND: u64 = MADE_UP;
/// The root of a tree of nothing but files that lack bytes.
pub(super) const PARTIAL_ROOT: u64 = MADE_UP + 1;
/// The directory in it.
pub(super) const PARTIAL_LOST_AND_FOUND: u64 = MADE_UP + 2;
/// The directory with those files.
pub(super) const PARTIAL: u64 = MADE_UP + 3;
/// Directories that only one block is known of follow here, by the block.
const BLOCKS: u64 = MADE_UP + (1 << 61);

/// The number of a directory of which nothing but the block at `at` is known.
pub(super) fn of_block(at: u64) -> u64 {
    BLOCKS + (at & ((1 << 60) - 1))
}

/// The block of such a directory.
pub(super) fn block_of(number: u64) -> Option<u64> {
    number.checked_sub(BLOCKS)
}

/// True for what no volume holds.
pub(super) fn is_made_up(number: u64) -> bool {
    number & MADE_UP != 0
}

/// An inode of earlier point `index`, told apart from the volume's own.
pub(super) fn of_past(index: usize, number: u64) -> u64 {
    number | (index as u64 + 1) << PAST_SHIFT
}

/// Which earlier point a number belongs to, and its number there.
pub(super) fn past_of(number: InodeNumber) -> Option<(usize, InodeNumber)> {
    if is_made_up(number.0) {
        return None;
    }
    let index = usize::try_from((number.0 >> PAST_SHIFT) & PAST_MASK).ok()?.checked_sub(1)?;
    Some((index, InodeNumber(number.0 & ((1 << PAST_SHIFT) - 1))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_up_and_what_is_past_never_meet() {
        assert_eq!(past_of(InodeNumber(12)), None);
        assert_eq!(past_of(InodeNumber(of_past(0, 12))), Some((0, InodeNumber(12))));
        assert_eq!(past_of(InodeNumber(of_past(7, (1 << 56) + 5))), Some((7, InodeNumber((1 << 56) + 5))));
        for number in [LOST_AND_FOUND, PARTIAL_ROOT, PARTIAL, of_block(0), of_block(1 << 59)] {
            assert!(is_made_up(number) && past_of(InodeNumber(number)).is_none(), "{number:#x}");
        }
        assert_eq!(block_of(of_block(4096)), Some(4096));
        assert_eq!(block_of(LOST_AND_FOUND), None);
        assert!(!is_made_up(of_past(7, 12)));
    }
}
