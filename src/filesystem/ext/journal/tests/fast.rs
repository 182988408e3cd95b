//! Fast commits written by hand: what counts, where they end, what is told.

use super::logbook::{BLOCK, BLOCKS, Form, JOURNAL_BLOCKS, Logbook, Transaction, V3};
use super::written::{replayed, source};
use crate::filesystem::ext::journal::checksum::crc32c;
use crate::filesystem::ext::journal::{FastCommits, FastName, FastRange, JournalPlace, replay};
use crate::testkit::dice::{Dice, each_seed};

const FAST: Form = Form { fast: Some(9), ..V3 };
/// The block after the ring is not used.
const FIRST: u64 = JOURNAL_BLOCKS - 9 + 1;
/// The transaction that was running.
const RUNNING: u32 = 42;

/// A writer of records into the area, which goes to the next block at each tail, as the kernel does.
struct Area {
    logbook: Logbook,
    block: u64,
    bytes: Vec<u8>,
    crc: u32,
}

impl Area {
    fn new() -> Self {
        let mut logbook = Logbook::new(FAST, RUNNING - 1, 5);
        logbook.add(&Transaction::new(1).write(7, 1));
        Self { logbook, block: FIRST, bytes: Vec::new(), crc: 0 }
    }

    fn record(mut self, tag: u16, value: &[u8]) -> Self {
        let bytes = [&tag.to_le_bytes()[..], &(value.len() as u16).to_le_bytes(), value].concat();
        self.crc = crc32c(self.crc, &bytes);
        self.bytes.extend(bytes);
        self
    }

    fn head(self, transaction: u32) -> Self {
        self.record(9, &[[0; 4], transaction.to_le_bytes()].concat())
    }

    fn name(self, tag: u16, directory: u32, inode: u32, name: &[u8]) -> Self {
        self.record(tag, &[&directory.to_le_bytes()[..], &inode.to_le_bytes(), name].concat())
    }

    fn inode(self, inode: u32, generation: u8, filler: u8) -> Self {
        let mut raw = vec![filler; 160];
        raw[0x64..0x68].fill(generation);
        self.record(6, &[&inode.to_le_bytes()[..], &raw].concat())
    }

    fn add_range(self, inode: u32, logical: u32, length: u16, physical: u64) -> Self {
        let high = (physical >> 32) as u16;
        let value = [&inode.to_le_bytes()[..], &logical.to_le_bytes(), &length.to_le_bytes(), &high.to_le_bytes()];
        self.record(1, &[&value.concat()[..], &(physical as u32).to_le_bytes()].concat())
    }

    fn remove_range(self, inode: u32, logical: u32, length: u32) -> Self {
        self.record(2, &[inode.to_le_bytes(), logical.to_le_bytes(), length.to_le_bytes()].concat())
    }

    /// Fills the block with padding and goes to the next one.
    fn pad(mut self) -> Self {
        let padding = vec![0; BLOCK - self.bytes.len() - 4];
        self = self.record(7, &padding);
        self.flush()
    }

    fn tail(self, transaction: u32) -> Self {
        self.tail_with(transaction, 0)
    }

    fn tail_with(mut self, transaction: u32, error: u32) -> Self {
        let length = (BLOCK - self.bytes.len() - 4) as u16;
        let summed = [&8_u16.to_le_bytes()[..], &length.to_le_bytes(), &transaction.to_le_bytes()].concat();
        let crc = crc32c(self.crc, &summed) ^ error;
        self.bytes.extend(summed);
        self.bytes.extend(crc.to_le_bytes());
        self.crc = 0;
        self.flush()
    }

    fn flush(mut self) -> Self {
        self.bytes.resize(BLOCK, 0);
        self.logbook.put(self.block, &self.bytes);
        self.bytes.clear();
        self.block += 1;
        self
    }

