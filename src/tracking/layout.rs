//! What the tracker's maps hold, word by word; `bpf/tracker.bpf.c` has the same numbers.

use std::fmt;

/// Changes whenever a map does, so that one version never reads the maps of another.
pub(super) const LAYOUT: u64 = 1;
/// Disks that can be tracked at once.
pub(super) const MAX_DISKS: u32 = 1024;
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

/// Index, regime, tags, queues.
pub(super) type DiskEntry = [u32; 4];
/// A bio on its way: index, then a flight.
pub(super) type BioEntry = [u64; 5];
/// Sectors counted on one processor, and a reserve.
pub(super) type Tally = [u64; 2];
/// Layout, whether early writes were lost, identity, and the newest disk when each regime was attached.
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
            "MAX_DISKS = 1024,",
            "MAX_BIOS = 16384,",
            "LINE_BITS = 512, LINE_WORDS = 8,",
            "BY_REQUEST = 1, BY_BIO = 2 ",
            "WRITTEN = 0, DISCARDED = 1 ",
            "MMAPABLE = 1 << 10, INNER_MAP = 1 << 12 ",
        ] {
            assert!(source.contains(line), "{line}");
        }
    }
}
