//! Changes of a buffer: bytes of a block of metadata, in pieces of 128.

use super::LogFacts;
use super::cancel::Buffer;
use super::item::Item;
use super::put::{put, seal};
use super::ring::BLOCK_BYTES;
use super::stamp;
use super::state::State;
use super::transaction::Moment;
use crate::filesystem::error::{FilesystemError, Object};
use crate::filesystem::fields::Fields;

/// Changes are kept in pieces of this length.
pub(super) const PIECE_BYTES: usize = 128;
/// No buffer is longer than the longest block.
const LONGEST_BYTES: u64 = 64 << 10;
/// Words of the bitmap that such a buffer needs, and the one that pads it.
const MOST_WORDS: usize = 17;
const WORD_BITS: usize = 32;

/// A buffer of inodes: only the links of the list of deleted inodes are to be taken from it.
const INODES: u16 = 1;
/// The buffer is freed.
const CANCEL: u16 = 2;
/// It holds quotas, of three kinds.
const QUOTAS: u16 = 0b1_1100;
/// The upper bits say what it is.
const KIND_SHIFT: u32 = 11;

/// The inode field that links deleted inodes, and the checksum after it.
const NEXT_UNLINKED: usize = 96;
const INODE_CHECKSUM: usize = 100;
const INODE_MAGIC: &[u8] = b"IN";

/// What a log item says of its buffer.
#[derive(Debug)]
pub(super) struct Format {
    flags: u16,
    /// Which buffer.
    pub(super) buffer: Buffer,
    map: Vec<u32>,
}

/// A run of changed bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece<'a> {
    /// Where in the buffer it begins.
    pub(super) offset: usize,
    /// What it is now.
    pub(super) bytes: &'a [u8],
}

impl Format {
    /// Reads the first region of an item, of a transaction that began at `byte`.
    pub(super) fn read(region: &[u8], byte: u64) -> Result<Self, FilesystemError> {
        let fields = Fields::new(region, Object::Journal, byte);
        let words = usize::try_from(fields.le32(16)?).unwrap_or(usize::MAX);
        if words > MOST_WORDS {
            return Err(fields.corrupt(format!("a buffer in the log with a map of {words} words")));
        }
        let map = (0..words).map(|word| fields.le32(20 + 4 * word)).collect::<Result<_, _>>()?;
        let buffer = Buffer { block: fields.le64(8)?, blocks: fields.le16(6)?.into() };
        Ok(Self { flags: fields.le16(4)?, buffer, map })
    }

    /// True when the buffer is freed here.
    pub(super) fn is_cancel(&self) -> bool {
        self.flags & CANCEL != 0
    }

    /// True for a buffer of inodes, of which only the links of deleted ones count.
    pub(super) fn is_inodes(&self) -> bool {
        self.flags & INODES != 0
    }

    /// True for quotas, which are not read.
    pub(super) fn is_quota(&self) -> bool {
        self.flags & QUOTAS != 0
    }

    /// What the buffer holds, as [`stamp`] numbers it; 0 where nothing says so, as in the parts of one that is scattered.
    pub(super) fn kind(&self) -> u8 {
        u8::try_from(self.flags >> KIND_SHIFT).unwrap_or(0)
    }

    fn is_dirty(&self, piece: usize) -> bool {
        self.map.get(piece / WORD_BITS).is_some_and(|word| word >> (piece % WORD_BITS) & 1 == 1)
    }

    /// The changed bytes. A run of them can be cut into several regions where it crossed a page in memory.
    pub(super) fn pieces<'a>(&self, item: &'a Item, byte: u64) -> Result<Vec<Piece<'a>>, FilesystemError> {
        let corrupt = |what: &str| FilesystemError::corrupt(Object::Journal, byte, what);
        let end = self.map.len() * WORD_BITS;
        let mut content = item.content();
        let mut pieces = Vec::new();
        let mut at = 0;
        while let Some(first) = (at..end).find(|piece| self.is_dirty(*piece)) {
            let run = (first..end).take_while(|piece| self.is_dirty(*piece)).count() * PIECE_BYTES;
            let region = content.next().ok_or_else(|| corrupt("a buffer in the log with fewer regions than changes"))?;
            let bytes = region.get(..run).unwrap_or(region);
            if bytes.len() < PIECE_BYTES {
                return Err(corrupt("a region of a buffer in the log that is shorter than a piece"));
            }
            let whole = bytes.len() / PIECE_BYTES;
            pieces.push(Piece { offset: first * PIECE_BYTES, bytes: &bytes[..whole * PIECE_BYTES] });
            at = first + whole;
        }
        Ok(pieces)
    }
}

/// Applies the changes of a buffer, unless what lies there is as new. True when it did.
pub(super) fn replay(item: &Item, format: &Format, moment: Moment, state: &mut State) -> Result<bool, FilesystemError> {
    let place = place_of(format.buffer, moment.byte, &state.facts)?;
    let mut bytes = state.target.read(place, usize::try_from(format.buffer.blocks * BLOCK_BYTES).unwrap_or(0))?;
    let crc = state.facts.crc;
    let newer = crc && stamp::age(&bytes, &state.facts.uuid).is_some_and(|there| there >= moment.lsn);
    if newer || format.is_quota() {
        return Ok(false);
    }
    let pieces = format.pieces(item, moment.byte)?;
    if format.is_inodes() {
        relink(&mut bytes, &pieces, &state.facts)?;
    } else {
        pieces.iter().try_for_each(|piece| put(&mut bytes, piece.offset, piece.bytes))?;
    }
    state.target.write(place, &bytes)?;
    if crc {
        state.pending.add(place, bytes.len(), format.kind());
    }
    if place == 0 {
        state.follow_superblock(&bytes)?;
    }
    Ok(true)
}

fn place_of(buffer: Buffer, byte: u64, facts: &LogFacts) -> Result<u64, FilesystemError> {
    let length = buffer.blocks * BLOCK_BYTES;
    let sector_bytes = u64::from(facts.sector_bytes).max(1);
    let fits = |place: &u64| place.is_multiple_of(sector_bytes) && (1..=LONGEST_BYTES).contains(&length);
    buffer.block.checked_mul(BLOCK_BYTES).filter(fits).ok_or_else(|| {
        let what = format!("a buffer in the log of {length} bytes at block {}", buffer.block);
        FilesystemError::corrupt(Object::Journal, byte, what)
    })
}

/// Takes the links of deleted inodes, and nothing else: inodes have log items of their own.
fn relink(bytes: &mut [u8], pieces: &[Piece<'_>], facts: &LogFacts) -> Result<(), FilesystemError> {
    let inode_bytes = usize::from(facts.inode_bytes).max(1);
    for (index, inode) in bytes.chunks_exact_mut(inode_bytes).enumerate() {
        let at = index * inode_bytes + NEXT_UNLINKED;
        let link = pieces.iter().find_map(|piece| piece.bytes.get(at.checked_sub(piece.offset)?..)?.get(..4));
        let Some(link) = link.filter(|_| inode.starts_with(INODE_MAGIC)) else { continue };
        put(inode, NEXT_UNLINKED, link)?;
        if facts.crc {
            seal(inode, INODE_CHECKSUM)?;
        }
    }
    Ok(())
}
