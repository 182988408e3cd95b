//! Directory blocks whose directories are lost: to which directory each belongs, and which of its names still hold.
//!
//! A block may say it itself, or share its directory's key. Otherwise the directories that it names say who their parent is. A block of
//! a directory that is whole was left behind by it, and its names with it.

use rusqlite::params;

use super::claims;
use super::error::SalvageError;
use super::evidence::NameProof;
use super::finds::{Finds, NewInode};
use super::inodes::{add_parent, stop_on};
use super::numbers::of_block;
use crate::base::cancel::Cancel;
use crate::base::progress::{Progress, Step};
use crate::filesystem::{InodeNumber, Proof, StrayBlock, Wreck};

/// Stray blocks that are sorted: a hundred MiB of rows, and gigabytes of directories.
const MOST_STRAYS: i64 = 1 << 21;

/// Says so when there are more stray blocks than are sorted.
pub(super) fn beyond_limit(finds: &Finds) -> Result<Option<String>, SalvageError> {
    let count = finds.count("SELECT count(*) FROM stray")?;
    let limit = MOST_STRAYS.cast_unsigned();
    Ok((count > limit).then(|| format!("names in {} of {count} stray directory blocks were not looked at", count - limit)))
}

/// True when a name may be missing that a stray block could have.
pub(super) fn are_wanted(finds: &Finds, root: u64) -> Result<bool, SalvageError> {
    let questions = [
        "SELECT count(*) FROM lost",
        "SELECT count(*) FROM inode WHERE whole = 0",
        "SELECT count(*) FROM (SELECT 1 FROM name WHERE NOT EXISTS (SELECT 1 FROM inode WHERE number = name.inode) LIMIT 1)",
    ];
    for question in questions {
        if finds.count(question)? > 0 {
            return Ok(true);
        }
    }
    let unnamed = "SELECT number FROM inode WHERE number <> ? AND in_use IS NOT 0
        AND NOT EXISTS (SELECT 1 FROM name WHERE name.inode = number) LIMIT 1";
    let unnamed = finds.one(unnamed, params![root.cast_signed()], |row| row.get::<_, i64>(0))?;
    Ok(unnamed.is_some() || finds.inode(root)?.is_none())
}

/// Looks for directory blocks where no file has its content.
pub(super) fn collect(wreck: &dyn Wreck, finds: &Finds, progress: &dyn Progress, cancel: &Cancel) -> Result<(), SalvageError> {
    claims::gaps(finds, wreck.volume().size(), &mut |gap| {
        let mut failed = None;
        wreck.strays(gap, &mut |block| {
            if cancel.is_cancelled() {
                return stop_on(Err(SalvageError::Cancelled), &mut failed);
            }
            stop_on(add(finds, &block, false).map_err(SalvageError::from), &mut failed)
        })?;
        progress.step(Step { done_bytes: gap.length, new_bytes: 0 });
        failed.map_or(Ok(()), Err)
    })?;
    let mut failed = None;
    // A block that is there in its place is younger than any copy.
    wreck.older_strays(&mut |block| stop_on(add(finds, &block, true).map_err(SalvageError::from), &mut failed));
    failed.map_or(Ok(()), Err)
}

fn add(finds: &Finds, block: &StrayBlock, older: bool) -> Result<(), rusqlite::Error> {
    let (at, directory, key) = (block.at.cast_signed(), block.directory.map(signed), block.key.map(u64::cast_signed));
    let values = params![at, directory, key, block.proof as i64, older];
    if finds.run("INSERT OR IGNORE INTO stray VALUES (?, ?, ?, ?, ?)", values)? == 0 {
        return Ok(());
    }
    if let (Some(directory), Some(parent)) = (block.directory, block.parent) {
        add_parent(finds, directory.0, parent.0)?;
    }
    for name in &block.names {
        let values = params![at, name.name, signed(name.inode), name.is_directory];
        finds.run("INSERT OR IGNORE INTO stray_name VALUES (?, ?, ?, ?)", values)?;
    }
    Ok(())
}

