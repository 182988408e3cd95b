//! Directory blocks that are lost in their places, as the log still has them.
//!
//! An entry counts only where it is certain that it is one: where all its bytes are known, and entries lead to it without a gap from the
//! first or, by the offset that each ends with, from the last. What stands between gaps may be what an entry left behind.

use std::collections::HashSet;
use std::ops::ControlFlow;

use super::strays::{self, OWNER_AT};
use crate::base::extent::Extent;
use crate::filesystem::error::Object;
use crate::filesystem::fields::Fields;
use crate::filesystem::wreck::{Proof, StrayBlock};
use crate::filesystem::xfs::Xfs;
use crate::filesystem::xfs::directory::block::{HEADER_BYTES_5, INDEX_TAIL_BYTES, check_unsealed, magics};
use crate::filesystem::xfs::directory::record::{Record, piece};
use crate::filesystem::xfs::geometry::Geometry;
use crate::filesystem::xfs::log::{LoggedBlock, Older};

/// What blocks of the log may take in memory at once. All of the log is read for so many of them.
const AT_ONCE_BYTES: u32 = 64 << 20;
/// What a free piece begins and ends with.
const FREE_HEADER_BYTES: usize = 4;
const TAG_BYTES: usize = 2;

/// Shows them. Blocks without seals, those of version 4, do not say whose they are and where they belong, and are not looked for.
pub(super) fn show(xfs: &Xfs, log: &Older, visit: &mut dyn FnMut(StrayBlock) -> ControlFlow<()>) {
    let geometry = xfs.disk.geometry();
    let length = u64::from(geometry.directory_bytes());
    let is_lost = |place: &Extent| place.length == length && !strays::is_whole(xfs, place.offset);
    let lost: Vec<Extent> = log.directory_places().filter(|place| geometry.crc && is_lost(place)).collect();
    for places in lost.chunks((AT_ONCE_BYTES / geometry.directory_bytes()).max(1) as usize) {
        let strays = log.directory_blocks(places).into_iter().filter_map(|block| read(&block, geometry));
        for stray in strays {
            if visit(stray).is_break() {
                return;
            }
        }
    }
}

/// What the log has of a block, with what else is known of it.
pub(super) fn with(mut stray: StrayBlock, also: Option<StrayBlock>) -> StrayBlock {
    let Some(also) = also else { return stray };
    stray.parent = stray.parent.or(also.parent);
    let known: HashSet<Vec<u8>> = stray.names.iter().map(|name| name.name.clone()).collect();
    stray.names.extend(also.names.into_iter().filter(|name| !known.contains(&name.name)));
    stray
}

/// What is certain of a block.
fn read(block: &LoggedBlock, geometry: &Geometry) -> Option<StrayBlock> {
    let at = block.place.offset;
    let owner = Fields::new(&block.bytes, Object::Directory(0), at).be64(OWNER_AT).ok()?;
    let fields = Fields::new(&block.bytes, Object::Directory(owner), at);
    let (is_single, length) = (block.bytes.starts_with(magics(geometry).0), block.bytes.len());
    let is_end_known = !is_single || block.knows(length.saturating_sub(INDEX_TAIL_BYTES)..length);
    if !block.knows(0..HEADER_BYTES_5) || !is_end_known {
        return None;
    }
    let within = check_unsealed(geometry, &fields, at, owner).ok()?;
    let records = Walk { block, fields, geometry }.records(within);
    let names_it = |record: &Record<'_>| record.name != b"." || record.inode == owner;
    let is_sound = !records.is_empty() && records.iter().all(names_it) && geometry.inode(owner).is_some();
    is_sound.then(|| strays::stray(geometry, at, Some(owner), &records, Proof::OlderCopy))
}

/// A way through a block of which parts are not known.
struct Walk<'a> {
    block: &'a LoggedBlock,
    fields: Fields<'a>,
    geometry: &'a Geometry,
}

