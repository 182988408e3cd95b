//! The feature words of the superblock: which bits we read, and what the others are called.

use crate::filesystem::face::Kind;

/// A compatible feature: it can be ignored.
pub(super) mod compat {
    pub(in super::super) const HAS_JOURNAL: u32 = 0x4;
    pub(in super::super) const DIR_INDEX: u32 = 0x20;
    pub(in super::super) const SPARSE_SUPER2: u32 = 0x200;
    pub(in super::super) const FAST_COMMIT: u32 = 0x400;
}

/// A feature without which the volume cannot be read.
pub(super) mod incompat {
    pub(in super::super) const FILETYPE: u32 = 0x2;
    pub(in super::super) const RECOVER: u32 = 0x4;
    pub(in super::super) const META_BG: u32 = 0x10;
    pub(in super::super) const EXTENTS: u32 = 0x40;
    pub(in super::super) const BITS_64: u32 = 0x80;
    pub(in super::super) const MMP: u32 = 0x100;
    pub(in super::super) const FLEX_BG: u32 = 0x200;
    pub(in super::super) const EA_INODE: u32 = 0x400;
    pub(in super::super) const CSUM_SEED: u32 = 0x2000;
    pub(in super::super) const LARGEDIR: u32 = 0x4000;
    pub(in super::super) const INLINE_DATA: u32 = 0x8000;
    pub(in super::super) const ENCRYPT: u32 = 0x1_0000;
    pub(in super::super) const CASEFOLD: u32 = 0x2_0000;
}

/// A feature without which the volume cannot be written.
pub(super) mod ro_compat {
    pub(in super::super) const SPARSE_SUPER: u32 = 0x1;
    pub(in super::super) const HUGE_FILE: u32 = 0x8;
    pub(in super::super) const GDT_CSUM: u32 = 0x10;
    pub(in super::super) const BIGALLOC: u32 = 0x200;
    pub(in super::super) const METADATA_CSUM: u32 = 0x400;
}

const READ_INCOMPAT: u32 = incompat::FILETYPE
    | incompat::RECOVER
    | incompat::META_BG
    | incompat::EXTENTS
    | incompat::BITS_64
    | incompat::MMP
    | incompat::FLEX_BG
    | incompat::EA_INODE
    | incompat::CSUM_SEED
    | incompat::LARGEDIR
    | incompat::INLINE_DATA
    | incompat::ENCRYPT
    | incompat::CASEFOLD;
/// What ext3 knew; anything more makes it ext4.
const EXT3_INCOMPAT: u32 = incompat::FILETYPE | incompat::RECOVER | incompat::META_BG;
const EXT3_RO_COMPAT: u32 = 0x7;
/// Bits whose meaning for the block bitmaps is known: everything up to `orphan_present` but snapshots, replicas and shared blocks.
const MAPPED_RO_COMPAT: u32 = 0x1_B77F;
/// Names as `dumpe2fs` prints them, of what we do not read.
const INCOMPAT_NAMES: &[(u32, &str)] = &[(0x1, "compression"), (0x8, "journal_dev"), (0x1000, "dirdata")];
const RO_COMPAT_NAMES: &[(u32, &str)] = &[(0x80, "has_snapshot"), (0x800, "replica"), (0x4000, "shared_blocks")];

/// The three words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Features {
    pub(super) compat: u32,
    pub(super) incompat: u32,
    pub(super) ro_compat: u32,
}

impl Features {
    pub(super) fn has_compat(self, bit: u32) -> bool {
        self.compat & bit != 0
    }

    pub(super) fn has_incompat(self, bit: u32) -> bool {
        self.incompat & bit != 0
    }

    pub(super) fn has_ro_compat(self, bit: u32) -> bool {
        self.ro_compat & bit != 0
    }

    /// The first feature that we cannot read without.
    pub(super) fn unreadable(self) -> Option<String> {
        name_of(self.incompat & !READ_INCOMPAT, INCOMPAT_NAMES, 'I')
    }

    /// The first feature that may change what a clear bit in a block bitmap means.
    pub(super) fn unmapped(self) -> Option<String> {
        name_of(self.ro_compat & !MAPPED_RO_COMPAT, RO_COMPAT_NAMES, 'R')
    }

    /// Which of the three these words belong to.
    pub(super) fn kind(self) -> Kind {
        if self.incompat & !EXT3_INCOMPAT != 0 || self.ro_compat & !EXT3_RO_COMPAT != 0 {
            Kind::Ext4
        } else if self.has_compat(compat::HAS_JOURNAL) {
            Kind::Ext3
        } else {
            Kind::Ext2
        }
    }
}

fn name_of(bits: u32, names: &[(u32, &str)], word: char) -> Option<String> {
    let lowest = bits & bits.wrapping_neg();
    let known = names.iter().find(|(bit, _)| *bit == lowest).map(|(_, name)| (*name).to_owned());
    (bits != 0).then(|| known.unwrap_or_else(|| format!("FEATURE_{word}{}", lowest.trailing_zeros())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_read_is_named_as_the_tools_name_it() {
        let check = |incompat, expected: Option<&str>| {
            assert_eq!(Features { incompat, ..Features::default() }.unreadable().as_deref(), expected, "{incompat:#x}");
        };
        check(READ_INCOMPAT, None);
        check(READ_INCOMPAT | 0x1, Some("compression"));
        check(0x8 | 0x1000, Some("journal_dev"));
        check(0x8000_0000, Some("FEATURE_I31"));
        let ro_compat = |ro_compat| Features { ro_compat, ..Features::default() }.unmapped();
        assert_eq!(ro_compat(0x1_B77F), None);
        assert_eq!(ro_compat(0x4000).as_deref(), Some("shared_blocks"));
        assert_eq!(ro_compat(0x2_0000).as_deref(), Some("FEATURE_R17"));
    }

    #[test]
    fn the_youngest_feature_decides_which_ext_it_is() {
        let kind = |compat, incompat, ro_compat| Features { compat, incompat, ro_compat }.kind();
        assert_eq!(kind(0x38, 0x2, 0x3), Kind::Ext2);
        assert_eq!(kind(0x3C, 0x6, 0x3), Kind::Ext3);
        assert_eq!(kind(0x3C, 0x42, 0x3), Kind::Ext4);
        assert_eq!(kind(0x38, 0x2, 0x8), Kind::Ext4);
    }
}
