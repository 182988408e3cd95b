//! Byte ranges, and sets of them kept sorted, disjoint and joined.

use std::{fmt, iter, slice, vec};

/// `length` bytes from `offset`. The end never overflows: [`Extent::new`] clips it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Extent {
    /// First byte.
    pub offset: u64,
    /// How many bytes.
    pub length: u64,
}

impl Extent {
    /// `length` bytes from `offset`, clipped at the largest offset.
    #[must_use]
    pub fn new(offset: u64, length: u64) -> Self {
        Self { offset, length: length.min(u64::MAX - offset) }
    }

    /// From `start` up to, not including, `end`; empty when `end` is not after `start`.
    #[must_use]
    pub fn between(start: u64, end: u64) -> Self {
        Self { offset: start, length: end.saturating_sub(start) }
    }

    /// The first byte after the range.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.offset.saturating_add(self.length)
    }

    /// True when the range holds no byte.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The bytes in both ranges; empty when they share none.
    #[must_use]
    pub fn intersect(&self, other: &Self) -> Self {
        Self::between(self.offset.max(other.offset), self.end().min(other.end()))
    }

    /// The smallest range of whole granules that covers this one.
    #[must_use]
    pub fn align_outward(&self, granule: u64) -> Self {
        let granule = granule.max(1);
        let start = self.offset - self.offset % granule;
        let end = self.end().checked_next_multiple_of(granule).unwrap_or(u64::MAX);
        if self.is_empty() { Self::new(start, 0) } else { Self::between(start, end) }
    }

    /// The largest range of whole granules within this one; the end of the volume, at `size`, counts as the end of a granule.
    #[must_use]
    pub fn align_inward(&self, granule: u64, size: u64) -> Self {
        let granule = granule.max(1);
        let start = self.offset.checked_next_multiple_of(granule).unwrap_or(u64::MAX);
        let end = if self.end() >= size { size } else { self.end() - self.end() % granule };
        Self::between(start, end)
    }

    /// Cuts the range at every multiple of `granule`, ascending.
    pub fn cut(&self, granule: u64) -> impl Iterator<Item = Self> + use<> {
        let granule = granule.max(1);
        let end = self.end();
        let mut at = self.offset;
        iter::from_fn(move || {
            if at >= end {
                return None;
            }
            let next = (at - at % granule).saturating_add(granule).min(end);
            let piece = Self::between(at, next);
            at = next;
            Some(piece)
        })
    }
}

impl fmt::Display for Extent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bytes {}+{}", self.offset, self.length)
    }
}

/// A set of bytes: ascending extents that neither overlap nor touch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExtentSet {
    extents: Vec<Extent>,
}

impl ExtentSet {
    /// The empty set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// All bytes below `size`.
    #[must_use]
    pub fn whole(size: u64) -> Self {
        Extent::new(0, size).into()
    }

    /// The extents, ascending, disjoint, none empty.
    #[must_use]
    pub fn as_slice(&self) -> &[Extent] {
        &self.extents
    }

    /// How many separate extents there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.extents.len()
    }

    /// True when the set holds no byte.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.extents.is_empty()
    }

    /// How many bytes the set holds.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.extents.iter().map(|extent| extent.length).sum()
    }

    /// True when `offset` is in the set.
    #[must_use]
    pub fn contains(&self, offset: u64) -> bool {
        self.intersects(&Extent::new(offset, 1))
    }

    /// True when the set and `extent` share a byte.
    #[must_use]
    pub fn intersects(&self, extent: &Extent) -> bool {
        self.first_within(extent).is_some()
    }

    /// The first bytes that the set and `extent` share.
    #[must_use]
    pub fn first_within(&self, extent: &Extent) -> Option<Extent> {
        let first = self.extents.partition_point(|e| e.end() <= extent.offset);
        self.extents.get(first).map(|e| e.intersect(extent)).filter(|both| !both.is_empty())
    }

    /// Adds a range. Appending in ascending order is cheap; anywhere else costs a shift.
    pub fn insert(&mut self, extent: Extent) {
        if extent.is_empty() {
            return;
        }
        let first = self.extents.partition_point(|e| e.end() < extent.offset);
        let after = self.extents.partition_point(|e| e.offset <= extent.end());
        if first >= after {
            self.extents.insert(first, extent);
            return;
        }
        let start = self.extents[first].offset.min(extent.offset);
        let end = self.extents[after - 1].end().max(extent.end());
        self.extents.splice(first..after, [Extent::between(start, end)]);
    }

    /// The bytes in either set.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        self.extents.iter().chain(&other.extents).copied().collect()
    }

    /// The bytes in both sets.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let (mut a, mut b) = (self.extents.iter().peekable(), other.extents.iter().peekable());
        let mut out = Vec::new();
        while let (Some(x), Some(y)) = (a.peek(), b.peek()) {
            let both = x.intersect(y);
            if !both.is_empty() {
                out.push(both);
            }
            if x.end() <= y.end() {
                a.next()
            } else {
                b.next()
            };
        }
        Self { extents: out }
    }

    /// The bytes in this set that are not in `other`.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        let mut out = Vec::new();
        let mut next = 0;
        for extent in &self.extents {
            let mut start = extent.offset;
            while other.extents.get(next).is_some_and(|o| o.end() <= start) {
                next += 1;
            }
            let mut probe = next;
            while let Some(hole) = other.extents.get(probe).filter(|o| o.offset < extent.end()) {
                out.push(Extent::between(start, hole.offset));
                start = start.max(hole.end());
                probe += 1;
            }
            out.push(Extent::between(start, extent.end()));
        }
        out.retain(|extent| !extent.is_empty());
        Self { extents: out }
    }

    /// The set with every range grown to whole granules and cut off at `size`.
    #[must_use]
    pub fn align_outward(&self, granule: u64, size: u64) -> Self {
        let limit = Extent::new(0, size);
        self.extents.iter().map(|extent| extent.align_outward(granule).intersect(&limit)).collect()
    }
}

