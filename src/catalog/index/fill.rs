//! The index brought up to date: pages that differ are read, points that are gone are dropped.

use std::collections::{BTreeMap, HashMap, HashSet};

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use super::Index;
use super::letters::Letters;
use super::names::to_text;
use super::schema::OPEN;
use crate::catalog::error::CatalogError;
use crate::catalog::layout::{INODES_A_PAGE, LINKS_FIRST};
use crate::catalog::read::{Link, PageContent, PageSource, holds_links, page_of_inode, read_contents};
use crate::catalog::record::Record;
use crate::repository::format::point::Tree;
use crate::repository::{ListedPoint, Repository};

/// A point whose catalog cannot be searched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unusable {
    /// The point.
    pub point: String,
    /// Why.
    pub reason: String,
}

/// What filling did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filled {
    /// Points added.
    pub added: u64,
    /// Points that are gone.
    pub dropped: u64,
    /// Pages read.
    pub pages: u64,
    /// Points that cannot be searched.
    pub unusable: Vec<Unusable>,
}

/// Name ids at hand while a point is added.
const KNOWN_NAMES: usize = 1 << 16;

impl Index {
    /// Adds the points that are not in the index yet and drops those that are gone. `points` are all there are.
    pub fn fill(&mut self, repository: &Repository, points: &[ListedPoint]) -> Result<Filled, CatalogError> {
        let mut filled = Filled { dropped: self.drop_missing(points)?, ..Filled::default() };
        let mut by_volume: BTreeMap<&str, Vec<&ListedPoint>> = BTreeMap::new();
        points.iter().for_each(|point| by_volume.entry(&point.point.volume).or_default().push(point));
        for (volume, mut points) in by_volume {
            points.sort_by_key(|point| point.id);
            self.restart_if_overtaken(volume, &points)?;
            let mut before = None;
            for point in points {
                match self.add_if_new(repository, point, &mut before) {
                    Ok(Some(pages)) => {
                        filled.added += 1;
                        filled.pages += pages;
                    }
                    Ok(None) => {}
                    Err(CatalogError::Repository(error)) if !error.is_damage() => return Err(error.into()),
                    Err(error @ (CatalogError::Index { .. } | CatalogError::Scratch(_))) => return Err(error),
                    Err(error) => {
                        self.skip(&point.id.to_string())?;
                        filled.unusable.push(Unusable { point: point.id.to_string(), reason: error.to_string() });
                    }
                }
            }
        }
        Ok(filled)
    }