impl<'a> Walk<'a> {
    /// The entries from the first up to what is not known, and from there on those that lead to the last.
    fn records(&self, (start, end): (usize, usize)) -> Vec<Record<'a>> {
        let (mut records, mut behind) = (Vec::new(), Vec::new());
        let (mut front, mut back) = (start, end);
        while let Some((record, length)) = self.known(front, end) {
            records.extend(record);
            front += length;
        }
        while let Some((record, begins)) = self.last(front, back) {
            behind.extend(record);
            back = begins;
        }
        records.extend(behind.into_iter().rev());
        records
    }

    /// What ends before `end` and begins at `from` or behind it, and where it does.
    fn last(&self, from: usize, end: usize) -> Option<(Option<Record<'a>>, usize)> {
        let tag = end.checked_sub(TAG_BYTES).filter(|tag| *tag >= from && self.block.knows(*tag..end))?;
        let begins = usize::from(self.fields.be16(tag).ok()?);
        let (record, length) = self.known(begins, end).filter(|_| begins >= from)?;
        (begins + length == end).then_some((record, begins))
    }

    /// What begins at `offset`, an entry or nothing, and its length, if that is known. What is free needs only its two ends.
    fn known(&self, offset: usize, end: usize) -> Option<(Option<Record<'a>>, usize)> {
        let (record, length) = piece(&self.fields, offset, end, self.geometry.file_type).ok().filter(|_| offset < end)?;
        let behind = offset + length;
        let knows = |bytes| self.block.knows(bytes);
        let is_known = match record {
            Some(record) => knows(offset..behind) && record.is_possible(self.geometry),
            None => knows(offset..offset + FREE_HEADER_BYTES) && knows(behind - TAG_BYTES..behind),
        };
        is_known.then_some((record, length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filesystem::inode::InodeNumber;

    const AT: u64 = 40 << 12;
    const OWNER: u64 = 300;
    /// Entries of 16 bytes, and free pieces of 256 that hold what entries left behind.
    const ENTRIES: usize = 24;

    fn geometry() -> Geometry {
        Geometry {
            crc: true,
            file_type: true,
            sparse_inodes: true,
            block_log: 12,
            sector_bytes: 512,
            directory_log: 12,
            inode_bytes: 512,
            inodes_per_block_log: 3,
            group_blocks: 1000,
            group_block_log: 10,
            groups: 1,
            data_blocks: 1000,
            uuid: [7; 16],
        }
    }

    fn tag(bytes: &mut [u8], offset: usize, length: usize) {
        bytes[offset + length - 2..offset + length].copy_from_slice(&(offset as u16).to_be_bytes());
    }

    fn entry(bytes: &mut [u8], offset: usize, name: &str) {
        bytes[offset..offset + 8].copy_from_slice(&100_u64.to_be_bytes());
        bytes[offset + 8] = name.len() as u8;
        bytes[offset + 9..offset + 9 + name.len()].copy_from_slice(name.as_bytes());
        bytes[offset + 9 + name.len()] = 1;
        tag(bytes, offset, 16);
    }

    /// Entries `e00`, `e01` ... of 16 bytes; after each eighth of them 128 bytes are free, where entries `old` once stood.
    fn block() -> Vec<u8> {
        let mut bytes = vec![0; 4096];
        bytes[..4].copy_from_slice(b"XDD3");
        bytes[8..16].copy_from_slice(&(AT / 512).to_be_bytes());
        bytes[24..40].fill(7);
        bytes[40..48].copy_from_slice(&OWNER.to_be_bytes());
        let mut offset = 64;
        for number in 0..ENTRIES {
            entry(&mut bytes, offset, &format!("e{number:02}"));
            offset += 16;
            if number % 8 == 7 {
                let length = if number + 1 == ENTRIES { 4096 - offset } else { 256 };
                (offset..offset + length).step_by(16).for_each(|at| entry(&mut bytes, at, "old"));
                bytes[offset..offset + 4].copy_from_slice(&[0xff, 0xff, (length >> 8) as u8, length as u8]);
                tag(&mut bytes, offset, length);
                offset += length;
            }
        }
        bytes
    }

    fn names(bytes: Vec<u8>, unknown: &[usize]) -> Option<Vec<String>> {
        let known = (0..32).map(|piece| !unknown.contains(&piece)).collect();
        let stray = read(&LoggedBlock::of(Extent::new(AT, 4096), bytes, known), &geometry())?;
        assert_eq!((stray.at, stray.directory, stray.proof), (AT, Some(InodeNumber(OWNER)), Proof::OlderCopy));
        Some(stray.names.into_iter().map(|name| String::from_utf8(name.name).unwrap()).collect())
    }

    fn numbered(numbers: impl Iterator<Item = usize>) -> Option<Vec<String>> {
        Some(numbers.map(|number| format!("e{number:02}")).collect())
    }

    #[test]
    fn entries_count_up_to_what_is_not_known_and_from_there_on_if_they_lead_to_the_end() {
        assert_eq!(names(block(), &[]), numbered(0..24));
        // The free pieces lie at 192, at 576 and at 960, up to 448, 832 and the end.
        for (unknown, expected) in [
            (&[2, 5, 10, 20][..], (0..24).collect::<Vec<_>>()),
            (&[1], (0..4).chain(8..24).collect()),
            (&[4], (0..12).chain(16..24).collect()),
            (&[31], (0..24).collect()),
            (&[1, 31], (0..4).collect()),
            // Between two gaps, what was an entry once looks like one.
            (&[4, 7], (0..12).collect()),
        ] {
            assert_eq!(names(block(), unknown), numbered(expected.into_iter()), "without {unknown:?}");
        }
    }

    #[test]
    fn a_block_that_does_not_say_where_it_belongs_and_to_whom_is_no_ones() {
        assert_eq!(names(block(), &[0]), None);
        for (at, byte) in [(0, b'Y'), (8, 1), (24, 8), (40, 1)] {
            let mut other = block();
            other[at] = byte;
            assert_eq!(names(other, &[]), None, "byte {at}");
        }
    }
}
