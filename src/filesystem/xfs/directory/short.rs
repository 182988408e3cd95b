//! A directory that fits its inode: a header, then names with inode numbers of four or eight bytes.

use std::ops::ControlFlow;

use super::record::Record;
use super::{Visit, entry, show};
use crate::filesystem::error::FilesystemError;
use crate::filesystem::fields::Fields;
use crate::filesystem::xfs::fork::Fork;

/// The length of a name, and where it would stand in a block.
const ENTRY_HEADER_BYTES: usize = 3;
/// The number of names, and how many of them lead to numbers of eight bytes.
const COUNTS_BYTES: usize = 2;

/// Shows the names in the first `size` bytes of a fork.
pub(super) fn list(
    fork: &Fork<'_>,
    fields: &Fields<'_>,
    size: u64,
    visit: &mut Visit<'_>,
) -> Result<ControlFlow<()>, FilesystemError> {
    each(fork, fields, size, &mut |record| Ok(show(entry(fork, record.name, record.inode)?, visit)))
}

/// The directory that holds this one.
pub(in crate::filesystem::xfs) fn parent(fields: &Fields<'_>) -> Result<u64, FilesystemError> {
    number(fields, COUNTS_BYTES, number_bytes(fields)?)
}

/// Shows the entries in the first `size` bytes of a fork.
pub(in crate::filesystem::xfs) fn each(
    fork: &Fork<'_>,
    fields: &Fields<'_>,
    size: u64,
    visit: &mut dyn FnMut(Record<'_>) -> Result<ControlFlow<()>, FilesystemError>,
) -> Result<ControlFlow<()>, FilesystemError> {
    let bytes = fields.slice(0, usize::try_from(size).unwrap_or(usize::MAX))?;
    let fields = Fields::new(bytes, fork.object(), fork.at());
    let number_bytes = number_bytes(&fields)?;
    let mut at = COUNTS_BYTES + number_bytes;
    for _ in 0..fields.u8(0)? {
        let record = record(fork, &fields, at, number_bytes).map_err(|_short| fork.corrupt("its names reach past its end"))?;
        let kind_bytes = usize::from(fork.geometry().file_type);
        at += ENTRY_HEADER_BYTES + record.name.len() + kind_bytes + number_bytes;
        if visit(record)?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}

fn record<'a>(fork: &Fork<'_>, fields: &Fields<'a>, at: usize, number_bytes: usize) -> Result<Record<'a>, FilesystemError> {
    let name = fields.slice(at + ENTRY_HEADER_BYTES, usize::from(fields.u8(at)?))?;
    let behind = at + ENTRY_HEADER_BYTES + name.len();
    let kind = if fork.geometry().file_type { Some(fields.u8(behind)?) } else { None };
    Ok(Record { inode: number(fields, behind + usize::from(kind.is_some()), number_bytes)?, name, kind })
}

fn number_bytes(fields: &Fields<'_>) -> Result<usize, FilesystemError> {
    Ok(if fields.u8(1)? > 0 { 8 } else { 4 })
}

fn number(fields: &Fields<'_>, at: usize, bytes: usize) -> Result<u64, FilesystemError> {
    if bytes == 8 { fields.be64(at) } else { fields.be32(at).map(u64::from) }
}
