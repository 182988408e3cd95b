//! What directories that say their numbers have in common: how long inodes are, where the first table may lie, and the seed.

use std::collections::HashMap;
use std::hash::Hash;

use super::witnesses::{Witness, hear};
use crate::base::io::ReadAt;
use crate::filesystem::error::FilesystemError;

/// The root and `lost+found`, which every volume has.
const LEAST_WITNESSES: usize = 2;
const INODE_BYTES: [u16; 6] = [256, 128, 512, 1024, 2048, 4096];
/// Witnesses that come after each other in place and are compared with each other.
const NEIGHBOURS: usize = 16;
/// Places where the first table may lie: copies of its blocks in a journal say others, and so do the tables of other groups.
const MOST_TABLES: usize = 8;

/// The highest number of a directory that every volume has.
const FIRST_DIRECTORIES: u32 = 11;

/// What all witnesses together say.
#[derive(Debug)]
pub(super) struct Testimony {
    pub(super) block_bytes: u32,
    pub(super) inode_bytes: u16,
    /// Bytes where the first inode table may begin, the likeliest first.
    pub(super) tables: Vec<u64>,
    /// Where checksums begin, if there are any.
    pub(super) seed: Option<u32>,
    pub(super) witnesses: Vec<Witness>,
}

impl Testimony {
    /// Hears all witnesses, if there are enough.
    pub(super) fn hear(source: &dyn ReadAt) -> Result<Option<Self>, FilesystemError> {
        let (block_bytes, witnesses) = hear(source)?;
        Ok(if witnesses.len() < LEAST_WITNESSES { None } else { Self::agree(source, block_bytes, witnesses) })
    }

    fn agree(source: &dyn ReadAt, block_bytes: u32, witnesses: Vec<Witness>) -> Option<Self> {
        let pairs = witnesses
            .iter()
            .enumerate()
            .flat_map(|(index, one)| witnesses.iter().skip(index + 1).take(NEIGHBOURS).map(move |other| (one, other)));
        let inode_bytes = by_frequency(pairs.filter_map(|(one, other)| distance(one, other))).first()?.0;
        let base = |witness: &Witness| {
            let base = witness.at.checked_sub(u64::from(witness.number.checked_sub(1)?) * u64::from(inode_bytes))?;
            base.is_multiple_of(u64::from(block_bytes)).then_some(base)
        };
        // The root lies in the first table, wherever most directories are.
        let (low, high): (Vec<&Witness>, Vec<&Witness>) = witnesses.iter().partition(|witness| witness.number <= FIRST_DIRECTORIES);
        let bases = |some: &[&Witness]| by_frequency(some.iter().filter_map(|witness| base(witness)));
        let mut tables: Vec<u64> = Vec::new();
        for (base, _) in bases(&low).into_iter().chain(bases(&high)) {
            if tables.len() < MOST_TABLES && !tables.contains(&base) {
                tables.push(base);
            }
        }
        let seeds = by_frequency(witnesses.iter().filter_map(|witness| witness.seed(source, inode_bytes)));
        let seed = seeds.first().filter(|(_, count)| *count >= LEAST_WITNESSES).map(|(seed, _)| *seed);
        Some(Self { block_bytes, inode_bytes, tables, seed, witnesses })
    }
}

/// Values with how often they come, the most frequent first, of equals the first.
fn by_frequency<T: Hash + Eq + Copy>(values: impl Iterator<Item = T>) -> Vec<(T, usize)> {
    let mut places: HashMap<T, usize> = HashMap::new();
    let mut counts: Vec<(T, usize)> = Vec::new();
    for value in values {
        let place = *places.entry(value).or_insert(counts.len());
        match counts.get_mut(place) {
            Some((_, count)) => *count += 1,
            None => counts.push((value, 1)),
        }
    }
    counts.sort_by_key(|(_, count)| usize::MAX - count);
    counts
}

/// How long inodes are if these two lie in one table.
fn distance(one: &Witness, other: &Witness) -> Option<u16> {
    let (bytes, inodes) = (other.at.checked_sub(one.at)?, u64::from(other.number.checked_sub(one.number)?));
    let length = bytes.checked_div(inodes).filter(|length| length * inodes == bytes)?;
    INODE_BYTES.into_iter().find(|known| u64::from(*known) == length)
}
