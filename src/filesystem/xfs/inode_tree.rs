//! Which inodes are in use: chunks of 64 in a tree of their group.

use super::disk::Disk;
use super::geometry::InodePlace;
use super::group;
use super::tree::INODES;
use crate::filesystem::error::{FilesystemError, Object};
use crate::filesystem::fields::Fields;

pub(super) const CHUNK_INODES: u32 = 64;
/// Inodes for which one bit of a sparse chunk's mask stands.
const INODES_PER_HOLE: u32 = 4;

/// True when the group of an inode says that it is allocated. What merely looks like an inode may be stale.
pub(super) fn is_in_use(disk: &Disk, place: InodePlace) -> Result<bool, FilesystemError> {
    let root = group::inodes(disk, place.group)?;
    let Some(record) = INODES.at_or_before(disk, root, place.in_group)? else { return Ok(false) };
    let at = disk.geometry().group_byte(place.group);
    let chunk = Chunk::parse(&Fields::new(&record, Object::Group(place.group), at), disk.geometry().sparse_inodes)?;
    Ok(chunk.uses(place.in_group))
}

/// 64 inodes: which of them exist, and which are free.
#[derive(Debug)]
pub(super) struct Chunk {
    /// The number of the first one within the group.
    pub(super) first: u32,
    holes: u16,
    free: u64,
}

impl Chunk {
    /// Reads a record of the tree.
    pub(super) fn parse(record: &Fields<'_>, sparse: bool) -> Result<Self, FilesystemError> {
        let holes = if sparse { record.be16(4)? } else { 0 };
        Ok(Self { first: record.be32(0)?, holes, free: record.be64(8)? })
    }

    /// True when it holds the inode, and does not call it free.
    pub(super) fn uses(&self, inode: u32) -> bool {
        self.slot(inode).is_some_and(|slot| self.free >> slot & 1 == 0)
    }

    /// True when it holds the inode, free or not.
    pub(super) fn holds(&self, inode: u32) -> bool {
        self.slot(inode).is_some()
    }

    fn slot(&self, inode: u32) -> Option<u32> {
        let slot = inode.checked_sub(self.first).filter(|slot| *slot < CHUNK_INODES)?;
        (self.holes >> (slot / INODES_PER_HOLE) & 1 == 0).then_some(slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inode_is_in_use_when_its_chunk_holds_it_and_does_not_call_it_free() {
        let chunk = Chunk { first: 128, holes: 0b10, free: 1 << 63 | 1 << 2 };
        for (inode, used) in [(127, false), (128, true), (130, false), (131, true), (132, false), (135, false), (136, true)] {
            assert_eq!(chunk.uses(inode), used, "inode {inode}");
        }
        assert_eq!([190, 191, 192].map(|inode| chunk.uses(inode)), [true, false, false]);
    }

    #[test]
    fn only_sparse_chunks_have_holes() {
        let record = [0, 0, 0, 64, 0xff, 0xff, 64, 1, 0, 0, 0, 0, 0, 0, 0, 1];
        let parse = |sparse| Chunk::parse(&Fields::new(&record, Object::Group(0), 0), sparse).unwrap();
        assert!(!parse(true).uses(65));
        assert!(parse(false).uses(65));
        assert!(!parse(false).uses(64), "the lowest bit is the first inode");
    }
}
