//! Pages of directories' places, and of further names.
//!
//! ```text
//! directories := version u8 (1) | kind u8 (4) | count u16 | directory each
//! directory   := index in the group u8 | runs u8 | (disk | length) each; or index in the group u8 | 255 | digest of its names [16]
//! names       := version u8 (1) | kind u8 (5) | count u16 | (inode | parent | name length u8 | name) each
//! ```
//! The places tell an incremental build which directories to list again, without reading a record.

use super::content::{Content, MAX_PLACES};
use super::error::CatalogError;
use super::layout::{INODES_A_GROUP, PAGE_BYTES, Shelf, shelf};
use super::read::Link;
use super::record::{PAGE_HEADER_BYTES, finish, open_page, page_of};
use super::varint;
use crate::base::bytes::{ByteReader, PutBytes, Truncated};
use crate::base::extent::Extent;
use crate::filesystem::is_plain_name;

const DIRECTORIES: u8 = 4;
const LINKS: u8 = 5;
/// The places of a directory that would take more are not kept, and its names are looked at each time.
const MAX_PLACES_BYTES: usize = 60;
const ELSEWHERE: u8 = 255;
/// Bytes of a digest of names.
pub(super) const DIGEST_BYTES: usize = 16;
const _: () = assert!(DIGEST_BYTES <= MAX_PLACES_BYTES);
const _: () = assert!(PAGE_HEADER_BYTES + INODES_A_GROUP as usize * (2 + MAX_PLACES_BYTES) <= PAGE_BYTES);

/// A directory, and how to tell whether its names are what they were.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DirectoryPlaces {
    pub(super) inode: u64,
    pub(super) names: Names,
}

/// Where a directory's names lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Names {
    /// In these bytes of the filesystem, and in the inode.
    In(Vec<Extent>),
    /// In more runs than are kept. Their digest; zeros are nobody's.
    Elsewhere([u8; DIGEST_BYTES]),
}

impl Names {
    /// In the runs of `content`; if it does not list them, somewhere with this digest.
    pub(super) fn new(content: &Content, digest: impl FnOnce() -> [u8; DIGEST_BYTES]) -> Self {
        match content {
            Content::Places(places) => Self::In(places.iter().map(super::content::Place::extent).collect()),
            Content::Inline => Self::In(Vec::new()),
            Content::Unlisted => Self::Elsewhere(digest()),
        }
    }
}

impl DirectoryPlaces {
    /// Appends the directory.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u8((self.inode % INODES_A_GROUP) as u8);
        match &self.names {
            Names::Elsewhere(digest) => put_elsewhere(out, digest),
            Names::In(extents) => {
                let mut places = Vec::new();
                for extent in extents {
                    varint::put(&mut places, extent.offset);
                    varint::put(&mut places, extent.length);
                }
                if places.len() > MAX_PLACES_BYTES {
                    return put_elsewhere(out, &[0; DIGEST_BYTES]);
                }
                out.put_u8(extents.len() as u8);
                out.put(&places);
            }
        }
    }

    /// Reads a directory of the group whose first inode is `first`; the inner `None` is a value that no writer writes.
    pub(super) fn parse(first: u64, reader: &mut ByteReader<'_>) -> Result<Option<Self>, Truncated> {
        let inode = first.saturating_add(reader.u8()?.into());
        let count = reader.u8()?;
        if count == ELSEWHERE {
            return Ok(Some(Self { inode, names: Names::Elsewhere(reader.array()?) }));
        }
        if usize::from(count) > MAX_PLACES {
            return Ok(None);
        }
        let mut extents = Vec::with_capacity(count.into());
        for _ in 0..count {
            extents.push(Extent::new(varint::take(reader)?, varint::take(reader)?));
        }
        Ok(Some(Self { inode, names: Names::In(extents) }))
    }
}

fn put_elsewhere(out: &mut Vec<u8>, digest: &[u8; DIGEST_BYTES]) {
    out.put_u8(ELSEWHERE);
    out.put(digest);
}

/// The page of these directories of one group, ascending.
pub(super) fn encode_directories(directories: &[DirectoryPlaces]) -> Vec<u8> {
    let mut out = page_of(DIRECTORIES, directories.len());
    directories.iter().for_each(|directory| directory.encode(&mut out));
    finish(out, directories.is_empty())
}

