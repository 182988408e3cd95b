//! Moments: 32 bits of seconds, and where the inode is long enough, two more bits and nanoseconds.

use crate::filesystem::inode::FileTime;

pub(super) type Moment = FileTime;

/// Bits of the extra word that extend the seconds; the others are nanoseconds.
const EPOCH_BITS: u32 = 2;
const LAST_NANOSECOND: u32 = 999_999_999;

/// Joins the two words. The seconds are signed, and the epoch bits count rounds of 2³².
pub(super) fn moment(seconds: u32, extra: u32) -> Moment {
    let epoch = i64::from(extra & ((1 << EPOCH_BITS) - 1)) << 32;
    FileTime { seconds: i64::from(seconds.cast_signed()) + epoch, nanoseconds: (extra >> EPOCH_BITS).min(LAST_NANOSECOND) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_epoch_bits_carry_time_from_1901_to_2446() {
        let check = |seconds, extra, expected: (i64, u32)| {
            let found = moment(seconds, extra);
            assert_eq!((found.seconds, found.nanoseconds), expected, "{seconds:#x} {extra:#x}");
        };
        check(0, 0, (0, 0));
        check(0xFFFF_FFFF, 0, (-1, 0));
        check(0x8000_0000, 0, (-0x8000_0000, 0));
        check(0x8000_0000, 1, (0x8000_0000, 0));
        check(0x7FFF_FFFF, 3, (0x3_7FFF_FFFF, 0));
        check(5, 7 << 2, (5, 7));
        check(5, u32::MAX, (5 + (3 << 32), 999_999_999));
    }
}
