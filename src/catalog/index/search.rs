//! Searches: names by pattern in one point or all of them, and the versions of one path.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};

use super::Index;
use super::letters::Letters;
use super::names::to_name;
use super::paths::Paths;
use super::pattern::{Pattern, Prefilter};
use crate::base::bytes::ByteReader;
use crate::catalog::error::CatalogError;
use crate::catalog::layout::INODES_A_PAGE;
use crate::catalog::record::Record;

/// In which points is searched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// In the newest of each volume.
    Latest,
    /// In this one.
    Point(String),
    /// In all.
    All,
}

/// What is searched for.
#[derive(Debug, Clone)]
pub struct Query {
    /// The pattern.
    pub pattern: Pattern,
    /// Where.
    pub which: Which,
    /// Only in this volume.
    pub volume: Option<String>,
    /// More are not looked for.
    pub limit: usize,
}

/// A file that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The volume.
    pub volume: String,
    /// Its path in the newest of the points.
    pub path: Vec<u8>,
    /// Its attributes. Parent and name are not in it.
    pub record: Record,
    /// The oldest point that holds it like this.
    pub first: String,
    /// The newest.
    pub last: String,
    /// How many do.
    pub points: u64,
}

/// A version of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Its attributes; `None` where the path leads nowhere. Parent and name are not in it.
    pub record: Option<Record>,
    /// The points that hold it, oldest first.
    pub points: Vec<String>,
}

/// A name of the index.
pub(super) struct LinkRow {
    pub(super) volume: i64,
    pub(super) inode: i64,
    pub(super) parent: i64,
    pub(super) name: Vec<u8>,
    pub(super) first: i64,
    pub(super) last: i64,
}

impl LinkRow {
    /// Reads volume, inode, parent, text, first, last.
    pub(super) fn read(row: &Row<'_>) -> Result<Self, rusqlite::Error> {
        let name = to_name(row.get_ref(3)?.as_str()?);
        let (volume, inode, parent) = (row.get(0)?, row.get(1)?, row.get(2)?);
        Ok(Self { volume, inode, parent, name, first: row.get(4)?, last: row.get(5)? })
    }
}

const BY_TRIGRAM: &str = "SELECT l.volume, l.inode, l.parent, n.text, l.first, l.last FROM name_search s
    CROSS JOIN name n ON n.id = s.rowid CROSS JOIN link l ON l.name = n.id WHERE s.text GLOB ?1";
const BY_PAIR: &str = "SELECT l.volume, l.inode, l.parent, n.text, l.first, l.last FROM
    (SELECT rowid AS id FROM name_search WHERE name_search MATCH ?1 UNION ALL SELECT id FROM name WHERE length(text) < 3) s
    CROSS JOIN name n ON n.id = s.id CROSS JOIN link l ON l.name = n.id";
const BY_SCAN: &str = "SELECT l.volume, l.inode, l.parent, n.text, l.first, l.last FROM link l JOIN name n ON n.id = l.name";

/// The points of one volume.
pub(super) struct Timeline {
    pub(super) name: String,
    /// Number and id, oldest first.
    pub(super) points: Vec<(i64, String)>,
}

impl Timeline {
    /// The points with numbers in this range.
    fn between(&self, first: i64, last: i64) -> &[(i64, String)] {
        let start = self.points.partition_point(|(sequence, _)| *sequence < first);
        let end = self.points.partition_point(|(sequence, _)| *sequence <= last);
        self.points.get(start..end).unwrap_or_default()
    }
}

impl Index {
    /// Everything that `query` means and `filter` lets through, ordered by volume and path; and whether that is all.
    pub fn find(&self, query: &Query, filter: &dyn Fn(&Record) -> bool) -> Result<(Vec<Found>, bool), CatalogError> {
        find(&self.connection, query, filter).map_err(self.failed())
    }

    /// What a path of a volume led to, in every point that has a catalog, oldest first. `None` if there is no such point.
    pub fn history(&self, volume: &str, path: &[u8]) -> Result<Option<Vec<Version>>, CatalogError> {
        history(&self.connection, volume, path).map_err(self.failed())
    }
}

/// The volumes of the index by number.
pub(super) fn timelines(connection: &Connection) -> Result<BTreeMap<i64, Timeline>, rusqlite::Error> {
    let mut volumes = BTreeMap::new();
    let select = "SELECT volume.id, volume.name, point.sequence, point.id FROM point JOIN volume ON volume.id = point.volume
                  ORDER BY volume.id, point.sequence";
    let mut statement = connection.prepare_cached(select)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let name: String = row.get(1)?;
        let timeline = volumes.entry(row.get(0)?).or_insert_with(|| Timeline { name, points: Vec::new() });
        timeline.points.push((row.get(2)?, row.get(3)?));
    }
    Ok(volumes)
}