impl From<Extent> for ExtentSet {
    fn from(extent: Extent) -> Self {
        [extent].into_iter().collect()
    }
}

impl FromIterator<Extent> for ExtentSet {
    fn from_iter<I: IntoIterator<Item = Extent>>(iter: I) -> Self {
        let mut extents: Vec<Extent> = iter.into_iter().filter(|extent| !extent.is_empty()).collect();
        extents.sort_unstable();
        extents.dedup_by(|next, kept| {
            let joins = next.offset <= kept.end();
            if joins {
                *kept = Extent::between(kept.offset, kept.end().max(next.end()));
            }
            joins
        });
        Self { extents }
    }
}

impl IntoIterator for ExtentSet {
    type Item = Extent;
    type IntoIter = vec::IntoIter<Extent>;
    fn into_iter(self) -> Self::IntoIter {
        self.extents.into_iter()
    }
}

impl<'a> IntoIterator for &'a ExtentSet {
    type Item = &'a Extent;
    type IntoIter = slice::Iter<'a, Extent>;
    fn into_iter(self) -> Self::IntoIter {
        self.extents.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The plain model: one boolean a byte.
    const UNIVERSE: u64 = 64;

    fn model(set: &ExtentSet) -> Vec<bool> {
        (0..UNIVERSE).map(|byte| set.as_slice().iter().any(|e| e.offset <= byte && byte < e.end())).collect()
    }

    fn zip(a: &[bool], b: &[bool], op: fn(bool, bool) -> bool) -> Vec<bool> {
        a.iter().zip(b).map(|(a, b)| op(*a, *b)).collect()
    }

    fn extents() -> impl Strategy<Value = Vec<Extent>> {
        prop::collection::vec((0..UNIVERSE, 0u64..12), 0..10)
            .prop_map(|raw| raw.into_iter().map(|(o, l)| Extent::between(o, (o + l).min(UNIVERSE))).collect())
    }

    fn assert_canonical(set: &ExtentSet) {
        for pair in set.as_slice().windows(2) {
            assert!(pair[0].end() < pair[1].offset, "extents touch or overlap: {set:?}");
        }
        assert!(set.as_slice().iter().all(|e| !e.is_empty()));
    }

    proptest! {
        #[test]
        fn set_operations_agree_with_a_bitmap(a in extents(), b in extents()) {
            let (a, b): (ExtentSet, ExtentSet) = (a.into_iter().collect(), b.into_iter().collect());
            let (ma, mb) = (model(&a), model(&b));
            for (set, expected) in [
                (a.union(&b), zip(&ma, &mb, |x, y| x || y)),
                (a.intersection(&b), zip(&ma, &mb, |x, y| x && y)),
                (a.difference(&b), zip(&ma, &mb, |x, y| x && !y)),
            ] {
                assert_canonical(&set);
                prop_assert_eq!(model(&set), expected);
                prop_assert_eq!(set.bytes(), model(&set).iter().filter(|x| **x).count() as u64);
            }
        }

        #[test]
        fn inserting_one_by_one_equals_collecting(raw in extents(), at in 0..UNIVERSE) {
            let mut grown = ExtentSet::new();
            raw.iter().for_each(|extent| grown.insert(*extent));
            let collected: ExtentSet = raw.into_iter().collect();
            assert_canonical(&grown);
            prop_assert_eq!(&grown, &collected);
            prop_assert_eq!(grown.contains(at), model(&grown)[at as usize]);
            let rest = Extent::between(at, UNIVERSE);
            prop_assert_eq!(grown.first_within(&rest), grown.intersection(&rest.into()).as_slice().first().copied());
        }

        #[test]
        fn cutting_covers_each_byte_once(offset in 0..200u64, length in 0..200u64, granule in 1..50u64) {
            let whole = Extent::new(offset, length);
            let pieces: Vec<Extent> = whole.cut(granule).collect();
            prop_assert_eq!(pieces.iter().map(|p| p.length).sum::<u64>(), length);
            for piece in &pieces {
                prop_assert_eq!(piece.offset / granule, (piece.end() - 1) / granule);
            }
            prop_assert_eq!(pieces.into_iter().collect::<ExtentSet>(), whole.into());
        }
    }

    #[test]
    fn aligning_outward_covers_whole_granules() {
        let set: ExtentSet = [Extent::new(5, 1), Extent::new(30, 10)].into_iter().collect();
        let aligned = set.align_outward(16, 37);
        assert_eq!(aligned.as_slice(), [Extent::new(0, 37)]);
        assert_eq!(Extent::new(7, 0).align_outward(4), Extent::new(4, 0));
    }

    #[test]
    fn aligning_inward_keeps_only_whole_granules() {
        for (extent, expected) in [
            (Extent::new(5, 40), Extent::new(16, 16)),
            (Extent::new(16, 16), Extent::new(16, 16)),
            (Extent::new(5, 95), Extent::between(16, 100)),
            (Extent::new(5, 200), Extent::between(16, 100)),
        ] {
            assert_eq!(extent.align_inward(16, 100), expected, "{extent}");
        }
        assert!(Extent::new(5, 20).align_inward(16, 100).is_empty());
    }

    #[test]
    fn the_far_end_of_the_number_line_does_not_overflow() {
        let far = Extent::new(u64::MAX - 2, 100);
        assert_eq!(far.end(), u64::MAX);
        assert_eq!(far.align_outward(4096).end(), u64::MAX);
        assert_eq!(far.cut(4096).count(), 1);
    }
}
