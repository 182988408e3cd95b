//! What the tracker's maps hold, word by word; `bpf/tracker.bpf.c` has the same numbers.

use std::fmt;

/// Changes whenever a map does, so that one version never reads the maps of another.
pub(super) const LAYOUT: u64 = 2;
/// Places for tracked disks.
pub(super) const MAX_DISKS: u32 = 1024;
/// Places where a disk may lie, from that of its number on.
const MAX_PROBES: u64 = 4;
/// Bits for disks that were written before they were adopted.
const MAX_EARLY: u64 = 65_536;
/// Bios on their way at once, over all disks of that regime.
pub(super) const MAX_BIOS: usize = 16_384;

/// A line of 512 bits; the first of each bitmap map is its header.
pub(super) type Line = [u64; 8];
/// Chunks in a line.
pub(super) const LINE_BITS: u64 = 512;
/// Words in a line.
pub(super) const LINE_WORDS: u64 = 8;

/// Places in the header.
pub(super) mod header {
    pub(in crate::tracking) const GENERATION: u64 = 0;
    pub(in crate::tracking) const CHUNKS: u64 = 1;
    pub(in crate::tracking) const SECTOR_SHIFT: u64 = 2;
    pub(in crate::tracking) const LINES: u64 = 3;
    pub(in crate::tracking) const FLAGS: u64 = 4;
}

/// `BPF_F_MMAPABLE | BPF_F_INNER_MAP`: shared with this process, and of any length inside another map.
pub(super) const SHARED_INNER: u32 = 1 << 10 | 1 << 12;

/// A tracked disk in its map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DiskEntry {
    /// None where it is 0.
    pub(super) diskseq: u64,
    pub(super) regime: u32,
    pub(super) tags: u32,
    pub(super) queues: u32,
}

impl DiskEntry {
    pub(super) fn words(self) -> [u64; 3] {
        [self.diskseq, u64::from(self.tags) << 32 | u64::from(self.regime), self.queues.into()]
    }

    pub(super) fn parse([diskseq, halves, queues]: [u64; 3]) -> Self {
        // The halves of a word, as a little-endian machine lays them out.
        let low = |word: u64| (word & u64::from(u32::MAX)) as u32;
        Self { diskseq, regime: low(halves), tags: low(halves >> 32), queues: low(queues) }
    }
}

/// Where a disk may lie in the maps; one of these places is its index.
pub(super) fn places_of(diskseq: u64) -> impl Iterator<Item = u32> {
    // Below MAX_DISKS, so each fits.
    (0..MAX_PROBES).map(move |probe| (diskseq.wrapping_add(probe) % u64::from(MAX_DISKS)) as u32)
}

/// The word and the bit that notes early writes of a disk.
pub(super) fn early_place(diskseq: u64) -> (u32, u64) {
    // Below MAX_EARLY / 64, so it fits.
    ((diskseq % MAX_EARLY / 64) as u32, 1 << (diskseq % 64))
}
/// A bio on its way: index, then a flight.
pub(super) type BioEntry = [u64; 5];
/// Sectors counted on one processor: when they were completed, of bio disks when they were queued; and when they were issued.
pub(super) type Tally = [u64; 2];
/// Layout, a reserve, identity, and the newest disk when each regime was attached.
pub(super) type Instance = [u64; 6];

/// How a disk is tracked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Regime {
    /// By the requests that its driver is handed (blk-mq).
    Requests,
    /// By bios: it has no requests.
    Bios,
}

impl Regime {
    /// As it is in maps and on disk.
    pub(super) fn number(self) -> u32 {
        match self {
            Self::Requests => 1,
            Self::Bios => 2,
        }
    }

    pub(super) fn parse(number: u32) -> Option<Self> {
        [Self::Requests, Self::Bios].into_iter().find(|regime| regime.number() == number)
    }
}

/// What a mark says of its chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Written,
    Discarded,
}

/// A write that the driver has: which chunks, marked in which generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Flight {
    pub(super) generation: u64,
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) kind: Kind,
}

impl Flight {
    /// Words of a flight in its map.
    pub(super) const WORDS: usize = 4;

