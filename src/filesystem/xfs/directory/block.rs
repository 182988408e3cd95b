//! A directory block: entries and free pieces, one after the other.
//!
//! ```text
//!   header | entry: inode 8, length 1, name, [kind 1], padding, own offset 2 | free: ffff, length 2, ... | [index, its tail 8]
//! ```

use std::ops::ControlFlow;

use super::{Visit, entry, show};
use crate::filesystem::error::FilesystemError;
use crate::filesystem::fields::Fields;
use crate::filesystem::xfs::fork::Fork;
use crate::filesystem::xfs::seal::DIRECTORY;

const HEADER_BYTES_4: usize = 16;
const HEADER_BYTES_5: usize = 64;
/// Stands where an entry would have its inode number.
const FREE_TAG: u16 = 0xffff;
/// Everything is a multiple of this.
const UNIT_BYTES: usize = 8;
/// In a directory of a single block the index stands at its end: an entry of it, and its counters.
const INDEX_ENTRY_BYTES: usize = 8;
const INDEX_TAIL_BYTES: usize = 8;

/// Shows the names in directory block `number`, which lies at byte `at`.
pub(super) fn list(
    fork: &Fork<'_>,
    number: u64,
    at: u64,
    bytes: &[u8],
    visit: &mut Visit<'_>,
) -> Result<ControlFlow<()>, FilesystemError> {
    let fields = Fields::new(bytes, fork.object(), at);
    let end = check(fork, &fields, number, at)?;
    let mut offset = if fork.geometry().crc { HEADER_BYTES_5 } else { HEADER_BYTES_4 };
    while offset < end {
        let length = if fields.be16(offset)? == FREE_TAG {
            usize::from(fields.be16(offset + 2)?)
        } else {
            let (name, length) = used(fork, &fields, offset)?;
            if show(entry(fork, name, fields.be64(offset)?)?, visit).is_break() {
                return Ok(ControlFlow::Break(()));
            }
            length
        };
        check_piece(&fields, offset, length, end)?;
        offset += length;
    }
    Ok(ControlFlow::Continue(()))
}

/// The name of an entry, and the bytes that the entry takes.
fn used<'a>(fork: &Fork<'_>, fields: &Fields<'a>, offset: usize) -> Result<(&'a [u8], usize), FilesystemError> {
    let name_bytes = usize::from(fields.u8(offset + 8)?);
    let kind_bytes = usize::from(fork.geometry().file_type);
    let length = (8 + 1 + name_bytes + kind_bytes + 2).next_multiple_of(UNIT_BYTES);
    Ok((fields.slice(offset + 9, name_bytes)?, length))
}

/// Each piece ends with its own offset, and the next begins behind it.
fn check_piece(fields: &Fields<'_>, offset: usize, length: usize, end: usize) -> Result<(), FilesystemError> {
    let fits = length >= UNIT_BYTES && length.is_multiple_of(UNIT_BYTES) && offset + length <= end;
    if fits && usize::from(fields.be16(offset + length - 2)?) == offset {
        return Ok(());
    }
    Err(fields.corrupt(format!("what stands at its byte {offset} is neither an entry nor free")))
}

/// Checks the block, and says where its entries end.
fn check(fork: &Fork<'_>, fields: &Fields<'_>, number: u64, at: u64) -> Result<usize, FilesystemError> {
    let crc = fork.geometry().crc;
    let (single, plain): (&[u8], &[u8]) = if crc { (b"XDB3", b"XDD3") } else { (b"XD2B", b"XD2D") };
    let magic = fields.slice(0, 4)?;
    let is_single = magic == single && number == 0;
    if !is_single && magic != plain {
        return Err(fields.corrupt("no directory block"));
    }
    DIRECTORY.check(fields, fork.geometry(), at, fork.inode())?;
    if !is_single {
        return Ok(fields.length());
    }
    let tail = fields.length().saturating_sub(INDEX_TAIL_BYTES);
    let index_bytes = usize::try_from(fields.be32(tail)?).unwrap_or(usize::MAX).saturating_mul(INDEX_ENTRY_BYTES);
    tail.checked_sub(index_bytes).ok_or_else(|| fields.corrupt("its index is longer than the block"))
}
