//! Which files lost ranges of a point hit, and which hit none: by the point's catalog, or by a walk over its file system.
//!
//! ```text
//!   lost ranges ─► data of files        the file, with the ranges of it that are missing
//!               ├► free space           harmless
//!               ├► beyond its end       no part of the file system
//!               └► the rest             the file system's own structures, its journal, space that a file has reserved
//! ```
//! What the file system is read from is the point itself, not what was restored: there, lost bytes are refused and not zeros.

mod recorded;
mod walked;

use std::sync::Arc;

use crate::base::cancel::Cancel;
use crate::base::extent::{Extent, ExtentSet};
use crate::base::io::ReadAt;
use crate::catalog::{CatalogError, PageSource, read_header};
use crate::filesystem::{self, Filesystem, FilesystemError, Partition, partition, partitions};
use crate::job::JobError;
use crate::job::extract::{FileFinding, FileFindingKind, FileFindings, is_out_of_reach};
use crate::repository::{CatalogPages, Elsewhere, ListedPoint, Repository, RepositoryError};

/// What told which files are hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KnownBy {
    /// The point's catalog; files in many pieces were looked up in the file system.
    Catalog,
    /// A walk over the file system.
    Walk,
    /// Nothing: no file can be named.
    Nothing,
}

/// Which files of a volume, or of one partition of a disk, are hit.
#[derive(Debug)]
pub struct AffectedFiles {
    /// The partition; none when the file system begins at the volume's first byte, and for what lies in no partition.
    pub partition: Option<u32>,
    /// How that is known.
    pub known_by: KnownBy,
    /// Why there may be more of them.
    pub doubt: Option<String>,
    /// The files, with the ranges of each that are missing.
    pub findings: FileFindings,
    /// Lost ranges that are no file's data and not free either.
    pub structures: ExtentSet,
    /// Lost ranges that no file uses.
    pub free: ExtentSet,
    /// Lost ranges behind the end of the file system.
    pub outside: ExtentSet,
}

/// What is told of a file whose data is hit.
const NOT_RESTORED: &str = "these ranges of it were not restored";

/// Finds the files that have bytes in `lost`, ranges of the point's volume that cannot be had. Only a store out of reach and a request
/// to stop are errors; whatever else fails makes the answer less.
pub(super) fn affected_files(
    repository: &Repository,
    point: &ListedPoint,
    elsewhere: &Arc<Elsewhere>,
    lost: &ExtentSet,
    cancel: &Cancel,
) -> Result<Vec<AffectedFiles>, JobError> {
    let volume: Arc<dyn ReadAt> = Arc::new(repository.read_point_with(point, elsewhere));
    let filesystem = filesystem::open(Arc::clone(&volume));
    if let Err(FilesystemError::Unrecognised { .. }) = &filesystem
        && let Ok(list) = partitions(volume.as_ref())
        && !list.is_empty()
    {
        return on_disk(&volume, &list, lost, cancel);
    }
    let mut pages = match &point.point.catalog {
        Some(catalog) => readable(repository.catalog_pages(catalog.tree))?,
        None => None,
    };
    let pages = pages.as_mut().map(|pages| pages as &mut dyn PageSource);
    let mut found = affected(pages, filesystem, lost, cancel)?;
    let left_out = point.point.catalog.and_then(|catalog| catalog.summary).map_or(0, |summary| summary.left_out);
    if found.known_by == KnownBy::Catalog && left_out > 0 {
        found.doubt.get_or_insert_with(|| format!("the point's catalog lacks {left_out} inodes or names"));
    }
    Ok(vec![found])
}

fn readable(pages: Result<CatalogPages, RepositoryError>) -> Result<Option<CatalogPages>, JobError> {
    match pages {
        Err(error) if !error.is_damage() => Err(error.into()),
        pages => Ok(pages.ok()),
    }
}

/// Looks into each partition that is hit. Disks have no catalogs.
fn on_disk(
    volume: &Arc<dyn ReadAt>,
    list: &[Partition],
    lost: &ExtentSet,
    cancel: &Cancel,
) -> Result<Vec<AffectedFiles>, JobError> {
    let mut all = Vec::new();
    for one in list {
        let inside = lost.intersection(&one.extent.into());
        if inside.is_empty() {
            continue;
        }
        let inside = inside.into_iter().map(|part| Extent::new(part.offset - one.extent.offset, part.length)).collect();
        let filesystem = partition(volume, one.number).and_then(filesystem::open);
        all.push(AffectedFiles { partition: Some(one.number), ..affected(None, filesystem, &inside, cancel)? });
    }
    let outside = lost.difference(&list.iter().map(|partition| partition.extent).collect());
    if !outside.is_empty() {
        all.push(AffectedFiles { outside, ..Tally::new(&ExtentSet::new(), 1).sorted(KnownBy::Nothing, None) });
    }
    Ok(all)
}

