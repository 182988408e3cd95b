//! A journal writer: lays transactions into the ring of a small filesystem, in every form of the format, and knows what they mean.

use std::collections::BTreeMap;

use crate::filesystem::ext::journal::JournalPlace;
use crate::filesystem::ext::journal::checksum::{CRC32_BE_START, crc32_be, crc32c, crc32c_without};
use crate::filesystem::ext::journal::superblock::{Checksums, MAGIC};

pub(super) const BLOCK: usize = 1024;
pub(super) const BLOCKS: u64 = 600;
/// The journal's file lies in three pieces, out of order.
pub(super) const RUNS: [(u64, u64); 3] = [(300, 20), (100, 1), (401, 43)];
pub(super) const JOURNAL_BLOCKS: u64 = 64;
const UUID: [u8; 16] = *b"journal's uuid..";

/// How the log is written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Form {
    pub(super) checksums: Checksums,
    pub(super) wide: bool,
    pub(super) async_commit: bool,
    /// Blocks for fast commits; `None` without the feature.
    pub(super) fast: Option<u32>,
    /// 3 or 4.
    pub(super) version: u32,
}

pub(super) const V3: Form = Form { checksums: Checksums::V3, wide: true, async_commit: false, fast: None, version: 4 };

/// What a transaction does.
#[derive(Debug, Clone, Default)]
pub(super) struct Transaction {
    pub(super) writes: Vec<(u64, Vec<u8>)>,
    pub(super) revokes: Vec<u64>,
    pub(super) committed_at: u64,
}

impl Transaction {
    pub(super) fn new(committed_at: u64) -> Self {
        Self { committed_at, ..Self::default() }
    }
    pub(super) fn write(mut self, block: u64, content: u8) -> Self {
        self.writes.push((block, vec![content; BLOCK]));
        self
    }
    pub(super) fn write_magic(mut self, block: u64, content: u8) -> Self {
        self.writes.push((block, [&MAGIC.to_be_bytes()[..], &[content; BLOCK - 4]].concat()));
        self
    }
    pub(super) fn revoke(mut self, block: u64) -> Self {
        self.revokes.push(block);
        self
    }
}

/// Where the blocks of a transaction went, by their number in the journal.
#[derive(Debug, Clone, Default)]
pub(super) struct Written {
    pub(super) lists: Vec<u64>,
    pub(super) data: Vec<u64>,
    pub(super) commit: u64,
}

/// A filesystem with a journal.
#[derive(Debug, Clone)]
pub(super) struct Logbook {
    pub(super) form: Form,
    pub(super) image: Vec<u8>,
    pub(super) next: u64,
    pub(super) sequence: u32,
    /// Tags that fit in a descriptor, fewer than would.
    pub(super) most_tags: usize,
}

impl Logbook {
    /// An empty log whose first transaction will be `sequence`, at block `start` of the journal.
    pub(super) fn new(form: Form, sequence: u32, start: u64) -> Self {
        let image = (0..BLOCKS).flat_map(|block| [block as u8 ^ 0x5a; BLOCK]).collect();
        let mut logbook = Self { form, image, next: start, sequence, most_tags: usize::MAX };
        logbook.put(0, &vec![0; BLOCK]);
        logbook.describe(sequence, start);
        logbook
    }

    fn describe(&mut self, sequence: u32, start: u64) {
        let Form { checksums, wide, async_commit, fast, version } = self.form;
        let incompat = 1
            | u32::from(wide) << 1
            | u32::from(async_commit) << 2
            | u32::from(checksums == Checksums::V2) << 3
            | u32::from(checksums == Checksums::V3) << 4
            | u32::from(fast.is_some()) << 5;
        let features = if version == 4 { [u32::from(checksums == Checksums::Transaction), incompat] } else { [0, 0] };
        for (at, value) in [
            (0, MAGIC),
            (4, version),
            (0x0c, BLOCK as u32),
            (0x10, JOURNAL_BLOCKS as u32),
            (0x14, 1),
            (0x18, sequence),
            (0x1c, start as u32),
            (0x24, features[0]),
            (0x28, features[1]),
            (0x50, 4 << 24),
            (0x54, fast.unwrap_or(0)),
        ] {
            self.field(at, value);
        }
        let at = self.offset(0) + 0x30;
        self.image[at..at + 16].copy_from_slice(&UUID);
        self.sign_superblock();
    }

