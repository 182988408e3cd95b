//! The entries of a directory block, read around those that cannot be.

use std::ops::Range;

use super::super::directory_block::{HEADER, SHORTEST, entry_length};
use super::super::features::incompat;
use super::super::superblock::Superblock;
use crate::filesystem::inode::InodeNumber;
use crate::filesystem::names::is_plain_name;
use crate::filesystem::wreck::FoundName;

/// Entries begin at multiples of this.
const STEP: usize = 4;
/// The highest kind of file that an entry says, and the one that is a directory.
const LAST_KIND: u8 = 7;
const DIRECTORY_KIND: u8 = 2;

/// What a block says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Entries {
    pub(super) names: Vec<FoundName>,
    /// The directory itself: the entry `.`.
    pub(super) own: Option<InodeNumber>,
    /// The directory that holds it: the entry `..`.
    pub(super) parent: Option<InodeNumber>,
    /// The place of the first entry that cannot be.
    pub(super) broken: Option<usize>,
}

/// One entry.
struct Entry<'a> {
    length: usize,
    /// Zero for one that is free.
    inode: u32,
    name: &'a [u8],
    is_directory: Option<bool>,
}

/// A block, and what its entries may say.
struct Block<'a> {
    bytes: &'a [u8],
    end: usize,
    superblock: &'a Superblock,
}

impl Entries {
    /// Reads the entries in a range of a block. Behind one that cannot be, they go on where a chain begins that leads exactly to the
    /// end of the range: noise has none.
    pub(super) fn read(bytes: &[u8], place: Range<usize>, superblock: &Superblock) -> Self {
        let block = Block { bytes, end: place.end.min(bytes.len()), superblock };
        let mut entries = Self::default();
        let mut at = place.start;
        while at < block.end {
            if let Some(entry) = block.entry(at) {
                at += entry.length;
                entries.add(&entry);
                continue;
            }
            if entries.broken.is_some() {
                break;
            }
            entries.broken = Some(at);
            let Some(next) = block.chain_after(at) else { break };
            at = next;
        }
        entries
    }

    /// Reads the entries in a range of a block, if all of them can be.
    pub(super) fn read_whole(bytes: &[u8], end: usize, superblock: &Superblock) -> Option<Self> {
        let block = Block { bytes, end: end.min(bytes.len()), superblock };
        let mut entries = Self::default();
        let mut at = 0;
        while at < block.end {
            let entry = block.entry(at)?;
            at += entry.length;
            entries.add(&entry);
        }
        Some(entries)
    }

    fn add(&mut self, entry: &Entry<'_>) {
        let inode = InodeNumber(u64::from(entry.inode));
        match entry.name {
            _ if entry.inode == 0 => {}
            b"." => self.own = Some(inode),
            b".." => self.parent = Some(inode),
            name => self.names.push(FoundName { name: name.to_vec(), inode, is_directory: entry.is_directory }),
        }
    }
}

