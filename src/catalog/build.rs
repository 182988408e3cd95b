//! A catalog made from a filesystem: anew, or from the earlier one at the cost of what changed.
//!
//! ```text
//!   directories that may have changed ──list──► names, sorted by inode ─┐
//!   earlier pages with an inode that may have changed ──────────────────┴─► pages, ascending
//! ```
//! What may have changed is what differs between the two points, and what journal replay changed in either of them: a byte of the
//! replayed view can differ for these reasons only. Where anything is in doubt the catalog is made anew.

mod digest;
mod directories;
mod gather;
mod merge;
mod old;

use std::path::Path;

use super::error::CatalogError;
use super::header::Header;
use super::layout::{MAX_INODE, Shelf, shelf};
use super::lists::parse_directories;
use super::read::{PageSource, read_header};
use crate::base::extent::ExtentSet;
use crate::filesystem::{Filesystem, InodeNumber};
use gather::Gatherer;
use merge::Merger;
use old::OldCatalog;

/// Receives the pages of a catalog, ascending. Those that it is not given stay what they were.
pub type PutPage<'a> = dyn FnMut(u64, &[u8]) -> Result<(), CatalogError> + 'a;

/// What a catalog was made into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    /// Its front page.
    pub header: Header,
    /// Inodes in it.
    pub inodes: u64,
    /// Names in it.
    pub names: u64,
    /// Directories, inodes and names that could not be read, or not be kept.
    pub left_out: u64,
    /// Inodes that were read from the filesystem.
    pub parsed: u64,
    /// Why something was left out, the first time.
    pub first_loss: Option<String>,
}

/// An earlier catalog that may be built upon.
#[derive(Debug)]
pub struct Earlier<'a> {
    /// Its pages.
    pub pages: &'a mut dyn PageSource,
    /// Bytes of the filesystem in which the two volumes may differ, as they lie in place.
    pub changed: &'a ExtentSet,
    /// How many inodes it holds.
    pub inodes: u64,
}

/// What a catalog is made from.
#[derive(Debug)]
pub struct Basis<'a>(Option<OldCatalog<'a>>);

impl Basis<'_> {
    /// The catalog is made anew.
    #[must_use]
    pub fn anew() -> Self {
        Self(None)
    }

    /// True if the whole filesystem will be walked.
    #[must_use]
    pub fn is_anew(&self) -> bool {
        self.0.is_none()
    }
}

/// Finds out whether the catalog can be built on the earlier one, which must be complete. It is made anew if the earlier one cannot
/// be read, describes another filesystem or a stale view, or if inodes have no places that can be compared.
pub fn prepare<'a>(filesystem: &dyn Filesystem, earlier: Earlier<'a>) -> Result<Basis<'a>, CatalogError> {
    match try_prepare(filesystem, earlier) {
        Err(CatalogError::Repository(error)) if !error.is_damage() => Err(error.into()),
        Err(error) => {
            tracing::debug!(%error, "the earlier catalog cannot be built upon");
            Ok(Basis::anew())
        }
        Ok(basis) => Ok(basis),
    }
}

fn try_prepare<'a>(filesystem: &dyn Filesystem, earlier: Earlier<'a>) -> Result<Basis<'a>, CatalogError> {
    let old = read_header(earlier.pages)?;
    let now = Header::of(filesystem);
    if !now.can_follow(&old) || filesystem.inode_location(filesystem.root()).is_none() {
        return Ok(Basis::anew());
    }
    let changed = earlier.changed.union(&old.replayed).union(&now.replayed);
    let present = earlier.pages.present()?;
    let mut directories = Vec::new();
    let numbers: Vec<u64> = present.iter().copied().filter(|number| matches!(shelf(*number), Shelf::Directories(_))).collect();
    let mut wrong = None;
    earlier.pages.read(&numbers, &mut |number, page| {
        match parse_directories(number, page.unwrap_or_default()) {
            Ok(found) => directories.extend(found),
            Err(error) => wrong = wrong.take().or(Some(error)),
        }
        Ok(())
    })?;
    match wrong {
        Some(error) => Err(error),
        None => Ok(Basis(Some(OldCatalog::new(earlier.pages, present, directories, changed, earlier.inodes)))),
    }
}

/// Makes the catalog and puts its pages. Names are sorted in `scratch` if they are many.
///
/// [`CatalogError::Inconsistent`] asks to begin again with [`Basis::anew`]; what was put until then must be dropped.
pub fn build(filesystem: &dyn Filesystem, basis: Basis<'_>, scratch: &Path, put: &mut PutPage<'_>) -> Result<Built, CatalogError> {
    let header = Header::of(filesystem);
    let mut old = basis.0;
    let mut gatherer = Gatherer::new(filesystem, old.as_ref(), scratch);
    gatherer.gather()?;
    let gathered = gatherer.finish()?;
    let front = header.encode();
    for (number, page) in (0..).zip(&front) {
        put(number, page)?;
    }
    if let Some(old) = &old {
        old.empty_front(front.len() as u64, put)?;
    }
    let mut merger = Merger::new(filesystem, old.as_mut(), gathered, scratch);
    merger.merge(put)?;
    merger.put_directories(put)?;
    merger.put_links(put)?;
    Ok(merger.built(header))
}

/// True if an inode may have changed; always, where its place cannot be told.
fn may_have_changed(filesystem: &dyn Filesystem, changed: &ExtentSet, inode: u64) -> bool {
    inode < MAX_INODE && filesystem.inode_location(InodeNumber(inode)).is_none_or(|place| changed.intersects(&place))
}
