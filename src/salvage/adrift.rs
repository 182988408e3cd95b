//! The last steps to a tree: names that cannot all be true go, and what no name leads to from the root is put into `lost+found`.

use rusqlite::params;

use super::error::SalvageError;
use super::evidence::NameProof;
use super::finds::{Finds, NewInode};
use super::guess;
use super::numbers::{LOST_AND_FOUND, block_of};
use crate::filesystem::{InodeNumber, Proof, Wreck};

/// The name that file system checkers use as well.
pub(super) const NAME: &[u8] = b"lost+found";
/// Loops of directories that are cut. Each takes a lie on disk.
const MAX_LOOPS: usize = 1000;
/// Files and directories without a name that are held at once.
const BATCH: i64 = 64 << 10;

/// Makes a tree of what was found.
pub(super) fn settle(wreck: &dyn Wreck, finds: &Finds) -> Result<(), SalvageError> {
    let root = wreck.root().0;
    // Without a root of its own, the tree has one that is made up.
    finds.add_inode(made_up(root))?;
    trim(finds)?;
    drop_empty(finds, root)?;
    cut_loops(finds, root)?;
    let home = lost_and_found(finds, root)?;
    name_adrift(wreck, finds, root, home)
}

fn made_up(number: u64) -> NewInode {
    NewInode { number, directory: true, links: 2, proof: Proof::Plausible, in_use: None, made_up: true }
}

/// An inode has no more names than links, a directory one; the weakest go. Names with a proof all stay: then it is the number of links
/// that is wrong. So do those that stand in their places without one, but one of them may have been meant for another inode.
fn trim(finds: &Finds) -> Result<(), SalvageError> {
    let question = "SELECT inode.number, CASE WHEN inode.directory THEN 1 ELSE inode.links END AS room FROM name
        JOIN inode ON inode.number = name.inode GROUP BY inode.number HAVING count(*) > room";
    let crowded = finds.all(question, &[], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))?;
    for (number, room) in crowded {
        let names = strongest_first(finds, number)?;
        let count = names.len();
        for name in names.into_iter().skip(usize::try_from(room).unwrap_or(0)) {
            if name.is_directory || name.proof > NameProof::InPlace {
                finds.run("DELETE FROM name WHERE directory = ? AND name = ?", params![name.directory, name.name])?;
            } else if name.proof > NameProof::Checksum {
                finds.doubt(number.cast_unsigned(), &format!("{count} names lead to it, and it counts {room}"))?;
            }
        }
    }
    Ok(())
}

/// A name of an inode that has too many.
struct Rival {
    directory: i64,
    name: Vec<u8>,
    proof: NameProof,
    is_directory: bool,
}

fn strongest_first(finds: &Finds, number: i64) -> Result<Vec<Rival>, SalvageError> {
    let question = "SELECT name.directory, name.name, name.proof, inode.directory FROM name
        JOIN inode ON inode.number = name.inode LEFT JOIN parent ON parent.directory = name.inode WHERE name.inode = ?
        ORDER BY name.proof, parent.parent IS NOT name.directory, name.directory, name.name";
    Ok(finds.all(question, params![number], |row| {
        Ok(Rival { directory: row.get(0)?, name: row.get(1)?, proof: NameProof::numbered(row.get(2)?), is_directory: row.get(3)? })
    })?)
}

/// Directories that were made up for names that did not hold are not there.
fn drop_empty(finds: &Finds, root: u64) -> Result<(), SalvageError> {
    let empty = "made_up AND past IS NULL AND number <> ? AND NOT EXISTS (SELECT 1 FROM name WHERE name.directory = number)";
    loop {
        let root = params![root.cast_signed()];
        finds.run(&format!("DELETE FROM name WHERE inode IN (SELECT number FROM inode WHERE {empty})"), root)?;
        if finds.run(&format!("DELETE FROM inode WHERE {empty}"), root)? == 0 {
            return Ok(());
        }
    }
}

