//! A group of 256 inodes while its pages are made anew.

use std::collections::BTreeMap;

use super::PutPage;
use super::old::OldCatalog;
use crate::catalog::error::CatalogError;
use crate::catalog::layout::{INODES_A_GROUP, INODES_A_PAGE, directories_page, record_page};
use crate::catalog::lists::{DirectoryPlaces, encode_directories};
use crate::catalog::record::{Record, encode_page};

/// The pages of records that were made so far, by their first inodes.
#[derive(Debug, Default)]
pub(super) struct Group {
    first: u64,
    pages: BTreeMap<u64, Vec<Record>>,
}

impl Group {
    /// Adds the page that begins with inode `first`, and puts the group before it once this is another.
    pub(super) fn add(
        &mut self,
        first: u64,
        records: Vec<Record>,
        old: Option<&OldCatalog<'_>>,
        put: &mut PutPage<'_>,
    ) -> Result<(), CatalogError> {
        let group = first - first % INODES_A_GROUP;
        if group != self.first {
            self.put(old, put)?;
            self.first = group;
        }
        self.pages.insert(first, records);
        Ok(())
    }

    /// Puts the pages.
    pub(super) fn put(&mut self, old: Option<&OldCatalog<'_>>, put: &mut PutPage<'_>) -> Result<(), CatalogError> {
        if self.pages.is_empty() {
            return Ok(());
        }
        put(directories_page(self.first), &encode_directories(&self.directories(old)))?;
        for (first, records) in &self.pages {
            put(record_page(*first), &encode_page(records))?;
        }
        self.pages.clear();
        Ok(())
    }

    /// The directories of the group: those of pages made anew, and the old ones of all others.
    fn directories(&self, old: Option<&OldCatalog<'_>>) -> Vec<DirectoryPlaces> {
        let is_anew = |inode: u64| self.pages.contains_key(&(inode - inode % INODES_A_PAGE));
        let known = old.map(|old| old.directories.as_slice()).unwrap_or_default();
        let start = known.partition_point(|directory| directory.inode < self.first);
        let of_group = known.get(start..).unwrap_or_default().iter().take_while(|d| d.inode < self.first + INODES_A_GROUP);
        let kept = of_group.filter(|directory| !is_anew(directory.inode)).cloned();
        let records = self.pages.values().flatten().filter(|record| record.is_directory());
        let mut all: Vec<DirectoryPlaces> =
            kept.chain(records.map(|record| DirectoryPlaces::new(record.inode, &record.content))).collect();
        all.sort_unstable_by_key(|directory| directory.inode);
        all
    }
}
