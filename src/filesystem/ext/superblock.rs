//! The superblock: where everything is, checked before anything is believed.

use super::checksum::{START, crc32c};
use super::features::{Features, incompat, ro_compat};
use crate::base::io::ReadAt;
use crate::filesystem::error::{FilesystemError, Object};
use crate::filesystem::fields::{Fields, sums_agree};

/// Where the superblock lies, whatever the block size.
pub(super) const PLACE: u64 = 1024;
pub(super) const BYTES: usize = 1024;
/// Where its checksum lies in it.
const CHECKSUM: usize = 0x3FC;
pub(super) const MAGIC: u16 = 0xEF53;
/// 64 KiB, the largest block.
const MAX_LOG_BLOCK: u32 = 6;
/// 1 GiB, the largest cluster.
const MAX_LOG_CLUSTER: u32 = 20;
/// The bytes that the oldest inodes have.
pub(super) const OLD_INODE_BYTES: u16 = 128;
const UNSIGNED_HASH: u32 = 2;
const STATE_VALID: u16 = 1;
const STATE_ERRORS: u16 = 2;

/// What the superblock says.
#[derive(Debug, Clone)]
pub(super) struct Superblock {
    pub(super) features: Features,
    pub(super) uuid: [u8; 16],
    pub(super) label: Vec<u8>,
    pub(super) inodes: u32,
    /// Blocks of the volume. Their bytes fit in 64 bits.
    pub(super) blocks: u64,
    pub(super) first_data_block: u32,
    pub(super) block_bytes: u32,
    /// Blocks that one bit of a block bitmap stands for.
    pub(super) cluster_blocks: u32,
    pub(super) blocks_per_group: u32,
    pub(super) inodes_per_group: u32,
    pub(super) inode_bytes: u16,
    pub(super) descriptor_bytes: u16,
    pub(super) first_meta_group: u32,
    /// The group that this copy stands in. Superblocks of the first revision do not say.
    pub(super) group: Option<u16>,
    /// Groups that keep their bitmaps and tables together, as a logarithm.
    pub(super) log_flex_groups: u8,
    pub(super) reserved_descriptor_blocks: u16,
    pub(super) backup_groups: [u32; 2],
    pub(super) multi_mount_block: u64,
    /// The first inode that is nobody's in particular.
    pub(super) first_inode: u32,
    /// Inodes beyond the reserved ones that no directory names: quotas, and the orphan file.
    pub(super) hidden_inodes: [u32; 4],
    pub(super) journal_inode: u32,
    pub(super) journal_device: u32,
    /// The journal's map and size, kept here in case its inode is lost.
    pub(super) journal_backup: Option<[u8; 68]>,
    /// Inodes of other systems carry no checksum.
    pub(super) made_by_linux: bool,
    pub(super) state: u16,
    /// Where metadata checksums begin.
    pub(super) seed: u32,
    /// What hashing of names begins with, unless it is zero, and whether it takes bytes for unsigned.
    pub(super) hash_seed: [u32; 4],
    pub(super) hash_unsigned: bool,
}

impl Superblock {
    /// Reads and checks the primary superblock.
    pub(super) fn read(source: &dyn ReadAt) -> Result<Self, FilesystemError> {
        Self::read_copy(source, PLACE)
    }

    /// Reads and checks the copy that begins at byte `at`.
    pub(super) fn read_copy(source: &dyn ReadAt, at: u64) -> Result<Self, FilesystemError> {
        let mut bytes = [0; BYTES];
        source.read_at(at, &mut bytes).map_err(|source| FilesystemError::Io { object: Object::Superblock, source })?;
        Self::parse(&bytes, at)
    }

    /// The superblock in `bytes`, which lie at byte `at`.
    pub(super) fn parse(bytes: &[u8], at: u64) -> Result<Self, FilesystemError> {
        let fields = Fields::new(bytes, Object::Superblock, at);
        if fields.le16(56)? != MAGIC {
            return Err(fields.corrupt("its magic number is wrong"));
        }
        let features = Features { compat: fields.le32(92)?, incompat: fields.le32(96)?, ro_compat: fields.le32(100)? };
        verify(&fields, features)?;
        if let Some(feature) = features.unreadable() {
            return Err(FilesystemError::Unsupported { object: Object::Superblock, feature });
        }
        let superblock = Self::decode(&fields, features)?;
        superblock.check().map_err(|what| fields.corrupt(what))?;
        Ok(superblock)
    }