fn find(connection: &Connection, query: &Query, filter: &dyn Fn(&Record) -> bool) -> Result<(Vec<Found>, bool), rusqlite::Error> {
    let windows = windows(timelines(connection)?, query);
    let mut paths = Paths::new(connection);
    let mut found = Vec::new();
    let (select, asked) = candidates(connection, &query.pattern)?;
    let mut statement = connection.prepare_cached(select)?;
    let mut rows = statement.query(params_from_iter(asked))?;
    while let Some(row) = rows.next()? {
        let link = LinkRow::read(row)?;
        let Some((timeline, from, to)) = windows.get(&link.volume) else { continue };
        let (first, last) = (link.first.max(*from), link.last.min(*to));
        if first > last || !query.pattern.may_match(&link.name) {
            continue;
        }
        for (since, until, record) in versions(connection, link.volume, link.inode, first, last)? {
            let holding = timeline.between(first.max(since), last.min(until));
            let (Some(oldest), Some(newest)) = (holding.first(), holding.last()) else { continue };
            if !filter(&record) {
                continue;
            }
            let path = paths.path(link.volume, newest.0, link.parent, &link.name)?;
            if !query.pattern.matches(&path) {
                continue;
            }
            if found.len() >= query.limit {
                return Ok((sorted(found), false));
            }
            let (first, last) = (oldest.1.clone(), newest.1.clone());
            found.push(Found { volume: timeline.name.clone(), path, record, first, last, points: holding.len() as u64 });
        }
    }
    Ok((sorted(found), true))
}

/// The statement that finds every name that may match, and its argument.
fn candidates(connection: &Connection, pattern: &Pattern) -> Result<(&'static str, Option<String>), rusqlite::Error> {
    Ok(match pattern.prefilter() {
        Some(Prefilter::Glob(glob)) => (BY_TRIGRAM, Some(glob.clone())),
        Some(Prefilter::Pair(pair)) => match Letters::read(connection)?.around(pair) {
            Some(around) => (BY_PAIR, Some(around)),
            None => (BY_SCAN, None),
        },
        None => (BY_SCAN, None),
    })
}

fn sorted(mut found: Vec<Found>) -> Vec<Found> {
    found.sort_by(|a, b| (&a.volume, &a.path, &a.first).cmp(&(&b.volume, &b.path, &b.first)));
    found
}

/// Which points of which volumes are searched.
fn windows(timelines: BTreeMap<i64, Timeline>, query: &Query) -> BTreeMap<i64, (Timeline, i64, i64)> {
    let wanted = timelines.into_iter().filter(|(_, timeline)| query.volume.as_ref().is_none_or(|name| *name == timeline.name));
    let windows = wanted.filter_map(|(volume, timeline)| {
        let (from, to) = match &query.which {
            Which::All => (timeline.points.first()?.0, timeline.points.last()?.0),
            Which::Latest => (timeline.points.last()?.0, timeline.points.last()?.0),
            Which::Point(id) => {
                timeline.points.iter().find(|(_, point)| point == id).map(|(sequence, _)| (*sequence, *sequence))?
            }
        };
        Some((volume, (timeline, from, to)))
    });
    windows.collect()
}

/// The versions of an inode that hold in any of these points.
pub(super) fn versions(
    connection: &Connection,
    volume: i64,
    inode: i64,
    first: i64,
    last: i64,
) -> Result<Vec<(i64, i64, Record)>, rusqlite::Error> {
    let select = "SELECT first, last, data FROM inode WHERE volume = ?1 AND inode = ?2 AND first <= ?4 AND last >= ?3";
    let mut statement = connection.prepare_cached(select)?;
    let mut rows = statement.query(params![volume, inode, first, last])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        if let Some(record) = record(inode, row.get_ref(2)?.as_blob()?) {
            found.push((row.get(0)?, row.get(1)?, record));
        }
    }
    Ok(found)
}

fn record(inode: i64, data: &[u8]) -> Option<Record> {
    let inode = inode as u64;
    Record::parse(inode - inode % INODES_A_PAGE, &mut ByteReader::new(data)).ok().flatten()
}

fn history(connection: &Connection, volume: &str, path: &[u8]) -> Result<Option<Vec<Version>>, rusqlite::Error> {
    let found = timelines(connection)?.into_iter().find(|(_, timeline)| timeline.name == volume);
    let Some((number, timeline)) = found else { return Ok(None) };
    let paths = Paths::new(connection);
    let mut history: Vec<Version> = Vec::new();
    for (sequence, point) in timeline.points {
        let root = root(connection, number, sequence)?;
        let inode = root.map_or(Ok(None), |root| paths.resolve(number, sequence, root, path))?;
        let record = match inode {
            Some(inode) => versions(connection, number, inode, sequence, sequence)?.pop().map(|(_, _, record)| record),
            None => None,
        };
        match history.last_mut() {
            Some(last) if last.record == record => last.points.push(point),
            _ => history.push(Version { record, points: vec![point] }),
        }
    }
    Ok(Some(history))
}

/// The root directory is its own parent.
pub(super) fn root(connection: &Connection, volume: i64, sequence: i64) -> Result<Option<i64>, rusqlite::Error> {
    let select = "SELECT inode FROM link WHERE name = (SELECT id FROM name WHERE text = '') AND volume = ?1
                  AND first <= ?2 AND last >= ?2 AND inode = parent LIMIT 1";
    connection.prepare_cached(select)?.query_row(params![volume, sequence], |row| row.get(0)).optional()
}
