//! A directory block: entries and free pieces, one after the other.
//!
//! ```text
//!   header | entry: inode 8, length 1, name, [kind 1], padding, own offset 2 | free: ffff, length 2, ... | [index, its tail 8]
//! ```

use std::ops::ControlFlow;

use super::record::piece;
use super::{Visit, entry, show};
use crate::filesystem::error::FilesystemError;
use crate::filesystem::fields::Fields;
use crate::filesystem::xfs::fork::Fork;
use crate::filesystem::xfs::geometry::Geometry;
use crate::filesystem::xfs::seal::DIRECTORY;

const HEADER_BYTES_4: usize = 16;
pub(in crate::filesystem::xfs) const HEADER_BYTES_5: usize = 64;
/// In a directory of a single block the index stands at its end: an entry of it, and its counters.
pub(super) const INDEX_ENTRY_BYTES: usize = 8;
pub(in crate::filesystem::xfs) const INDEX_TAIL_BYTES: usize = 8;

/// Shows the names in directory block `number`, which lies at byte `at`.
pub(super) fn list(
    fork: &Fork<'_>,
    number: u64,
    at: u64,
    bytes: &[u8],
    visit: &mut Visit<'_>,
) -> Result<ControlFlow<()>, FilesystemError> {
    let fields = Fields::new(bytes, fork.object(), at);
    let (mut offset, end) = check(fork.geometry(), &fields, Some(number), at, fork.inode())?;
    while offset < end {
        let (record, length) = piece(&fields, offset, end, fork.geometry().file_type)?;
        if let Some(record) = record
            && show(entry(fork, record.name, record.inode)?, visit).is_break()
        {
            return Ok(ControlFlow::Break(()));
        }
        offset += length;
    }
    Ok(ControlFlow::Continue(()))
}

/// Checks a block of the directory `owner`, and says where its entries begin and end. Without a `number` it may be any block of it.
pub(in crate::filesystem::xfs) fn check(
    geometry: &Geometry,
    fields: &Fields<'_>,
    number: Option<u64>,
    at: u64,
    owner: u64,
) -> Result<(usize, usize), FilesystemError> {
    let is_single = is_single(geometry, fields, number)?;
    DIRECTORY.check(fields, geometry, at, owner)?;
    entries(geometry, fields, is_single)
}

/// The same for a block that was not written in place, and of which nobody computed the checksum.
pub(in crate::filesystem::xfs) fn check_unsealed(
    geometry: &Geometry,
    fields: &Fields<'_>,
    at: u64,
    owner: u64,
) -> Result<(usize, usize), FilesystemError> {
    let is_single = is_single(geometry, fields, None)?;
    DIRECTORY.check_identity(fields, geometry, at, owner)?;
    entries(geometry, fields, is_single)
}

/// True for the only block of a directory, false for one of several.
fn is_single(geometry: &Geometry, fields: &Fields<'_>, number: Option<u64>) -> Result<bool, FilesystemError> {
    let (single, plain) = magics(geometry);
    let magic = fields.slice(0, 4)?;
    let is_single = magic == single && number.is_none_or(|number| number == 0);
    if is_single || magic == plain { Ok(is_single) } else { Err(fields.corrupt("no directory block")) }
}

/// Where the entries of a block begin and end.
fn entries(geometry: &Geometry, fields: &Fields<'_>, is_single: bool) -> Result<(usize, usize), FilesystemError> {
    let start = if geometry.crc { HEADER_BYTES_5 } else { HEADER_BYTES_4 };
    if !is_single {
        return Ok((start, fields.length()));
    }
    let tail = fields.length().saturating_sub(INDEX_TAIL_BYTES);
    let index_bytes = usize::try_from(fields.be32(tail)?).unwrap_or(usize::MAX).saturating_mul(INDEX_ENTRY_BYTES);
    let end = tail.checked_sub(index_bytes).ok_or_else(|| fields.corrupt("its index is longer than the block"))?;
    Ok((start, end))
}

/// What the only block of a directory begins with, and what one of several does.
pub(in crate::filesystem::xfs) fn magics(geometry: &Geometry) -> (&'static [u8], &'static [u8]) {
    if geometry.crc { (b"XDB3", b"XDD3") } else { (b"XD2B", b"XD2D") }
}
