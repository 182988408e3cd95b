//! A catalog in memory, and what it says in the plainest form.

use std::collections::{BTreeMap, BTreeSet};

use crate::catalog::layout::{Shelf, shelf};
use crate::catalog::lists::parse_links;
use crate::catalog::record::parse_page;
use crate::catalog::{PageSource, Record};
use crate::repository::{RepositoryError, VisitPage};

/// Pages by number; empty ones are not kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Pages(pub(super) BTreeMap<u64, Vec<u8>>);

impl Pages {
    pub(super) fn put(&mut self, number: u64, page: &[u8]) {
        if page.iter().all(|byte| *byte == 0) {
            self.0.remove(&number);
        } else {
            self.0.insert(number, page.to_vec());
        }
    }

    pub(super) fn records(&self) -> Vec<Record> {
        let pages = self.0.iter().filter(|(number, _)| matches!(shelf(**number), Shelf::Records(_)));
        pages.flat_map(|(number, page)| parse_page(*number, page).unwrap()).collect()
    }

    /// Every name: inode, parent, name.
    pub(super) fn names(&self) -> BTreeSet<(u64, u64, Vec<u8>)> {
        let pages = self.0.iter().filter(|(number, _)| shelf(**number) == Shelf::Links);
        let links = pages.flat_map(|(number, page)| parse_links(*number, page).unwrap());
        let records = self.records().into_iter().map(|record| (record.inode, record.parent, record.name));
        records.chain(links.map(|link| (link.inode, link.parent, link.name))).collect()
    }
}

/// Pages, and which of them were read.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) pages: Pages,
    pub(super) read: Vec<u64>,
}

impl PageSource for Watched {
    fn present(&mut self) -> Result<Vec<u64>, RepositoryError> {
        self.pages.present()
    }

    fn read(&mut self, numbers: &[u64], visit: &mut VisitPage<'_>) -> Result<(), RepositoryError> {
        self.read.extend(numbers);
        self.pages.read(numbers, visit)
    }
}

impl PageSource for Pages {
    fn present(&mut self) -> Result<Vec<u64>, RepositoryError> {
        Ok(self.0.keys().copied().collect())
    }

    fn read(&mut self, numbers: &[u64], visit: &mut VisitPage<'_>) -> Result<(), RepositoryError> {
        numbers.iter().try_for_each(|number| visit(*number, self.0.get(number).map(Vec::as_slice)))
    }
}
