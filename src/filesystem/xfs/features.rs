//! Feature bits of the superblock, by the names that `xfs_info` and the kernel's headers give them.

use crate::filesystem::error::{FilesystemError, Object};
use crate::filesystem::fields::Fields;

/// Version 4, `sb_versionnum`.
pub(super) const VERSION_BITS: u16 = 0x000f;
const SHARED: u16 = 0x0200;
pub(super) const LOG_V2: u16 = 0x0400;
pub(super) const SECTOR: u16 = 0x0800;
const EXTENT_FLAG: u16 = 0x1000;
const DIRECTORY_V2: u16 = 0x2000;
const MORE_BITS: u16 = 0x8000;
/// What mkfs sets: aligned inodes, a version 2 log, and what this reader asks for. Version 4 and 5 differ in the lowest bit.
pub(super) const USUAL_BITS: [u16; 2] = [0xb4a4, 0xb4a5];

/// Version 4, `sb_features2`: lazysbcount, attr2, projid32 and ftype.
const FEATURES2_KNOWN: u32 = 0x2 | 0x8 | 0x80 | FEATURES2_FILE_TYPE;
pub(super) const FEATURES2_FILE_TYPE: u32 = 0x200;
/// mkfs and repair leave them set or clear without meaning.
const FEATURES2_RESERVED: u32 = 0x1 | 0x4;

/// Version 5: who does not know one of these cannot read the volume. The last column says whether this reader does.
const INCOMPATIBLE: [(u32, &str, bool); 11] = [
    (FILE_TYPE, "ftype", true),
    (SPARSE_INODES, "spinodes", true),
    (META_UUID, "meta_uuid", true),
    (0x8, "bigtime", true),
    (NEEDS_REPAIR, "needsrepair", true),
    (0x20, "nrext64", true),
    (0x40, "exchrange", true),
    (0x80, "parent", true),
    (METADATA_DIRECTORY, "metadir", true),
    (0x200, "zoned", false),
    (0x400, "zone_gaps", false),
];
pub(super) const FILE_TYPE: u32 = 0x1;
pub(super) const SPARSE_INODES: u32 = 0x2;
pub(super) const META_UUID: u32 = 0x4;
const NEEDS_REPAIR: u32 = 0x10;
const METADATA_DIRECTORY: u32 = 0x100;

/// Version 5: finobt, rmapbt, reflink and inobtcount. Who does not know a further one may read, but not reckon what is free.
const READ_ONLY_KNOWN: u32 = 0xf;
/// Version 5: logged attributes.
const LOG_KNOWN: u32 = 0x1;

/// What the bits say, as far as a reader cares.
#[derive(Debug, Clone)]
pub(super) struct Features {
    /// Version 5.
    pub(super) crc: bool,
    /// Directory entries name the kind of their inode.
    pub(super) file_type: bool,
    /// Inode chunks may have holes.
    pub(super) sparse_inodes: bool,
    /// Metadata names another UUID than the one that users see.
    pub(super) meta_uuid: bool,
    /// Metadata files live in a directory tree of their own.
    pub(super) metadata_directory: bool,
    /// Someone found damage, and left it to `xfs_repair`.
    pub(super) needs_repair: bool,
    /// `sb_features_ro_compat` has bits that nobody here knows.
    pub(super) unknown_read_only: u32,
    /// `sb_features_log_incompat` has bits that nobody here knows.
    pub(super) unknown_log: u32,
}

impl Features {
    /// Reads the bits of a superblock, and refuses those that would make bytes mean something else.
    pub(super) fn parse(superblock: &Fields<'_>) -> Result<Self, FilesystemError> {
        let version = superblock.be16(100)?;
        match version & VERSION_BITS {
            4 => Self::version_4(superblock, version),
            5 => Self::version_5(superblock),
            other => Err(unsupported(format!("version {other} of XFS"))),
        }
    }

    fn version_4(superblock: &Fields<'_>, version: u16) -> Result<Self, FilesystemError> {
        for (bit, name) in [(DIRECTORY_V2, "version 1 directories (dirv2=0)"), (EXTENT_FLAG, "unflagged extents (extflg=0)")] {
            if version & bit == 0 {
                return Err(unsupported(name));
            }
        }
        if version & SHARED != 0 {
            return Err(unsupported("shared_vn"));
        }
        // Old kernels wrote the second word into the slot behind it.
        let second = if version & MORE_BITS == 0 { 0 } else { superblock.be32(200)? | superblock.be32(204)? };
        let unknown = second & !(FEATURES2_KNOWN | FEATURES2_RESERVED);
        if unknown != 0 {
            return Err(unsupported(format!("features2 bits {unknown:#x}")));
        }
        Ok(Self {
            crc: false,
            file_type: second & FEATURES2_FILE_TYPE != 0,
            sparse_inodes: false,
            meta_uuid: false,
            metadata_directory: false,
            needs_repair: false,
            unknown_read_only: 0,
            unknown_log: 0,
        })
    }

    fn version_5(superblock: &Fields<'_>) -> Result<Self, FilesystemError> {
        let incompatible = superblock.be32(216)?;
        let mut unknown = incompatible;
        for (bit, name, supported) in INCOMPATIBLE {
            if incompatible & bit != 0 && !supported {
                return Err(unsupported(name));
            }
            unknown &= !bit;
        }
        if unknown != 0 {
            return Err(unsupported(format!("incompatible feature bits {unknown:#x}")));
        }
        Ok(Self {
            crc: true,
            file_type: incompatible & FILE_TYPE != 0,
            sparse_inodes: incompatible & SPARSE_INODES != 0,
            meta_uuid: incompatible & META_UUID != 0,
            metadata_directory: incompatible & METADATA_DIRECTORY != 0,
            needs_repair: incompatible & NEEDS_REPAIR != 0,
            unknown_read_only: superblock.be32(212)? & !READ_ONLY_KNOWN,
            unknown_log: superblock.be32(220)? & !LOG_KNOWN,
        })
    }
}

/// A feature of the whole volume that is not supported.
pub(super) fn unsupported(feature: impl Into<String>) -> FilesystemError {
    FilesystemError::Unsupported { object: Object::Superblock, feature: feature.into() }
}
