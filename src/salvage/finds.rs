//! What was found, in a temporary table: its size is bounded by the disk, its memory by a cache.

use std::cell::Cell;

use rusqlite::{Connection, Error, OptionalExtension, Row, ToSql, params};

use super::evidence::NameProof;
use crate::filesystem::Proof;

/// What the table holds in memory; the rest is in a nameless file.
const CACHE_KIBIBYTES: i64 = 48 << 10;

const TABLES: &str = "
CREATE TABLE inode (
    number INTEGER PRIMARY KEY, directory INTEGER NOT NULL, links INTEGER NOT NULL, proof INTEGER NOT NULL, in_use INTEGER,
    made_up INTEGER NOT NULL DEFAULT 0, whole INTEGER NOT NULL DEFAULT 1, missing INTEGER NOT NULL DEFAULT 0, past INTEGER, doubt TEXT);
CREATE TABLE name (
    directory INTEGER NOT NULL, name BLOB NOT NULL, inode INTEGER NOT NULL, proof INTEGER NOT NULL, wanted INTEGER NOT NULL,
    PRIMARY KEY (directory, name)) WITHOUT ROWID;
CREATE INDEX name_by_inode ON name (inode);
CREATE TABLE lost (first INTEGER PRIMARY KEY, after INTEGER NOT NULL, reason TEXT NOT NULL);
CREATE TABLE broken (directory INTEGER NOT NULL, at INTEGER, what TEXT NOT NULL);
CREATE INDEX broken_at ON broken (at);
CREATE TABLE parent (directory INTEGER PRIMARY KEY, parent INTEGER NOT NULL);
CREATE TABLE claim (first INTEGER NOT NULL, after INTEGER NOT NULL, inode INTEGER NOT NULL, shares INTEGER NOT NULL);
CREATE TABLE stray (
    at INTEGER PRIMARY KEY, directory INTEGER, key INTEGER, proof INTEGER NOT NULL, older INTEGER NOT NULL);
CREATE TABLE stray_name (
    at INTEGER NOT NULL, name BLOB NOT NULL, inode INTEGER NOT NULL, directory INTEGER, PRIMARY KEY (at, name)) WITHOUT ROWID;
CREATE TABLE key (key INTEGER PRIMARY KEY, directory INTEGER NOT NULL);
";

/// The table. Numbers are those of inodes; whoever asks knows their tags.
#[derive(Debug)]
pub(super) struct Finds {
    connection: Connection,
    /// How many selections are in force, one within the other: names that are wanted less are hidden.
    selections: Cell<i64>,
}

/// What is known of an inode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) directory: bool,
    pub(super) links: u32,
    pub(super) proof: Proof,
    /// It stands in for one that is lost.
    pub(super) made_up: bool,
    /// Nothing of its names is lost.
    pub(super) whole: bool,
    pub(super) missing_bytes: u64,
    /// The earlier point that it is taken from.
    pub(super) past: Option<usize>,
    pub(super) doubt: Option<String>,
}

impl Found {
    /// What is known of an inode that no table holds.
    pub(super) fn unknown() -> Self {
        let (directory, made_up, whole) = (false, false, true);
        Self { directory, links: 1, proof: Proof::Plausible, made_up, whole, missing_bytes: 0, past: None, doubt: None }
    }
}

/// A new row for an inode.
#[derive(Debug, Clone, Copy)]
pub(super) struct NewInode {
    pub(super) number: u64,
    pub(super) directory: bool,
    pub(super) links: u32,
    pub(super) proof: Proof,
    pub(super) in_use: Option<bool>,
    pub(super) made_up: bool,
}

impl Finds {
    /// An empty table.
    pub(super) fn new() -> Result<Self, Error> {
        // An empty path is a file without a name, which is gone when this process is.
        let connection = Connection::open("")?;
        connection.execute_batch(&format!(
            "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -{CACHE_KIBIBYTES}; {TABLES} BEGIN;"
        ))?;
        connection.set_prepared_statement_cache_capacity(64);
        Ok(Self { connection, selections: Cell::new(0) })
    }

    /// Runs a statement.
    pub(super) fn run(&self, statement: &str, values: &[&dyn ToSql]) -> Result<usize, Error> {
        self.connection.prepare_cached(statement)?.execute(values)
    }

