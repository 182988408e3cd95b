//! Names and earlier records made into pages, inode by inode.

use std::collections::{BTreeMap, VecDeque};
use std::iter::Peekable;
use std::path::Path;
use std::{mem, vec};

use super::directories::Directories;
use super::gather::{Gathered, Losses, record};
use super::old::{EMPTY, OldCatalog};
use super::{Built, PutPage, may_have_changed};
use crate::base::bytes::ByteReader;
use crate::catalog::error::CatalogError;
use crate::catalog::header::Header;
use crate::catalog::layout::{INODES_A_PAGE, LINKS_FIRST, LINKS_PAGES, record_page};
use crate::catalog::lists::LinkPages;
use crate::catalog::read::Link;
use crate::catalog::record::{Record, encode_page};
use crate::catalog::sorter::{Named, Sorter};
use crate::filesystem::{Filesystem, FilesystemError, InodeNumber};

/// Further names in memory before they are spilled.
const LINKS_BYTES: usize = 8 << 20;
/// An inode has no more names than this in a catalog; ext4 allows 65,000.
const MAX_NAMES: usize = 1 << 18;

/// The names of one inode: parent and name, with what was read of the inode.
type Names = BTreeMap<(u64, Vec<u8>), Vec<u8>>;

pub(super) struct Merger<'a, 'o> {
    filesystem: &'a dyn Filesystem,
    old: Option<&'a mut OldCatalog<'o>>,
    gathered: Gathered,
    suspects: Peekable<vec::IntoIter<u64>>,
    old_link_pages: VecDeque<u64>,
    old_links: VecDeque<Link>,
    links: Sorter,
    link_pages: Vec<u64>,
    directories: Directories,
    inodes: u64,
    link_count: u64,
}

impl<'a, 'o> Merger<'a, 'o> {
    pub(super) fn new(
        filesystem: &'a dyn Filesystem,
        mut old: Option<&'a mut OldCatalog<'o>>,
        gathered: Gathered,
        scratch: &Path,
    ) -> Self {
        let mut suspects = Vec::new();
        if let Some(old) = &mut old {
            suspects = old.suspects(filesystem);
            // The digest of a directory is put with its record.
            suspects.extend(gathered.digests.keys().map(|inode| inode - inode % INODES_A_PAGE));
            suspects.sort_unstable();
            suspects.dedup();
            old.expect(suspects.iter().chain(&gathered.named).copied());
        }
        let link_pages = old.as_ref().map(|old| old.link_pages()).unwrap_or_default();
        Self {
            filesystem,
            inodes: old.as_ref().map_or(0, |old| old.inodes),
            old,
            gathered,
            suspects: suspects.into_iter().peekable(),
            old_link_pages: link_pages.iter().copied().collect(),
            old_links: VecDeque::new(),
            links: Sorter::new(scratch, LINKS_BYTES),
            link_pages,
            directories: Directories::new(scratch),
            link_count: 0,
        }
    }

    /// Puts the pages of records.
    pub(super) fn merge(&mut self, put: &mut PutPage<'_>) -> Result<(), CatalogError> {
        while let Some(first) = self.next_page()? {
            let records = self.page(first)?;
            put(record_page(first), &encode_page(&records))?;
            let (old, listed) = (self.old.as_deref(), &self.gathered.digests);
            let digest = |inode| listed.get(&inode).copied().or_else(|| old?.digest(inode)).unwrap_or_default();
            self.directories.add(first, &records, digest)?;
        }
        Ok(())
    }

    /// The first inode of the next page of which anything may have changed. Names of inodes before it are kept as they were.
    fn next_page(&mut self) -> Result<Option<u64>, CatalogError> {
        let page = |inode: u64| inode - inode % INODES_A_PAGE;
        let next = [self.gathered.names.peek().map(page), self.suspects.peek().copied()].into_iter().flatten().min();
        while let Some(link) = self.old_link()? {
            let place = page(link.inode);
            if next.is_some_and(|next| place >= next) {
                break;
            }
            if self.gathered.listed.contains(&link.parent) {
                return Ok(Some(place));
            }
            self.old_links.pop_front();
            self.keep_link(link)?;
        }
        if self.suspects.peek() == next.as_ref() {
            self.suspects.next();
        }
        Ok(next)
    }

    /// The next further name of the earlier catalog, which stays the next.
    fn old_link(&mut self) -> Result<Option<Link>, CatalogError> {
        while self.old_links.is_empty() {
            let (Some(old), Some(number)) = (self.old.as_mut(), self.old_link_pages.pop_front()) else { return Ok(None) };
            self.old_links = old.links(number)?.into();
        }
        Ok(self.old_links.front().cloned())
    }

    fn keep_link(&mut self, link: Link) -> Result<(), CatalogError> {
        self.link_count += 1;
        let Link { inode, parent, name } = link;
        Ok(self.links.push(Named { inode, parent, name, payload: Vec::new() })?)
    }

