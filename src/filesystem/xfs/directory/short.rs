//! A directory that fits its inode: a header, then names with inode numbers of four or eight bytes.

use std::ops::ControlFlow;

use super::{Visit, entry, show};
use crate::filesystem::error::FilesystemError;
use crate::filesystem::fields::Fields;
use crate::filesystem::xfs::fork::Fork;

/// The length of a name, and where it would stand in a block.
const ENTRY_HEADER_BYTES: usize = 3;

/// Shows the names in the first `size` bytes of a fork.
pub(super) fn list(
    fork: &Fork<'_>,
    fields: &Fields<'_>,
    size: u64,
    visit: &mut Visit<'_>,
) -> Result<ControlFlow<()>, FilesystemError> {
    let bytes = fields.slice(0, usize::try_from(size).unwrap_or(usize::MAX))?;
    let fields = Fields::new(bytes, fork.object(), fork.at());
    let number_bytes = if fields.u8(1)? > 0 { 8 } else { 4 };
    let mut at = 2 + number_bytes;
    for _ in 0..fields.u8(0)? {
        let name_bytes = usize::from(fields.u8(at)?);
        let name = slice(fork, &fields, at + ENTRY_HEADER_BYTES, name_bytes)?;
        let kind_bytes = usize::from(fork.geometry().file_type);
        let number_at = at + ENTRY_HEADER_BYTES + name_bytes + kind_bytes;
        let number = if number_bytes == 8 { fields.be64(number_at) } else { fields.be32(number_at).map(u64::from) };
        let number = number.map_err(|_short| outside(fork))?;
        if show(entry(fork, name, number)?, visit).is_break() {
            return Ok(ControlFlow::Break(()));
        }
        at = number_at + number_bytes;
    }
    Ok(ControlFlow::Continue(()))
}

fn slice<'a>(fork: &Fork<'_>, fields: &Fields<'a>, at: usize, length: usize) -> Result<&'a [u8], FilesystemError> {
    fields.slice(at, length).map_err(|_short| outside(fork))
}

fn outside(fork: &Fork<'_>) -> FilesystemError {
    fork.corrupt("its names reach past its end")
}
