//! Blocks that hold nothing but a long attribute value or a long link target.

use super::fork::Fork;
use super::seal::REMOTE;
use crate::filesystem::error::FilesystemError;
use crate::filesystem::fields::Fields;

/// In front of the bytes, in version 5.
const HEADER_BYTES: usize = 56;

/// How many bytes of content fit a piece of `length` bytes.
pub(super) fn room(fork: &Fork<'_>, length: usize) -> usize {
    if fork.geometry().crc { length.saturating_sub(HEADER_BYTES) } else { length }
}

/// What a piece that lies at byte `at` adds to the bytes that came before it, of `wanted` in all.
pub(super) fn append(
    fork: &Fork<'_>,
    magic: &[u8],
    (at, piece): (u64, &[u8]),
    wanted: usize,
    content: &mut Vec<u8>,
) -> Result<(), FilesystemError> {
    let fields = Fields::new(piece, fork.object(), at);
    let length = room(fork, piece.len()).min(wanted.saturating_sub(content.len()));
    if !fork.geometry().crc {
        content.extend_from_slice(fields.slice(0, length)?);
        return Ok(());
    }
    if fields.slice(0, 4)? != magic {
        return Err(fields.corrupt(format!("no {} block", String::from_utf8_lossy(magic))));
    }
    REMOTE.check(&fields, fork.geometry(), at, fork.inode())?;
    let (offset, stored) = (fields.be32(4)? as usize, fields.be32(8)? as usize);
    if (offset, stored) != (content.len(), length) {
        return Err(fields.corrupt(format!("it holds {stored} bytes from {offset}, where {length} from {} belong", content.len())));
    }
    content.extend_from_slice(fields.slice(HEADER_BYTES, length)?);
    Ok(())
}
