//! The tables of the index, and its version.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, Error, OpenFlags};

/// Another number is another index, and made anew.
const VERSION: i64 = 2;

/// A row that still holds in the newest point.
pub(super) const OPEN: i64 = i64::MAX;

/// Another process fills the index for no longer than this at a time.
const PATIENCE: Duration = Duration::from_secs(60);

const TABLES: &str = "
CREATE TABLE volume (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, sequence INTEGER NOT NULL DEFAULT 0, state TEXT);
CREATE TABLE skipped (id TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE point (
    volume INTEGER NOT NULL, sequence INTEGER NOT NULL, id TEXT NOT NULL UNIQUE, left_out INTEGER NOT NULL, view INTEGER NOT NULL,
    PRIMARY KEY (volume, sequence)) WITHOUT ROWID;
CREATE TABLE name (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);
CREATE VIRTUAL TABLE name_search USING fts5(
    text, content='name', content_rowid='id', tokenize='trigram case_sensitive 1', detail=none, columnsize=0);
CREATE INDEX name_short ON name (text) WHERE length(text) < 3;
CREATE TABLE letter (text TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE inode (
    volume INTEGER NOT NULL, inode INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, data BLOB NOT NULL,
    PRIMARY KEY (volume, inode, first)) WITHOUT ROWID;
CREATE TABLE link (
    volume INTEGER NOT NULL, inode INTEGER NOT NULL, parent INTEGER NOT NULL, name INTEGER NOT NULL, first INTEGER NOT NULL,
    last INTEGER NOT NULL, further INTEGER NOT NULL, PRIMARY KEY (volume, inode, parent, name, first)) WITHOUT ROWID;
CREATE INDEX link_by_name ON link (name);
";

/// Opens an index of the present version, or says what it is instead.
pub(super) fn open(path: &Path) -> Result<Connection, Error> {
    let connection = connect(path)?;
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version != VERSION {
        return Err(Error::InvalidParameterName(format!("its version is {version} and should be {VERSION}")));
    }
    // A file that only begins well fails here.
    connection.query_row("SELECT count(*) FROM point", [], |row| row.get::<_, i64>(0))?;
    connection.query_row("SELECT count(*) FROM (SELECT 1 FROM link LIMIT 1)", [], |row| row.get::<_, i64>(0))?;
    Ok(connection)
}

/// Makes the tables in an empty file.
pub(super) fn create(path: &Path) -> Result<Connection, Error> {
    let connection = connect(path)?;
    connection.execute_batch(&format!("BEGIN; {TABLES} PRAGMA user_version = {VERSION}; COMMIT;"))?;
    Ok(connection)
}

fn connect(path: &Path) -> Result<Connection, Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(PATIENCE)?;
    // A copy that can be made again needs no waiting for the disk; the memory of one connection stays below 40 MiB.
    connection.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF; PRAGMA cache_size = -32768; PRAGMA temp_store = MEMORY;
         PRAGMA trusted_schema = OFF;",
    )?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}