/// Directories that only lead to each other hang in the air: one name of each such loop goes.
fn cut_loops(finds: &Finds, root: u64) -> Result<(), SalvageError> {
    finds.run("CREATE TABLE reached (number INTEGER PRIMARY KEY)", &[])?;
    reach(finds, "SELECT number FROM inode WHERE number = ?1", root)?;
    let unnamed = "SELECT number FROM inode WHERE directory AND number <> ?1
        AND NOT EXISTS (SELECT 1 FROM name WHERE name.inode = number)";
    reach(finds, unnamed, root)?;
    for _loop in 0..MAX_LOOPS {
        let question = "SELECT number FROM inode WHERE directory AND number NOT IN (SELECT number FROM reached) LIMIT 1";
        let Some(number) = finds.one(question, &[], |row| row.get::<_, i64>(0))? else { return Ok(()) };
        finds.run("DELETE FROM name WHERE inode = ?", params![number])?;
        finds.doubt(number.cast_unsigned(), "it is said to lie inside itself")?;
        reach(finds, "SELECT ?1", number.cast_unsigned())?;
    }
    Ok(())
}

/// Marks all directories that `from` leads to.
fn reach(finds: &Finds, from: &str, value: u64) -> Result<(), SalvageError> {
    let statement = format!(
        "INSERT OR IGNORE INTO reached WITH RECURSIVE below(number) AS ({from} UNION
            SELECT name.inode FROM below JOIN name ON name.directory = below.number
            JOIN inode ON inode.number = name.inode WHERE inode.directory) SELECT number FROM below"
    );
    finds.run(&statement, params![value.cast_signed()])?;
    Ok(())
}

/// The directory for what has no name: the volume's own, or one that is made up.
fn lost_and_found(finds: &Finds, root: u64) -> Result<u64, SalvageError> {
    let question = "SELECT name.inode FROM name JOIN inode ON inode.number = name.inode
        WHERE name.directory = ? AND name.name = ? AND inode.directory";
    let own = finds.one(question, params![root.cast_signed(), NAME], |row| row.get::<_, i64>(0))?;
    Ok(own.map_or(LOST_AND_FOUND, i64::cast_unsigned))
}

/// Calls what has no name by its number. What is free, or lies where others lie, was deleted long ago.
fn name_adrift(wreck: &dyn Wreck, finds: &Finds, root: u64, home: u64) -> Result<(), SalvageError> {
    let mut after = i64::MIN;
    loop {
        let adrift = adrift(finds, root, after)?;
        let Some((last, _)) = adrift.last() else { return Ok(()) };
        after = last.cast_signed();
        if home == LOST_AND_FOUND {
            finds.add_inode(made_up(home))?;
            finds.add_name(root, NAME, home, NameProof::None)?;
        }
        for (number, is_directory) in adrift.into_iter().filter(|(number, _)| *number != home) {
            let ending = if is_directory { "" } else { ending(wreck, number) };
            let name = match block_of(number) {
                Some(at) => format!("#block-{at}"),
                None => format!("#{number}{ending}"),
            };
            finds.add_name(home, name.as_bytes(), number, NameProof::None)?;
        }
    }
}

/// The next of those without a name: number, and whether it is a directory.
fn adrift(finds: &Finds, root: u64, after: i64) -> Result<Vec<(u64, bool)>, SalvageError> {
    let question = "SELECT number, directory FROM inode WHERE number > ? AND number <> ? AND in_use IS NOT 0
        AND (doubt IS NULL OR in_use = 1 OR directory) AND NOT EXISTS (SELECT 1 FROM name WHERE name.inode = number)
        ORDER BY number LIMIT ?";
    Ok(finds.all(question, params![after, root.cast_signed(), BATCH], |row| {
        Ok((row.get::<_, i64>(0)?.cast_unsigned(), row.get::<_, bool>(1)?))
    })?)
}

fn ending(wreck: &dyn Wreck, number: u64) -> &'static str {
    let number = InodeNumber(number);
    match wreck.inode(number).ok().or_else(|| wreck.older(number)) {
        Some(inode) => guess::ending(wreck, &inode),
        None => "",
    }
}