    #[track_caller]
    fn read(&self, doubt: Option<&str>) -> FastCommits {
        let replay = replayed(&self.logbook).unwrap();
        match (doubt, replay.incomplete.as_deref()) {
            (None, None) => {}
            (Some(words), Some(reason)) => assert!(reason.contains(words), "{reason}"),
            (expected, found) => panic!("{found:?} in place of {expected:?}"),
        }
        assert_eq!((replay.transactions, replay.overlay.count()), (1, 1), "the log itself is replayed all the same");
        replay.fast
    }
}

fn added(name: &[u8], inode: u64) -> FastName {
    FastName::Add { name: name.to_vec(), inode }
}

#[test]
fn records_are_kept_in_their_order_over_blocks_and_commits() {
    let area = Area::new().head(RUNNING).inode(20, 1, 1).add_range(20, 0, 3, 500).name(3, 2, 20, b"made").tail(RUNNING);
    let area = area.name(5, 2, 20, b"made").name(4, 2, 20, b"linked").pad().add_range(20, 3, 0x8002, 510);
    let area = area.remove_range(20, 1, 1).inode(20, 1, 2).tail(RUNNING);
    let fast = area.read(None);
    let removed = FastName::Remove { name: b"made".to_vec(), inode: 20 };
    assert_eq!(fast.names(2), [added(b"made", 20), removed, added(b"linked", 20)]);
    let ranges = [
        FastRange::Add { logical: 0, length: 3, physical: 500, unwritten: false },
        FastRange::Add { logical: 3, length: 2, physical: 510, unwritten: true },
        FastRange::Remove { logical: 1, length: 1 },
    ];
    assert_eq!(fast.ranges(20), ranges);
    assert_eq!(fast.used_blocks().collect::<Vec<_>>(), [(500, 3), (510, 2)]);
    assert_eq!(fast.inode(20).map(|raw| (raw.len(), raw[0])), Some((160, 2)));
    assert!(fast.created(20) && !fast.created(2) && !fast.is_empty());
    assert_eq!((fast.inode(2), fast.ranges(2), fast.names(20)), (None, &[][..], &[][..]));
}

#[test]
fn another_generation_is_another_file() {
    let area = Area::new().head(RUNNING).inode(20, 1, 1).add_range(20, 0, 3, 500).tail(RUNNING);
    let fast = area.inode(20, 2, 1).add_range(20, 9, 1, 520).tail(RUNNING).read(None);
    assert_eq!(fast.ranges(20), [FastRange::Add { logical: 9, length: 1, physical: 520, unwritten: false }]);
}

#[test]
fn only_what_a_valid_tail_closes_counts() {
    let first = || Area::new().head(RUNNING).name(3, 2, 20, b"kept").tail(RUNNING);
    for area in [
        first(),
        first().name(3, 2, 21, b"lost").flush(),
        first().name(3, 2, 21, b"lost").tail_with(RUNNING, 1),
        first().name(3, 2, 21, b"lost").tail(RUNNING - 1),
        first().name(3, 2, 21, b"lost").record(10, b"").tail(RUNNING),
        first().name(3, 2, 21, b"").tail(RUNNING),
        first().name(3, 2, 21, &[b'n'; 256]).tail(RUNNING),
        first().record(6, &[0; 131]).tail(RUNNING),
        first().head(RUNNING - 1).name(3, 2, 21, b"lost").tail(RUNNING),
    ] {
        assert_eq!(area.read(None).names(2), [added(b"kept", 20)]);
    }
    assert!(
        Area::new().head(RUNNING - 1).name(3, 2, 20, b"old").tail(RUNNING - 1).read(None).is_empty(),
        "of a transaction before"
    );
    assert!(Area::new().name(3, 2, 20, b"headless").tail(RUNNING).read(None).is_empty());
}

#[test]
fn an_area_that_is_full_to_its_last_block_is_read_whole() {
    let mut area = Area::new().head(RUNNING);
    while area.block < JOURNAL_BLOCKS {
        let inode = area.block as u32;
        area = area.name(4, 2, inode, b"n").tail(RUNNING);
    }
    let expected: Vec<FastName> = (FIRST..JOURNAL_BLOCKS).map(|inode| added(b"n", inode)).collect();
    assert_eq!(area.read(None).names(2), expected);
}

