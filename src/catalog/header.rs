//! The front of a catalog: which filesystem it describes, and which bytes journal replay changed.
//!
//! ```text
//! header   := version u8 (1) | kind u8 (1) | zero u16 | filesystem u8 | view u8 | uuid [16] | block bytes u32
//!             | size u64 | root inode u64 | replayed extents u32
//! replayed := version u8 (1) | kind u8 (2) | count u16 | (offset u64 | length u64) each
//! ```

use super::error::CatalogError;
use super::layout::{PAGE_BYTES, REPLAYED_FIRST, REPLAYED_PAGES};
use super::record::{PAGE_HEADER_BYTES, finish, open_page, page_of};
use crate::base::bytes::{ByteReader, PutBytes, Truncated};
use crate::base::extent::{Extent, ExtentSet};
use crate::filesystem::{Filesystem, Kind, View};

const HEADER: u8 = 1;
const REPLAYED: u8 = 2;
const EXTENTS_A_PAGE: usize = (PAGE_BYTES - PAGE_HEADER_BYTES) / 16;
/// More are joined outward: too much counts as changed rather than too little.
const MAX_REPLAYED: usize = EXTENTS_A_PAGE * REPLAYED_PAGES as usize;

/// What a catalog says of the filesystem that it describes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Which one.
    pub filesystem: Kind,
    /// 1 clean, 2 replayed, 3 stale.
    pub view: u8,
    /// Its UUID.
    pub uuid: [u8; 16],
    /// Bytes in its blocks.
    pub block_bytes: u32,
    /// Bytes that it covers.
    pub size: u64,
    /// The root directory.
    pub root: u64,
    /// What journal replay changed.
    pub replayed: ExtentSet,
}

impl Header {
    pub(super) fn of(filesystem: &dyn Filesystem) -> Self {
        let identity = filesystem.identity();
        Self {
            filesystem: identity.kind,
            view: view_code(filesystem.view()),
            uuid: identity.uuid,
            block_bytes: identity.block_bytes,
            size: identity.size,
            root: filesystem.root().0,
            replayed: coarsen(filesystem.replayed(), identity.block_bytes),
        }
    }

    /// The number by which the manifest calls the filesystem.
    #[must_use]
    pub fn filesystem_code(&self) -> u8 {
        match self.filesystem {
            Kind::Ext2 => 1,
            Kind::Ext3 => 2,
            Kind::Ext4 => 3,
            Kind::Xfs => 4,
            Kind::FileTree => 5,
        }
    }

    /// True if the other describes the same filesystem in a state that can be compared: same place of everything, nothing stale.
    pub(super) fn can_follow(&self, earlier: &Self) -> bool {
        let identity = |h: &Self| (h.filesystem, h.uuid, h.block_bytes, h.size, h.root);
        identity(self) == identity(earlier) && self.view != STALE && earlier.view != STALE
    }

    /// The pages from page 0 on.
    pub(super) fn encode(&self) -> Vec<Vec<u8>> {
        let mut out = page_of(HEADER, 0);
        out.put_u8(self.filesystem_code());
        out.put_u8(self.view);
        out.put(&self.uuid);
        out.put_u32(self.block_bytes);
        out.put_u64(self.size);
        out.put_u64(self.root);
        out.put_u32(self.replayed.count() as u32);
        let replayed = self.replayed.as_slice().chunks(EXTENTS_A_PAGE).map(|extents| {
            let mut out = page_of(REPLAYED, extents.len());
            for extent in extents {
                out.put_u64(extent.offset);
                out.put_u64(extent.length);
            }
            finish(out, false)
        });
        [finish(out, false)].into_iter().chain(replayed).collect()
    }

    /// Reads page 0, and says how many pages of replayed extents follow.
    pub(super) fn parse(page: &[u8]) -> Result<(Self, u64), CatalogError> {
        let (mut reader, _) = open_page(0, page, HEADER)?;
        let (header, replayed) = fields(&mut reader).map_err(CatalogError::cut(0))?;
        let pages = u64::from(replayed).div_ceil(EXTENTS_A_PAGE as u64);
        match header {
            Some(header) if pages <= REPLAYED_PAGES => Ok((header, pages)),
            _ => Err(CatalogError::page(0, "it holds what no writer writes")),
        }
    }

    /// Adds the extents of a page of them.
    pub(super) fn add_replayed(&mut self, number: u64, page: &[u8]) -> Result<(), CatalogError> {
        let (mut reader, count) = open_page(number, page, REPLAYED)?;
        for _ in 0..count {
            let mut read = || Ok(Extent::new(reader.u64()?, reader.u64()?));
            self.replayed.insert(read().map_err(CatalogError::cut(number))?);
        }
        Ok(())
    }
}

const STALE: u8 = 3;

fn view_code(view: &View) -> u8 {
    match view {
        View::Clean => 1,
        View::Replayed { .. } => 2,
        View::Stale { .. } => STALE,
    }
}

/// The filesystem that the manifest calls by this number.
#[must_use]
pub fn filesystem_of(code: u8) -> Option<Kind> {
    match code {
        1 => Some(Kind::Ext2),
        2 => Some(Kind::Ext3),
        3 => Some(Kind::Ext4),
        4 => Some(Kind::Xfs),
        5 => Some(Kind::FileTree),
        _ => None,
    }
}

fn fields(reader: &mut ByteReader<'_>) -> Result<(Option<Header>, u32), Truncated> {
    let filesystem = filesystem_of(reader.u8()?);
    let (view, uuid, block_bytes) = (reader.u8()?, reader.array()?, reader.u32()?);
    let (size, root, replayed) = (reader.u64()?, reader.u64()?, reader.u32()?);
    let header = |filesystem| Header { filesystem, view, uuid, block_bytes, size, root, replayed: ExtentSet::new() };
    Ok((filesystem.map(header), replayed))
}

fn coarsen(mut set: ExtentSet, block_bytes: u32) -> ExtentSet {
    let mut granule = u64::from(block_bytes.max(512));
    while set.count() > MAX_REPLAYED {
        granule *= 4;
        set = set.align_outward(granule, u64::MAX);
    }
    set
}

/// The pages that may hold replayed extents.
pub(super) fn replayed_pages(count: u64) -> impl Iterator<Item = u64> {
    (REPLAYED_FIRST..).take(count as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_comes_back_with_all_that_was_replayed() {
        let replayed: ExtentSet = (0..3000u64).map(|n| Extent::new(n * 8192, 4096)).collect();
        let (filesystem, view, uuid) = (Kind::Xfs, 2, [9; 16]);
        let header = Header { filesystem, view, uuid, block_bytes: 4096, size: 1 << 40, root: 64, replayed };
        let pages = header.encode();
        let (mut found, count) = Header::parse(&pages[0]).unwrap();
        assert_eq!(count as usize, pages.len() - 1);
        for (number, page) in (1..).zip(&pages[1..]) {
            found.add_replayed(number, page).unwrap();
        }
        assert_eq!(found, header);
        assert!(Header::parse(&[0; PAGE_BYTES]).is_err() && found.add_replayed(1, &pages[0]).is_err());
    }

    #[test]
    fn too_many_replayed_extents_are_joined_and_none_is_dropped() {
        let many: ExtentSet = (0..200_000u64).map(|n| Extent::new(n * 8192, 512)).collect();
        let joined = coarsen(many.clone(), 512);
        assert!(joined.count() <= MAX_REPLAYED && many.difference(&joined).is_empty());
    }
}
