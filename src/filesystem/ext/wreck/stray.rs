//! Directory blocks found by their looks, wherever they lie.

use std::ops::ControlFlow;

use super::super::Ext;
use super::super::directory_block::{INDEX_ENTRY, ROOT_ENTRIES, TAIL_BYTES, TAIL_KIND, index_entries};
use super::backwards::seed_of;
use super::entries::Entries;
use crate::base::extent::{Extent, ExtentSet};
use crate::filesystem::error::{FilesystemError, Object};
use crate::filesystem::fields::Fields;
use crate::filesystem::sweep::pieces;
use crate::filesystem::wreck::{Proof, StrayBlock};

/// A block without a checksum and without dots shows what it is by as many entries.
const LEAST_NAMES: usize = 2;

impl Ext {
    /// Shows what [`Wreck::strays`](crate::filesystem::wreck::Wreck::strays) promises. What cannot be read holds nothing.
    pub(super) fn look_for_strays(
        &self,
        within: Extent,
        visit: &mut dyn FnMut(StrayBlock) -> ControlFlow<()>,
    ) -> Result<(), FilesystemError> {
        let block_bytes = self.volume.block_bytes();
        let size = self.volume.bytes().size().min(self.volume.superblock.size());
        let whole = within.intersect(&Extent::new(0, size)).align_inward(block_bytes, u64::MAX);
        let runs =
            self.journal.iter().map(|(block, count)| Extent::new(self.volume.place_of(*block), self.volume.place_of(*count)));
        let journal: ExtentSet = runs.collect();
        for part in ExtentSet::from(whole).difference(&journal) {
            if self.strays_in(part, visit)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    fn strays_in(
        &self,
        part: Extent,
        visit: &mut dyn FnMut(StrayBlock) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, FilesystemError> {
        let block_bytes = self.volume.block_bytes();
        let looked = pieces(&**self.volume.bytes(), part, &mut |piece, bytes| {
            let bytes = bytes.unwrap_or_default();
            let blocks = (piece.offset..).step_by(block_bytes as usize).zip(bytes.chunks_exact(block_bytes as usize));
            blocks.filter_map(|(at, block)| self.stray(at, block)).try_for_each(&mut *visit)
        });
        looked.map_err(|source| FilesystemError::Io { object: Object::Superblock, source })
    }

    pub(super) fn stray(&self, at: u64, block: &[u8]) -> Option<StrayBlock> {
        let fields = Fields::new(block, Object::Superblock, at);
        let (key, end) = match self.volume.superblock.has_metadata_checksums() {
            true => self.checked(&fields)?,
            false => (None, block.len()),
        };
        let entries = Entries::read_whole(block, end, &self.volume.superblock)?;
        let begins = entries.own.is_some() && entries.parent.is_some();
        let is_one = begins || key.is_some() || entries.names.len() >= LEAST_NAMES;
        let is_whole = entries.own.is_some() == entries.parent.is_some();
        let says_something = begins || !entries.names.is_empty();
        (is_one && is_whole && says_something).then_some(StrayBlock {
            at,
            directory: entries.own,
            key,
            parent: entries.parent,
            names: entries.names,
            proof: Proof::Plausible,
        })
    }

    /// The seed that the checksum of a block began with, and where its entries end. A block that ends as none with names does, and is
    /// not the first of an index, is no directory block.
    fn checked(&self, block: &Fields<'_>) -> Option<(Option<u64>, usize)> {
        let tail = block.length().checked_sub(TAIL_BYTES)?;
        let shape = (block.le32(tail).ok()?, block.le16(tail + 4).ok()?, block.u8(tail + 6).ok()?, block.u8(tail + 7).ok()?);
        if shape == (0, 12, 0, TAIL_KIND) {
            let stored = block.le32(tail + 8).ok()?;
            return Some((Some(u64::from(seed_of(stored, block.slice(0, tail).ok()?))), tail));
        }
        index_entries(block).filter(|entries| *entries == ROOT_ENTRIES)?;
        Some((Some(u64::from(index_key(block)?)), block.length()))
    }
}

/// The seed of the root of an index. What is used is summed up, then the word before the sum, then zeros in place of the sum.
fn index_key(block: &Fields<'_>) -> Option<u32> {
    let (limit, count) = (usize::from(block.le16(ROOT_ENTRIES).ok()?), usize::from(block.le16(ROOT_ENTRIES + 2).ok()?));
    let tail = ROOT_ENTRIES + limit * INDEX_ENTRY;
    if count > limit || tail + 8 > block.length() {
        return None;
    }
    let before_zeros = seed_of(block.le32(tail + 4).ok()?, &[0; 4]);
    let before_word = seed_of(before_zeros, block.slice(tail, 4).ok()?);
    Some(seed_of(before_word, block.slice(0, ROOT_ENTRIES + count * INDEX_ENTRY).ok()?))
}
