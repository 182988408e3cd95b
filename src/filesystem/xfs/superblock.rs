//! The superblock: what the volume is, how it is cut, where its log lies.

use std::ops::RangeInclusive;
use std::sync::Arc;

use super::features::{Features, LOG_V2, SECTOR, unsupported};
use super::geometry::Geometry;
use super::log::{LogFacts, LogPlace};
use super::seal;
use crate::base::io::ReadAt;
use crate::filesystem::error::{FilesystemError, Object};
use crate::filesystem::face::{Identity, Kind};
use crate::filesystem::fields::Fields;

pub(super) const MAGIC: &[u8] = b"XFSB";
/// What is read to learn how long the rest is.
pub(super) const SMALLEST_SECTOR_BYTES: u32 = 512;
const LARGEST_SECTOR_BYTES: u32 = 32 << 10;
/// The fewest blocks that a group has.
const SMALLEST_GROUP_BLOCKS: u32 = 64;
/// The number of the root directory.
pub(super) const ROOT_AT: usize = 56;
/// Set until mkfs has finished, and in all copies.
pub(super) const UNFINISHED_AT: usize = 126;
pub(super) const CHECKSUM_AT: usize = 224;

/// A superblock that was checked.
#[derive(Debug)]
pub(super) struct Superblock {
    pub(super) geometry: Geometry,
    pub(super) features: Features,
    /// The number of the root directory.
    pub(super) root: u64,
    /// Where the log lies; `None` when it is on another device.
    pub(super) log: Option<LogPlace>,
    uuid: [u8; 16],
    label: Vec<u8>,
}

/// Reads the first superblock of a view of a volume.
pub(super) fn read(source: &Arc<dyn ReadAt>) -> Result<Superblock, FilesystemError> {
    let head = sector(&**source, 0, SMALLEST_SECTOR_BYTES)?;
    let whole = sector(&**source, 0, sector_bytes(&Fields::new(&head, Object::Superblock, 0))?)?;
    parse(&Fields::new(&whole, Object::Superblock, 0))
}

/// A copy of the superblock, as far as it speaks for other groups than its own: copies are marked as unfinished, name the root
/// directory or do not, and their counters mean nothing.
#[derive(Debug)]
pub(super) struct Duplicate {
    /// Where it stands.
    pub(super) at: u64,
    /// What it says.
    pub(super) superblock: Superblock,
    /// True when its checksum fits, and where there are none.
    pub(super) is_sealed: bool,
    /// The whole sector.
    pub(super) bytes: Vec<u8>,
}

impl Duplicate {
    /// True when both speak of the same volume.
    pub(super) fn agrees(&self, other: &Self) -> bool {
        let (one, two) = (&self.superblock, &other.superblock);
        one.geometry == two.geometry && one.log == two.log
    }
}

/// Reads what may be a copy of the superblock at byte `at`.
pub(super) fn duplicate(source: &dyn ReadAt, at: u64) -> Result<Duplicate, FilesystemError> {
    let head = sector(source, at, SMALLEST_SECTOR_BYTES)?;
    let bytes = sector(source, at, sector_bytes(&Fields::new(&head, Object::Superblock, at))?)?;
    let fields = Fields::new(&bytes, Object::Superblock, at);
    let features = Features::parse(&fields)?;
    let is_sealed = !features.crc || seal::checksum(&fields, CHECKSUM_AT).is_ok();
    Ok(Duplicate { at, superblock: shape(&fields, features)?, is_sealed, bytes })
}

/// What was put together in place of a superblock of which all copies are lost.
pub(super) fn concluded(bytes: Vec<u8>) -> Result<Duplicate, FilesystemError> {
    let fields = Fields::new(&bytes, Object::Superblock, 0);
    if usize::try_from(sector_bytes(&fields)?).ok() != Some(bytes.len()) {
        return Err(fields.corrupt("it is not as long as its sector"));
    }
    let superblock = shape(&fields, Features::parse(&fields)?)?;
    Ok(Duplicate { at: 0, superblock, is_sealed: true, bytes })
}

/// How long the sector is that begins with these bytes.
fn sector_bytes(head: &Fields<'_>) -> Result<u32, FilesystemError> {
    if head.slice(0, 4)? != MAGIC {
        return Err(FilesystemError::unrecognised("no XFS superblock at its beginning"));
    }
    let sector_bytes = u32::from(head.be16(102)?);
    if sector_bytes.is_power_of_two() && (SMALLEST_SECTOR_BYTES..=LARGEST_SECTOR_BYTES).contains(&sector_bytes) {
        return Ok(sector_bytes);
    }
    Err(head.corrupt(format!("a sector of {sector_bytes} bytes")))
}

fn sector(source: &dyn ReadAt, at: u64, length: u32) -> Result<Vec<u8>, FilesystemError> {
    let mut bytes = vec![0; length as usize];
    source.read_at(at, &mut bytes).map_err(|source| FilesystemError::Io { object: Object::Superblock, source })?;
    Ok(bytes)
}

/// Checks a whole sector with a superblock in it.
fn parse(fields: &Fields<'_>) -> Result<Superblock, FilesystemError> {
    let features = Features::parse(fields)?;
    if features.crc {
        seal::checksum(fields, CHECKSUM_AT)?;
    }
    if fields.u8(UNFINISHED_AT)? != 0 {
        return Err(fields.corrupt("mkfs did not finish (sb_inprogress)"));
    }
    let superblock = shape(fields, features)?;
    let root = superblock.root;
    if superblock.geometry.inode(root).is_none() {
        return Err(fields.corrupt(format!("the root directory is inode {root}, which cannot exist")));
    }
    Ok(superblock)
}