#[test]
fn a_first_fast_commit_that_is_not_whole_is_told() {
    let begun = || Area::new().head(RUNNING).name(3, 2, 20, b"lost");
    assert!(begun().tail_with(RUNNING, 1).read(Some("a fast commit after transaction 41 fails its checksum")).is_empty());
    assert!(begun().record(77, b"x").tail(RUNNING).read(Some("unknown kind 77")).is_empty());
    let mut endless = begun().pad();
    while endless.block < JOURNAL_BLOCKS {
        endless = endless.pad();
    }
    assert!(endless.read(Some("have no end")).is_empty());
    let features = Area::new().record(9, &[[1, 0, 0, 0], RUNNING.to_le_bytes()].concat()).tail(RUNNING);
    assert!(features.read(Some("fast commit features 0x1")).is_empty());
}

#[test]
fn a_record_that_no_reader_could_follow_is_told_and_left_out() {
    for (area, words) in [
        (Area::new().head(RUNNING).add_range(20, 0, 2, BLOCKS - 1), "inode 20 at blocks 599+2"),
        (Area::new().head(RUNNING).add_range(20, 0, 1, 1 << 40), "inode 20 at blocks"),
        (Area::new().head(RUNNING).add_range(20, u32::MAX, 1, 5), "inode 20 at blocks"),
        (Area::new().head(RUNNING).add_range(20, 0, 0, 5), "inode 20 at blocks 5+0"),
        (Area::new().head(RUNNING).name(3, 2, 20, b"a/b"), "directory inode 2"),
        (Area::new().head(RUNNING).name(3, 2, 20, b"a\0"), "directory inode 2"),
        (Area::new().head(RUNNING).name(5, 2, 20, b".."), "directory inode 2"),
    ] {
        let fast = area.name(4, 2, 21, b"good").tail(RUNNING).read(Some(words));
        assert_eq!(fast.names(2), [added(b"good", 21)]);
        assert_eq!(fast.used_blocks().count(), 0);
    }
}

#[test]
fn fast_commits_without_the_feature_of_the_filesystem_are_applied_and_told() {
    let area = Area::new().head(RUNNING).name(3, 2, 20, b"made").tail(RUNNING);
    let place = JournalPlace { superblock_feature_fast_commit: false, ..area.logbook.place() };
    let replay = replay(&source(&area.logbook), &place).unwrap();
    assert_eq!(replay.fast.names(2), [added(b"made", 20)]);
    assert!(replay.incomplete.unwrap().contains("has not the feature fast_commit"));
}

#[test]
fn bytes_of_any_kind_behind_a_valid_checksum_do_not_panic() {
    each_seed(0..300, |seed| {
        let dice = Dice::new(seed);
        let mut area = Area::new().head(RUNNING);
        for _ in 0..dice.below(12) {
            let value: Vec<u8> = (0..dice.below(60)).map(|_| dice.below(256) as u8).collect();
            area = match dice.below(6) {
                0 => area.add_range(dice.below(9) as u32, u32::MAX, dice.below(65536) as u16, u64::MAX >> dice.below(64)),
                1 => area.remove_range(1, u32::MAX, u32::MAX),
                2 => area.name(4, 2, 3, &value),
                3 => area.record(7, &value),
                4 => area.record(dice.below(12) as u16, &value),
                _ => area.tail(RUNNING),
            };
            if area.block >= JOURNAL_BLOCKS - 1 || area.bytes.len() > BLOCK - 200 {
                break;
            }
        }
        let area = area.tail(RUNNING);
        let replay = replayed(&area.logbook).unwrap();
        assert!(replay.fast.used_blocks().all(|(first, count)| first + count <= BLOCKS));
    });
}
