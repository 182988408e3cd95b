//! Names that left and names that came, matched within one volume: the same inode under another path was renamed.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::catalog::Record;
use crate::catalog::index::{Change, Difference};

/// What matching leaves.
#[derive(Debug, Default)]
pub(super) struct Matched {
    pub(super) differences: Vec<Difference>,
    /// The same name in the same directory, which moved itself: only the inodes are still to be compared.
    pub(super) stayed: Vec<Difference>,
}

/// Inode, directory, name.
type Key = (u64, u64, Vec<u8>);
/// Old records by their path.
type Gone = BTreeMap<Vec<u8>, Record>;

/// Matches what was found in two states of one volume by the rules of the catalog's index: in the order of the new paths, each of
/// them takes the first old path that its inode lost.
pub(super) fn match_up(found: Vec<Difference>) -> Matched {
    let mut matched = Matched::default();
    let (mut gone, mut come) = (Gone::new(), BTreeMap::new());
    for difference in set_aside(found, &mut matched) {
        match (&difference.old, &difference.new) {
            (Some(old), Some(new)) if old.inode == new.inode => matched.differences.push(difference),
            (Some(old), new) => {
                gone.insert(difference.path.clone(), old.clone());
                if new.is_some() {
                    come.insert(difference.path.clone(), difference);
                }
            }
            (None, _) => drop(come.insert(difference.path.clone(), difference)),
        }
    }
    let mut paths_of: HashMap<u64, Vec<Vec<u8>>> = HashMap::new();
    gone.iter().for_each(|(path, record)| paths_of.entry(record.inode).or_default().push(path.clone()));
    for (path, difference) in come {
        let stood_here = gone.remove(&path).is_some();
        matched.differences.push(if stood_here { difference } else { origin(difference, &mut gone, &paths_of) });
    }
    let removed = gone.into_iter().map(|(path, old)| Difference { path, change: Change::Removed, old: Some(old), new: None });
    matched.differences.extend(removed);
    matched
}

/// Takes out what has left one path and come to another only because a directory above it did.
fn set_aside(found: Vec<Difference>, matched: &mut Matched) -> Vec<Difference> {
    let came: HashSet<Key> = found.iter().filter(|d| d.old.is_none()).filter_map(|d| d.new.as_ref().map(key)).collect();
    let is_in_both = |d: &Difference| d.new.is_none() && d.old.as_ref().is_some_and(|old| came.contains(&key(old)));
    let mut left: HashMap<Key, Record> = HashMap::new();
    let mut rest = Vec::new();
    for difference in found {
        match difference.old {
            Some(old) if is_in_both(&Difference { old: Some(old.clone()), ..difference.clone() }) => {
                drop(left.insert(key(&old), old))
            }
            old => rest.push(Difference { old, ..difference }),
        }
    }
    let (stayed, rest): (Vec<_>, Vec<_>) =
        rest.into_iter().partition(|d| d.old.is_none() && d.new.as_ref().is_some_and(|new| left.contains_key(&key(new))));
    let with_old = |d: Difference| Difference { old: d.new.as_ref().and_then(|new| left.remove(&key(new))), ..d };
    matched.stayed = stayed.into_iter().map(with_old).filter(|d| d.old.is_some()).collect();
    rest
}

/// A path that is new is another name of before, if the same inode lost one.
fn origin(come: Difference, gone: &mut Gone, paths_of: &HashMap<u64, Vec<Vec<u8>>>) -> Difference {
    let Some(new) = come.new else { return come };
    let is_same = |old: &Record| old.generation == new.generation && old.kind == new.kind;
    let lost = paths_of.get(&new.inode).into_iter().flatten();
    let before = lost.filter(|path| gone.get(*path).is_some_and(is_same)).min().cloned();
    let old = before.as_ref().and_then(|path| gone.remove(path));
    let change = before.map_or(Change::Added, Change::Renamed);
    Difference { path: come.path, change, old, new: Some(new) }
}

fn key(record: &Record) -> Key {
    (record.inode, record.parent, record.name.clone())
}
