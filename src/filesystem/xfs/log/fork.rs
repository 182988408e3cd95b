//! The forks of an inode as the log keeps them: as they lie on disk, except for the root of a block map, which is kept as in memory.

use super::put::put;
use crate::filesystem::error::FilesystemError;
use crate::filesystem::fields::Fields;

/// Which part of an inode a fork may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    /// Where it begins.
    pub(super) offset: usize,
    /// How many bytes there are.
    pub(super) length: usize,
}

/// Bytes of a key, and of a pointer.
const ENTRY_BYTES: usize = 8;
/// Level and number of records, before the entries on disk.
const ROOT_HEADER_BYTES: usize = 4;
/// What stands before the entries in memory: the header of a whole block. With checksums it is longer.
const BLOCK_HEADER_BYTES: usize = 24;
const BLOCK_HEADER_BYTES_CRC: usize = 72;

/// Copies a fork. What the log has is rounded up to whole words.
pub(super) fn copy(inode: &mut [u8], room: Room, region: &Fields<'_>) -> Result<(), FilesystemError> {
    if region.length() > room.length {
        return Err(region.corrupt(format!("a fork in the log of {} bytes where {} fit", region.length(), room.length)));
    }
    put(inode, room.offset, region.bytes())
}

/// Puts the root of a block map: its header becomes short, and keys and pointers move to where a root of the fork's length has them.
pub(super) fn put_root(inode: &mut [u8], room: Room, region: &Fields<'_>, crc: bool) -> Result<(), FilesystemError> {
    let header = if crc { BLOCK_HEADER_BYTES_CRC } else { BLOCK_HEADER_BYTES };
    let count = usize::from(region.be16(6)?);
    let logged = region.length().saturating_sub(header) / (2 * ENTRY_BYTES);
    let most = room.length.saturating_sub(ROOT_HEADER_BYTES) / (2 * ENTRY_BYTES);
    if count > logged.min(most) {
        return Err(region.corrupt(format!("a map root in the log of {count} records where {} fit", logged.min(most))));
    }
    put(inode, room.offset, region.slice(4, ROOT_HEADER_BYTES)?)?;
    let (keys, pointers) = (header, header + logged * ENTRY_BYTES);
    let start = room.offset + ROOT_HEADER_BYTES;
    put(inode, start, region.slice(keys, count * ENTRY_BYTES)?)?;
    put(inode, start + most * ENTRY_BYTES, region.slice(pointers, count * ENTRY_BYTES)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filesystem::error::Object;

    fn root(header: usize, entries: u8, count: u8) -> Vec<u8> {
        let mut block = vec![0; header];
        block[5] = 2;
        block[7] = count;
        block.extend((0..entries).flat_map(|key| [key + 1; 8]));
        block.extend((0..entries).flat_map(|pointer| [pointer + 101; 8]));
        block
    }

    #[test]
    fn a_root_keeps_its_entries_and_moves_its_pointers() {
        for (crc, header) in [(false, 24), (true, 72)] {
            let region = root(header, 3, 2);
            let mut inode = vec![0; 100];
            let room = Room { offset: 10, length: 4 + 4 * 16 + 3 };
            put_root(&mut inode, room, &Fields::new(&region, Object::Journal, 0), crc).unwrap();
            let mut expected = vec![0; 100];
            expected[10..14].copy_from_slice(&[0, 2, 0, 2]);
            expected[14..30].copy_from_slice(&[1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2]);
            expected[46..54].fill(101);
            expected[54..62].fill(102);
            assert_eq!(inode, expected, "checksums: {crc}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let mut inode = vec![0; 100];
        let room = Room { offset: 10, length: 4 + 2 * 16 };
        for (region, fits) in [(root(72, 2, 2), true), (root(72, 3, 3), false), (root(72, 1, 2), false), (vec![0; 7], false)] {
            let fields = Fields::new(&region, Object::Journal, 0);
            assert_eq!(put_root(&mut inode, room, &fields, true).is_ok(), fits, "{} bytes", region.len());
        }
        assert!(copy(&mut inode, room, &Fields::new(&[1; 36], Object::Journal, 0)).is_ok());
        assert!(copy(&mut inode, room, &Fields::new(&[1; 37], Object::Journal, 0)).is_err());
    }
}
