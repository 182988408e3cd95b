//! What is known and what is to be done, in a temporary table: its size is bounded by the disk, its memory by a cache.

use rusqlite::types::Type;
use rusqlite::{Connection, Error, OptionalExtension, Row, ToSql, params};

use crate::filesystem::file_tree::TreeRecord;

/// What the table holds in memory; the rest is in a nameless file.
const CACHE_KIBIBYTES: i64 = 32 << 10;
/// Rows of work taken at once.
const WORK_ROWS: i64 = 256;

const TABLES: &str = "
CREATE TABLE directory (number INTEGER PRIMARY KEY, parent INTEGER NOT NULL, name BLOB NOT NULL);
CREATE TABLE waiting (id INTEGER PRIMARY KEY, number INTEGER NOT NULL, known INTEGER NOT NULL);
CREATE TABLE known (
    inode INTEGER NOT NULL, device INTEGER NOT NULL, number INTEGER NOT NULL, record BLOB, PRIMARY KEY (inode, device, number)
) WITHOUT ROWID;
CREATE TABLE node (number INTEGER PRIMARY KEY, record BLOB NOT NULL);
CREATE TABLE work (
    id INTEGER PRIMARY KEY, directory INTEGER NOT NULL, number INTEGER NOT NULL, name BLOB NOT NULL, size INTEGER NOT NULL,
    links INTEGER NOT NULL, old BLOB);
CREATE TABLE rewrite (place INTEGER PRIMARY KEY, work INTEGER NOT NULL);
CREATE TABLE entry (name BLOB PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE appendix (number INTEGER NOT NULL, part INTEGER NOT NULL, bytes BLOB NOT NULL, PRIMARY KEY (number, part)) WITHOUT ROWID;
";

/// The table.
#[derive(Debug)]
pub(super) struct Ledger {
    connection: Connection,
}

/// A file whose content is to be read.
#[derive(Debug, Clone)]
pub(super) struct Work {
    pub(super) id: i64,
    pub(super) directory: u64,
    pub(super) number: u64,
    pub(super) name: Vec<u8>,
    /// As the walk found it.
    pub(super) size: u64,
    pub(super) links: u32,
    /// What the earlier tree has of it.
    pub(super) old: Option<TreeRecord>,
}

/// One answer to the question which inode this is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    pub(super) number: u64,
    pub(super) device: u64,
    /// Its record in the earlier tree; without one it was found in this run.
    pub(super) record: Option<TreeRecord>,
}

type Rows<T> = Result<Vec<T>, Error>;

impl Ledger {
    pub(super) fn new() -> Result<Self, Error> {
        // An empty path is a file without a name, which is gone when this process is.
        let connection = Connection::open("")?;
        connection.execute_batch(&format!(
            "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -{CACHE_KIBIBYTES}; {TABLES} BEGIN;"
        ))?;
        connection.set_prepared_statement_cache_capacity(64);
        Ok(Self { connection })
    }

    fn run(&self, statement: &str, values: &[&dyn ToSql]) -> Result<(), Error> {
        self.connection.prepare_cached(statement)?.execute(values).map(drop)
    }