/// What the volume is, how it is cut, and where its log lies. That the root directory can exist is not checked.
fn shape(fields: &Fields<'_>, features: Features) -> Result<Superblock, FilesystemError> {
    if features.metadata_directory && fields.be32(272)? != 0 {
        return Err(unsupported("rtgroups"));
    }
    let geometry = geometry(fields, &features)?;
    let log = log_place(fields, &geometry)?;
    let label = fields.slice(108, 12)?.iter().copied().take_while(|byte| *byte != 0).collect();
    Ok(Superblock { geometry, features, root: fields.be64(ROOT_AT)?, log, uuid: fields.array(32)?, label })
}

fn geometry(fields: &Fields<'_>, features: &Features) -> Result<Geometry, FilesystemError> {
    let block_log = power(fields, "block", fields.be32(4)?, fields.u8(120)?, 9..=16)?;
    let inode_bytes = fields.be16(104)?;
    let inode_log = power(fields, "inode", inode_bytes.into(), fields.u8(122)?, if features.crc { 9..=11 } else { 8..=11 })?;
    let directory_log = block_log.saturating_add(fields.u8(192)?);
    if inode_log > block_log || directory_log > 16 {
        return Err(fields.corrupt(format!(
            "blocks of 2^{block_log}, inodes of 2^{inode_log} and directory blocks of 2^{directory_log} bytes do not fit"
        )));
    }
    let geometry = Geometry {
        crc: features.crc,
        file_type: features.file_type,
        sparse_inodes: features.sparse_inodes,
        block_log,
        sector_bytes: fields.be16(102)?.into(),
        directory_log,
        inode_bytes,
        inodes_per_block_log: block_log - inode_log,
        group_blocks: fields.be32(84)?,
        group_block_log: fields.u8(124)?,
        groups: fields.be32(88)?,
        data_blocks: fields.be64(8)?,
        uuid: fields.array(if features.meta_uuid { 248 } else { 32 })?,
    };
    check_groups(fields, &geometry, fields.u8(123)?)?;
    Ok(geometry)
}

/// A length that must be the power of two that the superblock also names, and lie in a range.
fn power(fields: &Fields<'_>, what: &str, bytes: u32, log: u8, range: RangeInclusive<u8>) -> Result<u8, FilesystemError> {
    if range.contains(&log) && bytes == 1 << log {
        return Ok(log);
    }
    Err(fields.corrupt(format!("an {what} of {bytes} bytes, or 2^{log}").replace("an block", "a block")))
}

/// Everything that shifts and multiplications of [`Geometry`] rely on.
fn check_groups(fields: &Fields<'_>, geometry: &Geometry, slots_log: u8) -> Result<(), FilesystemError> {
    let (blocks, groups) = (u64::from(geometry.group_blocks), u64::from(geometry.groups));
    let bits_needed = u64::BITS - blocks.saturating_sub(1).leading_zeros();
    let fits = geometry.group_blocks >= SMALLEST_GROUP_BLOCKS
        && u32::from(geometry.group_block_log) == bits_needed
        && geometry.group_block_log + geometry.inodes_per_block_log <= 32
        && slots_log == geometry.inodes_per_block_log
        && geometry.first_block() < geometry.group_blocks
        && geometry.data_blocks > blocks.saturating_mul(groups.saturating_sub(1))
        && geometry.data_blocks <= blocks.saturating_mul(groups)
        && geometry.data_blocks.leading_zeros() > u32::from(geometry.block_log);
    if fits {
        return Ok(());
    }
    Err(fields.corrupt(format!("{} blocks do not fit {groups} groups of {blocks}", geometry.data_blocks)))
}

fn log_place(fields: &Fields<'_>, geometry: &Geometry) -> Result<Option<LogPlace>, FilesystemError> {
    let (start, blocks) = (fields.be64(48)?, u64::from(fields.be32(96)?));
    if start == 0 {
        return Ok(None);
    }
    let offset = geometry.blocks(start, blocks).filter(|_| blocks > 0);
    let offset = offset.ok_or_else(|| fields.corrupt(format!("a log of {blocks} blocks from block {start}")))?;
    let (versions, second) = (fields.be16(100)?, geometry.crc || fields.be16(100)? & LOG_V2 != 0);
    let sector_bytes = if versions & SECTOR != 0 { u32::from(fields.be16(194)?) } else { SMALLEST_SECTOR_BYTES };
    Ok(Some(LogPlace {
        offset,
        bytes: blocks << geometry.block_log,
        version: if second { 2 } else { 1 },
        sector_bytes: sector_bytes.max(SMALLEST_SECTOR_BYTES),
        stripe_unit_bytes: if second { fields.be32(196)? } else { 0 },
    }))
}

impl Superblock {
    /// What the volume says of itself.
    pub(super) fn identity(&self) -> Identity {
        Identity {
            kind: Kind::Xfs,
            uuid: self.uuid,
            label: self.label.clone(),
            block_bytes: self.geometry.block_bytes(),
            size: self.geometry.bytes(),
        }
    }

    /// What replay must know.
    pub(super) fn log_facts(&self) -> LogFacts {
        let geometry = &self.geometry;
        LogFacts {
            crc: geometry.crc,
            block_bytes: geometry.block_bytes(),
            block_log: geometry.block_log,
            ag_blocks: geometry.group_blocks,
            ag_block_log: geometry.group_block_log,
            ag_count: geometry.groups,
            inode_bytes: geometry.inode_bytes,
            inodes_per_block_log: geometry.inodes_per_block_log,
            uuid: geometry.uuid,
            data_blocks: geometry.data_blocks,
            sector_bytes: geometry.sector_bytes,
        }
    }
}
