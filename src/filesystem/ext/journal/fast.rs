//! Fast commits: what was synced since the last whole transaction, as changes of inodes, maps and names.
//!
//! The kernel carries them out one by one, and where it puts a name in a directory is its own affair. A reader keeps them beside the
//! filesystem instead: it takes the inode from here, then the ranges over its map, then the names over its entries.

mod records;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::JournalPlace;
use super::area::corrupt;
use super::doubts::Doubts;
use super::walk::Log;
use crate::filesystem::error::FilesystemError;
use records::{Record, Records, Taken};

/// How much of the area is read. The default is 256 blocks, so that even blocks of 64 KiB are within it.
const MOST_BYTES: u64 = 16 << 20;
/// Where a raw inode has its generation.
const GENERATION_AT: usize = 0x64;

/// A change of an inode's map, in blocks of the filesystem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::filesystem) enum FastRange {
    /// These blocks of the file lie there now, whatever they were.
    Add {
        /// First block of the file.
        logical: u32,
        /// How many.
        length: u32,
        /// First block of the filesystem.
        physical: u64,
        /// Reserved, and to be read as zeros.
        unwritten: bool,
    },
    /// These blocks of the file are a hole now.
    Remove {
        /// First block of the file.
        logical: u32,
        /// How many.
        length: u32,
    },
}

impl FastRange {
    /// The blocks of the file.
    pub(in crate::filesystem) fn blocks(&self) -> Range<u64> {
        let (Self::Add { logical, length, .. } | Self::Remove { logical, length }) = self;
        u64::from(*logical)..u64::from(*logical) + u64::from(*length)
    }
}

/// A change of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::filesystem) enum FastName {
    /// The name leads to this inode now.
    Add {
        /// 1 to 255 bytes.
        name: Vec<u8>,
        /// Where it leads.
        inode: u64,
    },
    /// The name is gone, if it still led to this inode.
    Remove {
        /// 1 to 255 bytes.
        name: Vec<u8>,
        /// Where it led.
        inode: u64,
    },
}

/// Everything that valid fast commits say, the later over the earlier.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::filesystem) struct FastCommits {
    inodes: BTreeMap<u64, Vec<u8>>,
    ranges: BTreeMap<u64, Vec<FastRange>>,
    names: BTreeMap<u64, Vec<FastName>>,
    created: BTreeSet<u64>,
}

impl FastCommits {
    /// The inode's new bytes, at least 128. Its map, at 40 to 100, counts only if the inode keeps its data there.
    pub(in crate::filesystem) fn inode(&self, inode: u64) -> Option<&[u8]> {
        self.inodes.get(&inode).map(Vec::as_slice)
    }

    /// Changes of an inode's map, in their order.
    pub(in crate::filesystem) fn ranges(&self, inode: u64) -> &[FastRange] {
        self.ranges.get(&inode).map_or(&[], Vec::as_slice)
    }

    /// Changes of a directory, in their order.
    pub(in crate::filesystem) fn names(&self, directory: u64) -> &[FastName] {
        self.names.get(&directory).map_or(&[], Vec::as_slice)
    }

    /// True when the inode was made here. A directory then has no entries but those in [`Self::names`].
    pub(in crate::filesystem) fn created(&self, inode: u64) -> bool {
        self.created.contains(&inode)
    }

    /// Every inode of which the bytes, the map or the names changed; one that changed in two ways comes twice.
    pub(in crate::filesystem) fn touched(&self) -> impl Iterator<Item = u64> + '_ {
        self.inodes.keys().chain(self.ranges.keys()).chain(self.names.keys()).copied()
    }

    /// True when there is nothing.
    pub(in crate::filesystem) fn is_empty(&self) -> bool {
        self.inodes.is_empty() && self.ranges.is_empty() && self.names.is_empty()
    }

    /// Blocks of the filesystem that files got here, whatever the bitmaps say: first and count, in no order.
    pub(in crate::filesystem) fn used_blocks(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.ranges.values().flatten().filter_map(|range| match range {
            FastRange::Add { length, physical, .. } => Some((*physical, u64::from(*length))),
            FastRange::Remove { .. } => None,
        })
    }

    fn take(&mut self, record: Record) {
        match record {
            Record::Inode { inode, bytes } => self.take_inode(inode, bytes),
            Record::Range { inode, range } => self.ranges.entry(inode).or_default().push(range),
            Record::Name { directory, name, created } => {
                if let (true, FastName::Add { inode, .. }) = (created, &name) {
                    self.created.insert(*inode);
                }
                self.names.entry(directory).or_default().push(name);
            }
        }
    }

    /// Another generation is another file under the same number: the ranges of the one before are not its own.
    fn take_inode(&mut self, inode: u64, bytes: Vec<u8>) {
        let generation = |bytes: &[u8]| bytes.get(GENERATION_AT..GENERATION_AT + 4).map(<[u8]>::to_vec);
        if self.inodes.get(&inode).is_some_and(|before| generation(before) != generation(&bytes)) {
            self.ranges.remove(&inode);
        }
        self.inodes.insert(inode, bytes);
    }
}

/// Reads the fast commits that follow transaction `end` minus one.
pub(super) fn read(log: &Log<'_>, end: u32, place: &JournalPlace, doubts: &mut Doubts) -> Result<FastCommits, FilesystemError> {
    let mut fast = FastCommits::default();
    let mut records = Records::new(end, place.blocks_in_filesystem);
    if let Err(error) = fill(&mut fast, &mut records, log, doubts) {
        doubts.forgive(error)?;
    }
    if !fast.is_empty() && !place.superblock_feature_fast_commit {
        doubts.note("the journal holds fast commits, but the filesystem has not the feature fast_commit".to_owned());
    }
    Ok(fast)
}

/// Goes through the area. One that is full ends with its last block; the kernel reads on, fails, and refuses the whole journal, although
/// everything in it was promised to be kept.
fn fill(fast: &mut FastCommits, records: &mut Records, log: &Log<'_>, doubts: &mut Doubts) -> Result<(), FilesystemError> {
    let mut block = Vec::new();
    let mut left = MOST_BYTES;
    for position in log.superblock.fast.clone() {
        let byte = log.area.read(position, &mut block)?;
        left = match left.checked_sub(block.len() as u64) {
            Some(left) => left,
            None => return Err(corrupt(byte, format!("fast commits go on after {MOST_BYTES} bytes"))),
        };
        match records.block(&block, byte, doubts)? {
            Taken::More(whole) => whole.into_iter().for_each(|record| fast.take(record)),
            Taken::Last(whole) => {
                whole.into_iter().for_each(|record| fast.take(record));
                return Ok(());
            }
        }
    }
    records.finish()
}
