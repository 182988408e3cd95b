//! Which page holds what.
//!
//! ```text
//!   page 0             header
//!   1 ..= 64           what journal replay changed
//!   128 ..             records of 32 inodes each
//!   2^44 ..            places of the directories among 256 inodes each
//!   2^45 .. +2^20      further names of inodes with several
//! ```
//! Numbers of inodes are their places, so that a change stays in its page. Empty pages cost nothing: they are holes of the tree.
//! Neighbouring pages are stored together. What is read at every backup, the places of directories, therefore lies apart from the
//! records, of which few are.

use crate::repository::CATALOG_PAGE_BYTES;

/// Bytes in a page.
pub(super) const PAGE_BYTES: usize = CATALOG_PAGE_BYTES as usize;
/// Inodes in a page of records.
pub(super) const INODES_A_PAGE: u64 = 32;
/// Inodes among which a page has the directories.
pub(super) const INODES_A_GROUP: u64 = 256;

/// Pages for what replay changed.
pub(super) const REPLAYED_FIRST: u64 = 1;
/// As many as are needed for the extents that are kept at most.
pub(super) const REPLAYED_PAGES: u64 = 64;
/// The first page of records.
pub(super) const RECORDS_FIRST: u64 = 128;
/// Inode numbers from here on are left out: no filesystem of up to 128 PiB has any.
pub(super) const MAX_INODE: u64 = 1 << 48;
/// The first page of directories.
pub(super) const DIRECTORIES_FIRST: u64 = 1 << 44;
/// The first page of further names.
pub(super) const LINKS_FIRST: u64 = 1 << 45;
/// Room for some 400 million of them.
pub(super) const LINKS_PAGES: u64 = 1 << 20;
/// All pages of a catalog; it is always as large, and nearly all of it is holes.
pub const CATALOG_PAGES: u64 = LINKS_FIRST + LINKS_PAGES;

const _: () = assert!(RECORDS_FIRST + MAX_INODE / INODES_A_PAGE <= DIRECTORIES_FIRST);
const _: () = assert!(DIRECTORIES_FIRST + MAX_INODE / INODES_A_GROUP <= LINKS_FIRST);

/// What a page number is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shelf {
    /// Header and replayed ranges.
    Front,
    /// Records of the 32 inodes from this one on.
    Records(u64),
    /// Places of the directories among the 256 inodes from this one on.
    Directories(u64),
    /// Further names.
    Links,
}

/// What page `number` is for.
pub(super) fn shelf(number: u64) -> Shelf {
    match number {
        0..RECORDS_FIRST => Shelf::Front,
        RECORDS_FIRST..DIRECTORIES_FIRST => Shelf::Records((number - RECORDS_FIRST) * INODES_A_PAGE),
        DIRECTORIES_FIRST..LINKS_FIRST => Shelf::Directories((number - DIRECTORIES_FIRST) * INODES_A_GROUP),
        LINKS_FIRST.. => Shelf::Links,
    }
}

/// The page with the record of `inode`.
pub(super) fn record_page(inode: u64) -> u64 {
    RECORDS_FIRST + inode / INODES_A_PAGE
}

/// The page with the places of the directories in the group of `inode`.
pub(super) fn directories_page(inode: u64) -> u64 {
    DIRECTORIES_FIRST + inode / INODES_A_GROUP
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_inode_has_one_page_and_the_page_knows_it() {
        for inode in [0, 1, 31, 32, 255, 256, 257, 5_000_000, MAX_INODE - 1] {
            assert_eq!(shelf(record_page(inode)), Shelf::Records(inode - inode % 32), "{inode}");
            assert_eq!(shelf(directories_page(inode)), Shelf::Directories(inode - inode % 256), "{inode}");
        }
        assert_eq!((record_page(0), record_page(255), directories_page(256)), (128, 135, (1 << 44) + 1));
        assert_eq!(shelf(0), Shelf::Front);
        assert_eq!(shelf(LINKS_FIRST), Shelf::Links);
    }
}
