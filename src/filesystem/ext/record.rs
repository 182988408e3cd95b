//! Inodes as they lie in their tables: verified, then decoded.

use super::checksum::{crc32c, inode_seed};
use super::features::{compat, incompat, ro_compat};
use super::flags;
use super::superblock::{OLD_INODE_BYTES, Superblock};
use super::times::{Moment, moment};
use crate::filesystem::error::{FilesystemError, Object};
use crate::filesystem::fields::{Fields, sums_agree};
use crate::filesystem::inode::{FileKind, Inode, InodeNumber};

/// Where the map, the inline bytes or a short link lies in an inode.
pub(super) const BODY: usize = 40;
/// How long it is.
pub(super) const BODY_BYTES: usize = 60;
pub(super) const CHECKSUM_LOW: usize = 124;
pub(super) const CHECKSUM_HIGH: usize = 130;
/// Where the generation lies.
pub(super) const GENERATION: usize = 100;
/// How far the fields of today's inodes reach beyond the old ones.
const KNOWN_EXTRA: u16 = 32;

/// An inode's bytes, with what is needed to read on from it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Record<'a> {
    pub(super) fields: Fields<'a>,
    pub(super) number: u32,
    /// The byte of the volume where it begins.
    pub(super) at: u64,
    /// Bytes used after the first 128.
    extra: u16,
}

impl<'a> Record<'a> {
    /// The record in `bytes`, which lie at `at`. Nothing is verified but that the bytes are there.
    pub(super) fn new(number: u32, bytes: &'a [u8], at: u64) -> Result<Self, FilesystemError> {
        let fields = Fields::new(bytes, Object::Inode(u64::from(number)), at);
        let long = fields.length() > usize::from(OLD_INODE_BYTES);
        Ok(Self { fields, number, at, extra: if long { fields.le16(128)? } else { 0 } })
    }

    /// True when nothing was ever written here.
    pub(super) fn is_blank(&self) -> bool {
        self.fields.bytes().iter().all(|byte| *byte == 0)
    }

    /// Compares the checksum, where there is one, and checks the length of the extra fields.
    pub(super) fn verify(&self, superblock: &Superblock) -> Result<(), FilesystemError> {
        if superblock.has_inode_checksums() && !self.checksum_matches(superblock)? {
            return Err(self.fields.corrupt("its checksum does not match"));
        }
        self.verify_extra()
    }

    pub(super) fn verify_extra(&self) -> Result<(), FilesystemError> {
        let end = usize::from(OLD_INODE_BYTES) + usize::from(self.extra);
        if !self.extra.is_multiple_of(4) || (self.extra > 0 && end > self.fields.length()) {
            return Err(self.fields.corrupt(format!("{} extra bytes cannot be", self.extra)));
        }
        Ok(())
    }

    /// True when all four bytes of the checksum are kept.
    pub(super) fn has_whole_checksum(&self) -> bool {
        self.has(CHECKSUM_HIGH, 2)
    }

    fn checksum_matches(&self, superblock: &Superblock) -> Result<bool, FilesystemError> {
        let (stored, computed) = self.sums(superblock)?;
        Ok(sums_agree(stored, computed))
    }

    /// The checksum that the inode has, and the one that its bytes have.
    pub(super) fn sums(&self, superblock: &Superblock) -> Result<(u32, u32), FilesystemError> {
        let bytes = self.fields.bytes();
        let mut zeroed = bytes.to_vec();
        let mut stored = u32::from(self.fields.le16(CHECKSUM_LOW)?);
        zeroed.get_mut(CHECKSUM_LOW..CHECKSUM_LOW + 2).unwrap_or_default().fill(0);
        let full = self.has_whole_checksum();
        if full {
            stored |= u32::from(self.fields.le16(CHECKSUM_HIGH)?) << 16;
            zeroed.get_mut(CHECKSUM_HIGH..CHECKSUM_HIGH + 2).unwrap_or_default().fill(0);
        }
        let computed = crc32c(self.seed(superblock)?, &zeroed);
        Ok((stored, if full { computed } else { computed & 0xFFFF }))
    }

    /// Where the checksums of this inode's blocks begin.
    pub(super) fn seed(&self, superblock: &Superblock) -> Result<u32, FilesystemError> {
        Ok(inode_seed(superblock.seed, self.number, self.fields.le32(GENERATION)?))
    }

    /// True when the inode is long enough for a field beyond the old ones.
    fn has(&self, offset: usize, length: usize) -> bool {
        self.fields.length() > usize::from(OLD_INODE_BYTES)
            && offset + length <= usize::from(OLD_INODE_BYTES) + usize::from(self.extra)
    }

    pub(super) fn flags(&self) -> Result<u32, FilesystemError> {
        self.fields.le32(32)
    }

    pub(super) fn has_flag(&self, flag: u32) -> Result<bool, FilesystemError> {
        Ok(self.flags()? & flag != 0)
    }