    /// Sets four bytes of the journal's superblock.
    pub(super) fn field(&mut self, at: usize, value: u32) {
        let at = self.offset(0) + at;
        self.image[at..at + 4].copy_from_slice(&value.to_be_bytes());
    }

    pub(super) fn sign_superblock(&mut self) {
        let crc = crc32c_without(!0, self.block(0), 0xfc).unwrap();
        self.field(0xfc, crc);
    }

    pub(super) fn place(&self) -> JournalPlace {
        JournalPlace {
            runs: RUNS.to_vec(),
            block_bytes: BLOCK as u32,
            blocks_in_filesystem: BLOCKS,
            needs_recovery: true,
            superblock_feature_fast_commit: self.form.fast.is_some(),
        }
    }

    /// Where the ring ends.
    pub(super) fn last(&self) -> u64 {
        JOURNAL_BLOCKS - self.form.fast.map_or(0, |blocks| if blocks == 0 { 256 } else { u64::from(blocks) })
    }

    pub(super) fn offset(&self, block: u64) -> usize {
        let mut block = block;
        for (first, count) in RUNS {
            if block < count {
                return (first + block) as usize * BLOCK;
            }
            block -= count;
        }
        panic!("no such block of the journal");
    }

    pub(super) fn block(&self, block: u64) -> &[u8] {
        let at = self.offset(block);
        &self.image[at..at + BLOCK]
    }

