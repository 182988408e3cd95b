//! A whole record: verified, and with the words that cycle numbers stand in place of put back.

use super::header::Header;
use super::ring::{BLOCK_LENGTH, Ring};
use crate::filesystem::error::{FilesystemError, Object};
use crate::filesystem::fields::{Fields, sums_agree};

/// Words that one block of header can hold.
const WORDS: usize = 64;
/// Where they begin in the first block of the header, and in the others.
const FIRST_WORDS: usize = 44;
const MORE_WORDS: usize = 4;
/// Where the checksum stands.
const CHECKSUM: usize = 32;
/// The checksum covers so much of the first block. Machines of 32 bits stop four bytes earlier.
const COVERED: [usize; 2] = [328, 324];
/// And so much of each further one.
const MORE_COVERED: usize = 260;

/// A place where the log cannot be followed.
#[derive(Debug)]
pub(super) struct Fault {
    /// The block of the ring where the record begins.
    pub(super) block: u64,
    /// What is wrong with it.
    pub(super) error: FilesystemError,
}

/// A record.
#[derive(Debug)]
pub(super) struct Record {
    /// Where it begins in the ring.
    pub(super) block: u64,
    /// Where it begins, in bytes of the source.
    pub(super) byte: u64,
    /// Its header.
    pub(super) header: Header,
    /// Its operations, as they were before the cycle numbers were put in.
    pub(super) data: Vec<u8>,
    /// True when the checksum is that of the bytes.
    pub(super) intact: bool,
}

impl Record {
    /// Reads the record that begins at `block` and must end before `left` blocks are over.
    pub(super) fn read(ring: &Ring, block: u64, left: u64, stripe_unit_bytes: u32) -> Result<Self, Fault> {
        Self::parse(ring, block, left, stripe_unit_bytes).map_err(|error| Fault { block, error })
    }

    fn parse(ring: &Ring, block: u64, left: u64, stripe_unit_bytes: u32) -> Result<Self, FilesystemError> {
        let first = ring.read(block, 1)?;
        let fields = Fields::new(&first, Object::Journal, ring.byte(block));
        let header = Header::read(&fields)?;
        header.check(&fields, stripe_unit_bytes)?;
        if header.total_blocks() > left {
            return Err(fields.corrupt(format!("a log record of {} blocks where {left} are left", header.total_blocks())));
        }
        let mut head = ring.read(block, header.blocks())?;
        let mut data = ring.read(ring.after(block, header.blocks()), header.data_blocks())?;
        let intact = is_intact(&mut head, &data, &header);
        unpack(&head, &mut data, ring, block)?;
        data.truncate(usize::try_from(header.length).unwrap_or(0));
        Ok(Self { block, byte: ring.byte(block), header, data, intact })
    }

    /// True when the bytes are those that were written. `crc` is true for version 5, where only the record of mkfs has no checksum;
    /// older kernels never computed one.
    pub(super) fn is_whole(&self, crc: bool) -> bool {
        self.intact || self.header.checksum == 0 && (!crc || self.header.operations == 1)
    }
}

/// Compares the checksum of the bytes as they were written with what the header says.
fn is_intact(head: &mut [u8], data: &[u8], header: &Header) -> bool {
    if let Some(stored) = head.get_mut(CHECKSUM..CHECKSUM + 4) {
        stored.fill(0);
    }
    let data = data.get(..usize::try_from(header.length).unwrap_or(usize::MAX)).unwrap_or_default();
    COVERED.into_iter().any(|covered| sums_agree(header.checksum, checksum(head, covered, data)))
}

fn checksum(head: &[u8], covered: usize, data: &[u8]) -> u32 {
    // Blocks of the header that the data does not need are not covered.
    let needed = data.len().div_ceil(WORDS * BLOCK_LENGTH);
    let mut blocks = head.chunks_exact(BLOCK_LENGTH).take(needed);
    let first = blocks.next().and_then(|block| block.get(..covered)).unwrap_or_default();
    let more = blocks.map(|block| block.get(..MORE_COVERED).unwrap_or_default());
    let head = more.fold(crc32c::crc32c(first), crc32c::crc32c_append);
    crc32c::crc32c_append(head, data)
}

/// Puts the first word of each block back, where the cycle number stands on disk.
fn unpack(head: &[u8], data: &mut [u8], ring: &Ring, block: u64) -> Result<(), FilesystemError> {
    for (index, piece) in data.chunks_exact_mut(BLOCK_LENGTH).enumerate() {
        let (holder, word) = (index / WORDS, index % WORDS);
        let start = if holder == 0 { FIRST_WORDS } else { MORE_WORDS };
        let at = holder * BLOCK_LENGTH + start + word * 4;
        let saved = head.get(at..at + 4).ok_or_else(|| ring.corrupt(block, "a log record longer than its header can tell"))?;
        if let Some(place) = piece.get_mut(..4) {
            place.copy_from_slice(saved);
        }
    }
    Ok(())
}

/// The records from one block of the ring up to another. It ends after the first that is no record.
#[derive(Debug)]
pub(super) struct Records<'a> {
    ring: &'a Ring,
    at: u64,
    left: u64,
    stripe_unit_bytes: u32,
}

impl<'a> Records<'a> {
    /// Begins at `from`, and ends before `to`.
    pub(super) fn between(ring: &'a Ring, from: u64, to: u64, stripe_unit_bytes: u32) -> Self {
        Self { ring, at: from, left: ring.distance(from, to), stripe_unit_bytes }
    }
}

impl Iterator for Records<'_> {
    type Item = Result<Record, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        let record = Record::read(self.ring, self.at, self.left, self.stripe_unit_bytes);
        // A record has at least two blocks, so the way is never longer than the ring.
        let blocks = record.as_ref().map_or(self.left, |record| record.header.total_blocks());
        self.at = self.ring.after(self.at, blocks);
        self.left = self.left.saturating_sub(blocks);
        Some(record)
    }
}
