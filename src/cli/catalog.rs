//! What the commands about files share: the local index brought up to date, and how files are said.

use std::env;
use std::path::PathBuf;

use serde::Serialize;

use super::context::Context;
use super::failure::Failure;
use super::file_views::letter;
use super::{output, times};
use crate::base::clock::Timestamp;
use crate::catalog::Record;
use crate::catalog::index::{Filled, Index};
use crate::filesystem::{FileTime, printable};
use crate::repository::{PointListing, Repository};

/// Where the local index is kept, and whether it is to be made anew.
#[derive(Debug, Clone)]
pub(super) struct IndexSettings {
    /// The folder of all repositories' indexes.
    pub(super) folder: Option<PathBuf>,
    pub(super) rebuild: bool,
}

/// A point whose files cannot be searched.
#[derive(Debug, Serialize)]
pub(super) struct UnusableView {
    point: String,
    reason: String,
}

/// Opens the index of a repository and adds what is missing in it.
pub(super) fn open(repository: &Repository, settings: IndexSettings, listing: &PointListing) -> anyhow::Result<(Index, Filled)> {
    let folder = settings.folder.or_else(default_folder).ok_or_else(|| {
        Failure::refused("where may the local index be kept? name a folder with --cache-dir, or in the variable ICECORE_CACHE_DIR")
    })?;
    let folder = folder.join(repository.config().id.to_string());
    let mut index = if settings.rebuild { Index::anew(&folder)? } else { Index::open(&folder)? };
    if let Some(reason) = &index.rebuilt {
        output::warn(&format!("the local index is made anew: {reason}"));
    }
    let filled = index.fill(repository, &listing.points)?;
    for unusable in &filled.unusable {
        output::warn(&format!("the files of point {} cannot be searched: {}", unusable.point, unusable.reason));
    }
    Ok((index, filled))
}

fn default_folder() -> Option<PathBuf> {
    let absolute = |path: PathBuf| path.is_absolute().then_some(path);
    let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).and_then(absolute);
    let home = || env::var_os("HOME").map(PathBuf::from).and_then(absolute).map(|home| home.join(".cache"));
    cache.or_else(home).map(|folder| folder.join("icecore"))
}

pub(super) fn unusable(filled: &Filled) -> Vec<UnusableView> {
    filled.unusable.iter().map(|u| UnusableView { point: u.point.clone(), reason: u.reason.clone() }).collect()
}

/// The moment as other times are said; what lies before 1970 counts as its beginning.
pub(super) fn moment(time: FileTime) -> Timestamp {
    let seconds = u64::try_from(time.seconds).unwrap_or(0);
    Timestamp(seconds.saturating_mul(1000).saturating_add(u64::from(time.nanoseconds) / 1_000_000))
}

/// One line about a file, as `ls -l` would begin it.
pub(super) fn line(context: &Context, record: &Record, path: &[u8]) -> String {
    let letter = letter(record.kind);
    let modified = times::local(moment(record.modified), &context.zone);
    format!("{letter}{:04o} {:>12} {modified} {}", record.mode, record.size, printable(path))
}
