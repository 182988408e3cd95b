//! Files that are hit, found in the point's catalog: records say where data lies, and which names lead to them.

use std::collections::{BTreeMap, HashMap};
use std::mem;

use super::walked::missing_ranges;
use super::{NOT_RESTORED, Tally};
use crate::base::cancel::Cancel;
use crate::base::extent::{Extent, ExtentSet};
use crate::catalog::{CatalogError, Content, PageContent, PageSource, Place, Record, holds_links, page_of_inode, read_contents};
use crate::filesystem::{FileKind, Filesystem, FilesystemError, InodeNumber, MAX_DEPTH};
use crate::job::extract::{FileFindingKind, MAX_FINDINGS, is_out_of_reach};
use crate::repository::RepositoryError;

/// Names of directories that are kept while paths are put together: some 64 MiB of them.
const MAX_KEPT_NAMES: usize = 1 << 18;

/// What is told of a directory.
const NAMES_LOST: &str = "a directory; names in these ranges of it were not restored";
/// What is told of anything whose inode is hit.
const INODE_LOST: &str = "its inode was not restored, and with it the way to its content";

/// An inode that is hit.
struct Hit {
    kind: FileFindingKind,
    reason: String,
    missing: ExtentSet,
    /// Directories that hold it, and its name there.
    names: Vec<(u64, Vec<u8>)>,
    has_more_names: bool,
}

/// Reads all records. Files whose places are not in them are looked up in `filesystem`.
pub(super) fn find_files(
    pages: &mut dyn PageSource,
    filesystem: Option<&dyn Filesystem>,
    tally: &mut Tally<'_>,
    cancel: &Cancel,
) -> Result<(), CatalogError> {
    let (links, records): (Vec<u64>, Vec<u64>) = pages.present()?.into_iter().partition(|number| holds_links(*number));
    let mut hits: BTreeMap<u64, Hit> = BTreeMap::new();
    read_contents(pages, &records, &mut |content| {
        if cancel.is_cancelled() {
            return Err(RepositoryError::Cancelled.into());
        }
        let PageContent::Records { records, .. } = content else { return Ok(()) };
        for record in records {
            match hit(&record, filesystem, tally)? {
                Some(hit) if hits.len() < MAX_FINDINGS => drop(hits.insert(record.inode, hit)),
                Some(_) => tally.findings.leave_out(),
                None => {}
            }
        }
        Ok(())
    })?;
    if hits.values().any(|hit| hit.has_more_names) {
        add_names(pages, &links, &mut hits)?;
    }
    let mut paths = Paths { known: HashMap::new() };
    for hit in hits.into_values() {
        for (parent, name) in hit.names {
            let path = paths.path(pages, parent, name)?;
            tally.found(path, hit.kind, &hit.reason, hit.missing.clone());
        }
    }
    Ok(())
}

fn hit(record: &Record, filesystem: Option<&dyn Filesystem>, tally: &mut Tally<'_>) -> Result<Option<Hit>, CatalogError> {
    let (missing, reason) = missing_of(record, filesystem, tally)?;
    let place = filesystem.and_then(|filesystem| filesystem.inode_location(InodeNumber(record.inode)));
    let (kind, reason) = match (place, reason, record.is_directory()) {
        (Some(place), ..) if tally.lost.intersects(&place) => (FileFindingKind::Lost, INODE_LOST.to_owned()),
        _ if missing.is_empty() => return Ok(None),
        (_, Some(reason), _) => (FileFindingKind::Partial, reason),
        (_, None, true) => (FileFindingKind::Partial, NAMES_LOST.to_owned()),
        (_, None, false) => (FileFindingKind::Partial, NOT_RESTORED.to_owned()),
    };
    let names = vec![(record.parent, record.name.clone())];
    Ok(Some(Hit { kind, reason, missing, names, has_more_names: record.links > 1 && !record.is_directory() }))
}