fn signed(number: InodeNumber) -> i64 {
    number.0.cast_signed()
}

/// A stray block, and what is known of it.
struct Stray {
    at: i64,
    directory: Option<u64>,
    key: Option<i64>,
    proven: bool,
    /// It does not stand in its place as it should.
    older: bool,
    /// What vouches for the names of such a block.
    weak: NameProof,
}

/// Gives each block its directory, and takes over its names.
pub(super) fn settle(wreck: &dyn Wreck, finds: &Finds) -> Result<(), SalvageError> {
    // A block that names its directory tells all blocks with its key.
    let learn = "INSERT OR IGNORE INTO key SELECT key, directory FROM stray WHERE key IS NOT NULL AND directory IS NOT NULL";
    finds.run(learn, &[])?;
    let mut homeless = Vec::new();
    make_up(wreck, finds)?;
    let (older, in_place): (Vec<Stray>, Vec<Stray>) = strays(finds)?.into_iter().partition(|stray| stray.older);
    for stray in in_place {
        match told(finds, &stray)? {
            Some((home, proof)) => take_in(wreck, finds, &stray, home, proof)?,
            None => homeless.push(stray),
        }
    }
    // What one block of a directory tells, it tells for all that share its key.
    for stray in &homeless {
        if let Some(home) = voted(finds, stray)? {
            share(finds, stray, home)?;
        }
    }
    for stray in homeless {
        share(finds, &stray, of_block(stray.at.cast_unsigned()))?;
        let home = told(finds, &stray)?.map(|(home, _)| home).or(voted(finds, &stray)?);
        let home = home.unwrap_or_else(|| of_block(stray.at.cast_unsigned()));
        take_in(wreck, finds, &stray, home, NameProof::Concluded)?;
    }
    // Older copies, and what is left of broken blocks, only fill what is still open: of the directory that has a broken block in their
    // place, or that they name.
    for stray in older {
        let home = broken_in_place(finds, &stray)?.or(told(finds, &stray)?.map(|(home, _)| home));
        if let Some(home) = home {
            take_in(wreck, finds, &stray, home, stray.weak)?;
        }
    }
    Ok(())
}

/// All stray blocks, as far as they are sorted; those that name their directory first.
fn strays(finds: &Finds) -> Result<Vec<Stray>, SalvageError> {
    let question = "SELECT at, directory, key, proof, older FROM stray ORDER BY directory IS NULL, at LIMIT ?";
    Ok(finds.all(question, params![MOST_STRAYS], |row| {
        let directory = row.get::<_, Option<i64>>(1)?.map(i64::cast_unsigned);
        let proof = row.get::<_, i64>(3)?;
        Ok(Stray {
            at: row.get(0)?,
            directory,
            key: row.get(2)?,
            proven: proof == Proof::Checksum as i64,
            older: row.get(4)?,
            weak: if proof == Proof::OlderCopy as i64 { NameProof::Older } else { NameProof::Concluded },
        })
    })?)
}

/// The directory that the block names, by number or by key.
fn told(finds: &Finds, stray: &Stray) -> Result<Option<(u64, NameProof)>, SalvageError> {
    let by_key = match stray.key {
        Some(key) => finds.one("SELECT directory FROM key WHERE key = ?", params![key], |row| row.get::<_, i64>(0))?,
        None => None,
    };
    let by_key = by_key.map(i64::cast_unsigned);
    let known = match by_key {
        Some(directory) => finds.inode(directory)?.is_some_and(|found| !found.made_up),
        None => false,
    };
    let proof = if stray.proven || known { NameProof::Checksum } else { NameProof::Concluded };
    Ok(stray.directory.or(by_key).map(|directory| (directory, proof)))
}

