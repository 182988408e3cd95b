//! What the tests of the log stand on: a source in memory, and a writer of logs.

use std::sync::Arc;

use super::ring::{BLOCK_BYTES, BLOCK_LENGTH, HEADER_MAGIC};
use super::{LogFacts, LogPlace, Replay, replay};
use crate::base::extent::Extent;
use crate::base::io::{IoError, ReadAt};
use crate::filesystem::overlay::Overlaid;

/// The filesystem of the tests.
pub(super) const UUID: [u8; 16] = *b"0123456789abcdef";
/// Where its log lies, and where it ends.
pub(super) const LOG_BYTE: u64 = 1 << 20;
pub(super) const END: u64 = 4 << 20;

/// A source in memory.
#[derive(Debug)]
pub(super) struct Memory(Vec<u8>);

impl Memory {
    /// A source of these bytes.
    pub(super) fn source(bytes: Vec<u8>) -> Arc<dyn ReadAt> {
        Arc::new(Self(bytes))
    }
}

impl ReadAt for Memory {
    fn size(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<(), IoError> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let extent = Extent::new(offset, out.len() as u64);
        let bytes = start.checked_add(out.len()).and_then(|end| self.0.get(start..end));
        out.copy_from_slice(bytes.ok_or(IoError::OutOfRange { extent, size: self.size() })?);
        Ok(())
    }
}

/// A log of version 2 that has `blocks` blocks from byte `offset` on.
pub(super) fn place(offset: u64, blocks: u64) -> LogPlace {
    LogPlace { offset, bytes: blocks * BLOCK_BYTES, version: 2, sector_bytes: 512, stripe_unit_bytes: 0 }
}

/// A filesystem of version 5 with one group.
pub(super) fn facts() -> LogFacts {
    LogFacts {
        crc: true,
        block_bytes: 4096,
        block_log: 12,
        ag_blocks: 1024,
        ag_block_log: 10,
        ag_count: 1,
        inode_bytes: 512,
        inodes_per_block_log: 3,
        uuid: UUID,
        data_blocks: 1024,
        sector_bytes: 512,
    }
}

/// One operation: its transaction, its flags, its data.
pub(super) type Op = (u32, u8, Vec<u8>);

/// The operations of a transaction with these items.
pub(super) fn transaction(number: u32, items: &[Vec<Vec<u8>>]) -> Vec<Op> {
    let mut header = b"NART".to_vec();
    header.extend([0; 12]);
    let mut ops = vec![(number, 0x01, Vec::new()), (number, 0, header)];
    ops.extend(items.iter().flatten().map(|region| (number, 0, region.clone())));
    ops.push((number, 0x02, Vec::new()));
    ops
}

/// An item that changes a buffer: `kind` says what it is, `flags` are the lower bits, `pieces` are multiples of 128 bytes.
pub(super) fn buffer(block: u64, blocks: u16, kind: u16, flags: u16, pieces: &[(usize, Vec<u8>)]) -> Vec<Vec<u8>> {
    let mut map = [0_u32; 17];
    for (offset, bytes) in pieces {
        (offset / 128..(offset + bytes.len()) / 128).for_each(|bit| map[bit / 32] |= 1 << (bit % 32));
    }
    let mut format = [0x3c, 0x12].to_vec();
    format.extend((1 + pieces.len() as u16).to_le_bytes());
    format.extend((flags | kind << 11).to_le_bytes());
    format.extend(blocks.to_le_bytes());
    format.extend(block.to_le_bytes());
    format.extend(17_u32.to_le_bytes());
    format.extend(map.iter().flat_map(|word| word.to_le_bytes()));
    [vec![format], pieces.iter().map(|(_, bytes)| bytes.clone()).collect()].concat()
}

/// The item that says that a buffer is freed.
pub(super) fn cancel(block: u64, blocks: u16) -> Vec<Vec<u8>> {
    buffer(block, blocks, 0, 2, &[])
}

/// Writes records into a ring.
#[derive(Debug, Clone)]
pub(super) struct Writer {
    /// The ring.
    pub(super) ring: Vec<u8>,
    /// Where the next record goes, counted without going around.
    pub(super) at: u64,
    /// The tail that the next record names.
    pub(super) tail: u64,
    /// Length of its buffer.
    pub(super) size: u32,
}

impl Writer {
    /// An empty ring.
    pub(super) fn new(blocks: u64) -> Self {
        Self { ring: vec![0; usize::try_from(blocks).unwrap() * BLOCK_LENGTH], at: 0, tail: 0, size: 32 << 10 }
    }