/// The directories of page `number`.
pub(super) fn parse_directories(number: u64, page: &[u8]) -> Result<Vec<DirectoryPlaces>, CatalogError> {
    let (mut reader, count) = open_page(number, page, DIRECTORIES)?;
    let Shelf::Directories(first) = shelf(number) else { return Err(CatalogError::page(number, "it cannot hold directories")) };
    let wrong = || CatalogError::page(number, "a directory holds what no writer writes");
    let mut directories: Vec<DirectoryPlaces> = Vec::new();
    for _ in 0..count {
        let directory = DirectoryPlaces::parse(first, &mut reader).map_err(CatalogError::cut(number))?.ok_or_else(wrong)?;
        if directories.last().is_some_and(|last| last.inode >= directory.inode) {
            return Err(wrong());
        }
        directories.push(directory);
    }
    Ok(directories)
}

/// Fills pages with further names.
#[derive(Debug, Default)]
pub(super) struct LinkPages {
    page: Vec<u8>,
    count: usize,
}

impl LinkPages {
    /// Adds a name; gives back a page once it is full.
    pub(super) fn add(&mut self, link: &Link) -> Option<Vec<u8>> {
        let mut entry = Vec::new();
        varint::put(&mut entry, link.inode);
        varint::put(&mut entry, link.parent);
        entry.put_u8(link.name.len() as u8);
        entry.put(&link.name);
        let is_full = PAGE_HEADER_BYTES + self.page.len() + entry.len() > PAGE_BYTES;
        let full = if is_full { self.take() } else { None };
        self.page.extend_from_slice(&entry);
        self.count += 1;
        full
    }

    /// The page so far, if there is anything in it.
    pub(super) fn take(&mut self) -> Option<Vec<u8>> {
        if self.count == 0 {
            return None;
        }
        let mut out = page_of(LINKS, self.count);
        out.append(&mut self.page);
        self.count = 0;
        Some(finish(out, false))
    }
}

/// The names of page `number`.
pub(super) fn parse_links(number: u64, page: &[u8]) -> Result<Vec<Link>, CatalogError> {
    let (mut reader, count) = open_page(number, page, LINKS)?;
    let mut links: Vec<Link> = Vec::new();
    for _ in 0..count {
        let link = parse_link(&mut reader).map_err(CatalogError::cut(number))?;
        if !is_plain_name(&link.name) || links.last().is_some_and(|last| *last >= link) {
            return Err(CatalogError::page(number, "a name is what no writer writes"));
        }
        links.push(link);
    }
    Ok(links)
}

fn parse_link(reader: &mut ByteReader<'_>) -> Result<Link, Truncated> {
    let (inode, parent) = (varint::take(reader)?, varint::take(reader)?);
    let length = reader.u8()?;
    Ok(Link { inode, parent, name: reader.take(length.into())?.to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::layout::{LINKS_FIRST, directories_page};

    #[test]
    fn directories_come_back_and_long_places_are_nobodys_digest() {
        let far = Extent::new(1 << 62, 1 << 61);
        let names =
            [Names::In(vec![]), Names::In(vec![Extent::new(4096, 4096); 4]), Names::Elsewhere([7; 16]), Names::In(vec![far; 4])];
        let all: Vec<DirectoryPlaces> =
            (512..).zip(&names).map(|(inode, names)| DirectoryPlaces { inode, names: names.clone() }).collect();
        let found = parse_directories(directories_page(512), &encode_directories(&all)).unwrap();
        assert_eq!(found[..3], all[..3]);
        assert_eq!(found[3].names, Names::Elsewhere([0; 16]));
        for names in [Names::In(vec![Extent::new(1 << 42, 1 << 20); 4]), Names::Elsewhere([1; 16])] {
            let full: Vec<_> = (256..512).map(|inode| DirectoryPlaces { inode, names: names.clone() }).collect();
            assert_eq!(parse_directories(directories_page(256), &encode_directories(&full)).unwrap(), full);
        }
    }

    #[test]
    fn names_fill_page_after_page() {
        let link = |n: u64| Link { inode: n / 3, parent: n, name: format!("name number {n}").into_bytes() };
        let mut pages = LinkPages::default();
        let mut full: Vec<Vec<u8>> = (0..5000).filter_map(|n| pages.add(&link(n))).collect();
        full.extend(pages.take());
        assert!(full.len() > 3 && pages.take().is_none());
        let found: Vec<Link> = full.iter().flat_map(|page| parse_links(LINKS_FIRST, page).unwrap()).collect();
        assert_eq!(found, (0..5000).map(link).collect::<Vec<_>>());
    }
}