    /// The records of the page that begins with inode `first`.
    fn page(&mut self, first: u64) -> Result<Vec<Record>, CatalogError> {
        let old = match &mut self.old {
            Some(old) => old.records(record_page(first))?,
            None => Vec::new(),
        };
        self.inodes = self.inodes.saturating_sub(old.len() as u64);
        let mut old: BTreeMap<u64, Record> = old.into_iter().map(|record| (record.inode, record)).collect();
        let mut records = Vec::new();
        for inode in first..first + INODES_A_PAGE {
            let known = old.remove(&inode);
            let names = self.names(inode, known.as_ref())?;
            if let Some(record) = self.record(inode, known, names)? {
                records.push(record);
            }
        }
        self.inodes += records.len() as u64;
        Ok(records)
    }

    /// All names of an inode: those of old whose directories were not listed again, and those that were found.
    fn names(&mut self, inode: u64, known: Option<&Record>) -> Result<Names, CatalogError> {
        let mut names = Names::new();
        if let Some(known) = known.filter(|known| !self.gathered.listed.contains(&known.parent)) {
            names.insert((known.parent, known.name.clone()), Vec::new());
        }
        while let Some(link) = self.old_link()?.filter(|link| link.inode == inode) {
            self.old_links.pop_front();
            if !self.gathered.listed.contains(&link.parent) {
                names.insert((link.parent, link.name), Vec::new());
            }
        }
        while self.gathered.names.peek() == Some(inode) {
            let Some(named) = self.gathered.names.next()? else { break };
            names.insert((named.parent, named.name), named.payload);
            if names.len() > MAX_NAMES {
                names.pop_last();
                self.gathered.losses.add(format!("inode {inode} has more than {MAX_NAMES} names"));
            }
        }
        Ok(names)
    }

    /// The record under the first name; the others become further names.
    fn record(&mut self, inode: u64, known: Option<Record>, mut names: Names) -> Result<Option<Record>, CatalogError> {
        let payload = names.values_mut().find(|payload| !payload.is_empty()).map(mem::take);
        let mut names = names.into_keys();
        let Some((parent, name)) = names.next() else { return Ok(None) };
        let changed = self.old.as_ref().map(|old| &old.changed);
        let is_suspect = changed.is_none_or(|changed| may_have_changed(self.filesystem, changed, inode));
        let record = match (payload, known) {
            (Some(payload), _) => read_payload(inode, &payload)?,
            (None, Some(known)) if !is_suspect => Some(known),
            (None, _) if is_suspect => self.parse(inode)?,
            (None, _) => return Err(CatalogError::Inconsistent { inode }),
        };
        let Some(record) = record else { return Ok(None) };
        for (parent, name) in names {
            self.keep_link(Link { inode, parent, name })?;
        }
        Ok(Some(Record { parent, name, ..record }))
    }

    /// The inode under a name of old.
    fn parse(&mut self, inode: u64) -> Result<Option<Record>, CatalogError> {
        match self.filesystem.inode(InodeNumber(inode)) {
            // A new directory under an old name was listed by nobody.
            Ok(found) if found.is_directory() && !self.gathered.listed.contains(&inode) => {
                Err(CatalogError::Inconsistent { inode })
            }
            Ok(found) => {
                self.gathered.parsed += 1;
                Ok(Some(record(self.filesystem, &found, &mut self.gathered.losses)))
            }
            Err(FilesystemError::NotFound { .. }) => Err(CatalogError::Inconsistent { inode }),
            Err(error) => {
                self.gathered.losses.add(error);
                Ok(None)
            }
        }
    }

    /// Puts the places of directories.
    pub(super) fn put_directories(&mut self, put: &mut PutPage<'_>) -> Result<(), CatalogError> {
        let old = self.old.as_ref().map(|old| old.directories.as_slice()).unwrap_or_default();
        self.directories.put(old, put)
    }

    /// Puts all further names, and empties the pages behind them.
    pub(super) fn put_links(&mut self, put: &mut PutPage<'_>) -> Result<(), CatalogError> {
        let sorter = mem::replace(&mut self.links, Sorter::new(Path::new(""), 0));
        let mut links = sorter.sorted()?;
        let (mut pages, mut number) = (LinkPages::default(), LINKS_FIRST);
        while let Some(Named { inode, parent, name, .. }) = links.next()? {
            if number >= LINKS_FIRST + LINKS_PAGES - 1 {
                self.gathered.losses.add("there are more further names than a catalog has room for");
                self.link_count -= 1;
                continue;
            }
            if let Some(page) = pages.add(&Link { inode, parent, name }) {
                put(number, &page)?;
                number += 1;
            }
        }
        if let Some(page) = pages.take() {
            put(number, &page)?;
            number += 1;
        }
        self.link_pages.iter().filter(|left| **left >= number).try_for_each(|left| put(*left, &EMPTY))
    }

    pub(super) fn built(self, header: Header) -> Built {
        let Losses { count: left_out, first: first_loss } = self.gathered.losses;
        let (inodes, parsed) = (self.inodes, self.gathered.parsed);
        Built { header, inodes, names: inodes + self.link_count, left_out, parsed, first_loss }
    }
}

fn read_payload(inode: u64, payload: &[u8]) -> Result<Option<Record>, CatalogError> {
    let wrong = || CatalogError::page(record_page(inode), "a sorted record cannot be read back");
    let record = Record::parse(inode - inode % INODES_A_PAGE, &mut ByteReader::new(payload)).map_err(|_| wrong())?;
    record.map(Some).ok_or_else(wrong)
}
