//! Names in broken directory blocks that the index of their directory confirms.
//!
//! Where a block has more than one wrong bit, most of its entries are still right. The index knows where each entry stands, and the hash
//! of its name: where both agree, the name is right. Which inode it leads to nobody confirms, so that such a name must not stand against
//! others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use super::strays::stray;
use crate::filesystem::error::{FilesystemError, Object};
use crate::filesystem::fields::Fields;
use crate::filesystem::inode::InodeNumber;
use crate::filesystem::wreck::{Proof, StrayBlock};
use crate::filesystem::xfs::Xfs;
use crate::filesystem::xfs::directory::index::{Indexed, hash, leaf, of_single};
use crate::filesystem::xfs::directory::record::{Record, piece};
use crate::filesystem::xfs::directory::{INDEX_BYTES, WINDOW};
use crate::filesystem::xfs::fork::Fork;
use crate::filesystem::xfs::seal::ATTRIBUTES;

/// Broken blocks that are remembered, at some 40 bytes each.
const MOST_BROKEN: usize = 100_000;
/// Names that are in memory at once.
const MOST_NAMES: usize = 1 << 18;

/// Directory blocks that were found broken: whose they are, and where they lie.
#[derive(Debug, Default)]
pub(super) struct Broken {
    noted: Mutex<BTreeSet<(u64, u64)>>,
}

impl Broken {
    /// Notes what an error about a directory speaks of.
    pub(super) fn note(&self, directory: u64, error: &FilesystemError) {
        let FilesystemError::Corrupt { object: Object::Directory(_), at, .. } = error else { return };
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        if noted.len() < MOST_BROKEN {
            noted.insert((directory, *at));
        }
    }

    /// The broken blocks of each directory.
    fn by_directory(&self) -> BTreeMap<u64, Vec<u64>> {
        let mut directories: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        for (directory, at) in self.noted.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            directories.entry(*directory).or_default().push(*at);
        }
        directories
    }
}

/// What is confirmed of broken blocks, by the byte where each lies.
pub(super) fn confirmed(xfs: &Xfs, broken: &Broken) -> BTreeMap<u64, StrayBlock> {
    let (mut found, mut names) = (BTreeMap::new(), 0);
    for (number, places) in broken.by_directory() {
        let strays = of_directory(xfs, number, &places).unwrap_or_default();
        for stray in strays.into_iter().filter(|stray| !stray.names.is_empty() || stray.parent.is_some()) {
            names += stray.names.len();
            if names <= MOST_NAMES {
                found.insert(stray.at, stray);
            }
        }
    }
    found
}

fn of_directory(xfs: &Xfs, number: u64, places: &[u64]) -> Result<Vec<StrayBlock>, FilesystemError> {
    let directory = xfs.inode_in_place(InodeNumber(number))?;
    let fork = xfs.data(&directory, Object::Directory)?;
    let mut search = Search { fork, blocks: BTreeMap::new() };
    let count = directory.size.min(INDEX_BYTES) >> search.fork.geometry().directory_log;
    if search.fork.local().is_some() || !search.fork.geometry().crc {
        return Ok(Vec::new());
    }
    search.blocks(count, places);
    search.index(count);
    Ok(search.blocks.into_values().map(|block| block.confirm(&search.fork)).collect())
}

/// A broken block, and what the index says of it.
struct Block {
    at: u64,
    bytes: Vec<u8>,
    /// Hashes by the byte of the block where the entry stands.
    indexed: BTreeMap<usize, u32>,
}

/// Receives a block of the directory: its number, where it lies, and its bytes.
type OnBlock<'a, 'b> = &'a mut dyn FnMut(&mut Search<'b>, u64, u64, Vec<u8>);

/// The broken blocks of one directory, by their numbers.
struct Search<'a> {
    fork: Fork<'a>,
    blocks: BTreeMap<u64, Block>,
}

impl<'b> Search<'b> {
    /// Finds those that lie in these places among the first `count` blocks of the directory.
    fn blocks(&mut self, count: u64, places: &[u64]) {
        self.each(0, count, &mut |search, number, at, bytes| {
            if places.contains(&at) {
                search.blocks.insert(number, Block { at, bytes, indexed: BTreeMap::new() });
            }
        });
    }

    /// Reads the index of a directory of `count` blocks with entries. It has no more blocks than these, but for some that are empty.
    fn index(&mut self, count: u64) {
        let single = self.blocks.get(&0).filter(|_| count == 1);
        let of_single = single.map(|block| of_single(&Fields::new(&block.bytes, self.fork.object(), block.at)));
        of_single.and_then(Result::ok).into_iter().flatten().for_each(|entry| self.take(entry));
        let first = INDEX_BYTES >> self.fork.geometry().directory_log;
        self.each(first, first.saturating_add(count.saturating_mul(2)).saturating_add(WINDOW), &mut |search, _, at, mut bytes| {
            search.fork.mend(at, &ATTRIBUTES, &mut bytes);
            let fields = Fields::new(&bytes, search.fork.object(), at);
            let is_sound = ATTRIBUTES.check(&fields, search.fork.geometry(), at, search.fork.inode()).is_ok();
            let entries = leaf(&fields).ok().filter(|_| is_sound);
            entries.into_iter().flatten().for_each(|entry| search.take(entry));
        });
    }

    fn take(&mut self, entry: Indexed) {
        let log = self.fork.geometry().directory_log;
        if let Some(block) = self.blocks.get_mut(&(entry.place >> log)).filter(|_| entry.place > 0) {
            block.indexed.insert(usize::try_from(entry.place & ((1 << log) - 1)).unwrap_or(usize::MAX), entry.hash);
        }
    }

    /// Shows the directory blocks from number `first` up to `end` that can be read.
    fn each(&mut self, first: u64, end: u64, visit: OnBlock<'_, 'b>) {
        let log = self.fork.geometry().directory_log - self.fork.geometry().block_log;
        for window in (first..end).step_by(usize::try_from(WINDOW).unwrap_or(usize::MAX)) {
            let last = window.saturating_add(WINDOW).min(end);
            let runs = self.fork.runs_around(window << log, (last - window) << log).runs;
            let numbers = runs.iter().flat_map(|run| (run.file_block >> log).max(window)..run.end().div_ceil(1 << log).min(last));
            let mut next = window;
            for number in numbers {
                if number >= next
                    && let Ok(Some((at, bytes))) = self.fork.gather(&runs, number << log, 1 << log)
                {
                    visit(self, number, at, bytes);
                }
                next = next.max(number + 1);
            }
        }
    }
}

impl Block {
    /// The entries of which the index knows the place and the name.
    fn confirm(&self, fork: &Fork<'_>) -> StrayBlock {
        let fields = Fields::new(&self.bytes, fork.object(), self.at);
        let geometry = fork.geometry();
        let entry = |(offset, hashed): (&usize, &u32)| -> Option<Record<'_>> {
            let record = piece(&fields, *offset, fields.length(), geometry.file_type).ok()?.0?;
            (record.is_possible(geometry) && hash(record.name) == *hashed).then_some(record)
        };
        let records: Vec<Record<'_>> = self.indexed.iter().filter_map(entry).collect();
        stray(geometry, self.at, Some(fork.inode()), &records, Proof::Plausible)
    }
}