fn affected(
    pages: Option<&mut dyn PageSource>,
    filesystem: Result<Box<dyn Filesystem>, FilesystemError>,
    lost: &ExtentSet,
    cancel: &Cancel,
) -> Result<AffectedFiles, JobError> {
    let (filesystem, refused) = match filesystem {
        Ok(filesystem) => (Some(filesystem), None),
        Err(error) if is_out_of_reach(&error) => return Err(error.into()),
        Err(error) => (None, Some(error)),
    };
    let filesystem = filesystem.as_deref();
    let by_catalog = match pages {
        Some(pages) => usable(by_catalog(pages, filesystem, lost, cancel))?,
        None => None,
    };
    let (mut tally, known_by) = match (by_catalog, filesystem) {
        (Some(tally), _) => (tally, KnownBy::Catalog),
        (None, Some(filesystem)) => (by_walk(filesystem, lost, cancel)?, KnownBy::Walk),
        (None, None) => (Tally::new(lost, 1), KnownBy::Nothing),
    };
    if let Some(error) = refused {
        let more = tally.doubt.take().map_or_else(String::new, |doubt| format!("; {doubt}"));
        tally.doubt(format!("{error}{more}"));
    }
    Ok(tally.sorted(known_by, filesystem))
}

/// A catalog that is damaged tells nothing, and the file system is walked.
fn usable<T>(found: Result<T, CatalogError>) -> Result<Option<T>, JobError> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(CatalogError::Repository(error)) if !error.is_damage() => Err(error.into()),
        Err(CatalogError::Filesystem(error)) if is_out_of_reach(&error) => Err(error.into()),
        Err(error) => {
            tracing::warn!(%error, "the catalog cannot say which files are hit");
            Ok(None)
        }
    }
}

fn by_walk<'a>(filesystem: &dyn Filesystem, lost: &'a ExtentSet, cancel: &Cancel) -> Result<Tally<'a>, JobError> {
    let mut tally = Tally::new(lost, filesystem.identity().block_bytes);
    walked::walk_files(filesystem, &mut tally, cancel)?;
    Ok(tally)
}

fn by_catalog<'a>(
    pages: &mut dyn PageSource,
    filesystem: Option<&dyn Filesystem>,
    lost: &'a ExtentSet,
    cancel: &Cancel,
) -> Result<Tally<'a>, CatalogError> {
    let mut tally = Tally::new(lost, read_header(pages)?.block_bytes);
    recorded::find_files(pages, filesystem, &mut tally, cancel)?;
    Ok(tally)
}

/// What was found until now.
struct Tally<'a> {
    lost: &'a ExtentSet,
    block_bytes: u64,
    findings: FileFindings,
    /// Lost ranges that are some file's data.
    data: Vec<Extent>,
    doubt: Option<String>,
}

impl<'a> Tally<'a> {
    fn new(lost: &'a ExtentSet, block_bytes: u32) -> Self {
        Self { lost, block_bytes: u64::from(block_bytes.max(1)), findings: FileFindings::default(), data: Vec::new(), doubt: None }
    }

    /// Notes the lost bytes of a run of a file's data, which begins at byte `disk` of the file system, among the file's missing ranges.
    fn take(&mut self, run: Extent, disk: u64, missing: &mut ExtentSet) {
        // What lies behind the file's end in its last block is nobody's.
        let blocks = Extent::new(disk, run.length).align_outward(self.block_bytes);
        if self.lost.intersects(&blocks) {
            self.data.extend(self.lost.intersection(&blocks.into()));
            self.overlap(run, disk, missing);
        }
    }

    /// The same of bytes that are no data.
    fn overlap(&self, run: Extent, disk: u64, missing: &mut ExtentSet) {
        let place = Extent::new(disk, run.length);
        if self.lost.intersects(&place) {
            for part in &self.lost.intersection(&place.into()) {
                missing.insert(Extent::new(run.offset.saturating_add(part.offset - disk), part.length));
            }
        }
    }

    fn found(&mut self, path: Vec<u8>, kind: FileFindingKind, reason: &str, missing: ExtentSet) {
        let missing = missing.as_slice().to_vec();
        self.findings.push(FileFinding { path, kind, reason: reason.to_owned(), missing });
    }

    fn doubt(&mut self, why: impl ToString) {
        self.doubt.get_or_insert_with(|| why.to_string());
    }

    /// Says of the ranges that no file has what they are.
    fn sorted(self, known_by: KnownBy, filesystem: Option<&dyn Filesystem>) -> AffectedFiles {
        let others = self.lost.difference(&self.data.into_iter().collect());
        let (free, inside) = match filesystem {
            Some(filesystem) if !others.is_empty() => (filesystem.allocation().free, ExtentSet::whole(filesystem.identity().size)),
            _ => (ExtentSet::new(), ExtentSet::whole(u64::MAX)),
        };
        let outside = others.difference(&inside);
        let others = others.difference(&outside);
        AffectedFiles {
            partition: None,
            known_by,
            doubt: self.doubt,
            findings: self.findings,
            structures: others.difference(&free),
            free: others.intersection(&free),
            outside,
        }
    }
}