    fn decode(fields: &Fields<'_>, features: Features) -> Result<Self, FilesystemError> {
        let old = fields.le32(76)? == 0;
        let wide = features.has_incompat(incompat::BITS_64);
        let uuid = fields.array(104)?;
        let log_block = bounded(fields, 24, MAX_LOG_BLOCK, "block size")?;
        let cluster_blocks = match features.has_ro_compat(ro_compat::BIGALLOC) {
            true => 1 << bounded(fields, 28, MAX_LOG_CLUSTER, "cluster size")?.saturating_sub(log_block),
            false => 1,
        };
        Ok(Self {
            features,
            uuid,
            label: fields.slice(120, 16)?.split(|byte| *byte == 0).next().unwrap_or_default().to_vec(),
            inodes: fields.le32(0)?,
            blocks: u64::from(fields.le32(4)?) | if wide { u64::from(fields.le32(0x150)?) << 32 } else { 0 },
            first_data_block: fields.le32(20)?,
            block_bytes: 1024 << log_block,
            cluster_blocks,
            blocks_per_group: fields.le32(32)?,
            inodes_per_group: fields.le32(40)?,
            inode_bytes: if old { OLD_INODE_BYTES } else { fields.le16(88)? },
            descriptor_bytes: if wide { fields.le16(254)? } else { 32 },
            first_meta_group: fields.le32(260)?,
            group: if old { None } else { Some(fields.le16(90)?) },
            log_flex_groups: if features.has_incompat(incompat::FLEX_BG) { fields.u8(0x174)? } else { 0 },
            reserved_descriptor_blocks: fields.le16(206)?,
            backup_groups: [fields.le32(0x24C)?, fields.le32(0x250)?],
            multi_mount_block: if features.has_incompat(incompat::MMP) { fields.le64(0x168)? } else { 0 },
            first_inode: if old { 11 } else { fields.le32(84)? },
            hidden_inodes: [fields.le32(0x240)?, fields.le32(0x244)?, fields.le32(0x26C)?, fields.le32(0x280)?],
            journal_inode: fields.le32(224)?,
            journal_device: fields.le32(228)?,
            journal_backup: (fields.u8(253)? == 1).then(|| fields.array(268)).transpose()?,
            made_by_linux: fields.le32(72)? == 0,
            state: fields.le16(58)?,
            seed: if features.has_incompat(incompat::CSUM_SEED) { fields.le32(0x270)? } else { crc32c(START, &uuid) },
            hash_seed: [fields.le32(0xEC)?, fields.le32(0xF0)?, fields.le32(0xF4)?, fields.le32(0xF8)?],
            hash_unsigned: fields.le32(0x160)? & UNSIGNED_HASH != 0,
        })
    }

    /// The sums that everything else relies on.
    pub(super) fn check(&self) -> Result<(), String> {
        let bits = u64::from(self.block_bytes) * 8;
        let group = u64::from(self.blocks_per_group);
        let clusters = group / u64::from(self.cluster_blocks);
        let claims = [
            (self.inode_bytes.is_power_of_two() && self.inode_bytes >= OLD_INODE_BYTES, "inode size"),
            (u32::from(self.inode_bytes) <= self.block_bytes, "inode size"),
            (self.descriptor_bytes.is_power_of_two() && self.descriptor_bytes <= 1024, "descriptor size"),
            (self.descriptor_bytes >= if self.features.has_incompat(incompat::BITS_64) { 64 } else { 32 }, "descriptor size"),
            (clusters > 0 && clusters <= bits && clusters * u64::from(self.cluster_blocks) == group, "blocks per group"),
            (self.inodes_per_group > 0 && u64::from(self.inodes_per_group) <= bits, "inodes per group"),
            (self.blocks > u64::from(self.first_data_block) && self.first_data_block <= 1, "first data block"),
            (self.first_data_block == 1 || self.block_bytes > 1024 || self.cluster_blocks > 1, "first data block"),
            (self.blocks.checked_mul(u64::from(self.block_bytes)).is_some(), "number of blocks"),
            (self.group_count().saturating_mul(u64::from(self.inodes_per_group)) == u64::from(self.inodes), "number of inodes"),
        ];
        match claims.into_iter().find(|(holds, _)| !holds) {
            Some((_, field)) => Err(format!("its {field} cannot be")),
            None => Ok(()),
        }
    }

    /// Bytes that the filesystem covers.
    pub(super) fn size(&self) -> u64 {
        self.blocks.saturating_mul(u64::from(self.block_bytes))
    }

    /// How many block groups there are; at most as many as inodes. Asked of sums that are not checked yet, it must not fail.
    pub(super) fn group_count(&self) -> u64 {
        self.blocks.saturating_sub(u64::from(self.first_data_block)).div_ceil(u64::from(self.blocks_per_group).max(1))
    }

    pub(super) fn has_metadata_checksums(&self) -> bool {
        self.features.has_ro_compat(ro_compat::METADATA_CSUM)
    }

    /// True when every inode carries a checksum.
    pub(super) fn has_inode_checksums(&self) -> bool {
        self.has_metadata_checksums() && self.made_by_linux
    }

