//! The local index: every version of every name and inode of all catalogs, for searching. A copy that may be lost at any time.
//!
//! ```text
//!   name   text                                    each once, with a trigram index
//!   link   volume, inode, parent, name, first..last    a name leads to an inode in these points of a volume
//!   inode  volume, inode, first..last, attributes      an inode looks so in these points
//! ```
//! Points of a volume are numbered in the order in which they came. What does not change has one row, however many points hold it.

mod compare;
mod fill;
mod letters;
mod names;
mod paths;
mod pattern;
mod schema;
mod search;

use std::fs::{self, DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::error::CatalogError;

pub use compare::{Change, Difference};
pub use fill::{Filled, Unusable};
pub use pattern::Pattern;
pub use search::{Found, Query, Version, Which};

/// The name of the index below the folder of its repository.
const FILE: &str = "catalog.sqlite";

/// An open index.
#[derive(Debug)]
pub struct Index {
    connection: Connection,
    path: PathBuf,
    /// It had to be made anew.
    pub rebuilt: Option<String>,
}

impl Index {
    /// Opens the index in `folder`, which is made if it is missing. One that is damaged or of another version is made anew.
    pub fn open(folder: &Path) -> Result<Self, CatalogError> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let path = folder.join(FILE);
        let is_new = !path.exists();
        // SQLite takes over the mode of the file for what it puts beside it.
        OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path)?;
        match schema::open(&path) {
            Ok(connection) => Ok(Self { connection, path, rebuilt: None }),
            Err(error) => {
                let reason = if is_new { None } else { Some(error.to_string()) };
                remove(&path)?;
                OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
                let connection = schema::create(&path).map_err(CatalogError::index(&path))?;
                Ok(Self { connection, path, rebuilt: reason })
            }
        }
    }

    /// Throws the index away and begins an empty one.
    pub fn anew(folder: &Path) -> Result<Self, CatalogError> {
        remove(&folder.join(FILE))?;
        Self::open(folder)
    }

    /// Bytes that it takes on disk.
    pub fn size(&self) -> Result<u64, CatalogError> {
        self.connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").map_err(CatalogError::index(&self.path))?;
        Ok(fs::metadata(&self.path)?.len())
    }

    fn failed(&self) -> impl Fn(rusqlite::Error) -> CatalogError + use<> {
        CatalogError::index(&self.path)
    }
}

fn remove(path: &Path) -> Result<(), CatalogError> {
    for suffix in ["", "-wal", "-shm", "-journal"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        match fs::remove_file(&name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}