    fn one<T>(
        &self,
        question: &str,
        values: &[&dyn ToSql],
        read: impl FnOnce(&Row<'_>) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        self.connection.prepare_cached(question)?.query_row(values, read).optional()
    }

    fn all<T>(&self, question: &str, values: &[&dyn ToSql], read: impl FnMut(&Row<'_>) -> Result<T, Error>) -> Rows<T> {
        self.connection.prepare_cached(question)?.query_map(values, read)?.collect()
    }

    /// Where a directory lies.
    pub(super) fn add_directory(&self, number: u64, parent: u64, name: &[u8]) -> Result<(), Error> {
        self.run("INSERT INTO directory VALUES (?1, ?2, ?3)", params![cast(number), cast(parent), name])
    }

    /// Parent and name of a directory.
    pub(super) fn directory(&self, number: u64) -> Result<Option<(u64, Vec<u8>)>, Error> {
        let select = "SELECT parent, name FROM directory WHERE number = ?1";
        self.one(select, params![cast(number)], |row| Ok((number_at(row, 0)?, row.get(1)?)))
    }

    /// A directory that is to be listed; `known` if the earlier tree has it.
    pub(super) fn push_waiting(&self, number: u64, known: bool) -> Result<(), Error> {
        self.run("INSERT INTO waiting (number, known) VALUES (?1, ?2)", params![cast(number), known])
    }

    /// The one that was pushed last.
    pub(super) fn pop_waiting(&self) -> Result<Option<(u64, bool)>, Error> {
        let select = "SELECT id, number, known FROM waiting ORDER BY id DESC LIMIT 1";
        let Some((id, number, known)) =
            self.one(select, &[], |row| Ok((row.get::<_, i64>(0)?, number_at(row, 1)?, row.get(2)?)))?
        else {
            return Ok(None);
        };
        self.run("DELETE FROM waiting WHERE id = ?1", params![id])?;
        Ok(Some((number, known)))
    }

    /// An inode that can be met again: one of the earlier tree, a directory, or a file of several names.
    pub(super) fn add_known(&self, inode: u64, device: u64, number: u64, record: Option<&TreeRecord>) -> Result<(), Error> {
        let record = record.map(TreeRecord::encode);
        self.run("INSERT OR IGNORE INTO known VALUES (?1, ?2, ?3, ?4)", params![cast(inode), cast(device), cast(number), record])
    }

    /// All that have this inode number on any device.
    pub(super) fn candidates(&self, inode: u64) -> Rows<Candidate> {
        self.all("SELECT number, device, record FROM known WHERE inode = ?1 ORDER BY number", params![cast(inode)], |row| {
            Ok(Candidate { number: number_at(row, 0)?, device: number_at(row, 1)?, record: record_at(row, 2)? })
        })
    }

    /// A new or changed record.
    pub(super) fn put_node(&self, number: u64, record: &TreeRecord) -> Result<(), Error> {
        self.run("INSERT OR REPLACE INTO node VALUES (?1, ?2)", params![cast(number), record.encode()])
    }

    pub(super) fn node(&self, number: u64) -> Result<Option<TreeRecord>, Error> {
        Ok(self.one("SELECT record FROM node WHERE number = ?1", params![cast(number)], |row| record_at(row, 0))?.flatten())
    }

    /// Nodes from `number` on, a few at a time.
    pub(super) fn nodes_from(&self, number: u64) -> Rows<(u64, TreeRecord)> {
        let select = "SELECT number, record FROM node WHERE number >= ?1 ORDER BY number LIMIT 1024";
        let rows = self.all(select, params![cast(number)], |row| Ok((number_at(row, 0)?, record_at(row, 1)?)))?;
        Ok(rows.into_iter().filter_map(|(number, record)| Some((number, record?))).collect())
    }

    /// A file to be read; at the place where it lies, or at the end of everything.
    pub(super) fn add_work(&self, work: &Work, rewrite: Option<u64>) -> Result<(), Error> {
        let old = work.old.as_ref().map(TreeRecord::encode);
        let values = params![cast(work.directory), cast(work.number), work.name, cast(work.size), work.links, old];
        self.run("INSERT INTO work (directory, number, name, size, links, old) VALUES (?1, ?2, ?3, ?4, ?5, ?6)", values)?;
        match rewrite {
            Some(place) => self
                .run("INSERT OR REPLACE INTO rewrite VALUES (?1, ?2)", params![cast(place), self.connection.last_insert_rowid()]),
            None => Ok(()),
        }
    }

    /// Files that are written over their own places, ascending by place, from behind `place` on.
    pub(super) fn rewrites_after(&self, place: u64) -> Rows<(u64, Work)> {
        let select =
            "SELECT work.id, directory, number, name, size, links, old, place FROM rewrite JOIN work ON work.id = rewrite.work
            WHERE place > ?1 ORDER BY place LIMIT ?2";
        self.all(select, params![cast(place), WORK_ROWS], |row| Ok((number_at(row, 7)?, work_at(row)?)))
    }

    /// The others in the order of the walk, from behind `id` on.
    pub(super) fn work_after(&self, id: i64) -> Rows<Work> {
        let select = "SELECT id, directory, number, name, size, links, old FROM work
            WHERE id > ?1 AND NOT EXISTS (SELECT 1 FROM rewrite WHERE rewrite.work = work.id) ORDER BY id LIMIT ?2";
        self.all(select, params![id, WORK_ROWS], work_at)
    }

    /// Directory and name of a file that was to be read.
    pub(super) fn name_of_work(&self, id: i64) -> Result<(u64, Vec<u8>), Error> {
        let select = "SELECT directory, name FROM work WHERE id = ?1";
        Ok(self.one(select, params![id], |row| Ok((number_at(row, 0)?, row.get(1)?)))?.unwrap_or_default())
    }

    /// A file that was to be written over its place goes to the end instead.
    pub(super) fn give_up_rewrite(&self, place: u64) -> Result<(), Error> {
        self.run("DELETE FROM rewrite WHERE place = ?1", params![cast(place)])
    }

    /// Bytes that are to be read.
    pub(super) fn work_bytes(&self) -> Result<u64, Error> {
        let sum = self.one("SELECT coalesce(sum(CAST(size AS REAL)), 0.0) FROM work", &[], |row| row.get::<_, f64>(0))?;
        // A sum for a progress bar.
        Ok(sum.unwrap_or_default() as u64)
    }

    /// Names of the one directory that is being listed.
    pub(super) fn add_entry(&self, name: &[u8], number: u64) -> Result<(), Error> {
        self.run("INSERT OR IGNORE INTO entry VALUES (?1, ?2)", params![name, cast(number)])
    }

    /// These names from behind `name` on, ascending, a few at a time.
    pub(super) fn entries_after(&self, name: &[u8]) -> Rows<(Vec<u8>, u64)> {
        let select = "SELECT name, number FROM entry WHERE name > ?1 ORDER BY name LIMIT 4096";
        self.all(select, params![name], |row| Ok((row.get(0)?, number_at(row, 1)?)))
    }

    pub(super) fn clear_entries(&self) -> Result<(), Error> {
        self.run("DELETE FROM entry", &[])
    }

    /// A part of an appendix that needs a place.
    pub(super) fn add_appendix(&self, number: u64, part: u64, bytes: &[u8]) -> Result<(), Error> {
        self.run("INSERT OR REPLACE INTO appendix VALUES (?1, ?2, ?3)", params![cast(number), cast(part), bytes])
    }

    pub(super) fn appendix_part(&self, number: u64, part: u64) -> Result<Option<Vec<u8>>, Error> {
        self.one("SELECT bytes FROM appendix WHERE number = ?1 AND part = ?2", params![cast(number), cast(part)], |row| row.get(0))
    }

    pub(super) fn remove_appendix(&self, number: u64) -> Result<(), Error> {
        self.run("DELETE FROM appendix WHERE number = ?1", params![cast(number)])
    }

    /// Inodes from `number` on whose appendices need places.
    pub(super) fn appendices_from(&self, number: u64) -> Rows<u64> {
        let select = "SELECT number FROM appendix WHERE number >= ?1 AND part = 0 ORDER BY number LIMIT 1024";
        self.all(select, params![cast(number)], |row| number_at(row, 0))
    }
}

/// Numbers beyond the middle are negative in a table, and come back.
fn cast(number: u64) -> i64 {
    number.cast_signed()
}

fn number_at(row: &Row<'_>, column: usize) -> Result<u64, Error> {
    row.get::<_, i64>(column).map(i64::cast_unsigned)
}

fn record_at(row: &Row<'_>, column: usize) -> Result<Option<TreeRecord>, Error> {
    let bytes: Option<Vec<u8>> = row.get(column)?;
    let Some(bytes) = bytes else { return Ok(None) };
    // What was put is what was encoded.
    TreeRecord::parse(&bytes).map_err(|_| Error::InvalidColumnType(column, "record".to_owned(), Type::Blob))
}

fn work_at(row: &Row<'_>) -> Result<Work, Error> {
    Ok(Work {
        id: row.get(0)?,
        directory: number_at(row, 1)?,
        number: number_at(row, 2)?,
        name: row.get(3)?,
        size: number_at(row, 4)?,
        links: row.get(5)?,
        old: record_at(row, 6)?,
    })
}
