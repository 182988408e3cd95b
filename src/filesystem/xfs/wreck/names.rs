//! What a directory holds, around every block of it that cannot be read, and every stretch of its map that is lost.

use std::ops::ControlFlow;

use crate::filesystem::error::{FilesystemError, Object};
use crate::filesystem::fields::Fields;
use crate::filesystem::inode::{Inode, InodeNumber};
use crate::filesystem::wreck::{FoundEntry, FoundName};
use crate::filesystem::xfs::Xfs;
use crate::filesystem::xfs::directory::record::{Record, around};
use crate::filesystem::xfs::directory::{INDEX_BYTES, WINDOW, block, short};
use crate::filesystem::xfs::fork::Fork;
use crate::filesystem::xfs::found::Found;
use crate::filesystem::xfs::seal::DIRECTORY;

/// Receives what is found; whoever breaks has seen enough.
type Visit<'a> = dyn FnMut(FoundEntry) -> ControlFlow<()> + 'a;

/// Shows what `directory` holds. What is broken is noted as well.
pub(super) fn show(xfs: &Xfs, directory: &Inode, visit: &mut Visit<'_>) {
    let visit = &mut |entry| {
        if let (FoundEntry::Lost(error), Some(salvage)) = (&entry, &xfs.salvage) {
            salvage.broken.note(directory.number.0, error);
        }
        visit(entry)
    };
    let _seen_enough = match xfs.data(directory, Object::Directory) {
        _ if !directory.is_directory() => ControlFlow::Continue(()),
        Err(error) => visit(FoundEntry::Lost(error)),
        Ok(fork) => match fork.local() {
            Some(fields) => in_inode(&fork, &fields, directory.size, visit),
            None => in_blocks(&fork, directory.size, visit),
        },
    };
}

/// A name, as others see it.
pub(super) fn found_name(record: &Record<'_>) -> FoundName {
    FoundName { name: record.name.to_vec(), inode: InodeNumber(record.inode), is_directory: record.is_directory() }
}

fn in_inode(fork: &Fork<'_>, fields: &Fields<'_>, size: u64, visit: &mut Visit<'_>) -> ControlFlow<()> {
    if let Ok(parent) = short::parent(fields)
        && fork.geometry().inode(parent).is_some()
    {
        visit(FoundEntry::Parent(InodeNumber(parent)))?;
    }
    let shown = short::each(fork, fields, size, &mut |record| {
        let is_possible = record.is_possible(fork.geometry());
        let impossible = || FoundEntry::Lost(fork.corrupt("a name in it cannot be one, or leads nowhere"));
        Ok(visit(if is_possible { FoundEntry::Name(found_name(&record)) } else { impossible() }))
    });
    shown.unwrap_or_else(|error| visit(FoundEntry::Lost(error)))
}

fn in_blocks(fork: &Fork<'_>, size: u64, visit: &mut Visit<'_>) -> ControlFlow<()> {
    let bytes = u64::from(fork.geometry().directory_bytes());
    if size > INDEX_BYTES || !size.is_multiple_of(bytes) {
        visit(FoundEntry::Lost(fork.corrupt(format!("a directory of {size} bytes"))))?;
    }
    let count = size.min(INDEX_BYTES).div_ceil(bytes);
    for first in (0..count).step_by(usize::try_from(WINDOW).unwrap_or(usize::MAX)) {
        window(fork, first, (first + WINDOW).min(count), visit)?;
    }
    ControlFlow::Continue(())
}

/// Shows the names in the directory blocks from `first` up to `end`.
fn window(fork: &Fork<'_>, first: u64, end: u64, visit: &mut Visit<'_>) -> ControlFlow<()> {
    let log = fork.geometry().directory_log - fork.geometry().block_log;
    let found = fork.runs_around(first << log, (end - first) << log);
    let mut next = first;
    for run in &found.runs {
        let last = run.end().div_ceil(1 << log).min(end);
        for number in (run.file_block >> log).max(next)..last {
            one_block(fork, &found, number, visit)?;
        }
        next = next.max(last);
    }
    // What began before the window was shown with the one before.
    let begins_here = |first_block: u64| first_block >= first << log || first == 0;
    for unmapped in found.lost.into_iter().filter(|unmapped| begins_here(unmapped.span.first)) {
        visit(FoundEntry::Lost(unmapped.error))?;
    }
    ControlFlow::Continue(())
}

fn one_block(fork: &Fork<'_>, found: &Found, number: u64, visit: &mut Visit<'_>) -> ControlFlow<()> {
    let log = fork.geometry().directory_log - fork.geometry().block_log;
    match fork.gather(&found.runs, number << log, 1 << log) {
        Ok(None) => ControlFlow::Continue(()),
        Ok(Some((at, mut bytes))) => {
            fork.mend(at, &DIRECTORY, &mut bytes);
            match entries(fork, number, at, &bytes, visit) {
                Ok(flow) => flow,
                Err(error) => visit(FoundEntry::Lost(error)),
            }
        }
        Err(error) => visit(FoundEntry::Lost(error)),
    }
}

fn entries(fork: &Fork<'_>, number: u64, at: u64, bytes: &[u8], visit: &mut Visit<'_>) -> Result<ControlFlow<()>, FilesystemError> {
    let fields = Fields::new(bytes, fork.object(), at);
    let within = block::check(fork.geometry(), &fields, Some(number), at, fork.inode())?;
    Ok(around(&fields, within, fork.geometry(), &mut |record| match record {
        Err(error) => visit(FoundEntry::Lost(error)),
        Ok(record) => match record.name {
            b".." if number == 0 => visit(FoundEntry::Parent(InodeNumber(record.inode))),
            b"." | b".." => ControlFlow::Continue(()),
            _ => visit(FoundEntry::Name(found_name(&record))),
        },
    }))
}
