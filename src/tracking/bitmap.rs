//! The marks of one generation: two bitmaps in memory shared with the kernel, of what was written and what was discarded.

use std::iter;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use aya::maps::{Array, MapData};

use super::error::TrackingError;
use super::layout::{Flags, Kind, LINE_BITS, LINE_WORDS, Line, SHARED_INNER, header};
use super::shared::SharedWords;
use crate::base::extent::{Extent, ExtentSet};

const SECTOR_BYTES: u64 = 512;
/// A bitmap of 2^32 chunks takes a GiB; with the smallest chunks that is a volume of 64 TiB, and larger volumes take larger chunks.
pub(super) const MAX_CHUNKS: u64 = 1 << 32;

/// How a disk is cut into chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Grid {
    pub(super) size_bytes: u64,
    /// A power of two.
    pub(super) chunk_bytes: u32,
}

impl Grid {
    fn chunks(self) -> u64 {
        self.size_bytes.div_ceil(self.chunk_bytes.max(1).into()).max(1)
    }

    fn lines(self) -> u64 {
        self.chunks().div_ceil(LINE_BITS)
    }

    fn sector_shift(self) -> u64 {
        (u64::from(self.chunk_bytes) / SECTOR_BYTES).max(1).ilog2().into()
    }
}

/// Ranges that were marked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Marks {
    /// Whole chunks in which something was written.
    pub written: ExtentSet,
    /// Whole chunks in which something was discarded; what they read as now is up to the disk. Some may be written too.
    pub discarded: ExtentSet,
}

/// A map of marks, pinned, and mapped into this process.
#[derive(Debug)]
pub(super) struct Bitmap {
    map: MapData,
    words: SharedWords,
}

impl Bitmap {
    /// Makes an empty map and pins it.
    pub(super) fn create(pin: &Path, generation: u64, grid: Grid) -> Result<Self, TrackingError> {
        let failed = |error| TrackingError::bpf("make the bitmap", pin, error);
        let too_large = || TrackingError::TooLarge { size_bytes: grid.size_bytes, chunk_bytes: grid.chunk_bytes };
        let lines = u32::try_from(1 + 2 * grid.lines()).ok().filter(|_| grid.chunks() <= MAX_CHUNKS).ok_or_else(too_large)?;
        let map = Array::<MapData, Line>::create(lines, SHARED_INNER).map_err(failed)?;
        map.pin(pin).map_err(|error| TrackingError::bpf("pin the bitmap", pin, error))?;
        let bitmap = Self::open(pin)?;
        let fields = [
            (header::GENERATION, generation),
            (header::CHUNKS, grid.chunks()),
            (header::SECTOR_SHIFT, grid.sector_shift()),
            (header::LINES, grid.lines()),
        ];
        fields.into_iter().for_each(|(place, value)| bitmap.set_header(place, value));
        Ok(bitmap)
    }

    /// Opens a pinned map.
    pub(super) fn open(pin: &Path) -> Result<Self, TrackingError> {
        let map = MapData::from_pin(pin).map_err(|error| TrackingError::bpf("open the bitmap", pin, error))?;
        let info = map.info().map_err(|error| TrackingError::bpf("measure the bitmap", pin, error))?;
        let words = SharedWords::new(map.fd().as_fd(), u64::from(info.max_entries()) * LINE_WORDS);
        Ok(Self { words: words.map_err(|error| TrackingError::os("map the bitmap", pin, error))?, map })
    }

    pub(super) fn map(&self) -> &MapData {
        &self.map
    }

    /// The kernel's number of the map.
    pub(super) fn number(&self) -> Result<u32, TrackingError> {
        let info = self.map.info().map_err(|error| TrackingError::bpf("measure", Path::new("the bitmap"), error))?;
        Ok(info.id())
    }

    fn header(&self, place: u64) -> u64 {
        self.words.word(place).map_or(0, |word| word.load(Ordering::Relaxed))
    }

    fn set_header(&self, place: u64, value: u64) {
        if let Some(word) = self.words.word(place) {
            word.store(value, Ordering::Relaxed);
        }
    }

    pub(super) fn generation(&self) -> u64 {
        self.header(header::GENERATION)
    }

    pub(super) fn chunk_bytes(&self) -> u64 {
        SECTOR_BYTES << self.header(header::SECTOR_SHIFT).min(40)
    }

