//! The file catalog of a backup: made from the point's own bytes before the point exists, and never the reason that there is none.
//!
//! Every chunk that the filesystem is read from is held against the point's tree. The source is asked first, because it is near; what
//! has changed there since, as on a live volume, comes from the store. So the catalog describes the point, whatever the source does.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

use crate::base::io::ReadAt;
use crate::base::progress::Progress;
use crate::catalog::{Basis, Built, CATALOG_PAGES, CatalogError, Earlier, build, prepare};
use crate::filesystem::{Filesystem, FilesystemError};
use crate::job::JobError;
use crate::repository::format::catalog::CatalogSummary;
use crate::repository::format::point::Tree;
use crate::repository::{CatalogPages, FinishedVolume, Gaps, ListedPoint, PageWriter, PointWriter, Repository};

/// Opens the filesystem that a volume holds.
pub type OpenFilesystem = fn(Arc<dyn ReadAt>) -> Result<Box<dyn Filesystem>, FilesystemError>;

/// How a catalog is made.
#[derive(Debug, Clone)]
pub struct CatalogRequest {
    /// What knows filesystems.
    pub open: OpenFilesystem,
    /// The source, if it can be read at any place. It is never believed without the point's tree.
    pub beside: Option<Arc<dyn ReadAt>>,
    /// A folder for sorting names.
    pub scratch: PathBuf,
}

/// What became of the catalog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CatalogOutcome {
    /// Nobody asked for one.
    Off,
    /// The volume holds nothing that a catalog can be made of.
    None {
        /// What it holds instead.
        reason: String,
    },
    /// The point has one.
    Made(MadeCatalog),
    /// There should be one, and there is none.
    Failed {
        /// Why.
        reason: String,
    },
}

/// A catalog that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MadeCatalog {
    /// Inodes in it.
    pub inodes: u64,
    /// Names in it.
    pub names: u64,
    /// What could not be read.
    pub left_out: u64,
    /// Inodes that were read from the filesystem; the others are the earlier catalog's.
    pub parsed: u64,
    /// It was made from nothing.
    pub anew: bool,
}

/// Makes the catalog of the volume that `writer` has written, and that lacks `gaps`; on that of `previous`, if it can. An error is the
/// writer's own.
///
/// The filesystem is opened anew even where free space was asked of it before: that was the source, which may change after it was
/// read, and this is the volume as the point will hold it.
pub(super) fn make(
    repository: &Repository,
    wanted: Option<&CatalogRequest>,
    previous: Option<&ListedPoint>,
    gaps: Gaps,
    writer: &mut PointWriter,
    progress: &dyn Progress,
) -> Result<CatalogOutcome, JobError> {
    let Some(wanted) = wanted else { return Ok(CatalogOutcome::Off) };
    let finished = writer.finish_volume()?;
    let reader = Arc::new(repository.read_volume(finished.tree, gaps, wanted.beside.clone()));
    let filesystem = match (wanted.open)(reader) {
        Ok(filesystem) => filesystem,
        Err(error @ (FilesystemError::Unrecognised { .. } | FilesystemError::Unsupported { .. })) => {
            tracing::debug!(%error, "no catalog");
            return Ok(CatalogOutcome::None { reason: absence(&error) });
        }
        Err(error) => return Ok(failed(progress, &error)),
    };
    let maker = Maker { repository, wanted, finished: &finished, filesystem: filesystem.as_ref() };
    // A catalog of which something is missing, or that nobody here understands, is no basis.
    let trusted = previous.and_then(|point| point.point.catalog);
    let trusted = trusted.and_then(|catalog| Some((catalog.tree, catalog.summary.filter(|summary| summary.left_out == 0)?)));
    Ok(match maker.run(trusted, writer) {
        Ok(made) => {
            if made.left_out > 0 {
                progress
                    .warn(&format!("the file catalog is incomplete: {} objects of the file system cannot be read", made.left_out));
            }
            CatalogOutcome::Made(made)
        }
        Err(error) => failed(progress, &error),
    })
}

/// Why there is nothing to make a catalog of, and what to do if there is a way.
fn absence(error: &FilesystemError) -> String {
    match error {
        FilesystemError::Unrecognised { partitions, .. } if !partitions.is_empty() => {
            let numbers: Vec<String> = partitions.iter().map(ToString::to_string).collect();
            let numbers = numbers.join(", ");
            format!(
                "it is a disk with partitions ({numbers}): back up the device of a partition, such as /dev/sda1, to find its files"
            )
        }
        _ => error.to_string(),
    }
}

fn failed(progress: &dyn Progress, error: &dyn Error) -> CatalogOutcome {
    let reason = error.to_string();
    progress.warn(&format!("the point has no file catalog: {reason}"));
    CatalogOutcome::Failed { reason }
}

struct Maker<'a> {
    repository: &'a Repository,
    wanted: &'a CatalogRequest,
    finished: &'a FinishedVolume,
    filesystem: &'a dyn Filesystem,
}

impl Maker<'_> {
    fn run(&self, trusted: Option<(Tree, CatalogSummary)>, writer: &mut PointWriter) -> Result<MadeCatalog, CatalogError> {
        if let Some((tree, summary)) = trusted {
            match self.follow(tree, summary, writer) {
                Err(CatalogError::Inconsistent { inode }) => tracing::warn!(inode, "the file catalog is made anew"),
                other => return other,
            }
        }
        self.put(Basis::anew(), None, writer)
    }

    /// Builds on the earlier catalog, if that is possible.
    fn follow(&self, tree: Tree, summary: CatalogSummary, writer: &mut PointWriter) -> Result<MadeCatalog, CatalogError> {
        let mut pages: CatalogPages = self.repository.catalog_pages(tree)?;
        let earlier = Earlier { pages: &mut pages, changed: &self.finished.changed, inodes: summary.inodes };
        let basis = prepare(self.filesystem, earlier)?;
        self.put(basis, Some(tree), writer)
    }

    fn put(&self, basis: Basis<'_>, old: Option<Tree>, writer: &mut PointWriter) -> Result<MadeCatalog, CatalogError> {
        let anew = basis.is_anew();
        let mut pages = PageWriter::begin(writer, CATALOG_PAGES, old, anew)?;
        let built = build(self.filesystem, basis, &self.wanted.scratch, &mut |number, page| Ok(pages.put(number, page)?))?;
        pages.finish()?;
        writer.end_catalog(self.summary(&built))?;
        if let Some(loss) = &built.first_loss {
            tracing::warn!(%loss, left_out = built.left_out, "the file catalog is incomplete");
        }
        let Built { inodes, names, left_out, parsed, .. } = built;
        Ok(MadeCatalog { inodes, names, left_out, parsed, anew })
    }

    fn summary(&self, built: &Built) -> CatalogSummary {
        CatalogSummary {
            filesystem: built.header.filesystem_code(),
            uuid: built.header.uuid,
            view: built.header.view,
            place: (0, built.header.size),
            inodes: built.inodes,
            names: built.names,
            left_out: built.left_out,
            stored_bytes: 0,
        }
    }
}