    /// Adds a point and says how many pages that took; `None` if there was nothing to do.
    fn add_if_new<'p>(
        &mut self,
        repository: &Repository,
        point: &'p ListedPoint,
        before: &mut Option<&'p ListedPoint>,
    ) -> Result<Option<u64>, CatalogError> {
        let Some(catalog) = &point.point.catalog else { return Ok(None) };
        let id = point.id.to_string();
        if catalog.summary.is_none() {
            return Err(CatalogError::page(0, "a newer icecore wrote this catalog"));
        }
        if self.is_among("skipped", &id)? {
            return Err(CatalogError::page(0, "it was damaged when the local index was filled; --rebuild-index looks again"));
        }
        let pages = if self.is_among("point", &id)? { None } else { Some(self.add(repository, point, catalog.tree, *before)?) };
        *before = Some(point);
        Ok(pages)
    }

    fn is_among(&self, table: &str, point: &str) -> Result<bool, CatalogError> {
        let select = format!("SELECT 1 FROM {table} WHERE id = ?1");
        let found = self.connection.query_row(&select, [point], |_| Ok(())).optional();
        Ok(found.map_err(self.failed())?.is_some())
    }

    fn skip(&self, point: &str) -> Result<(), CatalogError> {
        self.connection.execute("INSERT OR IGNORE INTO skipped (id) VALUES (?1)", [point]).map_err(self.failed())?;
        Ok(())
    }

    /// Forgets a volume of which a point turned up that is older than the newest one known: clocks of writers differ.
    fn restart_if_overtaken(&mut self, volume: &str, points: &[&ListedPoint]) -> Result<(), CatalogError> {
        let failed = self.failed();
        let known: Vec<String> = {
            let mut statement = self
                .connection
                .prepare_cached("SELECT point.id FROM point JOIN volume ON volume.id = point.volume WHERE volume.name = ?1 ORDER BY point.sequence")
                .map_err(&failed)?;
            let rows = statement.query_map([volume], |row| row.get(0)).map_err(&failed)?;
            rows.collect::<Result<_, _>>().map_err(&failed)?
        };
        let mut known = known.into_iter().peekable();
        for point in points.iter().filter(|point| point.point.catalog.is_some_and(|catalog| catalog.summary.is_some())) {
            let id = point.id.to_string();
            if known.next_if_eq(&id).is_none() && known.peek().is_some() && !self.is_among("skipped", &id)? {
                return self.forget_volume(volume);
            }
        }
        Ok(())
    }

    fn forget_volume(&mut self, volume: &str) -> Result<(), CatalogError> {
        let failed = self.failed();
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(&failed)?;
        for table in ["point", "inode", "link"] {
            let delete = format!("DELETE FROM {table} WHERE volume = (SELECT id FROM volume WHERE name = ?1)");
            transaction.execute(&delete, [volume]).map_err(&failed)?;
        }
        transaction.execute("UPDATE volume SET sequence = 0, state = NULL WHERE name = ?1", [volume]).map_err(&failed)?;
        transaction.commit().map_err(&failed)
    }

    fn drop_missing(&mut self, points: &[ListedPoint]) -> Result<u64, CatalogError> {
        let failed = self.failed();
        let present: HashSet<String> = points.iter().map(|point| point.id.to_string()).collect();
        let known: Vec<String> = {
            let mut statement = self.connection.prepare_cached("SELECT id FROM point").map_err(&failed)?;
            let rows = statement.query_map([], |row| row.get(0)).map_err(&failed)?;
            rows.collect::<Result<_, _>>().map_err(&failed)?
        };
        let gone: Vec<&String> = known.iter().filter(|id| !present.contains(*id)).collect();
        if gone.is_empty() {
            return Ok(0);
        }
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(&failed)?;
        for id in &gone {
            transaction.execute("DELETE FROM point WHERE id = ?1", [id]).map_err(&failed)?;
        }
        for table in ["inode", "link"] {
            // Rows that still hold are the state that the next point is compared with.
            let delete = format!(
                "DELETE FROM {table} WHERE last <> {OPEN} AND NOT EXISTS (SELECT 1 FROM point
                 WHERE point.volume = {table}.volume AND sequence BETWEEN {table}.first AND {table}.last)"
            );
            transaction.execute(&delete, []).map_err(&failed)?;
        }
        transaction.commit().map_err(&failed)?;
        Ok(gone.len() as u64)
    }

    /// Adds a point in one transaction: all of it is in the index, or nothing.
    fn add(
        &mut self,
        repository: &Repository,
        point: &ListedPoint,
        tree: Tree,
        before: Option<&ListedPoint>,
    ) -> Result<u64, CatalogError> {
        let failed = self.failed();
        let mut pages = repository.catalog_pages(tree)?;
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(&failed)?;
        let (volume, sequence, state) = place(&transaction, &point.point.volume).map_err(&failed)?;
        // Only if the open rows are those of the point before can the trees tell what differs.
        let is_state = |before: &&ListedPoint| state.as_ref() == Some(&before.id.to_string());
        let known = before.filter(is_state).and_then(|before| before.point.catalog);
        let numbers = match known.map(|known| pages.changed_since(known.tree)) {
            Some(Ok(numbers)) => numbers,
            Some(Err(error)) if !error.is_damage() => return Err(error.into()),
            Some(Err(_)) | None => all_pages(&transaction, volume, PageSource::present(&mut pages)?).map_err(&failed)?,
        };
        let summary = point.point.catalog.and_then(|catalog| catalog.summary).unwrap_or_default();
        let (names, letters) = (HashMap::new(), Letters::read(&transaction).map_err(&failed)?);
        let mut filler = Filler { transaction: &transaction, volume, sequence, is_first: sequence == 1, names, letters };
        filler.add(&mut pages, &numbers, &failed)?;
        let insert = "INSERT INTO point (volume, sequence, id, left_out, view) VALUES (?1, ?2, ?3, ?4, ?5)";
        let values = params![volume, sequence, point.id.to_string(), summary.left_out as i64, summary.view];
        transaction.execute(insert, values).map_err(&failed)?;
        let update = "UPDATE volume SET sequence = ?2, state = ?3 WHERE id = ?1";
        transaction.execute(update, params![volume, sequence, point.id.to_string()]).map_err(&failed)?;
        transaction.commit().map_err(&failed)?;
        Ok(numbers.len() as u64)
    }
}