impl<'a> Block<'a> {
    fn entry(&self, at: usize) -> Option<Entry<'a>> {
        let (head, rest) = self.bytes.get(at..self.end)?.split_first_chunk::<HEADER>()?;
        let [a, b, c, d, low, high, name_bytes, kind] = *head;
        let length = entry_length(u16::from_le_bytes([low, high]), self.bytes.len());
        let inode = u32::from_le_bytes([a, b, c, d]);
        let fits = length >= SHORTEST && length.is_multiple_of(STEP) && length <= self.end - at;
        let holds_name = HEADER + usize::from(name_bytes) <= length;
        if !fits || (inode != 0 && !holds_name) || inode > self.superblock.inodes {
            return None;
        }
        let name = rest.get(..usize::from(name_bytes)).unwrap_or_default();
        let has_kinds = self.superblock.features.has_incompat(incompat::FILETYPE);
        let likely = is_plain_name(name) || matches!(name, b"." | b"..");
        let is_known = if has_kinds { kind <= LAST_KIND } else { kind == 0 };
        let is_directory = (has_kinds && kind != 0).then_some(kind == DIRECTORY_KIND);
        (inode == 0 || (likely && is_known)).then_some(Entry { length, inode, name, is_directory })
    }

    /// The first place behind `at` from which entries lead exactly to the end.
    fn chain_after(&self, at: usize) -> Option<usize> {
        let first = at + STEP;
        let mut leads = vec![false; self.end.saturating_sub(first).div_ceil(STEP)];
        for index in (0..leads.len()).rev() {
            let place = first + index * STEP;
            let Some(entry) = self.entry(place) else { continue };
            let next = place + entry.length;
            let goes_on = next == self.end || leads.get((next - first) / STEP).copied().unwrap_or(false);
            if let Some(here) = leads.get_mut(index) {
                *here = goes_on;
            }
        }
        leads.iter().position(|leads| *leads).map(|index| first + index * STEP)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filesystem::ext::features::Features;
    use crate::testkit::contents::random_bytes;

    fn superblock(inodes: u32) -> Superblock {
        let features = Features { incompat: incompat::FILETYPE, ..Features::default() };
        Superblock { inodes, ..Superblock::made_up(features) }
    }

    fn entry(inode: u32, length: u16, name: &[u8], kind: u8) -> Vec<u8> {
        let mut bytes = inode.to_le_bytes().to_vec();
        bytes.extend(length.to_le_bytes());
        bytes.extend([u8::try_from(name.len()).unwrap(), kind]);
        bytes.extend(name);
        bytes.resize(usize::from(length), 0);
        bytes
    }

    fn block() -> Vec<u8> {
        let entries = [entry(2, 12, b".", 2), entry(5, 12, b"..", 2), entry(12, 16, b"here", 1), entry(13, 20, b"there", 2)];
        let mut block = entries.concat();
        let rest = 256 - block.len() as u16;
        block.extend(entry(14, rest, b"last", 0));
        block
    }

    fn read(bytes: &[u8]) -> (String, Option<usize>) {
        let entries = Entries::read(bytes, 0..bytes.len(), &superblock(100));
        let names: Vec<String> =
            entries.names.iter().map(|found| format!("{}={}", String::from_utf8_lossy(&found.name), found.inode.0)).collect();
        (names.join(" "), entries.broken)
    }

    #[test]
    fn a_whole_block_gives_its_names_and_who_holds_it() {
        let entries = Entries::read(&block(), 0..256, &superblock(100));
        assert_eq!((entries.own, entries.parent, entries.broken), (Some(InodeNumber(2)), Some(InodeNumber(5)), None));
        let kinds: Vec<_> = entries.names.iter().map(|found| found.is_directory).collect();
        assert_eq!(kinds, [Some(false), Some(true), None]);
        assert_eq!(read(&block()).0, "here=12 there=13 last=14");
    }

    #[test]
    fn names_behind_an_entry_that_cannot_be_are_found_where_they_lead_to_the_end() {
        let broken = |at: usize, value: u8| {
            let mut bytes = block();
            bytes[at] = value;
            read(&bytes)
        };
        assert_eq!(broken(24 + 4, 3), ("there=13 last=14".to_owned(), Some(24)));
        assert_eq!(broken(24 + 3, 1), ("there=13 last=14".to_owned(), Some(24)));
        assert_eq!(broken(24 + 8, b'/'), ("there=13 last=14".to_owned(), Some(24)));
        assert_eq!(broken(40 + 7, 9), ("here=12 last=14".to_owned(), Some(40)));
        assert_eq!(broken(60 + 5, 9), ("here=12 there=13".to_owned(), Some(60)));
    }

    #[test]
    fn noise_and_zeros_hold_no_names() {
        assert_eq!(read(&[0; 1024]), (String::new(), Some(0)));
        for seed in 0..200 {
            let noise = random_bytes(4096, seed);
            assert_eq!(Entries::read(&noise, 0..4096, &superblock(u32::MAX)).names, [], "{seed}");
        }
    }
}
