//! The places of directories, put behind the records that they come from.

use std::mem;
use std::path::{Path, PathBuf};

use super::PutPage;
use crate::base::bytes::ByteReader;
use crate::catalog::error::CatalogError;
use crate::catalog::layout::{INODES_A_GROUP, INODES_A_PAGE, directories_page};
use crate::catalog::lists::{DIGEST_BYTES, DirectoryPlaces, Names, encode_directories};
use crate::catalog::record::Record;
use crate::catalog::sorter::{Named, Sorted, Sorter};

/// Directories in memory before they are spilled: some fifty thousand.
const HELD_BYTES: usize = 8 << 20;

/// The directories of the pages of records that were made anew.
#[derive(Debug)]
pub(super) struct Directories {
    scratch: PathBuf,
    found: Sorter,
    /// First inodes of those pages, ascending.
    pages: Vec<u64>,
}

impl Directories {
    pub(super) fn new(scratch: &Path) -> Self {
        Self { scratch: scratch.to_owned(), found: Sorter::new(scratch, HELD_BYTES), pages: Vec::new() }
    }

    /// Adds the page that begins with inode `first`, which is above all before it. `digest` knows that of a directory's names.
    pub(super) fn add(
        &mut self,
        first: u64,
        records: &[Record],
        digest: impl Fn(u64) -> [u8; DIGEST_BYTES],
    ) -> Result<(), CatalogError> {
        self.pages.push(first);
        for record in records.iter().filter(|record| record.is_directory()) {
            let mut payload = Vec::new();
            let names = Names::new(&record.content, || digest(record.inode));
            DirectoryPlaces { inode: record.inode, names }.encode(&mut payload);
            self.found.push(Named { inode: record.inode, parent: 0, name: Vec::new(), payload })?;
        }
        Ok(())
    }

    /// Puts the page of each group of which a page of records was made anew.
    pub(super) fn put(&mut self, old: &[DirectoryPlaces], put: &mut PutPage<'_>) -> Result<(), CatalogError> {
        let mut found = mem::replace(&mut self.found, Sorter::new(&self.scratch, HELD_BYTES)).sorted()?;
        for pages in self.pages.chunk_by(|a, b| a / INODES_A_GROUP == b / INODES_A_GROUP) {
            let Some(first) = pages.first().map(|first| first - first % INODES_A_GROUP) else { continue };
            let directories = group(first, pages, old, &mut found)?;
            put(directories_page(first), &encode_directories(&directories))?;
        }
        Ok(())
    }
}

/// The directories of the group from inode `first` on: those found in `pages`, and the old ones of all other pages.
fn group(first: u64, pages: &[u64], old: &[DirectoryPlaces], found: &mut Sorted) -> Result<Vec<DirectoryPlaces>, CatalogError> {
    let is_anew = |inode: u64| pages.contains(&(inode - inode % INODES_A_PAGE));
    let start = old.partition_point(|directory| directory.inode < first);
    let of_group = old.get(start..).unwrap_or_default().iter().take_while(|directory| directory.inode < first + INODES_A_GROUP);
    let mut all: Vec<DirectoryPlaces> = of_group.filter(|directory| !is_anew(directory.inode)).cloned().collect();
    while found.peek().is_some_and(|inode| inode < first + INODES_A_GROUP) {
        let Some(Named { payload, .. }) = found.next()? else { break };
        all.push(read_payload(first, &payload)?);
    }
    all.sort_unstable_by_key(|directory| directory.inode);
    Ok(all)
}

fn read_payload(first: u64, payload: &[u8]) -> Result<DirectoryPlaces, CatalogError> {
    let read = DirectoryPlaces::parse(first, &mut ByteReader::new(payload)).ok().flatten();
    read.ok_or_else(|| CatalogError::page(directories_page(first), "sorted places cannot be read back"))
}