    fn blocks(&self) -> u64 {
        self.ring.len() as u64 / BLOCK_BYTES
    }

    /// The place in the log of a block that is counted without going around.
    pub(super) fn lsn(&self, at: u64) -> u64 {
        ((at / self.blocks() + 1) << 32) | (at % self.blocks())
    }

    /// Writes a record, and says at which block.
    pub(super) fn record(&mut self, ops: &[Op]) -> u64 {
        let mut data = Vec::new();
        for (transaction, flags, bytes) in ops {
            data.extend(transaction.to_be_bytes());
            data.extend((bytes.len() as u32).to_be_bytes());
            data.extend([0x69, *flags, 0, 0]);
            data.extend(bytes);
        }
        data.resize(data.len().next_multiple_of(BLOCK_LENGTH), 0);
        self.write(ops.len() as u32, data)
    }

    fn write(&mut self, count: u32, mut data: Vec<u8>) -> u64 {
        let start = self.at;
        let head_blocks = (self.size as usize).div_ceil(32 << 10).max(1);
        let mut head = vec![0; head_blocks * BLOCK_LENGTH];
        let mut put = |at: usize, bytes: &[u8]| head[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &HEADER_MAGIC.to_be_bytes());
        put(4, &((self.lsn(start) >> 32) as u32).to_be_bytes());
        put(8, &2_u32.to_be_bytes());
        put(12, &(data.len() as u32).to_be_bytes());
        put(16, &self.lsn(start).to_be_bytes());
        put(24, &self.lsn(self.tail).to_be_bytes());
        put(40, &count.to_be_bytes());
        put(300, &1_u32.to_be_bytes());
        put(304, &UUID);
        put(320, &self.size.to_be_bytes());
        for block in 1..head_blocks {
            put(block * BLOCK_LENGTH, &((self.lsn(start + block as u64) >> 32) as u32).to_be_bytes());
        }
        for (index, block) in data.chunks_mut(BLOCK_LENGTH).enumerate() {
            let at = index / 64 * BLOCK_LENGTH + if index < 64 { 44 } else { 4 } + index % 64 * 4;
            put(at, &block[..4]);
            let cycle = (self.lsn(start + (head_blocks + index) as u64) >> 32) as u32;
            block[..4].copy_from_slice(&cycle.to_be_bytes());
        }
        seal_record(&mut head, &data);
        for block in [head, data].concat().chunks(BLOCK_LENGTH) {
            let place = usize::try_from(self.at % self.blocks()).unwrap() * BLOCK_LENGTH;
            self.ring[place..place + BLOCK_LENGTH].copy_from_slice(block);
            self.at += 1;
        }
        start
    }

    /// Writes what an unmount writes.
    pub(super) fn unmount(&mut self) {
        self.tail = self.at;
        self.record(&[(7, 0x20, vec![0x6e, 0x55, 0, 0, 0, 0, 0, 0])]);
    }

    /// A volume with this log.
    pub(super) fn volume(&self, in_place: &[(u64, Vec<u8>)]) -> Arc<dyn ReadAt> {
        let mut bytes = vec![0; usize::try_from(END).unwrap()];
        let mut put = |at: u64, piece: &[u8]| bytes[usize::try_from(at).unwrap()..][..piece.len()].copy_from_slice(piece);
        put(LOG_BYTE, &self.ring);
        in_place.iter().for_each(|(at, piece)| put(*at, piece));
        Memory::source(bytes)
    }

    /// Replays it.
    pub(super) fn replay(&self, in_place: &[(u64, Vec<u8>)]) -> Replay {
        replay(&self.volume(in_place), &place(LOG_BYTE, self.blocks()), &facts()).unwrap()
    }

    /// Replays it, expects nothing to be wrong, and reads bytes of the volume after that.
    pub(super) fn replayed(&self, in_place: &[(u64, Vec<u8>)], byte: u64, length: usize) -> Vec<u8> {
        let replay = self.replay(in_place);
        assert_eq!(replay.incomplete, None);
        let mut out = vec![0; length];
        Overlaid::new(self.volume(in_place), replay.overlay).read_at(byte, &mut out).unwrap();
        out
    }
}

/// Sets the checksum of a record.
pub(super) fn seal_record(head: &mut [u8], data: &[u8]) {
    head[32..36].fill(0);
    let mut covered = head[..328].to_vec();
    head.chunks(BLOCK_LENGTH).take(data.len().div_ceil(32 << 10)).skip(1).for_each(|block| covered.extend(&block[..260]));
    covered.extend(data);
    head[32..36].copy_from_slice(&crc32c::crc32c(&covered).to_le_bytes());
}
