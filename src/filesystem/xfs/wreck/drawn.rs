//! A superblock drawn up from what was concluded, in place of one of which all copies are lost.

use super::conclusion::Conclusion;
use crate::filesystem::error::{FilesystemError, Object};
use crate::filesystem::xfs::features::{FEATURES2_FILE_TYPE, FILE_TYPE, LOG_V2, META_UUID, SPARSE_INODES, USUAL_BITS};
use crate::filesystem::xfs::log::put;
use crate::filesystem::xfs::superblock::{MAGIC, ROOT_AT};

/// `sb_features2` that mkfs sets in version 4, without the bit for kinds in entries.
const FEATURES2_USUAL: u32 = 0x8a;
/// Chunks have so many inodes; in version 4 they lie as clusters of so many bytes do.
const CHUNK_INODES: u64 = 64;
const CLUSTER_BYTES: u64 = 8192;
/// Fields that name inodes that the filesystem keeps for itself. None is known.
const NAMES_OF_INODES: [usize; 5] = [64, 72, 160, 168, 232];

/// The sector. Its checksum is not computed. `None` where numbers do not fit.
pub(super) fn draw(known: &Conclusion) -> Option<Vec<u8>> {
    let mut sector = vec![0; usize::try_from(known.sector_bytes).ok()?];
    put(&mut sector, 0, MAGIC).ok()?;
    cut(&mut sector, known).ok()?;
    features(&mut sector, known).ok()?;
    log(&mut sector, known).ok()?;
    NAMES_OF_INODES.into_iter().try_for_each(|at| put(&mut sector, at, &u64::MAX.to_be_bytes())).ok()?;
    put(&mut sector, ROOT_AT, &known.root.unwrap_or(u64::MAX).to_be_bytes()).ok()?;
    Some(sector)
}

/// How the volume is cut.
fn cut(sector: &mut [u8], known: &Conclusion) -> Result<(), FilesystemError> {
    let group_blocks = known.group_blocks();
    let alignment = if known.crc { CHUNK_INODES * known.inode_bytes } else { CLUSTER_BYTES } / known.block_bytes;
    put(sector, 8, &known.blocks.to_be_bytes())?;
    for (at, value) in
        [(4, known.block_bytes), (80, 1), (84, group_blocks), (88, known.blocks.div_ceil(group_blocks)), (180, alignment.max(1))]
    {
        put(sector, at, &narrow::<u32>(value)?.to_be_bytes())?;
    }
    for (at, value) in [(102, known.sector_bytes), (104, known.inode_bytes), (106, known.block_bytes / known.inode_bytes)] {
        put(sector, at, &narrow::<u16>(value)?.to_be_bytes())?;
    }
    let (block_log, inode_log) = (known.block_bytes.ilog2(), known.inode_bytes.ilog2());
    let logs = [
        (120, block_log),
        (121, known.sector_bytes.ilog2()),
        (122, inode_log),
        (123, block_log.saturating_sub(inode_log)),
        (124, known.group_block_log()),
        (192, known.directory_bytes.ilog2().saturating_sub(block_log)),
    ];
    logs.into_iter().try_for_each(|(at, log)| put(sector, at, &[narrow::<u8>(log.into())?]))
}

/// Only what changes how the volume is read.
fn features(sector: &mut [u8], known: &Conclusion) -> Result<(), FilesystemError> {
    let user = known.log.as_ref().map_or(known.metadata_uuid, |(_, uuid)| *uuid);
    let first_log = known.log.as_ref().is_some_and(|(place, _)| place.version == 1);
    let version = USUAL_BITS[usize::from(known.crc)] & if first_log { !LOG_V2 } else { u16::MAX };
    put(sector, 100, &version.to_be_bytes())?;
    put(sector, 32, &user)?;
    let second = FEATURES2_USUAL | if known.file_type { FEATURES2_FILE_TYPE } else { 0 };
    put(sector, 200, &second.to_be_bytes())?;
    if !known.crc {
        return Ok(());
    }
    // A chunk without holes looks the same whether it could have some or not.
    let has_two_names = if user == known.metadata_uuid { 0 } else { META_UUID };
    put(sector, 212, &known.read_only_features.to_be_bytes())?;
    put(sector, 216, &(FILE_TYPE | SPARSE_INODES | has_two_names).to_be_bytes())?;
    put(sector, 248, &known.metadata_uuid)
}

/// Where the log lies, as far as it fits a group: a number of blocks, and how many of them.
fn log(sector: &mut [u8], known: &Conclusion) -> Result<(), FilesystemError> {
    let Some((place, _)) = &known.log else { return Ok(()) };
    let (group, within) = (place.offset / known.group_bytes, place.offset % known.group_bytes);
    let room = known.group_bytes - within;
    let blocks = narrow::<u32>(place.bytes.min(room) / known.block_bytes)?;
    put(sector, 48, &((group << known.group_block_log()) | (within / known.block_bytes)).to_be_bytes())?;
    put(sector, 96, &blocks.to_be_bytes())?;
    put(sector, 196, &1_u32.to_be_bytes())
}

fn narrow<T: TryFrom<u64>>(value: u64) -> Result<T, FilesystemError> {
    let what = || FilesystemError::corrupt(Object::Superblock, 0, format!("{value} was concluded, which cannot be"));
    T::try_from(value).map_err(|_too_large| what())
}