    /// The 60 bytes of map, inline content or short link.
    pub(super) fn body(&self) -> Result<&'a [u8], FilesystemError> {
        self.fields.slice(BODY, BODY_BYTES)
    }

    pub(super) fn format(&self) -> Result<u16, FilesystemError> {
        Ok(self.fields.le16(0)? & 0xF000)
    }

    pub(super) fn links(&self) -> Result<u16, FilesystemError> {
        self.fields.le16(26)
    }

    /// The block of extended attributes; zero when there is none.
    pub(super) fn attribute_block(&self, superblock: &Superblock) -> Result<u64, FilesystemError> {
        let high = if superblock.features.has_incompat(incompat::BITS_64) { self.fields.le16(118)? } else { 0 };
        Ok(u64::from(self.fields.le32(104)?) | u64::from(high) << 32)
    }

    /// The room for extended attributes inside the inode, with the byte of the inode where it begins.
    pub(super) fn attribute_room(&self) -> Option<(usize, &'a [u8])> {
        let start = usize::from(OLD_INODE_BYTES) + usize::from(self.extra);
        let room = self.fields.bytes().get(start..).filter(|_| self.extra > 0)?;
        Some((start, room))
    }

    pub(super) fn size(&self, superblock: &Superblock) -> Result<u64, FilesystemError> {
        let low = u64::from(self.fields.le32(4)?);
        let large = self.format()? == flags::REGULAR || superblock.features.has_incompat(incompat::LARGEDIR);
        let size = if large { low | u64::from(self.fields.le32(108)?) << 32 } else { low };
        if i64::try_from(size).is_err() {
            return Err(self.fields.corrupt(format!("a size of {size} bytes cannot be")));
        }
        Ok(size)
    }

    /// Space taken by blocks, in units of 512 bytes.
    pub(super) fn sectors(&self, superblock: &Superblock) -> Result<u64, FilesystemError> {
        let low = u64::from(self.fields.le32(28)?);
        if !superblock.features.has_ro_compat(ro_compat::HUGE_FILE) {
            return Ok(low);
        }
        let sectors = low | u64::from(self.fields.le16(116)?) << 32;
        let in_blocks = self.has_flag(flags::HUGE_FILE)?;
        Ok(if in_blocks { sectors * u64::from(superblock.block_bytes / 512) } else { sectors })
    }

    /// The inode as others see it.
    pub(super) fn decode(&self, superblock: &Superblock) -> Result<Inode, FilesystemError> {
        let fields = &self.fields;
        let kind = self.kind()?;
        let size = self.size(superblock)?;
        let inline = self.has_flag(flags::INLINE_DATA)? && matches!(kind, FileKind::Regular);
        Ok(Inode {
            number: InodeNumber(u64::from(self.number)),
            generation: fields.le32(GENERATION)?,
            kind,
            mode: fields.le16(0)? & 0o7777,
            uid: u32::from(fields.le16(2)?) | u32::from(fields.le16(120)?) << 16,
            gid: u32::from(fields.le16(24)?) | u32::from(fields.le16(122)?) << 16,
            links: u32::from(self.links()?),
            size,
            // A file inside its inode takes no block, and `stat` shows its length instead.
            sectors: self.sectors(superblock)?.saturating_add(if inline { size.div_ceil(512) } else { 0 }),
            accessed: self.time(8, 140)?,
            modified: self.time(16, 136)?,
            changed: self.time(12, 132)?,
            created: if self.reaches(148) { Some(self.time(144, 148)?) } else { None },
            encrypted: self.has_flag(flags::ENCRYPT)?,
            raw: fields.bytes().into(),
        })
    }

    /// True when a field of four bytes is there: an inode with room but no length given has all fields of today.
    fn reaches(&self, offset: usize) -> bool {
        let extra = if self.extra == 0 { KNOWN_EXTRA } else { self.extra };
        let end = usize::from(OLD_INODE_BYTES) + usize::from(extra);
        offset + 4 <= end && offset + 4 <= self.fields.length()
    }

    fn time(&self, seconds: usize, extra: usize) -> Result<Moment, FilesystemError> {
        let extra = if self.reaches(extra) { self.fields.le32(extra)? } else { 0 };
        Ok(moment(self.fields.le32(seconds)?, extra))
    }

    fn kind(&self) -> Result<FileKind, FilesystemError> {
        Ok(match self.format()? {
            flags::REGULAR => FileKind::Regular,
            flags::DIRECTORY => FileKind::Directory,
            flags::SYMLINK => FileKind::Symlink,
            flags::CHARACTER => {
                let (major, minor) = self.device()?;
                FileKind::CharacterDevice { major, minor }
            }
            flags::BLOCK => {
                let (major, minor) = self.device()?;
                FileKind::BlockDevice { major, minor }
            }
            flags::FIFO => FileKind::Fifo,
            flags::SOCKET => FileKind::Socket,
            other => return Err(self.fields.corrupt(format!("a mode of {other:#o} cannot be"))),
        })
    }

    /// The old form has eight bits each; the new one stands in the second word when the first is zero.
    fn device(&self) -> Result<(u32, u32), FilesystemError> {
        let (old, new) = (self.fields.le32(BODY)?, self.fields.le32(BODY + 4)?);
        if old != 0 {
            return Ok(((old >> 8) & 0xFF, old & 0xFF));
        }
        Ok(((new & 0xF_FF00) >> 8, (new & 0xFF) | ((new >> 12) & 0xF_FF00)))
    }

    /// True when the target of a symbolic link lies where the map would.
    pub(super) fn is_short_link(&self, superblock: &Superblock, size: u64) -> Result<bool, FilesystemError> {
        if superblock.features.has_incompat(incompat::EA_INODE) {
            return Ok(size > 0 && size < BODY_BYTES as u64);
        }
        let attributes = if self.attribute_block(superblock)? == 0 { 0 } else { u64::from(superblock.cluster_blocks) };
        let sectors = u64::from(superblock.block_bytes / 512).saturating_mul(attributes);
        Ok(self.sectors(superblock)? == sectors)
    }

    /// True for a directory whose blocks may be nodes of an index.
    pub(super) fn is_indexed(&self, superblock: &Superblock) -> Result<bool, FilesystemError> {
        Ok(superblock.features.has_compat(compat::DIR_INDEX) && self.has_flag(flags::INDEX)?)
    }
}
