//! Runs of clear bits: what a bitmap calls free.

use std::iter;
use std::ops::Range;

/// Clusters of one group that are free: a bit for each, the lowest bit of a byte first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bitmap {
    /// Set bits are in use. Bits at and after `count` mean nothing.
    words: Vec<u64>,
    count: u32,
}

impl Bitmap {
    /// The first `count` bits of `bytes`; what is missing counts as used.
    pub(super) fn new(bytes: &[u8], count: u32) -> Self {
        let words = (count as usize).div_ceil(64);
        let word = |chunk: &[u8]| {
            let mut whole = [0xFF; 8];
            whole.iter_mut().zip(chunk).for_each(|(to, from)| *to = *from);
            u64::from_le_bytes(whole)
        };
        let mut words: Vec<u64> = bytes.chunks(8).take(words).map(word).collect();
        words.resize((count as usize).div_ceil(64), u64::MAX);
        Self { words, count }
    }

    /// `count` free clusters.
    pub(super) fn all_free(count: u32) -> Self {
        Self { words: vec![0; (count as usize).div_ceil(64)], count }
    }

    /// Marks clusters as used; what lies outside is left out.
    pub(super) fn take(&mut self, clusters: &Range<u64>) {
        let end = clusters.end.min(u64::from(self.count));
        for bit in clusters.start..end {
            if let Some(word) = self.words.get_mut((bit / 64) as usize) {
                *word |= 1 << (bit % 64);
            }
        }
    }

    /// Marks as used what `other` uses.
    pub(super) fn unite(&mut self, other: &Self) {
        self.words.iter_mut().zip(&other.words).for_each(|(word, other)| *word |= other);
    }

    /// True when any of these clusters is free.
    pub(super) fn is_any_free(&self, clusters: &Range<u64>) -> bool {
        let mut taken = self.clone();
        taken.take(clusters);
        taken.free() != self.free()
    }

    /// How many clusters are free.
    pub(super) fn free(&self) -> u32 {
        self.runs().map(|run| run.end - run.start).sum()
    }

    /// Runs of free clusters, ascending.
    pub(super) fn runs(&self) -> impl Iterator<Item = Range<u32>> + '_ {
        let mut at = 0;
        iter::from_fn(move || {
            let start = self.next(at, false)?;
            let end = self.next(start, true).unwrap_or(self.count);
            at = end;
            Some(start..end)
        })
    }

    /// The first bit from `at` on that is set, or clear.
    fn next(&self, at: u32, set: bool) -> Option<u32> {
        let first = (at / 64) as usize;
        for (index, word) in self.words.iter().enumerate().skip(first) {
            let wanted = if set { *word } else { !*word };
            let masked = if index == first { wanted & (u64::MAX << (at % 64)) } else { wanted };
            if masked != 0 {
                let bit = index as u32 * 64 + masked.trailing_zeros();
                return (bit < self.count).then_some(bit);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn runs_are_what_counting_bit_by_bit_finds(bytes in prop::collection::vec(prop_oneof![Just(0_u8), Just(255), any::<u8>()], 0..40), count in 0..300_u32) {
            let bitmap = Bitmap::new(&bytes, count);
            let is_free = |bit: u32| bytes.get(bit as usize / 8).is_some_and(|byte| byte & (1 << (bit % 8)) == 0);
            let expected: Vec<u32> = (0..count).filter(|bit| is_free(*bit)).collect();
            prop_assert_eq!(bitmap.runs().flatten().collect::<Vec<_>>(), expected.clone());
            prop_assert_eq!(bitmap.free() as usize, expected.len());
            let runs: Vec<_> = bitmap.runs().collect();
            prop_assert!(runs.windows(2).all(|pair| pair[0].end < pair[1].start));
        }
    }

    #[test]
    fn taken_clusters_are_free_no_more() {
        let mut bitmap = Bitmap::all_free(100);
        assert!(bitmap.is_any_free(&(99..200)));
        bitmap.take(&(10..70));
        bitmap.take(&(99..200));
        assert_eq!(bitmap.runs().collect::<Vec<_>>(), [0..10, 70..99]);
        assert!(!bitmap.is_any_free(&(10..70)));
        assert!(!bitmap.is_any_free(&(99..200)));
        bitmap.unite(&Bitmap::new(&[0xFF], 100));
        assert_eq!(bitmap.runs().count(), 0);
    }
}
