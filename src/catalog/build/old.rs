//! The earlier catalog while a new one is built on it.

use std::collections::{BTreeMap, BTreeSet};
use std::slice;

use super::PutPage;
use crate::base::extent::ExtentSet;
use crate::catalog::error::CatalogError;
use crate::catalog::layout::{INODES_A_PAGE, LINKS_FIRST, PAGE_BYTES, RECORDS_FIRST, Shelf, record_page, shelf};
use crate::catalog::lists::{DIGEST_BYTES, DirectoryPlaces, Names, parse_links};
use crate::catalog::read::{Link, PageSource};
use crate::catalog::record::{Record, parse_page};
use crate::filesystem::Filesystem;

/// Pages of records that are fetched together when one of them is wanted: 8,192 records.
const FETCHED_TOGETHER: usize = 256;

/// An empty page.
pub(super) const EMPTY: [u8; PAGE_BYTES] = [0; PAGE_BYTES];

/// Its pages, and what may have changed since.
#[derive(Debug)]
pub(super) struct OldCatalog<'a> {
    pages: &'a mut dyn PageSource,
    present: Vec<u64>,
    /// All its directories, ascending.
    pub(super) directories: Vec<DirectoryPlaces>,
    /// Bytes of the filesystem that may mean something else now.
    pub(super) changed: ExtentSet,
    /// How many inodes it holds.
    pub(super) inodes: u64,
    fetched: BTreeMap<u64, Vec<Record>>,
    /// Pages that will be asked for, ascending.
    expected: Vec<u64>,
}

impl<'a> OldCatalog<'a> {
    pub(super) fn new(
        pages: &'a mut dyn PageSource,
        present: Vec<u64>,
        directories: Vec<DirectoryPlaces>,
        changed: ExtentSet,
        inodes: u64,
    ) -> Self {
        Self { pages, present, directories, changed, inodes, fetched: BTreeMap::new(), expected: Vec::new() }
    }

    /// First inodes of the pages of records in which an inode may have changed, ascending.
    pub(super) fn suspects(&self, filesystem: &dyn Filesystem) -> Vec<u64> {
        let of_records = self.present.iter().filter_map(|number| match shelf(*number) {
            Shelf::Records(first) => Some(first),
            _ => None,
        });
        let is_suspect =
            |first: &u64| (*first..*first + INODES_A_PAGE).any(|inode| super::may_have_changed(filesystem, &self.changed, inode));
        of_records.filter(is_suspect).collect()
    }

    /// Says which pages of records will be wanted, by their first inodes, so that neighbours are fetched together.
    pub(super) fn expect(&mut self, firsts: impl Iterator<Item = u64>) {
        let numbers: BTreeSet<u64> = firsts.map(record_page).collect();
        self.expected = numbers.into_iter().filter(|number| self.present.binary_search(number).is_ok()).collect();
    }

    /// The records of page `number`; none if it is empty. Expected pages are asked for in ascending order, each once.
    pub(super) fn records(&mut self, number: u64) -> Result<Vec<Record>, CatalogError> {
        if !self.fetched.contains_key(&number) && self.present.binary_search(&number).is_ok() {
            self.fetch(number)?;
        }
        Ok(self.fetched.remove(&number).unwrap_or_default())
    }

    /// Brings a page, and if it was expected, those that are expected next.
    fn fetch(&mut self, number: u64) -> Result<(), CatalogError> {
        let from = self.expected.partition_point(|expected| *expected < number);
        let ahead = self.expected.get(from..).filter(|ahead| ahead.first() == Some(&number));
        let numbers = ahead.and_then(|ahead| ahead.chunks(FETCHED_TOGETHER).next()).unwrap_or(slice::from_ref(&number));
        let (fetched, mut wrong) = (&mut self.fetched, None);
        self.pages.read(numbers, &mut |number, page| {
            match parse_page(number, page.unwrap_or_default()) {
                Ok(records) => drop(fetched.insert(number, records)),
                Err(error) => wrong = wrong.take().or(Some(error)),
            }
            Ok(())
        })?;
        wrong.map_or(Ok(()), Err)
    }

    /// The digest of a directory's names, if it has one.
    pub(super) fn digest(&self, inode: u64) -> Option<[u8; DIGEST_BYTES]> {
        let at = self.directories.binary_search_by_key(&inode, |directory| directory.inode).ok()?;
        match self.directories.get(at)?.names {
            Names::Elsewhere(digest) => Some(digest),
            Names::In(_) => None,
        }
    }

    /// The numbers of the pages of further names.
    pub(super) fn link_pages(&self) -> Vec<u64> {
        self.present.iter().copied().filter(|number| *number >= LINKS_FIRST).collect()
    }

    /// The names of one of those pages.
    pub(super) fn links(&mut self, number: u64) -> Result<Vec<Link>, CatalogError> {
        let mut found = Ok(Vec::new());
        self.pages.read(&[number], &mut |number, page| {
            found = parse_links(number, page.unwrap_or_default());
            Ok(())
        })?;
        found
    }

    /// Empties the front pages from `used` on.
    pub(super) fn empty_front(&self, used: u64, put: &mut PutPage<'_>) -> Result<(), CatalogError> {
        let left = self.present.iter().filter(|number| (used..RECORDS_FIRST).contains(number));
        left.copied().try_for_each(|number| put(number, &EMPTY))
    }
}
