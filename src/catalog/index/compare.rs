//! Two points of one volume compared file by file.

use std::collections::{BTreeMap, HashMap, HashSet};

use rusqlite::{Connection, params};

use super::Index;
use super::paths::Paths;
use super::search::{LinkRow, timelines, versions};
use crate::catalog::error::CatalogError;
use crate::catalog::record::Record;

/// What became of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// Something else stands there, or its length, its time or its place on disk differ.
    Modified,
    /// Only owner, permissions or the like differ.
    Attributes,
    /// The same file had this path before.
    Renamed(Vec<u8>),
}

/// A path that is not the same in both points.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The path; the newer one, if it was renamed.
    pub path: Vec<u8>,
    /// What became of it.
    pub change: Change,
    /// How it was, unless it was not there.
    pub old: Option<Record>,
    /// How it is, unless it is not there.
    pub new: Option<Record>,
}

impl Index {
    /// What differs between two points, ordered by path. `None` unless both are in the index and of one volume.
    pub fn compare(&self, old: &str, new: &str) -> Result<Option<Vec<Difference>>, CatalogError> {
        compare(&self.connection, old, new).map_err(self.failed())
    }
}

fn compare(connection: &Connection, old: &str, new: &str) -> Result<Option<Vec<Difference>>, rusqlite::Error> {
    let found = timelines(connection)?.into_iter().find_map(|(volume, timeline)| {
        let sequence = |id: &str| timeline.points.iter().find(|(_, point)| point == id).map(|(sequence, _)| *sequence);
        Some((volume, sequence(old)?, sequence(new)?))
    });
    let Some((volume, old, new)) = found else { return Ok(None) };
    let mut comparison = Comparison { connection, volume, old, new, paths: Paths::new(connection), found: Vec::new() };
    comparison.run()?;
    comparison.found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(Some(comparison.found))
}

struct Comparison<'c> {
    connection: &'c Connection,
    volume: i64,
    old: i64,
    new: i64,
    paths: Paths<'c>,
    found: Vec<Difference>,
}