    pub(super) fn flags(&self) -> Flags {
        Flags(self.header(header::FLAGS))
    }

    pub(super) fn raise(&self, flags: Flags) {
        if let Some(word) = self.words.word(header::FLAGS) {
            word.fetch_or(flags.0, Ordering::Relaxed);
        }
    }

    /// The words of one of the two bitmaps.
    fn words_of(&self, kind: Kind) -> &[AtomicU64] {
        let lines = self.header(header::LINES);
        let first = if kind == Kind::Written { 1 } else { lines.saturating_add(1) };
        let place = |line: u64| usize::try_from(line.saturating_mul(LINE_WORDS)).unwrap_or(usize::MAX);
        self.words.words().get(place(first)..place(first.saturating_add(lines))).unwrap_or_default()
    }

    /// Marks chunks `first` to `last`, as far as there are such.
    pub(super) fn mark(&self, first: u64, last: u64, kind: Kind) {
        let Some(end) = self.header(header::CHUNKS).checked_sub(1) else { return };
        let words = self.words_of(kind);
        for chunk in first..=last.min(end) {
            if let Some(word) = usize::try_from(chunk / 64).ok().and_then(|index| words.get(index)) {
                word.fetch_or(1 << (chunk % 64), Ordering::Relaxed);
            }
        }
    }

    /// Takes over the marks and flags of another generation.
    pub(super) fn merge(&self, other: &Self) {
        for kind in [Kind::Written, Kind::Discarded] {
            for (word, more) in self.words_of(kind).iter().zip(other.words_of(kind)) {
                word.fetch_or(more.load(Ordering::Relaxed), Ordering::Relaxed);
            }
        }
        self.raise(other.flags());
    }

    /// What is marked now, in whole chunks cut off at `size_bytes`.
    pub(super) fn marks(&self, size_bytes: u64) -> Marks {
        let set = |kind| extents(self.words_of(kind), self.chunk_bytes(), size_bytes);
        Marks { written: set(Kind::Written), discarded: set(Kind::Discarded) }
    }
}

/// The runs of set bits as ranges.
fn extents(words: &[AtomicU64], chunk_bytes: u64, size_bytes: u64) -> ExtentSet {
    let limit = Extent::new(0, size_bytes);
    let runs =
        (0u64..).zip(words).flat_map(|(index, word)| runs_of(word.load(Ordering::Relaxed)).map(move |run| (index * 64, run)));
    runs.map(|(base, (first, count))| Extent::new((base + first).saturating_mul(chunk_bytes), count.saturating_mul(chunk_bytes)))
        .map(|extent| extent.intersect(&limit))
        .collect()
}

/// The runs of set bits of one word: first bit and count.
fn runs_of(mut word: u64) -> impl Iterator<Item = (u64, u64)> {
    iter::from_fn(move || {
        if word == 0 {
            return None;
        }
        let first = word.trailing_zeros();
        let count = (word >> first).trailing_ones();
        let run = if count == 64 { u64::MAX } else { ((1 << count) - 1) << first };
        word &= !run;
        Some((first.into(), count.into()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn ranges_agree_with_the_bits_one_by_one(words in prop::collection::vec(prop_oneof![any::<u64>(), Just(0), Just(u64::MAX)], 1..5), cut in 0..64u64) {
            let size = words.len() as u64 * 64 * 4096 - cut * 1000;
            let shared: Vec<AtomicU64> = words.iter().copied().map(AtomicU64::new).collect();
            let set = extents(&shared, 4096, size);
            for chunk in 0..words.len() as u64 * 64 {
                let marked = words[chunk as usize / 64] >> (chunk % 64) & 1 == 1;
                for byte in [chunk * 4096, chunk * 4096 + 4095] {
                    prop_assert_eq!(set.contains(byte), marked && byte < size, "byte {}", byte);
                }
            }
        }
    }

    #[test]
    fn a_grid_has_a_chunk_for_the_last_byte() {
        let grid = |size_bytes| Grid { size_bytes, chunk_bytes: 65_536 };
        assert_eq!((grid(0).chunks(), grid(1).chunks(), grid(65_536).chunks(), grid(65_537).chunks()), (1, 1, 1, 2));
        assert_eq!((grid(512 * 65_536).lines(), grid(512 * 65_536 + 1).lines()), (1, 2));
        assert_eq!(grid(1).sector_shift(), 7);
    }
}
