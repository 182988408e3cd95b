//! Headers of an allocation group: where its trees of free space and of inodes begin.

use super::disk::Disk;
use super::seal::{FREE_SPACE_HEADER, INODE_HEADER, Seal};
use super::tree::Root;
use crate::filesystem::error::{FilesystemError, Object};
use crate::filesystem::fields::Fields;

/// The only version that headers ever had.
const VERSION: u32 = 1;
/// The sector of a group in which each header stands.
const FREE_SPACE_SECTOR: u32 = 1;
const INODE_SECTOR: u32 = 2;

/// The free space header.
#[derive(Debug, Clone, Copy)]
pub(super) struct FreeSpace {
    /// Free runs by their first block.
    pub(super) root: Root,
    /// Free runs by their length.
    pub(super) by_length: Root,
    /// Free blocks, as this header counts them.
    pub(super) blocks: u64,
}

/// Reads the free space header of a group.
pub(super) fn free_space(disk: &Disk, group: u32) -> Result<FreeSpace, FilesystemError> {
    let (at, bytes) = sector(disk, group, FREE_SPACE_SECTOR, &FREE_SPACE_HEADER)?;
    let fields = Fields::new(&bytes, Object::Group(group), at);
    check(disk, &fields, group, at, b"XAGF", &FREE_SPACE_HEADER)?;
    let root = Root { group, block: fields.be32(16)?, levels: fields.be32(28)? };
    let by_length = Root { group, block: fields.be32(20)?, levels: fields.be32(32)? };
    Ok(FreeSpace { root, by_length, blocks: fields.be32(52)?.into() })
}

/// Reads the inode header of a group: inode chunks by their first inode.
pub(super) fn inodes(disk: &Disk, group: u32) -> Result<Root, FilesystemError> {
    let (at, bytes) = sector(disk, group, INODE_SECTOR, &INODE_HEADER)?;
    let fields = Fields::new(&bytes, Object::Group(group), at);
    check(disk, &fields, group, at, b"XAGI", &INODE_HEADER)?;
    Ok(Root { group, block: fields.be32(20)?, levels: fields.be32(24)? })
}

fn sector(disk: &Disk, group: u32, sector: u32, seal: &Seal) -> Result<(u64, Vec<u8>), FilesystemError> {
    let sector_bytes = disk.geometry().sector_bytes;
    let at = disk.geometry().group_byte(group) + u64::from(sector) * u64::from(sector_bytes);
    let mut bytes = disk.read(Object::Group(group), at, sector_bytes)?;
    disk.mend(Object::Group(group), at, seal, &mut bytes);
    Ok((at, bytes))
}

/// What both headers have in common.
fn check(disk: &Disk, fields: &Fields<'_>, group: u32, at: u64, magic: &[u8], seal: &Seal) -> Result<(), FilesystemError> {
    if fields.slice(0, 4)? != magic {
        return Err(fields.corrupt(format!("no {} header", String::from_utf8_lossy(magic))));
    }
    seal.check(fields, disk.geometry(), at, 0)?;
    let (version, number, blocks) = (fields.be32(4)?, fields.be32(8)?, fields.be32(12)?);
    let expected = disk.geometry().blocks_of(group);
    if (version, number, blocks) != (VERSION, group, expected) {
        return Err(fields.corrupt(format!(
            "version {version} of group {number} with {blocks} blocks, not version {VERSION} of {group} with {expected}"
        )));
    }
    Ok(())
}
