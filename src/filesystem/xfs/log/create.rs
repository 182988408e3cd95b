//! Chunks of new inodes: the log only says where, and replay writes them.

use super::item::Item;
use super::put::{put, seal};
use super::state::State;
use super::transaction::Moment;
use super::{LogFacts, core};
use crate::base::extent::Extent;
use crate::filesystem::error::{FilesystemError, Object};
use crate::filesystem::fields::Fields;

/// A chunk has at most so many inodes, or one block full of them if that is more.
const CHUNK_INODES: u32 = 64;
/// Bytes of the longest block.
const LONGEST_BLOCK: u64 = 64 << 10;

/// What the log says of a chunk.
#[derive(Debug)]
struct Chunk {
    group: u32,
    block: u32,
    count: u32,
    generation: u32,
    place: Extent,
}

impl Chunk {
    fn read(item: &Item, moment: Moment, facts: &LogFacts) -> Result<Self, FilesystemError> {
        let fields = Fields::new(item.format(), Object::Journal, moment.byte);
        let (group, block, count) = (fields.be32(4)?, fields.be32(8)?, fields.be32(12)?);
        let (inode_bytes, blocks) = (fields.be32(16)?, fields.be32(20)?);
        let in_group = u64::from(block) + u64::from(blocks) <= facts.ag_blocks.into() && block != 0 && group < facts.ag_count;
        let length = u64::from(blocks) * u64::from(facts.block_bytes);
        let fits = inode_bytes == u32::from(facts.inode_bytes) && u64::from(count) * u64::from(inode_bytes) == length;
        let most = (u64::from(CHUNK_INODES) * u64::from(inode_bytes)).max(LONGEST_BLOCK);
        if !in_group || !fits || count == 0 || length > most {
            let what = format!("{count} new inodes of {inode_bytes} bytes in {blocks} blocks from {block} of group {group}");
            return Err(fields.corrupt(what));
        }
        let start = (u64::from(group) * u64::from(facts.ag_blocks) + u64::from(block)) << facts.block_log.min(16);
        Ok(Self { group, block, count, generation: fields.be32(24)?, place: Extent::new(start, length) })
    }

    /// The number of its first inode.
    fn first(&self, facts: &LogFacts) -> u64 {
        let bits = u32::from(facts.inodes_per_block_log);
        let group_bits = bits + u32::from(facts.ag_block_log);
        u64::from(self.group).checked_shl(group_bits).unwrap_or(0) | u64::from(self.block).checked_shl(bits).unwrap_or(0)
    }
}

/// Where the chunk lies.
pub(super) fn place_of(item: &Item, moment: Moment, facts: &LogFacts) -> Result<Extent, FilesystemError> {
    Chunk::read(item, moment, facts).map(|chunk| chunk.place)
}

/// Writes the inodes of a chunk, unless one of its buffers is freed further on: then the whole chunk is. True when it did.
pub(super) fn replay(item: &Item, moment: Moment, state: &mut State) -> Result<bool, FilesystemError> {
    let chunk = Chunk::read(item, moment, &state.facts)?;
    if state.cancelled.touches(chunk.place) {
        return Ok(false);
    }
    let inode_bytes = usize::from(state.facts.inode_bytes).max(1);
    let mut bytes = vec![0; usize::try_from(chunk.place.length).unwrap_or(0)];
    let first = chunk.first(&state.facts);
    for (inode, number) in bytes.chunks_exact_mut(inode_bytes).zip(first..first.saturating_add(chunk.count.into())) {
        put_free(inode, number, chunk.generation, &state.facts)?;
    }
    state.pending.forget(chunk.place);
    state.target.write(chunk.place.offset, &bytes)?;
    Ok(true)
}

/// A free inode: its number, its filesystem, a generation, and no link in the list of deleted ones.
fn put_free(inode: &mut [u8], number: u64, generation: u32, facts: &LogFacts) -> Result<(), FilesystemError> {
    put(inode, 0, b"IN")?;
    put(inode, 4, &[if facts.crc { 3 } else { 2 }])?;
    put(inode, 92, &generation.to_be_bytes())?;
    put(inode, 96, &u32::MAX.to_be_bytes())?;
    if !facts.crc {
        return Ok(());
    }
    put(inode, 152, &number.to_be_bytes())?;
    put(inode, 160, &facts.uuid)?;
    seal(inode, core::CORE_BYTES)
}