/// The lost bytes of one inode, and why, if that is because nobody knows where they lie.
fn missing_of(
    record: &Record,
    filesystem: Option<&dyn Filesystem>,
    tally: &mut Tally<'_>,
) -> Result<(ExtentSet, Option<String>), FilesystemError> {
    let mut missing = ExtentSet::new();
    let within = |place: &Place| Extent::new(place.file, place.length).intersect(&Extent::new(0, record.size));
    match &record.content {
        Content::Places(places) if record.is_directory() => {
            places.iter().for_each(|place| tally.overlap(within(place), place.disk, &mut missing));
        }
        Content::Places(places) => places.iter().for_each(|place| tally.take(within(place), place.disk, &mut missing)),
        Content::Unlisted if record.kind == FileKind::Regular => return look_up(record, filesystem, tally),
        // A directory in many pieces: what is lost of it counts among the file system's structures.
        Content::Unlisted | Content::Inline => {}
    }
    Ok((missing, None))
}

/// Asks the file system where a file in many pieces lies.
fn look_up(
    record: &Record,
    filesystem: Option<&dyn Filesystem>,
    tally: &mut Tally<'_>,
) -> Result<(ExtentSet, Option<String>), FilesystemError> {
    let Some(filesystem) = filesystem else {
        tally.doubt("files in many pieces are not in the catalog in full");
        return Ok((ExtentSet::new(), None));
    };
    match filesystem.inode(InodeNumber(record.inode)) {
        Ok(inode) => missing_ranges(filesystem, &inode, tally),
        Err(error) if is_out_of_reach(&error) => Err(error),
        Err(error) => Ok((ExtentSet::whole(record.size), Some(error.to_string()))),
    }
}

/// Gives files their further names.
fn add_names(pages: &mut dyn PageSource, links: &[u64], hits: &mut BTreeMap<u64, Hit>) -> Result<(), CatalogError> {
    read_contents(pages, links, &mut |content| {
        let PageContent::Links(links) = content else { return Ok(()) };
        for link in links {
            if let Some(hit) = hits.get_mut(&link.inode).filter(|hit| hit.names.len() < MAX_FINDINGS) {
                hit.names.push((link.parent, link.name));
            }
        }
        Ok(())
    })
}

/// Paths put together out of the records of directories.
struct Paths {
    /// Parent and name of directories.
    known: HashMap<u64, (u64, Vec<u8>)>,
}

impl Paths {
    fn path(&mut self, pages: &mut dyn PageSource, parent: u64, name: Vec<u8>) -> Result<Vec<u8>, CatalogError> {
        let (mut names, mut at) = (vec![name], parent);
        for _ in 0..MAX_DEPTH {
            let (above, name) = self.directory(pages, at)?;
            if name.is_empty() {
                break;
            }
            names.push(name);
            if above == at {
                break;
            }
            at = above;
        }
        Ok(names.iter().rev().flat_map(|name| [b"/", name.as_slice()].concat()).collect())
    }

    /// Parent and name of a directory; of one that the catalog lacks, a name that says so.
    fn directory(&mut self, pages: &mut dyn PageSource, inode: u64) -> Result<(u64, Vec<u8>), CatalogError> {
        if let Some(known) = self.known.get(&inode) {
            return Ok(known.clone());
        }
        if self.known.len() >= MAX_KEPT_NAMES {
            self.known.clear();
        }
        let mut found = None;
        read_contents(pages, &[page_of_inode(inode)], &mut |content| {
            let PageContent::Records { records, .. } = content else { return Ok(()) };
            for mut record in records.into_iter().filter(Record::is_directory) {
                let place = (record.parent, mem::take(&mut record.name));
                found = if record.inode == inode { Some(place.clone()) } else { found.take() };
                self.known.insert(record.inode, place);
            }
            Ok(())
        })?;
        Ok(found.unwrap_or_else(|| (inode, format!("(directory inode {inode})").into_bytes())))
    }
}
