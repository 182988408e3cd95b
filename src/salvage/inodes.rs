//! Every inode that a scan finds, with the names and the map that belong to it.

use std::ops::ControlFlow;

use rusqlite::params;

use super::claims;
use super::error::SalvageError;
use super::evidence::NameProof;
use super::finds::{Finds, NewInode};
use crate::base::cancel::Cancel;
use crate::filesystem::{FilesystemError, FoundEntry, FoundInode, Inode, InodeNumber, Object, Proof, Scanned, Wreck};

/// Rounds in which older copies lead to names, and these to more lost inodes.
const MAX_ROUNDS: usize = 64;

/// Notes everything that a scan finds.
pub(super) fn scan(wreck: &dyn Wreck, finds: &Finds, cancel: &Cancel) -> Result<(), SalvageError> {
    let mut failed = None;
    wreck.scan(0, &mut |scanned| {
        let added = if cancel.is_cancelled() { Err(SalvageError::Cancelled) } else { add_scanned(wreck, finds, scanned) };
        stop_on(added, &mut failed)
    })?;
    failed.map_or(Ok(()), Err)
}

/// Keeps the first failure, and ends with it.
pub(super) fn stop_on(result: Result<(), SalvageError>, failed: &mut Option<SalvageError>) -> ControlFlow<()> {
    match result {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => {
            failed.get_or_insert(error);
            ControlFlow::Break(())
        }
    }
}

fn add_scanned(wreck: &dyn Wreck, finds: &Finds, scanned: Scanned) -> Result<(), SalvageError> {
    match scanned {
        Scanned::Inode(FoundInode { inode, proof, in_use }) => add(wreck, finds, &inode, proof, in_use),
        Scanned::Lost { inodes, error } => {
            let (first, after) = (inodes.start.cast_signed(), inodes.end.cast_signed());
            finds.run("INSERT OR REPLACE INTO lost VALUES (?, ?, ?)", params![first, after, error.to_string()])?;
            Ok(())
        }
    }
}

fn add(wreck: &dyn Wreck, finds: &Finds, inode: &Inode, proof: Proof, in_use: Option<bool>) -> Result<(), SalvageError> {
    let number = inode.number.0;
    let (directory, links) = (inode.is_directory(), inode.links);
    finds.add_inode(NewInode { number, directory, links, proof, in_use, made_up: false })?;
    claims::add(wreck, finds, inode, proof)?;
    if directory { add_names(wreck, finds, inode, proof) } else { Ok(()) }
}

fn add_names(wreck: &dyn Wreck, finds: &Finds, directory: &Inode, proof: Proof) -> Result<(), SalvageError> {
    let number = directory.number.0;
    if let Some(key) = wreck.directory_key(directory) {
        finds.run("INSERT OR IGNORE INTO key VALUES (?, ?)", params![key.cast_signed(), number.cast_signed()])?;
    }
    let mut failed = None;
    wreck.names(directory, &mut |entry| {
        let added = match entry {
            FoundEntry::Name(name) => finds.add_name(number, &name.name, name.inode.0, NameProof::of(proof)).map(|_new| ()),
            FoundEntry::Parent(parent) => add_parent(finds, number, parent.0),
            FoundEntry::Lost(error) => note_broken(finds, number, &error),
        };
        stop_on(added.map_err(SalvageError::from), &mut failed)
    });
    failed.map_or(Ok(()), Err)
}

/// Notes which directory holds another. The first word stands.
pub(super) fn add_parent(finds: &Finds, directory: u64, parent: u64) -> Result<(), rusqlite::Error> {
    let statement = "INSERT OR IGNORE INTO parent VALUES (?, ?)";
    finds.run(statement, params![directory.cast_signed(), parent.cast_signed()]).map(|_rows| ())
}

fn note_broken(finds: &Finds, directory: u64, error: &FilesystemError) -> Result<(), rusqlite::Error> {
    let at = match error {
        FilesystemError::Corrupt { at, .. } => Some(at.cast_signed()),
        _ => None,
    };
    finds.break_directory(directory)?;
    finds.run("INSERT INTO broken VALUES (?, ?, ?)", params![directory.cast_signed(), at, error.to_string()]).map(|_rows| ())
}

/// Puts older copies in place of the root and of inodes that are lost although a directory names them.
pub(super) fn add_older(wreck: &dyn Wreck, finds: &Finds, cancel: &Cancel) -> Result<(), SalvageError> {
    let root = wreck.root();
    if finds.inode(root.0)?.is_none() {
        add_older_one(wreck, finds, root)?;
    }
    for _round in 0..MAX_ROUNDS {
        let mut added = 0;
        for number in missing(finds)? {
            if cancel.is_cancelled() {
                return Err(SalvageError::Cancelled);
            }
            added += u64::from(add_older_one(wreck, finds, InodeNumber(number))?);
        }
        if added == 0 {
            return Ok(());
        }
    }
    Ok(())
}

fn add_older_one(wreck: &dyn Wreck, finds: &Finds, number: InodeNumber) -> Result<bool, SalvageError> {
    if wreck.was_freed(number) {
        return Ok(false);
    }
    let Some(inode) = wreck.older(number) else { return Ok(false) };
    add(wreck, finds, &inode, Proof::OlderCopy, None)?;
    Ok(true)
}

/// Inodes that a directory names and no scan found.
fn missing(finds: &Finds) -> Result<Vec<u64>, SalvageError> {
    const MOST: i64 = 1 << 20;
    let question = "SELECT DISTINCT inode FROM name WHERE NOT EXISTS (SELECT 1 FROM inode WHERE number = name.inode) LIMIT ?";
    Ok(finds.all(question, params![MOST], |row| row.get::<_, i64>(0).map(i64::cast_unsigned))?)
}

/// Takes from what was read with a turned bit the proof that a checksum is. Gives back what was mended, in words.
pub(super) fn note_mended(wreck: &dyn Wreck, finds: &Finds) -> Result<Vec<String>, SalvageError> {
    let mended = wreck.mended();
    for error in &mended {
        let (FilesystemError::Corrupt { object, .. } | FilesystemError::Lost { object, .. }) = error else { continue };
        if let Object::Inode(number) | Object::Map(number) | Object::Directory(number) | Object::Link(number) = object {
            let values = params![Proof::Mended as i64, number.cast_signed(), Proof::Checksum as i64];
            finds.run("UPDATE inode SET proof = ? WHERE number = ? AND proof = ?", values)?;
        }
    }
    Ok(mended.iter().map(ToString::to_string).collect())
}
