//! What metadata of version 5 says of its own age, and how it is sealed again after a change.

use super::put::{put, seal};
use crate::filesystem::error::FilesystemError;

/// What a log item says a buffer is: `XFS_BLFT_…` of the kernel.
mod kind {
    pub(super) const BTREE: u8 = 4;
    pub(super) const AGF: u8 = 5;
    pub(super) const AGFL: u8 = 6;
    pub(super) const AGI: u8 = 7;
    pub(super) const SYMLINK: u8 = 9;
    pub(super) const DIR_BLOCK: u8 = 10;
    pub(super) const DIR_DATA: u8 = 11;
    pub(super) const DIR_FREE: u8 = 12;
    pub(super) const DIR_LEAF1: u8 = 13;
    pub(super) const DIR_LEAFN: u8 = 14;
    pub(super) const DA_NODE: u8 = 15;
    pub(super) const ATTR_LEAF: u8 = 16;
    pub(super) const ATTR_REMOTE: u8 = 17;
    pub(super) const SUPERBLOCK: u8 = 18;
}

/// Where the proofs of a structure stand.
#[derive(Debug, Clone, Copy)]
struct Layout {
    /// The log's place when it was last written; `None` where it is not kept.
    lsn: Option<usize>,
    uuid: [usize; 2],
    checksum: usize,
    /// True when each block of the filesystem has its own, and not the buffer one.
    each_block: bool,
}

const fn layout(lsn: usize, uuid: usize, checksum: usize) -> Layout {
    Layout { lsn: Some(lsn), uuid: [uuid, uuid], checksum, each_block: false }
}

const SHORT_TREE: Layout = layout(24, 32, 52);
const LONG_TREE: Layout = layout(32, 40, 64);
const DIRECTORY: Layout = layout(16, 24, 4);
const NAME_TREE: Layout = layout(24, 32, 12);
/// Long attribute values are written past the log, so that nothing tells their age.
const REMOTE: Layout = Layout { lsn: None, uuid: [16, 16], checksum: 12, each_block: true };
/// It names the filesystem twice: as its user does, and as its metadata does.
const SUPERBLOCK: Layout = Layout { lsn: Some(240), uuid: [248, 32], checksum: 224, each_block: false };

/// A structure that is known by its magic number.
#[derive(Debug)]
pub(super) struct Structure {
    kind: u8,
    magic_at: usize,
    magic: &'static [u8],
    layout: Layout,
}

const fn structure(kind: u8, magic: &'static [u8], layout: Layout) -> Structure {
    Structure { kind, magic_at: 0, magic, layout }
}

const fn name_tree(kind: u8, magic: &'static [u8]) -> Structure {
    Structure { kind, magic_at: 8, magic, layout: NAME_TREE }
}

/// Those with a magic number of two bytes come last: the others are surer.
const STRUCTURES: &[Structure] = &[
    structure(kind::BTREE, b"AB3B", SHORT_TREE),
    structure(kind::BTREE, b"AB3C", SHORT_TREE),
    structure(kind::BTREE, b"IAB3", SHORT_TREE),
    structure(kind::BTREE, b"FIB3", SHORT_TREE),
    structure(kind::BTREE, b"RMB3", SHORT_TREE),
    structure(kind::BTREE, b"R3FC", SHORT_TREE),
    structure(kind::BTREE, b"BMA3", LONG_TREE),
    structure(kind::AGF, b"XAGF", layout(208, 64, 216)),
    structure(kind::AGFL, b"XAFL", layout(24, 8, 32)),
    structure(kind::AGI, b"XAGI", layout(320, 296, 312)),
    structure(kind::SYMLINK, b"XSLM", layout(48, 16, 12)),
    structure(kind::DIR_BLOCK, b"XDB3", DIRECTORY),
    structure(kind::DIR_DATA, b"XDD3", DIRECTORY),
    structure(kind::DIR_FREE, b"XDF3", DIRECTORY),
    structure(kind::ATTR_REMOTE, b"XARM", REMOTE),
    structure(kind::SUPERBLOCK, b"XFSB", SUPERBLOCK),
    name_tree(kind::DIR_LEAF1, &[0x3d, 0xf1]),
    name_tree(kind::DIR_LEAFN, &[0x3d, 0xff]),
    name_tree(kind::DA_NODE, &[0x3e, 0xbe]),
    name_tree(kind::ATTR_LEAF, &[0x3b, 0xee]),
];

