//! Directories: names in the inode itself, or in blocks below the index that speeds up lookups, which is not needed to list them.

use std::ops::ControlFlow;

use super::fork::Fork;
use crate::filesystem::error::FilesystemError;
use crate::filesystem::face::Entry;
use crate::filesystem::inode::InodeNumber;

pub(super) mod block;
pub(super) mod index;
pub(super) mod record;
pub(super) mod short;

/// Bytes of a directory from which on the index lies: entries are below.
pub(super) const INDEX_BYTES: u64 = 32 << 30;
/// Directory blocks whose places are looked up at once.
pub(super) const WINDOW: u64 = 1024;

/// Receives names; whoever breaks has seen enough.
type Visit<'a> = dyn FnMut(Entry) -> ControlFlow<()> + 'a;

/// Shows all names of the directory in `fork`, which is `size` bytes long.
pub(super) fn list(fork: &Fork<'_>, size: u64, visit: &mut Visit<'_>) -> Result<(), FilesystemError> {
    if let Some(fields) = fork.local() {
        return short::list(fork, &fields, size, visit).map(|_done| ());
    }
    let bytes = u64::from(fork.geometry().directory_bytes());
    if size > INDEX_BYTES || !size.is_multiple_of(bytes) {
        return Err(fork.corrupt(format!("a directory of {size} bytes")));
    }
    let count = size / bytes;
    for first in (0..count).step_by(usize::try_from(WINDOW).unwrap_or(usize::MAX)) {
        if window(fork, first, (first + WINDOW).min(count), visit)?.is_break() {
            break;
        }
    }
    Ok(())
}

/// Shows the names in the directory blocks from `first` up to `end`. Blocks that were given back leave holes.
fn window(fork: &Fork<'_>, first: u64, end: u64, visit: &mut Visit<'_>) -> Result<ControlFlow<()>, FilesystemError> {
    let log = fork.geometry().directory_log - fork.geometry().block_log;
    let runs = fork.runs(first << log, (end - first) << log)?;
    let mut next = first;
    for run in &runs {
        let last = (run.end().div_ceil(1 << log)).min(end);
        for number in (run.file_block >> log).max(next)..last {
            let Some((at, bytes)) = fork.gather(&runs, number << log, 1 << log)? else { continue };
            if block::list(fork, number, at, &bytes, visit)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        next = next.max(last);
    }
    Ok(ControlFlow::Continue(()))
}

/// An entry, unless it is `.` or `..`; refused if it cannot be one.
fn entry(fork: &Fork<'_>, name: &[u8], number: u64) -> Result<Option<Entry>, FilesystemError> {
    if name == b"." || name == b".." {
        return Ok(None);
    }
    if name.is_empty() || name.iter().any(|byte| matches!(byte, 0 | b'/')) {
        return Err(fork.corrupt("a name is empty, or holds a NUL or a slash"));
    }
    if fork.geometry().inode(number).is_none() {
        return Err(fork.corrupt(format!("a name leads to inode {number}, which cannot be")));
    }
    Ok(Some(Entry { name: name.to_vec(), inode: InodeNumber(number) }))
}

/// Shows a name, unless there is nothing to show.
fn show(entry: Option<Entry>, visit: &mut Visit<'_>) -> ControlFlow<()> {
    entry.map_or(ControlFlow::Continue(()), visit)
}
