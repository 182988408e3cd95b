//! The earlier catalog while a new one is built on it.

use std::collections::BTreeMap;

use super::PutPage;
use crate::base::extent::ExtentSet;
use crate::catalog::error::CatalogError;
use crate::catalog::layout::{GROUPS_FIRST, LINKS_FIRST, PAGE_BYTES, Shelf, record_page, shelf};
use crate::catalog::lists::{DirectoryPlaces, parse_links};
use crate::catalog::read::{Link, PageSource};
use crate::catalog::record::{Record, parse_page};
use crate::filesystem::Filesystem;

/// Pages of records that are fetched together when one of them is wanted.
const FETCHED_TOGETHER: usize = 64;

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
    /// Pages that will be wanted, ascending.
    wanted: Vec<u64>,
}

impl<'a> OldCatalog<'a> {
    pub(super) fn new(
        pages: &'a mut dyn PageSource,
        present: Vec<u64>,
        directories: Vec<DirectoryPlaces>,
        changed: ExtentSet,
        inodes: u64,
    ) -> Self {
        Self { pages, present, directories, changed, inodes, fetched: BTreeMap::new(), wanted: Vec::new() }
    }

    /// First inodes of the pages of records in which an inode may have changed, ascending.
    pub(super) fn suspects(&mut self, filesystem: &dyn Filesystem) -> Vec<u64> {
        let of_records = self.present.iter().filter_map(|number| match shelf(*number) {
            Shelf::Records(first) => Some(first),
            _ => None,
        });
        let is_suspect = |first: &u64| (*first..*first + 32).any(|inode| super::may_have_changed(filesystem, &self.changed, inode));
        let suspects: Vec<u64> = of_records.filter(is_suspect).collect();
        self.wanted = suspects.iter().map(|first| record_page(*first)).collect();
        suspects
    }

    /// The records of page `number`; none if it is empty.
    pub(super) fn records(&mut self, number: u64) -> Result<Vec<Record>, CatalogError> {
        if let Some(found) = self.fetched.remove(&number) {
            return Ok(found);
        }
        if self.present.binary_search(&number).is_err() {
            return Ok(Vec::new());
        }
        // What was fetched earlier and not taken lies behind.
        self.fetched.clear();
        let next = self.wanted.partition_point(|wanted| *wanted <= number);
        let ahead = self.wanted.get(next..).unwrap_or_default().iter().take(FETCHED_TOGETHER - 1).copied();
        let numbers: Vec<u64> = [number].into_iter().chain(ahead).collect();
        let (fetched, mut wrong) = (&mut self.fetched, None);
        self.pages.read(&numbers, &mut |number, page| {
            match parse_page(number, page.unwrap_or_default()) {
                Ok(records) => drop(fetched.insert(number, records)),
                Err(error) => wrong = wrong.take().or(Some(error)),
            }
            Ok(())
        })?;
        match wrong {
            Some(error) => Err(error),
            None => Ok(self.fetched.remove(&number).unwrap_or_default()),
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
        let left = self.present.iter().filter(|number| (used..GROUPS_FIRST).contains(number));
        left.copied().try_for_each(|number| put(number, &EMPTY))
    }
}