    pub(super) fn put(&mut self, block: u64, bytes: &[u8]) {
        let at = self.offset(block);
        self.image[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn advance(&mut self) -> u64 {
        let position = self.next;
        self.next = if position + 1 == self.last() { 1 } else { position + 1 };
        position
    }

    pub(super) fn seed(&self) -> u32 {
        crc32c(!0, &UUID)
    }

    fn header(&self, kind: u32) -> Vec<u8> {
        [MAGIC, kind, self.sequence].iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    /// Writes a whole transaction.
    pub(super) fn add(&mut self, transaction: &Transaction) -> Written {
        let mut written = Written::default();
        let mut running = CRC32_BE_START;
        if !transaction.revokes.is_empty() {
            written.lists.push(self.revoke_record(&transaction.revokes));
        }
        let mut writes = transaction.writes.as_slice();
        while !writes.is_empty() {
            let fits = self.tags_that_fit().min(writes.len());
            let (now, later) = writes.split_at(fits);
            self.descriptor(now, &mut running, &mut written);
            writes = later;
        }
        written.commit = self.commit(transaction.committed_at, running);
        written
    }

    fn tail_bytes(&self) -> usize {
        if self.form.checksums.in_blocks() { 4 } else { 0 }
    }

    fn tag_bytes(&self) -> usize {
        match (self.form.checksums, self.form.wide) {
            (Checksums::V3, _) => 16,
            (Checksums::V2, true) => 14,
            (Checksums::V2, false) => 10,
            (_, true) => 12,
            (_, false) => 8,
        }
    }

    fn tags_that_fit(&self) -> usize {
        ((BLOCK - 12 - 16 - self.tail_bytes()) / self.tag_bytes()).min(self.most_tags)
    }

    fn descriptor(&mut self, writes: &[(u64, Vec<u8>)], running: &mut u32, written: &mut Written) {
        let position = self.advance();
        written.lists.push(position);
        let mut list = self.header(1);
        let mut logged = Vec::new();
        for (index, (block, content)) in writes.iter().enumerate() {
            let is_escaped = content.starts_with(&MAGIC.to_be_bytes());
            let stored = if is_escaped { [&[0; 4], &content[4..]].concat() } else { content.clone() };
            let flags = u16::from(is_escaped) | u16::from(index > 0) << 1 | u16::from(index + 1 == writes.len()) << 3;
            self.tag(&mut list, *block, flags, &stored);
            if index == 0 {
                list.extend(UUID);
            }
            logged.push(stored);
        }
        let list = self.close(list);
        *running = logged.iter().fold(crc32_be(*running, &list), |crc, block| crc32_be(crc, block));
        self.put(position, &list);
        for stored in logged {
            let at = self.advance();
            self.put(at, &stored);
            written.data.push(at);
        }
    }

    fn tag(&self, list: &mut Vec<u8>, block: u64, flags: u16, stored: &[u8]) {
        let crc = crc32c(crc32c(self.seed(), &self.sequence.to_be_bytes()), stored);
        list.extend((block as u32).to_be_bytes());
        match self.form.checksums {
            Checksums::V3 => {
                list.extend(u32::from(flags).to_be_bytes());
                list.extend((if self.form.wide { (block >> 32) as u32 } else { 0 }).to_be_bytes());
                list.extend(crc.to_be_bytes());
                return;
            }
            Checksums::V2 => list.extend((crc as u16).to_be_bytes()),
            Checksums::None | Checksums::Transaction => list.extend([0; 2]),
        }
        list.extend(flags.to_be_bytes());
        if self.form.wide {
            list.extend(((block >> 32) as u32).to_be_bytes());
        }
        if self.form.checksums == Checksums::V2 {
            list.extend([0; 2]);
        }
    }

    fn revoke_record(&mut self, blocks: &[u64]) -> u64 {
        let position = self.advance();
        let mut list = self.header(5);
        let width = if self.form.wide { 8 } else { 4 };
        list.extend((16 + (blocks.len() * width) as u32).to_be_bytes());
        blocks.iter().for_each(|block| list.extend(&block.to_be_bytes()[8 - width..]));
        let list = self.close(list);
        self.put(position, &list);
        position
    }

    fn close(&self, mut list: Vec<u8>) -> Vec<u8> {
        assert!(list.len() <= BLOCK - self.tail_bytes(), "a list must fit in its block");
        list.resize(BLOCK, 0);
        if self.form.checksums.in_blocks() {
            sign(self.seed(), &mut list, BLOCK - 4);
        }
        list
    }

    fn commit(&mut self, committed_at: u64, running: u32) -> u64 {
        let position = self.advance();
        let mut block = self.header(2);
        block.resize(BLOCK, 0);
        block[0x30..0x38].copy_from_slice(&committed_at.to_be_bytes());
        if self.form.checksums == Checksums::Transaction {
            block[0x0c..0x0e].copy_from_slice(&[1, 4]);
            block[0x10..0x14].copy_from_slice(&running.to_be_bytes());
        }
        if self.form.checksums.in_blocks() {
            sign(self.seed(), &mut block, 0x10);
        }
        self.put(position, &block);
        self.sequence = self.sequence.wrapping_add(1);
        position
    }
}

/// Puts the checksum of a block into its field.
pub(super) fn sign(seed: u32, block: &mut [u8], field: usize) {
    let crc = crc32c_without(seed, block, field).unwrap();
    block[field..field + 4].copy_from_slice(&crc.to_be_bytes());
}

/// What the blocks of the filesystem are after these transactions, if they differ: the rules in their plainest form.
pub(super) fn model(transactions: &[Transaction]) -> BTreeMap<u64, Vec<u8>> {
    let mut expected = BTreeMap::new();
    for (index, transaction) in transactions.iter().enumerate() {
        for (block, content) in &transaction.writes {
            let is_revoked = transactions[index..].iter().any(|later| later.revokes.contains(block));
            if !is_revoked {
                expected.insert(*block, content.clone());
            }
        }
    }
    expected
}