    /// `None` for an empty slot.
    pub(super) fn parse([owner, generation, first, last_and_kind]: [u64; Self::WORDS]) -> Option<Self> {
        const KIND: u64 = 1 << 63;
        let kind = if last_and_kind & KIND == 0 { Kind::Written } else { Kind::Discarded };
        (owner != 0).then_some(Self { generation, first, last: last_and_kind & !KIND, kind })
    }
}

/// Reasons why the marks of a generation may not be all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags(pub u64);

impl Flags {
    /// A write was seen only when it was over: its beginning was missed.
    pub const HEALED: Self = Self(32);
    /// A write failed.
    pub const FAILED: Self = Self(64);
    /// A write failed in the generation before; raised by this side, not by the programs.
    pub const FAILED_BEFORE: Self = Self(128);

    /// Each flag with what it means.
    const WORDS: &[(u64, &str)] = &[
        (1, "something was written past the end that the disk had when the epoch began"),
        (2, "a command was passed through that does not say what it writes"),
        (4, "a write on its way could not be recorded"),
        (8, "an operation was seen that the tracker does not know, such as those on zones"),
        (16, "a discard had more ranges than are looked at"),
        (Self::HEALED.0, "a write was seen only when it was over"),
        (Self::FAILED.0, "a write failed, and may have changed anything in its range, even later"),
        (Self::FAILED_BEFORE.0, "a write failed in the epoch before, and may have changed its range later"),
    ];

    /// True when no flag is raised.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// True when all of `other` are raised.
    #[must_use]
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The flags of both.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known: Vec<&str> = Self::WORDS.iter().filter(|(bit, _)| self.0 & bit != 0).map(|(_, words)| *words).collect();
        let strange = self.0 & !Self::WORDS.iter().fold(0, |all, (bit, _)| all | bit);
        match (known.is_empty(), strange) {
            (_, 0) => f.write_str(&known.join("; ")),
            (true, _) => write!(f, "flags {strange:#x} are raised, which this version does not know"),
            (false, _) => write!(f, "{}; and flags {strange:#x}, which this version does not know", known.join("; ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_slot_is_no_flight() {
        assert_eq!(Flight::parse([0, 1, 2, 3]), None);
        let expected = Flight { generation: 1, first: 2, last: 3, kind: Kind::Discarded };
        assert_eq!(Flight::parse([9, 1, 2, 3 | 1 << 63]), Some(expected));
        assert_eq!(Flight::parse([9, 1, 2, 3]), Some(Flight { kind: Kind::Written, ..expected }));
    }

    #[test]
    fn an_entry_comes_back_from_its_words() {
        let entry = DiskEntry { diskseq: 1 << 40, regime: 2, tags: 128, queues: 7 };
        assert_eq!(DiskEntry::parse(entry.words()), entry);
        assert_eq!(places_of(1023).collect::<Vec<_>>(), [1023, 0, 1, 2]);
        assert_eq!(early_place(65_536 + 65), (1, 2));
    }

    #[test]
    fn every_flag_says_something_and_a_strange_one_is_named() {
        let words: Vec<String> = (0..8).map(|bit| Flags(1 << bit).to_string()).collect();
        assert!(words.iter().all(|words| words.len() > 20 && !words.contains("0x")), "{words:?}");
        assert!(Flags(1 << 20 | 1).to_string().contains("0x100000"));
        assert!(Flags::default().is_empty() && Flags::default().to_string().is_empty());
    }

    #[test]
    fn the_program_is_compiled_with_the_same_numbers() {
        let source = include_str!("bpf/tracker.bpf.c");
        for line in [
            "FLAG_HEALED = 32,",
            "FLAG_FAILED = 64,",
            "MAX_DISKS = 1024, MAX_PROBES = 4, MAX_EARLY = 65536, MAX_BIOS = 16384,",
            "LINE_BITS = 512, LINE_WORDS = 8,",
            "BY_REQUEST = 1, BY_BIO = 2 ",
            "WRITTEN = 0, DISCARDED = 1 ",
            "MMAPABLE = 1 << 10, INNER_MAP = 1 << 12 ",
        ] {
            assert!(source.contains(line), "{line}");
        }
    }
}
