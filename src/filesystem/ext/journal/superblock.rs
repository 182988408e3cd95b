//! The journal's own superblock: which features it uses, where the log lies and where recovery begins.

use std::ops::Range;

use super::area::Area;
use super::checksum::{CRC32C_START, crc32c, crc32c_without};
use crate::filesystem::error::{FilesystemError, Object};
use crate::filesystem::fields::{Fields, sums_agree};

/// Begins every block of the log that is not data.
pub(super) const MAGIC: u32 = 0xc03b_3998;

const VERSION_1: u32 = 3;
const VERSION_2: u32 = 4;
/// The structure; the rest of its block is not used.
const LENGTH: usize = 1024;
const CHECKSUM_AT: usize = 0xfc;
const CHECKSUM_TYPE_CRC32C: u8 = 4;
/// How many blocks fast commits have when the superblock says zero.
const FAST_BLOCKS: u32 = 256;

mod compat {
    pub(super) const CHECKSUM: u32 = 1;
}

mod incompat {
    pub(super) const BITS_64: u32 = 2;
    pub(super) const ASYNC_COMMIT: u32 = 4;
    pub(super) const CSUM_V2: u32 = 8;
    pub(super) const CSUM_V3: u32 = 16;
    pub(super) const FAST_COMMIT: u32 = 32;
    /// Revoke records, and all of the above.
    pub(super) const KNOWN: u32 = 63;
}

/// How the log proves that it is whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Checksums {
    /// It does not.
    None,
    /// One over each transaction, in its commit block (`journal_checksum`).
    Transaction,
    /// One in each block, and 16 bits of one in each tag (`journal_checksum_v2`).
    V2,
    /// One in each block and in each tag (`journal_checksum_v3`).
    V3,
}

impl Checksums {
    /// True when descriptors, revoke records and commits end or begin with a checksum of their own.
    pub(super) fn in_blocks(self) -> bool {
        matches!(self, Self::V2 | Self::V3)
    }
}

/// What recovery has to know.
#[derive(Debug, Clone)]
pub(super) struct JournalSuperblock {
    /// Blocks of the ring of transactions.
    pub(super) ring: Range<u64>,
    /// Blocks of fast commits; empty without the feature.
    pub(super) fast: Range<u64>,
    /// Where the oldest transaction begins; `None` when there is nothing to replay.
    pub(super) start: Option<u64>,
    /// The number of the oldest transaction.
    pub(super) sequence: u32,
    /// True when the kernel noted an error that was not in the filesystem's superblock yet.
    pub(super) error_recorded: bool,
    pub(super) checksums: Checksums,
    /// Block numbers have eight bytes.
    pub(super) wide: bool,
    /// A commit block may reach the disk before the blocks that it commits.
    pub(super) async_commit: bool,
    /// What every CRC-32C of the log begins with: that of the journal's UUID.
    pub(super) seed: u32,
}

impl JournalSuperblock {
    /// Reads and checks it.
    pub(super) fn read(area: &Area<'_>) -> Result<Self, FilesystemError> {
        let mut block = Vec::new();
        let byte = area.read(0, &mut block)?;
        let fields = Fields::new(&block, Object::Journal, byte);
        let fields = Fields::new(fields.slice(0, LENGTH)?, Object::Journal, byte);
        let magic = fields.be32(0)?;
        if magic != MAGIC {
            return Err(fields.corrupt(format!("the journal's superblock begins with {magic:#010x} in place of {MAGIC:#010x}")));
        }
        let version = fields.be32(4)?;
        if version != VERSION_1 && version != VERSION_2 {
            return Err(fields.corrupt(format!("the journal's superblock has the block type {version}")));
        }
        parse(&fields, area, version == VERSION_2)
    }
}