/// The volume's number, the number of its next point, and the point that its open rows describe.
fn place(transaction: &Transaction<'_>, name: &str) -> Result<(i64, i64, Option<String>), rusqlite::Error> {
    transaction.execute("INSERT OR IGNORE INTO volume (name) VALUES (?1)", [name])?;
    let select = "SELECT id, sequence + 1, state FROM volume WHERE name = ?1";
    transaction.query_row(select, [name], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
}

/// All pages that hold anything, in the catalog or in the index.
fn all_pages(connection: &Connection, volume: i64, present: Vec<u64>) -> Result<Vec<u64>, rusqlite::Error> {
    let mut numbers = present;
    let mut statement = connection.prepare_cached("SELECT DISTINCT inode / ?2 FROM inode WHERE volume = ?1 AND last = ?3")?;
    let rows = statement.query_map(params![volume, INODES_A_PAGE as i64, OPEN], |row| row.get::<_, i64>(0))?;
    for page in rows {
        numbers.push(page_of_inode(page? as u64 * INODES_A_PAGE));
    }
    numbers.push(LINKS_FIRST);
    numbers.sort_unstable();
    numbers.dedup();
    Ok(numbers)
}

struct Filler<'t> {
    transaction: &'t Transaction<'t>,
    volume: i64,
    sequence: i64,
    /// Nothing of the volume is in the index.
    is_first: bool,
    names: HashMap<Vec<u8>, i64>,
    letters: Letters,
}

