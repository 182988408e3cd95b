//! Paths out of the parents that were valid in one point.

use std::collections::HashMap;
use std::rc::Rc;

use rusqlite::{Connection, OptionalExtension, params};

use super::names::to_name;

/// No path is deeper. A damaged catalog could go in circles.
const MAX_DEPTH: usize = 1024;
/// Paths of directories at hand.
const KNOWN_PATHS: usize = 1 << 16;

/// Finds paths in the points of one index.
pub(super) struct Paths<'c> {
    connection: &'c Connection,
    /// Volume, point and directory.
    known: HashMap<(i64, i64, i64), Rc<[u8]>>,
}

impl<'c> Paths<'c> {
    pub(super) fn new(connection: &'c Connection) -> Self {
        Self { connection, known: HashMap::new() }
    }

    /// The path of `name` in directory `parent`, beginning with a slash. Where no way leads to the root it begins with `?`.
    pub(super) fn path(&mut self, volume: i64, sequence: i64, parent: i64, name: &[u8]) -> Result<Vec<u8>, rusqlite::Error> {
        let directory = self.directory(volume, sequence, parent)?;
        let mut path = directory.to_vec();
        if !name.is_empty() {
            path.push(b'/');
            path.extend_from_slice(name);
        }
        Ok(if path.is_empty() { b"/".to_vec() } else { path })
    }

    /// The path of a directory, without the slash at the end: nothing for the root.
    fn directory(&mut self, volume: i64, sequence: i64, number: i64) -> Result<Rc<[u8]>, rusqlite::Error> {
        let mut missing = Vec::new();
        let mut at = number;
        let mut path = loop {
            if let Some(known) = self.known.get(&(volume, sequence, at)) {
                break known.to_vec();
            }
            match self.up(volume, sequence, at)? {
                Some((parent, _)) if parent == at => break Vec::new(),
                Some((parent, name)) if missing.len() < MAX_DEPTH => {
                    missing.push((at, name));
                    at = parent;
                }
                _ => break b"?".to_vec(),
            }
        };
        while let Some((directory, name)) = missing.pop() {
            path.push(b'/');
            path.extend_from_slice(&name);
            if self.known.len() >= KNOWN_PATHS {
                self.known.clear();
            }
            self.known.insert((volume, sequence, directory), path.as_slice().into());
        }
        Ok(path.into())
    }

    fn up(&self, volume: i64, sequence: i64, inode: i64) -> Result<Option<(i64, Vec<u8>)>, rusqlite::Error> {
        let select = "SELECT link.parent, name.text FROM link JOIN name ON name.id = link.name
                      WHERE volume = ?1 AND inode = ?2 AND first <= ?3 AND last >= ?3 LIMIT 1";
        let mut statement = self.connection.prepare_cached(select)?;
        let row =
            statement.query_row(params![volume, inode, sequence], |row| Ok((row.get(0)?, row.get_ref(1)?.as_str()?.to_owned())));
        Ok(row.optional()?.map(|(parent, name)| (parent, to_name(&name))))
    }

    /// The inode that a path leads to in one point.
    pub(super) fn resolve(&self, volume: i64, sequence: i64, root: i64, path: &[u8]) -> Result<Option<i64>, rusqlite::Error> {
        let mut at = root;
        for name in path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
            let select = "SELECT inode FROM link WHERE name = (SELECT id FROM name WHERE text = ?1)
                          AND volume = ?2 AND parent = ?3 AND first <= ?4 AND last >= ?4 AND inode <> parent LIMIT 1";
            let text = super::names::to_text(name);
            let mut statement = self.connection.prepare_cached(select)?;
            match statement.query_row(params![text, volume, at, sequence], |row| row.get(0)).optional()? {
                Some(next) => at = next,
                None => return Ok(None),
            }
        }
        Ok(Some(at))
    }
}
