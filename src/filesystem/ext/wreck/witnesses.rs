//! Witnesses to a geometry that nobody wrote down: directories, whose first block says which inode they are.
//!
//! ```text
//!   inode at some byte ──first block of the map──► block, if blocks have the right size ──► `.` is the inode's number
//! ```

use std::ops::ControlFlow;

use super::super::record::BODY;
use super::super::{extents, flags};
use super::backwards::seed_of;
use super::plausible::MOST_LINKS;
use crate::base::extent::Extent;
use crate::base::io::ReadAt;
use crate::filesystem::error::{FilesystemError, Object};
use crate::filesystem::fields::Fields;
use crate::filesystem::sweep::pieces;

/// The shortest inode; all begin at multiples of it.
const STEP: u64 = 128;
/// What is asked of one piece of a volume, and of all of it. Few are enough, if they come from everywhere.
const MOST_IN_A_PIECE: usize = 64;
const MOST_CANDIDATES: usize = 8192;
/// No directory is as large.
const MOST_DIRECTORY_BYTES: u32 = 1 << 31;
const KIND_OF_DIRECTORY: u8 = 2;

/// A directory that says its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Witness {
    /// Where its inode begins.
    pub(super) at: u64,
    pub(super) number: u32,
    pub(super) generation: u32,
    /// Whether its map is a tree of extents.
    pub(super) has_tree: bool,
    /// Whether its entries say kinds of files.
    pub(super) has_kinds: bool,
}

/// What looks like the inode of a directory.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    at: u64,
    generation: u32,
    has_tree: bool,
    /// Its first block.
    block: u64,
}

/// Hears all witnesses: the size of blocks that most of them bear out, and those that do, ascending by place.
pub(super) fn hear(source: &dyn ReadAt) -> Result<(u32, Vec<Witness>), FilesystemError> {
    let candidates = candidates(source)?;
    let sizes = (0..=6).map(|log_block| 1024_u32 << log_block);
    let heard = sizes.map(|block_bytes| {
        let witnesses: Vec<Witness> = candidates.iter().filter_map(|candidate| confirm(source, candidate, block_bytes)).collect();
        (block_bytes, witnesses)
    });
    Ok(heard.max_by_key(|(_, witnesses)| witnesses.len()).unwrap_or_default())
}

fn candidates(source: &dyn ReadAt) -> Result<Vec<Candidate>, FilesystemError> {
    let mut found = Vec::new();
    let looked = pieces(source, Extent::new(0, source.size()), &mut |piece, bytes| {
        let records = (piece.offset..).step_by(STEP as usize).zip(bytes.unwrap_or_default().chunks_exact(STEP as usize));
        found.extend(records.filter_map(|(at, bytes)| candidate(at, bytes)).take(MOST_IN_A_PIECE));
        if found.len() < MOST_CANDIDATES { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    let _ended_early = looked.map_err(|source| FilesystemError::Io { object: Object::Superblock, source })?;
    Ok(found)
}

fn candidate(at: u64, bytes: &[u8]) -> Option<Candidate> {
    // Most of a volume is none, and is passed over at once.
    if bytes.get(1).is_none_or(|mode| mode & 0xF0 != 0x40) {
        return None;
    }
    let record = Fields::new(bytes, Object::Superblock, at);
    let (links, size, deleted) = (record.le16(26).ok()?, record.le32(4).ok()?, record.le32(20).ok()?);
    let is_likely = (1..=MOST_LINKS).contains(&links) && size > 0 && size.is_multiple_of(1024) && size < MOST_DIRECTORY_BYTES;
    if !is_likely || deleted != 0 {
        return None;
    }
    let has_tree = record.le32(32).ok()? & flags::EXTENTS != 0;
    let block = if has_tree { first_of_tree(&record)? } else { u64::from(record.le32(BODY).ok()?) };
    (block != 0).then_some(Candidate { at, generation: record.le32(100).ok()?, has_tree, block })
}

/// The first block of a directory whose extents fit in its inode.
fn first_of_tree(record: &Fields<'_>) -> Option<u64> {
    let (entries, depth, logical) = (record.le16(BODY + 2).ok()?, record.le16(BODY + 6).ok()?, record.le32(BODY + 12).ok()?);
    let is_one = extents::is_tree(record.bytes().get(BODY..)?) && (1..=4).contains(&entries) && depth == 0 && logical == 0;
    let block = u64::from(record.le32(BODY + 20).ok()?) | u64::from(record.le16(BODY + 18).ok()?) << 32;
    is_one.then_some(block)
}

/// The first block must begin with `.` and `..`.
fn confirm(source: &dyn ReadAt, candidate: &Candidate, block_bytes: u32) -> Option<Witness> {
    let at = candidate.block.checked_mul(u64::from(block_bytes))?;
    let mut bytes = [0; 24];
    source.read_at(at, &mut bytes).ok()?;
    let block = Fields::new(&bytes, Object::Superblock, at);
    let (length, name_bytes, kind) = (block.le16(4).ok()?, block.u8(6).ok()?, block.u8(7).ok()?);
    let own = length == 12 && name_bytes == 1 && block.slice(8, 4).ok()? == b".\0\0\0";
    let parent = block.u8(18).ok()? == 2 && block.slice(20, 2).ok()? == b"..";
    let number = block.le32(0).ok().filter(|number| *number > 1)?;
    let Candidate { at, generation, has_tree, .. } = *candidate;
    let known = kind == 0 || kind == KIND_OF_DIRECTORY;
    (own && parent && known).then_some(Witness { at, number, generation, has_tree, has_kinds: kind != 0 })
}

impl Witness {
    /// The seed of the volume's checksums, if the inode has one: its own checksum run backwards over everything else.
    pub(super) fn seed(&self, source: &dyn ReadAt, inode_bytes: u16) -> Option<u32> {
        let mut bytes = vec![0; usize::from(inode_bytes)];
        source.read_at(self.at, &mut bytes).ok()?;
        let record = Fields::new(&bytes, Object::Superblock, self.at);
        // Shorter inodes keep half of their checksum, and half of it leads nowhere.
        let has_both = record.length() > 128 && record.le16(128).ok()? >= 4;
        let stored = u32::from(record.le16(124).ok()?) | u32::from(record.le16(130).ok()?) << 16;
        bytes.get_mut(124..126)?.fill(0);
        bytes.get_mut(130..132)?.fill(0);
        let seed = seed_of(seed_of(seed_of(stored, &bytes), &self.generation.to_le_bytes()), &self.number.to_le_bytes());
        has_both.then_some(seed)
    }
}
