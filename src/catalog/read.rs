//! A catalog read back: its header, and its pages in order.

use std::fmt;

use super::error::CatalogError;
use super::header::{Header, replayed_pages};
use super::layout::{INODES_A_PAGE, Shelf, record_page, shelf};
use super::lists::parse_links;
use super::record::{Record, parse_page};
use crate::repository::{CatalogPages, RepositoryError, VisitPage};

/// Where the pages of a catalog come from.
pub trait PageSource: fmt::Debug {
    /// The numbers of the pages that are not empty, ascending.
    fn present(&mut self) -> Result<Vec<u64>, RepositoryError>;
    /// Shows pages, asked for in ascending order.
    fn read(&mut self, numbers: &[u64], visit: &mut VisitPage<'_>) -> Result<(), RepositoryError>;
}

impl PageSource for CatalogPages {
    fn present(&mut self) -> Result<Vec<u64>, RepositoryError> {
        Self::present(self)
    }

    fn read(&mut self, numbers: &[u64], visit: &mut VisitPage<'_>) -> Result<(), RepositoryError> {
        Self::read(self, numbers, visit)
    }
}

/// A further name of an inode.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Link {
    /// Where it leads.
    pub inode: u64,
    /// The directory that holds it.
    pub parent: u64,
    /// The name.
    pub name: Vec<u8>,
}

/// Reads what a catalog describes.
pub fn read_header(pages: &mut dyn PageSource) -> Result<Header, CatalogError> {
    let (mut header, count) = Header::parse(&read_page(pages, 0)?)?;
    for number in replayed_pages(count) {
        header.add_replayed(number, &read_page(pages, number)?)?;
    }
    Ok(header)
}

/// One page, which must not be empty.
pub(super) fn read_page(pages: &mut dyn PageSource, number: u64) -> Result<Vec<u8>, CatalogError> {
    let mut found = None;
    pages.read(&[number], &mut |_, page| {
        found = page.map(<[u8]>::to_vec);
        Ok(())
    })?;
    found.ok_or_else(|| CatalogError::page(number, "it is empty"))
}

/// What a page holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PageContent {
    /// All records among the inodes from `first` up to, not including, `end`.
    Records {
        /// The first inode that would be here.
        first: u64,
        /// The first that would not.
        end: u64,
        /// The inodes that are.
        records: Vec<Record>,
    },
    /// Further names.
    Links(Vec<Link>),
    /// Nothing that a reader looks for.
    Other,
}

/// True for a page of further names. These change all together.
#[must_use]
pub fn holds_links(number: u64) -> bool {
    shelf(number) == Shelf::Links
}

/// Where the record of an inode is kept.
#[must_use]
pub fn page_of_inode(inode: u64) -> u64 {
    record_page(inode)
}

/// Shows what pages hold, asked for in ascending order. An empty page of records holds none.
pub fn read_contents(
    pages: &mut dyn PageSource,
    numbers: &[u64],
    visit: &mut dyn FnMut(PageContent) -> Result<(), CatalogError>,
) -> Result<(), CatalogError> {
    for group in numbers.chunks(PAGES_TOGETHER) {
        let mut found = Vec::new();
        pages.read(group, &mut |number, page| {
            found.push(content(number, page));
            Ok(())
        })?;
        found.into_iter().try_for_each(|content| visit(content?))?;
    }
    Ok(())
}

/// Pages decoded at once: as many as are brought together.
const PAGES_TOGETHER: usize = 256;

fn content(number: u64, page: Option<&[u8]>) -> Result<PageContent, CatalogError> {
    match (shelf(number), page) {
        (Shelf::Records(first), page) => {
            let records = page.map(|page| parse_page(number, page)).transpose()?.unwrap_or_default();
            Ok(PageContent::Records { first, end: first + INODES_A_PAGE, records })
        }
        (Shelf::Links, Some(page)) => Ok(PageContent::Links(parse_links(number, page)?)),
        (Shelf::Links | Shelf::Directories(_) | Shelf::Front, _) => Ok(PageContent::Other),
    }
}
