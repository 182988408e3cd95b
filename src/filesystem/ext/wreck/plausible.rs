//! Whether an inode without a checksum makes sense: noise does not, and neither does one that was deleted.

use super::super::record::{BODY, BODY_BYTES, Record};
use super::super::volume::Volume;
use super::super::{extents, flags};
use crate::filesystem::error::FilesystemError;
use crate::filesystem::fields::Fields;

/// The most names that ext gives to one file.
pub(super) const MOST_LINKS: u16 = 65_000;
/// Nobody uses a bit above these.
const KNOWN_FLAGS: u32 = 0x7FFF_FFFF;
/// The entries that fit in an inode.
const ROOT_ENTRIES: u16 = 4;
const DEEPEST_TREE: u16 = 5;
const DIRECT_POINTERS: u64 = 12;
/// Where nanoseconds and more bits of seconds of the four times lie.
const EXTRA_TIMES: [usize; 4] = [132, 136, 140, 148];
const NANOSECONDS: u32 = 1_000_000_000;
/// A pointer outside the volume may be a flipped bit, and the others still be right.
const TOLERATED_POINTERS: usize = 1;

/// Says what cannot be about an inode that is in use.
pub(in super::super) fn make_sense(record: &Record<'_>, volume: &Volume) -> Result<(), FilesystemError> {
    let claims = [
        (has_a_kind(record)?, "its mode cannot be"),
        (record.links()? <= MOST_LINKS, "it has more links than a file can have"),
        (is_not_deleted(record, volume)?, "it has links, and a time of deletion"),
        (record.flags()? & !KNOWN_FLAGS == 0, "its flags cannot be"),
        (size_makes_sense(record, volume)?, "its size cannot be"),
        (attributes_make_sense(record, volume)?, "its attributes lie outside the volume"),
        (times_make_sense(record), "its times cannot be"),
        (map_makes_sense(record, volume)?, "its map cannot be"),
    ];
    match claims.into_iter().find(|(holds, _)| !holds) {
        Some((_, what)) => Err(record.fields.corrupt(format!("it has no checksum, and {what}"))),
        None => Ok(()),
    }
}

fn has_a_kind(record: &Record<'_>) -> Result<bool, FilesystemError> {
    let kinds = [flags::REGULAR, flags::DIRECTORY, flags::SYMLINK, flags::CHARACTER, flags::BLOCK, flags::FIFO, flags::SOCKET];
    Ok(kinds.contains(&record.format()?))
}

/// While it waits to be cut short, a file keeps the number of the next such file where others keep their time of deletion.
fn is_not_deleted(record: &Record<'_>, volume: &Volume) -> Result<bool, FilesystemError> {
    Ok(record.fields.le32(20)? <= volume.superblock.inodes)
}

fn size_makes_sense(record: &Record<'_>, volume: &Volume) -> Result<bool, FilesystemError> {
    let superblock = &volume.superblock;
    let (size, block_bytes) = (record.size(superblock)?, volume.block_bytes());
    let space = record.sectors(superblock)?.saturating_mul(512);
    let fits = match record.format()? {
        flags::DIRECTORY if !record.has_flag(flags::INLINE_DATA)? => {
            size > 0 && size.is_multiple_of(block_bytes) && size <= superblock.size()
        }
        flags::SYMLINK => size > 0 && size <= block_bytes,
        flags::REGULAR => size <= largest_file(block_bytes, record.has_flag(flags::EXTENTS)?),
        _ => true,
    };
    Ok(fits && space <= superblock.size())
}

/// What a map can describe: four billion blocks of a tree of extents, or as many as three levels of pointers lead to.
fn largest_file(block_bytes: u64, has_extents: bool) -> u64 {
    let pointers = block_bytes / 4;
    let indirect = DIRECT_POINTERS + pointers + pointers.pow(2) + pointers.pow(3);
    (if has_extents { 1 << 32 } else { indirect }).saturating_mul(block_bytes)
}

fn attributes_make_sense(record: &Record<'_>, volume: &Volume) -> Result<bool, FilesystemError> {
    let block = record.attribute_block(&volume.superblock)?;
    Ok(block == 0 || volume.holds(block, 1))
}

fn times_make_sense(record: &Record<'_>) -> bool {
    let known = record.attribute_room().map_or(0, |(start, _)| start);
    let extra = |at: &usize| record.fields.le32(*at).unwrap_or_default();
    EXTRA_TIMES.iter().filter(|at| **at + 4 <= known).all(|at| extra(at) >> 2 < NANOSECONDS)
}

fn map_makes_sense(record: &Record<'_>, volume: &Volume) -> Result<bool, FilesystemError> {
    let body = record.body()?;
    let has_map = match record.format()? {
        flags::REGULAR | flags::DIRECTORY => true,
        flags::SYMLINK => !record.is_short_link(&volume.superblock, record.size(&volume.superblock)?)?,
        _ => false,
    };
    if !has_map || record.has_flag(flags::INLINE_DATA)? {
        return Ok(true);
    }
    if record.has_flag(flags::EXTENTS)? {
        let root = Fields::new(body, record.fields.object(), record.at + BODY as u64);
        let (entries, room, depth) = (root.le16(2)?, root.le16(4)?, root.le16(6)?);
        return Ok(extents::is_tree(body) && entries <= room && room <= ROOT_ENTRIES && depth <= DEEPEST_TREE);
    }
    debug_assert_eq!(body.len(), BODY_BYTES);
    let pointers = body.as_chunks::<4>().0.iter().map(|bytes| u64::from(u32::from_le_bytes(*bytes)));
    Ok(pointers.filter(|block| *block != 0 && !volume.holds(*block, 1)).count() <= TOLERATED_POINTERS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_file_is_what_its_map_can_describe() {
        // As Documentation/filesystems/ext4/blockgroup.rst has it: 16 TiB with extents of 4 KiB blocks, and with pointers 4 TiB; 16 GiB
        // with pointers of 1 KiB blocks.
        assert_eq!(largest_file(4096, true), 16 << 40);
        assert_eq!(largest_file(4096, false) >> 40, 4);
        assert_eq!(largest_file(1024, false) >> 30, 16);
    }
}