fn parse(fields: &Fields<'_>, area: &Area<'_>, has_features: bool) -> Result<JournalSuperblock, FilesystemError> {
    let feature = |offset| if has_features { fields.be32(offset) } else { Ok(0) };
    let (compat, incompat, read_only) = (feature(0x24)?, feature(0x28)?, feature(0x2c)?);
    refuse_unknown("I", incompat & !incompat::KNOWN)?;
    refuse_unknown("R", read_only)?;
    let checksums = checksums(fields, compat, incompat)?;
    if checksums.in_blocks() {
        verify(fields)?;
    }
    let block_bytes = fields.be32(0x0c)?;
    if u64::from(block_bytes) != area.block_bytes() as u64 {
        return Err(
            fields.corrupt(format!("the journal has blocks of {block_bytes} bytes, the filesystem of {}", area.block_bytes()))
        );
    }
    let (ring, fast) = ranges(fields, area, incompat & incompat::FAST_COMMIT != 0)?;
    Ok(JournalSuperblock {
        start: start(fields, &ring)?,
        ring,
        fast,
        sequence: fields.be32(0x18)?,
        error_recorded: fields.be32(0x20)? != 0,
        checksums,
        wide: incompat & incompat::BITS_64 != 0,
        async_commit: incompat & incompat::ASYNC_COMMIT != 0,
        seed: crc32c(CRC32C_START, fields.slice(0x30, 16)?),
    })
}

/// Refuses features by the names that dumpe2fs gives to those it has no word for.
fn refuse_unknown(group: &str, bits: u32) -> Result<(), FilesystemError> {
    if bits == 0 {
        return Ok(());
    }
    let names: Vec<String> = (0..32).filter(|bit| bits & (1 << bit) != 0).map(|bit| format!("FEATURE_{group}{bit}")).collect();
    Err(FilesystemError::Unsupported { object: Object::Journal, feature: format!("the journal feature {}", names.join(", ")) })
}

fn checksums(fields: &Fields<'_>, compat: u32, incompat: u32) -> Result<Checksums, FilesystemError> {
    let has = |bit| incompat & bit != 0;
    match (compat & compat::CHECKSUM != 0, has(incompat::CSUM_V2), has(incompat::CSUM_V3)) {
        (false, false, false) => Ok(Checksums::None),
        (true, false, false) => Ok(Checksums::Transaction),
        (false, true, false) => Ok(Checksums::V2),
        (false, false, true) => Ok(Checksums::V3),
        _ => Err(fields.corrupt("the journal's superblock asks for two kinds of checksums at once")),
    }
}

fn verify(fields: &Fields<'_>) -> Result<(), FilesystemError> {
    let kind = fields.u8(0x50)?;
    if kind != CHECKSUM_TYPE_CRC32C {
        return Err(FilesystemError::Unsupported { object: Object::Journal, feature: format!("the checksum type {kind}") });
    }
    let stored = fields.be32(CHECKSUM_AT)?;
    if !sums_agree(Some(stored), crc32c_without(CRC32C_START, fields.bytes(), CHECKSUM_AT)) {
        return Err(fields.corrupt("the checksum of the journal's superblock does not match"));
    }
    Ok(())
}

/// The ring of transactions, and the fast commits behind it. The kernel leaves one block between them unused.
fn ranges(fields: &Fields<'_>, area: &Area<'_>, has_fast: bool) -> Result<(Range<u64>, Range<u64>), FilesystemError> {
    let (length, first) = (u64::from(fields.be32(0x10)?), u64::from(fields.be32(0x14)?));
    if length > area.length() {
        return Err(fields.corrupt(format!("the journal claims {length} blocks, but its file has {}", area.length())));
    }
    let fast_blocks = match (has_fast, fields.be32(0x54)?) {
        (false, _) => 0,
        (true, 0) => u64::from(FAST_BLOCKS),
        (true, count) => u64::from(count),
    };
    let last = length.saturating_sub(fast_blocks);
    if first == 0 || first >= last {
        return Err(fields
            .corrupt(format!("a log from block {first} leaves no room in {length} blocks with {fast_blocks} for fast commits")));
    }
    let fast = if has_fast { (last + 1).min(length)..length } else { length..length };
    Ok((first..last, fast))
}

fn start(fields: &Fields<'_>, ring: &Range<u64>) -> Result<Option<u64>, FilesystemError> {
    let start = u64::from(fields.be32(0x1c)?);
    if start != 0 && !ring.contains(&start) {
        let what = format!("the log begins at block {start}, outside of its blocks {} to {}", ring.start, ring.end);
        return Err(fields.corrupt(what));
    }
    Ok((start != 0).then_some(start))
}