fn is_at(bytes: &[u8], offset: usize, value: &[u8]) -> bool {
    bytes.get(offset..).is_some_and(|bytes| bytes.starts_with(value))
}

/// The log's place when what lies here was last written: older changes must not be applied to it. `None` where nothing tells, or
/// where something of another filesystem lies.
pub(super) fn age(bytes: &[u8], uuid: &[u8; 16]) -> Option<u64> {
    let structure = STRUCTURES.iter().find(|structure| is_at(bytes, structure.magic_at, structure.magic))?;
    let layout = &structure.layout;
    if !layout.uuid.iter().any(|offset| is_at(bytes, *offset, uuid)) {
        return None;
    }
    let lsn = bytes.get(layout.lsn?..)?.first_chunk()?;
    // Zeros and ones stand for "never".
    Some(u64::from_be_bytes(*lsn)).filter(|lsn| *lsn != 0 && *lsn != u64::MAX)
}

/// True for buffers of which the log says that they are directory blocks with entries.
pub(super) fn holds_entries(kind: u8) -> bool {
    matches!(kind, kind::DIR_BLOCK | kind::DIR_DATA)
}

/// True for a buffer of which the log says that it is a superblock.
pub(super) fn is_superblock(kind: u8) -> bool {
    kind == kind::SUPERBLOCK
}

/// The structure that a buffer holds, if it is what its log item says. `None` where that cannot be told: such a buffer keeps its
/// bytes, and whoever reads it finds out whether its checksum fits. That happens to pieces of a directory block that is scattered.
pub(super) fn structure_of(kind: u8, bytes: &[u8]) -> Option<&'static Structure> {
    STRUCTURES.iter().find(|structure| structure.kind == kind && is_at(bytes, structure.magic_at, structure.magic))
}

impl Structure {
    /// Says that the buffer is as old as `lsn`, and computes its checksum, as writing it in place would.
    ///
    /// Whether the checksum fitted before is not asked: a write that the crash tore apart is what replay is there to mend.
    pub(super) fn renew(&self, bytes: &mut [u8], lsn: u64, block_bytes: u32) -> Result<(), FilesystemError> {
        if let Some(offset) = self.layout.lsn {
            put(bytes, offset, &lsn.to_be_bytes())?;
        }
        let whole = bytes.len();
        let piece = if self.layout.each_block { usize::try_from(block_bytes).unwrap_or(whole) } else { whole };
        bytes.chunks_mut(piece.max(1)).try_for_each(|piece| seal(piece, self.layout.checksum))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: [u8; 16] = [7; 16];

    fn block(magic_at: usize, magic: &[u8], layout: &Layout, lsn: u64) -> Vec<u8> {
        let mut block = vec![0; 512];
        put(&mut block, magic_at, magic).unwrap();
        put(&mut block, layout.uuid[0], &UUID).unwrap();
        if let Some(offset) = layout.lsn {
            put(&mut block, offset, &lsn.to_be_bytes()).unwrap();
        }
        block
    }

    #[test]
    fn each_structure_tells_its_age_and_is_sealed_by_its_own_layout() {
        for structure in STRUCTURES {
            let mut bytes = block(structure.magic_at, structure.magic, &structure.layout, 0x1_0000_0002);
            let told = structure.layout.lsn.map(|_| 0x1_0000_0002);
            assert_eq!(age(&bytes, &UUID), told, "{structure:?}");
            assert_eq!(age(&bytes, &[8; 16]), None, "of another filesystem: {structure:?}");
            structure_of(structure.kind, &bytes).unwrap().renew(&mut bytes, 0x3_0000_0004, 4096).unwrap();
            assert_eq!(age(&bytes, &UUID), told.map(|_| 0x3_0000_0004), "{structure:?}");
            let stored: [u8; 4] = bytes[structure.layout.checksum..][..4].try_into().unwrap();
            bytes[structure.layout.checksum..][..4].fill(0);
            assert_eq!(u32::from_le_bytes(stored), crc32c::crc32c(&bytes), "{structure:?}");
        }
    }

    #[test]
    fn a_buffer_that_is_not_what_it_is_said_to_be_is_left_alone() {
        let bytes = block(0, b"XAGF", &layout(208, 64, 216), 1);
        assert!(structure_of(kind::AGI, &bytes).is_none());
        assert!(structure_of(0, &bytes).is_none());
        assert!(structure_of(kind::AGF, b"XAG").is_none());
        for never in [0, u64::MAX] {
            assert_eq!(age(&block(0, b"XAGF", &layout(208, 64, 216), never), &UUID), None);
        }
    }
}