/// The directory of which a block is broken where this copy belongs.
fn broken_in_place(finds: &Finds, stray: &Stray) -> Result<Option<u64>, SalvageError> {
    let question = "SELECT directory FROM broken WHERE at = ? LIMIT 1";
    Ok(finds.one(question, params![stray.at], |row| row.get::<_, i64>(0))?.map(i64::cast_unsigned))
}

/// Notes the directory of all blocks with the key of this one, unless it is known.
fn share(finds: &Finds, stray: &Stray, home: u64) -> Result<(), SalvageError> {
    if let Some(key) = stray.key {
        finds.run("INSERT OR IGNORE INTO key VALUES (?, ?)", params![key, home.cast_signed()])?;
    }
    Ok(())
}

/// The directory that most of the directories in the block call their parent.
fn voted(finds: &Finds, stray: &Stray) -> Result<Option<u64>, SalvageError> {
    let question = "SELECT parent.parent FROM stray_name JOIN parent ON parent.directory = stray_name.inode
        WHERE stray_name.at = ? GROUP BY parent.parent ORDER BY count(*) DESC LIMIT 1";
    Ok(finds.one(question, params![stray.at], |row| row.get::<_, i64>(0))?.map(i64::cast_unsigned))
}

fn take_in(wreck: &dyn Wreck, finds: &Finds, stray: &Stray, home: u64, proof: NameProof) -> Result<(), SalvageError> {
    match finds.inode(home)? {
        Some(found) if !found.directory || (found.whole && !found.made_up) => return Ok(()),
        Some(_) => {}
        None if wreck.was_freed(InodeNumber(home)) => return Ok(()),
        None => {}
    }
    let question = "SELECT name, inode, directory FROM stray_name WHERE at = ?";
    let names = finds.all(question, params![stray.at], |row| {
        Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, i64>(1)?.cast_unsigned(), row.get::<_, Option<bool>>(2)?))
    })?;
    for (name, inode, is_directory) in names {
        if stray.older && !is_open(finds, inode)? {
            continue;
        }
        if holds(finds, inode, is_directory)? && finds.add_name(home, &name, inode, proof)? {
            let new = NewInode { number: home, directory: true, links: 2, proof: Proof::Plausible, in_use: None, made_up: true };
            finds.add_inode(new)?;
        }
    }
    Ok(())
}

/// True for an inode that has fewer names than links.
pub(super) fn is_open(finds: &Finds, inode: u64) -> Result<bool, SalvageError> {
    let links = finds.inode(inode)?.map_or(1, |found| if found.directory { 1 } else { i64::from(found.links) });
    let question = "SELECT count(*) FROM name WHERE inode = ?";
    let names = finds.one(question, params![inode.cast_signed()], |row| row.get::<_, i64>(0))?;
    Ok(names.unwrap_or(0) < links)
}

/// True when a name leads to something that is there, or that is known to be lost.
fn holds(finds: &Finds, inode: u64, is_directory: Option<bool>) -> Result<bool, SalvageError> {
    match finds.inode(inode)? {
        Some(found) => Ok(is_directory.is_none_or(|is_directory| is_directory == found.directory)),
        None => Ok(finds.loss(inode)?.is_some()),
    }
}

/// Makes directories of what strays call directories although their inodes are lost, so that what they hold has a place.
fn make_up(wreck: &dyn Wreck, finds: &Finds) -> Result<(), SalvageError> {
    let question = "SELECT DISTINCT directory FROM stray WHERE directory IS NOT NULL
        AND NOT EXISTS (SELECT 1 FROM inode WHERE number = stray.directory)";
    let mut failed = None;
    finds.each(question, &mut |row| {
        let number = row.get::<_, i64>(0)?.cast_unsigned();
        if failed.is_none() && !wreck.was_freed(InodeNumber(number)) {
            let new = NewInode { number, directory: true, links: 2, proof: Proof::Plausible, in_use: None, made_up: true };
            failed = finds.add_inode(new).err();
        }
        Ok(())
    })?;
    failed.map_or(Ok(()), |error| Err(error.into()))
}