impl Comparison<'_> {
    fn run(&mut self) -> Result<(), rusqlite::Error> {
        let (old, new) = (self.links_of(self.old, self.new)?, self.links_of(self.new, self.old)?);
        let key = |link: &LinkRow| (link.inode, link.parent, link.name.clone());
        let both: HashSet<_> =
            old.iter().map(key).collect::<HashSet<_>>().intersection(&new.iter().map(key).collect()).cloned().collect();
        let mut gone = self.paths_of(old.into_iter().filter(|link| !both.contains(&key(link))), self.old)?;
        let come = self.paths_of(new.into_iter().filter(|link| !both.contains(&key(link))), self.new)?;
        let mut by_inode: HashMap<i64, Vec<Vec<u8>>> = HashMap::new();
        gone.iter().for_each(|(path, inode)| by_inode.entry(*inode).or_default().push(path.clone()));
        for (path, inode) in &come {
            let is = self.record(*inode, self.new)?;
            let stood_here = gone.remove(path);
            let (change, was) = match stood_here {
                Some(other) => (Change::Modified, self.record(other, self.old)?),
                None => self.origin(*inode, is.as_ref(), &mut gone, &mut by_inode)?,
            };
            self.found.push(Difference { path: path.clone(), change, old: was, new: is });
        }
        for (path, inode) in gone {
            let old = self.record(inode, self.old)?;
            self.found.push(Difference { path, change: Change::Removed, old, new: None });
        }
        self.changed_inodes(&come)
    }

    /// A new path is another name of before, if the same inode lost one.
    fn origin(
        &self,
        inode: i64,
        is: Option<&Record>,
        gone: &mut BTreeMap<Vec<u8>, i64>,
        by_inode: &mut HashMap<i64, Vec<Vec<u8>>>,
    ) -> Result<(Change, Option<Record>), rusqlite::Error> {
        let was = self.record(inode, self.old)?;
        let is_same = was.as_ref().zip(is).is_some_and(|(was, is)| was.generation == is.generation && was.kind == is.kind);
        let paths = by_inode.get_mut(&inode).filter(|_| is_same);
        let before = paths.and_then(|paths| paths.iter().position(|path| gone.contains_key(path)).map(|at| paths.swap_remove(at)));
        Ok(match before {
            Some(before) => {
                gone.remove(&before);
                (Change::Renamed(before), was)
            }
            None => (Change::Added, None),
        })
    }

    /// Paths that stayed and whose inodes did not.
    fn changed_inodes(&mut self, come: &BTreeMap<Vec<u8>, i64>) -> Result<(), rusqlite::Error> {
        let select = "SELECT DISTINCT inode FROM inode WHERE volume = ?1 AND first <= ?3 AND last >= ?3 AND NOT (first <= ?2 AND last >= ?2)";
        let mut statement = self.connection.prepare_cached(select)?;
        let rows = statement.query_map(params![self.volume, self.old, self.new], |row| row.get::<_, i64>(0))?;
        for inode in rows {
            let inode = inode?;
            let (Some(old), Some(new)) = (self.record(inode, self.old)?, self.record(inode, self.new)?) else { continue };
            let Some(change) = change(&old, &new) else { continue };
            for link in self.links_of_inode(inode)? {
                let path = self.paths.path(self.volume, self.new, link.parent, &link.name)?;
                if !come.contains_key(&path) {
                    self.found.push(Difference { path, change: change.clone(), old: Some(old.clone()), new: Some(new.clone()) });
                }
            }
        }
        Ok(())
    }

    /// Names that are in point `here` by another row than in point `there`.
    fn links_of(&self, here: i64, there: i64) -> Result<Vec<LinkRow>, rusqlite::Error> {
        let select = "SELECT l.volume, l.inode, l.parent, n.text, l.first, l.last FROM link l JOIN name n ON n.id = l.name
            WHERE l.volume = ?1 AND l.first <= ?2 AND l.last >= ?2 AND NOT (l.first <= ?3 AND l.last >= ?3)";
        let mut statement = self.connection.prepare_cached(select)?;
        statement.query_map(params![self.volume, here, there], LinkRow::read)?.collect()
    }

    fn links_of_inode(&self, inode: i64) -> Result<Vec<LinkRow>, rusqlite::Error> {
        let select = "SELECT l.volume, l.inode, l.parent, n.text, l.first, l.last FROM link l JOIN name n ON n.id = l.name
            WHERE l.volume = ?1 AND l.inode = ?2 AND l.first <= ?3 AND l.last >= ?3";
        let mut statement = self.connection.prepare_cached(select)?;
        statement.query_map(params![self.volume, inode, self.new], LinkRow::read)?.collect()
    }

    fn paths_of(&mut self, links: impl Iterator<Item = LinkRow>, sequence: i64) -> Result<BTreeMap<Vec<u8>, i64>, rusqlite::Error> {
        links.map(|link| Ok((self.paths.path(self.volume, sequence, link.parent, &link.name)?, link.inode))).collect()
    }

    fn record(&self, inode: i64, sequence: i64) -> Result<Option<Record>, rusqlite::Error> {
        let mut found = versions(self.connection, self.volume, inode, sequence, sequence)?;
        Ok(found.pop().map(|(_, _, record)| record))
    }
}

/// How an inode changed. Names that come and go change a directory's times and length, and are told by themselves.
fn change(old: &Record, new: &Record) -> Option<Change> {
    let content = |r: &Record| (r.kind, r.generation, r.size, r.modified, r.content.clone());
    let attributes = |r: &Record| (r.kind, r.mode, r.uid, r.gid);
    if !(old.is_directory() && new.is_directory()) && content(old) != content(new) {
        return Some(Change::Modified);
    }
    (attributes(old) != attributes(new)).then_some(Change::Attributes)
}