    /// True when descriptors are checksummed, and may therefore say that a bitmap or table was never written.
    pub(super) fn has_descriptor_checksums(&self) -> bool {
        self.has_metadata_checksums() || self.features.has_ro_compat(ro_compat::GDT_CSUM)
    }

    pub(super) fn needs_recovery(&self) -> bool {
        self.features.has_incompat(incompat::RECOVER)
    }

    /// True when the kernel saw errors that nobody repaired.
    pub(super) fn has_errors(&self) -> bool {
        self.state & STATE_ERRORS != 0
    }

    /// True when it was unmounted, or at least nobody wrote since.
    pub(super) fn was_unmounted(&self) -> bool {
        self.state & STATE_VALID != 0
    }

    /// True for inodes that no directory may name.
    pub(super) fn is_hidden(&self, number: u32) -> bool {
        (number < self.first_inode && number != super::ROOT) || self.hidden_inodes.contains(&number)
    }
}

/// A logarithm that must not be larger than `limit`.
fn bounded(fields: &Fields<'_>, offset: usize, limit: u32, name: &str) -> Result<u32, FilesystemError> {
    let value = fields.le32(offset)?;
    if value > limit { Err(fields.corrupt(format!("its {name} cannot be"))) } else { Ok(value) }
}

fn verify(fields: &Fields<'_>, features: Features) -> Result<(), FilesystemError> {
    if !features.has_ro_compat(ro_compat::METADATA_CSUM) {
        return Ok(());
    }
    let kind = fields.u8(0x175)?;
    if kind != 1 {
        return Err(FilesystemError::Unsupported { object: Object::Superblock, feature: format!("checksum type {kind}") });
    }
    if !sums_agree(fields.le32(CHECKSUM)?, crc32c(START, fields.slice(0, CHECKSUM)?)) {
        return Err(fields.corrupt("its checksum does not match"));
    }
    Ok(())
}

#[cfg(test)]
impl Superblock {
    /// One of a volume of 8 MiB, for tests of what needs little of it.
    pub(super) fn made_up(features: Features) -> Self {
        let plain = Self::parse(&tests::plain(), PLACE).expect("it is one");
        Self { features, ..plain }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 8192 blocks of 1 KiB in one group, revision 1.
    pub(super) fn plain() -> Vec<u8> {
        let mut bytes = vec![0; BYTES];
        for (at, value) in [(0, 64_u32), (4, 8192), (20, 1), (32, 8192), (40, 64), (76, 1), (84, 11), (96, 2), (100, 1)] {
            put(&mut bytes, at, &value.to_le_bytes());
        }
        put(&mut bytes, 56, &MAGIC.to_le_bytes());
        put(&mut bytes, 88, &128_u16.to_le_bytes());
        bytes
    }

    fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
        bytes[at..at + value.len()].copy_from_slice(value);
    }

    #[test]
    fn a_superblock_whose_sums_do_not_agree_is_refused_by_the_field() {
        let check = |at: usize, value: &[u8], expected: &str| {
            let mut bytes = plain();
            put(&mut bytes, at, value);
            let said = Superblock::parse(&bytes, PLACE).map(|_| "fine".to_owned()).unwrap_or_else(|error| error.to_string());
            assert!(said.contains(expected), "{at}: {said}");
        };
        check(0, &64_u32.to_le_bytes(), "fine");
        check(56, &[0], "magic");
        check(0, &65_u32.to_le_bytes(), "number of inodes");
        check(20, &0_u32.to_le_bytes(), "first data block");
        check(20, &9000_u32.to_le_bytes(), "first data block");
        check(24, &7_u32.to_le_bytes(), "block size");
        check(32, &0_u32.to_le_bytes(), "blocks per group");
        check(32, &8193_u32.to_le_bytes(), "blocks per group");
        check(40, &0_u32.to_le_bytes(), "inodes per group");
        check(88, &100_u16.to_le_bytes(), "inode size");
        check(88, &2048_u16.to_le_bytes(), "inode size");
        check(96, &0x83_u32.to_le_bytes(), "compression");
        check(96, &0x82_u32.to_le_bytes(), "descriptor size");
        check(100, &0x401_u32.to_le_bytes(), "checksum type 0");
    }

    #[test]
    fn the_checksum_covers_every_byte_before_it() {
        let mut bytes = plain();
        put(&mut bytes, 100, &0x401_u32.to_le_bytes());
        bytes[0x175] = 1;
        let sum = crc32c(START, &bytes[..CHECKSUM]);
        put(&mut bytes, CHECKSUM, &sum.to_le_bytes());
        assert!(Superblock::parse(&bytes, PLACE).is_ok());
        for at in [0x300, 0x3FB, 0x3FF] {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            assert!(Superblock::parse(&flipped, PLACE).unwrap_err().to_string().contains("checksum"), "{at}");
        }
    }
}