    /// The first row of an answer.
    pub(super) fn one<T>(
        &self,
        question: &str,
        values: &[&dyn ToSql],
        read: impl FnOnce(&Row<'_>) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        self.connection.prepare_cached(question)?.query_row(values, read).optional()
    }

    /// Every row of an answer. The caller bounds how many there are.
    pub(super) fn all<T>(
        &self,
        question: &str,
        values: &[&dyn ToSql],
        read: impl FnMut(&Row<'_>) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        self.connection.prepare_cached(question)?.query_map(values, read)?.collect()
    }

    /// Every number of an answer, one after the other, however many there are.
    pub(super) fn each(&self, question: &str, visit: &mut dyn FnMut(&Row<'_>) -> Result<(), Error>) -> Result<(), Error> {
        let mut statement = self.connection.prepare(question)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            visit(row)?;
        }
        Ok(())
    }

    /// How many rows answer.
    pub(super) fn count(&self, question: &str) -> Result<u64, Error> {
        Ok(self.one(question, &[], |row| row.get::<_, i64>(0))?.unwrap_or(0).cast_unsigned())
    }

    /// Adds an inode, unless it is known.
    pub(super) fn add_inode(&self, new: NewInode) -> Result<(), Error> {
        let statement = "INSERT OR IGNORE INTO inode (number, directory, links, proof, in_use, made_up) VALUES (?, ?, ?, ?, ?, ?)";
        let NewInode { number, directory, links, proof, in_use, made_up } = new;
        self.run(statement, params![number.cast_signed(), directory, links, proof as i64, in_use, made_up])?;
        Ok(())
    }

    /// What is known of an inode.
    pub(super) fn inode(&self, number: u64) -> Result<Option<Found>, Error> {
        let question = "SELECT directory, links, proof, made_up, whole, missing, past, doubt FROM inode WHERE number = ?";
        self.one(question, params![number.cast_signed()], |row| {
            Ok(Found {
                directory: row.get(0)?,
                links: row.get(1)?,
                proof: numbered(row.get(2)?),
                made_up: row.get(3)?,
                whole: row.get(4)?,
                missing_bytes: row.get::<_, i64>(5)?.cast_unsigned(),
                past: row.get::<_, Option<u32>>(6)?.map(|index| index as usize),
                doubt: row.get(7)?,
            })
        })
    }

    /// Adds a name, unless the directory has it already. True if it is new.
    pub(super) fn add_name(&self, directory: u64, name: &[u8], inode: u64, proof: NameProof) -> Result<bool, Error> {
        let statement = "INSERT OR IGNORE INTO name (directory, name, inode, proof, wanted) VALUES (?, ?, ?, ?, ?)";
        let values = params![directory.cast_signed(), name, inode.cast_signed(), proof.number(), self.selections.get()];
        Ok(self.run(statement, values)? > 0)
    }

    /// Up to `most` names of a directory that are shown, and their inodes, in the order of their bytes after `after`.
    pub(super) fn names(&self, directory: u64, after: &[u8], most: i64) -> Result<Vec<(Vec<u8>, u64)>, Error> {
        let question = "SELECT name, inode FROM name WHERE directory = ? AND name > ? AND wanted >= ? ORDER BY name LIMIT ?";
        self.all(question, params![directory.cast_signed(), after, self.selections.get(), most], |row| {
            Ok((row.get(0)?, row.get::<_, i64>(1)?.cast_unsigned()))
        })
    }

    /// Marks a shown name for the selection that is being made.
    pub(super) fn want(&self, directory: u64, name: &[u8]) -> Result<(), Error> {
        let shown = self.selections.get();
        let statement = "UPDATE name SET wanted = ? WHERE directory = ? AND name = ? AND wanted = ?";
        self.run(statement, params![shown + 1, directory.cast_signed(), name, shown])?;
        Ok(())
    }

    /// Hides every name that the selection being made does not want.
    pub(super) fn begin_selection(&self) {
        self.selections.set(self.selections.get() + 1);
    }

    /// Shows again what the last selection hid.
    pub(super) fn end_selection(&self) -> Result<(), Error> {
        let before = self.selections.get() - 1;
        self.run("UPDATE name SET wanted = ? WHERE wanted > ?", params![before, before])?;
        self.selections.set(before);
        Ok(())
    }

    /// What vouches best for a name of an inode.
    pub(super) fn best_name(&self, inode: u64) -> Result<NameProof, Error> {
        let best = self
            .one("SELECT min(proof) FROM name WHERE inode = ?", params![inode.cast_signed()], |row| row.get::<_, Option<i64>>(0))?;
        Ok(best.flatten().map_or(NameProof::None, NameProof::numbered))
    }

    /// Notes what contradicts an inode. The first doubt stays.
    pub(super) fn doubt(&self, number: u64, why: &str) -> Result<(), Error> {
        self.run("UPDATE inode SET doubt = ? WHERE number = ? AND doubt IS NULL", params![why, number.cast_signed()])?;
        Ok(())
    }

    /// Notes that names of a directory are lost.
    pub(super) fn break_directory(&self, number: u64) -> Result<(), Error> {
        self.run("UPDATE inode SET whole = 0 WHERE number = ?", params![number.cast_signed()])?;
        Ok(())
    }

    /// Why an inode cannot be read, if a scan said so.
    pub(super) fn loss(&self, number: u64) -> Result<Option<String>, Error> {
        let question = "SELECT after, reason FROM lost WHERE first <= ? ORDER BY first DESC LIMIT 1";
        let found =
            self.one(question, params![number.cast_signed()], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?)))?;
        Ok(found.filter(|(after, _)| number.cast_signed() < *after).map(|(_, reason)| reason))
    }
}

fn numbered(proof: i64) -> Proof {
    match proof {
        0 => Proof::Checksum,
        1 => Proof::Mended,
        2 => Proof::Plausible,
        _ => Proof::OlderCopy,
    }
}