impl Filler<'_> {
    fn add(
        &mut self,
        pages: &mut dyn PageSource,
        numbers: &[u64],
        failed: &dyn Fn(rusqlite::Error) -> CatalogError,
    ) -> Result<(), CatalogError> {
        let (links, records): (Vec<u64>, Vec<u64>) = numbers.iter().partition(|number| holds_links(**number));
        read_contents(pages, &records, &mut |content| match content {
            PageContent::Records { first, end, records } => self.records(first, end, &records).map_err(failed),
            PageContent::Links(_) | PageContent::Other => Ok(()),
        })?;
        if links.is_empty() {
            return Ok(());
        }
        let all: Vec<u64> = pages.present()?.into_iter().filter(|number| holds_links(*number)).collect();
        self.transaction
            .execute_batch("DROP TABLE IF EXISTS temp.wanted; CREATE TEMP TABLE wanted (inode, parent, name, PRIMARY KEY (inode, parent, name)) WITHOUT ROWID")
            .map_err(failed)?;
        read_contents(pages, &all, &mut |content| match content {
            PageContent::Links(links) => links.iter().try_for_each(|link| self.want(link)).map_err(failed),
            PageContent::Records { .. } | PageContent::Other => Ok(()),
        })?;
        self.exchange_links().map_err(failed)
    }

    fn records(&mut self, first: u64, end: u64, records: &[Record]) -> Result<(), rusqlite::Error> {
        let mut attributes = Vec::new();
        for record in records {
            let mut data = Vec::new();
            Record { parent: 0, name: Vec::new(), ..record.clone() }.encode(&mut data);
            attributes.push((record.inode as i64, data));
        }
        let mut names = Vec::new();
        for record in records {
            names.push((record.inode as i64, record.parent as i64, self.name(&record.name)?));
        }
        self.exchange_inodes(first, end, attributes)?;
        self.exchange_names(first, end, names)
    }

    fn exchange_inodes(&self, first: u64, end: u64, mut wanted: Vec<(i64, Vec<u8>)>) -> Result<(), rusqlite::Error> {
        if !self.is_first {
            let select = "SELECT inode, first, data FROM inode WHERE volume = ?1 AND inode >= ?2 AND inode < ?3 AND last = ?4";
            let mut statement = self.transaction.prepare_cached(select)?;
            let rows = statement.query_map(params![self.volume, first as i64, end as i64, OPEN], |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, Vec<u8>>(2)?))
            })?;
            let known = rows.collect::<Result<Vec<_>, _>>()?;
            for (inode, since, data) in known {
                match wanted.iter().position(|(number, wanted)| *number == inode && *wanted == data) {
                    Some(same) => drop(wanted.swap_remove(same)),
                    None => {
                        let close = "UPDATE inode SET last = ?4 WHERE volume = ?1 AND inode = ?2 AND first = ?3";
                        self.transaction.prepare_cached(close)?.execute(params![self.volume, inode, since, self.sequence - 1])?;
                    }
                }
            }
        }
        let mut insert =
            self.transaction.prepare_cached("INSERT INTO inode (volume, inode, first, last, data) VALUES (?1, ?2, ?3, ?4, ?5)")?;
        for (inode, data) in wanted {
            insert.execute(params![self.volume, inode, self.sequence, OPEN, data])?;
        }
        Ok(())
    }

    fn exchange_names(&self, first: u64, end: u64, mut wanted: Vec<(i64, i64, i64)>) -> Result<(), rusqlite::Error> {
        if !self.is_first {
            let select = "SELECT inode, parent, name, first FROM link
                          WHERE volume = ?1 AND inode >= ?2 AND inode < ?3 AND last = ?4 AND further = 0";
            let mut statement = self.transaction.prepare_cached(select)?;
            let rows = statement.query_map(params![self.volume, first as i64, end as i64, OPEN], |row| {
                Ok(((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?), row.get::<_, i64>(3)?))
            })?;
            let known = rows.collect::<Result<Vec<_>, _>>()?;
            for (name, since) in known {
                match wanted.iter().position(|wanted| *wanted == name) {
                    Some(same) => drop(wanted.swap_remove(same)),
                    None => {
                        let close = "UPDATE link SET last = ?6 WHERE volume = ?1 AND inode = ?2 AND parent = ?3 AND name = ?4 AND first = ?5";
                        let values = params![self.volume, name.0, name.1, name.2, since, self.sequence - 1];
                        self.transaction.prepare_cached(close)?.execute(values)?;
                    }
                }
            }
        }
        let insert = "INSERT INTO link (volume, inode, parent, name, first, last, further) VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0)";
        let mut insert = self.transaction.prepare_cached(insert)?;
        for (inode, parent, name) in wanted {
            insert.execute(params![self.volume, inode, parent, name, self.sequence, OPEN])?;
        }
        Ok(())
    }

    fn want(&mut self, link: &Link) -> Result<(), rusqlite::Error> {
        let name = self.name(&link.name)?;
        let insert = "INSERT OR IGNORE INTO temp.wanted (inode, parent, name) VALUES (?1, ?2, ?3)";
        self.transaction.prepare_cached(insert)?.execute(params![link.inode as i64, link.parent as i64, name])?;
        Ok(())
    }

    /// Further names are few, and compared all together.
    fn exchange_links(&self) -> Result<(), rusqlite::Error> {
        let close = "UPDATE link SET last = ?2 - 1 WHERE volume = ?1 AND last = ?3 AND further = 1 AND NOT EXISTS (
            SELECT 1 FROM temp.wanted w WHERE w.inode = link.inode AND w.parent = link.parent AND w.name = link.name)";
        self.transaction.execute(close, params![self.volume, self.sequence, OPEN])?;
        let insert = "INSERT INTO link (volume, inode, parent, name, first, last, further)
            SELECT ?1, w.inode, w.parent, w.name, ?2, ?3, 1 FROM temp.wanted w WHERE NOT EXISTS (
            SELECT 1 FROM link l WHERE l.volume = ?1 AND l.inode = w.inode AND l.parent = w.parent AND l.name = w.name
            AND l.last = ?3 AND l.further = 1)";
        self.transaction.execute(insert, params![self.volume, self.sequence, OPEN])?;
        self.transaction.execute_batch("DROP TABLE temp.wanted")
    }

    /// The number of a name, which is made known if it is new.
    fn name(&mut self, name: &[u8]) -> Result<i64, rusqlite::Error> {
        if let Some(known) = self.names.get(name) {
            return Ok(*known);
        }
        let text = to_text(name);
        let mut select = self.transaction.prepare_cached("SELECT id FROM name WHERE text = ?1")?;
        let id = match select.query_row([&text], |row| row.get(0)).optional()? {
            Some(id) => id,
            None => {
                self.transaction.prepare_cached("INSERT INTO name (text) VALUES (?1)")?.execute([&text])?;
                let id = self.transaction.last_insert_rowid();
                self.letters.add(self.transaction, &text)?;
                let index = "INSERT INTO name_search (rowid, text) VALUES (?1, ?2)";
                self.transaction.prepare_cached(index)?.execute(params![id, text])?;
                id
            }
        };
        if self.names.len() >= KNOWN_NAMES {
            self.names.clear();
        }
        self.names.insert(name.to_vec(), id);
        Ok(id)
    }
}
