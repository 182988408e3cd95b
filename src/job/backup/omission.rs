//! Which free ranges are worth leaving out of a backup: whole chunks, in runs that are long enough, and not too many of them.

use crate::base::extent::{Extent, ExtentSet};
use crate::repository::format::point::MAX_OMITTED_EXTENTS;

/// Shorter runs are read: leaving them out would save less than the seek and the record cost.
const SHORTEST_BYTES: u64 = 64 << 10;

/// The chunks of a volume of `size` bytes that lie in `free` as a whole.
pub(super) fn omittable(free: &ExtentSet, chunk_bytes: u32, size: u64) -> ExtentSet {
    let whole: Vec<Extent> = free.as_slice().iter().map(|extent| extent.align_inward(chunk_bytes.into(), size)).collect();
    let mut shortest = SHORTEST_BYTES;
    loop {
        let long: ExtentSet = whole.iter().copied().filter(|extent| extent.length >= shortest).collect();
        if long.count() <= MAX_OMITTED_EXTENTS {
            return long;
        }
        shortest *= 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_chunks_in_long_runs_are_left_out() {
        let free: ExtentSet =
            [Extent::new(1000, 100_000), Extent::new(200_000, 10_000), Extent::new(990_000, 90_000)].into_iter().collect();
        let expected = [Extent::between(16384, 98304), Extent::between(999_424, 1_050_000)];
        assert_eq!(omittable(&free, 16384, 1_050_000).as_slice(), &expected[..1], "the last run is too short");
        assert_eq!(omittable(&free, 16384, 1_080_000).as_slice(), [expected[0], Extent::between(999_424, 1_080_000)]);
    }

    #[test]
    fn a_shredded_volume_gives_up_its_smallest_runs_first() {
        let size = 200_000 * (1 << 20);
        let free: ExtentSet =
            (0..200_000u64).map(|n| Extent::new(n << 20, if n % 4 == 0 { 512 << 10 } else { 64 << 10 })).collect();
        let kept = omittable(&free, 16384, size);
        assert_eq!(kept.count(), 50_000);
        assert!(kept.as_slice().iter().all(|extent| extent.length == 512 << 10));
    }
}
