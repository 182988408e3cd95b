//! Blocks that the log still holds, from any time: what stood in their homes before, or would after recovery.

use std::cmp::Reverse;

use super::JournalPlace;
use super::area::Area;
use super::checksum::crc32c;
use super::descriptor::Tags;
use super::superblock::{Checksums, JournalSuperblock, MAGIC};
use crate::base::io::ReadAt;
use crate::filesystem::error::{FilesystemError, Object};
use crate::filesystem::fields::{Fields, sums_agree};

/// What is remembered of a log: 24 MiB of it, which is more than the log of 1 GiB has that mkfs makes at most of its own accord.
const MOST_BLOCKS: usize = 512 << 10;
/// The block type of a descriptor.
const DESCRIPTOR: u32 = 1;

/// A copy of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Copy {
    home: u64,
    /// How many transactions ago it was logged, counted from the next one.
    age: u32,
    sequence: u32,
    /// The byte of the volume where the copy begins.
    at: u64,
    escaped: bool,
    checksum: u32,
}

/// Copies of blocks, found by their homes.
#[derive(Debug, Default)]
pub(in crate::filesystem) struct LoggedBlocks {
    /// By home, the youngest first.
    copies: Vec<Copy>,
    checksums: Option<(Checksums, u32)>,
}

impl LoggedBlocks {
    /// Goes through the whole log once. A log without its superblock has nothing to say.
    pub(in crate::filesystem) fn collect(source: &dyn ReadAt, place: &JournalPlace) -> Self {
        Self::read(source, place).unwrap_or_default()
    }

    fn read(source: &dyn ReadAt, place: &JournalPlace) -> Result<Self, FilesystemError> {
        let area = Area::new(source, place)?;
        let superblock = JournalSuperblock::read(&area)?;
        let mut blocks = Self { copies: Vec::new(), checksums: Some((superblock.checksums, superblock.seed)) };
        let mut block = Vec::new();
        for position in superblock.ring.clone() {
            // What cannot be read is not there.
            let Ok(byte) = area.read(position, &mut block) else { continue };
            blocks.descriptor(&Fields::new(&block, Object::Journal, byte), position, &area, &superblock)?;
            if blocks.copies.len() >= MOST_BLOCKS {
                break;
            }
        }
        blocks.copies.sort_by_key(|copy| (copy.home, copy.age, Reverse(copy.at)));
        Ok(blocks)
    }

    /// Notes what a block lists, if it is a descriptor. Logged blocks never begin with the magic.
    fn descriptor(
        &mut self,
        fields: &Fields<'_>,
        position: u64,
        area: &Area<'_>,
        superblock: &JournalSuperblock,
    ) -> Result<(), FilesystemError> {
        if fields.be32(0)? != MAGIC || fields.be32(4)? != DESCRIPTOR {
            return Ok(());
        }
        let sequence = fields.be32(8)?;
        let ring = &superblock.ring;
        for (tag, ahead) in Tags::new(*fields, superblock).zip(1..ring.end - ring.start) {
            let straight = position + ahead;
            let place = if straight < ring.end { straight } else { straight - (ring.end - ring.start) };
            let Some(at) = area.byte(place) else { continue };
            // Numbers go round. Those that are yet to be replayed lie ahead, and are the youngest.
            let age = superblock.sequence.wrapping_add(u32::MAX / 2).wrapping_sub(sequence);
            self.copies.push(Copy { home: tag.block, age, sequence, at, escaped: tag.escaped, checksum: tag.checksum });
        }
        Ok(())
    }

    /// The blocks that there are copies of, ascending.
    pub(in crate::filesystem) fn homes(&self) -> impl Iterator<Item = u64> + '_ {
        self.copies.chunk_by(|one, next| one.home == next.home).filter_map(|copies| copies.first()).map(|copy| copy.home)
    }

    /// The copies of a block that are whole as far as the log can tell, the youngest first.
    pub(in crate::filesystem) fn of<'a>(
        &'a self,
        home: u64,
        source: &'a dyn ReadAt,
        block_bytes: usize,
    ) -> impl Iterator<Item = Vec<u8>> + 'a {
        let first = self.copies.partition_point(|copy| copy.home < home);
        let copies = self.copies.get(first..).unwrap_or_default().iter().take_while(move |copy| copy.home == home);
        copies.filter_map(move |copy| self.content(copy, source, block_bytes))
    }

    fn content(&self, copy: &Copy, source: &dyn ReadAt, block_bytes: usize) -> Option<Vec<u8>> {
        let mut block = vec![0; block_bytes];
        source.read_at(copy.at, &mut block).ok()?;
        let (checksums, seed) = self.checksums?;
        let found = || crc32c(crc32c(seed, &copy.sequence.to_be_bytes()), &block);
        let is_whole = match checksums {
            Checksums::None | Checksums::Transaction => true,
            Checksums::V2 => sums_agree(copy.checksum, found() & 0xffff),
            Checksums::V3 => sums_agree(copy.checksum, found()),
        };
        if copy.escaped {
            block.get_mut(..4)?.copy_from_slice(&MAGIC.to_be_bytes());
        }
        is_whole.then_some(block)
    }
}
